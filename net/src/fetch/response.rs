//! The Fetch response: gathered by the server from stored slices, read by the client into ranges of its buffer.

use std::ops::Range;

use bytes::BufMut;
use corelane_format::{LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId};

use super::{check_version, has_topic_ids, is_flexible};
use crate::error_code::ErrorCode;
use crate::produce::{CurrentLeader, NodeEndpoint, put_node_endpoints, read_node_endpoints};
use crate::response::{Response, ResponseBuilder};
use crate::topic::{TopicKey, TopicRef};
use crate::wire::{
    WireError, WireReader, put_array_len, put_bytes_len, put_empty_tags, put_string,
    put_tag_header, put_unsigned_varint,
};

/// A transaction that was aborted within the records answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Where it began.
    pub first_offset: Offset,
}

/// One partition of a response, but for its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionData {
    /// Which partition.
    pub index: PartitionIndex,
    /// Whether it could be read.
    pub error: ErrorCode,
    /// Exclusive end of what consumers may see; -1 with an error.
    pub high_watermark: Offset,
    /// Exclusive end of what a read-committed consumer may see; -1 with an error.
    pub last_stable_offset: Offset,
    /// First offset still there; -1 with an error. From version 5 on.
    pub log_start_offset: Offset,
    /// `None` to a read-uncommitted consumer.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica to read from instead, -1 for none. From version 11 on.
    pub preferred_read_replica: i32,
    /// Where the client's log and the leader's part, as (epoch, end offset). From version 12 on.
    pub diverging_epoch: Option<(LeaderEpoch, Offset)>,
    /// Where the leader is, if the broker is not it. From version 12 on.
    pub current_leader: Option<CurrentLeader>,
}

impl PartitionData {
    /// A partition that could be read up to `high_watermark`, without transactions.
    pub const fn readable(
        index: PartitionIndex,
        high_watermark: Offset,
        log_start_offset: Offset,
    ) -> Self {
        Self {
            index,
            error: ErrorCode::None,
            high_watermark,
            last_stable_offset: high_watermark,
            log_start_offset,
            aborted_transactions: None,
            preferred_read_replica: -1,
            diverging_epoch: None,
            current_leader: None,
        }
    }

    /// A partition that could not be read.
    pub const fn failed(index: PartitionIndex, error: ErrorCode) -> Self {
        let mut data = Self::readable(index, Offset::new(-1), Offset::new(-1));
        data.error = error;
        data
    }
}

/// What stands in front of the topics of a response.
#[derive(Clone, Copy, Debug)]
pub struct FetchResponseHeader {
    /// The request's version.
    pub version: i16,
    /// The request's correlation id.
    pub correlation_id: i32,
    /// How long the client should pause.
    pub throttle_time_ms: i32,
    /// An error of the whole request. From version 7 on.
    pub error: ErrorCode,
    /// 0: no session, so the client sends full fetches. From version 7 on.
    pub session_id: i32,
    /// How many topics follow.
    pub topics_count: usize,
}

/// Writes a response: headers into one vector, stored slices in their places between them.
#[derive(Debug)]
pub struct FetchResponseWriter<S> {
    builder: ResponseBuilder<S>,
    version: i16,
    topics_left: usize,
    partitions_left: usize,
}

impl<S: AsRef<[u8]>> FetchResponseWriter<S> {
    /// Starts a response.
    pub fn new(header: &FetchResponseHeader) -> Self {
        let version = header.version;
        let flexible = is_flexible(version);
        let mut builder = ResponseBuilder::new(header.correlation_id, flexible, 160);
        let bytes = builder.bytes_mut();
        bytes.put_i32(header.throttle_time_ms);
        if version >= 7 {
            bytes.put_i16(header.error.code());
            bytes.put_i32(header.session_id);
        }
        put_array_len(bytes, flexible, header.topics_count);
        Self {
            builder,
            version,
            topics_left: header.topics_count,
            partitions_left: 0,
        }
    }

