//! Which file of a lane's journal is written next, and when one may be used again. Pure.
//!
//! Files are taken in any order: blocks are ordered by their sequence, so a file that a fenced log keeps does not
//! hold up the others. Two files are kept ready ahead of the one that is written.

use std::collections::HashMap;
use std::ops::Range;

use corelane_format::{LogId, Offset};

use super::header::FIRST_BLOCK_POSITION;
use crate::disk::page_ceil;
use crate::seeded_bugs::seeded_bug;

/// Files that are made ready ahead.
const READY_MIN: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    /// Not there yet.
    Absent,
    /// There; everything in it is settled. It needs a new header.
    Free,
    /// Being made ready.
    Preparing,
    /// Empty, with its header durable.
    Ready,
    /// Holds blocks that count.
    InUse,
}

#[derive(Debug)]
struct RingFile {
    state: FileState,
    generation: u64,
    /// Where the next block goes.
    end: u64,
    /// Of its blocks, in this life or in the last one.
    sequences: Range<u64>,
    /// What is settled last of each log that has entries here: exclusive ends.
    holds: HashMap<LogId, Offset>,
}

/// Where a block goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) file: usize,
    pub(crate) position: u64,
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
}

/// What a file needs before it can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preparation {
    /// To be made and filled with zeros.
    Create(usize),
    /// A new header.
    Renew(usize),
}

/// The ring of one lane.
#[derive(Debug)]
pub(crate) struct Ring {
    files: Vec<RingFile>,
    file_size_bytes: u64,
    current: Option<usize>,
    next_sequence: u64,
}

impl Ring {
    /// A ring of which `present` files exist already; all are settled.
    pub(crate) fn new(present: &[bool], file_size_bytes: u64) -> Self {
        let files = present
            .iter()
            .map(|present| RingFile {
                state: if *present {
                    FileState::Free
                } else {
                    FileState::Absent
                },
                generation: 0,
                end: 0,
                sequences: 0..0,
                holds: HashMap::new(),
            })
            .collect();
        Self {
            files,
            file_size_bytes,
            current: None,
            next_sequence: 1,
        }
    }

    /// Whether a block of `size_bytes` finds a place now.
    pub(crate) fn has_room(&self, size_bytes: usize) -> bool {
        let size = page_ceil(size_bytes as u64);
        let fits = self
            .current
            .is_some_and(|current| self.files[current].end + size <= self.file_size_bytes);
        fits || FIRST_BLOCK_POSITION + size <= self.file_size_bytes
            && self.files.iter().any(|file| file.state == FileState::Ready)
    }

    /// Takes the place of the next block, of `size_bytes`. One block is on its way at a time.
    pub(crate) fn place(&mut self, size_bytes: usize) -> Option<BlockPlace> {
        if !self.has_room(size_bytes) {
            return None;
        }
        let size = page_ceil(size_bytes as u64);
        let fits = |file: &RingFile| file.end + size <= self.file_size_bytes;
        let file = match self.current.filter(|current| fits(&self.files[*current])) {
            Some(current) => current,
            None => self
                .files
                .iter()
                .position(|file| file.state == FileState::Ready)?,
        };
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.current = Some(file);
        let entry = &mut self.files[file];
        if entry.state == FileState::Ready {
            entry.state = FileState::InUse;
            entry.end = FIRST_BLOCK_POSITION;
            entry.sequences = sequence..sequence;
        }
        entry.sequences.end = sequence + 1;
        let position = entry.end;
        entry.end += size;
        Some(BlockPlace {
            file,
            position,
            generation: entry.generation,
            sequence,
        })
    }

    /// The sequences that may not be settled, a range for each file: those of the files in use, and an empty range for the others,
    /// so that a block's size does not depend on them.
    pub(crate) fn live(&self) -> impl Iterator<Item = Range<u64>> {
        self.files.iter().map(|file| {
            if file.state == FileState::InUse {
                file.sequences.clone()
            } else {
                0..0
            }
        })
    }

