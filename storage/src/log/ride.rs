//! A log's small commits in the lane's journal, and settling: bringing into segments what rode.
//!
//! The open chunk stays open while its batches ride. What lies below the flushed offset and above the settled one is in
//! memory and in the journal; the next commit to the segment takes all of it along.

use std::ops::Range;
use std::rc::Rc;
use std::task::Waker;

use corelane_format::Offset;

use super::{LogState, PartitionLog};
use crate::chunk::OpenChunk;
use crate::disk::Disk;
use crate::error::LogFenced;
use crate::journal::block::EntryHeader;
use crate::journal::route::{CommitRoute, RouteInput, commit_route};

/// What of a log is in the journal, or on its way there or from there.
#[derive(Debug, Default)]
pub(crate) struct RideState {
    /// A journal block on its way holds this log's records below this offset.
    pub(crate) riding_to: Option<Offset>,
    /// Bytes above the settled offset that are no longer unflushed, because the journal has them.
    pub(crate) rode_bytes: usize,
    /// Somebody wants everything below this offset in segments.
    pub(crate) settle_to: Option<Offset>,
    /// The lane counts this log as one that is being settled.
    pub(crate) settle_counted: bool,
    /// Nothing was appended since the lane last asked.
    pub(crate) is_idle: bool,
}

/// A log's part of a journal block.
pub(crate) struct Rider<D: Disk> {
    pub(crate) log: Rc<PartitionLog<D>>,
    pub(crate) entry: EntryHeader,
    /// Where its batches lie in the open chunk's buffer.
    range: Range<usize>,
}

impl<D: Disk> Rider<D> {
    pub(crate) fn size_bytes(&self) -> usize {
        self.range.len()
    }

    /// Gives the batches to `copy`. To be called before anything else runs on the lane.
    pub(crate) fn with_batches(&self, copy: impl FnOnce(&EntryHeader, &[u8])) {
        let state = self.log.state.borrow();
        let batches = state
            .open
            .as_ref()
            .and_then(|open| open.bytes().get(self.range.clone()));
        assert!(batches.is_some(), "a rider's chunk is open while it boards");
        copy(&self.entry, batches.unwrap_or_default());
    }
}

impl<D: Disk> LogState<D> {
    /// Which way the pending data takes now.
    pub(super) fn route(&self, journal_room_bytes: usize) -> CommitRoute {
        let (pending_bytes, open_bytes, pending_offset) =
            self.open.as_ref().map_or((0, 0, None), |open| {
                (
                    open.pending_bytes(),
                    open.data_bytes(),
                    Some(open.pending_offset()),
                )
            });
        // Its space is reserved: what rides can always be settled, on a full disk and after a crash too.
        let end = self.open.as_ref().map_or(0, OpenChunk::end_position);
        let on_disk = self.segments.last().is_some_and(|segment| {
            segment.file.exists.get() && end <= segment.file.reserved_bytes.get()
        });
        commit_route(&RouteInput {
            pending_bytes,
            open_bytes,
            follows_flushed: pending_offset == Some(self.offsets.flushed()),
            commits_under_way: !self.sealed.is_empty() || !self.in_flight.is_empty(),
            riding: self.ride.riding_to.is_some(),
            on_disk,
            journal_room_bytes,
            settle_wanted: self.ride.settle_to.is_some(),
        })
    }

    fn settle_is_done(&self) -> bool {
        self.ride.settle_to.is_some_and(|to| self.settled >= to)
    }
}

impl<D: Disk> PartitionLog<D> {
    /// Boards the next journal block with all that is pending, if that is still the way it should take; an empty block has
    /// room for `room_bytes`, this one for `left_bytes` more.
    pub(crate) fn board(self: &Rc<Self>, room_bytes: usize, left_bytes: usize) -> Option<Rider<D>> {
        let mut state = self.state.borrow_mut();
        if state.fenced.is_some() || state.route(room_bytes) != CommitRoute::Journal {
            return None;
        }
        let history = state.history;
        let open = state.open.as_mut()?;
        if open.pending_bytes() > left_bytes {
            return None;
        }
        let first_offset = open.pending_offset();
        let range = open.hand_over();
        let end_offset = open.end_offset();
        state.ride.riding_to = Some(end_offset);
        Some(Rider {
            log: self.clone(),
            entry: EntryHeader {
                log_id: self.log_id(),
                history,
                first_offset,
                end_offset,
            },
            range,
        })
    }

