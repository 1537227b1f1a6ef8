//! Batches as real clients write them are accepted and read, whatever their codec.

mod support;

use corelane_format::kafka::{
    BatchBuilder, BatchLimits, Compression, DecompressLimits, TimestampType,
    compression::decompressed, records, validate_batch, validate_client_batch,
    validate_record_section,
};
use corelane_format::{ProducerEpoch, ProducerId, Sequence, TimestampMs};
use support::{OwnedRecord, append_all, owned, pattern, unhex};

const LIMITS: BatchLimits = BatchLimits {
    size_bytes_max: 1 << 20,
    records_max: 1000,
};

macro_rules! fixture {
    ($name:literal) => {
        unhex(include_str!(concat!("fixtures/", $name, ".hex")))
    };
}

fn record(
    delay_ms: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&str>)],
) -> OwnedRecord {
    OwnedRecord {
        timestamp: 1_700_000_000_000 + delay_ms,
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: headers
            .iter()
            .map(|(key, value)| {
                (
                    key.as_bytes().to_vec(),
                    value.map(|value| value.as_bytes().to_vec()),
                )
            })
            .collect(),
    }
}

/// What is in every fixture; those without compression leave out the last one.
fn expected(compressed: bool) -> Vec<OwnedRecord> {
    let mut expected = vec![
        record(0, None, Some(b"value-0"), &[]),
        record(
            5,
            Some(b"k1"),
            None,
            &[("h", Some("1")), ("h", None), ("e", Some(""))],
        ),
        record(2, Some(b""), Some(b""), &[]),
    ];
    if compressed {
        expected.push(record(7, Some(b"big"), Some(&pattern(100_000)), &[]));
    }
    expected
}

fn check(bytes: &[u8], codec: Compression) {
    let batch = validate_batch(bytes, &LIMITS).unwrap();
    validate_client_batch(&batch).unwrap();
    assert_eq!(batch.compression(), codec);
    let section =
        decompressed(codec, batch.records_section(), DecompressLimits::default()).unwrap();
    let read: Vec<OwnedRecord> = records(batch.header(), &section)
        .map(|record| owned(&record.unwrap()))
        .collect();
    assert_eq!(read, expected(codec != Compression::None));
    let summary = validate_record_section(batch.header(), &section).unwrap();
    assert_eq!(summary.max_timestamp, batch.header().max_timestamp);
}

#[test]
fn java_batches_are_read() {
    check(&fixture!("java-none"), Compression::None);
    check(&fixture!("java-none-transactional"), Compression::None);
    check(&fixture!("java-gzip"), Compression::Gzip);
    check(&fixture!("java-snappy"), Compression::Snappy);
    check(&fixture!("java-lz4"), Compression::Lz4);
    check(&fixture!("java-zstd"), Compression::Zstd);
}

#[test]
fn kafka_python_batches_are_read() {
    check(&fixture!("kafka-python-none"), Compression::None);
    check(&fixture!("kafka-python-gzip"), Compression::Gzip);
    check(&fixture!("kafka-python-snappy"), Compression::Snappy);
    check(&fixture!("kafka-python-lz4"), Compression::Lz4);
    check(&fixture!("kafka-python-zstd"), Compression::Zstd);
}

#[test]
fn the_builder_writes_the_very_bytes_that_java_writes() {
    let mut builder = BatchBuilder::new();
    append_all(&mut builder, &expected(false));
    let mut bytes = Vec::new();
    builder.finish_into(&mut bytes).unwrap();
    assert_eq!(bytes, fixture!("java-none"));

    bytes.clear();
    builder
        .producer(ProducerId::new(9), ProducerEpoch::new(2), Sequence::new(5))
        .transactional(true)
        .finish_into(&mut bytes)
        .unwrap();
    assert_eq!(bytes, fixture!("java-none-transactional"));
}

#[test]
fn the_brokers_time_is_every_records_time_but_not_for_a_client_to_set() {
    let bytes = fixture!("java-none-log-append-time");
    let batch = validate_batch(&bytes, &LIMITS).unwrap();
    assert!(validate_client_batch(&batch).is_err());
    assert_eq!(
        batch.header().attributes.timestamp_type(),
        TimestampType::LogAppendTime
    );
    for record in records(batch.header(), batch.records_section()) {
        assert_eq!(
            record.unwrap().timestamp,
            TimestampMs::new(1_700_000_009_999)
        );
    }
}

#[test]
fn control_batches_are_read_but_not_taken_from_clients() {
    let bytes = fixture!("java-none-control");
    let batch = validate_batch(&bytes, &LIMITS).unwrap();
    assert!(validate_client_batch(&batch).is_err());
    assert!(batch.header().attributes.is_control() && batch.header().attributes.is_transactional());
    assert_eq!(batch.header().last_sequence(), Sequence::NONE);
    let read: Vec<_> = records(batch.header(), batch.records_section()).collect();
    // Version 0, type 1: commit.
    assert_eq!(read[0].unwrap().key, Some([0, 0, 0, 1].as_slice()));
}
