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
    /// Registrations for the next progress, each its owner's.
    progress_slots: BTreeMap<u64, Waker>,
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

    /// A registration's number.
    pub(crate) fn new_slot(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// To be woken once at the next change; takes the place of what `slot` registered before, which is given back: it must
    /// not be dropped while the log is borrowed.
    pub(crate) fn register_slot(&mut self, slot: u64, waker: &Waker) -> Option<Waker> {
        match self.progress_slots.get_mut(&slot) {
            Some(known) if known.will_wake(waker) => None,
            Some(known) => Some(std::mem::replace(known, waker.clone())),
            None => self.progress_slots.insert(slot, waker.clone()),
        }
    }

    pub(crate) fn forget_slot(&mut self, slot: u64) -> Option<Waker> {
        self.progress_slots.remove(&slot)
    }

    #[cfg(test)]
    pub(crate) fn registered_slots(&self) -> usize {
        self.progress_slots.len()
    }

    /// Those who wait for any progress.
    pub(crate) fn wake_progress(&mut self, woken: &mut Vec<Waker>) {
        woken.append(&mut self.progress);
        woken.extend(std::mem::take(&mut self.progress_slots).into_values());
    }

    /// Everybody whose turn has come, in order; then those who wait for any progress.
    pub(crate) fn reached(&mut self, readable: Offset, woken: &mut Vec<Waker>) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > readable {
                break;
            }
            woken.push(entry.remove());
        }
        self.wake_progress(woken);
    }

    /// Everybody.
    pub(crate) fn all(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(std::mem::take(&mut self.waiting).into_values());
        self.wake_progress(woken);
    }
}
