//! How far ahead of its tail a segment's space is reserved. Pure.
//!
//! A thousand small partitions must be cheap and a busy one must never wait for space: the step starts small and doubles
//! with the segment, and the next step is taken in the background before the tail reaches the end.

/// The first reservation of a segment.
pub(crate) const STEP_BYTES_MIN: u64 = 256 << 10;
/// The furthest that is ever reserved ahead.
pub(crate) const STEP_BYTES_MAX: u64 = 64 << 20;

/// The size to reserve so that `needed_bytes` fit.
pub(crate) fn reserve_target(needed_bytes: u64, segment_size_bytes_max: u64) -> u64 {
    let step = needed_bytes
        .next_power_of_two()
        .clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
    let target = needed_bytes.div_ceil(step).saturating_mul(step);
    // The last step ends at the segment's size, unless one large batch needs more.
    let limit = segment_size_bytes_max.next_multiple_of(4096);
    target.min(limit.max(needed_bytes))
}

/// Whether the next step should be taken now, and to which size.
pub(crate) fn reserve_ahead(
    tail_bytes: u64,
    reserved_bytes: u64,
    segment_size_bytes_max: u64,
) -> Option<u64> {
    if tail_bytes < STEP_BYTES_MIN / 2 {
        return None;
    }
    let step = reserved_bytes.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
    if tail_bytes.saturating_add(step / 2) <= reserved_bytes {
        return None;
    }
    let limit = segment_size_bytes_max.next_multiple_of(4096);
    let target = reserve_target(reserved_bytes + 1, segment_size_bytes_max).min(limit);
    (target > reserved_bytes).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        const G: u64 = 1 << 30;
        const K: u64 = 1 << 10;
        const M: u64 = 1 << 20;
        for (needed, segment, expected) in [
            (8 * K, G, 256 * K),
            (256 * K, G, 256 * K),
            (256 * K + 1, G, 512 * K),
            (3 * M, G, 4 * M),
            (65 * M, G, 128 * M),
            (200 * M, G, 256 * M),
            (200 * M, 201 * M, 201 * M),
            (8 * K, 16 * K, 16 * K),
            (2 * M, M, 2 * M),
        ] {
            assert_eq!(
                reserve_target(needed, segment),
                expected,
                "{needed} of {segment}"
            );
        }
    }

    #[test]
    fn ahead() {
        const G: u64 = 1 << 30;
        const K: u64 = 1 << 10;
        const M: u64 = 1 << 20;
        for (tail, reserved, expected) in [
            (8 * K, 256 * K, None),
            (127 * K, 256 * K, None),
            (160 * K, 256 * K, Some(512 * K)),
            (3 * M, 4 * M, Some(8 * M)),
            (M, 4 * M, None),
            (100 * M, 128 * M, Some(192 * M)),
            (G - K, G, None),
        ] {
            assert_eq!(
                reserve_ahead(tail, reserved, G),
                expected,
                "{tail} of {reserved}"
            );
        }
    }
}
