//! The Fetch request.

use bytes::BufMut;
use corelane_format::{LeaderEpoch, Offset, PartitionIndex, TopicId};

use super::{check_version, has_topic_ids, is_flexible};
use crate::api::{self, put_request_header};
use crate::topic::{TopicKey, TopicRef};
use crate::wire::{
    WireError, WireReader, put_array_len, put_empty_tags, put_string, put_tag_header,
    put_unsigned_varint,
};

/// What a consumer may see of transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Everything below the high watermark.
    #[default]
    ReadUncommitted,
    /// Only what no open transaction can take back, with the aborted ones named.
    ReadCommitted,
}

impl IsolationLevel {
    /// Reads the wire's number; Kafka knows no others than 0 and 1.
    pub const fn from_wire(level: i8) -> Option<Self> {
        match level {
            0 => Some(Self::ReadUncommitted),
            1 => Some(Self::ReadCommitted),
            _ => None,
        }
    }

    /// The wire's number.
    pub const fn to_wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// A Fetch request, owned: a long poll outlives the frame it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// The broker id of a follower, or -1 from a consumer.
    pub replica_id: i32,
    /// The broker epoch of a follower, or -1. From version 15 on.
    pub replica_epoch: i64,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Bytes that end the wait.
    pub min_bytes: i32,
    /// Bytes of records to answer with at most; the first batch may exceed it.
    pub max_bytes: i32,
    /// 0 or 1 from a sound client: see [`IsolationLevel::from_wire`].
    pub isolation_level: i8,
    /// Fetch session, 0 for none. From version 7 on.
    pub session_id: i32,
    /// -1 outside of sessions. From version 7 on.
    pub session_epoch: i32,
    /// What to fetch.
    pub topics: Vec<FetchTopic>,
    /// What an incremental fetch drops from its session.
    pub forgotten_topics: Vec<ForgottenTopic>,
    /// Where the consumer is. From version 11 on.
    pub rack_id: Box<str>,
}

impl Default for FetchRequest {
    fn default() -> Self {
        Self {
            replica_id: -1,
            replica_epoch: -1,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 50 * 1024 * 1024,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
            topics: Vec::new(),
            forgotten_topics: Vec::new(),
            rack_id: "".into(),
        }
    }
}

/// One topic of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// By name up to version 12, by id from 13 on.
    pub topic: TopicKey,
    /// Its partitions.
    pub partitions: Vec<FetchPartition>,
}

/// One partition of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// Which partition.
    pub index: PartitionIndex,
    /// The leader epoch the client believes in, -1 if it does not say. From version 9 on.
    pub current_leader_epoch: LeaderEpoch,
    /// Where to begin.
    pub fetch_offset: Offset,
    /// Epoch of the last record the client has, -1 if it does not say. From version 12 on.
    pub last_fetched_epoch: LeaderEpoch,
    /// First offset of a follower, -1 from a consumer. From version 5 on.
    pub log_start_offset: Offset,
    /// Bytes of records to answer with at most for this partition; the first batch may exceed it.
    pub max_bytes: i32,
}

impl FetchPartition {
    /// What a consumer asks.
    pub const fn new(index: PartitionIndex, fetch_offset: Offset, max_bytes: i32) -> Self {
        Self {
            index,
            current_leader_epoch: LeaderEpoch::new(-1),
            fetch_offset,
            last_fetched_epoch: LeaderEpoch::new(-1),
            log_start_offset: Offset::new(-1),
            max_bytes,
        }
    }
}

/// A topic and those of its partitions that an incremental fetch drops from its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenTopic {
    /// By name up to version 12, by id from 13 on.
    pub topic: TopicKey,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

const fn topic_bytes_min(version: i16) -> usize {
    if has_topic_ids(version) {
        18
    } else if is_flexible(version) {
        3
    } else {
        6
    }
}

/// A topic without partitions takes three bytes on the wire and sixteen times that in memory.
const TOPICS_MAX: usize = 100_000;

/// Partitions of one request in all, fetched and forgotten: each costs work and memory far beyond its bytes.
const PARTITIONS_MAX: usize = 100_000;

/// Counts the partitions of one request.
#[derive(Default)]
struct PartitionsRead(usize);

impl PartitionsRead {
    /// Reads the count in front of a topic's partitions, before memory is taken for them.
    fn read_count(
        &mut self,
        reader: &mut WireReader<'_>,
        version: i16,
        bytes_min: usize,
    ) -> Result<usize, WireError> {
        let count = reader.array_len(is_flexible(version), bytes_min)?;
        self.0 = self.0.saturating_add(count);
        if self.0 > PARTITIONS_MAX {
            return Err(WireError::CountLimit {
                offset: reader.position(),
                count: self.0,
                limit: PARTITIONS_MAX,
            });
        }
        Ok(count)
    }
}

fn read_topics_count(reader: &mut WireReader<'_>, version: i16) -> Result<usize, WireError> {
    let count = reader.array_len(is_flexible(version), topic_bytes_min(version))?;
    if count > TOPICS_MAX {
        return Err(WireError::CountLimit {
            offset: reader.position(),
            count,
            limit: TOPICS_MAX,
        });
    }
    Ok(count)
}

