//! The wall clock behind a trait, so that tests choose the time.

use std::time::{SystemTime, UNIX_EPOCH};

use corelane_format::ids::TimestampMs;

/// Gives the wall-clock time. Used for record timestamps and retention only, never to order or to time out.
pub trait Clock {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> TimestampMs;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> TimestampMs {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        TimestampMs::new(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}
