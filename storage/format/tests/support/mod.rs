//! Records with owned bytes, for comparing what went in with what came out.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use corelane_format::TimestampMs;
use corelane_format::kafka::{BatchBuilder, Record};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A header's key and value.
pub(crate) type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedRecord {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<OwnedHeader>,
}

impl OwnedRecord {
    pub(crate) fn borrowed_headers(&self) -> Vec<(&[u8], Option<&[u8]>)> {
        self.headers
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
            .collect()
    }
}

pub(crate) fn owned(record: &Record<'_>) -> OwnedRecord {
    OwnedRecord {
        timestamp: record.timestamp.get(),
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record
            .headers
            .iter()
            .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
            .collect(),
    }
}

pub(crate) fn append_all(builder: &mut BatchBuilder, records: &[OwnedRecord]) {
    for record in records {
        builder
            .append(
                TimestampMs::new(record.timestamp),
                record.key.as_deref(),
                record.value.as_deref(),
                &record.borrowed_headers(),
            )
            .unwrap();
    }
}

fn any_bytes(size_max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..size_max),
        // Something that compresses.
        (any::<u8>(), 0..size_max).prop_map(|(byte, size)| vec![byte; size]),
    ]
}

pub(crate) fn any_record() -> impl Strategy<Value = OwnedRecord> {
    (
        // -1 is "no timestamp"; the rest stays where differences cannot overflow.
        prop_oneof![
            Just(-1),
            0..=i64::MAX / 4,
            1_700_000_000_000..1_700_000_100_000_i64
        ],
        option::of(any_bytes(40)),
        option::of(any_bytes(400)),
        // Few distinct keys, so that duplicates are common.
        vec(
            (
                prop_oneof![Just(b"k".to_vec()), any_bytes(6)],
                option::of(any_bytes(12)),
            ),
            0..4,
        ),
    )
        .prop_map(|(timestamp, key, value, headers)| OwnedRecord {
            timestamp,
            key,
            value,
            headers,
        })
}

pub(crate) fn any_records(count_max: usize) -> impl Strategy<Value = Vec<OwnedRecord>> {
    vec(any_record(), 1..=count_max)
}

/// The bytes of a hexadecimal text.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// What the fixtures' large values are made of: something that compresses well, but not too well.
pub(crate) fn pattern(size_bytes: usize) -> Vec<u8> {
    (0..size_bytes)
        .map(|index| (index / 997 % 251) as u8)
        .collect()
}

/// A small batch of three records, uncompressed.
pub(crate) fn small_batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for index in 0..3 {
        builder
            .append(
                TimestampMs::new(1000 + index),
                Some(b"key"),
                Some(b"value"),
                &[(b"h", None)],
            )
            .unwrap();
    }
    let mut bytes = Vec::new();
    builder.finish_into(&mut bytes).unwrap();
    bytes
}

/// Writes the right CRC into a batch that a test has changed.
pub(crate) fn repair_crc(batch: &mut [u8]) {
    let crc = corelane_format::checksum::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}
