//! What a lane that spins owes to the rest of its core.
//!
//! A thread that never sleeps holds its core until the scheduler's next tick, where the kernel does not preempt user code (4 ms at
//! 250 Hz). What it then holds up is its own disk: the kernel finishes a durable write, and starts one that has to update a
//! timestamp, in worker threads, which may be bound to this core, and those of another lane's writes may be too. So a
//! lane that spins offers its core every so often. Measured in docs/adr/0014-spinning-lanes.md.

use std::thread;
use std::time::Duration;

use glommio::timer::Timer;

/// How long a spinning lane keeps its core to itself while nothing needs the lane: the best of 0, 5 and 20 us that were measured
/// (docs/adr/0014-spinning-lanes.md). Longer was not tried.
const OFFER_EVERY: Duration = Duration::from_micros(20);

/// Offers the core to whoever waits for it, as long as it is polled. For lanes that spin: where a lane parks, it would only wake it.
pub(super) async fn offer_core() {
    loop {
        Timer::new(OFFER_EVERY).await;
        thread::yield_now();
    }
}
