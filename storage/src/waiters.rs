//! Who waits for which offset. Pure but for the wakers it keeps.

use std::collections::BTreeMap;
use std::task::Waker;

use corelane_format::Offset;

/// Tasks that wait until a log's readable offset reaches theirs, woken in order of offset, then of arrival.
#[derive(Debug, Default)]
pub(crate) struct OffsetWaiters {
    waiting: BTreeMap<(Offset, u64), Waker>,
    next_id: u64,
    progress: Vec<Waker>,
}

impl OffsetWaiters {
    /// Adds or refreshes a waiter; `id` is what the first call gave back.
    pub(crate) fn wait(&mut self, end: Offset, id: Option<u64>, waker: &Waker) -> u64 {
        let id = id.unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id
        });
        self.waiting
            .entry((end, id))
            .and_modify(|known| known.clone_from(waker))
            .or_insert_with(|| waker.clone());
        id
    }

    pub(crate) fn forget(&mut self, end: Offset, id: u64) {
        self.waiting.remove(&(end, id));
    }

    /// To be woken once at the next change; waking the same task twice is avoided.
    pub(crate) fn register_progress(&mut self, waker: &Waker) {
        if !self.progress.iter().any(|known| known.will_wake(waker)) {
            self.progress.push(waker.clone());
        }
    }

    /// Everybody whose turn has come, in order; then those who wait for any progress.
    pub(crate) fn reached(&mut self, readable: Offset, woken: &mut Vec<Waker>) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > readable {
                break;
            }
            woken.push(entry.remove());
        }
        woken.append(&mut self.progress);
    }

    /// Everybody.
    pub(crate) fn all(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(std::mem::take(&mut self.waiting).into_values());
        woken.append(&mut self.progress);
    }
}
