//! Produce in every version against an independent implementation: what it writes we read to the same values,
//! and what we write it reads back.

use bytes::Bytes;
use corelane_format::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId};
use corelane_net::error_code::ErrorCode;
use corelane_net::gather::Gathered;
use corelane_net::produce::{
    CurrentLeader, NodeEndpoint, PartitionOutcome, PartitionRecords, ProduceHeader, ProduceRequest,
    ProduceResponse, ProduceResponseWriter, RecordError, TopicRecords, encode_request,
};
use corelane_net::topic::{TopicKey, TopicRef};
use kafka_protocol::messages as other;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

type Name = (String, [u8; 16]);
type Request = (
    Option<String>,
    i16,
    i32,
    Vec<(Name, Vec<(i32, Option<Vec<u8>>)>)>,
);

fn name() -> impl Strategy<Value = Name> {
    ("[a-zA-Z0-9._-]{1,40}", any::<[u8; 16]>())
}

fn request() -> impl Strategy<Value = Request> {
    let partition = (
        any::<i32>(),
        option::weighted(0.9, vec(any::<u8>(), 0..300)),
    );
    (
        option::of("[a-z]{0,20}"),
        any::<i16>(),
        any::<i32>(),
        vec((name(), vec(partition, 0..5)), 0..5),
    )
}

fn theirs(version: i16, request: &Request, noise: bool) -> other::ProduceRequest {
    let noise = noise && version >= 9;
    let topics = request.3.iter().map(|((name, id), partitions)| {
        let partitions = partitions.iter().map(|(index, records)| {
            let data = PartitionProduceData::default()
                .with_index(*index)
                .with_records(records.clone().map(Bytes::from));
            if noise {
                data.with_unknown_tagged_field(7, Bytes::from_static(b"later"))
            } else {
                data
            }
        });
        let topic = TopicProduceData::default().with_partition_data(partitions.collect());
        if version >= 13 {
            topic.with_topic_id(Vec::from(*id).try_into().unwrap())
        } else {
            topic.with_name(StrBytes::from_string(name.clone()).into())
        }
    });
    let whole = other::ProduceRequest::default()
        .with_transactional_id(request.0.clone().map(|id| StrBytes::from_string(id).into()))
        .with_acks(request.1)
        .with_timeout_ms(request.2)
        .with_topic_data(topics.collect());
    if noise {
        whole.with_unknown_tagged_field(500, Bytes::from(vec![0; 200]))
    } else {
        whole
    }
}

fn check_parsed(version: i16, request: &Request, parsed: &ProduceRequest<'_>) {
    assert_eq!(parsed.transactional_id, request.0.as_deref());
    assert_eq!((parsed.acks, parsed.timeout_ms), (request.1, request.2));
    assert_eq!(parsed.topics_count(), request.3.len());
    let mut partitions_count = 0;
    let mut topics = parsed.topics();
    for ((name, id), partitions) in &request.3 {
        let topic = topics.next().unwrap();
        let expected = if version >= 13 {
            TopicRef::Id(TopicId::new(*id))
        } else {
            TopicRef::Name(name)
        };
        assert_eq!(topic.topic, expected);
        let read: Vec<_> = topic
            .partitions()
            .map(|part| (part.index.get(), part.records.map(<[u8]>::to_vec)))
            .collect();
        assert_eq!(&read, partitions);
        partitions_count += partitions.len();
    }
    assert!(topics.next().is_none());
    assert_eq!(parsed.partitions_count(), partitions_count);
}

type Partition = (
    i32,
    i16,
    (i64, i64, i64),
    Vec<(i32, Option<String>)>,
    Option<String>,
    Option<(i32, i32)>,
);
type Endpoint = (i32, String, i32, Option<String>);
type Response = (i32, Vec<(Name, Vec<Partition>)>, Vec<Endpoint>);

fn response() -> impl Strategy<Value = Response> {
    let partition = (
        any::<i32>(),
        -1_i16..=133,
        (any::<i64>(), any::<i64>(), any::<i64>()),
        vec((any::<i32>(), option::of("[a-z ]{0,20}")), 0..3),
        option::of("[a-zA-Z ]{0,150}"),
        option::of((0..i32::MAX, any::<i32>())),
    );
    let endpoint = (
        any::<i32>(),
        "[a-z.]{1,20}",
        any::<i32>(),
        option::of("[a-z]{1,5}"),
    );
    (
        any::<i32>(),
        vec((name(), vec(partition, 0..4)), 0..4),
        vec(endpoint, 0..3),
    )
}

