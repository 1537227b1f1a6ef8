//! Which retired files are kept as spares, and which spare a new segment gets. Pure.
//!
//! | a retired file | is |
//! |---|---|
//! | smaller than the least size, or larger than the whole pool | deleted |
//! | one that fits beside the others | kept |
//! | one that does not fit, after new segments found no spare of their size | kept in place of the oldest spare |
//! | one that does not fit otherwise | deleted |
//!
//! So at most one file goes for each that comes, and only as often as new segments went away empty-handed: deleting a topic
//! of a thousand segments costs what it costs without a pool.

use std::collections::VecDeque;

/// At most so many spares, whatever their size: the next start looks at each.
pub(crate) const SPARES_MAX: usize = 64;

/// A file in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spare {
    /// What it is named after; unique in the pool.
    pub(crate) number: u64,
    pub(crate) size_bytes: u64,
}

/// What becomes of a retired file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// To be deleted.
    Refused,
    /// To be renamed to `spare`'s name. It counts as held from here on, and can be taken after [`Shelf::add`].
    Kept {
        spare: Spare,
        /// To be deleted for it.
        evicted: Option<Spare>,
    },
}

/// The pool's books.
#[derive(Debug)]
pub(crate) struct Shelf {
    bytes_max: u64,
    size_bytes_min: u64,
    /// Oldest first.
    free: VecDeque<Spare>,
    /// Of free spares and of those on their way in.
    held_bytes: u64,
    held: usize,
    next_number: u64,
    /// New segments that found spares, but none of their size, since one was last taken.
    missed: u32,
}

impl Shelf {
    pub(crate) fn new(bytes_max: u64, size_bytes_min: u64, next_number: u64) -> Self {
        Self {
            bytes_max,
            size_bytes_min,
            free: VecDeque::new(),
            held_bytes: 0,
            held: 0,
            next_number,
            missed: 0,
        }
    }

