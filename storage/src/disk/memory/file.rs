//! Reading and writing the memory disk's files.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use corelane_format::FilePosition;

use super::inode::{FAILED, Pending, apply};
use super::{Fault, MemoryBuffer, MemoryFile, OperationKind};
use crate::disk::{DiskFile, PAGE_BYTES};

impl MemoryFile {
    /// Starts a write: from here on it may survive a crash.
    fn submit(&self, id: u64, position: usize, bytes: &[u8]) {
        let mut state = self.disk.0.borrow_mut();
        let end = position + bytes.len();
        let overlaps = state.inodes[self.inode]
            .pending
            .iter()
            .any(|(_, pending)| match pending {
                Pending::Write {
                    position: other,
                    bytes: others,
                } => *other < end && position < other + others.len(),
                Pending::Grow { .. } | Pending::Truncate { .. } => false,
            });
        state.overlap |= overlaps;
        state.inodes[self.inode].pending.push((
            id,
            Pending::Write {
                position,
                bytes: Rc::from(bytes),
            },
        ));
    }

    /// Makes one pending write durable.
    fn settle(&self, id: u64) {
        let mut state = self.disk.0.borrow_mut();
        let inode = &mut state.inodes[self.inode];
        // A durable write carries the file's size with it.
        if let Some(index) = inode.pending.iter().position(|(pending, _)| *pending == id) {
            let (_, write) = inode.pending.remove(index);
            if let Pending::Write { position, bytes } = &write {
                inode.supersede(*position..position + bytes.len());
            }
            apply(&mut inode.durable, &write);
        }
    }
}

impl DiskFile for MemoryFile {
    type Buffer = MemoryBuffer;
    type ReadBuffer = Vec<u8>;

    async fn write_at(
        &self,
        buffer: Rc<MemoryBuffer>,
        position: FilePosition,
    ) -> io::Result<usize> {
        let bytes = buffer.as_ref().as_ref();
        let position = position.get() as usize;
        assert!(
            position.is_multiple_of(PAGE_BYTES) && bytes.len().is_multiple_of(PAGE_BYTES),
            "an unaligned write"
        );
        let id = match self.disk.begin(OperationKind::Write) {
            Ok(id) => id,
            Err(fault) => {
                // Whatever the caller is told, the device may have got it: a crash decides.
                self.submit(FAILED, position, bytes);
                match fault {
                    Fault::Error(code) => return Err(io::Error::from_raw_os_error(code)),
                    Fault::Short => return Ok(bytes.len() / 2),
                    Fault::Hang => return std::future::pending().await,
                }
            }
        };
        self.submit(id, position, bytes);
        if self.disk.0.borrow().hold_writes {
            self.disk.0.borrow_mut().held.push((id, false, None));
            poll_fn(|context| {
                let mut state = self.disk.0.borrow_mut();
                let Some(index) = state.held.iter().position(|(held, ..)| *held == id) else {
                    return Poll::Ready(());
                };
                if state.held[index].1 {
                    state.held.remove(index);
                    Poll::Ready(())
                } else {
                    state.held[index].2 = Some(context.waker().clone());
                    Poll::Pending
                }
            })
            .await;
        }
        self.settle(id);
        Ok(bytes.len())
    }

    async fn read_at(&self, position: FilePosition, size_bytes: usize) -> io::Result<Vec<u8>> {
        let position = position.get() as usize;
        assert!(
            position.is_multiple_of(PAGE_BYTES) && size_bytes.is_multiple_of(PAGE_BYTES),
            "an unaligned read"
        );
        self.disk.operation(OperationKind::Read).await?;
        Ok(self.disk.0.borrow().inodes[self.inode].read(position, size_bytes))
    }

    async fn flush(&self) -> io::Result<()> {
        self.disk.operation(OperationKind::Flush).await?;
        let mut state = self.disk.0.borrow_mut();
        let held: Vec<u64> = state.held.iter().map(|(id, ..)| *id).collect();
        let inode = &mut state.inodes[self.inode];
        let pending = std::mem::take(&mut inode.pending);
        for (id, write) in pending {
            // A write still in flight is not covered, nor one that failed.
            if held.contains(&id) || id == FAILED {
                inode.pending.push((id, write));
            } else {
                apply(&mut inode.durable, &write);
            }
        }
        Ok(())
    }

    async fn reserve(&self, size_bytes: u64) -> io::Result<()> {
        let id = self.disk.operation(OperationKind::Reserve).await?;
        let mut state = self.disk.0.borrow_mut();
        let inode = &mut state.inodes[self.inode];
        if (inode.size() as u64) < size_bytes {
            inode.pending.push((
                id,
                Pending::Grow {
                    size: size_bytes as usize,
                },
            ));
        }
        Ok(())
    }

    async fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        let id = self.disk.operation(OperationKind::Reserve).await?;
        let mut state = self.disk.0.borrow_mut();
        state.inodes[self.inode].pending.push((
            id,
            Pending::Truncate {
                size: size_bytes as usize,
            },
        ));
        Ok(())
    }

    async fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.borrow().inodes[self.inode].size() as u64)
    }
}
