//! Everything that the logs of one lane share: the flusher, the memory budgets, the disk.
//!
//! Owner: one lane. Handles are cheap clones; nothing is `Send`.
//!
//! # The flusher
//! [`LaneLogs::run_flusher`] is one task that drives all writes of the lane. There is no timer: a log that has something
//! to write is in the dirty queue, and a commit starts as soon as the log's own rules and the lane's cap on writes in
//! flight allow it. While a commit is on its way the next one grows, which is all the group commit there is: an idle lane
//! commits at once, a busy one in large blocks. Small commits of many logs share a write in the lane's journal
//! ([`crate::journal`]).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use corelane_format::LogId;

use crate::config::{LaneLogsConfig, LogConfig};
use crate::disk::{Disk, sync_parent};
use crate::error::{ChangeError, FenceReason, LogFenced, OpenError};
use crate::generation::Generations;
use crate::journal::JournalConfig;
use crate::journal::writer::Journal;
use crate::log::PartitionLog;
use crate::log::checkpoint::LaneCheckpoints;
use crate::log::commit::NextStep;
use crate::log::recover::RecoveryReport;
use crate::names::TRASH_SUFFIX;
use crate::seeded_bugs::seeded_bug;
use crate::spares::{Spares, SparesReport};

use cache::ClockCache;
use index_cache::IndexCache;
use task_set::{LaneTask, TaskSet};

pub(crate) mod cache;
pub(crate) mod index_cache;
pub(crate) mod task_set;

/// Counters of one lane, since it began. Plain numbers: read them on the lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneMetrics {
    /// Batches appended.
    pub appended_batches: u64,
    /// Their bytes.
    pub appended_bytes: u64,
    /// Commit blocks made durable.
    pub commits: u64,
    /// Bytes written for them, padding and repeated pages included.
    pub commit_bytes: u64,
    /// Commits, reservations and creations that failed for good.
    pub failures: u64,
    /// Checkpoints of active segments written.
    pub checkpoints: u64,
    /// Segments created.
    pub segments_created: u64,
    /// Segments deleted.
    pub segments_deleted: u64,
    /// Segments that were created over a spare, of those created.
    pub spares_taken: u64,
    /// Segments whose file was kept as a spare, of those deleted.
    pub spares_kept: u64,
    /// Spares deleted because the disk got short.
    pub spares_released: u64,
    /// Blocks written to the lane's journal.
    pub journal_blocks: u64,
    /// Their bytes, padding included.
    pub journal_bytes: u64,
    /// Small commits in them.
    pub journal_entries: u64,
    /// Logs whose journaled data was brought into their segments on the lane's demand.
    pub settles: u64,
    /// Reads answered from memory alone.
    pub reads_from_memory: u64,
    /// Reads from disk, ahead or on demand.
    pub disk_reads: u64,
    /// Their bytes.
    pub disk_read_bytes: u64,
    /// Indexes loaded from their files.
    pub indexes_loaded: u64,
    /// Indexes rebuilt by a scan, since their files did not fit.
    pub indexes_rebuilt: u64,
    /// Compactions that went through.
    pub compactions: u64,
    /// Bytes read by compactions.
    pub compaction_read_bytes: u64,
    /// Bytes written by compactions.
    pub compaction_written_bytes: u64,
    /// Records dropped by compactions.
    pub compaction_dropped_records: u64,
    /// Damaged ranges found while reading.
    pub corruptions_found: u64,
    /// Appended and not yet flushed, now.
    pub unflushed_bytes: u64,
    /// Held for readers at the tail, now.
    pub tail_bytes: u64,
    /// Held from disk reads, now.
    pub read_cache_bytes: u64,
    /// Held from indexes, now.
    pub index_bytes: u64,
    /// Writes in flight, now.
    pub writes_in_flight: u64,
    /// Spares that can be taken, now.
    pub spares: u64,
    /// Disk space in spares, now. [`LaneLogs::release_spares`] gives it back.
    pub spare_bytes: u64,
}

