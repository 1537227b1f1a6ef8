//! Everything that can be wrong with a native batch.

use super::header::{NATIVE_ALIGNMENT, NATIVE_BATCH_MAGIC, NATIVE_BATCH_VERSION};
use crate::ids::{ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Why bytes are not an acceptable native batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NativeError {
    /// Fewer bytes than a header or than the header declares.
    #[error("native batch has {got} bytes, expected {expected}")]
    TooShort {
        /// Bytes at hand.
        got: usize,
        /// Bytes that are needed at least.
        expected: usize,
    },
    /// The bytes do not start at a multiple of [`NATIVE_ALIGNMENT`].
    #[error("native batch starts {got} bytes past a multiple of {NATIVE_ALIGNMENT}")]
    Misaligned {
        /// The address modulo the alignment.
        got: usize,
    },
    /// Something else than a native batch.
    #[error("native batch magic is {got:#010x}, expected {NATIVE_BATCH_MAGIC:#010x}")]
    Magic {
        /// The number found.
        got: u32,
    },
    /// Written by another version of this format.
    #[error("native batch version is {got}, expected {NATIVE_BATCH_VERSION}")]
    Version {
        /// The version found.
        got: u16,
    },
    /// The header is damaged.
    #[error("native batch header carries checksum {got:#010x}, its bytes have {expected:#010x}")]
    HeaderChecksum {
        /// The checksum found.
        got: u32,
        /// The checksum of the bytes.
        expected: u32,
    },
    /// The body is damaged.
    #[error("native batch body has checksum {got:#010x}, its header says {expected:#010x}")]
    BodyChecksum {
        /// The checksum of the bytes.
        got: u32,
        /// The checksum in the header.
        expected: u32,
    },
    /// The declared size is impossible.
    #[error("native batch declares an impossible size of {got} bytes")]
    Size {
        /// The declared size.
        got: u32,
    },
    /// The batch is larger than allowed.
    #[error("native batch of {got} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size.
        got: usize,
        /// The largest allowed size.
        limit: usize,
    },
    /// Bytes follow the batch where exactly one batch was expected.
    #[error("{got} bytes follow the native batch, where exactly one batch is allowed")]
    TrailingBytes {
        /// Number of bytes after the batch.
        got: usize,
    },
    /// The record count is impossible, too large, or contradicts the last offset delta.
    #[error("native batch declares {got} records with a last offset delta of {last_offset_delta}")]
    Count {
        /// The declared number of records.
        got: i32,
        /// The declared delta of the last offset.
        last_offset_delta: i32,
    },
    /// The last offset cannot be represented.
    #[error("base offset {base_offset} plus last offset delta {last_offset_delta} is no offset")]
    Offset {
        /// The declared base offset.
        base_offset: i64,
        /// The declared delta of the last offset.
        last_offset_delta: i32,
    },
    /// The attributes name a codec: native batches are not compressed.
    #[error("native batch has attributes {got:#06x}, which name a codec")]
    Attributes {
        /// The attribute bits.
        got: i16,
    },
    /// A producer id without a usable epoch or sequence, or a transaction without a producer id.
    #[error(
        "native batch has contradictory producer fields: id {id}, epoch {epoch}, base sequence {sequence}"
    )]
    Producer {
        /// The declared producer id.
        id: ProducerId,
        /// The declared producer epoch.
        epoch: ProducerEpoch,
        /// The declared first sequence.
        sequence: Sequence,
    },
    /// The body is no archive of columns.
    #[error("native batch body is no archive of its columns")]
    Archive,
    /// A column is not as long as the header says.
    #[error("native batch column {column} has {got} entries, expected {expected}")]
    ColumnLength {
        /// The column's name.
        column: &'static str,
        /// Its length.
        got: usize,
        /// The length it must have.
        expected: usize,
    },
    /// A record is not readable.
    #[error(transparent)]
    Record(#[from] NativeRecordError),
}

/// Why one record of a native batch cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NativeRecordError {
    /// The ends of its key, value and headers do not rise, or lie beyond the blob.
    #[error("record {record} of the native batch has impossible ends")]
    Ends {
        /// Index of the record within its batch, from 0.
        record: u32,
    },
    /// Its headers are not encoded as headers.
    #[error("record {record} of the native batch has damaged headers")]
    Headers {
        /// Index of the record within its batch, from 0.
        record: u32,
    },
    /// An offset delta that does not rise, or lies beyond the batch's last.
    #[error("record {record} of the native batch has an impossible offset delta of {got}")]
    OffsetDelta {
        /// Index of the record within its batch, from 0.
        record: u32,
        /// The delta found.
        got: u32,
    },
}

/// Why a native batch cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NativeBuildError {
    /// A batch has at least one record.
    #[error("a native batch cannot be empty")]
    Empty,
    /// The batch would exceed what the format's lengths can say.
    #[error("a native batch of {size_bytes} bytes exceeds the format's limit of 2 GiB")]
    TooLarge {
        /// The size that it would have.
        size_bytes: usize,
    },
    /// Offset deltas must rise.
    #[error("offset delta {got} does not follow {last}")]
    OffsetDelta {
        /// The delta given.
        got: i32,
        /// The delta of the record before.
        last: i32,
    },
    /// The archive could not be written.
    #[error("the columns of a batch with timestamps up to {max_timestamp} could not be archived")]
    Archive {
        /// To tell which batch it was.
        max_timestamp: TimestampMs,
    },
}
