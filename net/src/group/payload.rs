//! What consumers of one group tell each other through their coordinator, which does not look into it: which topics a
//! member reads, and which partitions it was given.

use std::collections::BTreeMap;

use crate::wire::{WireError, WireReader, put_array_len, put_bytes_len, put_string};

/// Partitions by topic, ascending.
pub type Assignment = BTreeMap<String, Vec<i32>>;

/// Later versions add what cooperative members own and where they are, which an eager member has no use for.
const VERSION: i16 = 0;

/// The fewest bytes of a topic's name: its length.
const NAME_BYTES_MIN: usize = 2;
/// The fewest bytes of a topic in an assignment: two lengths.
const TOPIC_BYTES_MIN: usize = 6;
const PARTITION_BYTES: usize = 4;

/// What a member that reads `topics` joins with.
pub fn encode_subscription<T: AsRef<str>>(topics: &[T]) -> Vec<u8> {
    let mut out = VERSION.to_be_bytes().to_vec();
    put_array_len(&mut out, false, topics.len());
    for topic in topics {
        put_string(&mut out, false, topic.as_ref());
    }
    put_bytes_len(&mut out, false, None);
    out
}

/// The topics that a member reads, from metadata of any version: all begin as version 0 does.
pub fn decode_subscription(bytes: &[u8]) -> Result<Vec<String>, WireError> {
    let mut reader = WireReader::new(bytes);
    reader.i16()?;
    (0..reader.array_len(false, NAME_BYTES_MIN)?)
        .map(|_| reader.string(false).map(str::to_owned))
        .collect()
}

/// What a member is told that it owns.
pub fn encode_assignment(assignment: &Assignment) -> Vec<u8> {
    let mut out = VERSION.to_be_bytes().to_vec();
    put_array_len(&mut out, false, assignment.len());
    for (topic, partitions) in assignment {
        put_string(&mut out, false, topic);
        put_array_len(&mut out, false, partitions.len());
        for partition in partitions {
            out.extend_from_slice(&partition.to_be_bytes());
        }
    }
    put_bytes_len(&mut out, false, None);
    out
}

/// What a member owns, from an assignment of any version. No bytes at all are no partitions.
pub fn decode_assignment(bytes: &[u8]) -> Result<Assignment, WireError> {
    let mut assignment = Assignment::new();
    if bytes.is_empty() {
        return Ok(assignment);
    }
    let mut reader = WireReader::new(bytes);
    reader.i16()?;
    for _ in 0..reader.array_len(false, TOPIC_BYTES_MIN)? {
        let topic = reader.string(false)?.to_owned();
        let count = reader.array_len(false, PARTITION_BYTES)?;
        let partitions = assignment.entry(topic).or_default();
        for _ in 0..count {
            partitions.push(reader.i32()?);
        }
        partitions.sort_unstable();
        partitions.dedup();
    }
    Ok(assignment)
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_wire::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription,
        decode_consumer_protocol_assignment, decode_consumer_protocol_subscription,
        encode_consumer_protocol_assignment, encode_consumer_protocol_subscription,
    };
    use kafka_wire_core::ApiVersion;

    use super::*;
    use crate::api::control_limits;

    fn sample() -> Assignment {
        Assignment::from([("a".to_owned(), vec![0, 2]), ("bc".to_owned(), vec![7])])
    }

    #[test]
    fn what_is_written_is_what_the_generated_codec_reads() {
        let bytes = Bytes::from(encode_subscription(&["a", "bc"]));
        let limits = control_limits(bytes.len());
        let (version, read) = decode_consumer_protocol_subscription(bytes, limits).unwrap();
        assert_eq!(version.value(), VERSION);
        let topics: Vec<&str> = read
            .topics
            .iter()
            .map(kafka_wire_core::StrBytes::as_str)
            .collect();
        assert_eq!(topics, ["a", "bc"]);

        let bytes = Bytes::from(encode_assignment(&sample()));
        let limits = control_limits(bytes.len());
        let (_, read) = decode_consumer_protocol_assignment(bytes, limits).unwrap();
        let read: Assignment = read
            .assigned_partitions
            .iter()
            .map(|topic| (topic.topic.to_string(), topic.partitions.clone()))
            .collect();
        assert_eq!(read, sample());
    }

    #[test]
    fn every_version_of_other_clients_is_read() {
        for version in 0..=3 {
            let mut subscription = ConsumerProtocolSubscription::default();
            subscription.topics = vec!["a".into(), "bc".into()];
            let mut bytes = BytesMut::new();
            let version = ApiVersion::new(version);
            encode_consumer_protocol_subscription(&mut bytes, &subscription, version).unwrap();
            assert_eq!(decode_subscription(&bytes).unwrap(), ["a", "bc"]);

            let assignment = ConsumerProtocolAssignment::default();
            let mut bytes = BytesMut::new();
            encode_consumer_protocol_assignment(&mut bytes, &assignment, version).unwrap();
            assert_eq!(decode_assignment(&bytes).unwrap(), Assignment::new());
        }
        assert_eq!(decode_assignment(b"").unwrap(), Assignment::new());
    }

    #[test]
    fn a_stated_count_takes_no_memory_and_cut_bytes_are_an_error() {
        assert!(decode_subscription(b"\0\0\x7f\xff\xff\xff").is_err());
        assert!(decode_assignment(b"\0\0\x7f\xff\xff\xff").is_err());
        assert!(decode_assignment(b"\0\0\0\0\0\x01\0\x01t\x7f\xff\xff\xff").is_err());
        let bytes = encode_assignment(&sample());
        // The last four say that there is nothing further.
        for length in 1..bytes.len() - 4 {
            assert!(decode_assignment(&bytes[..length]).is_err(), "{length}");
        }
    }
}