fn outcome(version: i16, partition: &Partition) -> PartitionOutcome {
    let (base_offset, append_time, log_start) = partition.2;
    PartitionOutcome {
        error: ErrorCode::from_wire(partition.1),
        base_offset: Offset::new(base_offset),
        log_append_time: TimestampMs::new(append_time),
        log_start_offset: Offset::new(if version >= 5 { log_start } else { -1 }),
    }
}

fn write_ours(version: i16, response: &Response) -> Vec<u8> {
    let endpoints: Vec<NodeEndpoint> = response
        .2
        .iter()
        .map(|(node_id, host, port, rack)| NodeEndpoint {
            node_id: *node_id,
            host: host.clone(),
            port: *port,
            rack: rack.clone(),
        })
        .collect();
    let mut writer = ProduceResponseWriter::<&[u8]>::new(41, version, response.1.len());
    let mut slots = Vec::new();
    for ((name, id), partitions) in &response.1 {
        let topic = if version >= 13 {
            TopicRef::Id(TopicId::new(*id))
        } else {
            TopicRef::Name(name)
        };
        writer.topic(topic, partitions.len());
        for partition in partitions {
            let record_errors: Vec<RecordError> = partition
                .3
                .iter()
                .map(|(batch_index, message)| RecordError {
                    batch_index: *batch_index,
                    message: message.clone(),
                })
                .collect();
            let leader = partition.5.map(|(leader_id, epoch)| CurrentLeader {
                leader_id,
                leader_epoch: LeaderEpoch::new(epoch),
            });
            let unknown = PartitionOutcome::failed(ErrorCode::UnknownServerError);
            let index = PartitionIndex::new(partition.0);
            let slot = writer.partition_with(
                index,
                unknown,
                &record_errors,
                partition.4.as_deref(),
                leader,
            );
            slots.push((slot, outcome(version, partition)));
        }
    }
    // The outcomes come later, and in any order.
    for (slot, outcome) in slots.into_iter().rev() {
        writer.set(slot, outcome);
    }
    writer.finish(response.0, &endpoints).to_vec()
}

fn write_theirs(version: i16, response: &Response) -> other::ProduceResponse {
    let topics = response.1.iter().map(|((name, id), partitions)| {
        let partitions = partitions.iter().map(|partition| {
            let (base_offset, append_time, log_start) = partition.2;
            let mut data = PartitionProduceResponse::default()
                .with_index(partition.0)
                .with_error_code(partition.1)
                .with_base_offset(base_offset)
                .with_log_append_time_ms(append_time);
            if version >= 5 {
                data = data.with_log_start_offset(log_start);
            }
            if version >= 8 {
                let errors = partition.3.iter().map(|(index, message)| {
                    BatchIndexAndErrorMessage::default()
                        .with_batch_index(*index)
                        .with_batch_index_error_message(message.clone().map(StrBytes::from_string))
                });
                data = data
                    .with_record_errors(errors.collect())
                    .with_error_message(partition.4.clone().map(StrBytes::from_string));
            }
            if let Some((leader, epoch)) = partition.5.filter(|_| version >= 10) {
                data = data.with_current_leader(
                    LeaderIdAndEpoch::default()
                        .with_leader_id(leader.into())
                        .with_leader_epoch(epoch),
                );
            }
            data
        });
        let topic = TopicProduceResponse::default().with_partition_responses(partitions.collect());
        if version >= 13 {
            topic.with_topic_id(Vec::from(*id).try_into().unwrap())
        } else {
            topic.with_name(StrBytes::from_string(name.clone()).into())
        }
    });
    let mut whole = other::ProduceResponse::default()
        .with_throttle_time_ms(response.0)
        .with_responses(topics.collect());
    if version >= 10 {
        let endpoints = response.2.iter().map(|(node, host, port, rack)| {
            other::produce_response::NodeEndpoint::default()
                .with_node_id((*node).into())
                .with_host(StrBytes::from_string(host.clone()))
                .with_port(*port)
                .with_rack(rack.clone().map(StrBytes::from_string))
        });
        whole = whole.with_node_endpoints(endpoints.collect());
    }
    whole
}

