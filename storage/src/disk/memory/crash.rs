//! What a crash leaves.

use std::rc::Rc;

use super::inode::{Inode, Pending, apply};
use super::names::{NameChange, Node, change_name};
use super::{MemoryDisk, SECTOR_BYTES, State};

/// What is left of whatever was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// Each pending write wholly or not at all, in any order, and some prefix of the pending name changes.
    Subset {
        /// Of the random choice.
        seed: u64,
    },
    /// Each 512-byte sector of each pending write by itself, in any order, and some prefix of the name changes.
    Torn {
        /// Of the random choice.
        seed: u64,
    },
    /// Exactly these, out of [`MemoryDisk::loose_ends`]: for going through all of them.
    Chosen {
        /// Bit `n` is the `n`-th sector, or the `n`-th change of a file's size.
        sectors: u64,
        /// So many of the name changes, from the first on.
        names: usize,
    },
}

/// What a crash at this moment decides over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LooseEnds {
    /// Pending sectors that would leave something else than there is, and pending changes of a file's size.
    pub sectors: usize,
    /// Pending changes of names.
    pub names: usize,
}

impl MemoryDisk {
    /// The disk that is left after a crash at this moment.
    #[must_use]
    pub fn crash(&self, survival: Survival) -> MemoryDisk {
        let state = self.0.borrow();
        let mut choice = Choice::of(survival);
        let kept = match survival {
            Survival::None => 0,
            Survival::All => state.pending_names.len(),
            Survival::Subset { .. } | Survival::Torn { .. } => {
                choice.dice.below(state.pending_names.len() as u64 + 1) as usize
            }
            Survival::Chosen { names, .. } => names,
        };
        let mut names = state.durable_names.clone();
        for change in &state.pending_names[..kept] {
            change_name(&mut names, change);
        }
        let reachable = state.reachable();
        let inodes = state
            .inodes
            .iter()
            .zip(reachable)
            .map(|(inode, reachable)| Inode {
                durable: if reachable {
                    choice.survivors(inode)
                } else {
                    Vec::new()
                },
                pending: Vec::new(),
            })
            .collect();
        let left = Self::default();
        {
            let mut image = left.0.borrow_mut();
            image.inodes = inodes;
            image.names = names.clone();
            image.durable_names = names;
        }
        left
    }

    /// What [`Survival::Chosen`] chooses from.
    pub fn loose_ends(&self) -> LooseEnds {
        let state = self.0.borrow();
        let reachable = state.reachable();
        let sectors = state
            .inodes
            .iter()
            .zip(reachable)
            .filter(|(_, reachable)| *reachable)
            .map(|(inode, _)| pieces(inode, true).len())
            .sum();
        LooseEnds {
            sectors,
            names: state.pending_names.len(),
        }
    }

    /// A number that two disks share if a process sees the same files with the same content on both.
    pub fn fingerprint(&self) -> u64 {
        let state = self.0.borrow();
        let mut hash = Hash(0);
        for (path, node) in &state.names {
            hash.add(path.as_os_str().as_encoded_bytes());
            if let Node::File(inode) = node {
                hash.add(&state.inodes[*inode].visible());
            }
        }
        hash.0
    }
}

impl State {
    /// Which files have a name, or may have one after a crash.
    fn reachable(&self) -> Vec<bool> {
        let mut reachable = vec![false; self.inodes.len()];
        let pending = self.pending_names.iter().filter_map(|change| match change {
            NameChange::Link { node, .. } => Some(node),
            NameChange::Unlink { .. } | NameChange::Rename { .. } => None,
        });
        for node in self.durable_names.values().chain(pending) {
            if let Node::File(inode) = node {
                reachable[*inode] = true;
            }
        }
        reachable
    }
}

/// The parts of what is pending that survive or not, each by itself.
fn pieces(inode: &Inode, torn: bool) -> Vec<Pending> {
    let mut pieces = Vec::new();
    for (_, pending) in &inode.pending {
        match pending {
            Pending::Write { position, bytes } if torn => {
                for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    let position = position + index * SECTOR_BYTES;
                    if !inode.holds(position, sector) {
                        pieces.push(Pending::Write {
                            position,
                            bytes: Rc::from(sector),
                        });
                    }
                }
            }
            whole => pieces.push(whole.clone()),
        }
    }
    pieces
}

/// Decides piece by piece, over all files.
struct Choice {
    survival: Survival,
    dice: Dice,
    next: u32,
}

impl Choice {
    fn of(survival: Survival) -> Self {
        let seed = match survival {
            Survival::Subset { seed } | Survival::Torn { seed } => seed ^ 0xC0FF_EE00,
            Survival::None | Survival::All | Survival::Chosen { .. } => 0,
        };
        Self {
            survival,
            dice: Dice::new(seed),
            next: 0,
        }
    }

    fn survives(&mut self) -> bool {
        let index = self.next;
        self.next += 1;
        match self.survival {
            Survival::None => false,
            Survival::All => true,
            Survival::Subset { .. } | Survival::Torn { .. } => self.dice.below(2) == 0,
            Survival::Chosen { sectors, .. } => sectors.checked_shr(index).unwrap_or(0) & 1 == 1,
        }
    }

    fn survivors(&mut self, inode: &Inode) -> Vec<u8> {
        let torn = matches!(
            self.survival,
            Survival::Torn { .. } | Survival::Chosen { .. }
        );
        let mut bytes = inode.durable.clone();
        // Two pending writes to one sector never happen (no overlap in flight), so that order does not matter to the
        // content; shrinking is the one thing that must keep its place.
        for piece in pieces(inode, torn) {
            if self.survives() {
                apply(&mut bytes, &piece);
            }
        }
        bytes
    }
}

/// A small generator (`SplitMix64`): the same seed, the same disk.
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// Quick and good enough to tell images apart.
struct Hash(u64);

impl Hash {
    fn add(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn mix(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 29);
    }
}
