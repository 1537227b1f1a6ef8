//! Batches that must be refused, each with its own error; and odd ones that must not be.

mod support;

use corelane_format::kafka::{
    BatchError, BatchLimits, SplitBatch, split_first_batch, stored_batches, validate_batch,
};
use corelane_format::{ProducerEpoch, ProducerId, Sequence};
use support::{repair_crc, small_batch};

const LIMITS: BatchLimits = BatchLimits {
    size_bytes_max: 1 << 20,
    records_max: 100,
};

const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const RECORDS_COUNT: usize = 57;

/// A sound batch with some bytes replaced, under the right CRC.
fn patched(patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = small_batch();
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
    repair_crc(&mut bytes);
    bytes
}

#[track_caller]
fn check(bytes: &[u8], expected: BatchError) {
    assert_eq!(validate_batch(bytes, &LIMITS).map(|_| ()), Err(expected));
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let bytes = small_batch();
    let size = bytes.len();
    check(
        &[],
        BatchError::TooShort {
            got: 0,
            expected: 61,
        },
    );
    check(
        &bytes[..60],
        BatchError::TooShort {
            got: 60,
            expected: 61,
        },
    );
    check(
        &bytes[..size - 1],
        BatchError::Truncated {
            got: size - 1,
            expected: size,
        },
    );
    check(
        &[&bytes[..], &[0, 1]].concat(),
        BatchError::TrailingBytes { got: 2 },
    );
    check(
        &[&bytes[..], &bytes[..]].concat(),
        BatchError::TrailingBytes { got: size },
    );
    check(
        &patched(&[(LENGTH, &(-1_i32).to_be_bytes())]),
        BatchError::LengthMismatch {
            got: -1,
            minimum: 49,
        },
    );
    check(
        &patched(&[(LENGTH, &i32::MAX.to_be_bytes())]),
        BatchError::TooLarge {
            got: i32::MAX as usize + 12,
            limit: 1 << 20,
        },
    );
    let tight = BatchLimits {
        size_bytes_max: size - 1,
        records_max: 100,
    };
    assert_eq!(
        validate_batch(&bytes, &tight).map(|_| ()),
        Err(BatchError::TooLarge {
            got: size,
            limit: size - 1
        })
    );
    let exact = BatchLimits {
        size_bytes_max: size,
        records_max: 3,
    };
    assert!(validate_batch(&bytes, &exact).is_ok());
}

#[test]
fn other_formats_are_refused_as_such() {
    for magic in [0, 1, 3, -1_i8] {
        check(
            &patched(&[(MAGIC, &magic.to_be_bytes())]),
            BatchError::UnsupportedMagic { got: magic },
        );
    }
    // A message of format 1 is shorter than a header of format 2.
    check(
        &[&[0; 16][..], &[1], &[0; 17]].concat(),
        BatchError::UnsupportedMagic { got: 1 },
    );
    for id in [5, 6, 7] {
        check(
            &patched(&[(ATTRIBUTES, &[0, id])]),
            BatchError::UnknownCompression { got: id },
        );
    }
}

#[test]
fn every_flipped_bit_under_the_crc_is_found() {
    let bytes = small_batch();
    for bit in CRC * 8..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(validate_batch(&damaged, &LIMITS).is_err(), "bit {bit}");
    }
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 0x80;
    assert!(matches!(
        validate_batch(&damaged, &LIMITS),
        Err(BatchError::CrcMismatch { .. })
    ));
}

#[test]
fn impossible_counts_are_refused() {
    for (count, delta) in [
        (0, -1),
        (0, 0),
        (-1, -2),
        (3, 3),
        (4, 2),
        (3, -1),
        (1, i32::MAX),
    ] {
        check(
            &patched(&[
                (RECORDS_COUNT, &i32::to_be_bytes(count)),
                (LAST_OFFSET_DELTA, &i32::to_be_bytes(delta)),
            ]),
            BatchError::CountMismatch {
                got: count,
                last_offset_delta: delta,
            },
        );
    }
    let with_count = |count: i32| {
        patched(&[
            (RECORDS_COUNT, &count.to_be_bytes()),
            (LAST_OFFSET_DELTA, &(count - 1).to_be_bytes()),
        ])
    };
    check(
        &with_count(101),
        BatchError::TooManyRecords {
            got: 101,
            limit: 100,
        },
    );
    // 57 bytes hold at most eight of the smallest records.
    let records_bytes = small_batch().len() - 61;
    let fit = records_bytes / 7;
    assert!(validate_batch(&with_count(fit as i32), &LIMITS).is_ok());
    check(
        &with_count(fit as i32 + 1),
        BatchError::CountImpossible {
            got: fit as i32 + 1,
            records_bytes,
            fit,
        },
    );
    let mut nothing = patched(&[(LENGTH, &49_i32.to_be_bytes()), (ATTRIBUTES, &[0, 2])]);
    nothing.truncate(61);
    repair_crc(&mut nothing);
    check(
        &nothing,
        BatchError::CountImpossible {
            got: 3,
            records_bytes: 0,
            fit: 0,
        },
    );
}

