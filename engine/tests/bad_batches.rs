//! Bad record batches: the exact Kafka error, and nothing of them stored. The codes were read off Apache Kafka.

mod support;

use support::{
    batch::Batch,
    subject::Subject,
    wire::{Answer, PRODUCE, Produced, produce_body, read_produced},
};

const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TIMESTAMP: i16 = 32;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_RECORD: i16 = 87;

type Case = (i16, &'static str, fn(&mut Batch));

/// What is made wrong with a good batch of three records, and the error it gets.
const CHANGES: &[Case] = &[
    (CORRUPT_MESSAGE, "wrong checksum", |batch| {
        batch.crc_error = 1;
    }),
    (CORRUPT_MESSAGE, "magic 3", |batch| batch.magic = 3),
    (CORRUPT_MESSAGE, "magic -1", |batch| batch.magic = -1),
    (INVALID_RECORD, "magic 0", |batch| batch.magic = 0),
    (INVALID_RECORD, "magic 1", |batch| batch.magic = 1),
    (CORRUPT_MESSAGE, "length too short", |batch| {
        batch.length_error = -5;
    }),
    (CORRUPT_MESSAGE, "length of nothing", |batch| {
        batch.length_error = -80;
    }),
    (INVALID_RECORD, "length too long", |batch| {
        batch.length_error = 10;
    }),
    (INVALID_RECORD, "4 records of 3", |batch| {
        batch.records_count = Some(4);
    }),
    (INVALID_RECORD, "2 records of 3", |batch| {
        batch.records_count = Some(2);
    }),
    (INVALID_RECORD, "-1 records", |batch| {
        batch.records_count = Some(-1);
    }),
    (INVALID_RECORD, "no records", |batch| batch.values.clear()),
    (INVALID_RECORD, "2 billion records", |batch| {
        batch.records_count = Some(i32::MAX);
    }),
    (INVALID_RECORD, "2 billion records and offsets", |batch| {
        batch.records_count = Some(i32::MAX);
        batch.last_offset_delta = Some(i32::MAX - 1);
    }),
    (INVALID_RECORD, "a last offset that skips", |batch| {
        batch.last_offset_delta = Some(7);
    }),
    (INVALID_RECORD, "a control batch", |batch| {
        batch.attributes = 0x20;
    }),
    (INVALID_TIMESTAMP, "a time far in the future", |batch| {
        batch.base_timestamp_ms = 4_000_000_000_000;
        batch.max_timestamp_ms = 4_000_000_000_000;
    }),
    (MESSAGE_TOO_LARGE, "more than max.message.bytes", |batch| {
        batch.values = vec![vec![b'x'; 1_048_588]];
    }),
    (
        0,
        "a new producer whose sequence does not begin at 0",
        |batch| {
            *batch = batch.clone().by_producer(700_000, 0, 5);
        },
    ),
    (
        OUT_OF_ORDER_SEQUENCE_NUMBER,
        "a sequence that skips",
        |batch| {
            *batch = batch.clone().by_producer(700_000, 0, 11);
        },
    ),
];

fn good() -> Batch {
    Batch::of(&[b"one", b"two", b"three"])
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

#[test]
fn bad_batches_get_kafkas_own_errors() {
    let mut cases: Vec<(i16, &str, Vec<u8>)> = Vec::new();
    for (error_code, what, change) in CHANGES {
        let mut batch = good();
        change(&mut batch);
        cases.push((*error_code, what, batch.encode()));
    }
    let whole = good().encode();
    let end = whole.len();
    cases.extend([
        (
            CORRUPT_MESSAGE,
            "a flipped bit in the records",
            flipped(&whole, end - 3),
        ),
        (
            CORRUPT_MESSAGE,
            "a flipped bit in the header",
            flipped(&whole, 40),
        ),
        (INVALID_RECORD, "half a batch", whole[..end / 2].to_vec()),
        (INVALID_RECORD, "half a header", whole[..30].to_vec()),
        (INVALID_RECORD, "no bytes", Vec::new()),
        (INVALID_RECORD, "two batches", whole.repeat(2)),
    ]);
    let mut subject = Subject::start("bad-batches");
    let before = subject.server.resident_bytes();
    let mut offender = subject.open();
    let (mut stored, mut wrong) = (0, Vec::new());
    for (error_code, what, records) in cases {
        let produced = offender.produce("bad", 0, &records);
        let base_offset = if error_code == 0 { stored } else { -1 };
        let expected = Produced {
            error_code,
            base_offset,
        };
        if produced != expected {
            wrong.push(format!("{what}: got {produced:?}, expected {expected:?}"));
        }
        stored += if produced.error_code == 0 { 3 } else { 0 };
        subject.assert_serves(what);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    subject.assert_no_growth(before);
    subject.finish(stored);
}

#[test]
fn an_unknown_compression_is_refused() {
    let mut subject = Subject::start("bad-compression");
    for codec in [5, 6, 7] {
        let batch = Batch {
            attributes: codec,
            ..good()
        }
        .encode();
        match subject
            .open()
            .ask(PRODUCE, 3, &produce_body("bad", 0, -1, &batch))
        {
            // Kafka meets it as a failure of its own: UNKNOWN_SERVER_ERROR, after which producers give up.
            Answer::Body(body) => {
                let error_code = read_produced(&body).error_code;
                let refusals = [-1, CORRUPT_MESSAGE, INVALID_RECORD];
                assert!(
                    refusals.contains(&error_code),
                    "codec {codec}: {error_code}"
                );
            }
            Answer::Closed => {}
        }
        subject.assert_serves(&format!("codec {codec}"));
    }
    subject.finish(0);
}

/// Three records as an LZ4 frame of one block that is stored as it is, with these flags.
fn lz4_batch(flags: u8, header_checksum: u8) -> Vec<u8> {
    let plain = good().encode();
    let records = &plain[61..];
    let mut body = vec![0x04, 0x22, 0x4d, 0x18, flags, 0x40, header_checksum];
    body.extend((records.len() as u32 | 1 << 31).to_le_bytes());
    body.extend(records);
    body.extend(0_u32.to_le_bytes());
    Batch {
        attributes: 3,
        body: Some(body),
        ..good()
    }
    .encode()
}

#[test]
fn lz4_frames_of_linked_blocks_which_consumers_cannot_read_are_refused() {
    let mut subject = Subject::start("lz4-linked-blocks");
    // Kafka's reader throws "Dependent block stream is unsupported", which its broker answers with UNKNOWN_SERVER_ERROR.
    for (flags, header_checksum, expected) in [
        (0x40, 0xc0, (-1, -1)),
        (0x60, 0x82, (0, 0)),
        (0x40, 0xc0, (-1, -1)),
    ] {
        let records = lz4_batch(flags, header_checksum);
        let produced = subject.open().produce("bad", 0, &records);
        assert_eq!((produced.error_code, produced.base_offset), expected);
    }
    subject.assert_serves("linked blocks");
    subject.finish(3);
}
