//! The native protocol against a real server: batches in and out, subscriptions, credit, both protocols on one topic, and
//! clients that break the rules.

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use corelane_format::{
    ids::{ProducerEpoch, ProducerId, Sequence, TimestampMs},
    kafka::BatchLimits,
    native::{NativeBatch, NativeBatchBuilder, SplitNative, split_first_native},
};
use corelane_net::{
    client::native::{NativeClientError, NativeStream, read_answer},
    error_code::ErrorCode,
    native::{
        Frame, MESSAGE_VERSION, Message, NativeFrameLimits, NativeFrameReader, PREFACE,
        frame::append_frame,
        message::{
            Credit, Fetch, FetchAnswer, Goodbye, Hello, InitProducer, InitProducerAnswer,
            ListOffsets, ListOffsetsAnswer, Metadata, MetadataAnswer, Produce, ProduceAnswer, Push,
            Subscribe, SubscribeAnswer, SubscriptionEnd, Topic, Unsubscribe,
        },
    },
};
use rdkafka::{
    Message as _,
    message::{Header, Headers, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use support::{
    admin::{create_topic, read_partition, settings},
    server::{Listen, Server},
};

const VERSION: u8 = MESSAGE_VERSION;
/// Only ends a test that would hang.
const DEADLINE: Duration = Duration::from_mins(1);

/// A record as both protocols have it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn addresses(server: &Server) -> Vec<String> {
    server.bootstrap().split(',').map(str::to_owned).collect()
}

fn connect(address: &str) -> NativeStream {
    let stream = NativeStream::connect(address, "test").expect("a native connection");
    stream
        .set_receive_timeout(Some(DEADLINE))
        .expect("a timeout");
    stream
}

fn topic(stream: &mut NativeStream, name: &str) -> Topic {
    let asked = Metadata {
        version: VERSION,
        topics: vec![name.to_owned()],
    };
    let mut answer: MetadataAnswer = stream.call(&asked).expect("metadata");
    assert!(!answer.nodes.is_empty());
    answer.topics.remove(0)
}

fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = NativeBatchBuilder::new();
    for (at, value) in (0..).zip(values) {
        builder
            .append(
                TimestampMs::new(1_700_000_000_000 + at),
                None,
                Some(value.as_bytes()),
                &[],
            )
            .expect("it fits");
    }
    builder.finish().expect("a batch").to_vec()
}

fn produce(topic: &Topic, partition: i32) -> Produce {
    Produce {
        version: VERSION,
        topic: topic.id,
        partition,
        acks: -1,
    }
}

/// Sends one batch and waits for its answer.
fn produce_one(
    stream: &mut NativeStream,
    topic: &Topic,
    partition: i32,
    batch: &[u8],
) -> ProduceAnswer {
    stream
        .send(&produce(topic, partition), batch)
        .expect("sent");
    stream.flush().expect("sent");
    read_answer(&stream.receive().expect("an answer")).expect("an answer to a produce")
}

/// The records of a frame's batches, read in place.
fn records(frame: &Frame<'_>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut rest = frame.payload;
    while !rest.is_empty() {
        let SplitNative::Whole {
            batch,
            rest: behind,
            ..
        } = split_first_native(rest).expect("a batch")
        else {
            panic!("part of a batch");
        };
        rest = behind;
        let batch = NativeBatch::open(batch, &BatchLimits::NONE).expect("a sound, aligned batch");
        for record in batch.records() {
            let record = record.expect("a sound record");
            let headers = record
                .headers
                .iter()
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)));
            seen.push(Seen {
                offset: batch.header().base_offset.get() + i64::from(record.offset_delta),
                timestamp_ms: record.timestamp.get(),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers.collect(),
            });
        }
    }
    seen
}

fn fetch_all(stream: &mut NativeStream, topic: &Topic, partition: i32) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut offset = 0;
    loop {
        let asked = Fetch {
            version: VERSION,
            topic: topic.id,
            partition,
            offset,
            bytes_max: 1 << 20,
            wait_ms_max: 0,
        };
        stream.send(&asked, &[]).expect("sent");
        stream.flush().expect("sent");
        let frame = stream.receive().expect("an answer");
        let answer: FetchAnswer = read_answer(&frame).expect("an answer to a fetch");
        assert_eq!(answer.error, 0);
        seen.extend(records(&frame));
        offset = answer.next_offset;
        if offset >= answer.high_watermark {
            return seen;
        }
    }
}

