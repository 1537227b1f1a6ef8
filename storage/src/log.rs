//! One partition's log.
//!
//! Appending is synchronous and in memory: offsets are assigned, the batch is copied to its final place in the open
//! chunk and the log is marked dirty. The lane's flusher seals chunks and writes them; what is durable is what
//! [`PartitionLog::flushed_offset`] says, and it advances only over a gapless prefix.
//!
//! Owner: the lane that opened it. No borrow of the state is ever held over an await, and wakers are woken with no
//! borrow held.
//!
//! # What a crash leaves
//! Every record below the flushed offset; of the rest any part, in any order, torn at sectors. [`recover`] sorts that
//! out. Files with temporary names are never part of the log.
//!
//! # Map
//! [`append`] takes batches in, [`commit`] writes them, [`ride`] has the journal write small ones, [`read`] gives them out,
//! [`lookup`] finds timestamps by [`index`], [`change`] deletes, truncates and closes, [`compact`] rewrites sealed segments,
//! [`segment_files`] makes and deletes segments'
//! files, [`checkpoint`] keeps starts after a crash short, [`space`] waits for room on the disk, [`progress`] tells who
//! waits, [`recover`] opens by what [`scan`] finds in [`windows`], [`restore`] puts back what only a journal has.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use corelane_format::{LogId, Offset, TimestampMs};

use crate::chunk::{Chunk, OpenChunk};
use crate::config::LogConfig;
use crate::disk::Disk;
use crate::error::{FenceReason, LogFenced};
use crate::event::{Event, TaskLock};
use crate::lane::Lane;
use crate::lane::cache::{Eviction, Piece};
use crate::offsets::LogOffsets;
use crate::producer_state::ProducerState;
use crate::region::Region;
use crate::segment_meta::SegmentMeta;
use crate::waiters::OffsetWaiters;

use checkpoint::CheckpointState;
use ride::RideState;

pub(crate) mod append;
pub(crate) mod change;
pub(crate) mod checkpoint;
pub(crate) mod commit;
pub(crate) mod compact;
pub(crate) mod cut;
pub(crate) mod index;
pub(crate) mod lookup;
pub(crate) mod progress;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod resident;
pub(crate) mod restore;
pub(crate) mod ride;
pub(crate) mod scan;
pub(crate) mod segment_files;
pub(crate) mod space;
pub(crate) mod windows;

/// A segment's file: absent until its first commit, opened when first needed.
pub(crate) struct SegmentFile<D: Disk> {
    pub(crate) path: PathBuf,
    pub(crate) handle: RefCell<Option<Rc<D::File>>>,
    /// Whether it exists under its final name.
    pub(crate) exists: Cell<bool>,
    /// One creation at a time.
    pub(crate) creating: TaskLock,
    pub(crate) reserved_bytes: Cell<u64>,
    pub(crate) reserving: Cell<bool>,
}

impl<D: Disk> SegmentFile<D> {
    pub(crate) fn new(path: PathBuf, exists: bool) -> Rc<Self> {
        Rc::new(Self {
            path,
            handle: RefCell::new(None),
            exists: Cell::new(exists),
            creating: TaskLock::default(),
            reserved_bytes: Cell::new(0),
            reserving: Cell::new(false),
        })
    }

    pub(crate) async fn open(&self, disk: &D) -> std::io::Result<Rc<D::File>> {
        if let Some(file) = self.handle.borrow().as_ref() {
            return Ok(file.clone());
        }
        let file = Rc::new(disk.open(&self.path).await?);
        *self.handle.borrow_mut() = Some(file.clone());
        Ok(file)
    }
}

/// A segment of a log.
pub(crate) struct Segment<D: Disk> {
    pub(crate) meta: SegmentMeta,
    pub(crate) file: Rc<SegmentFile<D>>,
    /// Nothing may be appended to it any more, whatever its size.
    pub(crate) closed: bool,
    /// Up to where its sidecar knows it.
    pub(crate) checkpoint_position: u64,
    /// The producers as of its end, until its sidecar is written.
    pub(crate) sealed_producers: Option<ProducerState>,
}

