//! Malformed, truncated, oversized and impossible input over raw TCP: the exact Kafka error or a closed connection,
//! bounded memory, other connections untouched, nothing lost.

mod support;

use support::{
    admin::{create_topic, watermarks},
    batch::Batch,
    seed::Random,
    server::{Listen, Server, is_kafka},
    wire::{
        API_VERSIONS, Answer, CREATE_TOPICS, Connection, FETCH, LIST_OFFSETS, METADATA, PRODUCE,
        Produced, Reader, frame, produce_body, put_string, request,
    },
};

const MEBIBYTE: u64 = 1024 * 1024;
/// What a server may grow by under hostile input. A JVM's heap grows as it likes within its own bound.
const GROWTH_MAX_BYTES: u64 = 64 * MEBIBYTE;

const CORRUPT_MESSAGE: i16 = 2;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_REQUIRED_ACKS: i16 = 21;
const INVALID_TIMESTAMP: i16 = 32;
const UNSUPPORTED_VERSION: i16 = 35;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_RECORD: i16 = 87;

/// A server with a topic, a connection that behaves, and the records that this connection stored.
struct Subject {
    server: Server,
    good: Connection,
    stored: i64,
}

impl Subject {
    fn start(name: &str) -> Self {
        let server = Server::start(name, Listen::PerCore);
        create_topic(server.bootstrap(), "good", 1, &[]);
        create_topic(server.bootstrap(), "bad", 1, &[]);
        let good = Connection::open(server.address());
        let mut subject = Self {
            server,
            good,
            stored: 0,
        };
        subject.assert_serves("at the start");
        subject
    }

    fn open(&self) -> Connection {
        Connection::open(self.server.address())
    }

    /// The connection that behaves is served as ever.
    fn assert_serves(&mut self, when: &str) {
        self.server.assert_alive();
        let batch = Batch::of(&[format!("good record {}", self.stored).as_bytes()]).encode();
        let produced = self.good.produce("good", 0, &batch);
        assert_eq!(
            produced,
            Produced {
                error_code: 0,
                base_offset: self.stored
            },
            "{when}"
        );
        let (error_code, high_watermark, records) = self.good.fetch("good", 0, self.stored);
        assert_eq!((error_code, high_watermark), (0, self.stored + 1), "{when}");
        assert_eq!(records[16..], batch[16..], "{when}: the record read back");
        self.stored += 1;
    }

    /// Nothing of what was refused is stored, and all of what was acknowledged, also after a crash.
    fn finish(mut self, bad_stored: i64) {
        self.assert_serves("at the end");
        assert_eq!(
            watermarks(self.server.bootstrap(), "bad", 0),
            (0, bad_stored),
            "what came of bad input"
        );
        self.server.kill_9();
        self.server.start_again();
        assert_eq!(
            watermarks(self.server.bootstrap(), "good", 0),
            (0, self.stored),
            "good records after a crash"
        );
        assert_eq!(
            watermarks(self.server.bootstrap(), "bad", 0),
            (0, bad_stored),
            "bad records after a crash"
        );
    }
}

