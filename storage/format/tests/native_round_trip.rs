//! Native batches: what goes in comes out, in place, and through Kafka's format and back.

mod support;

use corelane_format::kafka::{
    Attributes, BatchBuilder, BatchHeader, BatchLimits, Compression, DecompressLimits, SplitBatch,
    TimestampType, compression::decompressed, records, split_first_batch, validate_batch,
};
use corelane_format::native::{
    NATIVE_ALIGNMENT, NATIVE_HEADER_BYTES, NativeBatch, NativeBatchBuilder, NativeBuildError,
    NativeError, SplitNative, kafka_to_native, native_to_kafka, split_first_native,
    stamp_native_log_append_time, stamp_native_offset,
};
use corelane_format::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use proptest::prelude::*;
use support::{OwnedRecord, any_records, append_all, owned};

fn append_native(builder: &mut NativeBatchBuilder, records: &[OwnedRecord]) {
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

fn read(batch: &NativeBatch<'_>) -> Vec<OwnedRecord> {
    batch
        .records()
        .map(|record| owned(&record.unwrap()))
        .collect()
}

/// Bytes at an address that is `shift` past a multiple of the alignment.
struct Shifted {
    buffer: Vec<u8>,
    start: usize,
    size_bytes: usize,
}

impl Shifted {
    fn new(bytes: &[u8], shift: usize) -> Self {
        let mut buffer = vec![0; bytes.len() + 2 * NATIVE_ALIGNMENT];
        let start = buffer.as_ptr().align_offset(NATIVE_ALIGNMENT) + shift;
        buffer[start..start + bytes.len()].copy_from_slice(bytes);
        Self {
            buffer,
            start,
            size_bytes: bytes.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.size_bytes]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.size_bytes]
    }
}

fn sample() -> Vec<u8> {
    let mut builder = NativeBatchBuilder::new();
    for index in 0..3 {
        builder
            .append(
                TimestampMs::new(1000 + index),
                Some(b"key"),
                None,
                &[(b"h", None), (b"h", Some(b""))],
            )
            .unwrap();
    }
    builder.finish().unwrap().to_vec()
}

proptest! {
    #[test]
    fn records_survive_and_are_read_in_place(records_in in any_records(40)) {
        let mut builder = NativeBatchBuilder::new();
        builder
            .producer(ProducerId::new(5), ProducerEpoch::new(6), Sequence::new(7))
            .attributes(Attributes::new(0).with_transactional(true))
            .base_offset(Offset::new(8))
            .leader_epoch(LeaderEpoch::new(9));
        append_native(&mut builder, &records_in);
        builder.clear();
        append_native(&mut builder, &records_in);
        let bound = builder.size_bytes();
        let bytes = builder.finish().unwrap();
        prop_assert!(bytes.len() <= bound && bytes.len().is_multiple_of(NATIVE_ALIGNMENT));

        let batch = NativeBatch::open(bytes, &BatchLimits::NONE).unwrap();
        prop_assert_eq!(batch.validate_records(), Ok(()));
        prop_assert_eq!(read(&batch), records_in.clone());
        let header = batch.header();
        prop_assert_eq!(header.producer_id, ProducerId::new(5));
        prop_assert_eq!(header.producer_epoch, ProducerEpoch::new(6));
        prop_assert_eq!(header.base_sequence, Sequence::new(7));
        prop_assert_eq!(header.base_offset, Offset::new(8));
        prop_assert_eq!(header.leader_epoch, LeaderEpoch::new(9));
        prop_assert!(header.attributes.is_transactional());
        prop_assert_eq!(header.base_timestamp.get(), records_in[0].timestamp);
        let latest = records_in.iter().map(|record| record.timestamp).max().unwrap();
        prop_assert_eq!(header.max_timestamp.get(), latest);
        let range = bytes.as_ptr_range();
        for record in batch.records() {
            for field in [record.unwrap().key, record.unwrap().value].into_iter().flatten() {
                prop_assert!(field.is_empty() || range.contains(&field.as_ptr()));
            }
        }
    }

    #[test]
    fn conversion_loses_nothing(
        records_in in any_records(30),
        codec in proptest::sample::select(&Compression::ALL),
        producer: Option<(u16, bool)>,
    ) {
        let mut builder = BatchBuilder::new();
        builder.compression(codec).base_offset(Offset::new(11)).leader_epoch(LeaderEpoch::new(12));
        if let Some((id, transactional)) = producer {
            builder
                .producer(ProducerId::new(i64::from(id)), ProducerEpoch::new(1), Sequence::new(2))
                .transactional(transactional);
        }
        append_all(&mut builder, &records_in);
        let mut kafka = Vec::new();
        let header = builder.finish_into(&mut kafka).unwrap();
        let section = decompressed(codec, &kafka[61..], DecompressLimits::default()).unwrap();

        let mut native_builder = NativeBatchBuilder::new();
        let native = kafka_to_native(&header, &section, &mut native_builder).unwrap();
        let batch = NativeBatch::open(native, &BatchLimits::NONE).unwrap();
        prop_assert_eq!(read(&batch), records_in);

        // With the same codec even the bytes come back.
        let mut back = Vec::new();
        let mut back_builder = BatchBuilder::new();
        back_builder.compression(codec);
        native_to_kafka(&batch, &mut back_builder, &mut back).unwrap();
        prop_assert_eq!(back, kafka);
    }
}

