//! Which segments a compaction takes, and whether it is worth it. Pure.

use std::ops::Range;

use corelane_format::{Offset, TimestampMs};

use crate::config::CompactionConfig;
use crate::seeded_bugs::seeded_bug;

/// What is known of a sealed segment all of whose bytes are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedSegment {
    pub(crate) base: Offset,
    /// Exclusive.
    pub(crate) end: Offset,
    pub(crate) size_bytes: u64,
    pub(crate) first_timestamp: Option<TimestampMs>,
    pub(crate) max_timestamp: Option<TimestampMs>,
    /// Whether it holds nothing at all: all of its records went before.
    pub(crate) is_empty: bool,
    /// Whether it has damage: it stays as it is, so that its damage stays visible.
    pub(crate) is_damaged: bool,
}

/// What of a log could be compacted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompactionPlan {
    /// Where the map of keys begins.
    pub(crate) first_dirty: Offset,
    /// Exclusive: where it ends at the latest. A segment's end.
    pub(crate) end: Offset,
    /// The dirty part of what could be compacted, in millionths.
    pub(crate) dirty_ratio_ppm: u32,
    /// Bytes of the dirty part.
    pub(crate) dirty_bytes: u64,
    /// Whether the dirty part is older than `max.compaction.lag.ms`.
    pub(crate) is_overdue: bool,
}

impl CompactionPlan {
    /// As Kafka: more dirty than the ratio, or overdue.
    pub(crate) fn is_due(&self, config: &CompactionConfig) -> bool {
        self.dirty_bytes > 0
            && (self.is_overdue || self.dirty_ratio_ppm > config.dirty_ratio_min_ppm)
    }
}

/// Looks at a log's sealed segments, which are in order and without holes between them; `checkpoint` is how far it was
/// compacted.
pub(crate) fn plan_compaction(
    sealed: &[SealedSegment],
    checkpoint: Option<Offset>,
    log_start: Offset,
    log_end: Offset,
    now: TimestampMs,
    config: &CompactionConfig,
) -> CompactionPlan {
    // Below the log start there is nothing; above the log's end there never was: everything may be dirty.
    let first_dirty = checkpoint
        .filter(|offset| (log_start..=log_end).contains(offset))
        .unwrap_or(log_start);
    let dirty = sealed.partition_point(|segment| segment.end <= first_dirty);
    let (clean, dirty) = sealed.split_at(dirty);
    let cleanable = dirty
        .iter()
        .take_while(|segment| !is_too_young(segment, now, config))
        .count();
    let (cleanable, _) = dirty.split_at(cleanable);
    let bytes = |segments: &[SealedSegment]| {
        segments
            .iter()
            .map(|segment| segment.size_bytes)
            .sum::<u64>()
    };
    let (clean_bytes, dirty_bytes) = (bytes(clean), bytes(cleanable));
    let total_bytes = clean_bytes.saturating_add(dirty_bytes);
    let dirty_ratio_ppm = (u128::from(dirty_bytes) * 1_000_000)
        .checked_div(u128::from(total_bytes))
        .unwrap_or(0);
    let oldest = dirty
        .iter()
        .filter_map(|segment| segment.first_timestamp)
        .filter(|timestamp| timestamp.get() > 0)
        .min();
    CompactionPlan {
        first_dirty,
        end: cleanable.last().map_or(first_dirty, |segment| segment.end),
        dirty_ratio_ppm: dirty_ratio_ppm as u32,
        dirty_bytes,
        is_overdue: oldest.is_some_and(|oldest| age_ms(oldest, now) > config.lag_ms_max),
    }
}

fn age_ms(timestamp: TimestampMs, now: TimestampMs) -> u64 {
    u64::try_from(now.get().saturating_sub(timestamp.get())).unwrap_or(0)
}

/// Whether `min.compaction.lag.ms` protects the segment. Without a timestamp its age cannot be told.
fn is_too_young(segment: &SealedSegment, now: TimestampMs, config: &CompactionConfig) -> bool {
    config.lag_ms_min > 0
        && !seeded_bug("lag-ignored")
        && !segment.is_empty
        && segment
            .max_timestamp
            .is_none_or(|newest| age_ms(newest, now) < config.lag_ms_min)
}

