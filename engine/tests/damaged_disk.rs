//! What clients see of a disk that lies: bytes of stored records change while the server is down.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
    topic_partition_list::{Offset, TopicPartitionList},
};
use serde_json::Value;
use support::{
    admin::{DEADLINE, consumer, create_topic, read_partition, settings, watermarks},
    server::{Listen, Server, is_kafka},
};

const RECORDS: i64 = 60;
const TOPIC: &str = "damaged";

fn value(offset: i64) -> Vec<u8> {
    let mut value = format!("record {offset} ").into_bytes();
    let mut word = offset as u64 + 1;
    while value.len() < 6000 {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        value.push((word >> 56) as u8);
    }
    value
}

/// Notes where each record went.
struct Noting(Arc<Mutex<Vec<(i32, i64)>>>);

impl ClientContext for Noting {}

impl ProducerContext for Noting {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        let message = delivered.as_ref().expect("acknowledged");
        let place = (message.partition(), message.offset());
        self.0.lock().expect("no test failed").push(place);
    }
}

/// Sends the records of `offsets` one after the other, each in a batch of its own, and checks where they went.
fn produce(server: &Server, partition: i32, offsets: std::ops::Range<i64>) {
    let places = Arc::new(Mutex::new(Vec::new()));
    let producer: BaseProducer<Noting> = settings(server.bootstrap())
        .set("enable.idempotence", "true")
        .create_with_context(Noting(Arc::clone(&places)))
        .expect("a producer");
    for offset in offsets.clone() {
        let value = value(offset);
        let record: BaseRecord<'_, (), [u8]> = BaseRecord::to(TOPIC)
            .partition(partition)
            .payload(value.as_slice());
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("queued");
        producer.flush(DEADLINE).expect("sent");
    }
    let expected: Vec<_> = offsets.map(|offset| (partition, offset)).collect();
    assert_eq!(*places.lock().expect("no test failed"), expected);
}

fn directory(server: &Server, partition: i32) -> PathBuf {
    let prefix = format!("{TOPIC}-{partition}.");
    fs::read_dir(server.folder().join("data/logs"))
        .expect("logs")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        })
        .expect("the partition's log")
}

/// Runs `corelane log` with JSON lines as its answer.
fn log(arguments: &[&str], path: &Path) -> (Option<i32>, Vec<Value>) {
    let output = Command::new(env!("CARGO_BIN_EXE_corelane"))
        .arg("log")
        .args(arguments)
        .arg("--json")
        .arg(path)
        .output()
        .expect("the binary runs");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let values = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    (output.status.code(), values)
}

/// File name, start and end offset of each damaged range that `corelane log verify` finds.
fn damaged(server: &Server) -> Vec<(String, i64, i64)> {
    let (code, values) = log(&["verify", "--records"], &server.folder().join("data"));
    let findings: Vec<_> = values
        .iter()
        .filter(|value| value["type"] == "finding" && value["severity"] != "note")
        .collect();
    assert_eq!(code, Some(i32::from(!findings.is_empty())), "{values:?}");
    findings
        .iter()
        .map(|finding| {
            assert_eq!(finding["kind"], "damaged-records", "{finding}");
            range(finding)
        })
        .collect()
}

fn range(value: &Value) -> (String, i64, i64) {
    let path = Path::new(value["path"].as_str().expect("a path"));
    (
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned(),
        value["start_offset"].as_i64().expect("an offset"),
        value["end_offset"].as_i64().expect("an offset"),
    )
}

/// File name, start and end offset, and whether it is on record, of each range that `corelane log quarantine list` knows.
fn listed(server: &Server, arguments: &[&str]) -> Vec<((String, i64, i64), bool)> {
    let all = [&["quarantine", "list"], arguments].concat();
    let (code, values) = log(&all, &server.folder().join("data"));
    assert_eq!(code, Some(0), "{values:?}");
    let ranges = values[0].as_array().expect("a list");
    ranges
        .iter()
        .map(|range_| (range(range_), range_["recorded"] == true))
        .collect()
}

/// Flips a bit in the records of the middle block of a segment; gives what must be found: the file and the block's offsets.
fn damage(segment: &Path) -> (String, i64, i64) {
    let (code, values) = log(&["dump"], segment);
    assert_eq!(code, Some(0));
    let blocks: Vec<_> = values
        .iter()
        .filter(|value| value["type"] == "block")
        .collect();
    assert!(blocks.len() >= 3, "{} blocks", blocks.len());
    let block = blocks[blocks.len() / 2];
    let mut bytes = fs::read(segment).expect("the segment");
    let at = block["position"].as_u64().expect("a position") as usize + 64 + 61 + 1000;
    bytes[at] ^= 0x04;
    fs::write(segment, bytes).expect("written");
    (
        segment
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned(),
        block["first_offset"].as_i64().expect("an offset"),
        block["last_offset"].as_i64().expect("an offset") + 1,
    )
}

