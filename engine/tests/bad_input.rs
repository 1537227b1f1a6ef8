//! Malformed, truncated, oversized and impossible requests over raw TCP: the exact Kafka error or a closed connection,
//! bounded memory, other connections untouched, nothing lost.

mod support;

use support::{
    batch::Batch,
    seed::Random,
    server::is_kafka,
    subject::Subject,
    wire::{
        API_VERSIONS, Answer, CREATE_TOPICS, FETCH, LIST_OFFSETS, METADATA, PRODUCE, Reader, frame,
        produce_body, put_string, read_produced, request,
    },
};

const MEBIBYTE: u64 = 1024 * 1024;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_REQUIRED_ACKS: i16 = 21;
const UNSUPPORTED_VERSION: i16 = 35;

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
    subject.assert_no_growth(before);
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
        assert_eq!(read_produced(&answer).error_code, expected, "{what}");
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
    subject.assert_no_growth(before);
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
