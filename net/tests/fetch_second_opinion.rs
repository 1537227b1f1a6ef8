//! Fetch in every version against an independent implementation: what it writes we read to the same values, and
//! what we write it reads back.

use bytes::Bytes;
use corelane_format::{LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId};
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{
    AbortedTransaction, FetchHeader, FetchPartition, FetchRequest, FetchResponse,
    FetchResponseHeader, FetchResponseWriter, FetchTopic, ForgottenTopic, PartitionData,
    encode_request,
};
use corelane_net::produce::{CurrentLeader, NodeEndpoint};
use corelane_net::topic::TopicKey;
use kafka_protocol::messages as other;
use kafka_protocol::messages::fetch_request as their_request;
use kafka_protocol::messages::fetch_response as their_response;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn key(version: i16) -> BoxedStrategy<TopicKey> {
    if version >= 13 {
        any::<[u8; 16]>()
            .prop_map(|id| TopicKey::Id(TopicId::new(id)))
            .boxed()
    } else {
        "[a-zA-Z0-9._-]{1,40}"
            .prop_map(|name| TopicKey::Name(name.into()))
            .boxed()
    }
}

/// `value` from `version` on, `absent` before.
fn since<T>(has: bool, value: T, absent: T) -> T {
    if has { value } else { absent }
}

fn partition(version: i16) -> impl Strategy<Value = FetchPartition> {
    any::<(i32, i32, i64, i32, i64, i32)>().prop_map(
        move |(index, epoch, offset, last, start, max_bytes)| FetchPartition {
            index: PartitionIndex::new(index),
            current_leader_epoch: LeaderEpoch::new(since(version >= 9, epoch, -1)),
            fetch_offset: Offset::new(offset),
            last_fetched_epoch: LeaderEpoch::new(since(version >= 12, last, -1)),
            log_start_offset: Offset::new(since(version >= 5, start, -1)),
            max_bytes,
        },
    )
}

fn request(version: i16) -> impl Strategy<Value = FetchRequest> {
    let topic = (key(version), vec(partition(version), 0..4));
    let topics = vec(
        topic.prop_map(|(topic, partitions)| FetchTopic { topic, partitions }),
        0..4,
    );
    let forgotten = (
        key(version),
        vec(any::<i32>().prop_map(PartitionIndex::new), 0..4),
    );
    let forgotten = vec(
        forgotten.prop_map(|(topic, partitions)| ForgottenTopic { topic, partitions }),
        0..3,
    );
    (
        any::<(i32, i64, i32, i32, i32, i8, i32, i32)>(),
        topics,
        forgotten,
        "[a-z]{0,9}",
    )
        .prop_map(
            move |(numbers, topics, forgotten_topics, rack)| FetchRequest {
                replica_id: numbers.0,
                replica_epoch: since(version >= 15, numbers.1, -1),
                max_wait_ms: numbers.2,
                min_bytes: numbers.3,
                max_bytes: numbers.4,
                isolation_level: numbers.5,
                session_id: since(version >= 7, numbers.6, 0),
                session_epoch: since(version >= 7, numbers.7, -1),
                topics,
                forgotten_topics: since(version >= 7, forgotten_topics, Vec::new()),
                rack_id: since(version >= 11, rack, String::new()).into(),
            },
        )
}

fn theirs(version: i16, request: &FetchRequest, noise: bool) -> other::FetchRequest {
    let noise = noise && version >= 12;
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let mut data = their_request::FetchPartition::default()
                .with_partition(partition.index.get())
                .with_current_leader_epoch(partition.current_leader_epoch.get())
                .with_fetch_offset(partition.fetch_offset.get())
                .with_last_fetched_epoch(partition.last_fetched_epoch.get())
                .with_log_start_offset(partition.log_start_offset.get())
                .with_partition_max_bytes(partition.max_bytes);
            if noise && version >= 17 {
                data = data.with_replica_directory_id(vec![3; 16].try_into().unwrap());
            }
            if noise && version >= 18 {
                data = data.with_high_watermark(99);
            }
            data
        });
        let data = their_request::FetchTopic::default().with_partitions(partitions.collect());
        match &topic.topic {
            TopicKey::Name(name) => data.with_topic(StrBytes::from_string(name.to_string()).into()),
            TopicKey::Id(id) => data.with_topic_id(Vec::from(id.get()).try_into().unwrap()),
        }
    });
    let forgotten = request.forgotten_topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| index.get());
        let data = their_request::ForgottenTopic::default().with_partitions(partitions.collect());
        match &topic.topic {
            TopicKey::Name(name) => data.with_topic(StrBytes::from_string(name.to_string()).into()),
            TopicKey::Id(id) => data.with_topic_id(Vec::from(id.get()).try_into().unwrap()),
        }
    });
    let mut whole = other::FetchRequest::default()
        .with_max_wait_ms(request.max_wait_ms)
        .with_min_bytes(request.min_bytes)
        .with_max_bytes(request.max_bytes)
        .with_isolation_level(request.isolation_level)
        .with_session_id(request.session_id)
        .with_session_epoch(request.session_epoch)
        .with_topics(topics.collect())
        .with_forgotten_topics_data(forgotten.collect())
        .with_rack_id(StrBytes::from_string(request.rack_id.to_string()));
    if version <= 14 {
        whole = whole.with_replica_id(request.replica_id.into());
    } else {
        let state = their_request::ReplicaState::default()
            .with_replica_id(request.replica_id.into())
            .with_replica_epoch(request.replica_epoch);
        whole = whole.with_replica_state(state);
    }
    if noise {
        whole = whole.with_cluster_id(Some(StrBytes::from_static_str("cluster")));
    }
    whole
}