fn subscribe(
    stream: &mut NativeStream,
    topic: &Topic,
    partition: i32,
    start: i64,
    by_timestamp: bool,
    credit: u64,
) {
    let asked = Subscribe {
        version: VERSION,
        subscription: partition as u32,
        topic: topic.id,
        partition,
        start,
        by_timestamp,
        credit_bytes: credit,
    };
    stream.send(&asked, &[]).expect("sent");
    stream.flush().expect("sent");
}

fn values(seen: &[Seen]) -> Vec<String> {
    let text =
        |seen: &Seen| String::from_utf8(seen.value.clone().unwrap_or_default()).expect("text");
    seen.iter().map(text).collect()
}

#[test]
fn pipelined_batches_come_back_and_a_wrong_node_forwards() {
    let server = Server::start("native-round-trip", Listen::PerCore);
    create_topic(server.bootstrap(), "feed", 4, &[]);
    let mut stream = connect(&addresses(&server)[0]);
    let feed = topic(&mut stream, "feed");
    assert_eq!((feed.error, feed.owners.len()), (0, 4));
    let mut expected = vec![Vec::new(); 4];
    for round in 0..50 {
        for partition in 0..4 {
            let texts = [
                format!("{partition}-{round}-a"),
                format!("{partition}-{round}-b"),
            ];
            let batch = batch(&[&texts[0], &texts[1]]);
            stream
                .send(&produce(&feed, partition), &batch)
                .expect("sent");
            expected[partition as usize].extend(texts);
        }
        if round % 16 == 15 || round == 49 {
            stream.flush().expect("sent");
        }
    }
    for number in 0..200_i64 {
        let frame = stream.receive().expect("an answer");
        let answer: ProduceAnswer = read_answer(&frame).expect("an answer to a produce");
        let partition = number % 4;
        assert_eq!(answer.error, 0);
        assert_eq!(answer.base_offset, number / 4 * 2, "in order");
        assert_eq!(
            answer.node, feed.owners[partition as usize],
            "the owner is named"
        );
    }
    for address in addresses(&server) {
        let mut other = connect(&address);
        for partition in 0..4 {
            let seen = fetch_all(&mut other, &feed, partition);
            assert_eq!(values(&seen), expected[partition as usize]);
            assert!(seen.iter().map(|seen| seen.offset).eq(0..100));
            let asked = |timestamp_ms| ListOffsets {
                version: VERSION,
                topic: feed.id,
                partition,
                timestamp_ms,
            };
            let end: ListOffsetsAnswer = other.call(&asked(-1)).expect("the end");
            let second: ListOffsetsAnswer = other.call(&asked(1_700_000_000_001)).expect("by time");
            assert_eq!((end.offset, second.offset), (100, 1));
        }
    }
}

#[test]
fn replay_turns_into_live_without_a_gap() {
    let server = Server::start("native-subscribe", Listen::PerCore);
    create_topic(server.bootstrap(), "feed", 2, &[]);
    let mut writer = connect(&addresses(&server)[0]);
    let feed = topic(&mut writer, "feed");
    let total = 400;
    let write = |writer: &mut NativeStream, range: std::ops::Range<i32>| {
        for number in range {
            for partition in 0..2 {
                let answer = produce_one(writer, &feed, partition, &batch(&[&number.to_string()]));
                assert_eq!(answer.error, 0);
            }
        }
    };
    write(&mut writer, 0..total / 2);
    let mut reader = connect(&addresses(&server)[0]);
    for partition in 0..2 {
        subscribe(&mut reader, &feed, partition, -2, true, 1 << 30);
    }
    let writing = std::thread::scope(|scope| {
        let writing = scope.spawn(|| write(&mut writer, total / 2..total));
        let mut next = [0, 0];
        while next != [total, total] {
            let frame = reader.receive().expect("a push");
            if frame.header.kind == SubscribeAnswer::KIND {
                let answer: SubscribeAnswer = read_answer(&frame).expect("an answer");
                assert_eq!((answer.error, answer.start_offset), (0, 0));
                continue;
            }
            let push: Push = read_answer(&frame).expect("a push");
            let next = &mut next[push.subscription as usize];
            for seen in records(&frame) {
                assert_eq!(seen.offset, i64::from(*next));
                assert_eq!(seen.value, Some(next.to_string().into_bytes()));
                *next += 1;
            }
            assert_eq!(push.next_offset, i64::from(*next));
        }
        writing.join()
    });
    writing.expect("the writer got on");
    let unsubscribe = Unsubscribe {
        version: VERSION,
        subscription: 1,
    };
    reader.send(&unsubscribe, &[]).expect("sent");
    reader.flush().expect("sent");
    let end: SubscriptionEnd = read_answer(&reader.receive().expect("the end")).expect("the end");
    assert_eq!((end.error, end.next_offset), (0, i64::from(total)));
}