    /// A block in `file` is durable; it holds a log's records below `end`.
    pub(crate) fn hold(&mut self, file: usize, log_id: LogId, end: Offset) {
        let held = self.files[file].holds.entry(log_id).or_insert(end);
        *held = end.max(*held);
    }

    /// The next file to make ready, if there should be one more; it counts as under way.
    pub(crate) fn prepare(&mut self) -> Option<Preparation> {
        let ahead = self
            .files
            .iter()
            .filter(|file| matches!(file.state, FileState::Ready | FileState::Preparing))
            .count();
        if ahead >= READY_MIN {
            return None;
        }
        let find = |wanted: FileState| self.files.iter().position(|file| file.state == wanted);
        let (index, preparation) = match (find(FileState::Free), find(FileState::Absent)) {
            (Some(free), _) => (free, Preparation::Renew(free)),
            (None, Some(absent)) => (absent, Preparation::Create(absent)),
            (None, None) => return None,
        };
        self.files[index].state = FileState::Preparing;
        Some(preparation)
    }

    /// What a file held in the life that is over: all of it is settled.
    pub(crate) fn sequences(&self, index: usize) -> Range<u64> {
        self.files[index].sequences.clone()
    }

    /// A preparation's end.
    pub(crate) fn prepared(&mut self, index: usize, generation: u64) {
        let file = &mut self.files[index];
        file.state = FileState::Ready;
        file.generation = generation;
    }

    /// A preparation failed: it may be tried again.
    pub(crate) fn not_prepared(&mut self, preparation: Preparation) {
        match preparation {
            Preparation::Create(index) => self.files[index].state = FileState::Absent,
            Preparation::Renew(index) => self.files[index].state = FileState::Free,
        }
    }

    /// Frees files whose records are all settled: `is_settled` tells for a log and an exclusive end. The file that is written
    /// stays. Asks about each log that is settled once, and in each file about one that is not: it is called for every block.
    pub(crate) fn release(&mut self, is_settled: impl Fn(LogId, Offset) -> bool) {
        for (index, file) in self.files.iter_mut().enumerate() {
            if file.state != FileState::InUse || self.current == Some(index) {
                continue;
            }
            while let Some((&log_id, &end)) = file.holds.iter().next() {
                if !is_settled(log_id, end) && !seeded_bug("file-used-before-it-is-settled") {
                    break;
                }
                file.holds.remove(&log_id);
            }
            if file.holds.is_empty() {
                file.state = FileState::Free;
            }
        }
    }

    /// The file that is written is not written any more.
    pub(crate) fn leave_current(&mut self) {
        self.current = None;
    }

    /// A log is gone, and so is what the ring holds of it.
    pub(crate) fn forget(&mut self, log_id: LogId) {
        for file in &mut self.files {
            file.holds.remove(&log_id);
        }
    }

    /// The logs whose data should be settled next so that the ring does not fill up: those of its oldest file, once fewer
    /// than a quarter of the files are left.
    pub(crate) fn logs_to_settle(&self) -> Vec<LogId> {
        if self.files_left() * 4 >= self.files.len() {
            return Vec::new();
        }
        let oldest = self
            .files
            .iter()
            .enumerate()
            .filter(|(index, file)| file.state == FileState::InUse && self.current != Some(*index))
            .min_by_key(|(_, file)| file.sequences.start);
        let mut logs: Vec<LogId> =
            oldest.map_or_else(Vec::new, |(_, file)| file.holds.keys().copied().collect());
        logs.sort_unstable();
        logs
    }

    /// All logs that the ring holds something of.
    pub(crate) fn held_logs(&self) -> Vec<LogId> {
        let mut logs: Vec<LogId> = self
            .files
            .iter()
            .flat_map(|file| file.holds.keys().copied())
            .collect();
        logs.sort_unstable();
        logs.dedup();
        logs
    }

    /// Files that hold nothing.
    pub(crate) fn files_left(&self) -> usize {
        self.files
            .iter()
            .filter(|file| file.state != FileState::InUse)
            .count()
    }

