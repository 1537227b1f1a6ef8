//! What a null broker answers to each request: a frame in, a frame out.

use std::sync::Arc;
use std::time::Duration;

use corelane_format::{Offset, TimestampMs};
use corelane_net::ErrorCode;
use corelane_net::TopicKey;
use corelane_net::api::{
    API_VERSIONS, ApiVersionsError, CREATE_TOPICS, DELETE_TOPICS, FETCH, HeaderError, LIST_OFFSETS,
    METADATA, PRODUCE, RequestHeader, ServerFeatures, answer_api_versions, decode_request,
    encode_response,
};
use corelane_net::fetch::{FetchRequest, FetchResponseHeader, FetchResponseWriter, PartitionData};
use corelane_net::produce::{PartitionOutcome, ProduceRequest, ProduceResponseWriter};
use corelane_net::response::Response;
use corelane_net::wire::WireError;
use kafka_wire::create_topics_response::CreatableTopicResult;
use kafka_wire::delete_topics_response::DeletableTopicResult;
use kafka_wire::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_wire::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
};
use kafka_wire_core::{DecodeError, EncodeError, StrBytes, Uuid};
use thiserror::Error;

use super::broker::{NullBroker, NullTopic};

/// The broker's id.
const BROKER_ID: i32 = 1;

/// How long a fetch may wait, whatever the client says.
const FETCH_WAIT_MAX: Duration = Duration::from_secs(1);

/// An answer; slices of kept batches are not copied.
pub type Answer = Response<Arc<[u8]>>;

/// Why a request is not answered. The connection ends with it.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// No header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// No body of Produce or Fetch.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// No body of another API.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An answer that cannot be said in the version.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// About versions.
    #[error(transparent)]
    Versions(#[from] ApiVersionsError),
    /// Not served here.
    #[error("a null broker does not answer API {api_key} version {api_version}")]
    NotServed {
        /// The API.
        api_key: i16,
        /// Its version.
        api_version: i16,
    },
}

/// Answers one frame, given without its length prefix. `None` where the client expects no answer.
pub fn answer(broker: &NullBroker, frame: &[u8]) -> Result<Option<Answer>, AnswerError> {
    let (header, body) = RequestHeader::parse(frame)?;
    let (version, id) = (header.api_version, header.correlation_id);
    if header.api_key == API_VERSIONS {
        return Ok(Some(answer_api_versions(
            &header,
            body,
            &ServerFeatures::default(),
        )?));
    }
    let not_served = AnswerError::NotServed {
        api_key: header.api_key,
        api_version: version,
    };
    if !header.has_supported_version() {
        return Err(not_served);
    }
    let answer = match header.api_key {
        PRODUCE => return produce(broker, id, version, body),
        FETCH => fetch(broker, id, version, body)?,
        METADATA => encode_response(
            id,
            version,
            &metadata(broker, &decode_request(body, version)?),
        )?,
        CREATE_TOPICS => encode_response(
            id,
            version,
            &create(broker, &decode_request(body, version)?),
        )?,
        DELETE_TOPICS => encode_response(
            id,
            version,
            &delete(broker, &decode_request(body, version)?),
        )?,
        LIST_OFFSETS => encode_response(
            id,
            version,
            &offsets(broker, &decode_request(body, version)?),
        )?,
        _ => return Err(not_served),
    };
    Ok(Some(answer))
}

fn produce(
    broker: &NullBroker,
    correlation_id: i32,
    version: i16,
    body: &[u8],
) -> Result<Option<Answer>, AnswerError> {
    let request = ProduceRequest::parse(body, version)?;
    let mut writer = ProduceResponseWriter::new(correlation_id, version, request.topics_count());
    let indifferent = broker.is_indifferent();
    let outcome = PartitionOutcome {
        error: ErrorCode::None,
        base_offset: Offset::ZERO,
        log_append_time: TimestampMs::new(-1),
        log_start_offset: Offset::ZERO,
    };
    for topic in request.topics() {
        writer.topic(topic.topic, topic.partitions_count);
        for partition in topic.partitions() {
            if !indifferent && let Some(batch) = partition.records {
                broker.take(&topic.topic.to_key(), partition.index.get(), batch);
            }
            writer.partition(partition.index, outcome);
        }
    }
    Ok((request.acks != 0).then(|| writer.finish(0, &[])))
}

