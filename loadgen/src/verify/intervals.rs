//! A set of sequence numbers, kept as disjoint half-open intervals.
//!
//! Sequences arrive nearly in order, so a stream of millions is one interval, and adding to it is one comparison.
//! Memory grows with the number of gaps alone; a set that would hold more than [`INTERVALS_MAX`] refuses, because a
//! run that loses that much has failed anyway and must not take the machine's memory with it.

use std::collections::BTreeMap;

use thiserror::Error;

/// The most gaps one set remembers: 16 MiB of bounds.
pub const INTERVALS_MAX: usize = 1 << 20;

/// The set would have more gaps than it may remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "more than {INTERVALS_MAX} gaps between sequence numbers: too much is missing to go on counting exactly"
)]
pub struct TooManyGaps;

/// Disjoint, non-adjacent half-open intervals of `u64`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntervalSet {
    /// The interval that was touched last, where the next addition will most likely fall; empty when `start == end`.
    hot: Interval,
    /// All others, by start. None touches or overlaps `hot` or another.
    cold: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Interval {
    start: u64,
    end: u64,
}

impl IntervalSet {
    /// Adds `start..end` and says how many of them were new.
    pub fn insert(&mut self, start: u64, end: u64) -> Result<u64, TooManyGaps> {
        if start >= end {
            return Ok(0);
        }
        if self.hot.end == start && self.hot.start < self.hot.end && self.room_before_next(end) {
            self.hot.end = end;
            return Ok(end - start);
        }
        self.insert_anywhere(start, end)
    }

    /// Whether no cold interval begins at or before `end` behind the hot one.
    fn room_before_next(&self, end: u64) -> bool {
        self.cold.is_empty() || self.cold.range(self.hot.end..=end).next().is_none()
    }

    fn insert_anywhere(&mut self, start: u64, end: u64) -> Result<u64, TooManyGaps> {
        if self.hot.start < self.hot.end {
            self.cold.insert(self.hot.start, self.hot.end);
            self.hot = Interval::default();
        }
        let mut merged = Interval { start, end };
        let mut known = 0;
        // Every interval that overlaps or touches the new one begins at or before its end; walking back from there
        // ends at the first that ends before it begins.
        while let Some((&other_start, &other_end)) = self.cold.range(..=merged.end).next_back() {
            if other_end < start {
                break;
            }
            known += other_end.min(end).saturating_sub(other_start.max(start));
            merged.start = merged.start.min(other_start);
            merged.end = merged.end.max(other_end);
            self.cold.remove(&other_start);
        }
        if self.cold.len() >= INTERVALS_MAX {
            return Err(TooManyGaps);
        }
        self.hot = merged;
        Ok(end - start - known)
    }

    /// Whether `value` is in the set.
    pub fn contains(&self, value: u64) -> bool {
        (self.hot.start <= value && value < self.hot.end)
            || self
                .cold
                .range(..=value)
                .next_back()
                .is_some_and(|(_, end)| value < *end)
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> u64 {
        self.hot.end - self.hot.start
            + self
                .cold
                .iter()
                .map(|(start, end)| end - start)
                .sum::<u64>()
    }

    /// One past the highest number in the set; 0 when it is empty.
    pub fn end(&self) -> u64 {
        self.hot
            .end
            .max(self.cold.last_key_value().map_or(0, |(_, end)| *end))
    }

    /// The intervals, ascending, as half-open pairs.
    pub fn intervals(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let hot = (self.hot.start < self.hot.end).then_some((self.hot.start, self.hot.end));
        let before = self
            .cold
            .range(..self.hot.start)
            .map(|(start, end)| (*start, *end));
        let after = self
            .cold
            .range(self.hot.start..)
            .map(|(start, end)| (*start, *end));
        before.chain(hot).chain(after)
    }

    /// The intervals of this set that `other` lacks, ascending, as half-open pairs.
    pub fn missing_from(&self, other: &IntervalSet) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut others = other.intervals().peekable();
        for (start, end) in self.intervals() {
            let mut at = start;
            while at < end {
                match others.peek() {
                    Some((_, other_end)) if *other_end <= at => {
                        others.next();
                    }
                    Some((other_start, other_end)) if *other_start <= at => at = *other_end,
                    Some((other_start, _)) => {
                        missing.push((at, end.min(*other_start)));
                        at = *other_start;
                    }
                    None => {
                        missing.push((at, end));
                        at = end;
                    }
                }
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set(ranges in prop::collection::vec((0u64..200, 0u64..20), 0..80)) {
            let mut set = IntervalSet::default();
            let mut model = BTreeSet::new();
            for (start, length) in ranges {
                let fresh = (start..start + length).filter(|value| model.insert(*value)).count() as u64;
                prop_assert_eq!(set.insert(start, start + length), Ok(fresh));
                prop_assert_eq!(set.count(), model.len() as u64);
                prop_assert_eq!(set.end(), model.last().map_or(0, |last| last + 1));
            }
            for value in 0..230 {
                prop_assert_eq!(set.contains(value), model.contains(&value));
            }
            let intervals: Vec<_> = set.intervals().collect();
            prop_assert!(intervals.windows(2).all(|pair| pair[0].1 < pair[1].0), "touching: {:?}", intervals);
        }

        #[test]
        fn what_is_missing_is_the_difference(
            own in prop::collection::vec((0u64..100, 0u64..10), 0..20),
            others in prop::collection::vec((0u64..100, 0u64..10), 0..20),
        ) {
            let make = |ranges: &[(u64, u64)]| {
                let mut set = IntervalSet::default();
                let mut model = BTreeSet::new();
                for (start, length) in ranges {
                    set.insert(*start, start + length).unwrap();
                    model.extend(*start..start + length);
                }
                (set, model)
            };
            let (own, own_model) = make(&own);
            let (other, other_model) = make(&others);
            let missing: Vec<u64> = own.missing_from(&other).into_iter().flat_map(|(start, end)| start..end).collect();
            let expected: Vec<u64> = own_model.difference(&other_model).copied().collect();
            prop_assert_eq!(missing, expected);
        }
    }

    #[test]
    fn a_stream_in_order_is_one_interval() {
        let mut set = IntervalSet::default();
        for start in (0..1_000_000).step_by(100) {
            assert_eq!(set.insert(start, start + 100), Ok(100));
        }
        assert_eq!(set.intervals().collect::<Vec<_>>(), vec![(0, 1_000_000)]);
    }

    #[test]
    fn a_gap_too_many_is_refused() {
        let mut set = IntervalSet::default();
        let mut outcome = Ok(1);
        for value in 0..INTERVALS_MAX as u64 + 2 {
            outcome = set.insert(value * 2, value * 2 + 1);
        }
        assert_eq!(outcome, Err(TooManyGaps));
    }
}