#[test]
fn impossible_frames_close_their_connection_only() {
    let mut subject = Subject::start("bad-frames");
    let array_of = |count: i32| count.to_be_bytes().to_vec();
    let mut long_string = 1_i32.to_be_bytes().to_vec();
    long_string.extend(i16::MAX.to_be_bytes());
    let mut random = Random::from_environment("CORELANE_BAD_INPUT_SEED");
    let mut cases: Vec<(String, Vec<u8>)> = [
        ("a negative length", (-1_i32).to_be_bytes().to_vec()),
        ("the most negative length", i32::MIN.to_be_bytes().to_vec()),
        ("a length of 2 GiB", i32::MAX.to_be_bytes().to_vec()),
        (
            "a length just above the limit",
            (100 * MEBIBYTE as i32 + 1).to_be_bytes().to_vec(),
        ),
        ("no request in the frame", frame(&[])),
        ("half a header", frame(&[0, 3, 0])),
        (
            "a header without a client id",
            frame(&[0, 3, 0, 1, 0, 0, 0, 7]),
        ),
        (
            "a client id longer than the frame",
            frame(&[0, 3, 0, 1, 0, 0, 0, 7, 0x7f, 0xff]),
        ),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        ("an unknown API", frame(&request(999, 0, 7, &[]))),
        ("a negative API", frame(&request(-5, 0, 7, &[]))),
        ("an API between brokers", frame(&request(4, 7, 7, &[]))),
        (
            "Metadata in a future version",
            frame(&request(METADATA, 99, 7, &array_of(0))),
        ),
        (
            "Metadata in a negative version",
            frame(&request(METADATA, -1, 7, &array_of(0))),
        ),
        (
            "Fetch in a version of the past",
            frame(&request(FETCH, 3, 7, &array_of(0))),
        ),
        (
            "Metadata of 2 billion topics",
            frame(&request(METADATA, 1, 7, &array_of(i32::MAX))),
        ),
        (
            "a name longer than the frame",
            frame(&request(METADATA, 1, 7, &long_string)),
        ),
        (
            "ListOffsets cut short",
            frame(&request(LIST_OFFSETS, 1, 7, &[0xff; 4])),
        ),
        ("Fetch cut short", frame(&request(FETCH, 4, 7, &[0; 9]))),
        (
            "CreateTopics of 2 billion topics",
            frame(&request(CREATE_TOPICS, 2, 7, &array_of(i32::MAX))),
        ),
        ("an empty Produce", frame(&request(PRODUCE, 3, 7, &[]))),
    ]
    .map(|(what, bytes)| (what.to_owned(), bytes))
    .into();
    // A good Produce with its counts and lengths made impossible, one after the other.
    let produce = produce_body("bad", 0, -1, &Batch::of(&[b"value"]).encode());
    for (what, at) in [("topics", 8), ("partitions", 17), ("bytes of records", 25)] {
        for (size, count) in [("2 billion", i32::MAX), ("300 million", 300 << 20)] {
            let mut body = produce.clone();
            body[at..at + 4].copy_from_slice(&count.to_be_bytes());
            cases.push((
                format!("Produce of {size} {what}"),
                frame(&request(PRODUCE, 3, 7, &body)),
            ));
        }
    }
    for length in [produce.len() / 3, produce.len() - 20] {
        cases.push((
            format!("Produce cut at {length}"),
            frame(&request(PRODUCE, 3, 7, &produce[..length])),
        ));
    }
    // A count below none would be an absent list to Metadata, which asks for everything.
    for api_key in [PRODUCE, FETCH, LIST_OFFSETS, CREATE_TOPICS] {
        let noise: Vec<u8> = random
            .bytes(300)
            .into_iter()
            .map(|byte| byte | 0x80)
            .collect();
        cases.push((
            format!("noise to API {api_key}"),
            frame(&request(api_key, 4, 7, &noise)),
        ));
    }
    let before = subject.server.resident_bytes();
    let mut wrong = Vec::new();
    for (what, bytes) in cases {
        let mut connection = subject.open();
        connection.send_raw(&bytes);
        if let Answer::Body(body) = connection.receive(7) {
            wrong.push(format!("{what}: answered with {body:02x?}"));
        }
        subject.assert_serves(&what);
    }
    assert!(
        wrong.is_empty(),
        "these should close the connection: {wrong:#?}"
    );
    assert_growth(&subject, before);
    subject.finish(0);
}

fn assert_growth(subject: &Subject, before: u64) {
    let growth = subject.server.resident_bytes().saturating_sub(before);
    assert!(
        is_kafka() || growth < GROWTH_MAX_BYTES,
        "memory grew by {growth} bytes"
    );
}