/// Reads from `start` until an error, or until `end` was reached; checks every record on the way. Where it stopped, and why.
fn read_until_error(
    consumer: &BaseConsumer,
    start: i64,
    end: i64,
) -> (i64, Option<RDKafkaErrorCode>) {
    let mut next = start;
    let begun = Instant::now();
    while next < end {
        assert!(begun.elapsed() < DEADLINE, "stuck at offset {next}");
        match consumer.poll(Duration::from_secs(1)) {
            None => {}
            Some(Err(KafkaError::MessageConsumption(code))) => return (next, Some(code)),
            Some(Err(error)) => panic!("at offset {next}: {error}"),
            Some(Ok(message)) => {
                assert_eq!(message.offset(), next);
                assert_eq!(message.payload(), Some(value(next).as_slice()));
                next += 1;
            }
        }
    }
    (next, None)
}

/// A client reads everything but the damaged ranges, is told of each, and seeks behind it.
fn a_consumer_gets_around(server: &Server, ranges: &[(String, i64, i64)], end: i64) {
    let mut next = 0;
    for (_, damaged_from, damaged_to) in ranges {
        let consumer = at(server, next);
        let (stopped_at, error) = read_until_error(&consumer, next, end);
        assert_eq!(
            (stopped_at, error),
            (*damaged_from, Some(RDKafkaErrorCode::InvalidMessage))
        );
        // It stays so: nobody is sent behind the damage unasked.
        let (stopped_at, error) = read_until_error(&consumer, *damaged_from, end);
        assert_eq!(
            (stopped_at, error),
            (*damaged_from, Some(RDKafkaErrorCode::InvalidMessage))
        );
        next = *damaged_to;
    }
    let consumer = at(server, next);
    assert_eq!(read_until_error(&consumer, next, end), (end, None));
}

fn at(server: &Server, offset: i64) -> BaseConsumer {
    let consumer = consumer(server.bootstrap());
    let mut places = TopicPartitionList::new();
    places
        .add_partition_offset(TOPIC, 0, Offset::Offset(offset))
        .expect("an offset");
    consumer.assign(&places).expect("an assignment");
    consumer
}

#[test]
fn damage_is_named_and_everything_around_it_is_served() {
    if is_kafka() {
        return;
    }
    let mut server = Server::start_with(
        "damaged-disk",
        Listen::PerCore,
        2,
        &["lane_journal_bytes=0"],
    );
    create_topic(
        server.bootstrap(),
        TOPIC,
        2,
        &[("internal.segment.bytes", "65536")],
    );
    produce(&server, 0, 0..RECORDS);
    produce(&server, 1, 0..5);
    server.stop();
    assert_eq!(damaged(&server), []);
    assert_eq!(listed(&server, &["--scan"]), []);

    let mut segments: Vec<_> = fs::read_dir(directory(&server, 0))
        .expect("the log")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort_unstable();
    assert!(segments.len() >= 4, "{segments:?}");
    let active = segments.last().expect("a segment").clone();
    let expected = [damage(&segments[1]), damage(&active)];
    assert_eq!(damaged(&server), expected);
    let unrecorded: Vec<_> = expected
        .iter()
        .map(|range| (range.clone(), false))
        .collect();
    assert_eq!(listed(&server, &["--scan"]), unrecorded);

    server.start_again();
    a_consumer_gets_around(&server, &expected, RECORDS);
    assert_eq!(watermarks(server.bootstrap(), TOPIC, 0), (0, RECORDS));
    let mut others = 0;
    read_partition(server.bootstrap(), TOPIC, 1, 0, 5, |message| {
        assert_eq!(message.payload(), Some(value(message.offset()).as_slice()));
        others += 1;
    });
    assert_eq!(others, 5);
    produce(&server, 0, RECORDS..RECORDS + 20);
    produce(&server, 1, 5..6);
    a_consumer_gets_around(&server, &expected, RECORDS + 20);

    // After a crash the start itself finds the active segment's damage, and puts it on record.
    server.kill_9();
    server.start_again();
    produce(&server, 0, RECORDS + 20..RECORDS + 30);
    a_consumer_gets_around(&server, &expected, RECORDS + 30);
    server.stop();
    assert_eq!(damaged(&server), expected);
    let all = listed(&server, &["--scan"]);
    assert_eq!(
        all.iter()
            .map(|(range, _)| range.clone())
            .collect::<Vec<_>>(),
        expected
    );
    let on_record = listed(&server, &[]);
    assert!(
        on_record
            .iter()
            .all(|(range, recorded)| *recorded && expected.contains(range)),
        "{on_record:?}"
    );
}
