//! Futures driven together by one task: the flusher's writes.
//!
//! Each slot has a waker of its own, so one completion polls one future and not all. Everything stays on one thread;
//! the atomics are there because a `Waker` must be `Send`.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future of this lane.
pub(crate) type LaneTask = Pin<Box<dyn Future<Output = ()>>>;

struct Slot {
    woken: AtomicBool,
    parent: Arc<Mutex<Option<Waker>>>,
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let parent = self
            .parent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

struct Entry {
    slot: Arc<Slot>,
    waker: Waker,
    task: Option<LaneTask>,
}

/// The futures.
#[derive(Default)]
pub(crate) struct TaskSet {
    entries: Vec<Entry>,
    free: Vec<usize>,
    parent: Arc<Mutex<Option<Waker>>>,
}

impl TaskSet {
    pub(crate) fn push(&mut self, task: LaneTask) {
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index];
            entry.slot.woken.store(true, Ordering::Release);
            entry.task = Some(task);
            return;
        }
        let slot = Arc::new(Slot {
            woken: AtomicBool::new(true),
            parent: self.parent.clone(),
        });
        let waker = Waker::from(slot.clone());
        self.entries.push(Entry {
            slot,
            waker,
            task: Some(task),
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.entries.len()
    }

    /// Polls every future that was woken, once.
    pub(crate) fn poll(&mut self, parent: &Waker) {
        {
            let mut known = self.parent.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.as_ref().is_some_and(|known| known.will_wake(parent)) {
                *known = Some(parent.clone());
            }
        }
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let Some(task) = &mut entry.task else {
                continue;
            };
            if !entry.slot.woken.swap(false, Ordering::AcqRel) {
                continue;
            }
            if let Poll::Ready(()) = task.as_mut().poll(&mut Context::from_waker(&entry.waker)) {
                entry.task = None;
                self.free.push(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;

    #[test]
    fn polls_only_what_was_woken() {
        let mut set = TaskSet::default();
        let polls = Rc::new(Cell::new(0));
        let kept: Rc<Cell<Option<Waker>>> = Rc::new(Cell::new(None));
        let (counted, stored) = (polls.clone(), kept.clone());
        set.push(Box::pin(poll_fn(move |context| {
            counted.set(counted.get() + 1);
            stored.set(Some(context.waker().clone()));
            if counted.get() == 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })));
        set.push(Box::pin(async {}));
        let waker = Waker::noop();
        set.poll(waker);
        set.poll(waker);
        assert_eq!(polls.get(), 1, "nobody woke it");
        assert!(!set.is_empty());
        if let Some(waker) = kept.take() {
            waker.wake();
        }
        set.poll(waker);
        assert_eq!(polls.get(), 2);
        assert!(set.is_empty());
    }
}
