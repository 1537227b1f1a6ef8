//! The native batch: records that a consumer reads in place, in the buffer that received them.
//!
//! ```text
//!   0  header     80 bytes, an rkyv archive: see `NativeBatchHeader`
//!  80  columns    the out-of-line parts of an rkyv archive, then its root: see `columns`
//!      timestamps, offset deltas (only if they have gaps), key ends, value ends, header ends, one blob
//!      record 0's key, value, headers, record 1's key, ... follow one another in the blob
//! ```
//!
//! # Invariants
//! - A batch starts at a multiple of 16 bytes in memory, and its size is a multiple of 16, so batches may follow one
//!   another.
//! - Base offset and leader epoch lie outside of every checksum, so that a leader stamps them for free; all else in the
//!   header is under the header's checksum, and the body under its own.
//! - Nothing is read through an archive before `rkyv::access` has checked it, and every range into the blob is checked
//!   when it is used.
//! - Little-endian, 64-bit relative pointers, a version in both archives.

mod builder;
mod columns;
mod convert;
mod error;
mod filter;
mod header;
mod reader;

pub use builder::NativeBatchBuilder;
pub use convert::{ConvertError, kafka_to_native, native_to_kafka};
pub use error::{NativeBuildError, NativeError, NativeRecordError};
pub use filter::filter_native_batch;
pub(crate) use header::repair;
pub use header::{
    NATIVE_ALIGNMENT, NATIVE_BATCH_MAGIC, NATIVE_BATCH_VERSION, NATIVE_HEADER_BYTES,
    NativeBatchHeader, stamp_native_log_append_time, stamp_native_offset,
};
pub use reader::{NativeBatch, NativeRecordIter, SplitNative, split_first_native};
