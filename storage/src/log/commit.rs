//! Writing commits: who may start, what must be in place first, what their end means.
//!
//! - Small commits: one in flight for a log, so that the next one gathers what arrives meanwhile. Full ones overlap, up
//!   to `commits_in_flight_max`.
//! - A commit into a new segment starts only when every earlier commit is durable.
//! - The flushed offset advances over the gapless prefix of finished commits, and waiters are woken in order.
//! - Small commits ride in the lane's journal instead, see [`super::ride`].
//! - A failed or short write fences the log at once: nothing is retried. Running out of space or descriptors
//!   before anything was written is different, since nothing was written: the commit waits for room and the log refuses appends meanwhile.

use std::io;
use std::rc::Rc;
use std::task::Waker;

use corelane_format::FilePosition;

use super::space::{is_full, is_shortage};
use super::{InFlight, LogState, PartitionLog, SegmentFile};
use crate::chunk::Chunk;
use crate::disk::{Disk, DiskFile, short_write};
use crate::error::FenceReason;
use crate::journal::route::CommitRoute;
use crate::lane::cache::Piece;
use crate::lane::task_set::LaneTask;
use crate::reserve::{reserve_ahead, reserve_target};
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::SegmentHeader;

pub(super) type StepResult<T> = Result<T, (&'static str, io::Error)>;

pub(super) fn step(operation: &'static str) -> impl FnOnce(io::Error) -> (&'static str, io::Error) {
    move |error| (operation, error)
}

/// What a log would have the flusher do.
pub(crate) enum NextStep {
    /// Nothing now.
    Nothing,
    /// A write to its segment.
    Write(LaneTask),
    /// It would write to its segment, but the lane has no write left.
    NoWriteLeft,
    /// Its pending data should go with the next journal block.
    Ride,
}

impl<D: Disk> LogState<D> {
    /// The next commit that may start now, if any; it counts as in flight from here on.
    fn next_commit(&mut self, commits_in_flight_max: usize) -> Option<Rc<Chunk<D::Buffer>>> {
        if self.in_flight.len() >= commits_in_flight_max {
            return None;
        }
        let next = self.sealed.front()?;
        if let Some(last) = self.in_flight.back() {
            let same_segment = last.chunk.segment.generation == next.segment.generation;
            if !next.is_full || !(same_segment || seeded_bug("roll-before-all-is-durable")) {
                return None;
            }
        }
        let chunk = self.sealed.pop_front()?;
        self.in_flight.push_back(InFlight {
            chunk: chunk.clone(),
            done: false,
        });
        Some(chunk)
    }
}

impl<D: Disk> PartitionLog<D> {
    /// What is to be done for this log now, for the flusher. A write has been counted as started.
    pub(crate) fn next_step(
        self: &Rc<Self>,
        journal_room_bytes: usize,
        may_write: bool,
    ) -> NextStep {
        let chunk = {
            let mut state = self.state.borrow_mut();
            if state.fenced.is_some() {
                return NextStep::Nothing;
            }
            match state.route(journal_room_bytes) {
                CommitRoute::Journal => return NextStep::Ride,
                CommitRoute::Wait => {}
                CommitRoute::Segment if !may_write => return NextStep::NoWriteLeft,
                CommitRoute::Segment => state.seal_open(false),
            }
            if !may_write {
                return if state.sealed.is_empty() {
                    NextStep::Nothing
                } else {
                    NextStep::NoWriteLeft
                };
            }
            state.next_commit(self.lane.config.commits_in_flight_max)
        };
        let Some(chunk) = chunk else {
            return NextStep::Nothing;
        };
        self.lane.write_started();
        let log = self.clone();
        NextStep::Write(Box::pin(async move {
            log.commit(chunk).await;
        }))
    }

    async fn commit(self: Rc<Self>, chunk: Rc<Chunk<D::Buffer>>) {
        if seeded_bug("acknowledged-before-written") {
            self.committed(&chunk);
        }
        let result = self.write_chunk(&chunk).await;
        self.lane.write_finished();
        match result {
            Ok(()) => self.committed(&chunk),
            Err((operation, error)) => self.fail(operation, error),
        }
    }

    pub(crate) fn fail(&self, operation: &'static str, error: io::Error) {
        tracing::error!(log_id = %self.log_id(), operation, %error, "log fenced: no more writes until it is reopened");
        self.lane.count(|metrics| metrics.failures += 1);
        self.fence(FenceReason::Io {
            operation,
            error: Rc::new(error),
        });
    }

    async fn write_chunk(&self, chunk: &Chunk<D::Buffer>) -> StepResult<()> {
        let segment_file = {
            let mut state = self.state.borrow_mut();
            let segment = state.segment_of(chunk.segment.generation);
            segment.map(|segment| segment.file.clone())
        };
        let Some(segment_file) = segment_file else {
            return Err(("find segment", io::Error::from(io::ErrorKind::NotFound)));
        };
        let file = self.writable_file(&segment_file, chunk.segment).await?;
        self.ensure_reserved(&segment_file, &file, chunk.write_end())
            .await?;
        let position = FilePosition::new(chunk.write_position());
        let result = file.write_at(chunk.buffer.clone(), position).await;
        if result.is_err() && seeded_bug("failed-write-acknowledged") {
            return Ok(());
        }
        let written = result.map_err(step("write"))?;
        if written != chunk.write_bytes() && !seeded_bug("short-write-acknowledged") {
            return Err(("write", short_write(written, chunk.write_bytes())));
        }
        Ok(())
    }

    /// The end of a commit: the flushed offset moves over everything that is now gapless.
    fn committed(&self, chunk: &Rc<Chunk<D::Buffer>>) {
        let mut woken: Vec<Waker> = Vec::new();
        let mut flushed_chunks = Vec::new();
        let mut released = 0;
        {
            let mut state = self.state.borrow_mut();
            if seeded_bug("flushed-over-a-gap") {
                state
                    .in_flight
                    .iter_mut()
                    .for_each(|entry| entry.done = true);
            }
            if let Some(entry) = state
                .in_flight
                .iter_mut()
                .find(|entry| Rc::ptr_eq(&entry.chunk, chunk))
            {
                entry.done = true;
            }
            let fenced = state.fenced.is_some() && !seeded_bug("fenced-log-acknowledges");
            let before = state.offsets.readable();
            while state.in_flight.front().is_some_and(|entry| entry.done) {
                let Some(entry) = state.in_flight.pop_front() else {
                    break;
                };
                // A fenced log acknowledges nothing more, even where a late write succeeded.
                if fenced {
                    continue;
                }
                entry.chunk.flushed.set(true);
                let end = entry.chunk.end_offset();
                state.settled = end;
                // The journal may be ahead of the segments.
                let flushed = state.offsets.flushed().max(end);
                state.offsets.flush(flushed);
                // What rode is the oldest part of what is not settled.
                let rode = entry.chunk.data_bytes.min(state.ride.rode_bytes);
                state.ride.rode_bytes -= rode;
                released += entry.chunk.data_bytes - rode;
                flushed_chunks.push(entry.chunk);
            }
            if !fenced {
                state.unflushed_bytes -= released;
                let readable = state.offsets.readable();
                if readable > before {
                    state.waiters.reached(readable, &mut woken);
                }
            }
        }
        self.lane.count(|metrics| {
            metrics.commits += 1;
            metrics.commit_bytes += chunk.write_bytes() as u64;
        });
        self.lane.sub_unflushed(released);
        for flushed in flushed_chunks {
            let piece = Piece::Chunk(flushed.first_offset());
            let charge = flushed.charge_bytes;
            drop(flushed);
            self.lane.tail_cache.insert(self.weak(), piece, charge);
        }
        woken.into_iter().for_each(Waker::wake);
        self.end_settling();
        self.progress.notify();
        self.look_ahead();
        self.note_growth(chunk.write_bytes() as u64);
        self.go_on();
    }

    /// The segment's file, created durably if this is its first commit.
    async fn writable_file(
        &self,
        segment_file: &Rc<SegmentFile<D>>,
        header: SegmentHeader,
    ) -> StepResult<Rc<D::File>> {
        if !segment_file.exists.get() {
            let _guard = segment_file.creating.lock().await;
            let mut waiting = None;
            while !segment_file.exists.get() {
                match self.create_segment(segment_file, header).await {
                    Ok(()) => {}
                    Err((_, error)) if is_shortage(&error) => {
                        self.wait_for_space(&mut waiting).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let mut waiting = None;
        loop {
            match segment_file.open(&self.lane.disk).await {
                Ok(file) => return Ok(file),
                Err(error) if is_shortage(&error) => self.wait_for_space(&mut waiting).await?,
                Err(error) => return Err(("open segment", error)),
            }
        }
    }

    async fn ensure_reserved(
        &self,
        segment_file: &SegmentFile<D>,
        file: &D::File,
        end: u64,
    ) -> StepResult<()> {
        let mut waiting = None;
        while end > segment_file.reserved_bytes.get() {
            let segment_size_bytes = self.state.borrow().config.segment_size_bytes;
            let target = reserve_target(end, segment_size_bytes);
            match file.reserve(target).await {
                Ok(()) => {
                    segment_file
                        .reserved_bytes
                        .set(segment_file.reserved_bytes.get().max(target));
                }
                Err(_) if seeded_bug("no-space-ignored") => return Ok(()),
                Err(error) if is_full(&error) && self.lane.release_spares().await > 0 => {}
                Err(error) if is_shortage(&error) => self.wait_for_space(&mut waiting).await?,
                Err(error) => return Err(("reserve segment", error)),
            }
        }
        Ok(())
    }

    /// Reserves space in the background for the commits to come.
    fn look_ahead(&self) {
        let Some(log) = self.weak().upgrade() else {
            return;
        };
        let mut state = self.state.borrow_mut();
        if state.fenced.is_some() {
            return;
        }
        let segment_size_bytes = state.config.segment_size_bytes;
        let open_end = state
            .open
            .as_ref()
            .map(crate::chunk::OpenChunk::end_position);
        let Some(segment) = state.active() else {
            return;
        };
        if !segment.file.exists.get() || segment.file.reserving.get() {
            return;
        }
        let tail = open_end
            .unwrap_or(segment.meta.end_position)
            .max(segment.meta.end_position);
        let reserved = segment.file.reserved_bytes.get();
        if let Some(target) = reserve_ahead(tail, reserved, segment_size_bytes) {
            segment.file.reserving.set(true);
            let file = segment.file.clone();
            self.lane.spawn(Box::pin(async move {
                log.reserve_in_background(file, target).await;
            }));
        }
    }

    pub(super) async fn reserve_in_background(
        self: Rc<Self>,
        segment_file: Rc<SegmentFile<D>>,
        target: u64,
    ) {
        if let Ok(file) = segment_file.open(&self.lane.disk).await {
            // No space ahead of time is no failure: the commit that needs it will find out.
            if file.reserve(target).await.is_ok() {
                segment_file
                    .reserved_bytes
                    .set(segment_file.reserved_bytes.get().max(target));
                if self.state.borrow().space_waiters > 0 {
                    self.lane.space.notify();
                }
            }
        }
        segment_file.reserving.set(false);
        self.progress.notify();
    }
}
