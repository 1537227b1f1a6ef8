//! Numbers that look alike and must not be mixed up, each as its own type.
//!
//! All are transparent wrappers. A range of offsets is half-open everywhere, except for the pair
//! `base_offset`/`last_offset` of a batch, which is inclusive as in Kafka.

use std::fmt;
use std::str::FromStr;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a plain number.
            #[inline]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The plain number.
            #[inline]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The position of a record in its partition's log.
    Offset(i64)
}
number! {
    /// The number of a partition's leadership; it rises with every change of leader. -1 is "unknown".
    LeaderEpoch(i32)
}
number! {
    /// The identity of an idempotent or transactional producer; negative is "none".
    ProducerId(i64)
}
number! {
    /// The incarnation of a producer; negative is "none".
    ProducerEpoch(i16)
}
number! {
    /// The number of a record within one producer's writes to one partition; negative is "none".
    ///
    /// Sequences wrap from `i32::MAX` to 0.
    Sequence(i32)
}
number! {
    /// The index of a partition within its topic.
    PartitionIndex(i32)
}
number! {
    /// Milliseconds since the Unix epoch; -1 is "no timestamp".
    TimestampMs(i64)
}
number! {
    /// The number of one partition's log, unique within a server and never reused. 0 is the metadata log.
    LogId(u64)
}
number! {
    /// A position in a file, in bytes from its start.
    FilePosition(u64)
}

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);

    /// The offset `count` records later (earlier if negative).
    ///
    /// Panics on overflow: an offset past `i64::MAX` can only come from a bug, as a log of a billion records a second
    /// would take three centuries to get there. Use [`Offset::checked_plus`] for numbers that a peer chose.
    #[inline]
    #[track_caller]
    #[must_use]
    pub const fn plus(self, count: i64) -> Self {
        match self.checked_plus(count) {
            Some(offset) => offset,
            None => panic!("offset arithmetic overflowed"),
        }
    }

    /// The offset `count` records later, or `None` if that cannot be represented.
    #[inline]
    pub const fn checked_plus(self, count: i64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// How many offsets `self` lies after `earlier`.
    ///
    /// Panics on overflow, which two offsets of real logs (never negative) cannot cause.
    #[inline]
    #[track_caller]
    pub const fn minus(self, earlier: Self) -> i64 {
        match self.0.checked_sub(earlier.0) {
            Some(value) => value,
            None => panic!("offset arithmetic overflowed"),
        }
    }
}

impl LeaderEpoch {
    /// Kafka's "no epoch known".
    pub const UNKNOWN: Self = Self(-1);
}

impl ProducerId {
    /// Written in batches of producers that are not idempotent.
    pub const NONE: Self = Self(-1);

    /// Whether this names a producer.
    #[inline]
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl ProducerEpoch {
    /// Written in batches of producers that are not idempotent.
    pub const NONE: Self = Self(-1);
}

impl Sequence {
    /// Written in batches of producers that are not idempotent.
    pub const NONE: Self = Self(-1);

    /// The sequence `count` records later, wrapping from `i32::MAX` to 0 as Kafka's does.
    ///
    /// `count` must not be negative, nor may `self`; otherwise the result is unspecified, though never a panic.
    #[inline]
    #[must_use]
    pub const fn plus(self, count: i32) -> Self {
        // Non-negative i32 are the 31-bit integers, so wrapping is masking.
        Self(self.0.wrapping_add(count) & i32::MAX)
    }

    /// The sequence `count` records earlier, wrapping from 0 to `i32::MAX`.
    ///
    /// The same conditions as for [`Sequence::plus`] hold.
    #[inline]
    #[must_use]
    pub const fn minus(self, count: i32) -> Self {
        Self(self.0.wrapping_sub(count) & i32::MAX)
    }

    /// Whether `next` is the sequence that directly follows `self`.
    #[inline]
    pub const fn is_followed_by(self, next: Self) -> bool {
        self.plus(1).0 == next.0
    }
}

impl TimestampMs {
    /// Kafka's "no timestamp".
    pub const NONE: Self = Self(-1);
}

impl LogId {
    /// The log of the cluster's metadata.
    pub const METADATA: Self = Self(0);
}

impl FilePosition {
    /// The start of a file.
    pub const ZERO: Self = Self(0);

    /// The position `size_bytes` further on. Panics on overflow, which no real file reaches.
    #[inline]
    #[track_caller]
    #[must_use]
    pub const fn plus(self, size_bytes: u64) -> Self {
        match self.0.checked_add(size_bytes) {
            Some(value) => Self(value),
            None => panic!("file position overflowed"),
        }
    }
}

/// The identity of a topic: a UUID that is never reused, not even by a topic of the same name.
///
/// Shown as Kafka shows it: URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// "No topic id" on the wire; no topic has it.
    pub const ZERO: Self = Self([0; 16]);

