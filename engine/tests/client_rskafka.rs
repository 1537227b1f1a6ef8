//! rskafka: a Rust client with a wire protocol of its own, which knows partitions and no groups.

mod support;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, Utc};
use futures_lite::StreamExt;
use rskafka::{
    BackoffConfig,
    client::{
        Client, ClientBuilder,
        consumer::{StartOffset, StreamConsumerBuilder},
        error::{Error, ProtocolError, ServerErrorResponse},
        partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling},
        producer::{BatchProducerBuilder, aggregator::RecordAggregator},
    },
    record::Record,
};
use support::{
    clients::{crate_version, record},
    server::{Listen, Server},
};

const TIMEOUT_MS: i32 = 30_000;
const BYTES: std::ops::Range<i32> = 1..10_000_000;
/// Only ends a check that hangs.
const DEADLINE: Duration = Duration::from_mins(2);

#[test]
fn rskafka_works_with_a_node_per_core() {
    check_all(&Server::start("rskafka", Listen::PerCore));
}

#[test]
fn rskafka_works_with_one_port_for_all_cores() {
    check_all(&Server::start("rskafka", Listen::Shared));
}

fn check_all(server: &Server) {
    let mut said = format!("client rskafka (Rust) {}\n", crate_version("rskafka"));
    let mut passed = |name: &str| said.extend(["ok ", name, "\n"]);
    let at = server.bootstrap();
    run(topics(at));
    passed("topics_are_created_listed_and_deleted");
    run(impossible_topics(at));
    passed("impossible_topics_are_refused_as_kafka_does");
    run(every_codec(at));
    passed("every_codec_carries_every_record");
    run(any_offset(at));
    passed("reading_starts_at_any_offset");
    run(offsets(at));
    passed("offsets_are_found");
    run(records_are_deleted(at));
    passed("records_are_deleted_below_an_offset");
    run(what_is_not_there(at));
    passed("what_is_not_there_is_refused_as_kafka_does");
    run(long_polls(at));
    passed("a_waiting_fetch_is_woken_by_a_record_and_ends_in_time");
    run(size_limits(at));
    passed("a_fetch_ends_where_its_size_ends");
    run(batches(at));
    passed("batches_are_gathered_and_acknowledged");
    run(streams(at));
    passed("a_stream_carries_every_record");
    record("client_rskafka.rs", server, &said);
}

fn run(check: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, check)
            .await
            .expect("the check ends in time");
    });
}

async fn client(bootstrap: &str) -> Client {
    let addresses = bootstrap.split(',').map(str::to_owned).collect();
    // What is refused for good must not be tried for ever.
    let backoff = BackoffConfig {
        deadline: Some(Duration::from_secs(20)),
        ..BackoffConfig::default()
    };
    ClientBuilder::new(addresses)
        .backoff_config(backoff)
        .client_id("rskafka-checks")
        .build()
        .await
        .expect("a client")
}

/// A new topic's partitions.
async fn new_topic(bootstrap: &str, name: &str, partitions: i32) -> Vec<Arc<PartitionClient>> {
    let client = client(bootstrap).await;
    let controller = client.controller_client().expect("a controller");
    controller
        .create_topic(name, partitions, 1, TIMEOUT_MS)
        .await
        .expect("the topic is created");
    let mut clients = Vec::new();
    for partition in 0..partitions {
        let client = client
            .partition_client(name, partition, UnknownTopicHandling::Error)
            .await
            .expect("a created topic is known to every node");
        clients.push(Arc::new(client));
    }
    clients
}

/// Hours ago, so that it is no time of the broker; not so long that retention takes the records.
static FIRST_TIMESTAMP_MS: LazyLock<i64> = LazyLock::new(|| {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    now.as_millis() as i64 - 6 * 3_600_000
});

fn time_of(index: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(*FIRST_TIMESTAMP_MS + index * 10).expect("a time")
}

fn sample(index: i64) -> Record {
    let headers = match index % 3 {
        0 => BTreeMap::new(),
        1 => BTreeMap::from([("empty".to_owned(), vec![])]),
        _ => BTreeMap::from([
            ("first".to_owned(), vec![0, 255]),
            ("second".to_owned(), b"x".to_vec()),
        ]),
    };
    let keys = [None, Some(vec![]), Some((0..=255).collect())];
    let values = [
        None,
        Some(vec![]),
        Some(b"value".to_vec()),
        Some(vec![b'r'; 900]),
    ];
    Record {
        key: keys[index as usize / 2 % 3].clone(),
        value: values[index as usize % 4].clone(),
        headers,
        timestamp: time_of(index),
    }
}