/// A partition and its records in slices.
type Partition = (PartitionData, Vec<Vec<u8>>);

#[derive(Clone, Debug)]
struct Response {
    throttle_time_ms: i32,
    error: ErrorCode,
    session_id: i32,
    topics: Vec<(TopicKey, Vec<Partition>)>,
    endpoints: Vec<NodeEndpoint>,
}

fn data(version: i16) -> impl Strategy<Value = PartitionData> {
    (
        any::<(i32, i64, i64, i64, i32)>(),
        -1_i16..=133,
        option::of(vec(any::<(i64, i64)>(), 0..4)),
        option::of((0..i32::MAX, any::<i64>())),
        option::of((0..i32::MAX, any::<i32>())),
    )
        .prop_map(
            move |(numbers, error, aborted, diverging, leader)| PartitionData {
                index: PartitionIndex::new(numbers.0),
                error: ErrorCode::from_wire(error),
                high_watermark: Offset::new(numbers.1),
                last_stable_offset: Offset::new(numbers.2),
                log_start_offset: Offset::new(since(version >= 5, numbers.3, -1)),
                aborted_transactions: aborted.map(|aborted| {
                    let aborted = aborted
                        .into_iter()
                        .map(|(producer, first)| AbortedTransaction {
                            producer_id: ProducerId::new(producer),
                            first_offset: Offset::new(first),
                        });
                    aborted.collect()
                }),
                preferred_read_replica: since(version >= 11, numbers.4, -1),
                diverging_epoch: diverging
                    .filter(|_| version >= 12)
                    .map(|(epoch, end)| (LeaderEpoch::new(epoch), Offset::new(end))),
                current_leader: leader.filter(|_| version >= 12).map(|(leader_id, epoch)| {
                    CurrentLeader {
                        leader_id,
                        leader_epoch: LeaderEpoch::new(epoch),
                    }
                }),
            },
        )
}

fn response(version: i16) -> impl Strategy<Value = Response> {
    let partition = (data(version), vec(vec(any::<u8>(), 0..200), 0..4));
    let endpoint = (
        any::<i32>(),
        "[a-z.]{1,20}",
        any::<i32>(),
        option::of("[a-z]{1,5}"),
    )
        .prop_map(|(node_id, host, port, rack)| NodeEndpoint {
            node_id,
            host,
            port,
            rack,
        });
    (
        any::<(i32, i32)>(),
        -1_i16..=133,
        vec((key(version), vec(partition, 0..4)), 0..4),
        vec(endpoint, 0..3),
    )
        .prop_map(move |(numbers, error, topics, endpoints)| Response {
            throttle_time_ms: numbers.0,
            error: ErrorCode::from_wire(since(version >= 7, error, 0)),
            session_id: since(version >= 7, numbers.1, 0),
            topics,
            endpoints: since(version >= 16, endpoints, Vec::new()),
        })
}

fn write_ours(version: i16, response: &Response) -> Vec<u8> {
    let mut writer = FetchResponseWriter::new(&FetchResponseHeader {
        version,
        correlation_id: 77,
        throttle_time_ms: response.throttle_time_ms,
        error: response.error,
        session_id: response.session_id,
        topics_count: response.topics.len(),
    });
    for (topic, partitions) in &response.topics {
        writer.topic(topic.as_topic(), partitions.len());
        for (data, records) in partitions {
            writer.partition(data, records.clone());
        }
    }
    writer.finish(&response.endpoints).to_vec()
}

