//! Batches made by patching: a batch of records is encoded once, and for every batch that is sent only the stamps,
//! the timestamps and the checksums are written anew.
//!
//! That works because nothing that changes has a variable length: all records have the batch's timestamp (delta 0),
//! no key and no headers, and each keeps its place, so offset deltas and sizes stay as they were first encoded.
//! Nothing is allocated for a batch or a record.
//!
//! Invariant: the bytes given out are one valid, uncompressed record batch that holds exactly the stamped records.

use corelane_format::TimestampMs;
use corelane_format::kafka::{
    BATCH_HEADER_BYTES, BatchBuilder, BatchHeader, records, stamp_max_timestamp,
};

use super::payload::{self, FillerKind, RECORD_SIZE_BYTES_MIN, Stamp};

/// The most records put into one batch, whatever its size: what an offset delta of four varint bytes can hold.
pub const BATCH_RECORDS_MAX: u32 = 1 << 20;

/// A batch to be patched.
#[derive(Debug, Clone)]
pub struct BatchTemplate {
    bytes: Vec<u8>,
    header: BatchHeader,
    slots: Vec<Slot>,
    record_size_bytes: usize,
}

/// One record's place in the batch.
#[derive(Debug, Clone, Copy)]
struct Slot {
    value_at: u32,
    filler_checksum: u32,
}

/// What the records of a batch have in common.
#[derive(Debug, Clone, Copy)]
pub struct BatchStamp {
    /// The run, producer, partition, first sequence and intended time.
    pub first: Stamp,
    /// The wall clock, as Kafka wants it in the batch.
    pub timestamp: TimestampMs,
}

impl BatchTemplate {
    /// A batch of `records` records with values of `record_size_bytes` each, which must have passed
    /// [`payload::check_record_size`]. Each record has filler of its own, made from `seed`.
    pub fn new(
        records_count: u32,
        record_size_bytes: usize,
        seed: u64,
        filler_kind: FillerKind,
    ) -> Self {
        assert!(
            (1..=BATCH_RECORDS_MAX).contains(&records_count),
            "{records_count} records in a batch"
        );
        assert!(
            record_size_bytes >= RECORD_SIZE_BYTES_MIN,
            "records of {record_size_bytes} bytes"
        );
        let mut builder = BatchBuilder::new();
        let mut value = vec![0; record_size_bytes];
        let mut filler_checksums = Vec::with_capacity(records_count as usize);
        for index in 0..records_count {
            let filler = &mut value[RECORD_SIZE_BYTES_MIN..];
            payload::fill(filler, seed.wrapping_add(u64::from(index) + 1), filler_kind);
            filler_checksums.push(payload::filler_checksum(filler));
            builder
                .append(TimestampMs::new(0), None, Some(&value), &[])
                .expect("the plan bounds batches far below the format's limit");
        }
        let mut bytes = Vec::new();
        let header = builder
            .finish_into(&mut bytes)
            .expect("uncompressed and not empty");
        let section = &bytes[BATCH_HEADER_BYTES..];
        let slots = records(&header, section)
            .zip(filler_checksums)
            .map(|(record, filler_checksum)| {
                let value = record
                    .ok()
                    .and_then(|record| record.value)
                    .expect("the batch was just built");
                let value_at = value.as_ptr().addr() - bytes.as_ptr().addr();
                Slot {
                    value_at: value_at as u32,
                    filler_checksum,
                }
            })
            .collect();
        Self {
            bytes,
            header,
            slots,
            record_size_bytes,
        }
    }

