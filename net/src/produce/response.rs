//! The Produce response: written by the server with places to fill in once the outcome is known, read by the client.

use bytes::BufMut;
use corelane_format::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId};

use super::{VERSION_MAX, has_topic_ids, is_flexible};
use crate::error_code::ErrorCode;
use crate::response::{Response, ResponseBuilder};
use crate::topic::{TopicKey, TopicRef};
use crate::wire::{
    WireError, WireReader, put_array_len, put_empty_tags, put_nullable_string, put_string,
    put_tag_header, put_unsigned_varint,
};

/// What became of one partition of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOutcome {
    /// Whether it was appended.
    pub error: ErrorCode,
    /// Offset of the first record; -1 with an error.
    pub base_offset: Offset,
    /// The broker's time of appending if the topic uses it, -1 otherwise. From version 2 on.
    pub log_append_time: TimestampMs,
    /// First offset still there; -1 with an error. From version 5 on.
    pub log_start_offset: Offset,
}

impl PartitionOutcome {
    /// Nothing was appended.
    pub const fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            base_offset: Offset::new(-1),
            log_append_time: TimestampMs::new(-1),
            log_start_offset: Offset::new(-1),
        }
    }
}

/// A record that is to blame for a refused batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Its index within the batch.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: Option<String>,
}

/// Where the leader of a partition is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentLeader {
    /// The leader's broker id.
    pub leader_id: i32,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
}

/// How to reach a broker that a response names as a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// The broker's id.
    pub node_id: i32,
    /// Its advertised host.
    pub host: String,
    /// Its advertised port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<String>,
}

/// The place of one partition's outcome in a response that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSlot(u32);

/// Writes a response in the request's order while the outcomes are still unknown.
///
/// The skeleton is written when the request is handled, straight from the borrowed frame, so that nothing of the
/// request need be kept until the records are flushed: [`ProduceResponseWriter::set`] fills in the numbers then.
/// One vector is all it allocates.
#[derive(Debug)]
pub struct ProduceResponseWriter<S> {
    builder: ResponseBuilder<S>,
    version: i16,
    topics_left: usize,
    partitions_left: usize,
}

impl<S> ProduceResponseWriter<S> {
    /// Starts a response for `topics_count` topics.
    pub fn new(correlation_id: i32, version: i16, topics_count: usize) -> Self {
        let flexible = is_flexible(version);
        let mut builder = ResponseBuilder::new(correlation_id, flexible, 112);
        put_array_len(builder.bytes_mut(), flexible, topics_count);
        Self {
            builder,
            version,
            topics_left: topics_count,
            partitions_left: 0,
        }
    }