#[test]
fn without_credit_nothing_is_pushed() {
    let server = Server::start("native-credit", Listen::PerCore);
    create_topic(server.bootstrap(), "feed", 1, &[]);
    let mut writer = connect(&addresses(&server)[0]);
    let feed = topic(&mut writer, "feed");
    let mut reader = connect(&addresses(&server)[0]);
    subscribe(&mut reader, &feed, 0, 0, false, 1);
    for number in 0..20 {
        produce_one(&mut writer, &feed, 0, &batch(&[&number.to_string()]));
    }
    let mut frames = Vec::new();
    // The credit of one byte is worth one batch; each further byte beyond its debt another.
    for grants in 0..5 {
        // The answer to a question that was asked after every push that may come.
        for _ in 0..3 {
            topic(&mut writer, "feed");
        }
        let asked = ListOffsets {
            version: VERSION,
            topic: feed.id,
            partition: 0,
            timestamp_ms: -1,
        };
        reader.send(&asked, &[]).expect("sent");
        reader.flush().expect("sent");
        let mut debt = 0;
        let mut is_answered = false;
        // A push that was granted may overtake the answer or follow it.
        while !is_answered || frames.len() <= grants {
            let frame = reader.receive().expect("a frame");
            match frame.header.kind {
                Push::KIND => {
                    frames.push(values(&records(&frame)));
                    debt = frame.payload.len() as u64;
                }
                ListOffsetsAnswer::KIND => is_answered = true,
                kind => assert_eq!(kind, SubscribeAnswer::KIND),
            }
        }
        assert_eq!(
            frames.len(),
            grants + 1,
            "one push for each grant: {frames:?}"
        );
        let credit = Credit {
            version: VERSION,
            subscription: 0,
            bytes: debt,
        };
        reader.send(&credit, &[]).expect("sent");
    }
    let expected: Vec<_> = (0..5).map(|number: i32| vec![number.to_string()]).collect();
    assert_eq!(frames, expected);
}

#[test]
fn each_protocol_reads_what_the_other_wrote() {
    let server = Server::start("native-cross", Listen::PerCore);
    for (name, config) in [
        ("plain", &[][..]),
        ("compact", &[("cleanup.policy", "compact")]),
    ] {
        create_topic(server.bootstrap(), name, 1, config);
        let mut stream = connect(&addresses(&server)[0]);
        let topic = topic(&mut stream, name);
        let mut builder = NativeBatchBuilder::new();
        builder
            .append(
                TimestampMs::new(1_700_000_000_000),
                Some(b"k"),
                None,
                &[(b"h", Some(b"1")), (b"h", None), (b"h", Some(b"1"))],
            )
            .and_then(|()| {
                builder.append(
                    TimestampMs::new(1_700_000_000_005),
                    Some(b""),
                    Some(b""),
                    &[],
                )
            })
            .expect("it fits");
        let native = builder.finish().expect("a batch").to_vec();
        assert_eq!(produce_one(&mut stream, &topic, 0, &native).error, 0);
        for codec in ["none", "gzip", "lz4", "snappy", "zstd"] {
            let producer: BaseProducer = settings(server.bootstrap())
                .set("compression.type", codec)
                .set("enable.idempotence", "true")
                .create()
                .expect("a producer");
            let headers = OwnedHeaders::new()
                .insert(Header {
                    key: "twice",
                    value: Some("x"),
                })
                .insert(Header::<&str> {
                    key: "twice",
                    value: None,
                });
            producer
                .send(
                    BaseRecord::<str, [u8]>::to(name)
                        .partition(0)
                        .key("key")
                        .payload(codec.repeat(50).as_bytes())
                        .timestamp(1_700_000_000_100)
                        .headers(headers),
                )
                .map_err(|(error, _)| error)
                .expect("queued");
            producer.flush(DEADLINE).expect("delivered");
        }
        let native = fetch_all(&mut stream, &topic, 0);
        let mut kafka = Vec::new();
        read_partition(server.bootstrap(), name, 0, 0, 7, |message| {
            let headers = message.headers().map_or_else(Vec::new, |headers| {
                headers
                    .iter()
                    .map(|one| (one.key.as_bytes().to_vec(), one.value.map(<[u8]>::to_vec)))
                    .collect()
            });
            kafka.push(Seen {
                offset: message.offset(),
                timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers,
            });
        });
        assert_eq!(native.len(), 7);
        assert_eq!(native, kafka);
        assert_eq!(native[0].headers.len(), 3);
        assert_eq!(native[0].value, None);
    }
}

