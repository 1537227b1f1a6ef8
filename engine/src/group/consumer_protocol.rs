//! What consumers of the classic protocol put into the bytes that the group's leader reads and writes:
//! `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`, each behind its version.
//!
//! A version that is not known yet is read as the newest one that is: newer ones only append.

use bytes::{BufMut, Bytes};
use corelane_net::wire::{WireError, WireReader, put_array_len, put_bytes_len, put_string};

use super::topic_partitions::TopicPartitions;
use crate::metadata::MetadataImage;

/// From this version on, a subscription says what its member owns.
const OWNED_SINCE: i16 = 1;
/// From this version on, it says in which generation.
const GENERATION_SINCE: i16 = 2;
/// From this version on, it names a rack; the newest.
const RACK_SINCE: i16 = 3;
/// The fewest bytes that a topic with partitions takes.
const TOPIC_BYTES_MIN: usize = 6;

/// A subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Its version.
    pub version: i16,
    /// The topics that the member consumes, sorted.
    pub topics: Vec<String>,
    /// What it owns, by the topics' names.
    pub owned: Vec<(String, Vec<i32>)>,
    /// The rack that it is in.
    pub rack_id: Option<String>,
}

impl Subscription {
    /// Reads a subscription.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = WireReader::new(bytes);
        let version = reader.i16()?;
        let mut topics = (0..reader.array_len(false, 2)?)
            .map(|_| reader.string(false).map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()?;
        topics.sort_unstable();
        topics.dedup();
        reader.nullable_bytes(false)?;
        let mut subscription = Self {
            version,
            topics,
            ..Self::default()
        };
        if version >= OWNED_SINCE {
            subscription.owned = partitions_of(&mut reader)?;
        }
        if version >= GENERATION_SINCE {
            reader.i32()?;
        }
        if version >= RACK_SINCE {
            subscription.rack_id = reader.nullable_string(false)?.map(str::to_owned);
        }
        Ok(subscription)
    }

    /// What the member owns, of the topics that there are.
    pub fn owned_partitions(&self, image: &MetadataImage) -> TopicPartitions {
        known_partitions(&self.owned, image)
    }
}

/// Reads an assignment: what is in it of the topics that there are. An empty one has none.
///
/// # Errors
/// The bytes are something else.
pub fn decode_assignment(
    bytes: &[u8],
    image: &MetadataImage,
) -> Result<TopicPartitions, WireError> {
    if bytes.is_empty() {
        return Ok(TopicPartitions::default());
    }
    let mut reader = WireReader::new(bytes);
    reader.i16()?;
    Ok(known_partitions(&partitions_of(&mut reader)?, image))
}

/// Writes an assignment, of a version that its member reads. Topics that are gone are left out.
pub fn encode_assignment(
    partitions: &TopicPartitions,
    version: i16,
    image: &MetadataImage,
) -> Bytes {
    let topics: Vec<_> = partitions
        .topics()
        .filter_map(|(id, indexes)| image.topic_by_id(id).map(|topic| (&topic.name, indexes)))
        .collect();
    let mut out = Vec::with_capacity(64);
    out.put_i16(version.clamp(0, RACK_SINCE));
    put_array_len(&mut out, false, topics.len());
    for (name, indexes) in topics {
        put_string(&mut out, false, name);
        put_array_len(&mut out, false, indexes.len());
        for index in indexes {
            out.put_i32(*index);
        }
    }
    put_bytes_len(&mut out, false, None);
    out.into()
}

fn partitions_of(reader: &mut WireReader<'_>) -> Result<Vec<(String, Vec<i32>)>, WireError> {
    (0..reader.array_len(false, TOPIC_BYTES_MIN)?)
        .map(|_| {
            let topic = reader.string(false)?.to_owned();
            let count = reader.array_len(false, 4)?;
            let indexes = (0..count)
                .map(|_| reader.i32())
                .collect::<Result<Vec<_>, _>>()?;
            Ok((topic, indexes))
        })
        .collect()
}

fn known_partitions(named: &[(String, Vec<i32>)], image: &MetadataImage) -> TopicPartitions {
    named
        .iter()
        .filter_map(|(name, indexes)| image.topic(name).map(|topic| (topic.id, indexes)))
        .flat_map(|(id, indexes)| indexes.iter().map(move |index| (id, *index)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::test_support::{image_of, topic_id};

    #[test]
    fn every_version_of_a_subscription_is_read() {
        let topics = &[0, 0, 0, 2, 0, 1, b'u', 0, 1, b't', 0xff, 0xff, 0xff, 0xff][..];
        let owned = &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 2][..];
        let rest = &[0, 0, 0, 9, 0, 1, b'r', 77][..];
        for version in 0..=4_u8 {
            let mut bytes = [&[0, version][..], topics].concat();
            if version >= 1 {
                bytes.extend(owned);
            }
            if version >= 2 {
                bytes.extend(&rest[..4]);
            }
            if version >= 3 {
                bytes.extend(&rest[4..]);
            }
            let read = Subscription::decode(&bytes).unwrap();
            assert_eq!(read.topics, ["t", "u"], "{version}");
            assert_eq!(read.owned.len(), usize::from(version >= 1));
            assert_eq!(read.rack_id.is_some(), version >= 3);
        }
        for garbage in [&b""[..], b"\0", b"\0\0\x7f\xff\xff\xff", b"\0\x01\0\0\0\0"] {
            assert!(Subscription::decode(garbage).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn an_assignment_is_read_as_it_was_written_but_for_topics_that_are_gone() {
        let image = image_of(Some(1), &[("t", &[0_usize, 0][..])]);
        let partitions: TopicPartitions = [(topic_id(0), 0), (topic_id(0), 1), (topic_id(5), 0)]
            .into_iter()
            .collect();
        let bytes = encode_assignment(&partitions, 1, &image);
        assert_eq!(&bytes[..2], [0, 1]);
        let read = decode_assignment(&bytes, &image).unwrap();
        assert_eq!(
            read.iter().collect::<Vec<_>>(),
            [(topic_id(0), 0), (topic_id(0), 1)]
        );
        assert!(decode_assignment(b"", &image).unwrap().is_empty());
        assert!(decode_assignment(b"\0", &image).is_err());
    }
}