#[test]
fn offsets_beyond_the_last_one_are_refused() {
    check(
        &patched(&[(0, &(i64::MAX - 2).to_be_bytes())]),
        BatchError::InvalidOffset {
            base_offset: i64::MAX - 2,
            last_offset_delta: 2,
        },
    );
    let last = patched(&[(0, &(i64::MAX - 3).to_be_bytes())]);
    assert_eq!(
        validate_batch(&last, &LIMITS)
            .unwrap()
            .header()
            .next_offset()
            .get(),
        i64::MAX
    );
}

#[test]
fn producers_without_epoch_or_sequence_are_refused() {
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    for (id, epoch, sequence, attributes, accepted) in [
        (-1_i64, -1_i16, -1_i32, 0_i16, true),
        // Some Go clients leave a sequence of 0 without a producer.
        (-1, -1, 0, 0, true),
        (0, 0, 0, 0, true),
        (7, 3, i32::MAX, 0, true),
        (7, 3, -1, 0, false),
        (7, -1, 0, 0, false),
        (7, 3, 0, TRANSACTIONAL, true),
        (-1, -1, -1, TRANSACTIONAL, false),
        (7, 3, -1, TRANSACTIONAL | CONTROL, true),
    ] {
        let bytes = patched(&[
            (PRODUCER_ID, &id.to_be_bytes()),
            (PRODUCER_EPOCH, &epoch.to_be_bytes()),
            (BASE_SEQUENCE, &sequence.to_be_bytes()),
            (ATTRIBUTES, &attributes.to_be_bytes()),
        ]);
        let expected = if accepted {
            Ok(())
        } else {
            Err(BatchError::InvalidProducer {
                id: ProducerId::new(id),
                epoch: ProducerEpoch::new(epoch),
                sequence: Sequence::new(sequence),
            })
        };
        assert_eq!(
            validate_batch(&bytes, &LIMITS).map(|_| ()),
            expected,
            "{id} {epoch} {sequence}"
        );
    }
}

#[test]
fn sequences_wrap_within_a_batch() {
    let bytes = patched(&[
        (PRODUCER_ID, &7_i64.to_be_bytes()),
        (PRODUCER_EPOCH, &0_i16.to_be_bytes()),
        (BASE_SEQUENCE, &(i32::MAX - 1).to_be_bytes()),
    ]);
    let batch = validate_batch(&bytes, &LIMITS).unwrap();
    assert_eq!(batch.header().last_sequence(), Sequence::new(0));
}

#[test]
fn timestamps_that_real_clients_send_are_taken() {
    for max in [-1_i64, 0, 999, i64::MAX] {
        let bytes = patched(&[(MAX_TIMESTAMP, &max.to_be_bytes())]);
        let batch = validate_batch(&bytes, &LIMITS).unwrap();
        assert_eq!(batch.header().latest_timestamp().get(), max.max(1000));
    }
}

#[test]
fn sequences_of_batches_are_split_and_their_end_may_be_missing() {
    let one = small_batch();
    let three = [&one[..], &one[..], &one[..]].concat();
    assert_eq!(
        stored_batches(&three)
            .map(|batch| batch.unwrap().bytes().len())
            .sum::<usize>(),
        three.len()
    );
    for end in 0..three.len() {
        let whole = stored_batches(&three[..end])
            .inspect(|batch| assert!(batch.is_ok()))
            .count();
        assert_eq!(whole, end / one.len(), "cut at {end}");
    }
    assert!(matches!(
        split_first_batch(&one[..70]),
        Ok(SplitBatch::Incomplete { needed_bytes }) if needed_bytes == one.len()
    ));
    assert!(matches!(
        split_first_batch(&one[..11]),
        Ok(SplitBatch::Incomplete { needed_bytes: 61 })
    ));
    // What cannot become a batch by adding bytes is an error.
    let mut negative = one.clone();
    negative[LENGTH] = 0xFF;
    assert!(split_first_batch(&negative[..12]).is_err());
    let after_error: Vec<_> = stored_batches(&[&one[..], &[0; 70]].concat())
        .map(|b| b.is_ok())
        .collect();
    assert_eq!(after_error, [true, false]);
}

#[test]
fn stored_batches_may_have_lost_records_to_compaction() {
    let bytes = patched(&[(LAST_OFFSET_DELTA, &9_i32.to_be_bytes())]);
    assert!(validate_batch(&bytes, &LIMITS).is_err());
    let Ok(SplitBatch::Whole { batch, rest: [] }) = split_first_batch(&bytes) else {
        panic!()
    };
    assert_eq!(batch.verify_crc(), Ok(()));
    assert_eq!(batch.header().next_offset().get(), 10);
    let mut damaged = bytes.clone();
    damaged[61] ^= 1;
    let Ok(SplitBatch::Whole { batch, .. }) = split_first_batch(&damaged) else {
        panic!()
    };
    assert!(matches!(
        batch.verify_crc(),
        Err(BatchError::CrcMismatch { .. })
    ));
}