fn samples(count: i64) -> Vec<Record> {
    (0..count).map(sample).collect()
}

/// Stores samples in batches of ten.
async fn fill(partition: &PartitionClient, count: i64, codec: Compression) {
    let all = samples(count);
    let mut next = 0;
    for batch in all.chunks(10) {
        let offsets = partition
            .produce(batch.to_vec(), codec)
            .await
            .expect("the batch is acknowledged");
        let expected: Vec<_> = (next..next + batch.len() as i64).collect();
        assert_eq!(offsets, expected, "offsets acknowledged");
        next += batch.len() as i64;
    }
}

/// Reads from an offset to the end, and holds every record against its sample.
async fn read_to_end(partition: &PartitionClient, from: i64, end: i64) {
    let mut next = from;
    while next < end {
        let (records, high_watermark) = partition
            .fetch_records(next, BYTES, 5_000)
            .await
            .expect("records");
        assert_eq!(high_watermark, end, "high watermark");
        assert!(!records.is_empty(), "nothing at {next} below {end}");
        for found in records {
            assert_eq!(found.offset, next, "offset");
            assert_eq!(found.record, sample(next), "record at {next}");
            next += 1;
        }
    }
}

/// The error that a server answered.
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> ProtocolError {
    match result {
        Err(Error::ServerError {
            protocol_error,
            is_virtual: false,
            ..
        }) => protocol_error,
        other => panic!("an error of the server was expected, and not {other:?}"),
    }
}

async fn topics(bootstrap: &str) {
    let client = client(bootstrap).await;
    let controller = client.controller_client().expect("a controller");
    for (name, partitions) in [("managed-1", 1), ("managed-3", 3)] {
        controller
            .create_topic(name, partitions, 1, TIMEOUT_MS)
            .await
            .expect("a topic");
        let listed = client.list_topics().await.expect("topics");
        let topic = listed
            .iter()
            .find(|topic| topic.name == name)
            .expect("listed");
        assert_eq!(topic.partitions, (0..partitions).collect(), "{name}");
    }
    controller
        .delete_topic("managed-1", TIMEOUT_MS)
        .await
        .expect("deleted");
    let listed = client.list_topics().await.expect("topics");
    assert!(listed.iter().all(|topic| topic.name != "managed-1"));
    assert!(listed.iter().any(|topic| topic.name == "managed-3"));
    controller
        .create_topic("managed-1", 2, 1, TIMEOUT_MS)
        .await
        .expect("the name is free again");
}

async fn impossible_topics(bootstrap: &str) {
    let client = client(bootstrap).await;
    let controller = client.controller_client().expect("a controller");
    controller
        .create_topic("taken", 1, 1, TIMEOUT_MS)
        .await
        .expect("a topic");
    for (name, partitions, replicas, expected) in [
        ("taken", 1, 1, ProtocolError::TopicAlreadyExists),
        ("a b", 1, 1, ProtocolError::InvalidTopicException),
        ("", 1, 1, ProtocolError::InvalidTopicException),
        ("none", 0, 1, ProtocolError::InvalidPartitions),
        ("many", 1, 99, ProtocolError::InvalidReplicationFactor),
    ] {
        let answer = controller
            .create_topic(name, partitions, replicas, TIMEOUT_MS)
            .await;
        assert_eq!(refusal(answer), expected, "{name:?}");
    }
    let absent = controller.delete_topic("absent", TIMEOUT_MS).await;
    assert_eq!(refusal(absent), ProtocolError::UnknownTopicOrPartition);
}

const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::NoCompression),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

async fn every_codec(bootstrap: &str) {
    for (name, codec) in CODECS {
        let partitions = new_topic(bootstrap, &format!("codec-{name}"), 2).await;
        for partition in &partitions {
            fill(partition, 120, codec).await;
            read_to_end(partition, 0, 120).await;
        }
    }
}

async fn any_offset(bootstrap: &str) {
    let partition = new_topic(bootstrap, "anywhere", 1).await.remove(0);
    fill(&partition, 120, Compression::Zstd).await;
    for from in [0, 1, 9, 10, 55, 119] {
        read_to_end(&partition, from, 120).await;
    }
    let (records, high_watermark) = partition
        .fetch_records(120, BYTES, 0)
        .await
        .expect("the end is no error");
    assert_eq!((records.len(), high_watermark), (0, 120), "at the end");
}

