//! "Something changed" for tasks of one thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes everybody who waits; says nothing about what changed.
#[derive(Debug, Default)]
pub(crate) struct Event {
    count: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Event {
    /// Wakes all waiters. No borrow may be held that a waker could run into.
    pub(crate) fn notify(&self) {
        self.count.set(self.count.get().wrapping_add(1));
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Resolves at the first [`Event::notify`] after this call (not after the first poll).
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + '_ {
        let seen = self.count.get();
        poll_fn(move |context| {
            if self.count.get() != seen {
                return Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
    }
}

/// A lock between tasks of one thread, for changes that await.
#[derive(Debug, Default)]
pub(crate) struct TaskLock {
    held: Cell<bool>,
    released: Event,
}

/// Releases the lock when dropped.
#[derive(Debug)]
pub(crate) struct TaskLockGuard<'a>(&'a TaskLock);

impl TaskLock {
    pub(crate) async fn lock(&self) -> TaskLockGuard<'_> {
        while self.held.get() {
            self.released.wait().await;
        }
        self.held.set(true);
        TaskLockGuard(self)
    }

    /// The lock, if nobody holds it.
    pub(crate) fn try_lock(&self) -> Option<TaskLockGuard<'_>> {
        (!self.held.replace(true)).then_some(TaskLockGuard(self))
    }
}

impl Drop for TaskLockGuard<'_> {
    fn drop(&mut self) {
        self.0.held.set(false);
        self.0.released.notify();
    }
}
