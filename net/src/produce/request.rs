//! The Produce request.

use bytes::BufMut;
use corelane_format::{PartitionIndex, TopicId};

use super::{VERSION_MAX, has_topic_ids, is_flexible};
use crate::api::{self, put_request_header};
use crate::gather::Gathered;
use crate::response::LENGTH_PREFIX_BYTES;
use crate::topic::TopicRef;
use crate::wire::{
    WireError, WireReader, put_array_len, put_bytes_len, put_empty_tags, put_nullable_string,
    put_string,
};

/// A Produce request whose whole structure has been checked, borrowed from its frame.
#[derive(Clone, Copy, Debug)]
pub struct ProduceRequest<'a> {
    version: i16,
    /// Set by producers in a transaction.
    pub transactional_id: Option<&'a str>,
    /// 0: no response; 1: the leader has it; -1: all in-sync replicas have it.
    pub acks: i16,
    /// How long the broker may wait for replicas.
    pub timeout_ms: i32,
    topics_count: usize,
    partitions_count: usize,
    topics: &'a [u8],
}

/// One topic of a request.
#[derive(Clone, Copy, Debug)]
pub struct ProduceTopic<'a> {
    /// By name up to version 12, by id from 13 on.
    pub topic: TopicRef<'a>,
    /// How many partitions follow.
    pub partitions_count: usize,
    partitions: &'a [u8],
    flexible: bool,
}

/// One partition of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    /// Which partition.
    pub index: PartitionIndex,
    /// What to append: one record batch if the client keeps to the rules, which is for the caller to check.
    pub records: Option<&'a [u8]>,
}

impl<'a> ProduceRequest<'a> {
    /// Reads the body of a request and walks all of it once, so that what the iterators hand out afterwards is
    /// known to be whole: no partition is appended of a request that turns out to be malformed.
    pub fn parse(body: &'a [u8], version: i16) -> Result<Self, WireError> {
        if !(0..=VERSION_MAX).contains(&version) {
            return Err(WireError::UnknownVersion {
                message: "Produce",
                got: version,
            });
        }
        let flexible = is_flexible(version);
        let mut reader = WireReader::new(body);
        let transactional_id = if version >= 3 {
            reader.nullable_string(flexible)?
        } else {
            None
        };
        let acks = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let topics_count = reader.array_len(flexible, topic_bytes_min(version))?;
        let topics = reader.rest();
        let mut partitions_count = 0;
        for _ in 0..topics_count {
            partitions_count += read_topic(&mut reader, version)?.partitions_count;
        }
        let topics = &topics[..topics.len() - reader.remaining()];
        reader.skip_tagged_fields(flexible)?;
        reader.finish()?;
        Ok(Self {
            version,
            transactional_id,
            acks,
            timeout_ms,
            topics_count,
            partitions_count,
            topics,
        })
    }

    /// The version it was read in.
    pub const fn version(&self) -> i16 {
        self.version
    }

    /// How many topics it names.
    pub const fn topics_count(&self) -> usize {
        self.topics_count
    }

    /// How many partitions it names over all topics.
    pub const fn partitions_count(&self) -> usize {
        self.partitions_count
    }

    /// The topics, in the request's order.
    pub fn topics(&self) -> Topics<'a> {
        Topics {
            reader: WireReader::new(self.topics),
            version: self.version,
            left: self.topics_count,
        }
    }
}

impl<'a> ProduceTopic<'a> {
    /// The partitions, in the request's order.
    pub fn partitions(&self) -> Partitions<'a> {
        Partitions {
            reader: WireReader::new(self.partitions),
            flexible: self.flexible,
            left: self.partitions_count,
        }
    }
}

/// Iterator over a request's topics.
#[derive(Clone, Debug)]
pub struct Topics<'a> {
    reader: WireReader<'a>,
    version: i16,
    left: usize,
}

impl<'a> Iterator for Topics<'a> {
    type Item = ProduceTopic<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // The structure has been walked before; an error cannot come up again.
        read_topic(&mut self.reader, self.version).ok()
    }
}

