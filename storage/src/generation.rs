//! Generations: numbers of segments that nobody outside can guess. Pure.
//!
//! The high 32 bits count: each segment's counter is above that of every segment its log had when it was begun, so
//! counters tell which of two is newer. The low 32 bits are random. A producer may guess everything else that stands in a
//! commit block's header, and may store whole forged blocks inside its records; a search through damaged bytes takes a
//! block for real only if its generation matches exactly, so the random half is what keeps forgeries out.

use std::cell::Cell;

use crate::seeded_bugs::seeded_bug;

const COUNTER_SHIFT: u32 = 32;

/// The part of a generation that orders the segments of a log.
pub(crate) const fn counter(generation: u64) -> u32 {
    (generation >> COUNTER_SHIFT) as u32
}

/// Where a lane's generations come from.
#[derive(Debug)]
pub(crate) struct Generations {
    /// The state of a small generator (`SplitMix64`). What it gives is never shown to a client.
    state: Cell<u64>,
}

impl Generations {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: Cell::new(seed),
        }
    }

    /// A generation whose counter follows `highest`.
    pub(crate) fn after(&self, highest: u32) -> u64 {
        if seeded_bug("generation-used-again") {
            return 1 << COUNTER_SHIFT;
        }
        u64::from(highest.saturating_add(1)) << COUNTER_SHIFT | self.random() >> COUNTER_SHIFT
    }

    fn random(&self) -> u64 {
        if seeded_bug("generation-guessable") {
            return 0;
        }
        let state = self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn counters_rise_and_the_rest_differs() {
        let (one, other) = (Generations::new(1), Generations::new(2));
        let mut seen = HashSet::new();
        for highest in 0..1000 {
            for generation in [one.after(highest), other.after(highest)] {
                assert_eq!(counter(generation), highest + 1);
                assert!(seen.insert(generation as u32), "{highest}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        assert_eq!(Generations::new(7).after(3), Generations::new(7).after(3));
    }

    #[test]
    fn the_last_counter_stays() {
        assert_eq!(counter(Generations::new(7).after(u32::MAX)), u32::MAX);
    }
}
