//! Which sessions a lane keeps: Kafka's rules, and a bound in bytes.
//!
//! There are at most `slots_max` sessions of at most `bytes_max` bytes together. A new session that finds no room takes the
//! place of the one that was unused for longest, if that is more than two minutes; else of the smallest that is older than
//! two minutes, if the new one is larger. Otherwise there is no new session, and its client goes on with full
//! fetches. Time comes as an argument.

use std::collections::{BTreeSet, HashMap};

/// A session is not evicted for another one, nor counts as stale, before this time.
pub const EVICTION_MS: u64 = 120_000;

struct Kept<T> {
    session: T,
    created_ms: u64,
    used_ms: u64,
    partitions: usize,
    size_bytes: usize,
    is_evictable: bool,
}

/// The sessions of one lane, by id.
pub struct SessionCache<T> {
    slots_max: usize,
    bytes_max: usize,
    sessions: HashMap<i32, Kept<T>>,
    by_use: BTreeSet<(u64, i32)>,
    evictable: BTreeSet<(usize, i32)>,
    size_bytes: usize,
    evictions: u64,
}

impl<T> SessionCache<T> {
    /// No sessions yet.
    pub fn new(slots_max: usize, bytes_max: usize) -> Self {
        Self {
            slots_max,
            bytes_max,
            sessions: HashMap::new(),
            by_use: BTreeSet::new(),
            evictable: BTreeSet::new(),
            size_bytes: 0,
            evictions: 0,
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Bytes of all sessions.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// How many sessions were evicted so far.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// A session by its id.
    pub fn get(&self, id: i32) -> Option<&T> {
        self.sessions.get(&id).map(|kept| &kept.session)
    }

    /// Makes room for a session of this size, evicting others by the rules. `false`: there is none.
    pub fn make_room(&mut self, partitions: usize, size_bytes: usize, now_ms: u64) -> bool {
        if size_bytes > self.bytes_max || self.slots_max == 0 {
            return false;
        }
        while self.sessions.len() >= self.slots_max
            || self.size_bytes.saturating_add(size_bytes) > self.bytes_max
        {
            if !self.evict_one(partitions, now_ms) {
                return false;
            }
        }
        true
    }

    fn evict_one(&mut self, partitions: usize, now_ms: u64) -> bool {
        let stale = self
            .by_use
            .first()
            .filter(|(used_ms, _)| now_ms.saturating_sub(*used_ms) > EVICTION_MS)
            .map(|(_, id)| *id);
        let victim = stale.or_else(|| {
            self.evictable
                .first()
                .filter(|(smallest, _)| partitions > *smallest)
                .map(|(_, id)| *id)
        });
        let Some(id) = victim else { return false };
        self.remove(id);
        self.evictions += 1;
        true
    }

    /// Adds a session, after [`SessionCache::make_room`], under the first number of `ids` that is free.
    pub fn insert(
        &mut self,
        mut ids: impl FnMut() -> i32,
        make: impl FnOnce(i32) -> T,
        partitions: usize,
        size_bytes: usize,
        now_ms: u64,
    ) -> i32 {
        let id = loop {
            let id = ids();
            if id > 0 && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.sessions.insert(
            id,
            Kept {
                session: make(id),
                created_ms: now_ms,
                used_ms: now_ms,
                partitions,
                size_bytes,
                is_evictable: false,
            },
        );
        self.by_use.insert((now_ms, id));
        self.size_bytes += size_bytes;
        id
    }

    /// Counts a session as used now, with the size that it has now.
    pub fn touch(&mut self, id: i32, partitions: usize, size_bytes: usize, now_ms: u64) {
        let Some(kept) = self.sessions.get_mut(&id) else {
            return;
        };
        self.by_use.remove(&(kept.used_ms, id));
        self.by_use.insert((now_ms, id));
        kept.used_ms = now_ms;
        if kept.is_evictable {
            self.evictable.remove(&(kept.partitions, id));
        }
        kept.is_evictable = now_ms.saturating_sub(kept.created_ms) > EVICTION_MS;
        if kept.is_evictable {
            self.evictable.insert((partitions, id));
        }
        self.size_bytes = self.size_bytes - kept.size_bytes + size_bytes;
        kept.partitions = partitions;
        kept.size_bytes = size_bytes;
    }

    /// Whether a session can grow by `more_bytes` without anything that must be evicted for it.
    pub fn can_grow(&self, more_bytes: usize) -> bool {
        self.size_bytes.saturating_add(more_bytes) <= self.bytes_max
    }

    /// Ends a session.
    pub fn remove(&mut self, id: i32) -> Option<T> {
        let kept = self.sessions.remove(&id)?;
        self.by_use.remove(&(kept.used_ms, id));
        if kept.is_evictable {
            self.evictable.remove(&(kept.partitions, id));
        }
        self.size_bytes -= kept.size_bytes;
        Some(kept.session)
    }
}