pub(crate) struct Lane<D: Disk> {
    pub(crate) disk: D,
    pub(crate) config: LaneLogsConfig,
    pub(crate) generations: Generations,
    dirty: RefCell<VecDeque<Rc<PartitionLog<D>>>>,
    /// Logs that have something for their segments while the lane has no write left.
    blocked: RefCell<Vec<Rc<PartitionLog<D>>>>,
    journal: RefCell<Option<Rc<Journal<D>>>>,
    new_tasks: RefCell<Vec<LaneTask>>,
    flusher: RefCell<Option<Waker>>,
    writes_in_flight: Cell<usize>,
    unflushed_bytes: Cell<usize>,
    admission: crate::event::Event,
    pub(crate) tail_cache: ClockCache<D>,
    pub(crate) read_cache: ClockCache<D>,
    logs: RefCell<HashMap<LogId, Weak<PartitionLog<D>>>>,
    stopping: Cell<bool>,
    metrics: Cell<LaneMetrics>,
    spare_buffers: RefCell<Vec<D::Buffer>>,
    /// Space may have been freed.
    pub(crate) space: crate::event::Event,
    pub(crate) spares: Spares,
    pub(crate) checkpoints: RefCell<LaneCheckpoints<D>>,
    pub(crate) indexes: RefCell<IndexCache>,
    pub(crate) itself: Weak<Lane<D>>,
}

impl<D: Disk> Lane<D> {
    pub(crate) fn count(&self, change: impl FnOnce(&mut LaneMetrics)) {
        let mut metrics = self.metrics.get();
        change(&mut metrics);
        self.metrics.set(metrics);
    }

    /// Puts a log in the flusher's queue.
    pub(crate) fn mark_dirty(&self, log: &Rc<PartitionLog<D>>) {
        if !log.queued.replace(true) {
            self.dirty.borrow_mut().push_back(log.clone());
        }
        self.wake_flusher();
    }