#[test]
fn gaps_in_the_offsets_survive() {
    let mut builder = BatchBuilder::new();
    let bytes = support::small_batch();
    let original = BatchHeader::parse(&bytes).unwrap();
    builder.imitate(&BatchHeader {
        last_offset_delta: 9,
        ..original
    });
    for (record, offset_delta) in records(&original, &bytes[61..]).zip([0, 3, 4]) {
        let mut record = record.unwrap();
        record.offset_delta = offset_delta;
        builder.append_record(&record).unwrap();
    }
    let mut compacted = Vec::new();
    let header = builder.finish_into(&mut compacted).unwrap();
    assert_eq!((header.records_count, header.last_offset_delta), (3, 9));

    let mut native_builder = NativeBatchBuilder::new();
    let native = kafka_to_native(&header, &compacted[61..], &mut native_builder).unwrap();
    let batch = NativeBatch::open(native, &BatchLimits::NONE).unwrap();
    assert_eq!(batch.header().last_offset(), Offset::new(9));
    let deltas: Vec<i32> = batch
        .records()
        .map(|record| record.unwrap().offset_delta)
        .collect();
    assert_eq!(deltas, [0, 3, 4]);

    let mut back = Vec::new();
    native_to_kafka(&batch, &mut BatchBuilder::new(), &mut back).unwrap();
    assert_eq!(back, compacted);
    assert!(matches!(
        split_first_batch(&back),
        Ok(SplitBatch::Whole { rest: [], .. })
    ));
}

#[test]
fn a_cleared_builder_starts_anew_after_a_conversion() {
    let bytes = support::small_batch();
    let header = BatchHeader::parse(&bytes).unwrap();
    let mut builder = NativeBatchBuilder::new();
    kafka_to_native(
        &BatchHeader {
            last_offset_delta: 9,
            ..header
        },
        &bytes[61..],
        &mut builder,
    )
    .unwrap();
    builder.clear();
    builder
        .append(TimestampMs::new(-1), None, None, &[])
        .unwrap();
    let batch = NativeBatch::open(builder.finish().unwrap(), &BatchLimits::NONE).unwrap();
    let header = batch.header();
    assert_eq!((header.last_offset_delta, header.records_count), (0, 1));
    assert_eq!(
        (header.base_timestamp, header.max_timestamp),
        (TimestampMs::NONE, TimestampMs::NONE)
    );
}

