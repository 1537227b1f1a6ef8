//! Incremental fetch sessions, over connections that say exactly what they mean.

mod support;

use corelane_format::ids::{Offset, PartitionIndex, TopicId};
use corelane_net::fetch::{
    FetchHeader, FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic,
    encode_request,
};
use corelane_net::topic::TopicKey;
use rdkafka::admin::AdminOptions;
use support::{
    admin::{admin, create_topic, wait_until},
    batch::Batch,
    server::{Listen, Server, is_kafka},
    wire::Connection,
};

const SESSION_ID_NOT_FOUND: i16 = 70;
const INVALID_SESSION_EPOCH: i16 = 71;
const UNKNOWN_TOPIC: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;
const INCONSISTENT_TOPIC_ID: i16 = 103;
const SESSION_TOPIC_ID_ERROR: i16 = 106;

/// The last version that names topics, and one that gives their ids.
const BY_NAME: i16 = 12;
const BY_ID: i16 = 16;

/// A consumer as far as sessions go: sends its requests, and tells what the answers say.
struct Consumer {
    connection: Connection,
    version: i16,
    correlation_id: i32,
    session_id: i32,
    epoch: i32,
    max_bytes: i32,
}

/// An answer: its error, its size, and each partition in it.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    error: i16,
    size_bytes: usize,
    /// Index, error, high watermark, bytes of records.
    partitions: Vec<(i32, i16, i64, usize)>,
}

impl Answer {
    fn indexes(&self) -> Vec<i32> {
        self.partitions.iter().map(|one| one.0).collect()
    }
}

impl Consumer {
    fn open(server: &Server, version: i16) -> Self {
        Self {
            connection: Connection::open(server.address()),
            version,
            correlation_id: 0,
            session_id: 0,
            epoch: 0,
            max_bytes: 1 << 20,
        }
    }

    /// One fetch; a successful answer brings session and epoch forward, as in Kafka's clients.
    fn fetch(&mut self, topics: Vec<FetchTopic>, forgotten: Vec<ForgottenTopic>) -> Answer {
        self.fetch_waiting(topics, forgotten, 0)
    }

    fn fetch_waiting(
        &mut self,
        topics: Vec<FetchTopic>,
        forgotten: Vec<ForgottenTopic>,
        max_wait_ms: i32,
    ) -> Answer {
        self.correlation_id += 1;
        let request = FetchRequest {
            max_wait_ms,
            max_bytes: self.max_bytes,
            session_id: self.session_id,
            session_epoch: self.epoch,
            topics,
            forgotten_topics: forgotten,
            rack_id: "some-rack".into(),
            ..FetchRequest::default()
        };
        let header = FetchHeader {
            version: self.version,
            correlation_id: self.correlation_id,
            client_id: Some("sessions"),
        };
        let mut frame = Vec::new();
        encode_request(&mut frame, &header, &request).expect("a version that names topics so");
        self.connection.send_raw(&frame);
        let body = self.connection.receive(self.correlation_id).body();
        // The header of flexible versions ends in tagged fields: none.
        let response = FetchResponse::parse(&body[1..], self.version).expect("a Fetch response");
        if response.error_code == 0 {
            self.session_id = response.session_id;
            self.epoch += 1;
        }
        assert!(
            response
                .partitions
                .iter()
                .all(|one| one.data.preferred_read_replica == -1)
        );
        Answer {
            error: response.error_code,
            size_bytes: body.len(),
            partitions: response
                .partitions
                .iter()
                .map(|one| {
                    let data = &one.data;
                    (
                        data.index.get(),
                        data.error.code(),
                        data.high_watermark.get(),
                        one.records.len(),
                    )
                })
                .collect(),
        }
    }
}

fn named(name: &str, partitions: impl IntoIterator<Item = (i32, i64)>) -> Vec<FetchTopic> {
    asked(TopicKey::Name(name.into()), partitions)
}

fn asked(topic: TopicKey, partitions: impl IntoIterator<Item = (i32, i64)>) -> Vec<FetchTopic> {
    vec![FetchTopic {
        topic,
        partitions: partitions
            .into_iter()
            .map(|(index, from)| {
                FetchPartition::new(PartitionIndex::new(index), Offset::new(from), 1 << 20)
            })
            .collect(),
    }]
}

fn forgotten(name: &str, partitions: &[i32]) -> Vec<ForgottenTopic> {
    vec![ForgottenTopic {
        topic: TopicKey::Name(name.into()),
        partitions: partitions
            .iter()
            .map(|index| PartitionIndex::new(*index))
            .collect(),
    }]
}