/// Iterator over a topic's partitions.
#[derive(Clone, Debug)]
pub struct Partitions<'a> {
    reader: WireReader<'a>,
    flexible: bool,
    left: usize,
}

impl<'a> Iterator for Partitions<'a> {
    type Item = ProducePartition<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        read_partition(&mut self.reader, self.flexible).ok()
    }
}

/// The least a topic takes: its name's length or id, and its partitions' count.
const fn topic_bytes_min(version: i16) -> usize {
    if has_topic_ids(version) {
        18
    } else if is_flexible(version) {
        3
    } else {
        6
    }
}

fn read_topic<'a>(
    reader: &mut WireReader<'a>,
    version: i16,
) -> Result<ProduceTopic<'a>, WireError> {
    let flexible = is_flexible(version);
    let topic = if has_topic_ids(version) {
        TopicRef::Id(TopicId::new(reader.uuid()?))
    } else {
        TopicRef::Name(reader.string(flexible)?)
    };
    let partitions_count = reader.array_len(flexible, if flexible { 6 } else { 8 })?;
    let partitions = reader.rest();
    for _ in 0..partitions_count {
        read_partition(reader, flexible)?;
    }
    let partitions = &partitions[..partitions.len() - reader.remaining()];
    reader.skip_tagged_fields(flexible)?;
    Ok(ProduceTopic {
        topic,
        partitions_count,
        partitions,
        flexible,
    })
}

#[inline]
fn read_partition<'a>(
    reader: &mut WireReader<'a>,
    flexible: bool,
) -> Result<ProducePartition<'a>, WireError> {
    let index = PartitionIndex::new(reader.i32()?);
    let records = reader.nullable_bytes(flexible)?;
    reader.skip_tagged_fields(flexible)?;
    Ok(ProducePartition { index, records })
}

/// What a producer says once for a whole request.
#[derive(Clone, Copy, Debug)]
pub struct ProduceHeader<'a> {
    /// The version to write: 3 to 12 by topic name, 13 by id.
    pub version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
    /// Set by producers in a transaction.
    pub transactional_id: Option<&'a str>,
    /// 0, 1 or -1.
    pub acks: i16,
    /// How long the broker may wait for replicas.
    pub timeout_ms: i32,
}

/// One partition to write into a request.
#[derive(Clone, Copy, Debug)]
pub struct PartitionRecords<S> {
    /// Which partition.
    pub index: PartitionIndex,
    /// One record batch.
    pub records: S,
}

/// One topic to write into a request.
#[derive(Clone, Copy, Debug)]
pub struct TopicRecords<'a, S> {
    /// By name for versions up to 12, by id for 13.
    pub topic: TopicRef<'a>,
    /// Its partitions.
    pub partitions: &'a [PartitionRecords<S>],
}

