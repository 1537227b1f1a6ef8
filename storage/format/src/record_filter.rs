//! Which records of a batch stay when a log is compacted: the question that both formats ask while they rebuild a batch.
//!
//! The rules of keeping are the caller's ([`RecordFilter`]); what a rebuilt batch looks like is the formats':
//! [`crate::kafka::filter_batch`] and [`crate::native::filter_native_batch`]. What both keep, whatever goes:
//!
//! - the batch's range of offsets, so that its last sequence still belongs to its last offset;
//! - producer id, epoch and base sequence, leader epoch, kind of timestamps, transaction and control bits, codec;
//! - the offset, timestamp, key, value and headers of every record that stays.
//!
//! A batch of which nothing goes and to which nothing is added is not rebuilt at all.

use crate::ids::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::kafka::{CompressionError, Record};
use crate::native::{NativeBuildError, NativeRecordError};

/// What a filter is told of a batch, whatever its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFacts {
    /// Offset of the first record that the batch ever had.
    pub base_offset: Offset,
    /// Offset of the last record that the batch ever had, inclusive.
    pub last_offset: Offset,
    /// The idempotent producer, or negative.
    pub producer_id: ProducerId,
    /// Its incarnation, or negative.
    pub producer_epoch: ProducerEpoch,
    /// Whether it holds markers of transactions and no data.
    pub is_control: bool,
    /// When its tombstones, or its marker, may go; `None` as long as no compaction has seen them.
    pub delete_horizon: Option<TimestampMs>,
}

/// What becomes of a batch as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchRule {
    /// All records go, and none is asked for.
    pub discards_records: bool,
    /// A batch that loses all of its records stays as a bare header: it holds its producer's last sequence.
    pub retains_empty: bool,
    /// A marker whose transaction has no records left: it gets a delete horizon.
    pub marks_empty_transaction: bool,
}

/// Decides over batches and records, in the order of the log.
pub trait RecordFilter {
    /// Asked once for each batch.
    fn batch(&mut self, batch: &BatchFacts) -> BatchRule;

    /// Whether a record stays. Asked once for each record of a batch that is not a control batch and not discarded:
    /// markers go with their batch or not at all.
    fn keeps(&mut self, batch: &BatchFacts, record: &Record<'_>) -> bool;

    /// The time after which tombstones that are met for the first time may go.
    fn delete_horizon(&self) -> TimestampMs;
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// Nothing goes: the stored bytes are the result.
    Unchanged,
    /// It was rebuilt, with so many records fewer; 0 if it only got its delete horizon.
    Rebuilt {
        /// How many records went.
        dropped: u32,
    },
    /// Its records went, and a bare header was written.
    Emptied {
        /// How many records went.
        dropped: u32,
    },
    /// It went.
    Dropped {
        /// How many records went.
        dropped: u32,
    },
}

/// Why a batch cannot be filtered. It is best kept as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The codec is unknown, or the records do not decompress within the limits.
    #[error("its records cannot be decompressed: {0}")]
    Compression(#[from] CompressionError),
    /// The header is not one that can be filtered.
    #[error(transparent)]
    Batch(#[from] crate::kafka::BatchError),
    /// A Kafka record is not readable.
    #[error(transparent)]
    KafkaRecord(#[from] crate::kafka::RecordError),
    /// A native record is not readable.
    #[error(transparent)]
    NativeRecord(#[from] NativeRecordError),
    /// The batch cannot be built.
    #[error(transparent)]
    KafkaBuild(#[from] crate::kafka::BuildError),
    /// The batch cannot be built.
    #[error(transparent)]
    NativeBuild(#[from] NativeBuildError),
}

/// What the walk over a batch's records came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decisions {
    pub(crate) kept: u32,
    pub(crate) dropped: u32,
    pub(crate) keeps_tombstone: bool,
}

impl Decisions {
    /// Notes the decision over one record.
    pub(crate) fn note(&mut self, keeps: bool, is_tombstone: bool) {
        if keeps {
            self.kept += 1;
            self.keeps_tombstone |= is_tombstone;
        } else {
            self.dropped += 1;
        }
    }

    /// The delete horizon that the rebuilt batch carries, and whether it is a new one.
    pub(crate) fn horizon(
        &self,
        facts: &BatchFacts,
        rule: BatchRule,
        new: TimestampMs,
    ) -> (Option<TimestampMs>, bool) {
        let wants = self.keeps_tombstone || rule.marks_empty_transaction;
        match facts.delete_horizon {
            Some(known) => (Some(known), false),
            None => (wants.then_some(new), wants),
        }
    }
}