async fn offsets(bootstrap: &str) {
    let partition = new_topic(bootstrap, "offsets", 1).await.remove(0);
    for at in [OffsetAt::Earliest, OffsetAt::Latest] {
        assert_eq!(partition.get_offset(at).await.expect("an offset"), 0);
    }
    fill(&partition, 120, Compression::Gzip).await;
    let later = |milliseconds: i64| {
        OffsetAt::Timestamp(
            DateTime::from_timestamp_millis(*FIRST_TIMESTAMP_MS + milliseconds).expect("a time"),
        )
    };
    for (at, expected) in [
        (OffsetAt::Earliest, 0),
        (OffsetAt::Latest, 120),
        (later(-1), 0),
        (later(0), 0),
        (later(501), 51),
        (later(1_190), 119),
        (later(1_191), -1),
    ] {
        let found = partition.get_offset(at).await.expect("an offset");
        assert_eq!(found, expected, "{at:?}");
    }
}

async fn records_are_deleted(bootstrap: &str) {
    let partition = new_topic(bootstrap, "trimmed", 1).await.remove(0);
    fill(&partition, 40, Compression::Lz4).await;
    partition
        .delete_records(15, TIMEOUT_MS)
        .await
        .expect("deleted in the midst of a batch");
    let earliest = partition.get_offset(OffsetAt::Earliest).await;
    assert_eq!(earliest.expect("an offset"), 15);
    for offset in [0, 14] {
        assert_out_of_range(&partition, offset, 40).await;
    }
    read_to_end(&partition, 15, 40).await;
    let beyond = partition.delete_records(41, TIMEOUT_MS).await;
    assert_eq!(refusal(beyond), ProtocolError::OffsetOutOfRange);
    partition
        .delete_records(40, TIMEOUT_MS)
        .await
        .expect("deleted up to the end");
    let (records, _) = partition
        .fetch_records(40, BYTES, 0)
        .await
        .expect("an empty partition");
    assert!(records.is_empty());
}

async fn assert_out_of_range(partition: &PartitionClient, offset: i64, end: i64) {
    let answer = partition.fetch_records(offset, BYTES, 0).await;
    let Err(Error::ServerError {
        protocol_error: ProtocolError::OffsetOutOfRange,
        response: Some(ServerErrorResponse::PartitionFetchState { high_watermark, .. }),
        ..
    }) = answer
    else {
        panic!("{offset} must be out of range, and not {answer:?}");
    };
    // Kafka says -1 with an error.
    assert!(high_watermark == -1 || high_watermark == end);
}

async fn what_is_not_there(bootstrap: &str) {
    let client = client(bootstrap).await;
    let absent = client
        .partition_client("a b", 0, UnknownTopicHandling::Error)
        .await;
    assert_eq!(refusal(absent), ProtocolError::InvalidTopicException);
    let partition = new_topic(bootstrap, "there", 1).await.remove(0);
    let beside = client
        .partition_client("there", 1, UnknownTopicHandling::Error)
        .await;
    assert!(
        matches!(beside, Err(Error::InvalidResponse(_))),
        "metadata names no partition 1: {beside:?}"
    );
    fill(&partition, 10, Compression::NoCompression).await;
    for offset in [-5, 11, i64::MAX] {
        assert_out_of_range(&partition, offset, 10).await;
    }
    let mut large = sample(0);
    large.value = Some(vec![b'l'; 1_100_000]);
    let refused = partition
        .produce(vec![large], Compression::NoCompression)
        .await;
    assert_eq!(refusal(refused), ProtocolError::MessageTooLarge);
    read_to_end(&partition, 0, 10).await;
}