#[test]
fn a_batch_that_is_sent_again_is_not_appended_again() {
    let server = Server::start("native-idempotent", Listen::Shared);
    create_topic(server.bootstrap(), "feed", 1, &[]);
    let mut stream = connect(&addresses(&server)[0]);
    let feed = topic(&mut stream, "feed");
    let given: InitProducerAnswer = stream
        .call(&InitProducer { version: VERSION })
        .expect("an id");
    assert_eq!(given.error, 0);
    let numbered = |sequence: i32| {
        let mut builder = NativeBatchBuilder::new();
        builder.producer(
            ProducerId::new(given.producer_id),
            ProducerEpoch::new(given.producer_epoch),
            Sequence::new(sequence),
        );
        builder
            .append(TimestampMs::new(1_700_000_000_000), None, Some(b"x"), &[])
            .expect("it fits");
        builder.finish().expect("a batch").to_vec()
    };
    let mut offsets = Vec::new();
    for sequence in [0, 1, 1, 0, 2] {
        let answer = produce_one(&mut stream, &feed, 0, &numbered(sequence));
        offsets.push((answer.error, answer.base_offset));
    }
    assert_eq!(offsets, [(0, 0), (0, 1), (0, 1), (0, 0), (0, 2)]);
    let gap = produce_one(&mut stream, &feed, 0, &numbered(7));
    assert_eq!(gap.error, ErrorCode::OutOfOrderSequenceNumber.code());
    assert_eq!(fetch_all(&mut stream, &feed, 0).len(), 3);
}

#[test]
fn refusals_have_kafkas_codes() {
    let server = Server::start("native-refusals", Listen::PerCore);
    create_topic(
        server.bootstrap(),
        "feed",
        1,
        &[("max.message.bytes", "1000")],
    );
    let mut stream = connect(&addresses(&server)[0]);
    let feed = topic(&mut stream, "feed");
    let nothing = Topic {
        id: [9; 16],
        ..feed.clone()
    };
    let sound = batch(&["x"]);
    let mut damaged = sound.clone();
    damaged[100] ^= 1;
    let two = [sound.clone(), sound.clone()].concat();
    let large = batch(&[&"x".repeat(2_000)]);
    for (what, topic, partition, payload, expected) in [
        (
            "an unknown topic",
            &nothing,
            0,
            &sound,
            ErrorCode::UnknownTopicId,
        ),
        (
            "an unknown partition",
            &feed,
            1,
            &sound,
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            "a negative partition",
            &feed,
            -1,
            &sound,
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            "a flipped bit",
            &feed,
            0,
            &damaged,
            ErrorCode::CorruptMessage,
        ),
        ("two batches", &feed, 0, &two, ErrorCode::InvalidRecord),
        ("too much", &feed, 0, &large, ErrorCode::MessageTooLarge),
        ("nothing", &feed, 0, &Vec::new(), ErrorCode::CorruptMessage),
        ("a sound batch", &feed, 0, &sound, ErrorCode::None),
    ] {
        let answer = produce_one(&mut stream, topic, partition, payload);
        assert_eq!(answer.error, expected.code(), "{what}");
    }
    assert_eq!(
        topic_error(&mut stream, "nowhere"),
        ErrorCode::UnknownTopicOrPartition.code()
    );
    assert_eq!(
        topic_error(&mut stream, "no/name"),
        ErrorCode::InvalidTopicException.code()
    );
    subscribe(&mut stream, &feed, 0, 77, false, 1);
    let refused: SubscribeAnswer =
        read_answer(&stream.receive().expect("an answer")).expect("an answer");
    assert_eq!(refused.error, ErrorCode::OffsetOutOfRange.code());
    // The number is free again.
    subscribe(&mut stream, &feed, 0, 0, false, 1 << 20);
    let taken: SubscribeAnswer =
        read_answer(&stream.receive().expect("an answer")).expect("an answer");
    assert_eq!(taken.error, 0);
}

fn topic_error(stream: &mut NativeStream, name: &str) -> i16 {
    topic(stream, name).error
}

/// What a server says to these bytes until it closes the connection.
fn last_words(address: &str, bytes: &[u8]) -> Option<Goodbye> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all(bytes).expect("sent");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the server closes cleanly");
    let mut reader = NativeFrameReader::new(NativeFrameLimits::default());
    reader.feed(&answer);
    let mut last = None;
    while let Ok(Some(frame)) = reader.next_frame() {
        if frame.header.kind == Goodbye::KIND {
            last = Some(Goodbye::read(frame.archive).expect("sound"));
        }
    }
    assert_eq!(reader.held_bytes(), 0, "whole frames only");
    last
}

