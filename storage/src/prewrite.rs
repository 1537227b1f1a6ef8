//! Whether zeros are written ahead of a log's tail. Pure.
//!
//! A durable small write into space that was only reserved takes about twice as long as an overwrite, since the file
//! system must journal the extent's conversion. So a log that commits little and often gets a stretch of written zeros
//! ahead of its tail. Large commits gain nothing from it (they would write everything twice), and a busy lane has
//! better uses for the disk.
//!
//! Invariants: the stretch starts at or after the page that follows every assigned position, lies within reserved
//! space, and only one is in flight for a log. A commit that would reach a stretch in flight waits for it.

/// Commits at or above this size are not small.
pub(crate) const SMALL_COMMIT_BYTES_MAX: u64 = 64 << 10;
/// So many small commits in a row make a log one that is worth it.
const SMALL_COMMITS_MIN: u32 = 8;
/// One stretch.
pub(crate) const STRETCH_BYTES: u64 = 256 << 10;
/// The next stretch is written when less than this is left.
const LEFT_BYTES_MIN: u64 = 128 << 10;
/// The first stretch begins this far ahead, so that the commits which come while it is written do not have to wait.
const HEAD_START_BYTES: u64 = 64 << 10;

/// The state of one segment's pre-written stretch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prewrite {
    small_commits: u32,
    /// Everything below was written before, as zeros or as data.
    written_to: u64,
    in_flight: Option<(u64, u64)>,
}

impl Prewrite {
    /// Notes a finished commit that ended at `end`.
    pub(crate) fn committed(&mut self, size_bytes: u64, end: u64) {
        if size_bytes < SMALL_COMMIT_BYTES_MAX {
            self.small_commits = self.small_commits.saturating_add(1);
        } else {
            self.small_commits = 0;
        }
        self.written_to = self.written_to.max(end);
    }

    /// The file was written up to `end` before it became this segment's.
    pub(crate) fn was_written_to(&mut self, end: u64) {
        self.written_to = self.written_to.max(end);
    }

    /// The stretch to write now, as `(start, end)`. The caller starts it at once.
    pub(crate) fn next(
        &mut self,
        assigned_to: u64,
        reserved_to: u64,
        lane_is_busy: bool,
    ) -> Option<(u64, u64)> {
        if lane_is_busy || self.in_flight.is_some() || self.small_commits < SMALL_COMMITS_MIN {
            return None;
        }
        let lead = self.written_to.saturating_sub(assigned_to);
        if lead >= LEFT_BYTES_MIN {
            return None;
        }
        let start = self
            .written_to
            .max(assigned_to + HEAD_START_BYTES)
            .next_multiple_of(4096);
        let end = (start + STRETCH_BYTES).min(reserved_to) & !4095;
        if end < start + STRETCH_BYTES / 2 {
            return None;
        }
        self.in_flight = Some((start, end));
        Some((start, end))
    }

    /// Whether a write of `start..end` must wait for the stretch in flight.
    pub(crate) fn conflicts(&self, start: u64, end: u64) -> bool {
        self.in_flight
            .is_some_and(|(from, to)| start < to && from < end)
    }

    /// The stretch in flight is done.
    pub(crate) fn finished(&mut self) {
        if let Some((_, end)) = self.in_flight.take() {
            self.written_to = self.written_to.max(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1 << 10;

    fn small(count: u32) -> Prewrite {
        let mut prewrite = Prewrite::default();
        for _ in 0..count {
            prewrite.committed(4 * K, 8 * K);
        }
        prewrite
    }

    #[test]
    fn only_logs_of_small_commits() {
        for (name, mut prewrite, busy, reserved, expected) in [
            ("too few", small(7), false, 1024 * K, None),
            ("enough", small(8), false, 1024 * K, Some((72 * K, 328 * K))),
            ("busy lane", small(8), true, 1024 * K, None),
            ("little space", small(8), false, 128 * K, None),
            (
                "cut by the reservation",
                small(8),
                false,
                256 * K,
                Some((72 * K, 256 * K)),
            ),
        ] {
            assert_eq!(prewrite.next(8 * K, reserved, busy), expected, "{name}");
        }
        let mut large = small(8);
        large.committed(1024 * K, 2048 * K);
        assert_eq!(large.next(2048 * K, 8192 * K, false), None);
    }

    #[test]
    fn never_before_what_is_assigned_and_one_at_a_time() {
        let mut prewrite = small(8);
        assert_eq!(
            prewrite.next(9 * K, 1024 * K, false),
            Some((76 * K, 332 * K))
        );
        assert_eq!(prewrite.next(9 * K, 1024 * K, false), None);
        assert!(prewrite.conflicts(72 * K, 80 * K));
        assert!(!prewrite.conflicts(8 * K, 76 * K));
        prewrite.finished();
        assert!(!prewrite.conflicts(72 * K, 80 * K));
        assert_eq!(
            prewrite.next(16 * K, 1024 * K, false),
            None,
            "enough is left"
        );
        assert_eq!(
            prewrite.next(240 * K, 1024 * K, false),
            Some((332 * K, 588 * K)),
            "seamless"
        );
        prewrite.finished();
        assert_eq!(
            prewrite.next(580 * K, 1024 * K, false),
            Some((644 * K, 900 * K)),
            "overtaken"
        );
    }
}