async fn long_polls(bootstrap: &str) {
    let partition = new_topic(bootstrap, "awaited", 1).await.remove(0);
    let start = Instant::now();
    let (records, _) = partition
        .fetch_records(0, BYTES, 300)
        .await
        .expect("an answer");
    assert!(records.is_empty(), "there is nothing yet");
    assert!(
        start.elapsed() >= Duration::from_millis(290),
        "it was answered before its wait was over"
    );
    let waiting = partition.fetch_records(0, BYTES, TIMEOUT_MS * 10);
    // A connection of its own: the answers of one come in order.
    let producer = new_connection(bootstrap, "awaited").await;
    let produced = producer.produce(vec![sample(0)], Compression::NoCompression);
    let (woken, produced) = futures_lite::future::zip(waiting, produced).await;
    assert_eq!(produced.expect("acknowledged"), [0]);
    let (records, high_watermark) = woken.expect("an answer long before the wait is over");
    assert_eq!((records.len(), high_watermark), (1, 1));
    assert_eq!(records[0].record, sample(0));
}

async fn new_connection(bootstrap: &str, topic: &str) -> PartitionClient {
    client(bootstrap)
        .await
        .partition_client(topic, 0, UnknownTopicHandling::Error)
        .await
        .expect("the topic is there")
}

async fn size_limits(bootstrap: &str) {
    let partition = new_topic(bootstrap, "limited", 1).await.remove(0);
    fill(&partition, 40, Compression::NoCompression).await;
    let (all, _) = partition
        .fetch_records(0, BYTES, 0)
        .await
        .expect("everything");
    assert_eq!(all.len(), 40, "everything fits");
    // Whole batches come as far as they fit, and the first one always.
    let (first, _) = partition
        .fetch_records(0, 1..2, 0)
        .await
        .expect("the first batch");
    assert_eq!(first.len(), 10, "the first batch alone");
}

async fn batches(bootstrap: &str) {
    let partition = new_topic(bootstrap, "gathered", 1).await.remove(0);
    let one = sample(3);
    let gathered = RecordAggregator::new(one.approximate_size() * 20);
    let producer = BatchProducerBuilder::new(Arc::clone(&partition))
        .with_linger(Duration::from_millis(20))
        .with_compression(Compression::Snappy)
        .build(gathered);
    let mut sent: Vec<_> = (0..200)
        .map(|_| Box::pin(producer.produce(one.clone())))
        .collect();
    // All wait at once: who comes first lingers for the others.
    let mut offsets = Vec::new();
    std::future::poll_fn(|context| {
        sent.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(offset) => {
                offsets.push(offset.expect("acknowledged"));
                false
            }
            std::task::Poll::Pending => true,
        });
        if sent.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    offsets.sort_unstable();
    assert_eq!(
        offsets,
        (0..200).collect::<Vec<i64>>(),
        "every record once, at an offset of its own"
    );
}

async fn streams(bootstrap: &str) {
    let partition = new_topic(bootstrap, "streamed", 1).await.remove(0);
    fill(&partition, 100, Compression::Zstd).await;
    partition
        .delete_records(5, TIMEOUT_MS)
        .await
        .expect("deleted");
    for (start, from) in [(StartOffset::Earliest, 5), (StartOffset::At(42), 42)] {
        let mut stream = StreamConsumerBuilder::new(Arc::clone(&partition), start)
            .with_max_batch_size(2_000)
            .with_max_wait_ms(500)
            .build();
        for offset in from..100 {
            let (found, high_watermark) = stream.next().await.expect("more").expect("a record");
            assert_eq!((found.offset, high_watermark), (offset, 100), "{start:?}");
            assert_eq!(found.record, sample(offset), "{start:?} at {offset}");
        }
    }
    let mut beyond = StreamConsumerBuilder::new(Arc::clone(&partition), StartOffset::At(101))
        .with_max_wait_ms(500)
        .build();
    let answer = beyond.next().await.expect("an error");
    assert_eq!(refusal(answer), ProtocolError::OffsetOutOfRange);
    assert!(beyond.next().await.is_none(), "it ends after its error");
    // The newest begins with what comes after it has looked.
    let mut newest = StreamConsumerBuilder::new(Arc::clone(&partition), StartOffset::Latest)
        .with_max_wait_ms(200)
        .build();
    let looked = futures_lite::future::poll_once(newest.next()).await;
    assert!(looked.is_none(), "nothing is new yet");
    let first = futures_lite::future::or(async { newest.next().await }, async {
        let producer = new_connection(bootstrap, "streamed").await;
        loop {
            producer
                .produce(vec![sample(0)], Compression::NoCompression)
                .await
                .expect("acknowledged");
        }
    });
    let (found, _) = first.await.expect("more").expect("a record");
    assert!(found.offset >= 100, "an older record came");
    assert_eq!(found.record, sample(0));
}
