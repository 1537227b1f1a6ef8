use super::cache::{EVICTION_MS, SessionCache};

/// Adds a session under the next free number, if there is room.
fn add(cache: &mut SessionCache<&'static str>, partitions: usize, now_ms: u64) -> Option<i32> {
    let size_bytes = partitions * 100;
    if !cache.make_room(partitions, size_bytes, now_ms) {
        return None;
    }
    let mut next = 0;
    let ids = || {
        next += 1;
        next
    };
    Some(cache.insert(ids, |_| "session", partitions, size_bytes, now_ms))
}

fn ids(cache: &SessionCache<&'static str>) -> Vec<i32> {
    (1..10).filter(|id| cache.get(*id).is_some()).collect()
}

#[test]
fn a_full_cache_keeps_what_is_young() {
    let mut cache = SessionCache::new(2, 1 << 20);
    assert_eq!(add(&mut cache, 5, 0), Some(1));
    assert_eq!(add(&mut cache, 5, 0), Some(2));
    assert_eq!(
        add(&mut cache, 50, EVICTION_MS),
        None,
        "neither is stale yet"
    );
    assert_eq!((ids(&cache), cache.evictions()), (vec![1, 2], 0));
}

#[test]
fn the_one_unused_for_longest_goes_first_whatever_its_size() {
    let mut cache = SessionCache::new(2, 1 << 20);
    add(&mut cache, 50, 0);
    add(&mut cache, 5, 1);
    cache.touch(2, 5, 500, EVICTION_MS);
    assert_eq!(add(&mut cache, 1, EVICTION_MS + 1), Some(1));
    assert_eq!(
        (cache.len(), cache.size_bytes(), cache.evictions()),
        (2, 600, 1)
    );
}

#[test]
fn among_used_ones_the_smallest_old_one_makes_room_for_a_larger_one() {
    let mut cache = SessionCache::new(3, 1 << 20);
    for (partitions, id) in [(20, 1), (5, 2), (10, 3)] {
        assert_eq!(add(&mut cache, partitions, 0), Some(id));
        cache.touch(id, partitions, partitions * 100, EVICTION_MS + 1);
    }
    let now = EVICTION_MS + 2;
    assert_eq!(add(&mut cache, 5, now), None, "not larger than any");
    assert_eq!(add(&mut cache, 6, now), Some(2));
    assert_eq!(ids(&cache), [1, 2, 3]);
    // The new one is young: the next to go is the one with ten.
    assert_eq!(add(&mut cache, 11, now), Some(3));
}

#[test]
fn bytes_are_bounded_as_well_as_numbers() {
    let mut cache = SessionCache::new(100, 1_000);
    assert_eq!(add(&mut cache, 11, 0), None, "larger than everything");
    assert_eq!(add(&mut cache, 6, 0), Some(1));
    assert_eq!(add(&mut cache, 5, 0), None);
    assert_eq!(add(&mut cache, 4, 0), Some(2));
    assert!(!cache.can_grow(1));
    cache.touch(1, 2, 200, 1);
    assert!(cache.can_grow(400) && !cache.can_grow(401));
    // Both are stale by now, and both must go.
    assert_eq!(add(&mut cache, 9, EVICTION_MS * 3), Some(1));
    assert_eq!((cache.len(), cache.size_bytes()), (1, 900));
    assert_eq!(cache.remove(1), Some("session"));
    assert_eq!((cache.remove(1), cache.size_bytes()), (None, 0));
}

#[test]
fn a_cache_without_slots_keeps_nothing() {
    assert_eq!(add(&mut SessionCache::new(0, 1_000), 1, 0), None);
}
