//! Changes of a log's extent: deleting records, retention, truncation, closing.
//!
//! One change at a time. Each orders its steps so that a crash leaves a shorter or a longer log, never one with a hole:
//! segments go from the front oldest first, from the back newest first, and a new last segment is durable before the old
//! one goes.

use std::io;
use std::rc::Rc;

use corelane_format::kafka::{SplitBatch, split_first_batch};
use corelane_format::{Offset, TimestampMs};

use super::cut::Cut;
use super::read::LogRead;
use super::{Carry, PartitionLog, Segment};
use crate::disk::{Disk, DiskFile, page_ceil, replace_file_durably};
use crate::error::{ChangeError, FenceReason, LogFenced};
use crate::names::LOG_START;
use crate::retention::{RetentionLimits, SegmentFacts, expired_segments, is_too_old};
use crate::seeded_bugs::seeded_bug;
use crate::sidecar::encode_log_start;

impl<D: Disk> PartitionLog<D> {
    pub(super) fn io(&self, operation: &'static str) -> impl Fn(io::Error) -> ChangeError + use<D> {
        let log_id = self.log_id();
        move |error| ChangeError::Io {
            log_id,
            operation,
            error: Rc::new(error),
        }
    }

    fn check_not_fenced(&self) -> Result<(), LogFenced> {
        self.fenced().map_or(Ok(()), Err)
    }

    /// Makes `to` the first offset that can be read (`DeleteRecords`); durable on return. Segments wholly below it are
    /// deleted, except the last. At most the readable offset; below the log start nothing changes.
    pub async fn advance_log_start(&self, to: Offset) -> Result<(), ChangeError> {
        let _guard = self.changing.lock().await;
        self.check_not_fenced()?;
        {
            let state = self.state.borrow();
            let (log_start, end) = (state.offsets.log_start(), state.offsets.readable());
            if to > end || to < Offset::ZERO {
                return Err(ChangeError::OutOfRange {
                    requested: to,
                    log_start,
                    end,
                });
            }
            if to <= log_start {
                return Ok(());
            }
        }
        // A log start above the end of the segments would lose its meaning.
        self.settle(to).await?;
        let content = encode_log_start(self.log_id(), to);
        replace_file_durably(&self.lane.disk, &self.directory().join(LOG_START), &content)
            .await
            .map_err(self.io("write log start"))?;
        self.state.borrow_mut().offsets.advance_start(to);
        self.wake_progress();
        let below = {
            let state = self.state.borrow();
            expired_segments(
                &facts(&state.segments),
                to,
                TimestampMs::NONE,
                &RetentionLimits::default(),
            )
        };
        self.delete_front(below).await?;
        Ok(())
    }

    /// Deletes what the topic's retention lets go; returns how many segments went. When everything has expired, a new
    /// last segment is begun first, so that offsets go on.
    pub async fn apply_retention(&self, now: TimestampMs) -> Result<usize, ChangeError> {
        // Another change may wait for the disk; retention comes again.
        let Some(_guard) = self.changing.try_lock() else {
            return Ok(0);
        };
        self.check_not_fenced()?;
        let (limits, all_too_old) = {
            let mut state = self.state.borrow_mut();
            state.producers.expire(now);
            let limits = RetentionLimits {
                retention_ms: state.config.retention_ms,
                retention_bytes: state.config.retention_bytes,
            };
            let facts = facts(&state.segments);
            let all = facts
                .iter()
                .all(|segment| is_too_old(segment, now, &limits))
                && !facts.is_empty();
            (limits, all)
        };
        if all_too_old {
            let begun = {
                let mut state = self.state.borrow_mut();
                // What is on its way is waited for by coming again: a full disk must not hold up everybody's retention.
                let quiet = state.offsets.log_end() == state.settled
                    && state.open.is_none()
                    && state.in_flight.is_empty();
                if quiet {
                    self.begin_segment(&mut state);
                } else {
                    state.ride.settle_to = Some(state.offsets.log_end());
                }
                quiet
            };
            if begun {
                self.create_last_segment().await?;
            } else {
                self.mark_dirty();
            }
        }
        let expired = {
            let state = self.state.borrow();
            expired_segments(
                &facts(&state.segments),
                state.offsets.log_start(),
                now,
                &limits,
            )
        };
        self.delete_front(expired).await
    }