/// Neighbours that together are no larger than one segment may be, as ranges of indexes: each becomes one segment.
/// Damaged segments are in none.
pub(crate) fn group_segments(segments: &[SealedSegment], size_bytes_max: u64) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut open: Option<(Offset, u64)> = None;
    for (index, segment) in segments.iter().enumerate() {
        if segment.is_damaged {
            open = None;
            continue;
        }
        let joins = open.filter(|(base, size_bytes)| {
            size_bytes.saturating_add(segment.size_bytes) <= size_bytes_max
                && segment.end.minus(*base) <= i64::from(i32::MAX)
        });
        if let (Some((base, size_bytes)), Some(group)) = (joins, groups.last_mut()) {
            group.end = index + 1;
            open = Some((base, size_bytes + segment.size_bytes));
        } else {
            groups.push(index..index + 1);
            open = Some((segment.base, segment.size_bytes));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `base..end size first-max`, or `!` in front for a damaged one.
    fn segments(text: &str) -> Vec<SealedSegment> {
        text.split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| {
                let is_damaged = part.trim().starts_with('!');
                let mut words = part.trim().trim_start_matches('!').split_whitespace();
                let (base, end) = words.next().unwrap().split_once("..").unwrap();
                let size_bytes = words.next().unwrap().parse().unwrap();
                let times = words.next().and_then(|times| times.split_once('-'));
                let time = |text: &str| TimestampMs::new(text.parse().unwrap());
                SealedSegment {
                    base: Offset::new(base.parse().unwrap()),
                    end: Offset::new(end.parse().unwrap()),
                    size_bytes,
                    first_timestamp: times.map(|(first, _)| time(first)),
                    max_timestamp: times.map(|(_, max)| time(max)),
                    is_empty: false,
                    is_damaged,
                }
            })
            .collect()
    }

    #[test]
    fn plans() {
        let log = "0..10 300 100-200, 10..20 100 200-300, 20..30 100 300-400";
        // segments, checkpoint, log start, min lag, max lag -> first dirty, end, ratio, overdue; the clock is at 1000
        for (text, checkpoint, start, min, max, expected) in [
            ("", None, 0, 0, u64::MAX, "0..0 0"),
            (log, None, 0, 0, u64::MAX, "0..30 1000000"),
            (log, Some(10), 0, 0, u64::MAX, "10..30 400000"),
            (log, Some(15), 0, 0, u64::MAX, "15..30 400000"),
            (log, Some(30), 0, 0, u64::MAX, "30..30 0"),
            // A checkpoint that lies outside of the log counts for nothing.
            (log, Some(5), 10, 0, u64::MAX, "10..30 400000"),
            (log, Some(99), 0, 0, u64::MAX, "0..30 1000000"),
            // Younger than the minimum: from there on nothing.
            (log, None, 0, 600, u64::MAX, "0..30 1000000"),
            (log, None, 0, 601, u64::MAX, "0..20 1000000"),
            (log, Some(10), 0, 701, u64::MAX, "10..10 0"),
            // Without timestamps no age can be told.
            ("0..10 300", None, 0, 1, u64::MAX, "0..0 0"),
            ("0..10 300", None, 0, 0, 1, "0..10 1000000"),
            // Older than the maximum.
            (log, Some(10), 0, 0, 800, "10..30 400000"),
            (log, Some(10), 0, 0, 799, "10..30 400000 overdue"),
            (log, Some(30), 0, 0, 1, "30..30 0"),
            // A clock that went back.
            ("0..10 300 5000-6000", None, 0, 1, 1, "0..0 0"),
        ] {
            let config = CompactionConfig {
                lag_ms_min: min,
                lag_ms_max: max,
                ..CompactionConfig::default()
            };
            let plan = plan_compaction(
                &segments(text),
                checkpoint.map(Offset::new),
                Offset::new(start),
                Offset::new(40),
                TimestampMs::new(1000),
                &config,
            );
            let mut got = format!(
                "{}..{} {}",
                plan.first_dirty, plan.end, plan.dirty_ratio_ppm
            );
            if plan.is_overdue {
                got += " overdue";
            }
            assert_eq!(got, expected, "{text} {checkpoint:?} {start} {min} {max}");
        }
    }

    #[test]
    fn when_it_is_worth_it() {
        let config = CompactionConfig::default();
        for (dirty_ratio_ppm, dirty_bytes, is_overdue, expected) in [
            (500_000, 10, false, false),
            (500_001, 10, false, true),
            (1, 10, true, true),
            (0, 0, true, false),
        ] {
            let plan = CompactionPlan {
                first_dirty: Offset::ZERO,
                end: Offset::new(1),
                dirty_ratio_ppm,
                dirty_bytes,
                is_overdue,
            };
            assert_eq!(plan.is_due(&config), expected, "{plan:?}");
        }
    }

    #[test]
    fn groups() {
        for (text, max, expected) in [
            ("", 100, ""),
            ("0..10 300, 10..20 100", 100, "0..1 1..2"),
            ("0..10 50, 10..20 50, 20..30 1", 100, "0..2 2..3"),
            (
                "0..10 50, !10..20 10, 20..30 10, 30..40 10",
                100,
                "0..1 2..4",
            ),
            ("!0..10 1", 100, ""),
            (
                "0..10 1, 10..2147483647 1, 2147483647..2147483648 1",
                100,
                "0..2 2..3",
            ),
        ] {
            let got: Vec<String> = group_segments(&segments(text), max)
                .iter()
                .map(|group| format!("{}..{}", group.start, group.end))
                .collect();
            assert_eq!(got.join(" "), expected, "{text}");
        }
    }
}