    pub(crate) fn wake_flusher(&self) {
        let waker = self.flusher.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Hands a future to the flusher's task.
    pub(crate) fn spawn(&self, task: LaneTask) {
        self.new_tasks.borrow_mut().push(task);
        self.wake_flusher();
    }

    pub(crate) fn write_started(&self) {
        self.writes_in_flight.set(self.writes_in_flight.get() + 1);
    }

    pub(crate) fn write_finished(&self) {
        self.writes_in_flight.set(self.writes_in_flight.get() - 1);
        for log in self.blocked.borrow_mut().drain(..) {
            self.dirty.borrow_mut().push_back(log);
        }
    }

    pub(crate) fn find_log(&self, log_id: LogId) -> Option<Rc<PartitionLog<D>>> {
        self.logs.borrow().get(&log_id).and_then(Weak::upgrade)
    }

    /// Whether background writes should keep out of the way.
    pub(crate) fn is_busy(&self) -> bool {
        self.writes_in_flight.get() > 4
            || self.unflushed_bytes.get() > self.config.commit_size_bytes_max
    }

    pub(crate) fn add_unflushed(&self, size_bytes: usize) {
        self.unflushed_bytes
            .set(self.unflushed_bytes.get() + size_bytes);
    }

    pub(crate) fn sub_unflushed(&self, size_bytes: usize) {
        let left = self.unflushed_bytes.get().checked_sub(size_bytes);
        assert!(left.is_some(), "more bytes flushed than appended");
        self.unflushed_bytes.set(left.unwrap_or(0));
        self.admission.notify();
    }

    /// A buffer of at least `size_bytes`, recycled if a large one is wanted: fresh memory costs page faults.
    pub(crate) fn buffer(&self, size_bytes: usize) -> D::Buffer {
        if size_bytes >= self.config.commit_size_bytes_max {
            let mut spares = self.spare_buffers.borrow_mut();
            if let Some(index) = spares
                .iter()
                .position(|spare| spare.as_ref().len() >= size_bytes * 7 / 8)
                && size_bytes == self.config.commit_size_bytes_max
            {
                return spares.swap_remove(index);
            }
        }
        self.disk.allocate(size_bytes)
    }

    /// Takes back a buffer that nobody shares any more.
    pub(crate) fn recycle(&self, buffer: Rc<D::Buffer>) {
        let Ok(buffer) = Rc::try_unwrap(buffer) else {
            return;
        };
        let max = self.config.commit_size_bytes_max;
        let size = buffer.as_ref().len();
        let mut spares = self.spare_buffers.borrow_mut();
        if size >= max * 7 / 8 && size <= max && spares.len() < 8 {
            spares.push(buffer);
        }
    }

    /// Starts what can be started: writes to segments, and a journal block for those that ride.
    fn start_commits(self: &Rc<Self>) -> bool {
        let mut started = false;
        let journal = self.journal.borrow().clone();
        loop {
            let Some(log) = self.dirty.borrow_mut().pop_front() else {
                break;
            };
            let room_bytes = journal.as_ref().map_or(0, |journal| journal.room_bytes());
            let may_write = self.writes_in_flight.get() < self.config.writes_in_flight_max;
            match log.next_step(room_bytes, may_write) {
                NextStep::Nothing => log.queued.set(false),
                NextStep::NoWriteLeft => self.blocked.borrow_mut().push(log),
                NextStep::Write(task) => {
                    started = true;
                    self.new_tasks.borrow_mut().push(task);
                    // It may have another full block ready, which overlaps.
                    self.dirty.borrow_mut().push_back(log);
                }
                NextStep::Ride => {
                    if let Some(journal) = &journal {
                        journal.wait(log);
                    }
                }
            }
        }
        if let Some(journal) = &journal
            && let Some(task) =
                journal.next_block(self, |log| self.dirty.borrow_mut().push_back(log))
        {
            started = true;
            self.new_tasks.borrow_mut().push(task);
        }
        started
    }

    /// Gives the space of all spares back to the disk; returns how many bytes.
    pub(crate) async fn release_spares(&self) -> u64 {
        let (count, bytes) = self.spares.release(&self.disk).await;
        if count > 0 {
            self.count(|metrics| metrics.spares_released += count as u64);
            self.space.notify();
        }
        bytes
    }

    /// A log that the journal had settled is settled, or never will be.
    pub(crate) fn settle_ended(&self) {
        let journal = self.journal.borrow().clone();
        if let (Some(journal), Some(lane)) = (journal, self.itself.upgrade()) {
            journal.settle_ended(&lane);
        }
    }

    fn open_logs(&self) -> Vec<Rc<PartitionLog<D>>> {
        let mut logs: Vec<_> = self
            .logs
            .borrow()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        logs.sort_by_key(|log| log.log_id());
        logs
    }
}

/// The logs of one lane.
pub struct LaneLogs<D: Disk>(Rc<Lane<D>>);

impl<D: Disk> Clone for LaneLogs<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D: Disk> std::fmt::Debug for LaneLogs<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneLogs")
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

/// What [`LaneLogs::shutdown`] could not do; the other logs were closed.
#[derive(Debug, thiserror::Error)]
#[error("{} of the lane's logs were not closed cleanly, first: {}", .failed.len(), .failed.first().map_or_else(String::new, ToString::to_string))]
pub struct ShutdownError {
    /// Why, per log.
    pub failed: Vec<ChangeError>,
}

impl<D: Disk> LaneLogs<D> {
    /// A lane without logs.
    pub fn new(disk: D, config: LaneLogsConfig) -> Self {
        let tail_cache = ClockCache::new(config.tail_budget_bytes);
        let read_cache = ClockCache::new(config.read_budget_bytes);
        let indexes = IndexCache::new(config.index_budget_bytes);
        let generations = Generations::new(config.seed);
        let spares = Spares::new(config.spares.clone());
        Self(Rc::new_cyclic(|itself| Lane {
            disk,
            config,
            generations,
            dirty: RefCell::default(),
            blocked: RefCell::default(),
            journal: RefCell::default(),
            new_tasks: RefCell::default(),
            flusher: RefCell::default(),
            writes_in_flight: Cell::new(0),
            unflushed_bytes: Cell::new(0),
            admission: crate::event::Event::default(),
            tail_cache,
            read_cache,
            logs: RefCell::default(),
            stopping: Cell::new(false),
            metrics: Cell::default(),
            spare_buffers: RefCell::default(),
            space: crate::event::Event::default(),
            spares,
            checkpoints: RefCell::default(),
            indexes: RefCell::new(indexes),
            itself: itself.clone(),
        }))
    }

