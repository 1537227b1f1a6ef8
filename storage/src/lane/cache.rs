//! A memory budget over pieces that belong to many logs.
//!
//! Pieces go in order of arrival, except that one which was read since the last look gets a second round (the CLOCK
//! approximation of least recently used). The cache only counts and chooses; the log holds the piece and lets go of it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Weak;

use corelane_format::Offset;

use crate::disk::Disk;
use crate::log::PartitionLog;

/// What a log says when asked to let go of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// It did, or had already.
    Gone,
    /// It was read meanwhile: ask again later.
    Touched,
}

/// Which of a log's pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A flushed chunk at the tail.
    Chunk(Offset),
    /// A region read from disk.
    Region(Offset),
}

struct Entry<D: Disk> {
    log: Weak<PartitionLog<D>>,
    piece: Piece,
    charge_bytes: usize,
}

pub(crate) struct ClockCache<D: Disk> {
    entries: RefCell<VecDeque<Entry<D>>>,
    used: Cell<usize>,
    budget: usize,
}

impl<D: Disk> ClockCache<D> {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            entries: RefCell::default(),
            used: Cell::new(0),
            budget,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// Charges a piece and lets others go until the budget holds. No log may be borrowed.
    pub(crate) fn insert(&self, log: Weak<PartitionLog<D>>, piece: Piece, charge_bytes: usize) {
        self.used.set(self.used.get() + charge_bytes);
        self.entries.borrow_mut().push_back(Entry {
            log,
            piece,
            charge_bytes,
        });
        // One round of second chances at most.
        let mut chances = self.entries.borrow().len();
        while self.used.get() > self.budget {
            let Some(entry) = self.entries.borrow_mut().pop_front() else {
                break;
            };
            let eviction = match entry.log.upgrade() {
                Some(log) => log.evict(entry.piece, chances == 0),
                None => Eviction::Gone,
            };
            match eviction {
                Eviction::Gone => self.used.set(self.used.get() - entry.charge_bytes),
                Eviction::Touched => {
                    chances = chances.saturating_sub(1);
                    self.entries.borrow_mut().push_back(entry);
                }
            }
        }
    }
}