    /// Whether the file holds nothing and nobody writes it.
    pub(crate) fn is_at_rest(&self, index: usize) -> bool {
        matches!(self.files[index].state, FileState::Free | FileState::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u64 = 16 << 10;

    fn ready(files: usize) -> Ring {
        let mut ring = Ring::new(&vec![true; files], FILE);
        for index in 0..2 {
            assert_eq!(ring.prepare(), Some(Preparation::Renew(index)));
            ring.prepared(index, 100 + index as u64);
        }
        assert_eq!(ring.prepare(), None, "two are enough");
        ring
    }

    fn take(ring: &mut Ring, log: u64, end: i64) -> (usize, u64, u64) {
        let place = ring.place(4096).expect("a place");
        ring.hold(place.file, LogId::new(log), Offset::new(end));
        (place.file, place.position, place.sequence)
    }

    #[test]
    fn blocks_follow_each_other_and_go_on_in_the_next_file() {
        let mut ring = ready(4);
        let places: Vec<_> = (0..4).map(|n| take(&mut ring, 1, n)).collect();
        assert_eq!(
            places,
            vec![(0, 4096, 1), (0, 8192, 2), (0, 12288, 3), (1, 4096, 4)]
        );
        assert_eq!(ring.prepare(), Some(Preparation::Renew(2)));
        assert_eq!(
            ring.place(13 << 10),
            None,
            "larger than what is left of a file"
        );
        assert!(!ring.has_room(13 << 10));
    }

    #[test]
    fn a_full_ring_has_no_place_until_a_file_is_settled() {
        let mut ring = ready(2);
        for n in 0..6 {
            take(&mut ring, 1 + n as u64 / 3, n);
        }
        assert_eq!(ring.place(1), None);
        assert_eq!(ring.files_left(), 0);
        ring.release(|_, _| false);
        assert_eq!(ring.prepare(), None);
        assert_eq!(ring.logs_to_settle(), vec![LogId::new(1)]);
        ring.release(|log, end| log == LogId::new(1) && end == Offset::new(2));
        assert_eq!(ring.prepare(), Some(Preparation::Renew(0)));
        assert_eq!(ring.place(1), None, "not before its header is durable");
        ring.prepared(0, 300);
        let place = ring.place(1).expect("a place");
        assert_eq!((place.file, place.generation, place.sequence), (0, 300, 7));
        assert_eq!(ring.live().collect::<Vec<_>>(), vec![7..8, 4..7]);
    }

    #[test]
    fn the_file_that_is_written_is_never_freed() {
        let mut ring = ready(2);
        take(&mut ring, 1, 1);
        ring.release(|_, _| true);
        assert_eq!(take(&mut ring, 1, 2), (0, 8192, 2));
    }

    #[test]
    fn a_log_that_is_never_settled_keeps_one_file_only() {
        let mut ring = ready(3);
        take(&mut ring, 66, 1);
        for n in 0..50 {
            take(&mut ring, 1, n);
            ring.release(|log, _| log != LogId::new(66));
            while let Some(preparation) = ring.prepare() {
                match preparation {
                    Preparation::Create(index) | Preparation::Renew(index) => {
                        assert_ne!(index, 0);
                        ring.prepared(index, 400 + n as u64);
                    }
                }
            }
        }
        ring.forget(LogId::new(66));
        ring.release(|_, _| false);
        assert!(ring.held_logs().contains(&LogId::new(1)));
        assert!(ring.files_left() >= 1);
    }

    #[test]
    fn absent_files_are_made_when_needed() {
        let mut ring = Ring::new(&[false, true, false], FILE);
        assert_eq!(ring.place(1), None);
        assert_eq!(ring.prepare(), Some(Preparation::Renew(1)));
        assert_eq!(ring.prepare(), Some(Preparation::Create(0)));
        assert_eq!(ring.prepare(), None);
        ring.not_prepared(Preparation::Create(0));
        assert_eq!(ring.prepare(), Some(Preparation::Create(0)));
    }
}