    /// Starts the next topic.
    ///
    /// # Panics
    /// If the topic before it lacks partitions, or all topics were written: a bug of the handler that would
    /// otherwise send a response no client can read.
    pub fn topic(&mut self, topic: TopicRef<'_>, partitions_count: usize) {
        self.end_topic();
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

    /// Writes the next partition of the topic.
    pub fn partition(&mut self, index: PartitionIndex, outcome: PartitionOutcome) -> PartitionSlot {
        self.partition_with(index, outcome, &[], None, None)
    }

    /// Writes the next partition of the topic with what a client may be told beyond the outcome. What the
    /// version does not have is left out.
    ///
    /// # Panics
    /// If the topic has no partitions left.
    pub fn partition_with(
        &mut self,
        index: PartitionIndex,
        outcome: PartitionOutcome,
        record_errors: &[RecordError],
        error_message: Option<&str>,
        current_leader: Option<CurrentLeader>,
    ) -> PartitionSlot {
        assert!(self.partitions_left > 0, "more partitions than announced");
        self.partitions_left -= 1;
        let version = self.version;
        let flexible = is_flexible(version);
        let bytes = self.builder.bytes_mut();
        bytes.put_i32(index.get());
        let slot = PartitionSlot(bytes.len() as u32);
        bytes.put_bytes(0, outcome_bytes(version));
        if version >= 8 {
            put_array_len(bytes, flexible, record_errors.len());
            for error in record_errors {
                bytes.put_i32(error.batch_index);
                put_nullable_string(bytes, flexible, error.message.as_deref());
                put_empty_tags(bytes, flexible);
            }
            put_nullable_string(bytes, flexible, error_message);
        }
        match current_leader {
            Some(leader) if version >= 10 => {
                put_unsigned_varint(bytes, 1);
                put_tag_header(bytes, 0, 9);
                bytes.put_i32(leader.leader_id);
                bytes.put_i32(leader.leader_epoch.get());
                put_empty_tags(bytes, true);
            }
            _ => put_empty_tags(bytes, flexible),
        }
        if self.partitions_left == 0 {
            put_empty_tags(bytes, flexible);
        }
        self.set(slot, outcome);
        slot
    }

    /// Sets the outcome of a partition written before.
    pub fn set(&mut self, slot: PartitionSlot, outcome: PartitionOutcome) {
        let version = self.version;
        let at = slot.0 as usize;
        let end = at + outcome_bytes(version);
        let Some(mut place) = self.builder.bytes_mut().get_mut(at..end) else {
            return;
        };
        place.put_i16(outcome.error.code());
        place.put_i64(outcome.base_offset.get());
        if version >= 2 {
            place.put_i64(outcome.log_append_time.get());
        }
        if version >= 5 {
            place.put_i64(outcome.log_start_offset.get());
        }
    }

    fn end_topic(&self) {
        assert!(
            self.partitions_left == 0,
            "the topic lacks {} partitions",
            self.partitions_left
        );
    }

    /// Ends the response. `endpoints` tell where the leaders named in it are, from version 10 on.
    ///
    /// # Panics
    /// If topics or partitions are missing.
    pub fn finish(mut self, throttle_time_ms: i32, endpoints: &[NodeEndpoint]) -> Response<S> {
        self.end_topic();
        assert!(
            self.topics_left == 0,
            "the response lacks {} topics",
            self.topics_left
        );
        let version = self.version;
        let bytes = self.builder.bytes_mut();
        if version >= 1 {
            bytes.put_i32(throttle_time_ms);
        }
        if version >= 10 && !endpoints.is_empty() {
            put_node_endpoints(bytes, endpoints);
        } else {
            put_empty_tags(bytes, is_flexible(version));
        }
        self.builder.finish()
    }
}

/// Error, base offset, append time (2+), log start offset (5+).
const fn outcome_bytes(version: i16) -> usize {
    match version {
        ..2 => 10,
        2..5 => 18,
        5.. => 26,
    }
}

/// Writes the tagged fields that end a Produce or Fetch response with the endpoints as the only one (tag 0).
pub(crate) fn put_node_endpoints(out: &mut Vec<u8>, endpoints: &[NodeEndpoint]) {
    let mut value = Vec::new();
    put_array_len(&mut value, true, endpoints.len());
    for endpoint in endpoints {
        value.put_i32(endpoint.node_id);
        put_string(&mut value, true, &endpoint.host);
        value.put_i32(endpoint.port);
        put_nullable_string(&mut value, true, endpoint.rack.as_deref());
        put_empty_tags(&mut value, true);
    }
    put_unsigned_varint(out, 1);
    put_tag_header(out, 0, value.len());
    out.put_slice(&value);
}

/// Reads what [`put_node_endpoints`] wrote as the value of the tagged field.
pub(crate) fn read_node_endpoints(
    reader: &mut WireReader<'_>,
) -> Result<Vec<NodeEndpoint>, WireError> {
    let count = reader.array_len(true, 11)?;
    let mut endpoints = Vec::with_capacity(count);
    for _ in 0..count {
        let node_id = reader.i32()?;
        let host = reader.string(true)?.to_owned();
        let port = reader.i32()?;
        let rack = reader.nullable_string(true)?.map(str::to_owned);
        reader.skip_tagged_fields(true)?;
        endpoints.push(NodeEndpoint {
            node_id,
            host,
            port,
            rack,
        });
    }
    Ok(endpoints)
}

/// One partition of a response, as the client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducedPartition {
    /// Which partition.
    pub index: PartitionIndex,
    /// What became of it.
    pub outcome: PartitionOutcome,
    /// The records to blame.
    pub record_errors: Vec<RecordError>,
    /// What the broker has to say about it.
    pub error_message: Option<String>,
    /// Where the leader is, if the broker is not it.
    pub current_leader: Option<CurrentLeader>,
}

