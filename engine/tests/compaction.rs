//! Compacted topics with a real client: what stays while segments are rewritten in the background, over a crash too, and
//! what such topics refuse.

mod support;

use std::{collections::BTreeMap, process::Command, sync::mpsc, time::Duration};

use futures_lite::future::block_on;
use rdkafka::{
    ClientContext,
    admin::AdminOptions,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext, ThreadedProducer},
    topic_partition_list::{Offset, TopicPartitionList},
};
use support::{
    admin::{DEADLINE, admin, create_topic, read_partition, settings, wait_until, watermarks},
    seed::Random,
    server::{Listen, Server},
};

const CLEANER: [&str; 2] = [
    "log.cleaner.backoff.ms=50",
    "log.cleaner.dedupe.buffer.size=4096",
];
/// Small segments, and everything dirty is compacted. Tombstones stay, so that a reader that was slower than a compaction
/// still learns what is deleted.
const COMPACTED: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("internal.segment.bytes", "65536"),
    ("min.cleanable.dirty.ratio", "0.01"),
];

/// Passes on what became of each record.
struct Outcomes(mpsc::Sender<Result<(), KafkaError>>);

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = result
            .as_ref()
            .map(|_| ())
            .map_err(|(error, _)| error.clone());
        self.0.send(outcome).expect("the test listens");
    }
}

/// Compares what was read with what should be, and names the keys that differ.
fn assert_same(
    got: &BTreeMap<Vec<u8>, Vec<u8>>,
    expected: &BTreeMap<Vec<u8>, Vec<u8>>,
    when: &str,
) {
    let differ: Vec<String> = got
        .keys()
        .chain(expected.keys())
        .filter(|key| got.get(*key) != expected.get(*key))
        .map(|key| {
            let (got, expected) = (got.contains_key(key), expected.contains_key(key));
            format!(
                "{} got {got} expected {expected}",
                String::from_utf8_lossy(key)
            )
        })
        .collect();
    assert!(differ.is_empty(), "{when}: {differ:?}");
}

/// What a reader of the whole partition ends with, and how many records it read.
fn view(bootstrap: &str, topic: &str) -> (BTreeMap<Vec<u8>, Vec<u8>>, usize) {
    let (start, end) = watermarks(bootstrap, topic, 0);
    let mut view = BTreeMap::new();
    let mut count = 0;
    let mut last_offset = -1;
    read_partition(bootstrap, topic, 0, start, end, |message| {
        assert!(message.offset() > last_offset, "offsets rise");
        last_offset = message.offset();
        count += 1;
        let key = message.key().expect("a key").to_vec();
        match message.payload() {
            Some(value) => drop(view.insert(key, value.to_vec())),
            None => drop(view.remove(&key)),
        }
    });
    (view, count)
}

/// Produces random changes of `keys` keys; what they add up to is in `expected`.
fn produce(
    bootstrap: &str,
    topic: &str,
    records: u64,
    keys: u64,
    codec: &str,
    random: &mut Random,
    expected: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) {
    let producer: BaseProducer = settings(bootstrap)
        .set("enable.idempotence", "true")
        .set("compression.type", codec)
        // Batches smaller than segments: the active one is never compacted.
        .set("batch.num.messages", "100")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .expect("a producer");
    for index in 0..records {
        let key = format!("key-{}", random.within(0, keys - 1)).into_bytes();
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).key(&key);
        if random.within(0, 4) == 0 {
            expected.remove(&key);
            producer.send(record).expect("queued");
        } else {
            let mut value = format!("{index}/").into_bytes();
            value.extend(random.bytes(200));
            producer.send(record.payload(&value)).expect("queued");
            expected.insert(key, value);
        }
        if index % 100 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(DEADLINE).expect("everything is delivered");
}