/// The partitions of a topic that the server's first node leads: those that it watches.
fn led_by(server: &Server, topic: &str, node: i32) -> Vec<i32> {
    let metadata = support::admin::metadata(server.bootstrap());
    let topic = metadata
        .topics()
        .iter()
        .find(|one| one.name() == topic)
        .expect("the topic exists");
    topic
        .partitions()
        .iter()
        .filter(|one| is_kafka() || one.leader() == node)
        .map(rdkafka::metadata::MetadataPartition::id)
        .collect()
}

#[test]
fn answers_hold_what_changed_and_cost_accordingly() {
    let server = Server::start("fetch-sessions", Listen::PerCore);
    create_topic(server.bootstrap(), "many", 400, &[]);
    let mine = led_by(&server, "many", 1000);
    let mut producer = Connection::open(server.address());
    let mut consumer = Consumer::open(&server, BY_NAME);
    let all = named("many", mine.iter().map(|index| (*index, 0)));

    let first = consumer.fetch(all, vec![]);
    assert_eq!(first.error, 0);
    assert_ne!(consumer.session_id, 0, "a session is made");
    assert_eq!(
        first.indexes(),
        mine,
        "the first answer has every partition"
    );

    for _ in 0..3 {
        let idle = consumer.fetch(vec![], vec![]);
        assert_eq!((idle.error, idle.partitions.len()), (0, 0));
        assert!(
            idle.size_bytes < 40,
            "an answer without news has {} bytes",
            idle.size_bytes
        );
    }

    // Two of them get a record each: they are the answer, again until the client is beyond them.
    let changed = [mine[7], mine[90]];
    let batch = Batch::of(&[b"news"]).encode();
    for index in changed {
        producer.produce("many", index, &batch);
    }
    for _ in 0..2 {
        let news = consumer.fetch(vec![], vec![]);
        let expected: Vec<_> = changed
            .iter()
            .map(|index| (*index, 0, 1, batch.len()))
            .collect();
        assert_eq!(news.partitions, expected);
        assert!(
            news.size_bytes < 2 * batch.len() + 200,
            "{}",
            news.size_bytes
        );
    }
    let beyond = consumer.fetch(named("many", changed.map(|index| (index, 1))), vec![]);
    assert_eq!((beyond.error, beyond.partitions), (0, vec![]));

    // A fetch that waits is answered by a log that rings.
    producer.produce("many", changed[0], &batch);
    let woken = consumer.fetch_waiting(vec![], vec![], 30_000);
    assert_eq!(woken.partitions, [(changed[0], 0, 2, batch.len())]);

    // A forgotten partition says nothing any more.
    producer.produce("many", changed[1], &batch);
    let rest = consumer.fetch(
        named("many", [(changed[0], 2)]),
        forgotten("many", &[changed[1]]),
    );
    assert_eq!((rest.error, rest.partitions), (0, vec![]));
}

#[test]
fn where_an_answer_holds_one_partition_none_starves() {
    let server = Server::start("fetch-sessions-rotation", Listen::PerCore);
    create_topic(server.bootstrap(), "turns", 12, &[]);
    let mine: Vec<i32> = led_by(&server, "turns", 1000).into_iter().take(4).collect();
    let mut producer = Connection::open(server.address());
    let batch = Batch::of(&[&[7; 500]]).encode();
    for index in &mine {
        for _ in 0..3 {
            producer.produce("turns", *index, &batch);
        }
    }
    let mut consumer = Consumer::open(&server, BY_NAME);
    consumer.max_bytes = batch.len() as i32;
    consumer.fetch(named("turns", mine.iter().map(|index| (*index, 0))), vec![]);
    let mut served = Vec::new();
    let mut moved = vec![];
    for _ in 0..8 {
        let answer = consumer.fetch(std::mem::take(&mut moved), vec![]);
        let with_records: Vec<i32> = answer
            .partitions
            .iter()
            .filter(|one| one.3 > 0)
            .map(|one| one.0)
            .collect();
        assert_eq!(with_records.len(), 1, "{answer:?}");
        let seen = served.iter().filter(|one| **one == with_records[0]).count();
        moved = named("turns", [(with_records[0], seen as i64 + 1)]);
        served.push(with_records[0]);
    }
    assert_eq!(served, [mine.clone(), mine].concat());
}