/// Where the used part of the last page comes from when the next block follows directly.
pub(crate) enum Carry<B> {
    /// The last block ended at a page boundary, or the next block starts at one.
    None,
    /// The last chunk, still in memory.
    Chunk(Rc<Chunk<B>>),
    /// A copy.
    Bytes(Box<[u8]>),
}

/// A commit on its way.
pub(crate) struct InFlight<B> {
    pub(crate) chunk: Rc<Chunk<B>>,
    pub(crate) done: bool,
}

pub(crate) struct LogState<D: Disk> {
    pub(crate) config: LogConfig,
    pub(crate) offsets: LogOffsets,
    /// Exclusive: everything below is durable in segments. Between it and the flushed offset lies what rode in the journal.
    pub(crate) settled: Offset,
    pub(crate) ride: RideState,
    pub(crate) producers: ProducerState,
    /// The last one takes appends.
    pub(crate) segments: Vec<Segment<D>>,
    /// The highest generation counter that any segment of the log is known to have.
    pub(crate) generation_counter: u32,
    /// How many truncations the log has had.
    pub(crate) history: u64,
    pub(crate) checkpoint: CheckpointState,
    pub(crate) open: Option<OpenChunk<D::Buffer>>,
    /// Sealed, not yet started.
    pub(crate) sealed: VecDeque<Rc<Chunk<D::Buffer>>>,
    pub(crate) in_flight: VecDeque<InFlight<D::Buffer>>,
    /// Sealed chunks in memory by first offset: everything unflushed, and what the tail budget keeps.
    pub(crate) tail: BTreeMap<Offset, Rc<Chunk<D::Buffer>>>,
    pub(crate) carry: Carry<D::Buffer>,
    /// Size of recent commits: what the next chunk is sized by.
    pub(crate) recent_commit_bytes: usize,
    pub(crate) unflushed_bytes: usize,
    pub(crate) regions: BTreeMap<Offset, Rc<Region>>,
    /// Reads ahead under way: first offset.
    pub(crate) loading: Vec<Offset>,
    pub(crate) waiters: OffsetWaiters,
    pub(crate) fenced: Option<FenceReason>,
    /// Appends are refused while the log is being changed.
    pub(crate) frozen: bool,
    /// No commit waits for space any more: those that would fail.
    pub(crate) closing: bool,
    /// Commits that wait for space; appends are refused while there are any.
    pub(crate) space_waiters: usize,
    /// When an append last made them look again, by the clock of the appends.
    pub(crate) space_asked_at: TimestampMs,
}

/// One partition's log. See the [module](self).
pub struct PartitionLog<D: Disk> {
    pub(crate) lane: Rc<Lane<D>>,
    log_id: LogId,
    directory: PathBuf,
    itself: Weak<Self>,
    pub(crate) state: RefCell<LogState<D>>,
    /// Its directory's name is known to be durable: not by being there, for that may be what a failed attempt left.
    pub(crate) directory_is_durable: Cell<bool>,
    /// A truncation's mark is there: it goes with the next segment that is created.
    pub(crate) cut_is_marked: Cell<bool>,
    /// In the flusher's queue.
    pub(crate) queued: Cell<bool>,
    /// The flushed offset advanced, a background write ended, or the log was fenced.
    pub(crate) progress: Event,
    /// A read ahead ended.
    pub(crate) loaded: Event,
    /// One change of the log's extent at a time.
    pub(crate) changing: TaskLock,
    /// One sidecar is written at a time.
    pub(crate) saving: TaskLock,
    pub(crate) compaction: compact::CompactionState,
}

impl<D: Disk> std::fmt::Debug for PartitionLog<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("PartitionLog")
            .field("log_id", &self.log_id)
            .field("directory", &self.directory)
            .field("offsets", &state.offsets)
            .field("segments", &state.segments.len())
            .field("fenced", &state.fenced)
            .finish_non_exhaustive()
    }
}

