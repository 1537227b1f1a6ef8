//! The in-flight window of one connection: how many batches are unanswered, and who waits for room.
//!
//! Lane: belongs to one connection's sender and receiver on one load core.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Counts unanswered batches against a limit.
#[derive(Debug)]
pub struct InFlight {
    limit: u32,
    unanswered: Cell<u32>,
    closed: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl InFlight {
    /// An empty window of `limit` batches.
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            unanswered: Cell::new(0),
            closed: Cell::new(false),
            waiting: RefCell::new(None),
        }
    }

    /// Whether another batch may go out.
    pub fn has_room(&self) -> bool {
        self.unanswered.get() < self.limit
    }

    /// Whether every batch is answered.
    pub fn is_empty(&self) -> bool {
        self.unanswered.get() == 0
    }

    /// The connection is gone: nothing more will be answered.
    pub fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// A batch went out.
    pub fn enter(&self) {
        self.unanswered.set(self.unanswered.get() + 1);
    }

    /// A batch was answered.
    pub fn leave(&self) {
        debug_assert!(self.unanswered.get() > 0, "answered more than was sent");
        self.unanswered.set(self.unanswered.get().saturating_sub(1));
        self.wake();
    }

    /// Waits until there is room, or the connection is gone. One task may wait at a time.
    pub async fn room(&self) {
        self.wait_until(Self::has_room).await;
    }

    /// Waits until everything is answered, or the connection is gone.
    pub async fn empty(&self) {
        self.wait_until(Self::is_empty).await;
    }

    async fn wait_until(&self, reached: impl Fn(&Self) -> bool) {
        poll_fn(|context| {
            if reached(self) || self.closed.get() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, or, poll_once};

    #[test]
    fn room_comes_with_an_answer() {
        let window = InFlight::new(2);
        window.enter();
        assert!(window.has_room());
        window.enter();
        assert!(block_on(poll_once(window.room())).is_none());
        block_on(or(window.room(), async {
            window.leave();
            std::future::pending::<()>().await;
        }));
        assert!(window.has_room() && !window.is_empty());
    }

    #[test]
    fn a_closed_connection_ends_every_wait() {
        let window = InFlight::new(1);
        window.enter();
        window.close();
        block_on(window.room());
        block_on(window.empty());
        assert!(window.is_closed());
    }
}