    /// How many records the batch holds.
    pub fn records(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The size of the whole batch.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The size of one record's value.
    pub fn record_size_bytes(&self) -> usize {
        self.record_size_bytes
    }

    /// Stamps every record, with sequences from `batch.first.sequence` on, and returns the batch.
    pub fn stamp(&mut self, batch: &BatchStamp) -> &[u8] {
        let mut stamp = batch.first;
        for slot in &self.slots {
            let value = self.bytes[slot.value_at as usize..]
                .first_chunk_mut::<RECORD_SIZE_BYTES_MIN>()
                .expect("a slot lies within the batch");
            payload::write(value, &stamp, slot.filler_checksum);
            stamp.sequence += 1;
        }
        self.header.base_timestamp = batch.timestamp;
        self.header.max_timestamp = batch.timestamp;
        self.header.encode_into(&mut self.bytes);
        // Writes the checksum too, over everything that was just patched.
        stamp_max_timestamp(&mut self.bytes, batch.timestamp);
        &self.bytes
    }
}

/// The size of a batch of `records` records with values of `record_size_bytes`.
pub fn batch_size_bytes(records: u32, record_size_bytes: usize) -> usize {
    let mut total = BATCH_HEADER_BYTES;
    for delta in 0..records {
        total += encoded_record_bytes(delta, record_size_bytes);
    }
    total
}

/// How many records of `record_size_bytes` fill a batch of at most `batch_size_bytes`; at least one.
pub fn records_that_fit(batch_size_bytes: usize, record_size_bytes: usize) -> u32 {
    let mut total = BATCH_HEADER_BYTES + encoded_record_bytes(0, record_size_bytes);
    let mut records = 1;
    while records < BATCH_RECORDS_MAX {
        total += encoded_record_bytes(records, record_size_bytes);
        if total > batch_size_bytes {
            break;
        }
        records += 1;
    }
    records
}

/// One record as it is encoded: length, attributes, timestamp delta, offset delta, no key, value, no headers.
fn encoded_record_bytes(offset_delta: u32, value_bytes: usize) -> usize {
    let body = 1
        + 1
        + varint_bytes(u64::from(offset_delta))
        + 1
        + varint_bytes(value_bytes as u64)
        + value_bytes
        + 1;
    varint_bytes(body as u64) + body
}

/// The size of a non-negative number as a zig-zag varint.
fn varint_bytes(number: u64) -> usize {
    let bits = u64::BITS - (number << 1).leading_zeros();
    bits.div_ceil(7).max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_format::kafka::{BatchLimits, validate_batch};

    fn stamp(sequence: u64) -> BatchStamp {
        BatchStamp {
            first: Stamp {
                run: 9,
                producer: 1,
                partition: 2,
                sequence,
                intended_ns: 77,
            },
            timestamp: TimestampMs::new(1_700_000_000_000),
        }
    }

    #[test]
    fn every_batch_is_valid_and_holds_its_own_records() {
        for (count, size) in [
            (1, 32),
            (1, 100_000),
            (63, 100),
            (64, 100),
            (65, 33),
            (9_000, 40),
        ] {
            let mut template = BatchTemplate::new(count, size, 5, FillerKind::Random);
            for first in [0, 1_000_000, u64::MAX / 2] {
                let bytes = template.stamp(&stamp(first));
                let batch = validate_batch(bytes, &BatchLimits::NONE).unwrap();
                let header = *batch.header();
                assert_eq!(header.max_timestamp, TimestampMs::new(1_700_000_000_000));
                assert_eq!(header.base_timestamp, header.max_timestamp);
                let mut expected = first;
                for record in records(&header, batch.records_section()) {
                    let value = record.unwrap().value.unwrap();
                    assert_eq!(value.len(), size);
                    let read = payload::read(value).unwrap();
                    assert_eq!(
                        read,
                        Stamp {
                            sequence: expected,
                            ..stamp(first).first
                        }
                    );
                    expected += 1;
                }
                assert_eq!(expected, first + u64::from(count));
            }
        }
    }

    #[test]
    fn sizes_are_known_before_anything_is_encoded() {
        for (count, size) in [
            (1, 32),
            (1, 1_000_000),
            (64, 100),
            (65, 100),
            (200, 63),
            (9_000, 64),
        ] {
            assert_eq!(
                batch_size_bytes(count, size),
                BatchTemplate::new(count, size, 0, FillerKind::Random).size_bytes()
            );
        }
    }

    #[test]
    fn a_batch_is_filled_and_never_overfilled() {
        for (limit, size) in [
            (16 * 1024, 100),
            (64 * 1024, 1024),
            (1024 * 1024, 32),
            (5_000, 4_900),
        ] {
            let count = records_that_fit(limit, size);
            assert!(batch_size_bytes(count, size) <= limit, "{limit} {size}");
            assert!(batch_size_bytes(count + 1, size) > limit, "{limit} {size}");
        }
        assert_eq!(records_that_fit(100, 1_000), 1);
        assert_eq!(records_that_fit(usize::MAX, 32), BATCH_RECORDS_MAX);
    }
}
