//! Taking batches in: offsets, stamps, one copy.

use std::task::Waker;

use corelane_format::kafka::{TimestampType, ValidatedBatch};
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, LeaderEpoch, Offset, TimestampMs};

use super::{Carry, LogState, PartitionLog, Segment, SegmentFile};
use crate::chunk::{OpenChunk, SealContext, chunk_capacity, place_block};
use crate::disk::Disk;
use crate::error::{AppendError, LogFenced};
use crate::generation::counter;
use crate::lane::Lane;
use crate::names::segment_path;
use crate::producer_state::ProducerError;
use crate::roll::{RollInput, should_roll};
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::SegmentHeader;
use crate::segment_meta::SegmentMeta;

/// How often a log without space looks again, by the clock of the appends.
const SPACE_RETRY_MS: i64 = 1000;

/// Where a batch went. Inclusive, as batches are; not durable yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// The timestamp it was given, on topics with `LogAppendTime`.
    pub log_append_time: Option<TimestampMs>,
}

impl Appended {
    /// What to wait for until the batch is readable.
    pub fn end_offset(&self) -> Offset {
        self.last_offset.plus(1)
    }
}

impl<D: Disk> PartitionLog<D> {
    /// Appends a batch: checks its producer, assigns offsets, stamps, copies. Nothing is durable on return: that is
    /// when [`PartitionLog::wait_readable`] resolves for [`Appended::end_offset`], or later, as the topic says.
    ///
    /// `now` is the wall clock, for `LogAppendTime` and for ages.
    pub fn append(
        &self,
        batch: &ValidatedBatch<'_>,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let mut woken: Vec<Waker> = Vec::new();
        let size_bytes = batch.bytes().len();
        let appended = {
            let mut state = self.state.borrow_mut();
            self.check_writable(&mut state, size_bytes, now)?;
            check_producer(&state, batch)?;
            let header = batch.header();
            let base_offset = state.offsets.log_end();
            let last_offset = base_offset.plus(i64::from(header.last_offset_delta));
            let log_append_time =
                (state.config.timestamp_type == TimestampType::LogAppendTime).then_some(now);
            let timestamp = log_append_time.unwrap_or(header.latest_timestamp());
            self.roll_if_due(&mut state, size_bytes, timestamp, last_offset, now);
            self.make_room(&mut state, size_bytes, base_offset);

            let mut header = *header;
            header.base_offset = base_offset;
            if let Some(now) = log_append_time {
                header.max_timestamp = now;
                header.attributes = header
                    .attributes
                    .with_timestamp_type(TimestampType::LogAppendTime);
            }
            if let Some(open) = &mut state.open {
                open.push(
                    batch.bytes(),
                    base_offset,
                    last_offset,
                    leader_epoch,
                    log_append_time,
                );
            }
            if let Some(segment) = state.active() {
                segment.meta.add_batch(&header);
            }
            state.producers.observe(&header, now);
            let before = state.offsets.readable();
            state.offsets.append(last_offset.plus(1));
            state.unflushed_bytes += size_bytes;
            state.ride.is_idle = false;
            let readable = state.offsets.readable();
            if readable > before {
                state.waiters.reached(readable, &mut woken);
            }
            Appended {
                base_offset,
                last_offset,
                log_append_time,
            }
        };
        self.lane.add_unflushed(size_bytes);
        self.lane.count(|metrics| {
            metrics.appended_batches += 1;
            metrics.appended_bytes += size_bytes as u64;
        });
        self.mark_dirty();
        woken.into_iter().for_each(Waker::wake);
        Ok(appended)
    }

    fn check_writable(
        &self,
        state: &mut LogState<D>,
        size_bytes: usize,
        now: TimestampMs,
    ) -> Result<(), AppendError> {
        if let Some(reason) = &state.fenced {
            return Err(LogFenced {
                log_id: self.log_id(),
                reason: reason.clone(),
            }
            .into());
        }
        if state.frozen {
            return Err(AppendError::Busy {
                log_id: self.log_id(),
            });
        }
        if size_bytes > state.config.message_size_bytes_max {
            return Err(AppendError::TooLarge {
                got: size_bytes,
                limit: state.config.message_size_bytes_max,
            });
        }
        if state.space_waiters > 0 {
            // Refusing early keeps what waits for space small; each second one refusal makes the log look again.
            let waited = now.get().saturating_sub(state.space_asked_at.get());
            if !(0..SPACE_RETRY_MS).contains(&waited) {
                state.space_asked_at = now;
                self.lane.space.notify();
            }
            return Err(AppendError::NoSpace {
                log_id: self.log_id(),
            });
        }
        Ok(())
    }

    pub(super) fn roll_if_due(
        &self,
        state: &mut LogState<D>,
        size_bytes: usize,
        timestamp: TimestampMs,
        last_offset: Offset,
        now: TimestampMs,
    ) {
        let open_bytes = state.open.as_ref().map_or(0, |open| open.used() as u64);
        let due = state.segments.last().is_none_or(|segment| {
            should_roll(&RollInput {
                size_bytes: segment.meta.end_position + open_bytes,
                is_empty: segment.meta.end_offset == segment.meta.base_offset(),
                first_timestamp: segment.meta.first_timestamp,
                batch_bytes: (size_bytes + COMMIT_BLOCK_HEADER_BYTES) as u64,
                batch_timestamp: timestamp,
                segment_size_bytes_max: state.config.segment_size_bytes,
                segment_age_ms_max: state.config.segment_age_ms_max,
                offset_span: last_offset.minus(segment.meta.base_offset()),
                closed: segment.closed,
                now,
            })
        });
        if due {
            self.begin_segment(state);
        }
    }

