//! Checkpoints of the active segment: its sidecar, written while it still grows, so that a start after a crash scans what
//! came since and not the whole segment.
//!
//! A checkpoint is *taken* where a block ends, and *written* in the background once everything in it is durable in the
//! segment; never on the way of a commit, one at a time on a lane. It is due when the segment has grown by
//! [`checkpoint_bytes`](crate::LaneLogsConfig::checkpoint_bytes), and, so that many small logs do not add up to a long
//! start either, when the lane has grown by eight times as much.
//!
//! It is derived: nothing waits for it, and one that a crash takes back or tears costs a longer scan.

use std::rc::{Rc, Weak};

use super::{LogState, PartitionLog};
use crate::disk::{Disk, write_padded};
use crate::lane::Lane;
use crate::names::{sidecar_path, temporary_path};
use crate::producer_state::ProducerState;
use crate::segment_meta::SegmentMeta;
use crate::sidecar::Sidecar;
use corelane_format::FilePosition;

/// The lane's limit is so many times one log's.
const LANE_FACTOR: u64 = 8;
/// A log that has grown by less than this part of its limit is not worth a file of its own.
const LEAST_PART: u64 = 256;

/// A segment as it was where one of its blocks ended.
struct Taken {
    meta: SegmentMeta,
    producers: ProducerState,
}

/// Where a log stands with its next checkpoint.
#[derive(Default)]
pub(crate) struct CheckpointState {
    /// To be taken where the open block ends.
    wanted: bool,
    /// To be written when it is durable.
    taken: Option<Taken>,
    /// In the lane's list of logs that have grown.
    listed: bool,
}

impl CheckpointState {
    /// The memory behind it.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.taken.as_ref().map_or(0, |taken| {
            taken.meta.heap_bytes() + taken.producers.heap_bytes()
        })
    }

    /// Drops what was taken: the log is being cut.
    pub(crate) fn forget(&mut self) {
        (self.wanted, self.taken) = (false, None);
    }
}

/// A lane's part in it.
pub(crate) struct LaneCheckpoints<D: Disk> {
    grown_bytes: u64,
    grown: Vec<Weak<PartitionLog<D>>>,
    ready: Vec<Weak<PartitionLog<D>>>,
    writing: bool,
}

impl<D: Disk> Default for LaneCheckpoints<D> {
    fn default() -> Self {
        Self {
            grown_bytes: 0,
            grown: Vec::new(),
            ready: Vec::new(),
            writing: false,
        }
    }
}

impl<D: Disk> LogState<D> {
    /// Bytes of the active segment that no checkpoint covers.
    fn uncovered_bytes(&self) -> u64 {
        self.segments.last().map_or(0, |segment| {
            let end = segment.meta.end_position;
            end.saturating_sub(segment.checkpoint_position)
        })
    }

    /// Has a checkpoint taken now, or where the open block ends.
    fn want_checkpoint(&mut self) {
        if self.checkpoint.taken.is_none() {
            self.checkpoint.wanted = true;
            if self.open.is_none() {
                self.take_checkpoint();
            }
        }
    }

    /// Takes the checkpoint that is wanted, if one is. The open block must have ended.
    pub(crate) fn take_checkpoint(&mut self) {
        if !std::mem::take(&mut self.checkpoint.wanted) {
            return;
        }
        if let Some(segment) = self.segments.last()
            && !segment.closed
        {
            self.checkpoint.taken = Some(Taken {
                meta: segment.meta.clone(),
                producers: self.producers.clone(),
            });
        }
    }

    /// Whether the checkpoint that was taken may be written: what it says is durable in the segment.
    fn checkpoint_is_durable(&self) -> bool {
        let taken = self.checkpoint.taken.as_ref();
        taken.is_some_and(|taken| taken.meta.end_offset <= self.settled)
    }

    /// The checkpoint to write now. One of a segment that takes no more appends is not wanted any more: its sidecar
    /// comes with the next segment.
    fn durable_checkpoint(&mut self) -> Option<Taken> {
        if self.fenced.is_some() || !self.checkpoint_is_durable() {
            return None;
        }
        let taken = self.checkpoint.taken.take()?;
        let is_active = self
            .segments
            .last()
            .is_some_and(|segment| segment.meta.header == taken.meta.header && !segment.closed);
        is_active.then_some(taken)
    }
}

