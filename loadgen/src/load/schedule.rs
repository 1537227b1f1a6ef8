//! When each batch is due, and what a producer does next.
//!
//! Open loop: batches are due on an absolute schedule that does not care how the server is doing. A batch that
//! goes out late keeps the time at which it was meant to go, and its latency counts from there, so a stall of
//! the server shows in every batch that should have been sent during it, not only in the one that hit it.
//! Closed loop: a batch is due whenever the in-flight window has room, so a slow server is offered less; its
//! latencies are those of a system that is allowed to slow down its own load, and the report says so.
//!
//! The records of one batch are due together: the batch is the unit of the schedule.
//!
//! Batches due before the end are sent for a short while after it, so that one that was due at the very end is not
//! missed for a timer's tardiness; throughput counts only what falls into the measured window.
//!
//! Invariants: intended times never fall; every batch due before the end is either sent or counted as unsent.

use super::arrivals::Arrivals;
use crate::clock::SECOND_NS;

/// How long after the end an open loop still sends what was due before it.
const LATE_NS_MAX: u64 = SECOND_NS / 2;

/// How a stream of batches is paced.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// On an absolute schedule.
    Open(Arrivals),
    /// As fast as the in-flight window allows.
    Closed,
}

/// What the producer does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send one batch, whose latency counts from `intended_ns`.
    Send {
        /// The time its records carry.
        intended_ns: u64,
        /// The in-flight window was full at some time after the batch was due: lateness is then not the generator's.
        held_back: bool,
    },
    /// Nothing is due before this time.
    Wait {
        /// When the next batch is due.
        until_ns: u64,
    },
    /// A batch is due, but the in-flight window is full.
    Blocked,
    /// The run is over for this stream.
    Done,
}

/// The pure state of one stream's pacing.
#[derive(Debug, Clone)]
pub struct Pacer {
    pace: Pace,
    start_ns: u64,
    end_ns: u64,
    sent: u64,
    held_back: bool,
}

impl Pacer {
    /// A stream that sends from `start_ns` until `end_ns` (exclusive).
    pub fn new(pace: Pace, start_ns: u64, end_ns: u64) -> Self {
        Self {
            pace,
            start_ns,
            end_ns,
            sent: 0,
            held_back: false,
        }
    }

    /// Decides what to do now. After [`Step::Send`] the batch counts as sent.
    ///
    /// | loop   | now          | next due | window | step               |
    /// |--------|--------------|----------|--------|--------------------|
    /// | open   | >= end, late | any      | any    | Done               |
    /// | open   | any          | >= end   | any    | Done               |
    /// | open   | < due        | < end    | any    | Wait until due     |
    /// | open   | >= due       | < end    | full   | Blocked            |
    /// | open   | >= due       | < end    | room   | Send, intended due |
    /// | closed | >= end       |          | any    | Done               |
    /// | closed | < start      |          | any    | Wait until start   |
    /// | closed | < end        |          | full   | Blocked            |
    /// | closed | < end        |          | room   | Send, intended now |
    pub fn step(&mut self, now_ns: u64, window_has_room: bool) -> Step {
        let intended_ns = match &self.pace {
            Pace::Open(arrivals) => {
                if now_ns >= self.end_ns.saturating_add(LATE_NS_MAX) {
                    return Step::Done;
                }
                let due_ns = self.start_ns.saturating_add(arrivals.next_ns());
                if due_ns >= self.end_ns {
                    return Step::Done;
                }
                due_ns
            }
            Pace::Closed if now_ns >= self.end_ns => return Step::Done,
            Pace::Closed => now_ns.max(self.start_ns),
        };
        if now_ns < intended_ns {
            return Step::Wait {
                until_ns: intended_ns,
            };
        }
        if !window_has_room {
            self.held_back = true;
            return Step::Blocked;
        }
        self.sent += 1;
        if let Pace::Open(arrivals) = &mut self.pace {
            arrivals.advance();
        }
        let held_back = std::mem::take(&mut self.held_back);
        Step::Send {
            intended_ns,
            held_back,
        }
    }

    /// Batches sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The intended times of the batches that were due before the end and never sent. Empty in a closed loop.
    pub fn unsent(&self) -> impl Iterator<Item = u64> + '_ {
        let mut arrivals = match &self.pace {
            Pace::Open(arrivals) => Some(arrivals.clone()),
            Pace::Closed => None,
        };
        std::iter::from_fn(move || {
            let arrivals = arrivals.as_mut()?;
            let due_ns = self.start_ns.saturating_add(arrivals.next_ns());
            arrivals.advance();
            Some(due_ns)
        })
        .take_while(|due_ns| *due_ns < self.end_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_sends_when_due_and_remembers_the_intended_time() {
        let mut pacer = Pacer::new(
            Pace::Open(Arrivals::constant(1000.0, 0.0)),
            1_000,
            1_000 + 3_000_000,
        );
        assert_eq!(pacer.step(0, true), Step::Wait { until_ns: 1_000 });
        assert_eq!(
            pacer.step(1_000, true),
            Step::Send {
                intended_ns: 1_000,
                held_back: false
            }
        );
        assert_eq!(
            pacer.step(1_000, true),
            Step::Wait {
                until_ns: 1_001_000
            }
        );
        assert_eq!(pacer.step(1_500_000, false), Step::Blocked);
        assert_eq!(
            pacer.step(2_500_000, true),
            Step::Send {
                intended_ns: 1_001_000,
                held_back: true
            }
        );
        assert_eq!(
            pacer.step(2_500_000, true),
            Step::Send {
                intended_ns: 2_001_000,
                held_back: false
            }
        );
        assert_eq!(pacer.step(2_600_000, true), Step::Done);
        assert_eq!(pacer.unsent().count(), 0);
    }

    #[test]
    fn what_was_due_and_never_sent_is_counted() {
        let mut pacer = Pacer::new(Pace::Open(Arrivals::constant(1000.0, 0.0)), 0, 10_000_000);
        assert!(matches!(pacer.step(0, true), Step::Send { .. }));
        assert_eq!(pacer.step(5_000_000, false), Step::Blocked);
        assert_eq!(pacer.step(10_000_000 + LATE_NS_MAX, true), Step::Done);
        assert_eq!(
            pacer.unsent().collect::<Vec<_>>(),
            (1..10).map(|n| n * 1_000_000).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_batch_due_at_the_end_goes_out_though_the_timer_was_late() {
        let mut pacer = Pacer::new(Pace::Open(Arrivals::constant(1000.0, 0.0)), 0, 1_000_001);
        assert!(matches!(pacer.step(0, true), Step::Send { .. }));
        assert_eq!(
            pacer.step(1_000_100, true),
            Step::Send {
                intended_ns: 1_000_000,
                held_back: false
            }
        );
        assert_eq!(pacer.step(1_000_100, true), Step::Done);
        assert_eq!(pacer.unsent().count(), 0);
    }

    #[test]
    fn a_closed_loop_follows_the_window() {
        let mut pacer = Pacer::new(Pace::Closed, 10, 100);
        assert_eq!(pacer.step(5, true), Step::Wait { until_ns: 10 });
        assert_eq!(
            pacer.step(20, true),
            Step::Send {
                intended_ns: 20,
                held_back: false
            }
        );
        assert_eq!(pacer.step(21, false), Step::Blocked);
        assert_eq!(
            pacer.step(99, true),
            Step::Send {
                intended_ns: 99,
                held_back: true
            }
        );
        assert_eq!(pacer.step(100, true), Step::Done);
        assert_eq!(pacer.unsent().count(), 0);
    }
}