/// Appends a whole request frame to `out`, length prefix included; record batches become slices and are not
/// copied. Several requests may share one `out` and so one vectored send.
///
/// # Errors
/// If the version is not known, or names topics in the other way.
pub fn encode_request<S: AsRef<[u8]> + Clone>(
    out: &mut Gathered<S>,
    header: &ProduceHeader<'_>,
    topics: &[TopicRecords<'_, S>],
) -> Result<(), WireError> {
    let version = header.version;
    let by_id = has_topic_ids(version);
    let unknown = !(3..=VERSION_MAX).contains(&version);
    if unknown
        || topics
            .iter()
            .any(|topic| matches!(topic.topic, TopicRef::Id(_)) != by_id)
    {
        return Err(WireError::UnknownVersion {
            message: "Produce",
            got: version,
        });
    }
    let flexible = is_flexible(version);
    let frame_start = out.size_bytes();
    let prefix_at = out.bytes().len();
    let bytes = out.bytes_mut();
    bytes.put_i32(0);
    put_request_header(
        bytes,
        api::PRODUCE,
        version,
        header.correlation_id,
        header.client_id,
        flexible,
    );
    put_nullable_string(bytes, flexible, header.transactional_id);
    bytes.put_i16(header.acks);
    bytes.put_i32(header.timeout_ms);
    put_array_len(bytes, flexible, topics.len());
    for topic in topics {
        let bytes = out.bytes_mut();
        match topic.topic {
            TopicRef::Name(name) => put_string(bytes, flexible, name),
            TopicRef::Id(id) => bytes.put_slice(&id.get()),
        }
        put_array_len(bytes, flexible, topic.partitions.len());
        for partition in topic.partitions {
            let bytes = out.bytes_mut();
            bytes.put_i32(partition.index.get());
            put_bytes_len(bytes, flexible, Some(partition.records.as_ref().len()));
            out.push_slice(partition.records.clone());
            put_empty_tags(out.bytes_mut(), flexible);
        }
        put_empty_tags(out.bytes_mut(), flexible);
    }
    put_empty_tags(out.bytes_mut(), flexible);
    let length = out.size_bytes() - frame_start - LENGTH_PREFIX_BYTES;
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    if let Some(prefix) = out
        .bytes_mut()
        .get_mut(prefix_at..prefix_at + LENGTH_PREFIX_BYTES)
    {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ProduceRequest, TopicRef};
    use crate::error_code::ErrorCode;
    use crate::produce::{PartitionOutcome, ProduceResponseWriter};
    use crate::wire::WireError;
    use bytes::BufMut;

    /// One topic "t" with partition 3 of two bytes of records, as versions 0 to 2 have it.
    fn old_body() -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i16(1);
        body.put_i32(1_000);
        body.put_i32(1);
        body.put_slice(b"\0\x01t");
        body.put_i32(1);
        body.put_i32(3);
        body.put_i32(2);
        body.put_slice(b"xy");
        body
    }

    #[test]
    fn versions_before_transactions_parse_so_that_they_can_be_refused() {
        let body = old_body();
        let outcome_bytes = [10, 10, 18];
        for version in 0..3_i16 {
            let request = ProduceRequest::parse(&body, version).unwrap();
            assert_eq!((request.acks, request.transactional_id), (1, None));
            let refused = PartitionOutcome::failed(ErrorCode::UnsupportedVersion);
            let mut writer =
                ProduceResponseWriter::<&[u8]>::new(6, version, request.topics_count());
            for topic in request.topics() {
                assert_eq!(topic.topic, TopicRef::Name("t"));
                writer.topic(topic.topic, topic.partitions_count);
                for partition in topic.partitions() {
                    assert_eq!(
                        (partition.index.get(), partition.records),
                        (3, Some(&b"xy"[..]))
                    );
                    writer.partition(partition.index, refused);
                }
            }
            let frame = writer.finish(0, &[]).to_vec();
            // Prefix, correlation id, topics, name, partitions, index, outcome; the throttle time from version 1 on.
            let throttle = if version >= 1 { 4 } else { 0 };
            let outcome_bytes = outcome_bytes[version as usize];
            assert_eq!(
                frame.len(),
                4 + 4 + 4 + 3 + 4 + 4 + outcome_bytes + throttle
            );
            assert_eq!(
                frame[23..25],
                ErrorCode::UnsupportedVersion.code().to_be_bytes()
            );
        }
    }

    #[test]
    fn malformed_bodies_by_table() {
        let body = old_body();
        let table: [(usize, &[u8], &str); 5] = [
            (6, &[0x7f, 0xff, 0xff, 0xff], "topics that cannot be there"),
            (10, &[0xff, 0xff], "a topic without a name"),
            (13, &[0x00, 0x00, 0x00, 0x02], "a partition too many"),
            (21, &[0xff, 0xff, 0xff, 0xfe], "records of negative length"),
            (21, &[0x00, 0x00, 0x00, 0x01], "bytes behind the end"),
        ];
        for (at, patch, what) in table {
            let mut body = body.clone();
            body[at..at + patch.len()].copy_from_slice(patch);
            assert!(ProduceRequest::parse(&body, 1).is_err(), "{what}");
        }
        assert!(matches!(
            ProduceRequest::parse(&body, 14),
            Err(WireError::UnknownVersion { got: 14, .. })
        ));
    }
}
