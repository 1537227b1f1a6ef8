//! Whether the wall clock is to be believed: what is old by a clock that jumped may be young. Pure.
//!
//! The wall clock is compared with the monotonic one from look to look. After a jump it is doubted until it has jumped
//! back, or until it has gone evenly for [`BELIEVED_AFTER`]: then the jump was a correction (a machine that slept, a clock
//! that was wrong before), and an operator had time to see the error.

use std::time::{Duration, Instant};

use corelane_format::ids::TimestampMs;

/// How far the wall clock may run apart from the monotonic one between two looks.
const DRIFT_MS_MAX: i64 = 60_000;
/// How long a clock that jumped must go evenly until it is believed.
const BELIEVED_AFTER: Duration = Duration::from_hours(1);

/// What a look tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes evenly.
    Believed,
    /// It has jumped since the last look, by so many milliseconds.
    Jumped { by_ms: i64 },
    /// It goes evenly, after a jump.
    Doubted,
    /// It is back, or has gone evenly for long enough.
    BelievedAgain,
}

/// Compares the two clocks.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    wall: TimestampMs,
    monotonic: Instant,
    /// All jumps since it was believed last, and when the latest was.
    doubt: Option<(i64, Instant)>,
}

impl ClockWatch {
    /// Believes the clock as it is.
    pub(crate) fn new(wall: TimestampMs, monotonic: Instant) -> Self {
        Self {
            wall,
            monotonic,
            doubt: None,
        }
    }

    /// Whether the clock is doubted, as of the last look.
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubt.is_some()
    }

    /// Compares what both clocks say now with what they said at the last look.
    pub(crate) fn look(&mut self, wall: TimestampMs, monotonic: Instant) -> Verdict {
        let elapsed = monotonic
            .saturating_duration_since(self.monotonic)
            .as_millis();
        let gained = wall.get().saturating_sub(self.wall.get());
        let by_ms = gained.saturating_sub(i64::try_from(elapsed).unwrap_or(i64::MAX));
        (self.wall, self.monotonic) = (wall, monotonic);
        let is_jump = by_ms.unsigned_abs() > DRIFT_MS_MAX.unsigned_abs();
        let (jumped_ms, since) = match self.doubt {
            None if !is_jump => return Verdict::Believed,
            None => (by_ms, monotonic),
            Some((jumped_ms, _)) if is_jump => (jumped_ms.saturating_add(by_ms), monotonic),
            Some(doubt) => doubt,
        };
        let is_back = jumped_ms.unsigned_abs() <= DRIFT_MS_MAX.unsigned_abs();
        if is_back || monotonic.saturating_duration_since(since) >= BELIEVED_AFTER {
            self.doubt = None;
            return Verdict::BelievedAgain;
        }
        self.doubt = Some((jumped_ms, since));
        if is_jump {
            Verdict::Jumped { by_ms }
        } else {
            Verdict::Doubted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const WEEK: i64 = 7 * 24 * HOUR;

    /// Each look: how far the wall clock went, how far the monotonic one, what is said.
    #[test]
    fn a_clock_that_jumped_is_believed_when_it_is_back_or_after_an_hour() {
        use Verdict::{Believed, BelievedAgain, Doubted, Jumped};
        let table: &[&[(i64, i64, Verdict)]] = &[
            &[
                (1_000, 1_000, Believed),
                (0, 30_000, Believed),
                (80_000, 30_000, Believed),
            ],
            &[
                (WEEK + 1_000, 1_000, Jumped { by_ms: WEEK }),
                (1_000, 1_000, Doubted),
                (1_000 - WEEK, 1_000, BelievedAgain),
                (1_000, 1_000, Believed),
            ],
            &[
                (-WEEK, 0, Jumped { by_ms: -WEEK }),
                (HOUR - 1, HOUR - 1, Doubted),
                (1, 1, BelievedAgain),
            ],
            &[
                (WEEK, 0, Jumped { by_ms: WEEK }),
                (HOUR - 1, HOUR - 1, Doubted),
                (-HOUR, 0, Jumped { by_ms: -HOUR }),
                (HOUR - 1, HOUR - 1, Doubted),
                (HOUR - WEEK, 0, BelievedAgain),
            ],
        ];
        for (case, looks) in table.iter().enumerate() {
            let (mut wall, mut monotonic) = (WEEK, Instant::now());
            let mut watch = ClockWatch::new(TimestampMs::new(wall), monotonic);
            for (index, (wall_ms, elapsed_ms, expected)) in looks.iter().enumerate() {
                wall += wall_ms;
                monotonic += Duration::from_millis(elapsed_ms.unsigned_abs());
                let verdict = watch.look(TimestampMs::new(wall), monotonic);
                assert_eq!(verdict, *expected, "case {case}, look {index}");
                let is_doubted = matches!(expected, Jumped { .. } | Doubted);
                assert_eq!(watch.is_doubted(), is_doubted, "case {case}, look {index}");
            }
        }
    }
}