#[test]
fn bad_batches_get_kafkas_own_errors() {
    let mut subject = Subject::start("bad-batches");
    let good = || Batch::of(&[b"one", b"two", b"three"]);
    let encoded = good().encode();
    let far_future = 4_000_000_000_000;
    let cases: Vec<(&str, Vec<u8>, i16)> = vec![
        (
            "a wrong checksum",
            Batch {
                crc_error: 1,
                ..good()
            }
            .encode(),
            CORRUPT_MESSAGE,
        ),
        (
            "a flipped bit in the records",
            flipped(&encoded, encoded.len() - 3),
            CORRUPT_MESSAGE,
        ),
        (
            "a flipped bit in the header",
            flipped(&encoded, 40),
            CORRUPT_MESSAGE,
        ),
        (
            "magic 0",
            Batch { magic: 0, ..good() }.encode(),
            INVALID_RECORD,
        ),
        (
            "magic 1",
            Batch { magic: 1, ..good() }.encode(),
            INVALID_RECORD,
        ),
        (
            "magic 3",
            Batch { magic: 3, ..good() }.encode(),
            CORRUPT_MESSAGE,
        ),
        (
            "a negative magic",
            Batch {
                magic: -1,
                ..good()
            }
            .encode(),
            CORRUPT_MESSAGE,
        ),
        (
            "a length beyond the records",
            Batch {
                length_error: 10,
                ..good()
            }
            .encode(),
            INVALID_RECORD,
        ),
        (
            "a length short of the records",
            Batch {
                length_error: -5,
                ..good()
            }
            .encode(),
            CORRUPT_MESSAGE,
        ),
        (
            "a length of nothing",
            Batch {
                length_error: -80,
                ..good()
            }
            .encode(),
            CORRUPT_MESSAGE,
        ),
        (
            "half a batch",
            encoded[..encoded.len() / 2].to_vec(),
            INVALID_RECORD,
        ),
        ("half a header", encoded[..30].to_vec(), INVALID_RECORD),
        ("no bytes", Vec::new(), INVALID_RECORD),
        (
            "two batches",
            [encoded.clone(), encoded.clone()].concat(),
            INVALID_RECORD,
        ),
        (
            "more records than are there",
            Batch {
                records_count: Some(4),
                ..good()
            }
            .encode(),
            INVALID_RECORD,
        ),
        (
            "fewer records than are there",
            Batch {
                records_count: Some(2),
                ..good()
            }
            .encode(),
            INVALID_RECORD,
        ),
        (
            "2 billion records",
            Batch {
                records_count: Some(i32::MAX),
                ..good()
            }
            .encode(),
            INVALID_RECORD,
        ),
        (
            "2 billion records, and the last offset says so too",
            Batch {
                records_count: Some(i32::MAX),
                last_offset_delta: Some(i32::MAX - 1),
                ..good()
            }
            .encode(),
            INVALID_RECORD,
        ),
        (
            "a negative number of records",
            Batch {
                records_count: Some(-1),
                ..good()
            }
            .encode(),
            INVALID_RECORD,
        ),
        (
            "no records",
            Batch {
                values: vec![],
                ..good()
            }
            .encode(),
            INVALID_RECORD,
        ),
        (
            "a last offset that skips",
            Batch {
                last_offset_delta: Some(7),
                ..good()
            }
            .encode(),
            INVALID_RECORD,
        ),
        (
            "a control batch",
            Batch {
                attributes: 0x20,
                ..good()
            }
            .encode(),
            INVALID_RECORD,
        ),
        (
            "a time far in the future",
            Batch {
                base_timestamp_ms: far_future,
                max_timestamp_ms: far_future,
                ..good()
            }
            .encode(),
            INVALID_TIMESTAMP,
        ),
        (
            "more than max.message.bytes",
            Batch::of(&[&vec![b'x'; 1_048_588]]).encode(),
            MESSAGE_TOO_LARGE,
        ),
        (
            "a sequence that does not begin",
            good().by_producer(700_000, 0, 5).encode(),
            0,
        ),
        (
            "a sequence that skips",
            good().by_producer(700_000, 0, 11).encode(),
            OUT_OF_ORDER_SEQUENCE_NUMBER,
        ),
    ];
    let before = subject.server.resident_bytes();
    let mut offender = subject.open();
    let (mut stored, mut wrong) = (0, Vec::new());
    for (what, records, expected) in cases {
        let produced = offender.produce("bad", 0, &records);
        let expected = Produced {
            error_code: expected,
            base_offset: if expected == 0 { stored } else { -1 },
        };
        if produced != expected {
            wrong.push(format!("{what}: got {produced:?}, expected {expected:?}"));
        }
        stored += if produced.error_code == 0 { 3 } else { 0 };
        subject.assert_serves(what);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_growth(&subject, before);
    subject.finish(stored);
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

#[test]
fn an_unknown_compression_is_refused() {
    let mut subject = Subject::start("bad-compression");
    for codec in [5, 6, 7] {
        let batch = Batch {
            attributes: codec,
            ..Batch::of(&[b"one"])
        }
        .encode();
        match subject
            .open()
            .ask(PRODUCE, 3, &produce_body("bad", 0, -1, &batch))
        {
            // Kafka meets it as a failure of its own: UNKNOWN_SERVER_ERROR, after which producers give up.
            Answer::Body(body) => {
                let error_code = support::wire::read_produced(&body).error_code;
                assert!(
                    [-1, CORRUPT_MESSAGE, INVALID_RECORD].contains(&error_code),
                    "codec {codec}: {error_code}"
                );
            }
            Answer::Closed => {}
        }
        subject.assert_serves(&format!("codec {codec}"));
    }
    subject.finish(0);
}

#[test]
fn impossible_requests_get_kafkas_own_errors() {
    let mut subject = Subject::start("bad-requests");
    let batch = Batch::of(&[b"value"]).encode();
    let mut connection = subject.open();
    for (what, topic, partition, acks, expected) in [
        (
            "a partition that is not there",
            "bad",
            1,
            -1,
            UNKNOWN_TOPIC_OR_PARTITION,
        ),
        (
            "a negative partition",
            "bad",
            -1,
            -1,
            UNKNOWN_TOPIC_OR_PARTITION,
        ),
        (
            "a topic that is not there",
            "no-such-topic",
            0,
            1,
            UNKNOWN_TOPIC_OR_PARTITION,
        ),
        ("acks=2", "bad", 0, 2, INVALID_REQUIRED_ACKS),
        ("acks=-2", "bad", 0, -2, INVALID_REQUIRED_ACKS),
    ] {
        let answer = connection
            .ask(PRODUCE, 3, &produce_body(topic, partition, acks, &batch))
            .body();
        assert_eq!(
            support::wire::read_produced(&answer).error_code,
            expected,
            "{what}"
        );
    }
    for (what, topic, partition, offset, expected) in [
        ("an offset beyond the end", "bad", 0, 1, 1),
        ("a negative offset", "bad", 0, -5, 1),
        (
            "a partition that is not there",
            "bad",
            9,
            0,
            UNKNOWN_TOPIC_OR_PARTITION,
        ),
        (
            "a topic that is not there",
            "no-such-topic",
            0,
            0,
            UNKNOWN_TOPIC_OR_PARTITION,
        ),
    ] {
        assert_eq!(
            connection.fetch(topic, partition, offset).0,
            expected,
            "Fetch of {what}"
        );
    }
    assert_eq!(
        connection.list_offset("bad", 9, -1).0,
        UNKNOWN_TOPIC_OR_PARTITION,
        "ListOffsets of no partition"
    );
    subject.assert_serves("after refusals");
    subject.finish(0);
}

/// A client that is newer than the server asks in a version that only the client knows; the answer tells it which to use.
#[test]
fn api_versions_of_the_future_is_answered_in_version_0() {
    let subject = Subject::start("bad-api-versions");
    let mut connection = subject.open();
    let answer = connection.ask(API_VERSIONS, 77, &[0]).body();
    let mut reader = Reader(&answer);
    assert_eq!(reader.i16(), UNSUPPORTED_VERSION);
    assert_eq!(reader.i32(), 1, "only one API is told of");
    assert_eq!(
        (reader.i16(), reader.i16(), reader.i16()),
        (API_VERSIONS, 0, 4),
        "and its versions"
    );
    assert!(reader.0.is_empty(), "nothing follows: {:?}", reader.0);
    let answer = connection.ask(API_VERSIONS, 0, &[]).body();
    assert_eq!(
        Reader(&answer).i16(),
        0,
        "the same connection in a known version"
    );
    subject.finish(0);
}

/// Two hundred peers announce frames of nearly 100 MiB and send a little of each: memory follows what was sent.
#[test]
fn announced_bytes_cost_no_memory_before_they_come() {
    if is_kafka() {
        // It takes the memory at once, and comes to its end.
        return;
    }
    let mut subject = Subject::start("bad-announced");
    let before = subject.server.resident_bytes();
    let announced = (100 * MEBIBYTE as i32 - 1).to_be_bytes();
    let start = request(PRODUCE, 3, 7, &produce_body("bad", 0, -1, &vec![0; 40_000]));
    let mut peers: Vec<_> = (0..200).map(|_| subject.open()).collect();
    for peer in &mut peers {
        peer.send_raw(&announced);
        peer.send_raw(&start);
    }
    subject.assert_serves("with 200 unfinished frames");
    assert_growth(&subject, before);
    drop(peers);
    subject.assert_serves("after 200 unfinished frames");
    subject.finish(0);
}

#[test]
fn a_connection_that_ends_in_the_middle_of_a_frame_leaves_nothing() {
    let subject = Subject::start("bad-cut");
    let batch = Batch::of(&[b"value"]).encode();
    let bytes = frame(&request(PRODUCE, 3, 7, &produce_body("bad", 0, -1, &batch)));
    for length in [1, 3, 4, 5, 12, 40, bytes.len() / 2, bytes.len() - 1] {
        let mut connection = subject.open();
        connection.send_raw(&bytes[..length]);
        connection.finish_sending();
        assert_eq!(
            connection.receive(7),
            Answer::Closed,
            "cut at {length} of {}",
            bytes.len()
        );
    }
    subject.finish(0);
}

/// A frame that comes byte by byte is a frame like any other.
#[test]
fn a_frame_may_come_in_any_pieces() {
    let subject = Subject::start("bad-pieces");
    let mut body = 1_i32.to_be_bytes().to_vec();
    put_string("bad", &mut body);
    let bytes = frame(&request(METADATA, 1, 7, &body));
    for piece in [1, 2, 3, 7, bytes.len()] {
        let mut connection = subject.open();
        for part in bytes.chunks(piece) {
            connection.send_raw(part);
        }
        assert!(
            matches!(connection.receive(7), Answer::Body(_)),
            "in pieces of {piece}"
        );
    }
    // Many requests in one piece are answered in their order.
    let mut connection = subject.open();
    let together: Vec<u8> = (100..150)
        .flat_map(|id| frame(&request(METADATA, 1, id, &body)))
        .collect();
    connection.send_raw(&together);
    for id in 100..150 {
        assert!(
            matches!(connection.receive(id), Answer::Body(_)),
            "request {id} of many"
        );
    }
    subject.finish(0);
}