const fn partition_bytes(version: i16) -> usize {
    let mut bytes = 4 + 8 + 4;
    if version >= 5 {
        bytes += 8;
    }
    if version >= 9 {
        bytes += 4;
    }
    if version >= 12 {
        bytes += 4;
    }
    bytes
}

fn read_topic_name(reader: &mut WireReader<'_>, version: i16) -> Result<TopicKey, WireError> {
    if has_topic_ids(version) {
        Ok(TopicKey::Id(TopicId::new(reader.uuid()?)))
    } else {
        Ok(TopicKey::Name(reader.string(is_flexible(version))?.into()))
    }
}

fn put_topic_name(out: &mut Vec<u8>, version: i16, topic: TopicRef<'_>) -> Result<(), WireError> {
    match topic {
        TopicRef::Name(name) if !has_topic_ids(version) => {
            put_string(out, is_flexible(version), name);
        }
        TopicRef::Id(id) if has_topic_ids(version) => out.put_slice(&id.get()),
        _ => {
            return Err(WireError::UnknownVersion {
                message: "Fetch",
                got: version,
            });
        }
    }
    Ok(())
}

impl FetchRequest {
    /// Reads the body of a request. Memory is taken for counts that the bytes at hand can hold, and no others.
    pub fn parse(body: &[u8], version: i16) -> Result<Self, WireError> {
        check_version(version)?;
        let flexible = is_flexible(version);
        let mut reader = WireReader::new(body);
        let mut request = Self::default();
        if version <= 14 {
            request.replica_id = reader.i32()?;
        }
        request.max_wait_ms = reader.i32()?;
        request.min_bytes = reader.i32()?;
        request.max_bytes = reader.i32()?;
        request.isolation_level = reader.i8()?;
        if version >= 7 {
            request.session_id = reader.i32()?;
            request.session_epoch = reader.i32()?;
        }
        let mut partitions = PartitionsRead::default();
        let topics_count = read_topics_count(&mut reader, version)?;
        request.topics.reserve_exact(topics_count);
        for _ in 0..topics_count {
            request
                .topics
                .push(FetchTopic::read(&mut reader, version, &mut partitions)?);
        }
        if version >= 7 {
            let forgotten_count = read_topics_count(&mut reader, version)?;
            request.forgotten_topics.reserve_exact(forgotten_count);
            for _ in 0..forgotten_count {
                request.forgotten_topics.push(ForgottenTopic::read(
                    &mut reader,
                    version,
                    &mut partitions,
                )?);
            }
        }
        if version >= 11 {
            request.rack_id = reader.string(flexible)?.into();
        }
        reader.tagged_fields(flexible, |tag, value| {
            if tag != 1 || version < 15 {
                return Ok(false);
            }
            request.replica_id = value.i32()?;
            request.replica_epoch = value.i64()?;
            value.skip_tagged_fields(true)?;
            Ok(true)
        })?;
        reader.finish()?;
        Ok(request)
    }
}

impl FetchTopic {
    fn read(
        reader: &mut WireReader<'_>,
        version: i16,
        read: &mut PartitionsRead,
    ) -> Result<Self, WireError> {
        let flexible = is_flexible(version);
        let topic = read_topic_name(reader, version)?;
        let count = read.read_count(reader, version, partition_bytes(version))?;
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            partitions.push(FetchPartition::read(reader, version)?);
        }
        reader.skip_tagged_fields(flexible)?;
        Ok(Self { topic, partitions })
    }
}

impl FetchPartition {
    fn read(reader: &mut WireReader<'_>, version: i16) -> Result<Self, WireError> {
        let index = PartitionIndex::new(reader.i32()?);
        let mut partition = Self::new(index, Offset::ZERO, 0);
        if version >= 9 {
            partition.current_leader_epoch = LeaderEpoch::new(reader.i32()?);
        }
        partition.fetch_offset = Offset::new(reader.i64()?);
        if version >= 12 {
            partition.last_fetched_epoch = LeaderEpoch::new(reader.i32()?);
        }
        if version >= 5 {
            partition.log_start_offset = Offset::new(reader.i64()?);
        }
        partition.max_bytes = reader.i32()?;
        // Version 17 tags the follower's directory and version 18 its high watermark; neither is needed here.
        reader.skip_tagged_fields(is_flexible(version))?;
        Ok(partition)
    }

    fn put(&self, out: &mut Vec<u8>, version: i16) {
        out.put_i32(self.index.get());
        if version >= 9 {
            out.put_i32(self.current_leader_epoch.get());
        }
        out.put_i64(self.fetch_offset.get());
        if version >= 12 {
            out.put_i32(self.last_fetched_epoch.get());
        }
        if version >= 5 {
            out.put_i64(self.log_start_offset.get());
        }
        out.put_i32(self.max_bytes);
        put_empty_tags(out, is_flexible(version));
    }
}