    /// Starts the next topic.
    ///
    /// # Panics
    /// If the topic before it lacks partitions, or all topics were written.
    pub fn topic(&mut self, topic: TopicRef<'_>, partitions_count: usize) {
        assert!(
            self.partitions_left == 0,
            "the topic lacks {} partitions",
            self.partitions_left
        );
        assert!(self.topics_left > 0, "more topics than announced");
        self.topics_left -= 1;
        self.partitions_left = partitions_count;
        let flexible = is_flexible(self.version);
        let bytes = self.builder.bytes_mut();
        match topic {
            TopicRef::Name(name) => put_string(bytes, flexible, name),
            TopicRef::Id(id) => bytes.put_slice(&id.get()),
        }
        put_array_len(bytes, flexible, partitions_count);
        if partitions_count == 0 {
            put_empty_tags(bytes, flexible);
        }
    }

    /// Writes the next partition of the topic with its records: whole batches, in order.
    ///
    /// # Panics
    /// If the topic has no partitions left.
    pub fn partition(&mut self, data: &PartitionData, records: Vec<S>) {
        assert!(self.partitions_left > 0, "more partitions than announced");
        self.partitions_left -= 1;
        self.put_partition_start(data, records.iter().map(|slice| slice.as_ref().len()).sum());
        for slice in records {
            self.builder.push_slice(slice);
        }
        self.put_partition_end(data);
    }

    fn put_partition_start(&mut self, data: &PartitionData, records_bytes: usize) {
        let version = self.version;
        let flexible = is_flexible(version);
        let bytes = self.builder.bytes_mut();
        bytes.put_i32(data.index.get());
        bytes.put_i16(data.error.code());
        bytes.put_i64(data.high_watermark.get());
        bytes.put_i64(data.last_stable_offset.get());
        if version >= 5 {
            bytes.put_i64(data.log_start_offset.get());
        }
        put_bytes_len(
            bytes,
            flexible,
            data.aborted_transactions.as_ref().map(Vec::len),
        );
        for aborted in data.aborted_transactions.iter().flatten() {
            bytes.put_i64(aborted.producer_id.get());
            bytes.put_i64(aborted.first_offset.get());
            put_empty_tags(bytes, flexible);
        }
        if version >= 11 {
            bytes.put_i32(data.preferred_read_replica);
        }
        put_bytes_len(bytes, flexible, Some(records_bytes));
    }

    fn put_partition_end(&mut self, data: &PartitionData) {
        let flexible = is_flexible(self.version);
        let bytes = self.builder.bytes_mut();
        if flexible {
            let count = u32::from(data.diverging_epoch.is_some())
                + u32::from(data.current_leader.is_some());
            put_unsigned_varint(bytes, count);
            if let Some((epoch, end_offset)) = data.diverging_epoch {
                put_tag_header(bytes, 0, 13);
                bytes.put_i32(epoch.get());
                bytes.put_i64(end_offset.get());
                put_empty_tags(bytes, true);
            }
            if let Some(leader) = data.current_leader {
                put_tag_header(bytes, 1, 9);
                bytes.put_i32(leader.leader_id);
                bytes.put_i32(leader.leader_epoch.get());
                put_empty_tags(bytes, true);
            }
        }
        if self.partitions_left == 0 {
            put_empty_tags(bytes, flexible);
        }
    }

    /// Ends the response. `endpoints` tell where the leaders named in it are, from version 16 on.
    ///
    /// # Panics
    /// If topics or partitions are missing.
    pub fn finish(mut self, endpoints: &[NodeEndpoint]) -> Response<S> {
        assert!(
            self.partitions_left == 0,
            "the topic lacks {} partitions",
            self.partitions_left
        );
        assert!(
            self.topics_left == 0,
            "the response lacks {} topics",
            self.topics_left
        );
        let bytes = self.builder.bytes_mut();
        if self.version >= 16 && !endpoints.is_empty() {
            put_node_endpoints(bytes, endpoints);
        } else {
            put_empty_tags(bytes, is_flexible(self.version));
        }
        self.builder.finish()
    }
}

/// One partition of a response, as the client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// Place of its topic in [`FetchResponse::topics`].
    pub topic: usize,
    /// Everything but the records.
    pub data: PartitionData,
    /// Where its records lie in the body that was parsed: batches, the last of them possibly cut short.
    pub records: Range<usize>,
}

