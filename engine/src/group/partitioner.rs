//! From a group's id to its partition of `__consumer_offsets`, as Kafka does it.

/// Java's `String.hashCode`, over UTF-16 units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// The partition of a group's state in a topic of `partitions` partitions, which is at least one.
pub fn partition_of(group_id: &str, partitions: i32) -> i32 {
    // Java has no absolute value of the least number; Kafka takes 0 for it.
    let hash = java_hash(group_id).checked_abs().unwrap_or(0);
    hash % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // From `jshell`: "...".hashCode().
        let table = [
            ("", 0),
            ("a", 97),
            ("group", 98_629_247),
            ("polygenelubricants", i32::MIN),
            ("ä", 228),
            ("😀", 1_772_899),
        ];
        for (text, expected) in table {
            assert_eq!(java_hash(text), expected, "{text}");
        }
    }

    #[test]
    fn every_group_has_a_partition() {
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        assert_eq!(partition_of("group", 50), 47);
        assert_eq!(partition_of("", 50), 0);
        assert!((0..1000).all(|n| (0..50).contains(&partition_of(&format!("g{n}"), 50))));
    }
}
