//! Rebuilding a stored batch without some of its records, as Kafka's log cleaner does.
//!
//! | | in the rebuilt batch |
//! |---|---|
//! | base offset, last offset delta | as before |
//! | base timestamp | the delete horizon if the batch has one, else the first record's that stays |
//! | max timestamp | the largest that stays; the broker's time as before |
//! | a batch without records | no codec, no delete horizon, base timestamp -1, max timestamp as before |
//!
//! A delete horizon (KIP-534) is when the batch's tombstones may go: the time of the compaction that saw them first plus
//! `delete.retention.ms`. Attribute bit 6 says that the base timestamp is one; deltas count from it.

use super::attributes::Compression;
use super::builder::BatchBuilder;
use super::compression::{DecompressLimits, decompress_into};
use super::header::{BATCH_HEADER_BYTES, BATCH_PREFIX_BYTES, BatchHeader};
use super::record::records;
use super::stamp::stamp_crc;
use super::validate::StoredBatch;
use crate::ids::TimestampMs;
use crate::record_filter::{BatchFacts, Decisions, FilterError, Filtered, RecordFilter};

/// Memory that is used again from batch to batch.
#[derive(Debug, Default)]
pub struct FilterScratch {
    section: Vec<u8>,
    keeps: Vec<bool>,
    builder: BatchBuilder,
}

impl From<&BatchHeader> for BatchFacts {
    fn from(header: &BatchHeader) -> Self {
        Self {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            is_control: header.attributes.is_control(),
            delete_horizon: header.delete_horizon(),
        }
    }
}

/// Asks `filter` over every record of `batch`, whose CRC was checked, and appends the batch that is left to `out`.
///
/// Nothing is appended for [`Filtered::Unchanged`] and [`Filtered::Dropped`], nor on an error.
pub fn filter_batch(
    batch: &StoredBatch<'_>,
    limits: DecompressLimits,
    filter: &mut impl RecordFilter,
    scratch: &mut FilterScratch,
    out: &mut Vec<u8>,
) -> Result<Filtered, FilterError> {
    let header = batch.header();
    let facts = BatchFacts::from(header);
    let rule = filter.batch(&facts);
    if header.records_count <= 0 {
        return Ok(if rule.retains_empty {
            Filtered::Unchanged
        } else {
            Filtered::Dropped { dropped: 0 }
        });
    }
    let codec = header.attributes.compression()?;
    let section = if codec == Compression::None {
        batch.records_section()
    } else {
        decompress_into(codec, batch.records_section(), limits, &mut scratch.section)?;
        &scratch.section
    };
    scratch.keeps.clear();
    let mut decisions = Decisions::default();
    for record in records(header, section) {
        let record = record?;
        let keeps = !rule.discards_records && (facts.is_control || filter.keeps(&facts, &record));
        scratch.keeps.push(keeps);
        decisions.note(keeps, record.value.is_none());
    }
    let dropped = decisions.dropped;
    if decisions.kept == 0 {
        if !rule.retains_empty {
            return Ok(Filtered::Dropped { dropped });
        }
        put_empty(header, out);
        return Ok(Filtered::Emptied { dropped });
    }
    let (horizon, is_new) = decisions.horizon(&facts, rule, filter.delete_horizon());
    if dropped == 0 && !is_new {
        return Ok(Filtered::Unchanged);
    }
    let builder = &mut scratch.builder;
    builder.compression(codec).retain(header, horizon);
    for (record, keeps) in records(header, section).zip(&scratch.keeps) {
        if *keeps {
            builder.append_record(&record?)?;
        }
    }
    builder.finish_into(out)?;
    Ok(Filtered::Rebuilt { dropped })
}

/// Appends the batch of `header` without its records.
fn put_empty(header: &BatchHeader, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + BATCH_HEADER_BYTES, 0);
    let batch = &mut out[start..];
    BatchHeader {
        batch_length: (BATCH_HEADER_BYTES - BATCH_PREFIX_BYTES) as i32,
        attributes: header
            .attributes
            .with_compression(Compression::None)
            .with_delete_horizon(false),
        base_timestamp: TimestampMs::NONE,
        records_count: 0,
        ..*header
    }
    .encode_into(batch);
    stamp_crc(batch);
}