#[test]
fn sessions_are_refused_as_kafka_does() {
    let server = Server::start_with(
        "fetch-sessions-refused",
        Listen::PerCore,
        1,
        &["max.incremental.fetch.session.cache.slots=2"],
    );
    create_topic(server.bootstrap(), "t", 1, &[]);
    let mut consumer = Consumer::open(&server, BY_NAME);
    consumer.fetch(named("t", [(0, 0)]), vec![]);
    let (id, epoch) = (consumer.session_id, consumer.epoch);
    assert!(id > 0);

    consumer.epoch = 5;
    assert_eq!(consumer.fetch(vec![], vec![]).error, INVALID_SESSION_EPOCH);
    consumer.epoch = epoch;
    consumer.session_id = if id == 1 { 2 } else { id - 1 };
    assert_eq!(consumer.fetch(vec![], vec![]).error, SESSION_ID_NOT_FOUND);
    consumer.session_id = 0;
    assert_eq!(consumer.fetch(vec![], vec![]).error, SESSION_ID_NOT_FOUND);
    consumer.session_id = id;
    assert_eq!(
        consumer.fetch(vec![], vec![]).error,
        0,
        "refusals changed nothing"
    );

    // Without partitions left there is no session left.
    assert_eq!(consumer.fetch(vec![], forgotten("t", &[0])).error, 0);
    assert_eq!(consumer.session_id, 0);
    consumer.session_id = id;
    assert_eq!(consumer.fetch(vec![], vec![]).error, SESSION_ID_NOT_FOUND);

    // Two sessions fit; the third client gets none, and its full fetches work.
    let mut others: Vec<Consumer> = (0..3).map(|_| Consumer::open(&server, BY_NAME)).collect();
    for other in &mut others {
        assert_eq!(other.fetch(named("t", [(0, 0)]), vec![]).error, 0);
    }
    let ids: Vec<bool> = others.iter().map(|other| other.session_id > 0).collect();
    assert_eq!(ids, [true, true, false]);
    // Ending one makes room.
    let last = others[0].session_id;
    others[0].epoch = -1;
    assert_eq!(others[0].fetch(named("t", [(0, 0)]), vec![]).error, 0);
    assert_eq!(others[0].session_id, 0);
    others[2].epoch = 0;
    others[2].fetch(named("t", [(0, 0)]), vec![]);
    assert!(others[2].session_id > 0 && others[2].session_id != last);
}

#[test]
fn topic_ids_are_looked_after() {
    let server = Server::start_with("fetch-sessions-ids", Listen::PerCore, 1, &[]);
    create_topic(server.bootstrap(), "t", 1, &[]);
    let id = topic_id(&server, "t");
    let mut consumer = Consumer::open(&server, BY_ID);
    let never = TopicKey::Id(TopicId::new([9; 16]));
    let mut both = asked(TopicKey::Id(id), [(0, 0)]);
    both.extend(asked(never, [(3, 0)]));
    let first = consumer.fetch(both, vec![]);
    assert_eq!(
        first.partitions,
        [(0, 0, 0, 0), (3, UNKNOWN_TOPIC_ID, -1, 0)]
    );
    assert_eq!(
        consumer.fetch(vec![], vec![]).partitions,
        [(3, UNKNOWN_TOPIC_ID, -1, 0)]
    );

    consumer.version = BY_NAME;
    assert_eq!(consumer.fetch(vec![], vec![]).error, SESSION_TOPIC_ID_ERROR);
    consumer.version = BY_ID;

    let deleted = futures_lite::future::block_on(
        admin(server.bootstrap()).delete_topics(&["t"], &AdminOptions::new()),
    );
    assert!(deleted.expect("an answer")[0].is_ok());
    let mut seen = Vec::new();
    wait_until("the deletion shows", || {
        seen = consumer.fetch(vec![], vec![]).partitions;
        seen.first().is_some_and(|one| one.1 != 0 && one.0 == 0) || seen.len() == 2
    });
    assert!(seen.contains(&(0, UNKNOWN_TOPIC, -1, 0)), "{seen:?}");
    create_topic(server.bootstrap(), "t", 1, &[]);
    wait_until("the id is known to be another topic's", || {
        seen = consumer.fetch(vec![], vec![]).partitions;
        seen.contains(&(0, INCONSISTENT_TOPIC_ID, -1, 0))
    });
}

/// Asks Metadata version 10 for a topic's id.
fn topic_id(server: &Server, topic: &str) -> TopicId {
    let mut connection = Connection::open(server.address());
    let mut body = vec![0, 2]; // the header's tagged fields; one topic
    body.extend([0; 16]);
    body.push(topic.len() as u8 + 1);
    body.extend(topic.as_bytes());
    body.extend([0, 0, 0, 0, 0]); // no tags; nothing is created, no operations told; no tags
    let answer = connection.ask(support::wire::METADATA, 10, &body).body();
    // The id follows the topic's name, which stands once in the answer.
    let name = [&[topic.len() as u8 + 1], topic.as_bytes()].concat();
    let at = answer
        .windows(name.len())
        .rposition(|window| window == name)
        .expect("the topic is in the answer");
    let id = answer[at + name.len()..][..16]
        .try_into()
        .expect("16 bytes");
    TopicId::new(id)
}