impl<D: Disk> PartitionLog<D> {
    pub(crate) fn new(
        lane: &Rc<Lane<D>>,
        directory: &Path,
        log_id: LogId,
        state: LogState<D>,
    ) -> Rc<Self> {
        Rc::new_cyclic(|itself| Self {
            lane: lane.clone(),
            log_id,
            directory: directory.to_path_buf(),
            itself: itself.clone(),
            // A segment was named only after that.
            directory_is_durable: Cell::new(!state.segments.is_empty()),
            cut_is_marked: Cell::new(false),
            state: RefCell::new(state),
            queued: Cell::new(false),
            progress: Event::default(),
            loaded: Event::default(),
            changing: TaskLock::default(),
            saving: TaskLock::default(),
            compaction: compact::CompactionState::default(),
        })
    }

    /// Its number.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Where its files are, once it has any.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> Offset {
        self.state.borrow().offsets.log_start()
    }

    /// Exclusive: everything below is durable.
    pub fn flushed_offset(&self) -> Offset {
        self.state.borrow().offsets.flushed()
    }

    /// Exclusive: everything below is durable in segments; what lies between it and the flushed offset is durable in the
    /// lane's journal.
    pub fn settled_offset(&self) -> Offset {
        self.state.borrow().settled
    }

    /// Exclusive: the next offset to be assigned.
    pub fn log_end_offset(&self) -> Offset {
        self.state.borrow().offsets.log_end()
    }

    /// Exclusive: what consumers may see, as the topic's durability setting promises: the flushed offset if
    /// `flush.messages` is 1, at most `flush.messages - 1` records more otherwise.
    pub fn readable_offset(&self) -> Offset {
        self.state.borrow().offsets.readable()
    }

    /// Bytes in its segments, unused reservations not counted.
    pub fn size_bytes(&self) -> u64 {
        let state = self.state.borrow();
        let open = state.open.as_ref().map_or(0, |open| open.used() as u64);
        state
            .segments
            .iter()
            .map(|segment| segment.meta.end_position)
            .sum::<u64>()
            + open
    }

    /// How many segments it has.
    pub fn segments(&self) -> usize {
        self.state.borrow().segments.len()
    }

    /// Whether, and why, it takes no more writes.
    pub fn fenced(&self) -> Option<LogFenced> {
        self.state.borrow().fenced.clone().map(|reason| LogFenced {
            log_id: self.log_id,
            reason,
        })
    }

    /// The active idempotent producers.
    pub fn producers(&self) -> ProducerState {
        self.state.borrow().producers.clone()
    }

    /// Takes a new configuration. It counts from the next decision on.
    pub fn set_config(&self, config: LogConfig) {
        let mut woken = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            state.offsets.set_flush_messages(config.flush_messages);
            state.config = config;
            let readable = state.offsets.readable();
            state.waiters.reached(readable, &mut woken);
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Resolves when everything below `end` is readable ([`PartitionLog::readable_offset`]); waiters resolve in order of
    /// their offsets. Fails when the log is fenced before that. Dropping it is harmless.
    pub fn wait_readable(&self, end: Offset) -> impl Future<Output = Result<(), LogFenced>> + '_ {
        let mut waiting = Waiting {
            log: self,
            end,
            id: None,
        };
        poll_fn(move |context| {
            let mut state = self.state.borrow_mut();
            if state.offsets.readable() >= end {
                return Poll::Ready(Ok(()));
            }
            if let Some(reason) = &state.fenced {
                return Poll::Ready(Err(LogFenced {
                    log_id: self.log_id,
                    reason: reason.clone(),
                }));
            }
            waiting.id = Some(state.waiters.wait(end, waiting.id, context.waker()));
            Poll::Pending
        })
    }

    /// Wakes `waker` once, at the next advance of the readable offset or when the log is fenced. It stays until then: a
    /// task that may give up earlier takes a [`ProgressWaiter`](progress::ProgressWaiter).
    pub fn register_progress_waker(&self, waker: &Waker) {
        self.state.borrow_mut().waiters.register_progress(waker);
    }

    /// Resolves when everything below `end` is durable.
    pub async fn wait_flushed(&self, end: Offset) -> Result<(), LogFenced> {
        loop {
            let progress = self.progress.wait();
            {
                let state = self.state.borrow();
                if state.offsets.flushed() >= end {
                    return Ok(());
                }
                if let Some(reason) = &state.fenced {
                    return Err(LogFenced {
                        log_id: self.log_id,
                        reason: reason.clone(),
                    });
                }
            }
            progress.await;
        }
    }

    /// Wakes those who wait for any progress: something other than the readable offset changed that readers are told.
    pub(crate) fn wake_progress(&self) {
        let mut woken = Vec::new();
        self.state.borrow_mut().waiters.wake_progress(&mut woken);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Stops the log for good: no more writes, no more acknowledgements. The first reason stays.
    pub(crate) fn fence(&self, reason: FenceReason) {
        let mut woken = Vec::new();
        let (released, counted) = {
            let mut state = self.state.borrow_mut();
            if state.fenced.is_some() {
                return;
            }
            state.fenced = Some(reason);
            state.waiters.all(&mut woken);
            (
                std::mem::take(&mut state.unflushed_bytes),
                std::mem::take(&mut state.ride.settle_counted),
            )
        };
        self.lane.sub_unflushed(released);
        if counted {
            self.lane.settle_ended();
        }
        woken.into_iter().for_each(Waker::wake);
        self.progress.notify();
        self.lane.space.notify();
    }

    /// Lets go of a piece, for the lane's budget.
    pub(crate) fn evict(&self, piece: Piece, even_if_touched: bool) -> Eviction {
        let mut state = self.state.borrow_mut();
        match piece {
            Piece::Chunk(first) => {
                let Some(chunk) = state.tail.get(&first) else {
                    return Eviction::Gone;
                };
                // Only flushed chunks are ever charged: this one took the place of one that was truncated.
                if !chunk.flushed.get() {
                    return Eviction::Gone;
                }
                if chunk.touched.take() && !even_if_touched {
                    return Eviction::Touched;
                }
                if let Some(chunk) = state.tail.remove(&first) {
                    if let Carry::Chunk(last) = &state.carry
                        && Rc::ptr_eq(last, &chunk)
                    {
                        state.carry = Carry::Bytes(chunk.last_page().into());
                    }
                    drop(state);
                    if let Ok(chunk) = Rc::try_unwrap(chunk) {
                        self.lane.recycle(chunk.buffer);
                    }
                }
            }
            Piece::Region(first) => {
                let Some(region) = state.regions.get(&first) else {
                    return Eviction::Gone;
                };
                if region.touched.take() && !even_if_touched {
                    return Eviction::Touched;
                }
                state.regions.remove(&first);
            }
        }
        Eviction::Gone
    }

    pub(crate) fn weak(&self) -> Weak<Self> {
        self.itself.clone()
    }

    pub(crate) fn mark_dirty(&self) {
        if let Some(itself) = self.itself.upgrade() {
            self.lane.mark_dirty(&itself);
        }
    }
}

