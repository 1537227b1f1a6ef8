//! The client against a broker of a few lines: metadata, produce, fetch and offsets by way of the leader.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use corelane_format::{Offset, PartitionIndex, TimestampMs, TopicId};
use corelane_net::api::{
    self, RequestHeader, ServerFeatures, answer_api_versions, decode_request, encode_response,
};
use corelane_net::client::{
    Acks, Cluster, ClusterConfig, ClusterError, ConnectOptions, Connection, NewTopic, OffsetSpec,
    ProduceOptions,
};
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchResponseHeader, FetchResponseWriter,
    FetchTopic, PartitionData,
};
use corelane_net::gather::Gathered;
use corelane_net::produce::{
    PartitionOutcome, PartitionRecords, ProduceRequest, ProduceResponseWriter, TopicRecords,
    visit_response,
};
use corelane_net::server::{CloseReason, ConnectionInfo, ConnectionLimits, Pending};
use corelane_net::topic::{TopicKey, TopicRef};
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
use kafka_wire_core::Uuid;

use crate::support::{Server, TestService, run, serve};

const TOPIC_ID: [u8; 16] = [4; 16];
const NODE: i32 = 1_000;

/// Topics by name, each with one partition: the batches appended to it, one offset a batch.
#[derive(Default)]
struct Broker {
    topics: RefCell<BTreeMap<String, Vec<Vec<u8>>>>,
}

impl Broker {
    fn call(&self, connection: &ConnectionInfo, frame: &[u8]) -> Pending<Vec<u8>> {
        let (header, body) = RequestHeader::parse(frame).unwrap();
        assert_eq!(header.client_id, Some("tester"));
        let (id, version) = (header.correlation_id, header.api_version);
        let response = match header.api_key {
            api::API_VERSIONS => {
                answer_api_versions(&header, body, &ServerFeatures::default()).unwrap()
            }
            api::METADATA => {
                let request: MetadataRequest = decode_request(body, version).unwrap();
                let answer = self.metadata(&request, connection.local.port());
                encode_response(id, version, &answer).unwrap()
            }
            api::CREATE_TOPICS => {
                let request: CreateTopicsRequest = decode_request(body, version).unwrap();
                encode_response(id, version, &self.create(&request)).unwrap()
            }
            api::DELETE_TOPICS => {
                let request: DeleteTopicsRequest = decode_request(body, version).unwrap();
                let name = request.topics[0].name.clone().unwrap();
                self.topics.borrow_mut().remove(name.as_str());
                let mut result = DeletableTopicResult::default();
                result.name = Some(name);
                let mut answer = DeleteTopicsResponse::default();
                answer.responses = vec![result];
                encode_response(id, version, &answer).unwrap()
            }
            api::LIST_OFFSETS => {
                let request: ListOffsetsRequest = decode_request(body, version).unwrap();
                encode_response(id, version, &self.list_offsets(&request)).unwrap()
            }
            api::PRODUCE => return self.produce(&header, body),
            api::FETCH => self.fetch(&header, body),
            key => return Pending::Close(CloseReason::Service(format!("API {key}"))),
        };
        Pending::Ready(response)
    }

    fn metadata(&self, request: &MetadataRequest, port: u16) -> MetadataResponse {
        let mut broker = MetadataResponseBroker::default();
        broker.node_id = NODE;
        broker.host = "127.0.0.1".into();
        broker.port = i32::from(port);
        let topics = self.topics.borrow();
        let asked: Vec<String> = match &request.topics {
            Some(asked) => asked
                .iter()
                .map(|topic| topic.name.clone().unwrap().as_str().to_owned())
                .collect(),
            None => topics.keys().cloned().collect(),
        };
        let mut answer = MetadataResponse::default();
        answer.brokers = vec![broker];
        answer.cluster_id = Some("cluster".into());
        answer.topics = asked
            .iter()
            .map(|name| {
                let mut topic = MetadataResponseTopic::default();
                topic.name = Some(name.as_str().into());
                if topics.contains_key(name) {
                    let mut partition = MetadataResponsePartition::default();
                    partition.leader_id = NODE;
                    partition.replica_nodes = vec![NODE];
                    topic.topic_id = Uuid::from_bytes(TOPIC_ID);
                    topic.partitions = vec![partition];
                } else {
                    topic.error_code = ErrorCode::UnknownTopicOrPartition.code();
                }
                topic
            })
            .collect();
        answer
    }

    fn create(&self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let mut result = CreatableTopicResult::default();
        result.name = request.topics[0].name.clone();
        let name = result.name.as_str().to_owned();
        if self.topics.borrow().contains_key(&name) {
            result.error_code = ErrorCode::TopicAlreadyExists.code();
            result.error_message = Some("it is there".into());
        } else {
            self.topics.borrow_mut().insert(name, Vec::new());
        }
        let mut answer = CreateTopicsResponse::default();
        answer.topics = vec![result];
        answer
    }

