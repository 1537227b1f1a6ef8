//! Mutated input for every parser, on the stable toolchain: seeded, and as many cases as `CORELANE_FUZZ_CASES` says.
//!
//! The same functions are cargo-fuzz targets in `fuzz/`. A failure prints the target, the case and the bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use corelane_format::{Offset, PartitionIndex, TopicId};
use corelane_net::api::{put_request_header, supported_apis};
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{
    FetchHeader, FetchPartition, FetchRequest, FetchResponseHeader, FetchResponseWriter,
    FetchTopic, PartitionData,
};
use corelane_net::fuzzing::TARGETS;
use corelane_net::gather::Gathered;
use corelane_net::native::frame::append_frame;
use corelane_net::native::message::{
    Goodbye, Hello, MESSAGE_VERSION, Message, Metadata, MetadataAnswer, Node, Produce, Push, Topic,
};
use corelane_net::produce::{
    PartitionOutcome, PartitionRecords, ProduceHeader, ProduceResponseWriter, TopicRecords,
};
use corelane_net::topic::{TopicKey, TopicRef};

const CASES_DEFAULT: u64 = 20_000;

/// Numbers that depend on the seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    }
}

fn topic(by_id: bool) -> TopicKey {
    if by_id {
        TopicKey::Id(TopicId::new([9; 16]))
    } else {
        TopicKey::Name("topic".into())
    }
}

/// Sound messages of every API and version, in every form that a target takes.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    for api in supported_apis() {
        for version in api.version_min..=api.version_max {
            let mut frame = Vec::new();
            put_request_header(
                &mut frame,
                api.key,
                version,
                3,
                Some("me"),
                api.is_flexible(version),
            );
            // Bodies of zeros and ones are sound for many control messages.
            frame.extend_from_slice(&[0; 24]);
            seeds.push(frame.clone());
            frame.extend_from_slice(&[1; 24]);
            seeds.push(frame);
        }
    }
    for version in 3..=13 {
        let key = topic(version >= 13);
        let records = [5; 90];
        let partitions = [1, 2].map(|index| PartitionRecords {
            index: PartitionIndex::new(index),
            records: &records[..],
        });
        let header = ProduceHeader {
            version,
            correlation_id: 8,
            client_id: None,
            transactional_id: Some("tx"),
            acks: -1,
            timeout_ms: 1_000,
        };
        let topics = [TopicRecords {
            topic: key.as_topic(),
            partitions: &partitions,
        }; 2];
        let mut message = Gathered::default();
        corelane_net::produce::encode_request(&mut message, &header, &topics).unwrap();
        push_request(&mut seeds, version, &message.to_vec(), 11);

        let mut writer = ProduceResponseWriter::<&[u8]>::new(8, version, 1);
        writer.topic(key.as_topic(), 2);
        for index in 0..2 {
            writer.partition(
                PartitionIndex::new(index),
                PartitionOutcome::failed(ErrorCode::NotLeaderOrFollower),
            );
        }
        push_response(
            &mut seeds,
            version,
            &writer.finish(5, &[]).to_vec(),
            version >= 9,
        );
    }
    for version in 4..=18 {
        let key = topic(version >= 13);
        let partitions = (0..3)
            .map(|index| FetchPartition::new(PartitionIndex::new(index), Offset::new(77), 1 << 20));
        let request = FetchRequest {
            topics: vec![FetchTopic {
                topic: key.clone(),
                partitions: partitions.collect(),
            }],
            ..FetchRequest::default()
        };
        let mut frame = Vec::new();
        let header = FetchHeader {
            version,
            correlation_id: 8,
            client_id: None,
        };
        corelane_net::fetch::encode_request(&mut frame, &header, &request).unwrap();
        push_request(&mut seeds, version, &frame, 11);

        let mut writer = FetchResponseWriter::new(&FetchResponseHeader {
            version,
            correlation_id: 8,
            throttle_time_ms: 0,
            error: ErrorCode::None,
            session_id: 0,
            topics_count: 1,
        });
        writer.topic(
            match &key {
                TopicKey::Name(name) => TopicRef::Name(name),
                TopicKey::Id(id) => TopicRef::Id(*id),
            },
            1,
        );
        let data = PartitionData::readable(PartitionIndex::new(0), Offset::new(9), Offset::new(1));
        writer.partition(&data, vec![vec![6; 70], vec![7; 20]]);
        push_response(
            &mut seeds,
            version,
            &writer.finish(&[]).to_vec(),
            version >= 12,
        );
    }
    push_native(&mut seeds);
    seeds
}

