//! Waiting for any progress of a log, again and again.
//!
//! Owner: the lane that opened the log. Nothing of it is on disk.

use std::rc::Rc;
use std::task::Waker;

use super::PartitionLog;
use crate::disk::Disk;

/// One task's registration for a log's progress: at most one waker, gone when this is dropped.
pub struct ProgressWaiter<D: Disk> {
    log: Rc<PartitionLog<D>>,
    slot: u64,
}

impl<D: Disk> ProgressWaiter<D> {
    /// Wakes `waker` once, at the next advance of the readable offset or of the log start, or when the log is fenced. Takes
    /// the place of what was registered before. Register first and look at the log then: progress made before is not told.
    pub fn register(&mut self, waker: &Waker) {
        let mut state = self.log.state.borrow_mut();
        let old = state.waiters.register_slot(self.slot, waker);
        drop(state);
        drop(old);
    }

    /// The log.
    pub fn log(&self) -> &Rc<PartitionLog<D>> {
        &self.log
    }
}

impl<D: Disk> std::fmt::Debug for ProgressWaiter<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgressWaiter")
            .field("log_id", &self.log.log_id())
            .field("slot", &self.slot)
            .finish()
    }
}

impl<D: Disk> Drop for ProgressWaiter<D> {
    fn drop(&mut self) {
        let mut state = self.log.state.borrow_mut();
        let old = state.waiters.forget_slot(self.slot);
        drop(state);
        drop(old);
    }
}

impl<D: Disk> PartitionLog<D> {
    /// A registration for progress, with nothing registered yet.
    pub fn progress_waiter(self: &Rc<Self>) -> ProgressWaiter<D> {
        let slot = self.state.borrow_mut().waiters.new_slot();
        ProgressWaiter {
            log: self.clone(),
            slot,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use corelane_format::LogId;
    use futures_lite::future::block_on;

    use super::*;
    use crate::config::{LaneLogsConfig, LogConfig};
    use crate::disk::memory::MemoryDisk;
    use crate::error::FenceReason;
    use crate::lane::LaneLogs;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_progress_waiter_keeps_one_waker_and_takes_it_along() {
        let logs = LaneLogs::new(MemoryDisk::new(), LaneLogsConfig::default());
        let opened = logs.open_log(Path::new("/a-0"), LogId::new(1), LogConfig::default());
        let (log, _) = block_on(opened).expect("opens");
        let registered = || log.state.borrow().waiters.registered_slots();
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut waiter = log.progress_waiter();
        for _ in 0..3 {
            waiter.register(&Waker::from(Arc::new(Count::default())));
            waiter.register(&Waker::from(first.clone()));
        }
        let mut other = log.progress_waiter();
        other.register(&Waker::from(second.clone()));
        assert_eq!(registered(), 2);
        drop(other);
        assert_eq!(registered(), 1);
        log.fence(FenceReason::Closed);
        assert_eq!(registered(), 0);
        assert_eq!(first.0.load(Ordering::Relaxed), 1);
        assert_eq!(second.0.load(Ordering::Relaxed), 0, "dropped before");
    }
}