#[test]
fn who_breaks_the_rules_hears_why_and_nobody_else_does() {
    let server = Server::start("native-bad-frames", Listen::PerCore);
    create_topic(server.bootstrap(), "feed", 1, &[]);
    let address = &addresses(&server)[0];
    let mut good = connect(address);
    let feed = topic(&mut good, "feed");
    let hello = |min, max, mechanism: &str| {
        let mut bytes = PREFACE.to_vec();
        let hello = Hello {
            version: VERSION,
            protocol_min: min,
            protocol_max: max,
            client_id: "bad".into(),
            mechanism: mechanism.into(),
            credentials: Vec::new(),
        };
        append_frame(&mut bytes, 1, &hello, &[]);
        bytes
    };
    let after = |message: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = hello(1, 1, "");
        message(&mut bytes);
        bytes
    };
    let raw = |archive_bytes: u32, payload_bytes: u32, kind: u8, last: u8| {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&archive_bytes.to_le_bytes());
        header[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
        (header[12], header[15]) = (kind, last);
        header.to_vec()
    };
    let credit = Credit {
        version: 9,
        subscription: 0,
        bytes: 0,
    };
    let push = Push {
        version: VERSION,
        subscription: 0,
        next_offset: 0,
        high_watermark: 0,
    };
    let fire_and_forget = Produce {
        acks: 0,
        ..produce(&feed, 7)
    };
    let subscription = Subscribe {
        version: VERSION,
        subscription: 3,
        topic: feed.id,
        partition: 0,
        start: 0,
        by_timestamp: false,
        credit_bytes: 1,
    };
    let mut other_preface = PREFACE.to_vec();
    other_preface[9] = b'X';
    // Not a native client, nor a Kafka one: nobody who would understand an answer.
    assert_eq!(last_words(address, &other_preface), None);
    let cases = [
        (
            "a future protocol",
            hello(2, 9, ""),
            ErrorCode::UnsupportedVersion,
        ),
        (
            "an unknown mechanism",
            hello(1, 1, "PLAIN"),
            ErrorCode::UnsupportedSaslMechanism,
        ),
        (
            "no greeting",
            [
                PREFACE.to_vec(),
                hello(1, 1, "")[16..].to_vec(),
                hello(1, 1, "")[16..].to_vec(),
            ]
            .concat(),
            ErrorCode::InvalidRequest,
        ),
        (
            "an unknown kind",
            after(&|out| append_frame(out, 2, &push, &[])),
            ErrorCode::InvalidRequest,
        ),
        (
            "an unknown version",
            after(&|out| append_frame(out, 2, &credit, &[])),
            ErrorCode::UnsupportedVersion,
        ),
        (
            "an unaligned archive",
            after(&|out| out.extend(raw(17, 0, 5, 0))),
            ErrorCode::InvalidRequest,
        ),
        (
            "an archive of 4 GiB",
            after(&|out| out.extend(raw(0xFFFF_FFF0, 0, 5, 0))),
            ErrorCode::MessageTooLarge,
        ),
        (
            "a payload of 4 GiB",
            after(&|out| out.extend(raw(16, u32::MAX, 3, 0))),
            ErrorCode::MessageTooLarge,
        ),
        (
            "reserved bytes",
            after(&|out| out.extend(raw(16, 0, 5, 1))),
            ErrorCode::InvalidRequest,
        ),
        (
            "an archive of ones",
            after(&|out| {
                out.extend(raw(64, 0, 2, 0));
                out.extend([0xFF; 64]);
            }),
            ErrorCode::InvalidRequest,
        ),
        (
            "a refused produce without acks",
            after(&|out| append_frame(out, 2, &fire_and_forget, &batch(&["x"]))),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            "a subscription twice",
            after(&|out| {
                append_frame(out, 2, &subscription, &[]);
                append_frame(out, 3, &subscription, &[]);
            }),
            ErrorCode::InvalidRequest,
        ),
    ];
    for (what, bytes, expected) in cases {
        let goodbye =
            last_words(address, &bytes).unwrap_or_else(|| panic!("{what}: no reason given"));
        assert_eq!(goodbye.error, expected.code(), "{what}: {}", goodbye.reason);
        assert!(!goodbye.reason.is_empty());
        assert_eq!(
            produce_one(&mut good, &feed, 0, &batch(&["y"])).error,
            0,
            "after {what}"
        );
    }
    let refused = NativeStream::connect(address, "fine")
        .and_then(|mut stream| stream.call::<MetadataAnswer>(&push));
    assert!(
        matches!(refused, Err(NativeClientError::Goodbye { .. })),
        "{refused:?}"
    );
}
