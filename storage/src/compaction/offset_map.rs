//! The last offset of each key, in a fixed amount of memory.
//!
//! A key is known by 128 bits of two keyed hashes (`SipHash` with keys of its own in each map), as Kafka knows it by its
//! MD5. Two keys that agree in all of them would be one key here; for a billion keys the chance is about one in 10^20, and
//! nobody who does not know the hashes' keys can choose such keys.

use std::hash::{BuildHasher, Hasher, RandomState};

use corelane_format::Offset;

/// Two hashes, and the offset plus one; all zeros where nothing is.
type Slot = [u64; 3];

/// What one key takes.
const SLOT_BYTES: usize = size_of::<Slot>();
/// At most so much of the table is used, in quarters: beyond it probing becomes slow.
const LOAD_QUARTERS_MAX: usize = 3;
const SLOTS_MIN: usize = 4;

/// The table of one pass.
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    used_max: usize,
    hashers: [RandomState; 2],
}

impl OffsetMap {
    /// A table in at most `budget_bytes`, and no larger than `keys_max` keys need.
    pub(crate) fn new(budget_bytes: usize, keys_max: u64) -> Self {
        let wanted = (usize::try_from(keys_max).unwrap_or(usize::MAX) / LOAD_QUARTERS_MAX)
            .saturating_add(1)
            .saturating_mul(4);
        let count = (budget_bytes / SLOT_BYTES).min(wanted).max(SLOTS_MIN);
        Self {
            slots: vec![[0; 3]; count],
            used: 0,
            used_max: count / 4 * LOAD_QUARTERS_MAX,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Keys in it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Notes that `key` is at `offset`. `false` if there is no room for another key: nothing was noted.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hashes = self.hash(key);
        let at = self.find(hashes);
        let Some(slot) = self.slots.get_mut(at) else {
            return false;
        };
        if slot[2] == 0 {
            if self.used >= self.used_max {
                return false;
            }
            self.used += 1;
        }
        *slot = [hashes[0], hashes[1], offset.get() as u64 + 1];
        true
    }

    /// The last offset noted for `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots.get(self.find(self.hash(key)))?;
        slot[2]
            .checked_sub(1)
            .map(|offset| Offset::new(offset as i64))
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|state| {
            let mut hasher = state.build_hasher();
            hasher.write(key);
            hasher.finish()
        })
    }

    /// The key's slot, or the free one that it would get. There always is one: the table is never full.
    fn find(&self, hashes: [u64; 2]) -> usize {
        let count = self.slots.len();
        let mut at = (hashes[0] % count as u64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 || slot[..2] == hashes {
                return at;
            }
            at += 1;
            if at == count {
                at = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_as_long_as_there_is_room(
            puts in prop::collection::vec((prop::collection::vec(0_u8..3, 0..4), 0..1000_i64), 0..200),
            budget in 0_usize..4000,
        ) {
            let mut map = OffsetMap::new(budget, 1000);
            let mut model: HashMap<Vec<u8>, i64> = HashMap::new();
            for (key, offset) in puts {
                if map.put(&key, Offset::new(offset)) {
                    model.insert(key, offset);
                } else {
                    prop_assert!(!model.contains_key(&key), "a key that is known needs no room");
                }
            }
            prop_assert_eq!(map.len(), model.len());
            prop_assert!(map.slots.len() * SLOT_BYTES <= budget.max(SLOTS_MIN * SLOT_BYTES));
            for (key, offset) in &model {
                prop_assert_eq!(map.get(key), Some(Offset::new(*offset)));
            }
            prop_assert_eq!(map.get(b"another key"), None);
        }
    }

    #[test]
    fn any_table_takes_a_key_and_none_is_larger_than_needed() {
        let mut map = OffsetMap::new(0, 0);
        assert!(map.put(b"", Offset::ZERO));
        assert_eq!(map.get(b""), Some(Offset::ZERO));
        for keys in 0..30_u64 {
            let mut enough = OffsetMap::new(1 << 30, keys);
            assert!((0..keys).all(|key| enough.put(&key.to_le_bytes(), Offset::new(1))));
            assert!(enough.slots.len() <= keys as usize * 4 / 3 + 4);
        }
        let mut large = OffsetMap::new(24 * 100, 1000);
        let taken = (0..200_u64)
            .take_while(|key| large.put(&key.to_le_bytes(), Offset::new(1)))
            .count();
        assert_eq!(taken, 75);
    }
}