    /// Drives every write of the lane. Run it once per lane, from before the first append; it ends after
    /// [`LaneLogs::shutdown`]. Dropping it leaves writes unfinished and their waiters waiting.
    pub async fn run_flusher(&self) {
        let lane = self.0.clone();
        let mut tasks = TaskSet::default();
        poll_fn(|context| {
            *lane.flusher.borrow_mut() = Some(context.waker().clone());
            loop {
                tasks.poll(context.waker());
                let started = lane.start_commits();
                let new = std::mem::take(&mut *lane.new_tasks.borrow_mut());
                if new.is_empty() && !started {
                    break;
                }
                for task in new {
                    tasks.push(task);
                }
            }
            if lane.stopping.get()
                && tasks.is_empty()
                && lane.dirty.borrow().is_empty()
                && lane.blocked.borrow().is_empty()
            {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    /// Takes over the spare segments that a previous run left in [`LaneLogsConfig::spares`], as far as they fit. Until then
    /// none is kept and none is used: call it before logs are opened.
    pub async fn open_spares(&self) -> std::io::Result<SparesReport> {
        self.0.spares.open(&self.0.disk).await
    }

    /// Deletes all spare segments, for when the disk gets short; returns the bytes that are free on return. Commits that
    /// wait for room look again.
    pub async fn release_spares(&self) -> u64 {
        self.0.release_spares().await
    }

    /// Opens a log, recovering whatever a crash left. Creates nothing: an absent directory is an empty log, and its
    /// files come with its first append. Truncating a torn tail touches no bytes: the next append goes to a new segment.
    pub async fn open_log(
        &self,
        directory: &Path,
        log_id: LogId,
        config: LogConfig,
    ) -> Result<(Rc<PartitionLog<D>>, RecoveryReport), OpenError> {
        if self.log(log_id).is_some() {
            return Err(OpenError::AlreadyOpen { log_id });
        }
        let (log, report) = PartitionLog::open(&self.0, directory, log_id, config).await?;
        self.0.logs.borrow_mut().insert(log_id, Rc::downgrade(&log));
        Ok((log, report))
    }

    /// An open log.
    pub fn log(&self, log_id: LogId) -> Option<Rc<PartitionLog<D>>> {
        self.0.logs.borrow().get(&log_id).and_then(Weak::upgrade)
    }

    /// Waits while the lane's unflushed bytes and `size_bytes` more exceed the budget; a lane without unflushed bytes
    /// admits any size. Reserves nothing.
    pub async fn admit(&self, size_bytes: usize) {
        loop {
            let unflushed = self.0.unflushed_bytes.get();
            if unflushed == 0
                || unflushed.saturating_add(size_bytes) <= self.0.config.unflushed_budget_bytes
            {
                return;
            }
            self.0.admission.wait().await;
        }
    }

    /// Closes one log: flushes it and writes its sidecar. It takes no more appends. Its directory can be opened again.
    pub async fn close_log(&self, log: &Rc<PartitionLog<D>>) -> Result<(), ChangeError> {
        let result = log.close().await;
        let journal = self.0.journal.borrow().clone();
        if let Some(journal) = journal
            && result.is_ok()
        {
            journal.forget(log.log_id());
        }
        self.0.logs.borrow_mut().remove(&log.log_id());
        result
    }

    /// Flushes everything, writes sidecars, closes all logs and ends the flusher, which must be running meanwhile. On
    /// return everything that was acknowledged is durable and the next start is quick.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        let mut failed = Vec::new();
        for log in self.0.open_logs() {
            if let Err(error) = self.close_log(&log).await {
                failed.push(error);
            }
        }
        let journal = self.0.journal.borrow_mut().take();
        if let Some(journal) = journal
            && let Err(error) = journal.close(&self.0).await
        {
            tracing::warn!(%error, "the journal's files were not marked as empty: the next start looks into them");
        }
        self.0.stopping.set(true);
        self.0.wake_flusher();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(ShutdownError { failed })
        }
    }

    /// Deletes a log with all its files: its directory is first renamed durably, so that a crash leaves either the whole
    /// log or trash that [`LaneLogs::purge_trash`] takes away.
    pub async fn delete_log(&self, log: &Rc<PartitionLog<D>>) -> Result<(), ChangeError> {
        log.fence(FenceReason::Deleted);
        self.0.logs.borrow_mut().remove(&log.log_id());
        let journal = self.0.journal.borrow().clone();
        if let Some(journal) = journal {
            journal.forget(log.log_id());
        }
        let directory = log.directory().to_path_buf();
        let io = |operation: &'static str| {
            let log_id = log.log_id();
            move |error: std::io::Error| ChangeError::Io {
                log_id,
                operation,
                error: Rc::new(error),
            }
        };
        let mut name = directory.as_os_str().to_owned();
        name.push(format!(".{}{TRASH_SUFFIX}", log.log_id()));
        let trash = std::path::PathBuf::from(name);
        match self.0.disk.rename(&directory, &trash).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io("rename to trash")(error)),
        }
        if !seeded_bug("deleted-name-not-synced") {
            sync_parent(&self.0.disk, &directory)
                .await
                .map_err(io("sync"))?;
        }
        log.keep_spares_of(&trash).await.map_err(io("sync trash"))?;
        self.remove_directory(&trash).await.map_err(io("delete"))?;
        self.0.space.notify();
        Ok(())
    }

