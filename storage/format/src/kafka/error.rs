//! Everything that can be wrong with a record batch.

use crate::ids::{ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Why bytes are not an acceptable record batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer bytes than a batch header has.
    #[error("record batch of {got} bytes is shorter than the {expected} bytes it must have")]
    TooShort {
        /// Bytes at hand.
        got: usize,
        /// Bytes that are needed at least.
        expected: usize,
    },
    /// Not format version 2.
    #[error("record batch has magic {got}, only 2 is supported")]
    UnsupportedMagic {
        /// The magic byte.
        got: i8,
    },
    /// `batch_length` is impossible: negative, or too small for a header.
    #[error("record batch declares an impossible length of {got}, it must be at least {minimum}")]
    LengthMismatch {
        /// The declared `batch_length`.
        got: i32,
        /// The smallest possible one.
        minimum: i32,
    },
    /// The batch declares more bytes than there are.
    #[error("record batch declares {expected} bytes, but only {got} are there")]
    Truncated {
        /// Bytes at hand.
        got: usize,
        /// Bytes that the batch declares, prefix included.
        expected: usize,
    },
    /// Bytes follow the batch where exactly one batch was expected.
    #[error("{got} bytes follow the record batch, where exactly one batch is allowed")]
    TrailingBytes {
        /// Number of bytes after the batch.
        got: usize,
    },
    /// The batch is larger than allowed.
    #[error("record batch of {got} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size, prefix included.
        got: usize,
        /// The largest allowed size.
        limit: usize,
    },
    /// The batch declares more records than allowed.
    #[error("record batch with {got} records exceeds the limit of {limit}")]
    TooManyRecords {
        /// The declared number of records.
        got: i32,
        /// The largest allowed number.
        limit: i32,
    },
    /// The checksum does not match the bytes.
    #[error("record batch carries CRC {got:#010x}, its bytes have {expected:#010x}")]
    CrcMismatch {
        /// The checksum in the header.
        got: u32,
        /// The checksum of the bytes.
        expected: u32,
    },
    /// The attributes name a codec that does not exist.
    #[error("record batch has unknown compression codec {got}")]
    UnknownCompression {
        /// The codec's id.
        got: u8,
    },
    /// LZ4 data that consumers cannot read.
    #[error("record batch has an LZ4 frame that consumers refuse: {reason}")]
    Lz4Frame {
        /// What they refuse.
        reason: &'static str,
    },
    /// The record count is impossible, or contradicts the last offset delta.
    #[error("record batch declares {got} records with a last offset delta of {last_offset_delta}")]
    CountMismatch {
        /// The declared number of records.
        got: i32,
        /// The declared delta of the last offset.
        last_offset_delta: i32,
    },
    /// More records are declared than the record bytes can hold.
    #[error("record batch declares {got} records in {records_bytes} bytes, at most {fit} fit")]
    CountImpossible {
        /// The declared number of records.
        got: i32,
        /// Size of the records section.
        records_bytes: usize,
        /// How many of the smallest records fit there.
        fit: usize,
    },
    /// The last offset cannot be represented.
    #[error("base offset {base_offset} plus last offset delta {last_offset_delta} is no offset")]
    InvalidOffset {
        /// The declared base offset.
        base_offset: i64,
        /// The declared delta of the last offset.
        last_offset_delta: i32,
    },
    /// A timestamp, or a kind of timestamp, that may not be there.
    #[error(
        "record batch has an invalid timestamp: base {base}, max {max}, log append time: {log_append_time}"
    )]
    InvalidTimestamp {
        /// The declared base timestamp.
        base: TimestampMs,
        /// The declared largest timestamp.
        max: TimestampMs,
        /// Whether the batch claims to carry the broker's time.
        log_append_time: bool,
    },
    /// A producer id without a usable epoch or sequence, or a transaction without a producer id.
    #[error(
        "record batch has contradictory producer fields: id {id}, epoch {epoch}, base sequence {sequence}"
    )]
    InvalidProducer {
        /// The declared producer id.
        id: ProducerId,
        /// The declared producer epoch.
        epoch: ProducerEpoch,
        /// The declared first sequence.
        sequence: Sequence,
    },
    /// A client sent a control batch, which only a broker may write.
    #[error("clients may not write control batches")]
    ControlFromClient,
}
