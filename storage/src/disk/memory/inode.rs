//! A file's content: what is durable, and what is pending.

use std::rc::Rc;

use super::{SECTOR_BYTES, Survival};

/// A small generator (SplitMix64): the same seed, the same disk.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

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

pub(super) fn survivors(inode: &Inode, survival: Survival, dice: &mut Dice) -> Vec<u8> {
    match survival {
        Survival::None => inode.durable.clone(),
        Survival::All => inode.visible(),
        Survival::Subset { .. } | Survival::Torn { .. } => {
            let mut pieces: Vec<Pending> = Vec::new();
            for (_, pending) in &inode.pending {
                match pending {
                    Pending::Write { position, bytes }
                        if matches!(survival, Survival::Torn { .. }) =>
                    {
                        for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                            pieces.push(Pending::Write {
                                position: position + index * SECTOR_BYTES,
                                bytes: Rc::from(sector),
                            });
                        }
                    }
                    whole => pieces.push(whole.clone()),
                }
            }
            let mut bytes = inode.durable.clone();
            // Two pending writes to one sector never happen (no overlap in flight), so that order does not matter to
            // the content; shrinking is the one thing that must keep its place.
            for piece in &pieces {
                if dice.below(2) == 0 {
                    apply(&mut bytes, piece);
                }
            }
            bytes
        }
    }
}
