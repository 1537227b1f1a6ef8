//! rdkafka, the Rust client over librdkafka: its producers, its consumer by assignment, its admin client.

mod support;

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use futures_lite::future::block_on;
use rdkafka::{
    ClientContext,
    admin::{
        AdminOptions, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    consumer::Consumer,
    error::RDKafkaErrorCode,
    message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders},
    producer::{
        BaseRecord, FutureProducer, FutureRecord, Producer, ProducerContext, ThreadedProducer,
    },
    topic_partition_list::{Offset, TopicPartitionList},
};
use support::{
    admin::{
        DEADLINE, admin, consumer, create_topic, metadata, read_partition, settings, wait_until,
        watermarks,
    },
    clients::{crate_version, record},
    server::{Listen, Server},
    threads::Threads,
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Hours ago, so that it cannot be confused with the time of the broker; not so long that retention takes the records.
static FIRST_TIMESTAMP_MS: LazyLock<i64> = LazyLock::new(|| {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    now.as_millis() as i64 - 6 * 3_600_000
});

#[test]
fn rdkafka_works_with_a_node_per_core() {
    check_all(&Server::start("rdkafka", Listen::PerCore));
}

#[test]
fn rdkafka_works_with_one_port_for_all_cores() {
    check_all(&Server::start("rdkafka", Listen::Shared));
}

fn check_all(server: &Server) {
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    let version = crate_version("rdkafka");
    let mut said = format!("client rdkafka (Rust) {version} over librdkafka {librdkafka}\n");
    for (name, check) in CHECKS {
        check(server.bootstrap());
        said.extend(["ok ", name, "\n"]);
    }
    record("client_rdkafka.rs", server, &said);
}

/// A check by its name.
type Check = (&'static str, fn(&str));

const CHECKS: [Check; 6] = [
    ("topics_are_managed", topics_are_managed),
    ("configs_are_described", configs_are_described),
    (
        "every_codec_carries_every_record",
        every_codec_carries_every_record,
    ),
    (
        "the_future_producer_is_acknowledged_in_order",
        the_future_producer_is_acknowledged_in_order,
    ),
    (
        "offsets_are_found_by_timestamp",
        offsets_are_found_by_timestamp,
    ),
    (
        "records_are_deleted_below_an_offset",
        records_are_deleted_below_an_offset,
    ),
];

/// Key, value, and headers by name and value.
type Sample = (
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(String, Option<Vec<u8>>)>,
);

fn samples() -> Vec<Sample> {
    let headers = [
        vec![],
        vec![
            ("same".to_owned(), Some(b"first".to_vec())),
            ("same".to_owned(), Some(b"second".to_vec())),
        ],
        vec![
            ("null".to_owned(), None),
            ("empty".to_owned(), Some(vec![])),
        ],
    ];
    let keys = [None, Some(b"key".to_vec()), Some((0..=255).collect())];
    let values = [
        None,
        Some(vec![]),
        Some(b"value".to_vec()),
        Some(vec![b'r'; 900]),
    ];
    (0..120)
        .map(|i| {
            (
                keys[i % 3].clone(),
                values[i % 4].clone(),
                headers[i / 3 % 3].clone(),
            )
        })
        .collect()
}

fn sample_of(message: &BorrowedMessage<'_>) -> Sample {
    let headers = message.headers().map_or(vec![], |headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect()
    });
    (
        message.key().map(<[u8]>::to_vec),
        message.payload().map(<[u8]>::to_vec),
        headers,
    )
}

/// Fails the test if a record is not acknowledged at the offset it was expected at.
struct Expecting;

impl ClientContext for Expecting {}

impl ProducerContext for Expecting {
    type DeliveryOpaque = Box<i64>;

    fn delivery(&self, result: &DeliveryResult<'_>, offset: Box<i64>) {
        match result {
            Ok(message) => assert_eq!(message.offset(), *offset, "offset acknowledged"),
            Err((error, _)) => panic!("record {offset} was not delivered: {error}"),
        }
    }
}

fn send(bootstrap: &str, topic: &str, codec: &str, samples: &[Sample]) {
    let mut settings = settings(bootstrap);
    settings
        .set("compression.type", codec)
        .set("enable.idempotence", "true")
        .set("batch.num.messages", "25");
    let producer: ThreadedProducer<Expecting> =
        settings.create_with_context(Expecting).expect("a producer");
    for (offset, (key, value, headers)) in (0..).zip(samples) {
        let mut record =
            BaseRecord::<[u8], [u8], Box<i64>>::with_opaque_to(topic, Box::new(offset))
                .partition(0)
                .timestamp(*FIRST_TIMESTAMP_MS + offset * 10);
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(value) = value {
            record = record.payload(value);
        }
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header {
                    key,
                    value: value.as_ref(),
                })
            });
        producer
            .send(record.headers(headers))
            .unwrap_or_else(|(error, _)| panic!("cannot send: {error}"));
    }
    producer.flush(DEADLINE).expect("all are acknowledged");
    assert_eq!(
        producer.in_flight_count(),
        0,
        "records in flight after a flush"
    );
}

fn topics_are_managed(bootstrap: &str) {
    let client = admin(bootstrap);
    let options = AdminOptions::new();
    create_topic(bootstrap, "managed", 2, &[]);
    let again = NewTopic::new("managed", 2, TopicReplication::Fixed(1));
    let refused = block_on(client.create_topics([&again], &options)).expect("an answer");
    assert_eq!(
        refused,
        [Err((
            "managed".to_owned(),
            RDKafkaErrorCode::TopicAlreadyExists
        ))]
    );
    let grown = block_on(client.create_partitions(&[NewPartitions::new("managed", 5)], &options))
        .expect("an answer");
    assert_eq!(grown, [Ok("managed".to_owned())]);
    wait_until("five partitions", || {
        metadata(bootstrap)
            .topics()
            .iter()
            .any(|topic| topic.name() == "managed" && topic.partitions().len() == 5)
    });
    let deleted = block_on(client.delete_topics(&["managed"], &options)).expect("an answer");
    assert_eq!(deleted, [Ok("managed".to_owned())]);
    wait_until("the topic is gone", || {
        metadata(bootstrap)
            .topics()
            .iter()
            .all(|topic| topic.name() != "managed")
    });
}