    /// Removes what deletions that a crash interrupted left in `parent`. Returns how many directories went.
    pub async fn purge_trash(&self, parent: &Path) -> std::io::Result<usize> {
        let entries = match self.0.disk.list(parent).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut purged = 0;
        for entry in entries {
            if entry.is_directory && entry.name.ends_with(TRASH_SUFFIX) {
                self.remove_directory(&parent.join(&entry.name)).await?;
                purged += 1;
            }
        }
        Ok(purged)
    }

    async fn remove_directory(&self, path: &Path) -> std::io::Result<()> {
        for entry in self.0.disk.list(path).await? {
            self.0.disk.delete(&path.join(&entry.name)).await?;
        }
        self.0.disk.delete_directory(path).await
    }

    /// Gives the lane a journal: small commits ride in it from here on. What its files held counts no more, durably on return:
    /// [`crate::replay_journals`] comes first. Files are made in the background.
    ///
    /// # Errors
    /// The directory or a file of it cannot be used.
    pub async fn open_journal(
        &self,
        directory: &Path,
        lane_index: usize,
        config: JournalConfig,
    ) -> std::io::Result<()> {
        let journal = Rc::new(Journal::open(&self.0, directory, lane_index, config).await?);
        *self.0.journal.borrow_mut() = Some(journal.clone());
        journal.prepare_files(&self.0);
        Ok(())
    }

    /// What a lane does about once a second: commits that wait for room on the disk, or for a free descriptor, look again, and
    /// logs that went quiet are settled. Cheap.
    pub fn maintain(&self) {
        self.0.space.notify();
        let journal = self.0.journal.borrow().clone();
        if let Some(journal) = journal {
            journal.maintain(&self.0);
        }
    }

    /// Whether commits are waiting or on their way in numbers: background work keeps out of the way meanwhile.
    pub fn is_busy(&self) -> bool {
        self.0.is_busy()
    }

    /// The lane's counters.
    pub fn metrics(&self) -> LaneMetrics {
        LaneMetrics {
            unflushed_bytes: self.0.unflushed_bytes.get() as u64,
            tail_bytes: self.0.tail_cache.used() as u64,
            read_cache_bytes: self.0.read_cache.used() as u64,
            index_bytes: self.0.indexes.borrow().used_bytes() as u64,
            writes_in_flight: self.0.writes_in_flight.get() as u64,
            spares: self.0.spares.free_count() as u64,
            spare_bytes: self.0.spares.held_bytes(),
            ..self.0.metrics.get()
        }
    }

    /// The disk below.
    pub fn disk(&self) -> &D {
        &self.0.disk
    }
}

impl From<LogFenced> for ShutdownError {
    fn from(error: LogFenced) -> Self {
        Self {
            failed: vec![ChangeError::Fenced(error)],
        }
    }
}
