//! Which partition a record goes to: where Kafka's Java client would put it.
//!
//! A key is hashed with murmur2, so that records with one key written by any client land in one partition. Records
//! without a key take turns.

/// Kafka's variant of murmur2: 32 bits, this seed, little-endian words.
pub(crate) fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_B28C;
    const MULTIPLIER: u32 = 0x5BD1_E995;
    const SHIFT: u32 = 24;

    // Java's lengths are 32 bits wide.
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

/// Chooses a partition for each record of one topic.
#[derive(Clone, Debug)]
pub(crate) struct Partitioner {
    partitions: u32,
    fixed: Option<u32>,
    next: u32,
}

impl Partitioner {
    /// For a topic of `partitions` partitions, at least one; all records go to `fixed` if that is given.
    pub(crate) fn new(partitions: u32, fixed: Option<u32>) -> Self {
        assert!(partitions > 0, "a topic has partitions");
        Self {
            partitions,
            fixed,
            next: 0,
        }
    }

    /// The partition of the next record.
    pub(crate) fn choose(&mut self, key: Option<&[u8]>) -> u32 {
        if let Some(partition) = self.fixed {
            return partition;
        }
        if let Some(key) = key {
            // Java makes the hash positive by dropping the sign bit.
            return (murmur2(key) & 0x7FFF_FFFF) % self.partitions;
        }
        let partition = self.next;
        self.next = (self.next + 1) % self.partitions;
        partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of Kafka's own clients.
    #[test]
    fn hashes_are_those_of_the_java_client() {
        let table: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            (b"abc", 479_470_107),
        ];
        for (bytes, expected) in table {
            assert_eq!(
                murmur2(bytes).cast_signed(),
                expected,
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn keys_decide_and_the_rest_take_turns() {
        let mut partitioner = Partitioner::new(3, None);
        let keyless: Vec<u32> = (0..5).map(|_| partitioner.choose(None)).collect();
        assert_eq!(keyless, [0, 1, 2, 0, 1]);
        // -790332482 without its sign bit, and an empty key is a key.
        assert_eq!(partitioner.choose(Some(b"foobar")), 1_357_151_166 % 3);
        let empty = partitioner.choose(Some(b""));
        assert_eq!(partitioner.choose(Some(b"")), empty);
        assert_eq!(partitioner.choose(None), 2, "keys do not move the turn");
    }

    #[test]
    fn a_named_partition_takes_all() {
        let mut partitioner = Partitioner::new(3, Some(1));
        assert_eq!(partitioner.choose(None), 1);
        assert_eq!(partitioner.choose(Some(b"foobar")), 1);
        assert_eq!(partitioner.choose(None), 1);
    }
}
