//! Rebuilding a native batch without some of its records: [`crate::kafka::filter_batch`]'s twin, by the same rules.
//!
//! Native records carry whole timestamps, so a delete horizon in the base timestamp changes none of them.

use super::builder::NativeBatchBuilder;
use super::header::NativeBatchHeader;
use super::reader::NativeBatch;
use crate::ids::TimestampMs;
use crate::record_filter::{BatchFacts, Decisions, FilterError, Filtered, RecordFilter};

impl From<&NativeBatchHeader> for BatchFacts {
    fn from(header: &NativeBatchHeader) -> Self {
        Self {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            is_control: header.attributes.is_control(),
            delete_horizon: header
                .attributes
                .has_delete_horizon()
                .then_some(header.base_timestamp),
        }
    }
}

/// Asks `filter` over every record of `batch` and builds what is left in `builder`, whose settings are overwritten: its
/// bytes, for [`Filtered::Rebuilt`] and [`Filtered::Emptied`].
pub fn filter_native_batch<'b>(
    batch: &NativeBatch<'_>,
    filter: &mut impl RecordFilter,
    keeps: &mut Vec<bool>,
    builder: &'b mut NativeBatchBuilder,
) -> Result<(Filtered, &'b [u8]), FilterError> {
    let header = batch.header();
    let facts = BatchFacts::from(header);
    let rule = filter.batch(&facts);
    if header.records_count == 0 {
        let filtered = if rule.retains_empty {
            Filtered::Unchanged
        } else {
            Filtered::Dropped { dropped: 0 }
        };
        return Ok((filtered, &[]));
    }
    keeps.clear();
    let mut decisions = Decisions::default();
    for record in batch.records() {
        let record = record?;
        let stays = !rule.discards_records && (facts.is_control || filter.keeps(&facts, &record));
        keeps.push(stays);
        decisions.note(stays, record.value.is_none());
    }
    let dropped = decisions.dropped;
    if decisions.kept == 0 {
        if !rule.retains_empty {
            return Ok((Filtered::Dropped { dropped }, &[]));
        }
        builder.retain(
            &NativeBatchHeader {
                attributes: header.attributes.with_delete_horizon(false),
                base_timestamp: TimestampMs::NONE,
                ..*header
            },
            None,
        );
        return Ok((Filtered::Emptied { dropped }, builder.finish_empty()?));
    }
    let (horizon, is_new) = decisions.horizon(&facts, rule, filter.delete_horizon());
    if dropped == 0 && !is_new {
        return Ok((Filtered::Unchanged, &[]));
    }
    builder.retain(header, horizon);
    for (record, stays) in batch.records().zip(&*keeps) {
        if *stays {
            builder.append_record(&record?)?;
        }
    }
    Ok((Filtered::Rebuilt { dropped }, builder.finish()?))
}
