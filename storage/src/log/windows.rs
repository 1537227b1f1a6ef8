//! Reading a file forward in large windows, with reads under way ahead of whoever looks at the bytes.
//!
//! The first read after a jump is a single window; from then on more and more are asked for ahead, so that a scan keeps
//! the disk busy while it checks what it has, and a look at one place costs one read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use corelane_format::FilePosition;

use crate::disk::{Disk, DiskFile, page_ceil, page_floor};

/// One read.
pub(crate) const WINDOW_BYTES: u64 = 1 << 20;
/// Reads under way at most, the one that is waited for among them.
const READS_MAX: usize = 6;

type ReadBuffer<D> = <<D as Disk>::File as DiskFile>::ReadBuffer;

/// A read that was begun.
enum Ahead<'a, B> {
    Running(Pin<Box<dyn Future<Output = io::Result<B>> + 'a>>),
    Done(io::Result<B>),
}

/// A file and a place in it.
pub(crate) struct Windows<'a, D: Disk> {
    file: &'a D::File,
    size: u64,
    /// What is at hand, without gaps, and where each begins.
    ready: VecDeque<(u64, ReadBuffer<D>)>,
    /// Where `ready` ends and the first of `ahead` begins.
    ready_end: u64,
    ahead: VecDeque<Ahead<'a, ReadBuffer<D>>>,
    /// Where the last of `ahead` ends.
    asked_end: u64,
    reads: usize,
    /// Bytes of neighbouring windows put together.
    scratch: Vec<u8>,
    pub(crate) bytes_read: u64,
}

impl<'a, D: Disk> Windows<'a, D> {
    /// Reads nothing at or above `size`.
    pub(crate) fn new(file: &'a D::File, size: u64) -> Self {
        Self {
            file,
            size,
            ready: VecDeque::new(),
            ready_end: 0,
            ahead: VecDeque::new(),
            asked_end: 0,
            reads: 1,
            scratch: Vec::new(),
            bytes_read: 0,
        }
    }

    /// Where the file ends.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The bytes at `position`: at least `size_bytes` unless the file ends before.
    pub(crate) async fn bytes(&mut self, position: u64, size_bytes: usize) -> io::Result<&[u8]> {
        while self
            .ready
            .front()
            .is_some_and(|(start, window)| start + window.as_ref().len() as u64 <= position)
        {
            self.ready.pop_front();
        }
        let ready_start = self
            .ready
            .front()
            .map_or(self.ready_end, |(start, _)| *start);
        if position < ready_start || position > self.asked_end {
            self.jump(position);
        }
        let wanted_end = position.saturating_add(size_bytes as u64).min(self.size);
        while self.ready_end < wanted_end {
            self.take_next().await?;
            // A short read has moved the end of the file.
            if self.ready_end >= self.size {
                break;
            }
        }
        Ok(self.at_hand(position, wanted_end.min(self.size)))
    }

    fn jump(&mut self, position: u64) {
        self.ready.clear();
        self.ahead.clear();
        self.ready_end = page_floor(position);
        self.asked_end = self.ready_end;
        self.reads = 1;
    }

    /// Waits for the next window, and sees to it that others are under way behind it.
    async fn take_next(&mut self) -> io::Result<()> {
        while self.ahead.len() < self.reads && self.asked_end < self.size {
            let length = page_ceil(self.size - self.asked_end).min(WINDOW_BYTES);
            let position = FilePosition::new(self.asked_end);
            let read = self.file.read_at(position, length as usize);
            self.ahead.push_back(Ahead::Running(Box::pin(read)));
            self.asked_end += length;
        }
        self.reads = (self.reads * 2).min(READS_MAX);
        let ahead = &mut self.ahead;
        // A read begins when it is polled first.
        poll_fn(|context| {
            for read in &mut *ahead {
                if let Ahead::Running(running) = read
                    && let Poll::Ready(result) = running.as_mut().poll(context)
                {
                    *read = Ahead::Done(result);
                }
            }
            match ahead.front() {
                Some(Ahead::Running(_)) => Poll::Pending,
                Some(Ahead::Done(_)) | None => Poll::Ready(()),
            }
        })
        .await;
        let Some(Ahead::Done(window)) = self.ahead.pop_front() else {
            self.size = self.ready_end;
            return Ok(());
        };
        let window = window?;
        let (start, got) = (self.ready_end, window.as_ref().len() as u64);
        self.bytes_read += got;
        let wanted = page_ceil(self.size - start).min(WINDOW_BYTES);
        self.ready.push_back((start, window));
        self.ready_end = start + got;
        if got < wanted {
            self.size = self.size.min(self.ready_end);
            self.ahead.clear();
            self.asked_end = self.ready_end;
        }
        Ok(())
    }