impl<D: Disk> PartitionLog<D> {
    /// Notes that `size_bytes` more are durable in the active segment: for the end of a commit.
    pub(crate) fn note_growth(&self, size_bytes: u64) {
        let limit = self.lane.config.checkpoint_bytes;
        let (is_ready, is_new) = {
            let mut state = self.state.borrow_mut();
            if state.fenced.is_some() {
                return;
            }
            if state.uncovered_bytes() >= limit {
                state.want_checkpoint();
            }
            let is_new = !std::mem::replace(&mut state.checkpoint.listed, true);
            (state.checkpoint_is_durable(), is_new)
        };
        let sweep = {
            let mut lane = self.lane.checkpoints.borrow_mut();
            if is_new {
                lane.grown.push(self.weak());
            }
            if is_ready {
                lane.ready.push(self.weak());
            }
            lane.grown_bytes += size_bytes;
            lane.grown_bytes >= limit.saturating_mul(LANE_FACTOR)
        };
        if sweep {
            self.lane.sweep_checkpoints();
        }
        self.lane.write_checkpoints();
    }

    /// Asks for a checkpoint if it is worth one; whether it can be written at once, and whether it has grown little.
    fn sweep(&self, least_bytes: u64) -> (bool, bool) {
        let mut state = self.state.borrow_mut();
        let is_small = state.uncovered_bytes() < least_bytes;
        if !is_small {
            state.want_checkpoint();
        }
        state.checkpoint.listed = is_small;
        (state.checkpoint_is_durable(), is_small)
    }

    async fn write_checkpoint(&self) {
        let _guard = self.saving.lock().await;
        let taken = self.state.borrow_mut().durable_checkpoint();
        let Some(Taken { meta, producers }) = taken else {
            return;
        };
        // What the sidecar of now holds alone goes into the next one.
        let saved = self.saved_index(meta.header).await.ok();
        let Some(entries) = saved.and_then(|saved| meta.all_entries(&saved)) else {
            return;
        };
        let content = Sidecar::encode(&meta, &entries, &producers);
        let path = sidecar_path(self.directory(), meta.base_offset());
        let temporary = temporary_path(&path);
        // No name is synced: whether a crash leaves this one or the one before, either is true.
        let disk = &self.lane.disk;
        let written = async {
            let file = disk.create(&temporary).await?;
            write_padded(disk, &file, &content, FilePosition::ZERO).await?;
            disk.rename(&temporary, &path).await
        };
        match written.await {
            Ok(()) => {
                self.forget_saved(meta.header.generation, entries.len(), meta.end_position);
                self.lane.count(|metrics| metrics.checkpoints += 1);
            }
            Err(error) => {
                tracing::debug!(log_id = %self.log_id(), path = %path.display(), %error, "checkpoint was not written");
            }
        }
    }
}

impl<D: Disk> Lane<D> {
    /// Asks every log that has grown for a checkpoint.
    fn sweep_checkpoints(&self) {
        let grown = {
            let mut lane = self.checkpoints.borrow_mut();
            lane.grown_bytes = 0;
            std::mem::take(&mut lane.grown)
        };
        let least_bytes = self.config.checkpoint_bytes / LEAST_PART;
        for log in grown.iter().filter_map(Weak::upgrade) {
            let (is_ready, is_small) = log.sweep(least_bytes);
            let mut lane = self.checkpoints.borrow_mut();
            if is_ready {
                lane.ready.push(log.weak());
            }
            if is_small {
                lane.grown.push(log.weak());
            }
        }
    }

    /// Has the checkpoints written that can be, one after the other.
    fn write_checkpoints(&self) {
        let Some(itself) = self.itself.upgrade() else {
            return;
        };
        {
            let mut lane = self.checkpoints.borrow_mut();
            if lane.writing || lane.ready.is_empty() {
                return;
            }
            lane.writing = true;
        }
        self.spawn(Box::pin(async move { itself.run_checkpoints().await }));
    }

    async fn run_checkpoints(self: Rc<Self>) {
        loop {
            let ready = std::mem::take(&mut self.checkpoints.borrow_mut().ready);
            if ready.is_empty() {
                self.checkpoints.borrow_mut().writing = false;
                return;
            }
            for log in ready {
                if let Some(log) = log.upgrade() {
                    log.write_checkpoint().await;
                }
            }
        }
    }
}
