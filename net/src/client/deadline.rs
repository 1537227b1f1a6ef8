//! A limit on how long a future may take.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use glommio::timer::Timer;

/// Awaits `future` for at most `limit`; `None` when the time is over.
///
/// glommio's timer takes a new place in the wheel each time it is polled, so it is polled once to set it, and
/// the clock is read after that.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut set: Option<(Timer, Instant)> = None;
    poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        if let Some((_, when)) = &set {
            if Instant::now() >= *when {
                return Poll::Ready(None);
            }
        } else {
            let mut timer = Timer::new(limit);
            let when = Instant::now() + limit;
            if Pin::new(&mut timer).poll(context).is_ready() {
                return Poll::Ready(None);
            }
            set = Some((timer, when));
        }
        Poll::Pending
    })
    .await
}
