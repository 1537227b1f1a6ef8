//! The bytes themselves: Kafka record batches, native rkyv batches and commit blocks.
//!
//! This crate does no I/O, reads no clock and knows no runtime. Everything in it is a pure function of its
//! arguments, so a simulator, a fuzzer and the server all run the same code.
//!
//! # Invariants
//! - Nothing here panics on bytes from a peer or from the disk: bad input is a typed error that carries what was
//!   found and what was expected.
//! - Every length that such bytes declare is checked against the bytes at hand before it is used, and memory is taken
//!   only within the caller's limits.
//! - [`kafka::validate_batch`] is the only way from untrusted bytes to a [`kafka::ValidatedBatch`].
//!
//! # Map
//! - [`ids`]: offsets, epochs and other numbers that must not be mixed up.
//! - [`checksum`]: the one CRC32C that every format here uses.
//! - [`kafka`]: record batch v2, from header to records and compression.
//! - [`native`]: the rkyv batch that consumers read in place.
//! - [`record_filter`]: which records stay when a log is compacted.
//! - [`commit_block`]: the header in front of what one flush made durable.
#![forbid(unsafe_code)]

pub mod checksum;
pub mod commit_block;
#[doc(hidden)]
pub mod fuzzing;
pub mod ids;
pub mod kafka;
pub mod native;
pub mod record_filter;

pub use commit_block::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockError, CommitBlockHeader};
pub use ids::{
    FilePosition, LeaderEpoch, LogId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence,
    TimestampMs, TopicId,
};