#[test]
fn stamps_change_what_they_should() {
    let mut bytes = Shifted::new(&sample(), 0);
    stamp_native_offset(bytes.bytes_mut(), Offset::new(1 << 40), LeaderEpoch::new(3));
    stamp_native_log_append_time(bytes.bytes_mut(), TimestampMs::new(5000));
    let batch = NativeBatch::open(bytes.bytes(), &BatchLimits::NONE).unwrap();
    assert_eq!(batch.header().base_offset, Offset::new(1 << 40));
    assert_eq!(batch.header().leader_epoch, LeaderEpoch::new(3));
    assert_eq!(
        batch.header().attributes.timestamp_type(),
        TimestampType::LogAppendTime
    );
    for record in batch.records() {
        assert_eq!(record.unwrap().timestamp, TimestampMs::new(5000));
    }
    let mut kafka = Vec::new();
    native_to_kafka(&batch, &mut BatchBuilder::new(), &mut kafka).unwrap();
    let kafka = validate_batch(&kafka, &BatchLimits::NONE).unwrap();
    assert_eq!(kafka.header().max_timestamp, TimestampMs::new(5000));
}

#[test]
fn misaligned_bytes_are_refused() {
    for shift in 0..NATIVE_ALIGNMENT {
        let shifted = Shifted::new(&sample(), shift);
        let opened = NativeBatch::open(shifted.bytes(), &BatchLimits::NONE);
        if shift == 0 {
            assert!(opened.is_ok());
        } else {
            assert_eq!(
                opened.map(|_| ()),
                Err(NativeError::Misaligned { got: shift })
            );
        }
    }
}

#[test]
fn every_flipped_bit_but_those_of_the_stamps_is_found() {
    let sample = sample();
    for bit in 0..sample.len() * 8 {
        let mut damaged = Shifted::new(&sample, 0);
        damaged.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        // Base offset and leader epoch; the former still has to be possible.
        let stamped = (8..20).contains(&(bit / 8));
        let opened = NativeBatch::open(damaged.bytes(), &BatchLimits::NONE);
        assert_eq!(opened.is_ok(), stamped, "bit {bit}");
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let sample = sample();
    let size = sample.len();
    let open = |bytes: &[u8], limits| {
        NativeBatch::open(Shifted::new(bytes, 0).bytes(), &limits)
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(
        open(&sample[..79], BatchLimits::NONE),
        NativeError::TooShort {
            got: 79,
            expected: NATIVE_HEADER_BYTES
        }
    );
    assert_eq!(
        open(&sample[..size - 16], BatchLimits::NONE),
        NativeError::TooShort {
            got: size - 16,
            expected: size
        }
    );
    assert_eq!(
        open(&[&sample[..], &[0; 16]].concat(), BatchLimits::NONE),
        NativeError::TrailingBytes { got: 16 }
    );
    assert_eq!(
        open(
            &sample,
            BatchLimits {
                size_bytes_max: size - 1,
                records_max: 9
            }
        ),
        NativeError::TooLarge {
            got: size,
            limit: size - 1
        }
    );
    assert_eq!(
        open(
            &sample,
            BatchLimits {
                size_bytes_max: size,
                records_max: 2
            }
        ),
        NativeError::Count {
            got: 3,
            last_offset_delta: 2
        }
    );
    assert_eq!(
        open(&[0; 4096], BatchLimits::NONE),
        NativeError::Magic { got: 0 }
    );
    assert_eq!(
        NativeBatchBuilder::new().finish(),
        Err(NativeBuildError::Empty)
    );
}

#[test]
fn batches_follow_one_another() {
    let one = sample();
    let two = [&one[..], &one[..]].concat();
    let Ok(SplitNative::Whole {
        batch,
        rest,
        header,
    }) = split_first_native(&two)
    else {
        panic!()
    };
    assert_eq!((batch, rest), (&one[..], &one[..]));
    assert_eq!(header.records_count, 3);
    for end in 0..one.len() {
        assert!(
            matches!(split_first_native(&one[..end]), Ok(SplitNative::Incomplete { needed_bytes }) if needed_bytes > end)
        );
    }
}

/// The bytes are what files and consumers hold: this must never need to change without a new version.
#[test]
fn layout_is_fixed() {
    let mut builder = NativeBatchBuilder::new();
    builder
        .base_offset(Offset::new(1))
        .leader_epoch(LeaderEpoch::new(2));
    builder
        .append(TimestampMs::new(3), Some(b"k"), None, &[(b"h", Some(b"v"))])
        .unwrap();
    let expected = support::unhex(include_str!("fixtures/native-layout.hex"));
    assert_eq!(builder.finish().unwrap(), expected);
}