proptest! {
    #[test]
    fn their_requests_read_the_same(version in 3_i16..=13, request in request(), noise: bool) {
        let mut body = Vec::new();
        theirs(version, &request, noise).encode(&mut body, version).unwrap();
        check_parsed(version, &request, &ProduceRequest::parse(&body, version).unwrap());
    }

    #[test]
    fn our_requests_read_the_same_to_them(version in 3_i16..=13, request in request()) {
        let names: Vec<_> = request.3.iter().map(|((name, id), _)| {
            if version >= 13 { TopicKey::Id(TopicId::new(*id)) } else { TopicKey::Name(name.as_str().into()) }
        }).collect();
        let partitions: Vec<Vec<PartitionRecords<&[u8]>>> = request.3.iter().map(|(_, partitions)| {
            partitions.iter().map(|(index, records)| PartitionRecords {
                index: PartitionIndex::new(*index),
                records: records.as_deref().unwrap_or_default(),
            }).collect()
        }).collect();
        let topics: Vec<_> = names.iter().zip(&partitions)
            .map(|(name, partitions)| TopicRecords { topic: name.as_topic(), partitions })
            .collect();
        let header = ProduceHeader {
            version, correlation_id: 5, client_id: Some("me"), transactional_id: request.0.as_deref(),
            acks: request.1, timeout_ms: request.2,
        };
        let mut out = Gathered::default();
        encode_request(&mut out, &header, &topics).unwrap();
        let first = out.size_bytes();
        encode_request(&mut out, &header, &topics).unwrap();
        let frames = out.to_vec();
        prop_assert_eq!(frames.len(), 2 * first);
        prop_assert_eq!(&frames[..first], &frames[first..]);
        prop_assert_eq!(i32::from_be_bytes(frames[..4].try_into().unwrap()) as usize, first - 4);

        let mut rest = &frames[4..first];
        let read = other::RequestHeader::decode(&mut rest, if version >= 9 { 2 } else { 1 }).unwrap();
        prop_assert_eq!((read.request_api_key, read.request_api_version, read.correlation_id), (0, version, 5));
        let read = other::ProduceRequest::decode(&mut rest, version).unwrap();
        prop_assert!(rest.is_empty());
        let mut expected = request.clone();
        for partition in expected.3.iter_mut().flat_map(|topic| topic.1.iter_mut()) {
            // We write no null.
            partition.1.get_or_insert_default();
        }
        prop_assert_eq!(read, theirs(version, &expected, false));
    }

    #[test]
    fn our_responses_read_the_same_to_them(version in 3_i16..=13, response in response()) {
        let frame = write_ours(version, &response);
        prop_assert_eq!(i32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
        let mut rest = &frame[4..];
        let header = other::ResponseHeader::decode(&mut rest, i16::from(version >= 9)).unwrap();
        prop_assert_eq!(header.correlation_id, 41);
        let read = other::ProduceResponse::decode(&mut rest, version).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(read, write_theirs(version, &response));
    }

    #[test]
    fn their_responses_read_the_same(version in 3_i16..=13, response in response()) {
        let mut body = Vec::new();
        write_theirs(version, &response).encode(&mut body, version).unwrap();
        let read = ProduceResponse::parse(&body, version).unwrap();
        prop_assert_eq!(read.throttle_time_ms, response.0);
        let mut partitions = read.partitions.iter();
        for ((name, id), expected) in &response.1 {
            let key = if version >= 13 { TopicKey::Id(TopicId::new(*id)) } else { TopicKey::Name(name.as_str().into()) };
            for expected in expected {
                let (topic, partition) = partitions.next().unwrap();
                prop_assert_eq!(topic, &key);
                prop_assert_eq!(partition.index.get(), expected.0);
                prop_assert_eq!(partition.outcome, outcome(version, expected));
                if version >= 8 {
                    prop_assert_eq!(partition.error_message.as_ref(), expected.4.as_ref());
                    prop_assert_eq!(partition.record_errors.len(), expected.3.len());
                }
                let leader = partition.current_leader.map(|leader| (leader.leader_id, leader.leader_epoch.get()));
                prop_assert_eq!(leader, expected.5.filter(|_| version >= 10));
            }
        }
        prop_assert!(partitions.next().is_none());
        prop_assert_eq!(read.node_endpoints.len(), if version >= 10 { response.2.len() } else { 0 });
    }

    #[test]
    fn every_shorter_request_is_refused(version in 3_i16..=13, request in request()) {
        let mut body = Vec::new();
        theirs(version, &request, true).encode(&mut body, version).unwrap();
        for length in 0..body.len() {
            prop_assert!(ProduceRequest::parse(&body[..length], version).is_err(), "{} of {}", length, body.len());
        }
        body.push(0);
        prop_assert!(ProduceRequest::parse(&body, version).is_err());
    }
}