impl ForgottenTopic {
    fn read(
        reader: &mut WireReader<'_>,
        version: i16,
        read: &mut PartitionsRead,
    ) -> Result<Self, WireError> {
        let flexible = is_flexible(version);
        let topic = read_topic_name(reader, version)?;
        let count = read.read_count(reader, version, 4)?;
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            partitions.push(PartitionIndex::new(reader.i32()?));
        }
        reader.skip_tagged_fields(flexible)?;
        Ok(Self { topic, partitions })
    }
}

/// What stands in front of a request's body.
#[derive(Clone, Copy, Debug)]
pub struct FetchHeader<'a> {
    /// The version to write: 4 to 12 by topic name, 13 to 18 by id.
    pub version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
}

/// Appends a whole request frame to `out`, length prefix included.
///
/// # Errors
/// If the version is not known, or names topics in the other way.
pub fn encode_request(
    out: &mut Vec<u8>,
    header: &FetchHeader<'_>,
    request: &FetchRequest,
) -> Result<(), WireError> {
    let version = header.version;
    check_version(version)?;
    let flexible = is_flexible(version);
    let start = out.len();
    out.put_i32(0);
    put_request_header(
        out,
        api::FETCH,
        version,
        header.correlation_id,
        header.client_id,
        flexible,
    );
    if version <= 14 {
        out.put_i32(request.replica_id);
    }
    out.put_i32(request.max_wait_ms);
    out.put_i32(request.min_bytes);
    out.put_i32(request.max_bytes);
    out.put_i8(request.isolation_level);
    if version >= 7 {
        out.put_i32(request.session_id);
        out.put_i32(request.session_epoch);
    }
    put_array_len(out, flexible, request.topics.len());
    for topic in &request.topics {
        put_topic_name(out, version, topic.topic.as_topic())?;
        put_array_len(out, flexible, topic.partitions.len());
        for partition in &topic.partitions {
            partition.put(out, version);
        }
        put_empty_tags(out, flexible);
    }
    if version >= 7 {
        put_array_len(out, flexible, request.forgotten_topics.len());
        for topic in &request.forgotten_topics {
            put_topic_name(out, version, topic.topic.as_topic())?;
            put_array_len(out, flexible, topic.partitions.len());
            for partition in &topic.partitions {
                out.put_i32(partition.get());
            }
            put_empty_tags(out, flexible);
        }
    }
    if version >= 11 {
        put_string(out, flexible, &request.rack_id);
    }
    if version >= 15 && (request.replica_id != -1 || request.replica_epoch != -1) {
        put_unsigned_varint(out, 1);
        put_tag_header(out, 1, 13);
        out.put_i32(request.replica_id);
        out.put_i64(request.replica_epoch);
        put_empty_tags(out, true);
    } else {
        put_empty_tags(out, flexible);
    }
    let length = i32::try_from(out.len() - start - 4).unwrap_or(i32::MAX);
    if let Some(prefix) = out.get_mut(start..start + 4) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        FetchHeader, FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, PARTITIONS_MAX,
        encode_request,
    };
    use crate::api::RequestHeader;
    use crate::topic::TopicKey;
    use crate::wire::WireError;
    use corelane_format::{Offset, PartitionIndex, TopicId};

    fn key(version: i16) -> TopicKey {
        if version >= 13 {
            TopicKey::Id(TopicId::new([7; 16]))
        } else {
            TopicKey::Name("t".into())
        }
    }

    fn parse(
        version: i16,
        fetched: [usize; 2],
        forgotten: usize,
    ) -> Result<FetchRequest, WireError> {
        let partition = FetchPartition::new(PartitionIndex::new(0), Offset::ZERO, 1);
        let topics = fetched.map(|count| FetchTopic {
            topic: key(version),
            partitions: vec![partition; count],
        });
        let request = FetchRequest {
            topics: topics.into(),
            forgotten_topics: vec![ForgottenTopic {
                topic: key(version),
                partitions: vec![PartitionIndex::new(0); forgotten],
            }],
            ..FetchRequest::default()
        };
        let header = FetchHeader {
            version,
            correlation_id: 1,
            client_id: None,
        };
        let mut frame = Vec::new();
        encode_request(&mut frame, &header, &request).unwrap();
        let (_, body) = RequestHeader::parse(&frame[4..]).unwrap();
        FetchRequest::parse(body, version)
    }

    #[test]
    fn partitions_are_limited_over_all_topics() {
        let half = PARTITIONS_MAX / 2;
        for version in [7, 12, 13, 18] {
            for (fetched, forgotten) in [([half, half], 0), ([half, 0], half), ([0, 0], 2 * half)] {
                assert!(parse(version, fetched, forgotten).is_ok());
                let over = parse(version, fetched, forgotten + 1);
                assert!(
                    matches!(over, Err(WireError::CountLimit { count, limit: PARTITIONS_MAX, .. }) if count == PARTITIONS_MAX + 1)
                );
            }
            assert!(parse(version, [half, half + 1], 0).is_err());
        }
    }
}