/// Streams of native frames, one message a stream and all of them in one.
fn push_native(seeds: &mut Vec<Vec<u8>>) {
    fn add<M: Message>(seeds: &mut Vec<Vec<u8>>, all: &mut Vec<u8>, message: &M, payload: &[u8]) {
        let mut stream = Vec::new();
        append_frame(&mut stream, 7, message, payload);
        append_frame(all, 7, message, payload);
        seeds.push(stream);
    }
    let (mut all, version) = (Vec::new(), MESSAGE_VERSION);
    let hello = Hello {
        version,
        protocol_min: 1,
        protocol_max: 2,
        client_id: "somebody with a long name".into(),
        mechanism: "PLAIN".into(),
        credentials: vec![1; 30],
    };
    add(seeds, &mut all, &hello, &[]);
    let metadata = Metadata {
        version,
        topics: vec!["short".into(), "a name that is long enough".into()],
    };
    add(seeds, &mut all, &metadata, &[]);
    let answer = MetadataAnswer {
        version,
        nodes: vec![Node {
            id: 1000,
            port: 9092,
            host: "server.example.org".into(),
        }],
        topics: vec![Topic {
            error: 0,
            is_native: true,
            id: [7; 16],
            name: "topic".into(),
            owners: vec![1000, 1001],
        }],
    };
    add(seeds, &mut all, &answer, &[]);
    let produce = Produce {
        version,
        topic: [7; 16],
        partition: 3,
        acks: -1,
    };
    add(seeds, &mut all, &produce, &[5; 90]);
    let push = Push {
        version,
        subscription: 9,
        next_offset: 77,
        high_watermark: 99,
    };
    add(seeds, &mut all, &push, &[6; 64]);
    let goodbye = Goodbye {
        version,
        error: 42,
        reason: "a message of kind 0x77 is not expected now".into(),
    };
    add(seeds, &mut all, &goodbye, &[]);
    seeds.push(all);
}

/// The frame, the frame without its prefix, and the version with the body (`header` bytes, one more if flexible).
fn push_request(seeds: &mut Vec<Vec<u8>>, version: i16, frame: &[u8], header: usize) {
    seeds.push(frame.to_vec());
    seeds.push(frame[4..].to_vec());
    for header in [header - 1, header] {
        let mut body = vec![version as u8];
        body.extend_from_slice(&frame[4 + header..]);
        seeds.push(body);
    }
}

fn push_response(seeds: &mut Vec<Vec<u8>>, version: i16, frame: &[u8], flexible: bool) {
    let mut body = vec![version as u8];
    body.extend_from_slice(&frame[8 + usize::from(flexible)..]);
    seeds.push(body);
}

fn mutate(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    const EDGES: [u8; 8] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xfe, 0xff];
    let mut bytes = seeds[dice.roll(seeds.len())].clone();
    for _ in 0..dice.roll(5) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.roll(256) as u8),
            2 if !bytes.is_empty() => bytes[at] = EDGES[dice.roll(EDGES.len())],
            3 if !bytes.is_empty() => bytes[at] ^= 1 << dice.roll(8),
            4 if at + 4 <= bytes.len() => bytes[at..at + 4].fill(EDGES[dice.roll(EDGES.len())]),
            _ => {
                let other = &seeds[dice.roll(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[dice.roll(other.len())..]);
            }
        }
    }
    bytes
}

#[test]
fn no_input_makes_a_parser_panic_or_lie() {
    let cases =
        std::env::var("CORELANE_FUZZ_CASES").map_or(CASES_DEFAULT, |text| text.parse().unwrap());
    let seeds = seeds();
    for (name, target) in TARGETS {
        let mut dice = Dice(1);
        let mutated = (0..cases).map(|_| mutate(&mut dice, &seeds));
        for (case, input) in seeds.iter().cloned().chain(mutated).enumerate() {
            let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
            assert!(
                outcome.is_ok(),
                "target {name}, case {case}, input {input:02x?}"
            );
        }
    }
}

#[test]
fn the_seeds_reach_behind_the_parsers() {
    // A harness whose seeds are all refused at once would test nothing.
    let bodies = seeds();
    let sound = bodies.iter().filter_map(|seed| seed.split_first());
    let produce = |(version, body): (&u8, &[u8])| {
        corelane_net::produce::ProduceRequest::parse(body, i16::from(*version))
            .is_ok_and(|read| read.partitions_count() > 0)
    };
    let fetch = |(version, body): (&u8, &[u8])| {
        FetchRequest::parse(body, i16::from(*version)).is_ok_and(|read| !read.topics.is_empty())
    };
    assert!(sound.clone().filter(|seed| produce(*seed)).count() >= 11);
    assert!(sound.filter(|seed| fetch(*seed)).count() >= 15);
}
