//! When a log begins a new segment. Pure.

use corelane_format::TimestampMs;

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RollInput {
    /// Bytes of the active segment, counted to the end of its last block.
    pub(crate) size_bytes: u64,
    /// Whether it holds any batch.
    pub(crate) is_empty: bool,
    /// The timestamp of its first batch, if it has one.
    pub(crate) first_timestamp: Option<TimestampMs>,
    /// The size of the batch to come.
    pub(crate) batch_bytes: u64,
    /// The largest timestamp of the batch to come.
    pub(crate) batch_timestamp: TimestampMs,
    pub(crate) segment_size_bytes_max: u64,
    pub(crate) segment_age_ms_max: u64,
    /// Offsets from the segment's base to the end of the batch to come.
    pub(crate) offset_span: i64,
    /// The segment must not grow, whatever its size: its tail was torn or cut.
    pub(crate) closed: bool,
    /// The wall clock, for segments without timestamps.
    pub(crate) now: TimestampMs,
}

/// | segment | rolls |
/// |---|---|
/// | closed | yes |
/// | empty | no |
/// | would exceed its size | yes |
/// | age from its first batch reached | yes |
/// | offsets would not fit 31 bits | yes |
pub(crate) fn should_roll(input: &RollInput) -> bool {
    if input.closed {
        return true;
    }
    if input.is_empty {
        return false;
    }
    if input.size_bytes.saturating_add(input.batch_bytes) > input.segment_size_bytes_max {
        return true;
    }
    if input.offset_span > i64::from(i32::MAX) {
        return true;
    }
    // As Kafka: by the records' own clock where they have one.
    let at = if input.batch_timestamp.get() >= 0 {
        input.batch_timestamp
    } else {
        input.now
    };
    input.first_timestamp.is_some_and(|first| {
        let age = at.get().saturating_sub(first.get());
        u64::try_from(age).is_ok_and(|age| age > input.segment_age_ms_max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roll_table() {
        let base = RollInput {
            size_bytes: 1000,
            is_empty: false,
            first_timestamp: Some(TimestampMs::new(100)),
            batch_bytes: 10,
            batch_timestamp: TimestampMs::new(150),
            segment_size_bytes_max: 1010,
            segment_age_ms_max: 50,
            offset_span: 10,
            closed: false,
            now: TimestampMs::new(0),
        };
        for (name, input, expected) in [
            ("fits", base, false),
            (
                "one byte too many",
                RollInput {
                    batch_bytes: 11,
                    ..base
                },
                true,
            ),
            (
                "an empty segment takes any batch",
                RollInput {
                    batch_bytes: 5000,
                    is_empty: true,
                    ..base
                },
                false,
            ),
            (
                "too old",
                RollInput {
                    batch_timestamp: TimestampMs::new(151),
                    ..base
                },
                true,
            ),
            (
                "no timestamps in the batch",
                RollInput {
                    batch_timestamp: TimestampMs::NONE,
                    ..base
                },
                false,
            ),
            (
                "no timestamps in the batch, old by the clock",
                RollInput {
                    batch_timestamp: TimestampMs::NONE,
                    now: TimestampMs::new(1000),
                    ..base
                },
                true,
            ),
            (
                "no timestamp at all",
                RollInput {
                    first_timestamp: None,
                    ..base
                },
                false,
            ),
            (
                "going back in time",
                RollInput {
                    batch_timestamp: TimestampMs::new(1),
                    ..base
                },
                false,
            ),
            (
                "closed",
                RollInput {
                    closed: true,
                    is_empty: true,
                    ..base
                },
                true,
            ),
            (
                "offsets",
                RollInput {
                    offset_span: 1 << 31,
                    ..base
                },
                true,
            ),
        ] {
            assert_eq!(should_roll(&input), expected, "{name}");
        }
    }
}