#[test]
fn the_last_value_of_each_key_stays() {
    let mut server = Server::start_with("compaction", Listen::PerCore, 2, &CLEANER);
    let bootstrap = server.bootstrap().to_owned();
    let mut random = Random::new(7);
    for codec in ["none", "lz4", "zstd"] {
        let topic = format!("compacted-{codec}");
        create_topic(&bootstrap, &topic, 1, &COMPACTED);
        let mut expected = BTreeMap::new();
        for _ in 0..3 {
            produce(
                &bootstrap,
                &topic,
                4000,
                300,
                codec,
                &mut random,
                &mut expected,
            );
            assert_same(
                &view(&bootstrap, &topic).0,
                &expected,
                "while it is compacted",
            );
        }
        let (_, produced) = watermarks(&bootstrap, &topic, 0);
        wait_until("most of what was replaced is gone", || {
            let (got, count) = view(&bootstrap, &topic);
            assert_same(&got, &expected, "afterwards");
            count < produced as usize / 3
        });
    }
    server.kill_9();
    server.start_again();
    let bootstrap = server.bootstrap().to_owned();
    let topic = "compacted-lz4";
    let (mut expected, _) = view(&bootstrap, topic);
    produce(
        &bootstrap,
        topic,
        4000,
        300,
        "lz4",
        &mut random,
        &mut expected,
    );
    let (_, end) = watermarks(&bootstrap, topic, 0);
    wait_until("compaction goes on after a crash", || {
        let (got, count) = view(&bootstrap, topic);
        assert_same(&got, &expected, "afterwards");
        count < end as usize / 4
    });
}

#[test]
fn a_policy_that_is_changed_takes_effect() {
    let server = Server::start_with("compaction-alter", Listen::Shared, 2, &CLEANER);
    let bootstrap = server.bootstrap();
    create_topic(
        bootstrap,
        "later",
        1,
        &[("internal.segment.bytes", "65536")],
    );
    let mut expected = BTreeMap::new();
    produce(
        bootstrap,
        "later",
        3000,
        50,
        "none",
        &mut Random::new(3),
        &mut expected,
    );
    let (_, end) = watermarks(bootstrap, "later", 0);
    assert_eq!(
        view(bootstrap, "later").1 as i64,
        end,
        "nothing is compacted yet"
    );
    let mut alter = Command::new(env!("CARGO_BIN_EXE_corelane"));
    alter.args(["topic", "alter", "later", "--bootstrap", bootstrap]);
    for (name, value) in COMPACTED {
        alter.arg("--config").arg(format!("{name}={value}"));
    }
    assert!(alter.status().expect("it runs").success());
    wait_until("it is compacted", || {
        let (got, count) = view(bootstrap, "later");
        assert_same(&got, &expected, "afterwards");
        count < end as usize / 3
    });
}

#[test]
fn compacted_topics_refuse_what_kafka_refuses() {
    for listen in [Listen::PerCore, Listen::Shared] {
        let server = Server::start("compaction-refusals", listen);
        let bootstrap = server.bootstrap();
        create_topic(bootstrap, "compact", 4, &[("cleanup.policy", "compact")]);
        create_topic(
            bootstrap,
            "both",
            1,
            &[("cleanup.policy", "compact,delete")],
        );
        let (sender, outcomes) = mpsc::channel();
        let producer: ThreadedProducer<Outcomes> = settings(bootstrap)
            .create_with_context(Outcomes(sender))
            .expect("a producer");
        let outcome = |record: BaseRecord<'_, str, str>| {
            assert!(producer.send(record).is_ok(), "queued");
            outcomes.recv_timeout(DEADLINE).expect("an outcome")
        };
        for topic in ["compact", "both"] {
            let error =
                outcome(BaseRecord::to(topic).partition(0).payload("v")).expect_err("refused");
            assert!(
                matches!(
                    error,
                    KafkaError::MessageProduction(RDKafkaErrorCode::InvalidRecord)
                ),
                "{error:?}"
            );
            for partition in 0..if topic == "compact" { 4 } else { 1 } {
                let record = BaseRecord::to(topic)
                    .partition(partition)
                    .key("k")
                    .payload("v");
                outcome(record).expect("taken");
            }
        }
        for (topic, expected) in [
            ("compact", Err(RDKafkaErrorCode::PolicyViolation)),
            ("both", Ok(())),
        ] {
            let mut places = TopicPartitionList::new();
            places
                .add_partition_offset(topic, 0, Offset::Offset(1))
                .expect("an offset");
            let answer = block_on(admin(bootstrap).delete_records(&places, &AdminOptions::new()))
                .expect("an answer");
            let got = answer.elements()[0].error();
            match expected {
                Ok(()) => got.expect("deleted"),
                Err(code) => assert!(
                    matches!(got, Err(KafkaError::OffsetFetch(got)) if got == code),
                    "{got:?}"
                ),
            }
        }
    }
}
