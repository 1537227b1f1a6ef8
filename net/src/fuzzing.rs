//! What a fuzzer runs: one plain function a parser, for cargo-fuzz and for the harness on the stable toolchain alike.
//!
//! Each function feeds arbitrary bytes to a parser and asserts what must hold for any input: no panic, no memory
//! beyond what the bytes can account for, and, for input that is accepted, that writing it again and reading
//! that changes nothing.

use corelane_format::TopicId;
use kafka_wire::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, JoinGroupRequest, KafkaRequest, LeaveGroupRequest,
    ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, OffsetForLeaderEpochRequest, SyncGroupRequest, UpdateFeaturesRequest,
};

use crate::api::{self, RequestHeader, ServerFeatures, answer_api_versions, decode_request};
use crate::fetch::{self, FetchHeader, FetchRequest, FetchResponse};
use crate::frame::{FrameLimits, FrameReader};
use crate::gather::Gathered;
use crate::native::message::check_archive;
use crate::native::{FRAME_HEADER_BYTES, NativeFrameLimits, NativeFrameReader};
use crate::produce::{
    self, PartitionRecords, ProduceHeader, ProduceRequest, ProduceResponse, TopicRecords,
};
use crate::topic::TopicRef;

/// A target: asserts what must hold for any input.
pub type Target = fn(&[u8]);

/// Every target, by the name that its fuzz target has too.
pub const TARGETS: [(&str, Target); 6] = [
    ("frames", fuzz_frames),
    ("request", fuzz_request),
    ("produce_request", fuzz_produce_request),
    ("fetch_request", fuzz_fetch_request),
    ("responses", fuzz_responses),
    ("native_frames", fuzz_native_frames),
];

/// The input as a byte stream, cut into reads that the input chooses as well.
pub fn fuzz_frames(data: &[u8]) {
    let limits = FrameLimits {
        frame_bytes_min: 2,
        frame_bytes_max: 70_000,
        buffer_bytes_initial: 64,
        read_ahead_bytes_max: 512,
    };
    let mut reader = FrameReader::new(limits);
    let mut rest = data;
    let mut unframed = data;
    for cut in data.iter().cycle().map(|byte| 1 + usize::from(*byte) * 7) {
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    let (expected, behind) = unframed.split_at(4 + frame.len());
                    assert_eq!(frame, &expected[4..]);
                    unframed = behind;
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if rest.is_empty() {
            return;
        }
        let space = reader.space();
        assert!(!space.is_empty());
        let count = space.len().min(cut).min(rest.len());
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        reader.advance(count);
        let arrived = data.len() - rest.len();
        assert!(
            reader.buffer_bytes() <= (2 * arrived).max(512),
            "{} bytes",
            reader.buffer_bytes()
        );
    }
}