    fn list_offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let asked = &request.topics[0];
        let mut partition = ListOffsetsPartitionResponse::default();
        partition.offset = match asked.partitions[0].timestamp {
            -1 => self.topics.borrow()[asked.name.as_str()].len() as i64,
            -2 => 0,
            _ => -1,
        };
        let mut topic = ListOffsetsTopicResponse::default();
        topic.name = asked.name.clone();
        topic.partitions = vec![partition];
        let mut answer = ListOffsetsResponse::default();
        answer.topics = vec![topic];
        answer
    }

    fn produce(&self, header: &RequestHeader<'_>, body: &[u8]) -> Pending<Vec<u8>> {
        let request = ProduceRequest::parse(body, header.api_version).unwrap();
        let mut writer = ProduceResponseWriter::new(
            header.correlation_id,
            header.api_version,
            request.topics_count(),
        );
        for topic in request.topics() {
            writer.topic(topic.topic, topic.partitions_count);
            for partition in topic.partitions() {
                let mut topics = self.topics.borrow_mut();
                let outcome = match topics.get_mut(&name_of(topic.topic)) {
                    Some(batches) if partition.index.get() == 0 => {
                        batches.push(partition.records.unwrap().to_vec());
                        PartitionOutcome {
                            error: ErrorCode::None,
                            base_offset: Offset::new(batches.len() as i64 - 1),
                            log_append_time: TimestampMs::new(-1),
                            log_start_offset: Offset::ZERO,
                        }
                    }
                    _ => PartitionOutcome::failed(ErrorCode::UnknownTopicOrPartition),
                };
                writer.partition(partition.index, outcome);
            }
        }
        if request.acks == 0 {
            Pending::NoResponse
        } else {
            Pending::Ready(writer.finish(0, &[]))
        }
    }

    fn fetch(&self, header: &RequestHeader<'_>, body: &[u8]) -> corelane_net::Response<Vec<u8>> {
        let request = FetchRequest::parse(body, header.api_version).unwrap();
        let mut writer = FetchResponseWriter::new(&FetchResponseHeader {
            version: header.api_version,
            correlation_id: header.correlation_id,
            throttle_time_ms: 0,
            error: ErrorCode::None,
            session_id: 0,
            topics_count: request.topics.len(),
        });
        for topic in &request.topics {
            writer.topic(topic.topic.as_topic(), topic.partitions.len());
            for partition in &topic.partitions {
                let topics = self.topics.borrow();
                let batches = &topics[&name_of(topic.topic.as_topic())];
                let from = partition.fetch_offset.get() as usize;
                let data = PartitionData::readable(
                    partition.index,
                    Offset::new(batches.len() as i64),
                    Offset::ZERO,
                );
                writer.partition(&data, batches[from..].to_vec());
            }
        }
        writer.finish(&[])
    }
}

fn name_of(topic: TopicRef<'_>) -> String {
    match topic {
        TopicRef::Name(name) => name.to_owned(),
        TopicRef::Id(id) => {
            assert_eq!(id, TopicId::new(TOPIC_ID));
            "events".to_owned()
        }
    }
}

fn start() -> Server {
    let broker = Rc::new(Broker::default());
    serve(
        &TestService::new(move |connection, frame| broker.call(connection, frame)),
        ConnectionLimits::default(),
    )
}

async fn cluster(server: &Server) -> Cluster {
    // The first bootstrap address is nobody's.
    Cluster::connect(ClusterConfig::new(
        ["127.0.0.1:1", &server.address],
        "tester",
    ))
    .await
    .unwrap()
}

