//! The one clock of a run: nanoseconds since an epoch that every thread of the process shares.
//!
//! It stands on `CLOCK_MONOTONIC`, so a send time written into a record by a producer can be subtracted from
//! the time at which a consumer on another core received it. It is never wall-clock time: the epoch is the
//! moment this process made its clock, and a time means nothing to another process.

use std::time::{Duration, Instant};

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// A copyable handle on the run's clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }

    /// Nanoseconds since the epoch.
    pub fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// How long it is from now until `at_ns`; zero when that has passed.
    pub fn until(&self, at_ns: u64) -> Duration {
        Duration::from_nanos(at_ns.saturating_sub(self.now_ns()))
    }
}

/// A duration in whole nanoseconds; durations a person can ask for fit by far.
pub fn duration_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