    /// Wraps the 16 bytes in the order in which the wire carries them.
    #[inline]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes in the order in which the wire carries them.
    #[inline]
    pub const fn get(self) -> [u8; 16] {
        self.0
    }

    /// Whether this is [`TopicId::ZERO`].
    #[inline]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TOPIC_ID_CHARACTERS: usize = 22;

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits are 21 characters of 6 bits and a last one with 2 bits, filled up with zeros.
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0_u8; TOPIC_ID_CHARACTERS];
        for (index, character) in text.iter_mut().enumerate() {
            let sextet = if index == TOPIC_ID_CHARACTERS - 1 {
                (bits & 0b11) << 4
            } else {
                (bits >> (122 - 6 * index)) & 0b11_1111
            };
            *character = BASE64_URL[sextet as usize];
        }
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

/// Why a text is no topic id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTopicIdError {
    /// The text is not 22 characters long.
    #[error("a topic id has 22 characters, got {got} bytes")]
    Length {
        /// Length of the text in bytes.
        got: usize,
    },
    /// A character outside of URL-safe base64.
    #[error("byte {got:#04x} at {position} is not URL-safe base64")]
    Character {
        /// The byte found.
        got: u8,
        /// Its index in the text.
        position: usize,
    },
    /// The last character carries bits beyond the 128 of an id.
    #[error("the last character of the topic id carries stray bits")]
    StrayBits,
}

impl FromStr for TopicId {
    type Err = ParseTopicIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != TOPIC_ID_CHARACTERS {
            return Err(ParseTopicIdError::Length { got: text.len() });
        }
        let mut bits = 0_u128;
        for (position, got) in text.bytes().enumerate() {
            let sextet = match got {
                b'A'..=b'Z' => got - b'A',
                b'a'..=b'z' => got - b'a' + 26,
                b'0'..=b'9' => got - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return Err(ParseTopicIdError::Character { got, position }),
            };
            if position == TOPIC_ID_CHARACTERS - 1 {
                if sextet & 0b1111 != 0 {
                    return Err(ParseTopicIdError::StrayBits);
                }
                bits = bits << 2 | u128::from(sextet >> 4);
            } else {
                bits = bits << 6 | u128::from(sextet);
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Offset, ParseTopicIdError, Sequence, TopicId};
    use proptest::prelude::*;

    #[test]
    fn sequences_wrap_at_the_largest_i32() {
        for (from, count, to) in [
            (0, 1, 1),
            (i32::MAX, 0, i32::MAX),
            (i32::MAX, 1, 0),
            (i32::MAX - 1, 5, 3),
            (i32::MAX, i32::MAX, i32::MAX - 1),
            (7, i32::MAX, 6),
        ] {
            assert_eq!(
                Sequence::new(from).plus(count),
                Sequence::new(to),
                "{from} + {count}"
            );
            assert_eq!(
                Sequence::new(to).minus(count),
                Sequence::new(from),
                "{to} - {count}"
            );
        }
        assert!(Sequence::new(i32::MAX).is_followed_by(Sequence::new(0)));
        assert!(!Sequence::new(4).is_followed_by(Sequence::new(4)));
    }

    #[test]
    fn offsets_refuse_to_overflow() {
        assert_eq!(Offset::new(i64::MAX).checked_plus(1), None);
        assert_eq!(Offset::ZERO.checked_plus(-1), Some(Offset::new(-1)));
        assert_eq!(Offset::new(9).minus(Offset::new(4)), 5);
    }

    #[test]
    fn topic_ids_are_shown_as_kafka_shows_them() {
        for (bytes, text) in [
            ([0; 16], "AAAAAAAAAAAAAAAAAAAAAA"),
            (
                [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                "AAAAAAAAAAAAAAAAAAAAAQ",
            ),
            ([0xFF; 16], "_____________________w"),
            (
                [0xFB, 0xEF, 0xBE, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
                "---- AAECAwQFBgcICQoLDA".replace(' ', "").as_str(),
            ),
        ] {
            assert_eq!(TopicId::new(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(TopicId::new(bytes)));
        }
    }

    #[test]
    fn texts_that_are_no_topic_id_are_refused() {
        for (text, error) in [
            ("", ParseTopicIdError::Length { got: 0 }),
            (
                "AAAAAAAAAAAAAAAAAAAAAA==",
                ParseTopicIdError::Length { got: 24 },
            ),
            (
                "AAAAAAAAAAAAAAAAAAAAA+",
                ParseTopicIdError::Character {
                    got: b'+',
                    position: 21,
                },
            ),
            ("AAAAAAAAAAAAAAAAAAAAAB", ParseTopicIdError::StrayBits),
        ] {
            assert_eq!(text.parse::<TopicId>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn topic_ids_survive_their_text(bytes: [u8; 16]) {
            let id = TopicId::new(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,30}") {
            let _ = text.parse::<TopicId>();
        }
    }
}
