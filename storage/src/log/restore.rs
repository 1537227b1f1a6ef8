//! Putting back what only the journal has: after a crash, before the log is served.

use corelane_format::kafka::{StoredBatch, stored_batches};
use corelane_format::{Offset, TimestampMs};

use super::PartitionLog;
use crate::disk::Disk;
use crate::error::{ChangeError, ReadError};
use crate::seeded_bugs::seeded_bug;
use crate::segment_meta::batch_timestamp;

/// What restoring an entry did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Batches appended; the others were there.
    pub(crate) batches: u64,
    pub(crate) size_bytes: u64,
    /// Records that were acknowledged and are nowhere.
    pub(crate) lost: Option<std::ops::Range<Offset>>,
}

impl<D: Disk> PartitionLog<D> {
    /// Appends stored batches as they are, from the log's end on: what is there already is left alone. If they begin above
    /// the end, the records between were acknowledged and are lost; they are quarantined.
    ///
    /// # Errors
    /// The log was fenced, or a batch is not what it should be; those before it are in.
    pub(crate) async fn restore(
        &self,
        first_offset: Offset,
        batches: &[u8],
    ) -> Result<Restored, ChangeError> {
        let mut restored = Restored::default();
        for batch in stored_batches(batches) {
            let batch = batch.map_err(|error| self.not_restorable(first_offset, &error))?;
            batch
                .verify_crc()
                .map_err(|error| self.not_restorable(first_offset, &error))?;
            let header = batch.header();
            let end = self.log_end_offset();
            if header.last_offset() < end && !seeded_bug("batches-put-back-twice") {
                continue;
            }
            if header.base_offset > end {
                self.skip_to(header.base_offset).await?;
                restored.lost = Some(end..header.base_offset);
            }
            self.put_back(&batch);
            restored.batches += 1;
            restored.size_bytes += batch.bytes().len() as u64;
        }
        Ok(restored)
    }

    fn not_restorable(&self, at: Offset, error: &dyn std::fmt::Display) -> ChangeError {
        ChangeError::Read(ReadError::Corrupt {
            log_id: self.log_id(),
            start: at,
            end: at.plus(1),
            detail: format!("journal entry: {error}"),
        })
    }

    fn put_back(&self, batch: &StoredBatch<'_>) {
        let size_bytes = batch.bytes().len();
        {
            let mut state = self.state.borrow_mut();
            let header = *batch.header();
            let timestamp = batch_timestamp(&header);
            let last_offset = header.last_offset();
            self.roll_if_due(
                &mut state,
                size_bytes,
                timestamp,
                last_offset,
                TimestampMs::NONE,
            );
            self.make_room(&mut state, size_bytes, header.base_offset);
            if let Some(open) = &mut state.open {
                open.push(
                    batch.bytes(),
                    header.base_offset,
                    last_offset,
                    header.partition_leader_epoch,
                    None,
                );
            }
            if let Some(segment) = state.active() {
                segment.meta.add_batch(&header);
            }
            state.producers.observe(&header, timestamp);
            state.offsets.append(last_offset.plus(1));
            state.unflushed_bytes += size_bytes;
        }
        self.lane.add_unflushed(size_bytes);
        self.mark_dirty();
    }

    /// Goes on at a higher offset: what lies between is quarantined, as a hole between two segments.
    async fn skip_to(&self, to: Offset) -> Result<(), ChangeError> {
        let end = self.log_end_offset();
        self.settle(end).await?;
        let mut state = self.state.borrow_mut();
        tracing::error!(log_id = %self.log_id(), start = %end, end = %to, "acknowledged records are lost: quarantined");
        if let Some(last) = state.segments.last_mut() {
            last.meta.quarantine(end..to);
            last.meta.end_offset = to;
            last.closed = true;
        }
        state.offsets.append(to);
        state.offsets.flush(to);
        state.settled = to;
        self.begin_segment(&mut state);
        Ok(())
    }
}