    /// The journal block with this log's records below `end` is durable.
    pub(crate) fn rode(&self, end: Offset, size_bytes: usize) {
        let mut woken: Vec<Waker> = Vec::new();
        let mut released = 0;
        {
            let mut state = self.state.borrow_mut();
            state.ride.riding_to = None;
            // A commit to the segment may have overtaken it; and a fenced log acknowledges nothing more.
            if state.fenced.is_none() && state.offsets.flushed() < end {
                state.offsets.flush(end);
                released = size_bytes;
                state.unflushed_bytes -= size_bytes;
                state.ride.rode_bytes += size_bytes;
                let readable = state.offsets.readable();
                state.waiters.reached(readable, &mut woken);
            }
        }
        self.lane.sub_unflushed(released);
        woken.into_iter().for_each(Waker::wake);
        self.progress.notify();
        self.go_on();
    }

    /// The journal block was not written. What it held was never acknowledged; it goes to the segment instead.
    pub(crate) fn did_not_ride(&self) {
        {
            let mut state = self.state.borrow_mut();
            state.ride.riding_to = None;
            state.ride.settle_to = Some(state.offsets.log_end());
        }
        self.mark_dirty();
    }

    /// Back into the flusher's queue, if there is more to do.
    pub(super) fn go_on(&self) {
        let more = {
            let state = self.state.borrow();
            let pending = state
                .open
                .as_ref()
                .is_some_and(|open| open.pending_bytes() > 0);
            state.fenced.is_none()
                && (pending || !state.sealed.is_empty() || state.ride.settle_to.is_some())
        };
        if more {
            self.mark_dirty();
        }
    }

    /// Has everything below the present end brought into segments, soon: for the lane, which counts it as under way until
    /// [`PartitionLog::end_settling`]. `false`: nothing to do.
    pub(crate) fn begin_settling(&self) -> bool {
        let begun = {
            let mut state = self.state.borrow_mut();
            let to = state.offsets.flushed();
            if state.fenced.is_some() || state.ride.settle_counted || state.settled >= to {
                false
            } else {
                state.ride.settle_to =
                    Some(state.ride.settle_to.map_or(to, |wanted| wanted.max(to)));
                state.ride.settle_counted = true;
                true
            }
        };
        if begun {
            self.mark_dirty();
        }
        begun
    }

    /// Ends what is settled far enough.
    pub(super) fn end_settling(&self) {
        let counted = {
            let mut state = self.state.borrow_mut();
            if !state.settle_is_done() {
                return;
            }
            state.ride.settle_to = None;
            std::mem::take(&mut state.ride.settle_counted)
        };
        if counted {
            self.lane.settle_ended();
        }
    }

    /// Resolves when everything below `to` is durable in segments, and nothing of the log is on its way to the journal.
    ///
    /// # Errors
    /// The log was fenced before that.
    pub(crate) async fn settle(&self, to: Offset) -> Result<(), LogFenced> {
        loop {
            let progress = self.progress.wait();
            {
                let mut state = self.state.borrow_mut();
                if state.settled >= to && state.ride.riding_to.is_none() {
                    return Ok(());
                }
                if let Some(reason) = &state.fenced {
                    return Err(LogFenced {
                        log_id: self.log_id(),
                        reason: reason.clone(),
                    });
                }
                if state.settled < to {
                    state.ride.settle_to =
                        Some(state.ride.settle_to.map_or(to, |wanted| wanted.max(to)));
                }
            }
            self.mark_dirty();
            progress.await;
        }
    }

    /// How many truncations it has had.
    pub(crate) fn history(&self) -> u64 {
        self.state.borrow().history
    }

    /// It has had at least so many truncations.
    pub(crate) fn learn_history(&self, history: u64) {
        let mut state = self.state.borrow_mut();
        state.history = state.history.max(history);
    }

    /// Whether nothing was appended since the last time this was asked.
    pub(crate) fn was_idle(&self) -> bool {
        std::mem::replace(&mut self.state.borrow_mut().ride.is_idle, true)
    }

    /// Whether everything below `end` is in segments.
    pub(crate) fn is_settled(&self, end: Offset) -> bool {
        self.state.borrow().settled >= end
    }
}