impl<D: Disk> Drop for PartitionLog<D> {
    fn drop(&mut self) {
        // Dropped without being closed: its bytes will never be flushed, so nobody must wait for them.
        let state = self.state.get_mut();
        let released = std::mem::take(&mut state.unflushed_bytes);
        let counted = std::mem::take(&mut state.ride.settle_counted);
        self.lane.sub_unflushed(released);
        if counted {
            self.lane.settle_ended();
        }
    }
}

struct Waiting<'a, D: Disk> {
    log: &'a PartitionLog<D>,
    end: Offset,
    id: Option<u64>,
}

impl<D: Disk> Drop for Waiting<'_, D> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.log.state.borrow_mut().waiters.forget(self.end, id);
        }
    }
}

impl<D: Disk> LogState<D> {
    pub(crate) fn active(&mut self) -> Option<&mut Segment<D>> {
        self.segments.last_mut()
    }

    /// The segment that a chunk belongs to.
    pub(crate) fn segment_of(&mut self, generation: u64) -> Option<&mut Segment<D>> {
        self.segments
            .iter_mut()
            .rev()
            .find(|segment| segment.meta.header.generation == generation)
    }

    /// The index of the segment that holds `offset`, or would.
    pub(crate) fn segment_index(&self, offset: Offset) -> Option<usize> {
        self.segments
            .partition_point(|segment| segment.meta.base_offset() <= offset)
            .checked_sub(1)
    }
}