fn configs_are_described(bootstrap: &str) {
    create_topic(bootstrap, "configured", 1, &[("retention.ms", "3600000")]);
    let resource = ResourceSpecifier::Topic("configured");
    let described = block_on(admin(bootstrap).describe_configs(&[resource], &AdminOptions::new()))
        .expect("an answer");
    let config = described[0].as_ref().expect("a description");
    let retention = config
        .get("retention.ms")
        .expect("retention.ms is described");
    assert_eq!(retention.value.as_deref(), Some("3600000"));
    assert_eq!(retention.source, ConfigSource::DynamicTopic);
    let policy = config
        .get("cleanup.policy")
        .expect("cleanup.policy is described");
    assert!(
        policy.is_default && policy.value.as_deref() == Some("delete"),
        "{policy:?}"
    );
}

fn every_codec_carries_every_record(bootstrap: &str) {
    for codec in CODECS {
        let topic = format!("codec-{codec}");
        create_topic(bootstrap, &topic, 1, &[]);
        let samples = samples();
        send(bootstrap, &topic, codec, &samples);
        let end = samples.len() as i64;
        assert_eq!(watermarks(bootstrap, &topic, 0), (0, end), "{topic}");
        for start in [0, 1, 24, 25, 77, end - 1] {
            let mut next = start;
            read_partition(bootstrap, &topic, 0, start, end, |message| {
                assert_eq!(message.offset(), next, "{topic} from {start}");
                assert_eq!(
                    message.timestamp().to_millis(),
                    Some(*FIRST_TIMESTAMP_MS + next * 10),
                    "{topic} at {next}"
                );
                assert_eq!(
                    sample_of(message),
                    samples[next as usize],
                    "{topic} at {next}"
                );
                next += 1;
            });
            assert_eq!(next, end, "{topic} from {start}");
        }
    }
}

fn the_future_producer_is_acknowledged_in_order(bootstrap: &str) {
    create_topic(bootstrap, "futures", 1, &[("max.message.bytes", "2097152")]);
    let mut settings = settings(bootstrap);
    settings
        .set("message.max.bytes", "2097152")
        .set("linger.ms", "0");
    let producer: FutureProducer<DefaultClientContext, Threads> =
        settings.create().expect("a producer");
    let mebibyte = vec![b'm'; 1 << 20];
    let values: Vec<&[u8]> = (0..50)
        .map(|i| if i % 10 == 3 { &mebibyte[..] } else { b"small" })
        .collect();
    let sent: Vec<_> = values
        .iter()
        .map(|value| {
            let record = FutureRecord::<(), [u8]>::to("futures")
                .partition(0)
                .payload(value);
            producer
                .send_result(record)
                .unwrap_or_else(|(error, _)| panic!("cannot send: {error}"))
        })
        .collect();
    for (offset, future) in (0..).zip(sent) {
        let delivery = block_on(future)
            .expect("the producer lives")
            .unwrap_or_else(|(error, _)| panic!("{error}"));
        assert_eq!(
            (delivery.partition, delivery.offset),
            (0, offset),
            "acknowledged in order"
        );
    }
    read_partition(bootstrap, "futures", 0, 0, 50, |message| {
        assert!(
            message.payload() == Some(values[message.offset() as usize]),
            "value at {}",
            message.offset()
        );
    });
}

fn offsets_are_found_by_timestamp(bootstrap: &str) {
    create_topic(bootstrap, "times", 2, &[]);
    send(bootstrap, "times", "lz4", &samples());
    let consumer = consumer(bootstrap);
    for (timestamp, expected) in [
        (0, Offset::Offset(0)),
        (*FIRST_TIMESTAMP_MS, Offset::Offset(0)),
        (*FIRST_TIMESTAMP_MS + 501, Offset::Offset(51)),
        (*FIRST_TIMESTAMP_MS + 1190, Offset::Offset(119)),
        (*FIRST_TIMESTAMP_MS + 1191, Offset::End),
    ] {
        let mut places = TopicPartitionList::new();
        places
            .add_partition_offset("times", 0, Offset::Offset(timestamp))
            .expect("an offset");
        let found = consumer
            .offsets_for_times(places, DEADLINE)
            .expect("an answer");
        assert_eq!(found.elements()[0].offset(), expected, "at {timestamp}");
    }
}

fn records_are_deleted_below_an_offset(bootstrap: &str) {
    create_topic(bootstrap, "trimmed", 1, &[]);
    send(bootstrap, "trimmed", "none", &samples());
    let mut places = TopicPartitionList::new();
    places
        .add_partition_offset("trimmed", 0, Offset::Offset(30))
        .expect("an offset");
    let client = admin(bootstrap);
    let deleted =
        block_on(client.delete_records(&places, &AdminOptions::new())).expect("an answer");
    assert_eq!(
        deleted.elements()[0].offset(),
        Offset::Offset(30),
        "low watermark"
    );
    assert_eq!(
        watermarks(bootstrap, "trimmed", 0),
        (30, 120),
        "after deleting"
    );
    let mut offsets = Vec::new();
    read_partition(bootstrap, "trimmed", 0, 30, 120, |message| {
        offsets.push(message.offset());
    });
    assert_eq!(offsets, (30..120).collect::<Vec<_>>(), "offsets left");
}
