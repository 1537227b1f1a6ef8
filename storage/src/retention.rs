//! Which segments a log's retention lets go. Pure.
//!
//! Only whole segments from the front, never the last one. A segment goes when it lies wholly below the log start, when
//! its newest record is too old, or when the log without it still holds what `retention.bytes` wants kept. Timestamps
//! come from batch headers that were checked when they were appended or scanned, never from a sidecar alone; a
//! segment without timestamps, or with quarantined ranges, is kept by the time rule.

use corelane_format::{Offset, TimestampMs};

/// What is known of one segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentFacts {
    /// Exclusive.
    pub(crate) end_offset: Offset,
    pub(crate) size_bytes: u64,
    /// Whether compaction has left nothing in it.
    pub(crate) is_empty: bool,
    /// The largest timestamp, if there is any that can be trusted.
    pub(crate) max_timestamp: Option<TimestampMs>,
}

/// The limits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RetentionLimits {
    pub(crate) retention_ms: Option<u64>,
    pub(crate) retention_bytes: Option<u64>,
}

/// How many segments from the front go; `segments` includes the active one, which stays.
pub(crate) fn expired_segments(
    segments: &[SegmentFacts],
    log_start: Offset,
    now: TimestampMs,
    limits: &RetentionLimits,
) -> usize {
    let Some((_, sealed)) = segments.split_last() else {
        return 0;
    };
    let mut total: u64 = segments.iter().map(|segment| segment.size_bytes).sum();
    let mut expired = 0;
    for segment in sealed {
        let below_start = segment.end_offset <= log_start;
        let too_old = is_too_old(segment, now, limits);
        let too_much = limits
            .retention_bytes
            .is_some_and(|limit| total.saturating_sub(segment.size_bytes) >= limit);
        if !(below_start || too_old || too_much) {
            break;
        }
        total -= segment.size_bytes;
        expired += 1;
    }
    expired
}

/// Whether the time limit alone lets the segment go.
pub(crate) fn is_too_old(
    segment: &SegmentFacts,
    now: TimestampMs,
    limits: &RetentionLimits,
) -> bool {
    let Some(limit) = limits.retention_ms else {
        return false;
    };
    let Some(newest) = segment.max_timestamp else {
        // It holds nothing, and must not keep what is behind it.
        return segment.is_empty;
    };
    u64::try_from(now.get().saturating_sub(newest.get())).is_ok_and(|age| age > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(end: i64, size: u64, timestamp: i64) -> SegmentFacts {
        SegmentFacts {
            end_offset: Offset::new(end),
            size_bytes: size,
            is_empty: false,
            max_timestamp: (timestamp >= 0).then_some(TimestampMs::new(timestamp)),
        }
    }

    #[test]
    fn retention_table() {
        let log = [
            facts(10, 100, 1000),
            facts(20, 100, 2000),
            facts(30, 100, 3000),
        ];
        let no_times = [
            facts(10, 100, -1),
            facts(20, 100, 2000),
            facts(30, 100, 3000),
        ];
        let emptied = [
            SegmentFacts {
                is_empty: true,
                ..facts(10, 100, -1)
            },
            facts(20, 100, 2000),
            facts(30, 100, 3000),
        ];
        for (name, segments, start, now, ms, bytes, expected) in [
            ("an emptied one", emptied, 0, 2000, Some(500), None, 1),
            ("what follows it", emptied, 0, 2501, Some(500), None, 2),
            ("without a limit", emptied, 0, 2501, None, None, 0),
            ("unlimited", log, 0, 1_000_000, None, None, 0),
            ("young", log, 0, 1500, Some(500), None, 0),
            ("one old", log, 0, 1501, Some(500), None, 1),
            ("never the last", log, 0, 1_000_000, Some(1), None, 2),
            ("bytes keep what is wanted", log, 0, 0, None, Some(250), 0),
            ("bytes", log, 0, 0, None, Some(200), 1),
            ("zero bytes", log, 0, 0, None, Some(0), 2),
            ("below the log start", log, 10, 0, None, None, 1),
            ("partly below", log, 9, 0, None, None, 0),
            ("no timestamps", no_times, 0, 1_000_000, Some(1), None, 0),
            ("a clock that went back", log, 0, 0, Some(1), None, 0),
        ] {
            let limits = RetentionLimits {
                retention_ms: ms,
                retention_bytes: bytes,
            };
            let got = expired_segments(
                &segments,
                Offset::new(start),
                TimestampMs::new(now),
                &limits,
            );
            assert_eq!(got, expected, "{name}");
        }
    }
}