fn records<'a>(batches: &'a [&'a [u8]]) -> Vec<PartitionRecords<&'a [u8]>> {
    let index = PartitionIndex::new(0);
    batches
        .iter()
        .map(|records| PartitionRecords {
            index,
            records: *records,
        })
        .collect()
}

const TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn what_is_produced_is_fetched_by_name_and_by_id() {
    run(|| async {
        let server = start();
        let mut cluster = cluster(&server).await;
        assert_eq!(cluster.cluster_id(), Some("cluster"));
        cluster
            .ensure_topic(&NewTopic::new("events", 1).config("flush.messages", "1"))
            .await
            .unwrap();
        cluster
            .ensure_topic(&NewTopic::new("events", 1))
            .await
            .unwrap();
        assert_eq!(cluster.topic("events").unwrap().id, TopicId::new(TOPIC_ID));
        assert_eq!(cluster.leader("events", 0).unwrap(), NODE);

        let connection = cluster.leader_connection("events", 0).await.unwrap();
        for (place, topic) in [
            TopicRef::Name("events"),
            TopicRef::Id(TopicId::new(TOPIC_ID)),
        ]
        .into_iter()
        .enumerate()
        {
            let batch = vec![place as u8; 300_000];
            let batches = [&batch[..]];
            let partitions = records(&batches);
            let topics = [TopicRecords {
                topic,
                partitions: &partitions,
            }];
            let response = connection
                .produce(&ProduceOptions::default(), &topics, TIMEOUT)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(response.partitions[0].0, topic.to_key());
            assert_eq!(
                response.partitions[0].1.outcome.base_offset,
                Offset::new(place as i64)
            );
        }
        let mut response = FetchResponse::default();
        for topic in [
            TopicKey::Name("events".into()),
            TopicKey::Id(TopicId::new(TOPIC_ID)),
        ] {
            let partition = FetchPartition::new(PartitionIndex::new(0), Offset::ZERO, 1 << 20);
            let request = FetchRequest {
                topics: vec![FetchTopic {
                    topic,
                    partitions: vec![partition],
                }],
                ..FetchRequest::default()
            };
            let body = connection
                .fetch(&request, &mut response, TIMEOUT)
                .await
                .unwrap();
            let records = &body[response.partitions[0].records.clone()];
            assert_eq!(records.len(), 600_000);
            assert!(
                records[..300_000].iter().all(|byte| *byte == 0)
                    && records[300_000..].iter().all(|byte| *byte == 1)
            );
            assert_eq!(response.partitions[0].data.high_watermark, Offset::new(2));
        }
        let end = cluster
            .list_offset("events", 0, OffsetSpec::Latest)
            .await
            .unwrap();
        assert_eq!(end.offset, Offset::new(2));
        let missing = cluster
            .list_offset("events", 0, OffsetSpec::MaxTimestamp)
            .await
            .unwrap();
        assert_eq!(missing.offset, Offset::new(-1));
    });
}

#[test]
fn pipelined_requests_share_a_send_and_are_answered_in_order() {
    run(|| async {
        let server = start();
        cluster(&server)
            .await
            .create_topic(&NewTopic::new("events", 1))
            .await
            .unwrap();
        let connection = Connection::connect(&server.address, &ConnectOptions::new("tester"))
            .await
            .unwrap();
        let (mut sender, mut receiver) = connection.split();
        let mut message = Gathered::default();
        let batch = [7_u8; 1_000];
        let batches = [&batch[..]];
        let partitions = records(&batches);
        let topics = [TopicRecords {
            topic: TopicRef::Name("events"),
            partitions: &partitions,
        }];
        let mut sent = Vec::new();
        for request in 0..200 {
            let acks = if request % 4 == 3 {
                Acks::None
            } else {
                Acks::Leader
            };
            let options = ProduceOptions {
                acks,
                ..ProduceOptions::default()
            };
            let one = sender
                .encode_produce(&mut message, &options, &topics)
                .unwrap();
            if acks != Acks::None {
                sent.push((one, request));
            }
        }
        sender.send(&message).await.unwrap();
        for (sent, request) in sent {
            let incoming = receiver.receive().await.unwrap();
            let body = incoming.body_of(&sent).unwrap();
            let mut offsets = Vec::new();
            visit_response(body, sent.version, |_, partition| {
                offsets.push(partition.outcome.base_offset);
            })
            .unwrap();
            assert_eq!(offsets, [Offset::new(request)]);
        }
        assert!(!receiver.has_response());
    });
}

#[test]
fn a_brokers_refusals_are_typed() {
    run(|| async {
        let server = start();
        let mut cluster = cluster(&server).await;
        cluster
            .create_topic(&NewTopic::new("events", 1))
            .await
            .unwrap();
        let error = cluster
            .create_topic(&NewTopic::new("events", 1))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::TopicAlreadyExists));
        assert_eq!(
            error.to_string(),
            "events: TOPIC_ALREADY_EXISTS: it is there"
        );
        cluster.refresh_all().await.unwrap();
        assert!(cluster.topic("events").is_some());
        cluster.delete_topic("events").await.unwrap();
        cluster.refresh(&["events"]).await.unwrap();
        assert_eq!(
            cluster.topic("events").unwrap().error,
            ErrorCode::UnknownTopicOrPartition
        );
        assert!(matches!(
            cluster.leader("events", 0),
            Err(ClusterError::NoLeader { partition: 0, .. })
        ));
        assert!(matches!(
            cluster.open(5).await.map(|_| ()),
            Err(ClusterError::UnknownBroker { id: 5 })
        ));
        let nobody = Cluster::connect(ClusterConfig::new(["127.0.0.1:1"], "tester")).await;
        assert!(matches!(nobody.map(|_| ()), Err(ClusterError::Connect(_))));
    });
}