fn write_theirs(version: i16, response: &Response) -> other::FetchResponse {
    let topics = response.topics.iter().map(|(topic, partitions)| {
        let partitions = partitions.iter().map(|(data, records)| {
            let aborted = data.aborted_transactions.as_ref().map(|aborted| {
                let aborted = aborted.iter().map(|aborted| {
                    their_response::AbortedTransaction::default()
                        .with_producer_id(aborted.producer_id.get().into())
                        .with_first_offset(aborted.first_offset.get())
                });
                aborted.collect()
            });
            let mut theirs = their_response::PartitionData::default()
                .with_partition_index(data.index.get())
                .with_error_code(data.error.code())
                .with_high_watermark(data.high_watermark.get())
                .with_last_stable_offset(data.last_stable_offset.get())
                .with_log_start_offset(data.log_start_offset.get())
                .with_aborted_transactions(aborted)
                .with_preferred_read_replica(data.preferred_read_replica.into())
                .with_records(Some(Bytes::from(records.concat())));
            if let Some((epoch, end)) = data.diverging_epoch {
                let diverging = their_response::EpochEndOffset::default();
                theirs = theirs.with_diverging_epoch(
                    diverging.with_epoch(epoch.get()).with_end_offset(end.get()),
                );
            }
            if let Some(leader) = data.current_leader {
                theirs = theirs.with_current_leader(
                    their_response::LeaderIdAndEpoch::default()
                        .with_leader_id(leader.leader_id.into())
                        .with_leader_epoch(leader.leader_epoch.get()),
                );
            }
            theirs
        });
        let theirs =
            their_response::FetchableTopicResponse::default().with_partitions(partitions.collect());
        match topic {
            TopicKey::Name(name) => {
                theirs.with_topic(StrBytes::from_string(name.to_string()).into())
            }
            TopicKey::Id(id) => theirs.with_topic_id(Vec::from(id.get()).try_into().unwrap()),
        }
    });
    let mut whole = other::FetchResponse::default()
        .with_throttle_time_ms(response.throttle_time_ms)
        .with_responses(topics.collect());
    if version >= 7 {
        whole = whole
            .with_error_code(response.error.code())
            .with_session_id(response.session_id);
    }
    if version >= 16 {
        let endpoints = response.endpoints.iter().map(|endpoint| {
            their_response::NodeEndpoint::default()
                .with_node_id(endpoint.node_id.into())
                .with_host(StrBytes::from_string(endpoint.host.clone()))
                .with_port(endpoint.port)
                .with_rack(endpoint.rack.clone().map(StrBytes::from_string))
        });
        whole = whole.with_node_endpoints(endpoints.collect());
    }
    whole
}

proptest! {
    #[test]
    fn their_requests_read_the_same(
        (version, request) in (4_i16..=18).prop_flat_map(|version| (Just(version), request(version))),
        noise: bool,
    ) {
        let mut body = Vec::new();
        theirs(version, &request, noise).encode(&mut body, version).unwrap();
        prop_assert_eq!(FetchRequest::parse(&body, version).unwrap(), request);
        for length in 0..body.len() {
            prop_assert!(FetchRequest::parse(&body[..length], version).is_err());
        }
    }

    #[test]
    fn our_requests_read_the_same_to_them(
        (version, request) in (4_i16..=18).prop_flat_map(|version| (Just(version), request(version))),
    ) {
        let mut frame = Vec::new();
        let header = FetchHeader { version, correlation_id: 9, client_id: None };
        encode_request(&mut frame, &header, &request).unwrap();
        prop_assert_eq!(i32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
        let mut rest = &frame[4..];
        let header = other::RequestHeader::decode(&mut rest, if version >= 12 { 2 } else { 1 }).unwrap();
        prop_assert_eq!((header.request_api_key, header.correlation_id, header.client_id), (1, 9, None));
        let read = other::FetchRequest::decode(&mut rest, version).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(read, theirs(version, &request, false));
    }

    #[test]
    fn our_responses_read_the_same_to_them(
        (version, response) in (4_i16..=18).prop_flat_map(|version| (Just(version), response(version))),
    ) {
        let frame = write_ours(version, &response);
        prop_assert_eq!(i32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
        let mut rest = &frame[4..];
        let header = other::ResponseHeader::decode(&mut rest, i16::from(version >= 12)).unwrap();
        prop_assert_eq!(header.correlation_id, 77);
        let read = other::FetchResponse::decode(&mut rest, version).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(read, write_theirs(version, &response));
    }

    #[test]
    fn their_responses_read_the_same(
        (version, response) in (4_i16..=18).prop_flat_map(|version| (Just(version), response(version))),
    ) {
        let mut body = Vec::new();
        write_theirs(version, &response).encode(&mut body, version).unwrap();
        let read = FetchResponse::parse(&body, version).unwrap();
        prop_assert_eq!(read.throttle_time_ms, response.throttle_time_ms);
        prop_assert_eq!((read.error(), read.session_id), (response.error, response.session_id));
        prop_assert_eq!(&read.node_endpoints, &response.endpoints);
        let mut partitions = read.partitions.iter();
        for (place, (topic, expected)) in response.topics.iter().enumerate() {
            prop_assert_eq!(&read.topics[place], topic);
            for (data, records) in expected {
                let partition = partitions.next().unwrap();
                prop_assert_eq!(partition.topic, place);
                prop_assert_eq!(&partition.data, data);
                prop_assert_eq!(&body[partition.records.clone()], &records.concat()[..]);
            }
        }
        prop_assert!(partitions.next().is_none());
        for length in 0..body.len() {
            prop_assert!(FetchResponse::parse(&body[..length], version).is_err());
        }
    }
}