    /// Bytes of all files in the pool, those on their way in among them.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    fn has_room(&self, size_bytes: u64) -> bool {
        self.held < SPARES_MAX && self.held_bytes.saturating_add(size_bytes) <= self.bytes_max
    }

    fn hold(&mut self, spare: Spare) {
        self.held += 1;
        self.held_bytes += spare.size_bytes;
    }

    fn drop_held(&mut self, spare: Spare) {
        self.held -= 1;
        self.held_bytes -= spare.size_bytes;
    }

    /// Decides over a retired file.
    pub(crate) fn admit(&mut self, size_bytes: u64) -> Admission {
        if size_bytes < self.size_bytes_min || size_bytes > self.bytes_max {
            return Admission::Refused;
        }
        let mut evicted = None;
        if !self.has_room(size_bytes) {
            let makes_room = self.free.front().is_some_and(|oldest| {
                self.held_bytes - oldest.size_bytes + size_bytes <= self.bytes_max
            });
            if self.missed == 0 || !makes_room {
                return Admission::Refused;
            }
            self.missed -= 1;
            evicted = self.free.pop_front();
            if let Some(oldest) = evicted {
                self.drop_held(oldest);
            }
        }
        let spare = Spare {
            number: self.next_number,
            size_bytes,
        };
        self.next_number += 1;
        self.hold(spare);
        Admission::Kept { spare, evicted }
    }

    /// Takes over a file that lies in the pool already. `false`: it does not fit and is to be deleted.
    pub(crate) fn take_over(&mut self, spare: Spare) -> bool {
        if spare.size_bytes < self.size_bytes_min || !self.has_room(spare.size_bytes) {
            return false;
        }
        self.next_number = self.next_number.max(spare.number.saturating_add(1));
        self.hold(spare);
        self.free.push_back(spare);
        true
    }

    /// An admitted file lies durably in the pool and nowhere else.
    pub(crate) fn add(&mut self, spare: Spare) {
        self.free.push_back(spare);
    }

    /// A file that was admitted or taken is not in the pool.
    pub(crate) fn forget(&mut self, spare: Spare) {
        self.drop_held(spare);
    }

    /// The spare for a new segment that may grow to `size_bytes_max` and is expected to use `expected_bytes`: the one of
    /// which most can be used, if it will be used for the greater part: a segment that stays small must not hold a large
    /// file. What exceeds `size_bytes_max` is to be cut off. It counts as held until [`Shelf::forget`].
    pub(crate) fn take(&mut self, expected_bytes: u64, size_bytes_max: u64) -> Option<Spare> {
        let usable = |spare: &Spare| spare.size_bytes.min(size_bytes_max);
        let best = self
            .free
            .iter()
            .enumerate()
            .filter(|(_, spare)| {
                let half = usable(spare) / 2;
                half <= expected_bytes && spare.size_bytes / 2 <= usable(spare)
            })
            .max_by_key(|(_, spare)| (usable(spare), std::cmp::Reverse(spare.size_bytes)))
            .map(|(index, _)| index);
        if best.is_none() && !self.free.is_empty() {
            self.missed = self.missed.saturating_add(1);
        }
        let spare = self.free.remove(best?)?;
        self.missed = 0;
        Some(spare)
    }

    /// Takes a spare out to delete it. It counts as held until [`Shelf::forget`].
    pub(crate) fn take_any(&mut self) -> Option<Spare> {
        self.free.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    /// A pool of 100 MiB with spares of these sizes in MiB.
    fn shelf(sizes: &[u64]) -> Shelf {
        let mut shelf = Shelf::new(100 * M, M, 0);
        for size in sizes {
            match shelf.admit(size * M) {
                Admission::Kept { spare, .. } => shelf.add(spare),
                Admission::Refused => panic!("{size} MiB fit"),
            }
        }
        shelf
    }

    #[test]
    fn what_fits_is_kept() {
        for (name, sizes, size_bytes, expected) in [
            ("an empty pool", &[][..], 100 * M, true),
            ("larger than the pool", &[], 100 * M + 1, false),
            ("too small", &[], M - 1, false),
            ("room is left", &[60], 40 * M, true),
            ("no room is left", &[60], 41 * M, false),
        ] {
            let admission = shelf(sizes).admit(size_bytes);
            assert_eq!(
                matches!(admission, Admission::Kept { evicted: None, .. }),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_pool_of_a_size_that_nobody_wants_changes_by_one_file_for_each_that_was_missed() {
        let mut shelf = shelf(&[50, 50]);
        assert_eq!(shelf.admit(10 * M), Admission::Refused);
        assert_eq!(shelf.take(10 * M, 10 * M), None);
        let kept = shelf.admit(10 * M);
        assert!(
            matches!(
                kept,
                Admission::Kept {
                    evicted: Some(Spare { number: 0, .. }),
                    spare: Spare { number: 2, .. }
                }
            ),
            "{kept:?}"
        );
        // There is room for these now, and then once more none.
        for _ in 0..4 {
            assert!(matches!(
                shelf.admit(10 * M),
                Admission::Kept { evicted: None, .. }
            ));
        }
        assert_eq!(shelf.admit(10 * M), Admission::Refused);
        assert_eq!(shelf.held_bytes(), 100 * M);
    }

    #[test]
    fn files_on_their_way_in_are_held_and_not_taken() {
        let mut shelf = shelf(&[]);
        let Admission::Kept { spare, .. } = shelf.admit(50 * M) else {
            panic!("it fits");
        };
        assert_eq!(shelf.held_bytes(), 50 * M);
        assert_eq!(shelf.take(50 * M, 50 * M), None);
        shelf.forget(spare);
        assert_eq!(shelf.held_bytes(), 0);
    }

    #[test]
    fn a_new_segment_gets_the_spare_of_which_it_uses_most() {
        for (name, sizes, expected_bytes, size_bytes_max, expected) in [
            ("exact", &[10, 20, 30][..], 20 * M, 20 * M, Some(20)),
            ("smaller", &[5, 8], 20 * M, 20 * M, Some(8)),
            ("larger, to be cut", &[5, 30], 20 * M, 20 * M, Some(30)),
            ("the least cut", &[30, 22], 20 * M, 20 * M, Some(22)),
            ("too large to cut", &[50], 20 * M, 20 * M, None),
            ("its log fills no segment", &[20], 9 * M, 20 * M, None),
            ("half of it is enough", &[20], 10 * M, 20 * M, Some(20)),
            ("a log's first segment", &[1, 20], 0, 20 * M, None),
            ("no spares", &[], 20 * M, 20 * M, None),
        ] {
            let taken = shelf(sizes).take(expected_bytes, size_bytes_max);
            assert_eq!(taken.map(|spare| spare.size_bytes / M), expected, "{name}");
        }
    }

    #[test]
    fn what_a_previous_run_left_is_bounded_and_keeps_its_numbers() {
        let mut shelf = Shelf::new(100 * M, M, 0);
        let spare = |number, size| Spare {
            number,
            size_bytes: size * M,
        };
        assert!(shelf.take_over(spare(7, 60)));
        assert!(!shelf.take_over(spare(8, 60)));
        assert!(!shelf.take_over(spare(9, 0)));
        assert!(shelf.take_over(spare(3, 40)));
        assert_eq!(shelf.free_count(), 2);
        assert_eq!(shelf.take_any(), Some(spare(7, 60)));
        shelf.forget(spare(7, 60));
        assert!(matches!(
            shelf.admit(M),
            Admission::Kept {
                spare: Spare { number: 8, .. },
                ..
            }
        ));
    }

    #[test]
    fn the_number_of_spares_is_bounded() {
        let mut shelf = Shelf::new(u64::MAX, 1, 0);
        for number in 0..SPARES_MAX as u64 {
            assert!(shelf.take_over(Spare {
                number,
                size_bytes: 1
            }));
        }
        assert_eq!(shelf.admit(1), Admission::Refused);
    }
}