    async fn create_last_segment(&self) -> Result<(), ChangeError> {
        let last = {
            let state = self.state.borrow();
            state
                .segments
                .last()
                .map(|segment| (segment.file.clone(), segment.meta.header))
        };
        let Some((file, header)) = last else {
            return Ok(());
        };
        let _guard = file.creating.lock().await;
        if !file.exists.get() {
            self.create_segment(&file, header)
                .await
                .map_err(|(operation, error)| self.io(operation)(error))?;
        }
        Ok(())
    }

    /// Deletes at most `count` segments from the front: only what is settled, and never the last one that is on disk,
    /// since that tells the next start where the log goes on.
    async fn delete_front(&self, count: usize) -> Result<usize, ChangeError> {
        let gone: Vec<Segment<D>> = {
            let mut state = self.state.borrow_mut();
            let settled = state.settled;
            let safe = state
                .segments
                .partition_point(|segment| segment.meta.end_offset <= settled);
            let last_on_disk = state
                .segments
                .iter()
                .rposition(|segment| segment.file.exists.get());
            let count = if seeded_bug("unflushed-segment-deleted") {
                count
            } else {
                count.min(safe).min(last_on_disk.unwrap_or(0))
            };
            if count == 0 {
                return Ok(0);
            }
            let gone: Vec<_> = state.segments.drain(..count).collect();
            if let Some(first) = state
                .segments
                .first()
                .map(|segment| segment.meta.base_offset())
            {
                state.offsets.advance_start(first);
            }
            gone
        };
        self.wake_progress();
        let count = gone.len();
        let retired = self.delete_segments(gone).await?;
        self.lane
            .disk
            .sync_directory(self.directory())
            .await
            .map_err(self.io("sync log directory"))?;
        let lane = &self.lane;
        lane.spares.make_available(&lane.disk, retired).await;
        self.lane.space.notify();
        Ok(count)
    }

    /// Cuts the log: the batch that holds `to` and everything after it are gone, durably on return. For logs that follow
    /// another; appends are refused meanwhile. Consumers may have seen what goes: the caller answers for that.
    pub async fn truncate(&self, to: Offset) -> Result<(), ChangeError> {
        let _guard = self.changing.lock().await;
        self.check_not_fenced()?;
        let end = {
            let mut state = self.state.borrow_mut();
            let (log_start, end) = (state.offsets.log_start(), state.offsets.log_end());
            if to < log_start || to > end {
                return Err(ChangeError::OutOfRange {
                    requested: to,
                    log_start,
                    end,
                });
            }
            if to == end {
                return Ok(());
            }
            state.frozen = true;
            end
        };
        let result = self.truncate_frozen(to, end).await;
        self.state.borrow_mut().frozen = false;
        result
    }

    async fn truncate_frozen(&self, to: Offset, end: Offset) -> Result<(), ChangeError> {
        // What the journal has of the log must not count any more: it is in segments from here on.
        self.settle(end).await?;
        let _saving = self.saving.lock().await;
        // Whole batches only, as Kafka cuts.
        let read = self.read(to, end, 1, true).await?;
        let result = self.cut_at(to, &read).await;
        if let Err(ChangeError::Io {
            operation, error, ..
        }) = &result
        {
            // Memory and disk may disagree from here on.
            self.fence(FenceReason::Io {
                operation,
                error: error.clone(),
            });
        }
        result
    }

