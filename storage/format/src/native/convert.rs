//! Between the two formats of records. Nothing of a record is lost either way: duplicate header keys, null and empty
//! keys, values and header values, timestamps, offset deltas with gaps, producer and attribute bits all stay.
//!
//! What does not survive is how the bytes were packed: the codec, padded numbers, and, where the broker's time replaced
//! them, the timestamps that the producer had set.

use super::builder::NativeBatchBuilder;
use super::error::{NativeBuildError, NativeRecordError};
use super::reader::NativeBatch;
use crate::kafka::{
    BATCH_PREFIX_BYTES, BatchBuilder, BatchHeader, BuildError, MAGIC, RecordError, records,
};

/// Why a batch cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A Kafka record is not readable.
    #[error(transparent)]
    KafkaRecord(#[from] RecordError),
    /// A native record is not readable.
    #[error(transparent)]
    NativeRecord(#[from] NativeRecordError),
    /// The Kafka batch cannot be built.
    #[error(transparent)]
    KafkaBuild(#[from] BuildError),
    /// The native batch cannot be built.
    #[error(transparent)]
    NativeBuild(#[from] NativeBuildError),
}

/// Converts a Kafka batch: `section` is its records section, decompressed if it was compressed.
///
/// The bytes live in `builder`, aligned, until it is used again.
pub fn kafka_to_native<'b>(
    header: &BatchHeader,
    section: &[u8],
    builder: &'b mut NativeBatchBuilder,
) -> Result<&'b [u8], ConvertError> {
    builder
        .attributes(header.attributes)
        .base_offset(header.base_offset)
        .leader_epoch(header.partition_leader_epoch)
        .producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )
        .imitate(
            header.base_timestamp,
            header.max_timestamp,
            header.last_offset_delta,
        );
    for record in records(header, section) {
        builder.append_record(&record?)?;
    }
    Ok(builder.finish()?)
}

/// Converts a native batch, compressed as `builder` is set to, and appends it to `out`.
///
/// Of the builder's settings only the codec is used; the others are overwritten.
pub fn native_to_kafka(
    batch: &NativeBatch<'_>,
    builder: &mut BatchBuilder,
    out: &mut Vec<u8>,
) -> Result<BatchHeader, ConvertError> {
    let header = batch.header();
    builder.imitate(&BatchHeader {
        base_offset: header.base_offset,
        batch_length: BATCH_PREFIX_BYTES as i32,
        partition_leader_epoch: header.leader_epoch,
        magic: MAGIC,
        crc: 0,
        attributes: header.attributes,
        last_offset_delta: header.last_offset_delta,
        base_timestamp: header.base_timestamp,
        max_timestamp: header.max_timestamp,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        records_count: header.records_count,
    });
    for record in batch.records() {
        builder.append_record(&record?)?;
    }
    Ok(builder.finish_into(out)?)
}