/// A response, as the client reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceResponse {
    /// How long the broker asks the client to pause.
    pub throttle_time_ms: i32,
    /// The partitions, in the response's order, each with its topic as the request named it.
    pub partitions: Vec<(TopicKey, ProducedPartition)>,
    /// Where the leaders named are.
    pub node_endpoints: Vec<NodeEndpoint>,
}

impl ProduceResponse {
    /// Reads the body of a response.
    pub fn parse(body: &[u8], version: i16) -> Result<Self, WireError> {
        let mut response = Self::default();
        let partitions = &mut response.partitions;
        let tail = visit_response(body, version, |topic, partition| {
            partitions.push((topic.to_key(), partition));
        })?;
        response.throttle_time_ms = tail.throttle_time_ms;
        response.node_endpoints = tail.node_endpoints;
        Ok(response)
    }
}

/// What stands behind the partitions of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceResponseTail {
    /// How long the broker asks the client to pause.
    pub throttle_time_ms: i32,
    /// Where the leaders named are.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// Reads the body of a response partition by partition, without allocating unless the broker reports details of
/// an error. With an error the visitor may have seen partitions of a response that turned out to be malformed.
pub fn visit_response(
    body: &[u8],
    version: i16,
    mut visit: impl FnMut(TopicRef<'_>, ProducedPartition),
) -> Result<ProduceResponseTail, WireError> {
    if !(0..=VERSION_MAX).contains(&version) {
        return Err(WireError::UnknownVersion {
            message: "Produce",
            got: version,
        });
    }
    let flexible = is_flexible(version);
    let mut tail = ProduceResponseTail::default();
    let mut reader = WireReader::new(body);
    for _ in 0..reader.array_len(flexible, if flexible { 3 } else { 6 })? {
        let topic = if has_topic_ids(version) {
            TopicRef::Id(TopicId::new(reader.uuid()?))
        } else {
            TopicRef::Name(reader.string(flexible)?)
        };
        for _ in 0..reader.array_len(flexible, 4 + outcome_bytes(version))? {
            visit(topic, read_partition(&mut reader, version)?);
        }
        reader.skip_tagged_fields(flexible)?;
    }
    if version >= 1 {
        tail.throttle_time_ms = reader.i32()?;
    }
    reader.tagged_fields(flexible, |tag, value| {
        if tag != 0 || version < 10 {
            return Ok(false);
        }
        tail.node_endpoints = read_node_endpoints(value)?;
        Ok(true)
    })?;
    reader.finish()?;
    Ok(tail)
}

fn read_partition(
    reader: &mut WireReader<'_>,
    version: i16,
) -> Result<ProducedPartition, WireError> {
    let flexible = is_flexible(version);
    let index = PartitionIndex::new(reader.i32()?);
    let mut outcome = PartitionOutcome::failed(ErrorCode::from_wire(reader.i16()?));
    outcome.base_offset = Offset::new(reader.i64()?);
    if version >= 2 {
        outcome.log_append_time = TimestampMs::new(reader.i64()?);
    }
    if version >= 5 {
        outcome.log_start_offset = Offset::new(reader.i64()?);
    }
    let mut record_errors = Vec::new();
    let mut error_message = None;
    if version >= 8 {
        for _ in 0..reader.array_len(flexible, 5)? {
            let batch_index = reader.i32()?;
            let message = reader.nullable_string(flexible)?.map(str::to_owned);
            reader.skip_tagged_fields(flexible)?;
            record_errors.push(RecordError {
                batch_index,
                message,
            });
        }
        error_message = reader.nullable_string(flexible)?.map(str::to_owned);
    }
    let mut current_leader = None;
    reader.tagged_fields(flexible, |tag, value| {
        if tag != 0 || version < 10 {
            return Ok(false);
        }
        let leader_id = value.i32()?;
        let leader_epoch = LeaderEpoch::new(value.i32()?);
        value.skip_tagged_fields(true)?;
        current_leader = (leader_id >= 0).then_some(CurrentLeader {
            leader_id,
            leader_epoch,
        });
        Ok(true)
    })?;
    Ok(ProducedPartition {
        index,
        outcome,
        record_errors,
        error_message,
        current_leader,
    })
}