/// The input as a stream of native frames, cut into reads that the input chooses as well; each frame's archive as its
/// message, and as every other one.
pub fn fuzz_native_frames(data: &[u8]) {
    let limits = NativeFrameLimits {
        archive_bytes_max: 4096,
        payload_bytes_max: 70_000,
        buffer_bytes_initial: 64,
        read_ahead_bytes_max: 512,
    };
    let mut reader = NativeFrameReader::new(limits);
    let mut rest = data;
    let mut unframed = data;
    for cut in data.iter().cycle().map(|byte| 1 + usize::from(*byte) * 7) {
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    let (expected, behind) = unframed.split_at(frame.header.frame_bytes());
                    assert_eq!(frame.header.encode(), expected[..FRAME_HEADER_BYTES]);
                    unframed = behind;
                    check_archive(frame.header.kind, frame.archive);
                    for kind in (0..10).chain(0x81..0x8A) {
                        check_archive(kind, frame.archive);
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if rest.is_empty() {
            return;
        }
        let space = reader.space();
        assert!(!space.is_empty());
        let count = space.len().min(cut).min(rest.len());
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        reader.advance(count);
        let arrived = data.len() - rest.len();
        assert!(
            reader.buffer_bytes() <= (2 * arrived).max(512),
            "{} bytes",
            reader.buffer_bytes()
        );
    }
}

/// A whole request of any API, as the server takes it.
pub fn fuzz_request(data: &[u8]) {
    let Ok((header, body)) = RequestHeader::parse(data) else {
        return;
    };
    let version = header.api_version;
    match header.api_key {
        api::PRODUCE => check_produce_request(body, version),
        api::FETCH => check_fetch_request(body, version),
        api::API_VERSIONS => {
            if let Ok(answer) =
                answer_api_versions::<&[u8]>(&header, body, &ServerFeatures::default())
            {
                let bytes = answer.to_vec();
                assert_eq!(bytes.len(), answer.size_bytes());
                assert_eq!(bytes[4..8], header.correlation_id.to_be_bytes());
            }
        }
        api::METADATA => check_control::<MetadataRequest>(body, version),
        api::LIST_OFFSETS => check_control::<ListOffsetsRequest>(body, version),
        api::FIND_COORDINATOR => check_control::<FindCoordinatorRequest>(body, version),
        api::CREATE_TOPICS => check_control::<CreateTopicsRequest>(body, version),
        api::DELETE_TOPICS => check_control::<DeleteTopicsRequest>(body, version),
        api::DELETE_RECORDS => check_control::<DeleteRecordsRequest>(body, version),
        api::INIT_PRODUCER_ID => check_control::<InitProducerIdRequest>(body, version),
        api::OFFSET_FOR_LEADER_EPOCH => check_control::<OffsetForLeaderEpochRequest>(body, version),
        api::DESCRIBE_CONFIGS => check_control::<DescribeConfigsRequest>(body, version),
        api::CREATE_PARTITIONS => check_control::<CreatePartitionsRequest>(body, version),
        api::INCREMENTAL_ALTER_CONFIGS => {
            check_control::<IncrementalAlterConfigsRequest>(body, version);
        }
        api::DESCRIBE_CLUSTER => check_control::<DescribeClusterRequest>(body, version),
        api::DESCRIBE_TOPIC_PARTITIONS => {
            check_control::<DescribeTopicPartitionsRequest>(body, version);
        }
        api::OFFSET_COMMIT => check_control::<OffsetCommitRequest>(body, version),
        api::OFFSET_FETCH => check_control::<OffsetFetchRequest>(body, version),
        api::JOIN_GROUP => check_control::<JoinGroupRequest>(body, version),
        api::HEARTBEAT => check_control::<HeartbeatRequest>(body, version),
        api::LEAVE_GROUP => check_control::<LeaveGroupRequest>(body, version),
        api::SYNC_GROUP => check_control::<SyncGroupRequest>(body, version),
        api::DESCRIBE_GROUPS => check_control::<DescribeGroupsRequest>(body, version),
        api::LIST_GROUPS => check_control::<ListGroupsRequest>(body, version),
        api::ALTER_CONFIGS => check_control::<AlterConfigsRequest>(body, version),
        api::DESCRIBE_LOG_DIRS => check_control::<DescribeLogDirsRequest>(body, version),
        api::DELETE_GROUPS => check_control::<DeleteGroupsRequest>(body, version),
        api::ELECT_LEADERS => check_control::<ElectLeadersRequest>(body, version),
        api::ALTER_PARTITION_REASSIGNMENTS => {
            check_control::<AlterPartitionReassignmentsRequest>(body, version);
        }
        api::LIST_PARTITION_REASSIGNMENTS => {
            check_control::<ListPartitionReassignmentsRequest>(body, version);
        }
        api::OFFSET_DELETE => check_control::<OffsetDeleteRequest>(body, version),
        api::DESCRIBE_QUORUM => check_control::<DescribeQuorumRequest>(body, version),
        api::UPDATE_FEATURES => check_control::<UpdateFeaturesRequest>(body, version),
        api::DESCRIBE_PRODUCERS => check_control::<DescribeProducersRequest>(body, version),
        api::LIST_CONFIG_RESOURCES => check_control::<ListConfigResourcesRequest>(body, version),
        api::CONSUMER_GROUP_HEARTBEAT => {
            check_control::<ConsumerGroupHeartbeatRequest>(body, version);
        }
        api::CONSUMER_GROUP_DESCRIBE => {
            check_control::<ConsumerGroupDescribeRequest>(body, version);
        }
        key => panic!("API {key} is in the table and not here"),
    }
}

fn check_control<R: KafkaRequest>(body: &[u8], version: i16) {
    if let Ok(request) = decode_request::<R>(body, version) {
        // What could be read can be said, and says the same again.
        let version = kafka_wire_core::ApiVersion::new(version);
        let said = request
            .encode_to_bytes(version)
            .expect("a decoded request can be encoded");
        let again: R = decode_request(&said, version.value()).expect("and decoded");
        assert_eq!(again.encode_to_bytes(version).ok(), Some(said));
    }
}

/// A version, then the body of a Produce request.
pub fn fuzz_produce_request(data: &[u8]) {
    if let Some((version, body)) = data.split_first() {
        check_produce_request(body, i16::from(version % 15));
    }
}

fn check_produce_request(body: &[u8], version: i16) {
    let Ok(request) = ProduceRequest::parse(body, version) else {
        return;
    };
    let range = body.as_ptr_range();
    let mut partitions: Vec<Vec<PartitionRecords<&[u8]>>> = Vec::new();
    for topic in request.topics() {
        let of_topic: Vec<_> = topic
            .partitions()
            .inspect(|partition| {
                let records = partition.records.unwrap_or_default().as_ptr_range();
                assert!(
                    partition.records.is_none()
                        || (range.start <= records.start && records.end <= range.end)
                );
            })
            .map(|partition| PartitionRecords {
                index: partition.index,
                records: partition.records.unwrap_or_default(),
            })
            .collect();
        assert_eq!(of_topic.len(), topic.partitions_count);
        partitions.push(of_topic);
    }
    assert_eq!(partitions.len(), request.topics_count());
    assert_eq!(
        partitions.iter().map(Vec::len).sum::<usize>(),
        request.partitions_count()
    );
    if version < 3 {
        return;
    }
    let topics: Vec<_> = request
        .topics()
        .zip(&partitions)
        .map(|(topic, partitions)| TopicRecords {
            topic: topic.topic,
            partitions,
        })
        .collect();
    let header = ProduceHeader {
        version,
        correlation_id: 1,
        client_id: None,
        transactional_id: request.transactional_id,
        acks: request.acks,
        timeout_ms: request.timeout_ms,
    };
    let mut message = Gathered::default();
    produce::encode_request(&mut message, &header, &topics)
        .expect("a parsed request can be encoded");
    let frame = message.to_vec();
    let (_, body) = RequestHeader::parse(&frame[4..]).expect("our own header");
    let again = ProduceRequest::parse(body, version).expect("our own request");
    assert_eq!(again.partitions_count(), request.partitions_count());
    for (left, right) in again.topics().zip(request.topics()) {
        if !matches!(right.topic, TopicRef::Name(name) if name.len() > i16::MAX as usize) {
            assert_eq!(left.topic, right.topic);
        }
        for (left, right) in left.partitions().zip(right.partitions()) {
            assert_eq!(left.index, right.index);
            assert_eq!(
                left.records.unwrap_or_default(),
                right.records.unwrap_or_default()
            );
        }
    }
}

/// A version, then the body of a Fetch request.
pub fn fuzz_fetch_request(data: &[u8]) {
    if let Some((version, body)) = data.split_first() {
        check_fetch_request(body, i16::from(version % 20));
    }
}

fn check_fetch_request(body: &[u8], version: i16) {
    let Ok(request) = FetchRequest::parse(body, version) else {
        return;
    };
    let header = FetchHeader {
        version,
        correlation_id: 1,
        client_id: Some("fuzz"),
    };
    let mut frame = Vec::new();
    fetch::encode_request(&mut frame, &header, &request).expect("a parsed request can be encoded");
    let (_, body) = RequestHeader::parse(&frame[4..]).expect("our own header");
    let again = FetchRequest::parse(body, version).expect("our own request");
    let cut = |name: &str| name.len() > i16::MAX as usize;
    let names = request.topics.iter().map(|topic| topic.topic.as_topic());
    let names = names.chain(
        request
            .forgotten_topics
            .iter()
            .map(|topic| topic.topic.as_topic()),
    );
    let overlong = names
        .chain([TopicRef::Name(&request.rack_id)])
        .any(|topic| match topic {
            TopicRef::Name(name) => cut(name),
            TopicRef::Id(_) => false,
        });
    if !overlong {
        assert_eq!(again, request);
    }
}

/// A version, then the body of a response, as the client takes it.
pub fn fuzz_responses(data: &[u8]) {
    let Some((version, body)) = data.split_first() else {
        return;
    };
    let version = i16::from(*version);
    // Parsed into memory that another response has used before.
    let mut response = FetchResponse::default();
    response.topics.push(crate::TopicKey::Id(TopicId::ZERO));
    if response.parse_into(body, version % 20).is_ok() {
        for partition in &response.partitions {
            assert!(partition.topic < response.topics.len());
            assert!(body.get(partition.records.clone()).is_some());
        }
        assert_eq!(
            FetchResponse::parse(body, version % 20).as_ref(),
            Ok(&response)
        );
    }
    let _ = ProduceResponse::parse(body, version % 15);
}