    async fn cut_at(&self, to: Offset, read: &LogRead) -> Result<(), ChangeError> {
        let cut = match read
            .slices
            .first()
            .map(|slice| split_first_batch(slice.as_ref()))
        {
            Some(Ok(SplitBatch::Whole { batch, .. })) => batch.header().base_offset.min(to),
            _ => to,
        };
        let marker = {
            let mut state = self.state.borrow_mut();
            state.history += 1;
            Cut {
                log_id: self.log_id(),
                end: cut.max(state.offsets.log_start()),
                history: state.history,
            }
        };
        let (disk, directory) = (&self.lane.disk, self.directory());
        // Durable together with the marker: what is appended later must not pass for compacted.
        self.forget_compaction().await?;
        if !seeded_bug("truncation-not-marked") {
            marker
                .leave(disk, directory)
                .await
                .map_err(self.io("mark the cut"))?;
            self.cut_is_marked.set(true);
        }
        let mut gone: Vec<Segment<D>> = {
            let mut state = self.state.borrow_mut();
            // What cannot be read any more must be out of reach before the first byte of it goes.
            let log_start = state.offsets.log_start();
            state.offsets.truncate(cut.max(log_start));
            state.settled = state.offsets.log_end();
            state.ride.rode_bytes = 0;
            state.ride.settle_to = None;
            state.producers.truncate(cut);
            state.tail.clear();
            state.regions.clear();
            state.checkpoint.forget();
            state.carry = Carry::None;
            let keep = state
                .segments
                .partition_point(|segment| segment.meta.base_offset() < cut);
            let gone = state.segments.drain(keep..).collect();
            if let Some(last) = state.segments.last_mut() {
                last.meta.cut(cut);
                last.closed = true;
            }
            gone
        };
        gone.reverse();
        let retired = self.delete_segments(gone).await?;
        let base = self
            .state
            .borrow()
            .segments
            .last()
            .map(|last| last.meta.base_offset());
        if let Some(base) = base {
            self.delete_sidecar(base).await?;
        }
        disk.sync_directory(directory)
            .await
            .map_err(self.io("sync log directory"))?;
        self.begin_segment(&mut self.state.borrow_mut());
        // The new segment's base bounds the old one, and by its history nothing from before the cut that stands elsewhere
        // belongs to the log any more. With it the mark goes.
        self.create_last_segment().await?;
        self.lane.spares.make_available(disk, retired).await;
        Ok(())
    }

    /// Flushes everything, leaves the marker of a clean shutdown, and takes no more appends. Waiters of what is flushed
    /// are answered, others cannot be left.
    pub(crate) async fn close(&self) -> Result<(), ChangeError> {
        // Commits that wait for space look once more and then give up; so does the change that may wait for them.
        self.state.borrow_mut().closing = true;
        self.lane.space.notify();
        let _guard = self.changing.lock().await;
        self.check_not_fenced()?;
        let end = {
            let mut state = self.state.borrow_mut();
            state.frozen = true;
            state.offsets.log_end()
        };
        self.settle(end).await?;
        let result = self.leave_marker().await;
        self.fence(FenceReason::Closed);
        for segment in &self.state.borrow().segments {
            *segment.file.handle.borrow_mut() = None;
        }
        result
    }

    async fn leave_marker(&self) -> Result<(), ChangeError> {
        let last = {
            let mut state = self.state.borrow_mut();
            let producers = state.producers.clone();
            state
                .segments
                .last_mut()
                .filter(|segment| segment.file.exists.get())
                .map(|segment| {
                    segment.sealed_producers = Some(producers);
                    (
                        segment.file.clone(),
                        segment.meta.header.generation,
                        page_ceil(segment.meta.end_position),
                        segment.closed,
                        segment.checkpoint_position == segment.meta.end_position,
                    )
                })
        };
        let Some((file, generation, end, closed, is_marked)) = last else {
            return Ok(());
        };
        // Space that is being reserved would come back behind the new end.
        loop {
            let progress = self.progress.wait();
            if !file.reserving.get() {
                break;
            }
            progress.await;
        }
        // Unused space goes back, so that the next start has little to look at. What is torn or damaged stays as it is.
        if !closed && end < file.reserved_bytes.get() {
            let handle = file
                .open(&self.lane.disk)
                .await
                .map_err(self.io("open segment"))?;
            handle
                .truncate(end)
                .await
                .map_err(self.io("release space"))?;
            handle.flush().await.map_err(self.io("flush segment"))?;
            file.reserved_bytes.set(end);
        }
        if !is_marked {
            self.write_sidecar(generation).await;
        }
        Ok(())
    }
}

fn facts<D: Disk>(segments: &[Segment<D>]) -> Vec<SegmentFacts> {
    segments
        .iter()
        .map(|segment| SegmentFacts {
            end_offset: segment.meta.end_offset,
            size_bytes: segment.meta.end_position,
            is_empty: segment.meta.is_emptied(),
            max_timestamp: segment
                .meta
                .max_timestamp
                .filter(|_| segment.meta.gaps.is_empty())
                .map(|(timestamp, _)| timestamp),
        })
        .collect()
}