    /// What is at hand from `position` on: to the end of its window, or to `wanted_end` if that lies in another.
    fn at_hand(&mut self, position: u64, wanted_end: u64) -> &[u8] {
        let Some((start, window)) = self.ready.front() else {
            return &[];
        };
        let (start, window) = (*start, window.as_ref());
        let from = position.saturating_sub(start) as usize;
        let until = ((self.size - start) as usize).min(window.len());
        if start + until as u64 >= wanted_end {
            return window.get(from..until).unwrap_or(&[]);
        }
        self.scratch.clear();
        for (start, window) in &self.ready {
            let from = position.saturating_sub(*start) as usize;
            let until = (wanted_end.saturating_sub(*start) as usize).min(window.as_ref().len());
            self.scratch
                .extend_from_slice(window.as_ref().get(from..until).unwrap_or(&[]));
        }
        &self.scratch
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_lite::future::block_on;

    use super::*;
    use crate::disk::memory::{MemoryDisk, OperationKind};

    const SIZE: u64 = 5 * WINDOW_BYTES + 8192 + 100;

    fn content() -> Vec<u8> {
        (0..SIZE).map(|at| ((at * 31) >> 7) as u8).collect()
    }

    fn with_file(test: impl AsyncFnOnce(&MemoryDisk, Windows<'_, MemoryDisk>)) {
        block_on(async {
            let disk = MemoryDisk::new();
            disk.make_directory(Path::new("/a")).await.expect("made");
            let path = Path::new("/a/f");
            drop(disk.create(path).await.expect("created"));
            disk.set_content(path, content());
            let file = disk.open(path).await.expect("opened");
            test(&disk, Windows::new(&file, SIZE)).await;
        });
    }

    #[test]
    fn any_stretch_comes_as_it_is() {
        let content = content();
        with_file(async |_, mut windows| {
            let edge = WINDOW_BYTES;
            for (position, size_bytes) in [
                (0, 10),
                (5, 4096),
                (edge - 64, 64),
                (edge - 64, 65),
                (edge - 1, 2 * WINDOW_BYTES as usize),
                (edge - 1, 1),
                (3 * edge + 7, 100),
                (100, 50),
                (4 * edge, 2 * WINDOW_BYTES as usize),
                (SIZE - 1, 1),
                (SIZE - 1, 100),
            ] {
                let bytes = windows.bytes(position, size_bytes).await.expect("read");
                let wanted = (size_bytes as u64).min(SIZE - position) as usize;
                assert!(bytes.len() >= wanted, "{position} {size_bytes}");
                let at = position as usize;
                assert_eq!(
                    bytes,
                    &content[at..at + bytes.len()],
                    "{position} {size_bytes}"
                );
            }
            assert_eq!(windows.bytes(SIZE, 1).await.expect("read"), b"");
            assert_eq!(windows.bytes(u64::MAX, 1).await.expect("read"), b"");
        });
    }

    #[test]
    fn a_look_at_one_place_is_one_read_and_a_walk_reads_everything_once() {
        with_file(async |disk, mut windows| {
            let reads = || {
                let trace = disk.trace();
                trace
                    .iter()
                    .filter(|kind| **kind == OperationKind::Read)
                    .count()
            };
            windows.bytes(2 * WINDOW_BYTES + 5, 64).await.expect("read");
            assert_eq!(reads(), 1);
            windows.bytes(0, 1).await.expect("read");
            assert_eq!(reads(), 2);
            let mut at = 0;
            while at < SIZE {
                at += windows.bytes(at, 3000).await.expect("read").len() as u64;
            }
            assert_eq!(at, SIZE);
            assert_eq!(reads(), 7);
        });
    }

    #[test]
    fn a_file_that_is_shorter_than_said_ends_where_it_ends() {
        let content = content();
        block_on(async {
            let disk = MemoryDisk::new();
            disk.make_directory(Path::new("/a")).await.expect("made");
            let path = Path::new("/a/f");
            drop(disk.create(path).await.expect("created"));
            disk.set_content(path, content.clone());
            let file = disk.open(path).await.expect("opened");
            let mut windows = Windows::<MemoryDisk>::new(&file, SIZE + 10 * WINDOW_BYTES);
            let all = windows.bytes(0, 16 * WINDOW_BYTES as usize).await;
            assert_eq!(all.expect("read"), content);
            assert_eq!(windows.size(), SIZE);
        });
    }
}
