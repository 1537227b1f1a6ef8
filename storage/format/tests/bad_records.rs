//! Records that must be refused, each with its own fault.

mod support;

use corelane_format::TimestampMs;
use corelane_format::kafka::{
    BatchBuilder, BatchHeader, BatchLimits, BuildError, Compression, RecordError, RecordFault,
    records, validate_batch, validate_record_section, validate_records,
};
use support::{small_batch, unhex};

/// A header that declares this many records.
fn header(records_count: i32) -> BatchHeader {
    let header = BatchHeader::parse(&small_batch()).unwrap();
    BatchHeader {
        records_count,
        last_offset_delta: records_count - 1,
        ..header
    }
}

#[test]
fn faults_are_found_and_end_the_iteration() {
    for (name, section, count, record, fault) in [
        ("nothing", "", 1, 0, RecordFault::Truncated),
        ("length cut off", "80", 1, 0, RecordFault::Truncated),
        (
            "length too long",
            "ffffffffff",
            1,
            0,
            RecordFault::OverlongNumber,
        ),
        (
            "negative length",
            "01",
            1,
            0,
            RecordFault::Length { got: -1 },
        ),
        (
            "length beyond the end",
            "0e 00000001",
            1,
            0,
            RecordFault::Length { got: 7 },
        ),
        ("no fields", "00", 1, 0, RecordFault::Truncated),
        (
            "no headers count",
            "0a 00 00 00 01 01",
            1,
            0,
            RecordFault::Truncated,
        ),
        (
            "key of -2",
            "0c 00 00 00 03 01 00",
            1,
            0,
            RecordFault::Length { got: -2 },
        ),
        (
            "key beyond the record",
            "0c 00 00 00 06 01 00",
            1,
            0,
            RecordFault::Length { got: 3 },
        ),
        (
            "value beyond the record",
            "0c 00 00 00 01 06 00",
            1,
            0,
            RecordFault::Length { got: 3 },
        ),
        (
            "negative headers count",
            "0c 00 00 00 01 01 01",
            1,
            0,
            RecordFault::HeadersCount {
                got: -1,
                expected: 0,
            },
        ),
        (
            "a billion headers",
            "14 00 00 00 01 01 80a8d6b907",
            1,
            0,
            RecordFault::HeadersCount {
                got: 1_000_000_000,
                expected: 0,
            },
        ),
        (
            "bytes after the headers",
            "10 00 00 00 01 01 00 00 00",
            1,
            0,
            RecordFault::HeadersCount {
                got: 0,
                expected: 1,
            },
        ),
        (
            "null header key",
            "10 00 00 00 01 01 02 01 00",
            1,
            0,
            RecordFault::Length { got: -1 },
        ),
        (
            "offset beyond the batch",
            "0c 00 00 02 01 01 00",
            1,
            0,
            RecordFault::OffsetDelta {
                got: 1,
                at_least: 0,
                at_most: 0,
            },
        ),
        (
            "the same offset twice",
            "0c 00 00 00 01 01 00 0c 00 00 00 01 01 00",
            2,
            1,
            RecordFault::OffsetDelta {
                got: 0,
                at_least: 1,
                at_most: 1,
            },
        ),
        (
            "a record too few",
            "0c 00 00 00 01 01 00",
            2,
            1,
            RecordFault::Truncated,
        ),
        (
            "a record too many",
            "0c 00 00 00 01 01 00 0c 00 00 02 01 01 00",
            1,
            1,
            RecordFault::TrailingBytes { got: 7 },
        ),
        (
            "timestamp overflow",
            "1e 00 feffffffffffffffff01 00 01 01 00",
            1,
            0,
            RecordFault::Timestamp {
                base: TimestampMs::new(1000),
                delta: i64::MAX,
            },
        ),
    ] {
        let section = unhex(section);
        let expected = RecordError { record, fault };
        assert_eq!(
            validate_record_section(&header(count), &section),
            Err(expected),
            "{name}"
        );
        let mut iter = records(&header(count), &section);
        assert_eq!(
            iter.by_ref().filter_map(Result::err).collect::<Vec<_>>(),
            [expected],
            "{name}"
        );
        assert_eq!(iter.next(), None, "{name}");
    }
}

#[test]
fn the_smallest_record_has_seven_bytes() {
    let section = unhex("0c 00 00 00 01 01 00");
    assert_eq!(section.len(), corelane_format::kafka::RECORD_BYTES_MIN);
    assert!(validate_record_section(&header(1), &section).is_ok());
}

#[test]
fn records_that_are_still_compressed_are_not_looked_at() {
    let mut builder = BatchBuilder::new();
    builder.compression(Compression::Zstd);
    builder
        .append(TimestampMs::new(1), None, None, &[])
        .unwrap();
    let mut bytes = Vec::new();
    builder.finish_into(&mut bytes).unwrap();
    let batch = validate_batch(&bytes, &BatchLimits::NONE).unwrap();
    assert_eq!(
        validate_records(&batch).unwrap_err().fault,
        RecordFault::Compressed {
            codec: Compression::Zstd
        }
    );
    let bytes = small_batch();
    let batch = validate_batch(&bytes, &BatchLimits::NONE).unwrap();
    assert_eq!(
        validate_records(&batch).unwrap().max_timestamp,
        TimestampMs::new(1002)
    );
}

#[test]
fn the_builder_refuses_what_the_format_cannot_say_and_stays_usable() {
    let mut builder = BatchBuilder::new();
    let mut out = b"x".to_vec();
    assert!(matches!(
        builder.finish_into(&mut out),
        Err(BuildError::Empty)
    ));
    builder
        .append(TimestampMs::new(i64::MIN), None, None, &[])
        .unwrap();
    assert!(matches!(
        builder.append(TimestampMs::new(i64::MAX), None, None, &[]),
        Err(BuildError::Timestamp { .. })
    ));
    assert_eq!(out, b"x");
    assert_eq!(builder.finish_into(&mut out).unwrap().records_count, 1);
}
