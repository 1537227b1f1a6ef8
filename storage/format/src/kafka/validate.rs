//! From untrusted bytes to a batch.
//!
//! [`validate_batch`] runs on every produced batch: one pass of CRC32C, a handful of comparisons, no allocation.
//!
//! What it deliberately leaves alone, because real clients do it and Kafka takes it: a `max_timestamp` of -1 or below the
//! base timestamp (older Go clients), timestamps of -1, any base offset and leader epoch (they are overwritten), unknown
//! attribute bits, and a sequence without a producer id.

use super::attributes::{Compression, TimestampType};
use super::compression::lz4_frame_fault;
use super::error::BatchError;
use super::header::{
    BATCH_HEADER_BYTES, BATCH_LENGTH_MIN, BATCH_PREFIX_BYTES, BatchHeader, CRC_START, MAGIC, field,
};
use crate::checksum::crc32c;

/// The smallest record: length, attributes, timestamp delta, offset delta, key length, value length and header count,
/// one byte each.
pub const RECORD_BYTES_MIN: usize = 7;

/// What a batch may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Largest size of a batch, header included (`max.message.bytes`).
    pub size_bytes_max: usize,
    /// Largest number of records in a batch.
    pub records_max: i32,
}

impl BatchLimits {
    /// No limits beyond those of the format: for bytes whose size is already bounded.
    pub const NONE: Self = Self {
        size_bytes_max: usize::MAX,
        records_max: i32::MAX,
    };
}

/// Exactly one whole batch whose header makes sense and whose checksum is right.
///
/// Only [`validate_batch`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct ValidatedBatch<'a> {
    bytes: &'a [u8],
    header: BatchHeader,
    compression: Compression,
}

impl<'a> ValidatedBatch<'a> {
    /// The whole batch, header included.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The parsed header.
    #[inline]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The codec of the records section.
    #[inline]
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// The records section, compressed if the batch is.
    #[inline]
    pub fn records_section(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEADER_BYTES..]
    }
}

/// Turns `bytes`, which must be exactly one batch, into a validated one.
///
/// Checks magic, lengths, limits, codec, counts, producer fields and the CRC. The records themselves are not looked at:
/// [`super::validate_records`] does that for uncompressed batches, at a cost per record, and the engine decides.
pub fn validate_batch<'a>(
    bytes: &'a [u8],
    limits: &BatchLimits,
) -> Result<ValidatedBatch<'a>, BatchError> {
    // The magic decides how all the rest is read, so an old format gets its own error even where it is shorter.
    if let Some(&got) = bytes.get(field::MAGIC)
        && got.cast_signed() != MAGIC
    {
        return Err(BatchError::UnsupportedMagic {
            got: got.cast_signed(),
        });
    }
    let header = BatchHeader::parse(bytes)?;
    let size_bytes = header.size_bytes();
    if size_bytes > limits.size_bytes_max {
        return Err(BatchError::TooLarge {
            got: size_bytes,
            limit: limits.size_bytes_max,
        });
    }
    if size_bytes > bytes.len() {
        return Err(BatchError::Truncated {
            got: bytes.len(),
            expected: size_bytes,
        });
    }
    if size_bytes < bytes.len() {
        return Err(BatchError::TrailingBytes {
            got: bytes.len() - size_bytes,
        });
    }
    let compression = header.attributes.compression()?;
    check_counts(&header, compression, limits)?;
    check_producer(&header)?;
    check_crc(&header, bytes)?;
    Ok(ValidatedBatch {
        bytes,
        header,
        compression,
    })
}

/// The rules for batches that a client sent, beyond those of [`validate_batch`]: no control batches, no timestamps that
/// claim to be the broker's, and no LZ4 frame that consumers refuse to read.
pub fn validate_client_batch(batch: &ValidatedBatch<'_>) -> Result<(), BatchError> {
    let header = batch.header();
    if header.attributes.is_control() {
        return Err(BatchError::ControlFromClient);
    }
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::InvalidTimestamp {
            base: header.base_timestamp,
            max: header.max_timestamp,
            log_append_time: true,
        });
    }
    if batch.compression() == Compression::Lz4
        && let Some(reason) = lz4_frame_fault(batch.records_section())
    {
        return Err(BatchError::Lz4Frame { reason });
    }
    Ok(())
}