    /// Seals what is open and makes a new segment the active one. Its file comes with its first commit, which waits until
    /// all earlier commits are durable.
    pub(crate) fn begin_segment(&self, state: &mut LogState<D>) {
        state.seal_open(false);
        let base_offset = state.offsets.log_end();
        // An empty segment of the same base gives its name to the new one: nothing of it is readable.
        if state
            .segments
            .last()
            .is_some_and(|last| last.meta.base_offset() == base_offset)
        {
            state.segments.pop();
        }
        let producers = state.producers.clone();
        if let Some(sealed) = state.segments.last_mut() {
            sealed.sealed_producers = Some(producers);
        }
        let generation = self.lane.generations.after(state.generation_counter);
        state.generation_counter = counter(generation);
        let header = SegmentHeader {
            log_id: self.log_id(),
            generation,
            base_offset,
            history: state.history,
        };
        state.carry = Carry::None;
        state.segments.push(Segment {
            meta: SegmentMeta::new(header),
            file: SegmentFile::new(segment_path(self.directory(), base_offset), false),
            closed: false,
            checkpoint_position: 0,
            sealed_producers: None,
        });
    }

    /// Makes the open chunk one that has room for a batch.
    pub(super) fn make_room(
        &self,
        state: &mut LogState<D>,
        size_bytes: usize,
        base_offset: Offset,
    ) {
        let config = &self.lane.config;
        if let Some(open) = &mut state.open {
            if open.has_room(size_bytes) {
                return;
            }
            let needed = open.used() + size_bytes;
            if needed <= config.commit_size_bytes_max {
                let capacity = chunk_capacity(
                    needed,
                    open.capacity() * 4,
                    config.chunk_size_bytes_min,
                    config.commit_size_bytes_max,
                );
                // A recycled buffer may be a little smaller than asked for.
                let mut buffer = self.lane.buffer(capacity);
                if buffer.as_ref().len() < needed {
                    buffer = self.lane.disk.allocate(capacity);
                }
                let old = open.grow(buffer);
                self.lane.recycle(std::rc::Rc::new(old));
                return;
            }
        }
        state.seal_open(true);
        state.open_chunk(&self.lane, size_bytes, base_offset);
    }
}

fn check_producer<D: Disk>(
    state: &LogState<D>,
    batch: &ValidatedBatch<'_>,
) -> Result<(), AppendError> {
    if seeded_bug("duplicate-appended-again") {
        return Ok(());
    }
    state
        .producers
        .check(batch.header())
        .map_err(|error| match error {
            ProducerError::Duplicate {
                base_offset,
                last_offset,
            } => AppendError::DuplicateSequence {
                base_offset,
                last_offset,
            },
            ProducerError::OutOfOrder {
                producer_id,
                epoch,
                got,
                last,
            } => AppendError::OutOfOrderSequence {
                producer_id,
                epoch,
                got,
                last,
            },
            ProducerError::InvalidEpoch {
                producer_id,
                got,
                current,
            } => AppendError::InvalidProducerEpoch {
                producer_id,
                got,
                current,
            },
        })
}

impl<D: Disk> LogState<D> {
    /// Seals the open chunk, if there is one, into the queue of the flusher.
    pub(crate) fn seal_open(&mut self, is_full: bool) {
        let Some(open) = self.open.take() else { return };
        if open.is_empty() {
            return;
        }
        let settled_offset = self.settled;
        let Some(segment) = self.segments.last_mut() else {
            return;
        };
        let context = SealContext {
            settled_offset,
            previous_checksum: segment.meta.chain,
            is_full,
        };
        let chunk = std::rc::Rc::new(open.seal(&context));
        segment.meta.end_block(chunk.end_position(), chunk.checksum);
        self.carry = Carry::Chunk(chunk.clone());
        // Follows larger commits at once and smaller ones slowly.
        self.recent_commit_bytes = chunk
            .data_bytes
            .max(self.recent_commit_bytes - self.recent_commit_bytes / 8);
        self.tail.insert(chunk.first_offset(), chunk.clone());
        self.sealed.push_back(chunk);
        self.take_checkpoint();
    }

    fn open_chunk(&mut self, lane: &Lane<D>, size_bytes: usize, base_offset: Offset) {
        let write_pending = (!self.in_flight.is_empty() || !self.sealed.is_empty())
            && !seeded_bug("page-in-flight-written-again");
        let interval = self.config.index_interval_bytes;
        let recent = self.recent_commit_bytes;
        let Some(segment) = self.segments.last_mut() else {
            return;
        };
        let placement = place_block(segment.meta.end_position, write_pending);
        let start = (placement.block_position - placement.page_position) as usize;
        let needed = start + COMMIT_BLOCK_HEADER_BYTES + size_bytes;
        let capacity = chunk_capacity(
            needed,
            recent + recent / 8,
            lane.config.chunk_size_bytes_min,
            lane.config.commit_size_bytes_max,
        );
        let mut buffer = lane.buffer(capacity);
        if buffer.as_ref().len() < needed {
            buffer = lane.disk.allocate(capacity);
        }
        let carry: &[u8] = match &self.carry {
            Carry::None => &[],
            Carry::Chunk(chunk) => chunk.last_page(),
            Carry::Bytes(bytes) => bytes,
        };
        let carry = if placement.carry_bytes == 0 {
            &[][..]
        } else {
            carry
        };
        assert_eq!(
            carry.len(),
            placement.carry_bytes,
            "the last page of log {} is known",
            segment.meta.header.log_id
        );
        let open = OpenChunk::new(buffer, placement, carry, segment.meta.header, base_offset);
        segment
            .meta
            .begin_block(placement.block_position, base_offset, interval);
        self.open = Some(open);
    }
}
