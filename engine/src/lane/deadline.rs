//! A point in time that a future waits for beside other things.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

use glommio::timer::Timer;

/// Fires once. glommio's timer takes a new place in its wheel each time it is polled, so it is polled once, to set it,
/// and the clock is read after that; all polls must come from the same task.
#[derive(Debug)]
pub struct Deadline {
    when: Instant,
    timer: Option<Timer>,
}

impl Deadline {
    /// A deadline after `wait`.
    pub fn after(wait: Duration) -> Self {
        Self {
            when: Instant::now() + wait,
            timer: None,
        }
    }

    /// Whether it is over; if not, the task is woken when it is.
    pub fn poll_over(&mut self, context: &mut Context<'_>) -> bool {
        let now = Instant::now();
        if now >= self.when {
            return true;
        }
        if self.timer.is_none() {
            let timer = self.timer.insert(Timer::new(self.when - now));
            return Pin::new(timer).poll(context).is_ready();
        }
        false
    }
}