#[inline]
fn check_counts(
    header: &BatchHeader,
    compression: Compression,
    limits: &BatchLimits,
) -> Result<(), BatchError> {
    let count = header.records_count;
    let mismatch = BatchError::CountMismatch {
        got: count,
        last_offset_delta: header.last_offset_delta,
    };
    if count <= 0 || header.last_offset_delta < 0 {
        return Err(mismatch);
    }
    // A control batch is written by a broker and may keep its offsets when it loses a record, so the two may differ.
    if !header.attributes.is_control()
        && i64::from(count) != i64::from(header.last_offset_delta) + 1
    {
        return Err(mismatch);
    }
    if count > limits.records_max {
        return Err(BatchError::TooManyRecords {
            got: count,
            limit: limits.records_max,
        });
    }
    let records_bytes = header.records_bytes();
    let fit = match compression {
        Compression::None => records_bytes / RECORD_BYTES_MIN,
        // How many fit is known only after decompression; but nothing compresses to nothing.
        _ if records_bytes == 0 => 0,
        _ => usize::MAX,
    };
    if count as usize > fit {
        return Err(BatchError::CountImpossible {
            got: count,
            records_bytes,
            fit,
        });
    }
    if header
        .base_offset
        .checked_plus(i64::from(header.last_offset_delta) + 1)
        .is_none()
    {
        return Err(BatchError::InvalidOffset {
            base_offset: header.base_offset.get(),
            last_offset_delta: header.last_offset_delta,
        });
    }
    Ok(())
}

#[inline]
fn check_producer(header: &BatchHeader) -> Result<(), BatchError> {
    let sound = if header.producer_id.is_some() {
        // The marker that ends a transaction carries its producer, but no sequence.
        header.producer_epoch.get() >= 0
            && (header.base_sequence.get() >= 0 || header.attributes.is_control())
    } else {
        !header.attributes.is_transactional()
    };
    if sound {
        Ok(())
    } else {
        Err(BatchError::InvalidProducer {
            id: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
        })
    }
}

#[inline]
fn check_crc(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let expected = crc32c(&batch[CRC_START..]);
    if header.crc == expected {
        Ok(())
    } else {
        Err(BatchError::CrcMismatch {
            got: header.crc,
            expected,
        })
    }
}

/// One whole batch out of a sequence of stored batches, its CRC not yet checked.
///
/// Stored batches may have lost records to compaction, so their counts may be smaller than their range of offsets.
#[derive(Clone, Copy, Debug)]
pub struct StoredBatch<'a> {
    bytes: &'a [u8],
    header: BatchHeader,
}

impl<'a> StoredBatch<'a> {
    /// The whole batch, header included.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The parsed header.
    #[inline]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records section, compressed if the batch is.
    #[inline]
    pub fn records_section(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEADER_BYTES..]
    }

    /// Checks the CRC.
    #[inline]
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        check_crc(&self.header, self.bytes)
    }
}

/// What [`split_first_batch`] found.
#[derive(Clone, Copy, Debug)]
pub enum SplitBatch<'a> {
    /// A whole batch, and the bytes after it.
    Whole {
        /// The batch.
        batch: StoredBatch<'a>,
        /// What follows it.
        rest: &'a [u8],
    },
    /// There is no whole batch: a fetch response may end in the middle of one.
    Incomplete {
        /// How many bytes it takes at least, as far as can be told.
        needed_bytes: usize,
    },
}

/// Splits the first batch off a sequence of batches. Does not check its CRC.
///
/// Fails on bytes that cannot be the start of a batch; merely missing bytes are no error.
pub fn split_first_batch(bytes: &[u8]) -> Result<SplitBatch<'_>, BatchError> {
    if let Some(&got) = bytes.get(field::MAGIC)
        && got.cast_signed() != MAGIC
    {
        return Err(BatchError::UnsupportedMagic {
            got: got.cast_signed(),
        });
    }
    if let Some(length) = bytes
        .get(field::BATCH_LENGTH..)
        .and_then(<[u8]>::first_chunk)
    {
        let got = i32::from_be_bytes(*length);
        if got < BATCH_LENGTH_MIN {
            return Err(BatchError::LengthMismatch {
                got,
                minimum: BATCH_LENGTH_MIN,
            });
        }
        let size_bytes = BATCH_PREFIX_BYTES + got as usize;
        if let Some((batch, rest)) = bytes.split_at_checked(size_bytes) {
            let batch = StoredBatch {
                bytes: batch,
                header: BatchHeader::parse(batch)?,
            };
            return Ok(SplitBatch::Whole { batch, rest });
        }
        return Ok(SplitBatch::Incomplete {
            needed_bytes: size_bytes,
        });
    }
    Ok(SplitBatch::Incomplete {
        needed_bytes: BATCH_HEADER_BYTES,
    })
}

/// The whole batches of a sequence, in order; ends at the first incomplete one, or after an error.
#[derive(Clone, Debug)]
pub struct StoredBatches<'a> {
    rest: &'a [u8],
}

impl<'a> StoredBatches<'a> {
    /// The bytes that were not yet consumed.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Iterates over a sequence of stored batches. See [`split_first_batch`].
#[inline]
pub const fn stored_batches(bytes: &[u8]) -> StoredBatches<'_> {
    StoredBatches { rest: bytes }
}

impl<'a> Iterator for StoredBatches<'a> {
    type Item = Result<StoredBatch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match split_first_batch(self.rest) {
            Ok(SplitBatch::Whole { batch, rest }) => {
                self.rest = rest;
                Some(Ok(batch))
            }
            Ok(SplitBatch::Incomplete { .. }) => {
                self.rest = &[];
                None
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}
