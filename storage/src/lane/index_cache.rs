//! The indexes that lookups have loaded, within one budget for the lane; the one unused for longest goes first. Pure.

use std::collections::{BTreeMap, HashMap};
use std::mem::size_of;
use std::rc::Rc;

use corelane_format::LogId;

use crate::segment_meta::IndexEntry;

/// A segment: its log and its generation.
type Key = (LogId, u64);

/// The saved entries of a segment.
pub(crate) type LoadedIndex = Rc<[IndexEntry]>;

struct Held {
    index: LoadedIndex,
    used_at: u64,
}

/// The cache.
pub(crate) struct IndexCache {
    held: HashMap<Key, Held>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    used_bytes: usize,
    budget_bytes: usize,
}

impl IndexCache {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self {
            held: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            used_bytes: 0,
            budget_bytes,
        }
    }

    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    pub(crate) fn get(&mut self, log_id: LogId, generation: u64) -> Option<LoadedIndex> {
        let key = (log_id, generation);
        let held = self.held.get_mut(&key)?;
        self.by_use.remove(&held.used_at);
        self.uses += 1;
        held.used_at = self.uses;
        self.by_use.insert(self.uses, key);
        Some(held.index.clone())
    }

    /// Keeps an index, and lets others go until the budget holds. One that is larger than the budget is not kept.
    pub(crate) fn insert(&mut self, log_id: LogId, generation: u64, index: LoadedIndex) {
        let key = (log_id, generation);
        self.remove(key);
        let size_bytes = charge(&index);
        if size_bytes > self.budget_bytes {
            return;
        }
        while self.used_bytes + size_bytes > self.budget_bytes {
            let Some((_, oldest)) = self.by_use.first_key_value() else {
                break;
            };
            self.remove(*oldest);
        }
        self.uses += 1;
        let used_at = self.uses;
        self.by_use.insert(used_at, key);
        self.held.insert(key, Held { index, used_at });
        self.used_bytes += size_bytes;
    }

    fn remove(&mut self, key: Key) {
        if let Some(held) = self.held.remove(&key) {
            self.by_use.remove(&held.used_at);
            self.used_bytes -= charge(&held.index);
        }
    }
}

fn charge(index: &LoadedIndex) -> usize {
    // An entry, and about what its places in both maps take.
    size_of_val(&**index) + size_of::<(Key, Held)>() * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment_meta::decode_entries;

    fn index(entries: usize) -> LoadedIndex {
        decode_entries(&vec![0; entries * 16]).into()
    }

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let log = LogId::new(1);
        let mut cache = IndexCache::new(3 * charge(&index(100)));
        for generation in 1..=3 {
            cache.insert(log, generation, index(100));
        }
        assert!(cache.get(log, 1).is_some());
        cache.insert(log, 4, index(100));
        assert!(cache.get(log, 2).is_none());
        for generation in [1, 3, 4] {
            assert!(cache.get(log, generation).is_some(), "{generation}");
        }
        assert!(cache.get(LogId::new(2), 1).is_none());
    }

    #[test]
    fn the_budget_holds() {
        let budget = 10_000;
        let mut cache = IndexCache::new(budget);
        for round in 0..1000 {
            cache.insert(
                LogId::new(round % 7),
                round % 13,
                index(round as usize % 700),
            );
            assert!(cache.used_bytes() <= budget);
            let held: usize = cache.held.values().map(|held| charge(&held.index)).sum();
            assert_eq!(cache.used_bytes(), held);
            assert_eq!(cache.by_use.len(), cache.held.len());
        }
        cache.insert(LogId::new(1), 1, index(1000));
        assert!(cache.get(LogId::new(1), 1).is_none());
    }
}