fn fetch(
    broker: &NullBroker,
    correlation_id: i32,
    version: i16,
    body: &[u8],
) -> Result<Answer, AnswerError> {
    let request = FetchRequest::parse(body, version)?;
    let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
    let wanted: Vec<(TopicKey, i32, i64, usize)> = request
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let offset = partition.fetch_offset.get();
                let limit = size(partition.max_bytes);
                (topic.topic.clone(), partition.index.get(), offset, limit)
            })
        })
        .collect();
    let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let within = Duration::from_millis(wait_ms).min(FETCH_WAIT_MAX);
    let mut found = broker
        .read(&wanted, size(request.max_bytes), within)
        .into_iter();
    let mut writer = FetchResponseWriter::new(&FetchResponseHeader {
        version,
        correlation_id,
        throttle_time_ms: 0,
        error: ErrorCode::None,
        session_id: 0,
        topics_count: request.topics.len(),
    });
    for topic in &request.topics {
        writer.topic(topic.topic.as_topic(), topic.partitions.len());
        for partition in &topic.partitions {
            let end = broker.end_offset(&topic.topic, partition.index.get());
            let data = PartitionData::readable(partition.index, Offset::new(end), Offset::ZERO);
            writer.partition(&data, found.next().unwrap_or_default());
        }
    }
    Ok(writer.finish(&[]))
}

fn metadata(broker: &NullBroker, request: &MetadataRequest) -> MetadataResponse {
    let mut node = MetadataResponseBroker::default();
    node.node_id = BROKER_ID;
    node.host = "127.0.0.1".into();
    node.port = i32::from(broker.port);
    let mut response = MetadataResponse::default();
    response.brokers = vec![node];
    response.cluster_id = Some("null".into());
    response.controller_id = BROKER_ID;
    let topics = broker.topics();
    let there = || topics.iter().filter(|topic| !topic.deleted);
    response.topics = match &request.topics {
        None => there().map(known).collect(),
        Some(asked) => asked
            .iter()
            .map(|asked| {
                let name = asked.name.clone().unwrap_or_default();
                there()
                    .find(|topic| topic.name == *name)
                    .map_or_else(|| unknown(name.clone()), known)
            })
            .collect(),
    };
    response
}

fn known(topic: &NullTopic) -> MetadataResponseTopic {
    let mut answer = MetadataResponseTopic::default();
    answer.name = Some(StrBytes::from(topic.name.as_str()));
    answer.topic_id = Uuid::from_bytes(topic.id);
    answer.partitions = (0..topic.partitions as i32)
        .map(|index| {
            let mut partition = MetadataResponsePartition::default();
            partition.partition_index = index;
            partition.leader_id = BROKER_ID;
            partition.replica_nodes = vec![BROKER_ID];
            partition.isr_nodes = vec![BROKER_ID];
            partition
        })
        .collect();
    answer
}

fn unknown(name: StrBytes) -> MetadataResponseTopic {
    let mut answer = MetadataResponseTopic::default();
    answer.error_code = ErrorCode::UnknownTopicOrPartition.code();
    answer.name = Some(name);
    answer
}

fn create(broker: &NullBroker, request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let mut response = CreateTopicsResponse::default();
    response.topics = request
        .topics
        .iter()
        .map(|asked| {
            let mut result = CreatableTopicResult::default();
            result.name = asked.name.clone();
            let partitions = u32::try_from(asked.num_partitions).unwrap_or(1);
            if !broker.create(&asked.name, partitions) {
                result.error_code = ErrorCode::TopicAlreadyExists.code();
            }
            result
        })
        .collect();
    response
}

fn delete(broker: &NullBroker, request: &DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_state = request.topics.iter().filter_map(|topic| topic.name.clone());
    let names = by_state.chain(request.topic_names.iter().cloned());
    let mut topics = broker.topics();
    let mut response = DeleteTopicsResponse::default();
    response.responses = names
        .map(|name| {
            let found = topics
                .iter_mut()
                .find(|topic| topic.name == *name && !topic.deleted);
            let mut result = DeletableTopicResult::default();
            result.name = Some(name);
            match found {
                Some(topic) => topic.deleted = true,
                None => result.error_code = ErrorCode::UnknownTopicOrPartition.code(),
            }
            result
        })
        .collect();
    response
}

fn offsets(broker: &NullBroker, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    /// What a client asks the first offset with.
    const EARLIEST: i64 = -2;
    let mut response = ListOffsetsResponse::default();
    response.topics = request
        .topics
        .iter()
        .map(|topic| {
            let key = TopicKey::Name(topic.name.as_str().into());
            let mut answer = ListOffsetsTopicResponse::default();
            answer.name = topic.name.clone();
            answer.partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let mut partition = ListOffsetsPartitionResponse::default();
                    partition.partition_index = asked.partition_index;
                    partition.timestamp = -1;
                    partition.leader_epoch = -1;
                    partition.offset = if asked.timestamp == EARLIEST {
                        0
                    } else {
                        broker.end_offset(&key, asked.partition_index)
                    };
                    partition
                })
                .collect();
            answer
        })
        .collect();
    response
}
