//! What a scan of a log's last segment means. Pure.
//!
//! A scan follows the chain of blocks and finds runs of sound blocks with gaps between them. `D` is the highest flushed
//! offset that any sound block (or the marker of a clean shutdown) vouches for.
//!
//! | gap begins | sealed segment | last segment |
//! |---|---|---|
//! | below D | quarantined | quarantined: those records were acknowledged |
//! | at or above D | - (D is the next segment's base) | a torn tail: the log ends there |
//!
//! A log is never cut below D. Where it was cut, or where anything but zeros follows its end, the segment takes no more
//! appends: the next ones go to a new segment with a generation of its own, so nothing that was left behind can ever
//! decode into the log.

use std::ops::Range;

use crate::seeded_bugs::seeded_bug;
use corelane_format::Offset;

/// Bytes between two sound blocks, or after the last one, that should have been blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The missing offsets; for what follows the last block the end is not known.
    pub(crate) start: Offset,
    pub(crate) end: Option<Offset>,
    /// Where in the file.
    pub(crate) position: u64,
    /// What stands there.
    pub(crate) detail: String,
}

/// What becomes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Damaged ranges of records that were durable once.
    pub(crate) quarantine: Vec<Range<Offset>>,
    /// The log ends here although something follows: why.
    pub(crate) cut: Option<Gap>,
}

/// Decides over the gaps of a segment, in order; `flushed` is D, and `end` what sound blocks reach to.
pub(crate) fn judge(gaps: &[Gap], end: Offset, flushed: Offset) -> Verdict {
    let mut verdict = Verdict {
        quarantine: Vec::new(),
        cut: None,
    };
    for gap in gaps {
        if gap.start >= flushed || seeded_bug("cut-at-damage") {
            verdict.cut = Some(gap.clone());
            return verdict;
        }
        verdict
            .quarantine
            .push(gap.start..gap.end.unwrap_or(flushed).max(gap.start));
    }
    if end < flushed && gaps.last().is_none_or(|gap| gap.end.is_some()) {
        verdict.quarantine.push(end..flushed);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `gaps` as `start-end` or `start-`.
    fn check(gaps: &str, end: i64, flushed: i64, expected: &str) {
        let gaps: Vec<Gap> = gaps
            .split_whitespace()
            .filter_map(|gap| {
                let (start, end) = gap.split_once('-')?;
                Some(Gap {
                    start: Offset::new(start.parse().ok()?),
                    end: end.parse().ok().map(Offset::new),
                    position: 0,
                    detail: String::new(),
                })
            })
            .collect();
        let verdict = judge(&gaps, Offset::new(end), Offset::new(flushed));
        let mut got: Vec<String> = verdict
            .quarantine
            .iter()
            .map(|range| format!("lost {}..{}", range.start, range.end))
            .collect();
        got.extend(verdict.cut.map(|gap| format!("cut {}", gap.start)));
        assert_eq!(
            got.join(", "),
            expected,
            "{gaps:?} end {end} flushed {flushed}"
        );
    }

    #[test]
    fn verdicts() {
        check("", 50, 40, "");
        check("", 50, 50, "");
        // A torn tail, with and without blocks behind it.
        check("50-", 50, 40, "cut 50");
        check("50-", 50, 50, "cut 50");
        check("50-60", 70, 50, "cut 50");
        check("50-60 70-", 70, 45, "cut 50");
        // Rot below D, alone and before a torn tail.
        check("20-30", 70, 50, "lost 20..30");
        check("20-30 70-", 70, 50, "lost 20..30, cut 70");
        check("20-30 60-65", 70, 50, "lost 20..30, cut 60");
        // Nothing sound follows, but a marker or the next segment vouches for more.
        check("50-", 50, 60, "lost 50..60");
        check("", 50, 60, "lost 50..60");
    }
}
