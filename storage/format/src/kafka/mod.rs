//! Kafka's record batch, format version 2 ("magic 2").
//!
//! ```text
//!  0  base_offset             i64   stamped by the leader, outside of the CRC
//!  8  batch_length            i32   bytes that follow this field
//! 12  partition_leader_epoch  i32   stamped by the leader, outside of the CRC
//! 16  magic                   i8    2
//! 17  crc                     u32   CRC32C of everything from byte 21 to the end
//! 21  attributes              i16
//! 23  last_offset_delta       i32
//! 27  base_timestamp          i64
//! 35  max_timestamp           i64
//! 43  producer_id             i64
//! 51  producer_epoch          i16
//! 53  base_sequence           i32
//! 57  records_count           i32
//! 61  records, compressed as the attributes say
//! ```
//!
//! All integers are big-endian. Batches are stored as they came; only [`stamp_offset`] and, on topics that say so,
//! [`stamp_log_append_time`] touch their bytes.

mod attributes;
mod builder;
pub mod compression;
mod error;
mod filter;
mod header;
mod record;
mod stamp;
mod validate;
pub(crate) mod varint;

pub use attributes::{Attributes, Compression, ParseCompressionError, TimestampType};
pub use builder::{BatchBuilder, BuildError};
pub use compression::{CompressionError, DecompressLimits, compress, decompress};

pub use error::BatchError;
pub use filter::{FilterScratch, filter_batch};
pub use header::{BATCH_HEADER_BYTES, BATCH_PREFIX_BYTES, BatchHeader, MAGIC};
pub use record::{
    Header, HeaderIter, Headers, Record, RecordError, RecordFault, RecordIter, RecordsSummary,
    records, validate_record_section, validate_records,
};
pub use stamp::{stamp_log_append_time, stamp_max_timestamp, stamp_offset};
pub use validate::{
    BatchLimits, RECORD_BYTES_MIN, SplitBatch, StoredBatch, StoredBatches, ValidatedBatch,
    split_first_batch, stored_batches, validate_batch, validate_client_batch,
};
