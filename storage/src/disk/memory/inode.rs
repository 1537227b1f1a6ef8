//! A file's content: what is durable, and what is pending.

use std::ops::Range;
use std::rc::Rc;

/// What stands for the id of a write that failed: it is pending for ever, or until the same place is written durably.
pub(super) const FAILED: u64 = u64::MAX;

#[derive(Debug, Clone)]
pub(super) enum Pending {
    Write { position: usize, bytes: Rc<[u8]> },
    Grow { size: usize },
    Truncate { size: usize },
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) durable: Vec<u8>,
    /// In order of submission, with the id of the operation while it has not been flushed.
    pub(super) pending: Vec<(u64, Pending)>,
}

impl Inode {
    pub(super) fn size(&self) -> usize {
        self.pending
            .iter()
            .fold(self.durable.len(), |size, (_, pending)| match pending {
                Pending::Write { position, bytes } => size.max(position + bytes.len()),
                Pending::Grow { size: grown } => size.max(*grown),
                Pending::Truncate { size: cut } => *cut,
            })
    }

    /// Whether exactly these bytes would be read at `position` if nothing pending came to be; what lies behind the end
    /// of the file counts as zeros.
    pub(super) fn holds(&self, position: usize, bytes: &[u8]) -> bool {
        let start = position.min(self.durable.len());
        let end = (position + bytes.len()).min(self.durable.len());
        let (inside, behind) = bytes.split_at(end - start);
        self.durable[start..end] == *inside && behind.iter().all(|byte| *byte == 0)
    }

    /// What failed writes had for this place comes to nothing: something else is durable there now.
    pub(super) fn supersede(&mut self, place: Range<usize>) {
        let pending = std::mem::take(&mut self.pending);
        for (id, change) in pending {
            match change {
                Pending::Write { position, bytes } if id == FAILED => {
                    let end = position + bytes.len();
                    let before = position..end.min(place.start);
                    let behind = position.max(place.end)..end;
                    for left in [before, behind] {
                        if !left.is_empty() {
                            let bytes =
                                Rc::from(&bytes[left.start - position..left.end - position]);
                            let position = left.start;
                            self.pending.push((id, Pending::Write { position, bytes }));
                        }
                    }
                }
                other => self.pending.push((id, other)),
            }
        }
    }

    /// What a running process reads, without a copy of the whole file.
    pub(super) fn read(&self, position: usize, size_bytes: usize) -> Vec<u8> {
        if self
            .pending
            .iter()
            .any(|(_, pending)| matches!(pending, Pending::Truncate { .. }))
        {
            let visible = self.visible();
            let start = position.min(visible.len());
            return visible[start..(position + size_bytes).min(visible.len())].to_vec();
        }
        let end = (position + size_bytes).min(self.size());
        let start = position.min(end);
        let mut out = vec![0; end - start];
        let mut overlay = |from: usize, bytes: &[u8]| {
            let (low, high) = (from.max(start), (from + bytes.len()).min(end));
            if low < high {
                out[low - start..high - start].copy_from_slice(&bytes[low - from..high - from]);
            }
        };
        overlay(0, &self.durable);
        for (_, pending) in &self.pending {
            if let Pending::Write { position, bytes } = pending {
                overlay(*position, bytes);
            }
        }
        out
    }

    pub(super) fn visible(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (_, pending) in &self.pending {
            apply(&mut bytes, pending);
        }
        bytes
    }
}

pub(super) fn apply(bytes: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Write {
            position,
            bytes: written,
        } => {
            let end = position + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*position..end].copy_from_slice(written);
        }
        Pending::Grow { size } => bytes.resize(bytes.len().max(*size), 0),
        Pending::Truncate { size } => bytes.resize(*size, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durable_write_supersedes_what_failed_before_it_and_nothing_else() {
        let write = |position, size: usize| Pending::Write {
            position,
            bytes: Rc::from(vec![7; size]),
        };
        let mut inode = Inode {
            durable: Vec::new(),
            pending: vec![(FAILED, write(0, 10)), (3, write(0, 10))],
        };
        inode.supersede(4..6);
        let left: Vec<_> = inode
            .pending
            .iter()
            .map(|(id, change)| match change {
                Pending::Write { position, bytes } => (*id, *position, bytes.len()),
                Pending::Grow { .. } | Pending::Truncate { .. } => panic!("{change:?}"),
            })
            .collect();
        assert_eq!(left, [(FAILED, 0, 4), (FAILED, 6, 4), (3, 0, 10)]);
        inode.supersede(0..10);
        assert_eq!(inode.pending.len(), 1);
    }
}