/// A response, as the client reads it: ranges over the body it was parsed from. Its memory is used again by the
/// next [`FetchResponse::parse_into`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchResponse {
    /// How long the broker asks the client to pause.
    pub throttle_time_ms: i32,
    /// The error of the whole request.
    pub error_code: i16,
    /// The session the broker made or kept, 0 for none.
    pub session_id: i32,
    /// The topics, in the response's order.
    pub topics: Vec<TopicKey>,
    /// The partitions of all topics, in the response's order.
    pub partitions: Vec<FetchedPartition>,
    /// Where the leaders named are.
    pub node_endpoints: Vec<NodeEndpoint>,
}

impl FetchResponse {
    /// The error of the whole request.
    pub const fn error(&self) -> ErrorCode {
        ErrorCode::from_wire(self.error_code)
    }

    /// Reads the body of a response.
    pub fn parse(body: &[u8], version: i16) -> Result<Self, WireError> {
        let mut response = Self::default();
        response.parse_into(body, version)?;
        Ok(response)
    }

    /// Reads the body of a response in the place of the last one.
    pub fn parse_into(&mut self, body: &[u8], version: i16) -> Result<(), WireError> {
        check_version(version)?;
        self.topics.clear();
        self.partitions.clear();
        self.node_endpoints.clear();
        self.error_code = 0;
        self.session_id = 0;
        let flexible = is_flexible(version);
        let mut reader = WireReader::new(body);
        self.throttle_time_ms = reader.i32()?;
        if version >= 7 {
            self.error_code = reader.i16()?;
            self.session_id = reader.i32()?;
        }
        for topic in 0..reader.array_len(flexible, if flexible { 3 } else { 6 })? {
            self.topics.push(if has_topic_ids(version) {
                TopicKey::Id(TopicId::new(reader.uuid()?))
            } else {
                TopicKey::Name(reader.string(flexible)?.into())
            });
            for _ in 0..reader.array_len(flexible, 24)? {
                let partition = read_partition(&mut reader, version, topic)?;
                self.partitions.push(partition);
            }
            reader.skip_tagged_fields(flexible)?;
        }
        reader.tagged_fields(flexible, |tag, value| {
            if tag != 0 || version < 16 {
                return Ok(false);
            }
            self.node_endpoints = read_node_endpoints(value)?;
            Ok(true)
        })?;
        reader.finish()
    }
}

fn read_partition(
    reader: &mut WireReader<'_>,
    version: i16,
    topic: usize,
) -> Result<FetchedPartition, WireError> {
    let flexible = is_flexible(version);
    let index = PartitionIndex::new(reader.i32()?);
    let mut data = PartitionData::failed(index, ErrorCode::from_wire(reader.i16()?));
    data.high_watermark = Offset::new(reader.i64()?);
    data.last_stable_offset = Offset::new(reader.i64()?);
    if version >= 5 {
        data.log_start_offset = Offset::new(reader.i64()?);
    }
    if let Some(count) = reader.nullable_array_len(flexible, 16)? {
        let mut aborted = Vec::with_capacity(count);
        for _ in 0..count {
            aborted.push(AbortedTransaction {
                producer_id: ProducerId::new(reader.i64()?),
                first_offset: Offset::new(reader.i64()?),
            });
            reader.skip_tagged_fields(flexible)?;
        }
        data.aborted_transactions = Some(aborted);
    }
    if version >= 11 {
        data.preferred_read_replica = reader.i32()?;
    }
    let length = reader.nullable_bytes(flexible)?.map_or(0, <[u8]>::len);
    let records = reader.position() - length..reader.position();
    reader.tagged_fields(flexible, |tag, value| {
        match tag {
            0 => {
                let epoch = LeaderEpoch::new(value.i32()?);
                let end_offset = Offset::new(value.i64()?);
                data.diverging_epoch = (epoch.get() >= 0).then_some((epoch, end_offset));
            }
            1 => {
                let leader_id = value.i32()?;
                let leader_epoch = LeaderEpoch::new(value.i32()?);
                data.current_leader = (leader_id >= 0).then_some(CurrentLeader {
                    leader_id,
                    leader_epoch,
                });
            }
            _ => return Ok(false),
        }
        value.skip_tagged_fields(true)?;
        Ok(true)
    })?;
    Ok(FetchedPartition {
        topic,
        data,
        records,
    })
}
