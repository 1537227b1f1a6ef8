//! Finding records by timestamp, exact to the record.
//!
//! The segments' largest timestamps and the sparse index say where to begin; from there batch headers decide, and the
//! batch that may hold the answer is decompressed, within limits.

use corelane_format::kafka::{
    BatchHeader, Compression, DecompressLimits, SplitBatch, TimestampType, decompress, records,
    split_first_batch,
};
use corelane_format::{Offset, TimestampMs};

use super::PartitionLog;
use crate::disk::Disk;
use crate::error::ReadError;
use crate::segment_meta::batch_timestamp;

const READ_BYTES: usize = 1 << 20;

impl<D: Disk> PartitionLog<D> {
    /// The first readable record whose timestamp is at least `timestamp`: its timestamp and offset.
    pub async fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
    ) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        let end = self.readable_offset();
        let mut at = Offset::ZERO;
        loop {
            // The first segment, from `at` on, that has anything so new.
            let found = {
                let state = self.state.borrow();
                at = at.max(state.offsets.log_start());
                state.segments.iter().find_map(|segment| {
                    let meta = &segment.meta;
                    let new_enough = meta
                        .max_timestamp
                        .is_some_and(|(newest, _)| newest >= timestamp);
                    (new_enough && meta.end_offset > at).then_some((meta.header, meta.end_offset))
                })
            };
            let Some((segment, segment_end)) = found else {
                return Ok(None);
            };
            let Some(sought) = self.seek_timestamp(segment, timestamp).await? else {
                // A segment that is deleted meanwhile has nothing to say any more; for one that compaction has replaced the
                // new one speaks.
                if !self.is_replaced(segment.generation, at) {
                    at = segment_end;
                }
                continue;
            };
            let from = at.max(sought);
            let bound = segment_end.min(end);
            if let Some(record) = self
                .first_record_at_or_after(from, bound, timestamp)
                .await?
            {
                return Ok(Some(record));
            }
            if segment_end >= end {
                return Ok(None);
            }
            at = segment_end;
        }
    }

    /// The readable record with the largest timestamp (the first of them), and that timestamp.
    pub async fn max_timestamp(&self) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        let (end, newest) = {
            let state = self.state.borrow();
            let start = state.offsets.log_start();
            let newest = state
                .segments
                .iter()
                .filter(|segment| segment.meta.end_offset > start)
                .filter_map(|segment| segment.meta.max_timestamp)
                .reduce(|best, next| if next.0 > best.0 { next } else { best });
            (state.offsets.readable(), newest)
        };
        let Some((newest, at)) = newest else {
            return Ok(None);
        };
        let start = self.log_start_offset();
        if at >= start
            && at < end
            && let Some(record) = self.first_record_at_or_after(at, end, newest).await?
        {
            return Ok(Some(record));
        }
        // The batch is not readable yet, or not any more, or claims more than its records hold: look at everything.
        self.scan_for_newest(start, end).await
    }

    async fn first_record_at_or_after(
        &self,
        from: Offset,
        end: Offset,
        timestamp: TimestampMs,
    ) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        let mut found = None;
        self.for_each_batch(from, end, |header, section| {
            if batch_timestamp(header) >= timestamp {
                each_record(header, section, |offset, record_timestamp| {
                    if found.is_none() && offset >= from && record_timestamp >= timestamp {
                        found = Some((record_timestamp, offset));
                    }
                });
            }
            found.is_none()
        })
        .await?;
        Ok(found)
    }

    async fn scan_for_newest(
        &self,
        start: Offset,
        end: Offset,
    ) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        let mut newest: Option<(TimestampMs, Offset)> = None;
        self.for_each_batch(start, end, |header, section| {
            if newest.is_none_or(|(known, _)| batch_timestamp(header) > known) {
                each_record(header, section, |offset, timestamp| {
                    let is_newer = newest.is_none_or(|(known, _)| timestamp > known);
                    if offset >= start && timestamp.get() >= 0 && is_newer {
                        newest = Some((timestamp, offset));
                    }
                });
            }
            true
        })
        .await?;
        Ok(newest)
    }

    /// Visits batches in order until `visit` has enough. Quarantined ranges are stepped over.
    async fn for_each_batch(
        &self,
        from: Offset,
        end: Offset,
        mut visit: impl FnMut(&BatchHeader, &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        let mut at = from;
        while at < end {
            let read = match self.read(at, end, READ_BYTES, true).await {
                Ok(read) => read,
                Err(ReadError::Corrupt { end: behind, .. }) if behind > at => {
                    at = behind;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if read.next_offset <= at {
                return Ok(());
            }
            for slice in &read.slices {
                let mut rest = slice.as_ref();
                while let Ok(SplitBatch::Whole {
                    batch,
                    rest: behind,
                }) = split_first_batch(rest)
                {
                    if !visit(batch.header(), batch.records_section()) {
                        return Ok(());
                    }
                    rest = behind;
                }
            }
            at = read.next_offset;
        }
        Ok(())
    }
}

/// Visits every record's offset and timestamp. A batch that cannot be read shows what its header says of its first
/// record, so that a lookup still finds the neighbourhood.
fn each_record(header: &BatchHeader, section: &[u8], mut visit: impl FnMut(Offset, TimestampMs)) {
    let decompressed;
    let body = match header.attributes.compression() {
        Ok(Compression::None) => section,
        Ok(codec) => {
            let Ok(bytes) = decompress(codec, section, DecompressLimits::default()) else {
                visit(header.base_offset, batch_timestamp(header));
                return;
            };
            decompressed = bytes;
            &decompressed[..]
        }
        Err(_) => return,
    };
    let is_append_time = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    for record in records(header, body) {
        let Ok(record) = record else { return };
        let timestamp = if is_append_time {
            header.max_timestamp
        } else {
            record.timestamp
        };
        visit(
            header.base_offset.plus(i64::from(record.offset_delta)),
            timestamp,
        );
    }
}
