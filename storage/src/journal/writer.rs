//! Writes a lane's journal: gathers riders into a block, one block in flight at a time, and keeps files ready ahead.
//!
//! A failed or short write breaks the journal for good: nothing more rides, what was to ride goes to segments, and what is in
//! it is settled as soon as may be. Nothing was acknowledged by the write that failed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corelane_format::{FilePosition, LogId};

use super::block::{BLOCK_HEADER_BYTES, BlockBuilder, ENTRY_HEADER_BYTES, LIVE_BYTES};
use super::header::JournalFileHeader;
use super::ring::{BlockPlace, Preparation, Ring};
use super::{JournalConfig, file_path};
use crate::disk::{
    Disk, DiskFile, PAGE_BYTES, make_directories_durably, page_ceil, short_write, sync_parent,
    write_padded,
};
use crate::generation::counter;
use crate::lane::Lane;
use crate::lane::task_set::LaneTask;
use crate::log::PartitionLog;
use crate::log::ride::Rider;
use crate::names::temporary_path;
use crate::seeded_bugs::seeded_bug;

/// One write of zeros when a file is made.
const ZEROS_BYTES: u64 = 1 << 20;
/// Logs that are settled at the same time, so that settling takes a share of the disk and not all of it.
const SETTLES_MAX: usize = 4;
/// The same when the ring is about to be full.
const SETTLES_MAX_PRESSED: usize = 16;

/// A lane's journal.
pub(crate) struct Journal<D: Disk> {
    /// The counter of the newest generation of the ring's files.
    newest: Cell<u32>,
    directory: PathBuf,
    lane_index: usize,
    config: JournalConfig,
    ring: RefCell<Ring>,
    files: RefCell<Vec<Option<Rc<D::File>>>>,
    /// Logs that want to ride.
    waiting: RefCell<VecDeque<Rc<PartitionLog<D>>>>,
    in_flight: Cell<bool>,
    is_broken: Cell<bool>,
    /// Logs to be settled.
    to_settle: RefCell<VecDeque<LogId>>,
    settling: Cell<usize>,
}

impl<D: Disk> Journal<D> {
    /// Takes over what files there are: their content counts no more from here on, durably.
    pub(crate) async fn open(
        lane: &Lane<D>,
        directory: &Path,
        lane_index: usize,
        config: JournalConfig,
    ) -> io::Result<Self> {
        let disk = &lane.disk;
        make_directories_durably(disk, directory).await?;
        let mut present = Vec::with_capacity(config.files);
        let mut files = Vec::with_capacity(config.files);
        for index in 0..config.files {
            let path = file_path(directory, lane_index, index);
            let file = match disk.open(&path).await {
                Ok(file) if file.size().await? == config.file_size_bytes => Some(file),
                Ok(_) => {
                    disk.delete(&path).await?;
                    None
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            present.push(file.is_some());
            files.push(file);
        }
        // Above every earlier life's.
        let mut newest = 0;
        for file in files.iter().flatten() {
            let page = file.read_at(FilePosition::ZERO, PAGE_BYTES).await?;
            if let Some(header) = JournalFileHeader::decode(page.as_ref()) {
                newest = newest.max(counter(header.generation));
            }
        }
        for file in files.iter().flatten() {
            let generation = lane.generations.after(newest);
            newest = counter(generation);
            write_header::<D>(lane, file, generation, 0..0, true).await?;
        }
        disk.sync_directory(directory).await?;
        Ok(Self {
            newest: Cell::new(newest),
            directory: directory.to_path_buf(),
            lane_index,
            config,
            ring: RefCell::new(Ring::new(&present, config.file_size_bytes)),
            files: RefCell::new(files.into_iter().map(|file| file.map(Rc::new)).collect()),
            waiting: RefCell::default(),
            in_flight: Cell::new(false),
            is_broken: Cell::new(false),
            to_settle: RefCell::default(),
            settling: Cell::new(0),
        })
    }

    /// What one log may hand to the next block; 0 if there will be none.
    pub(crate) fn room_bytes(&self) -> usize {
        let block = self.config.block_size_bytes_max;
        let has_room =
            !self.is_broken.get() && (self.in_flight.get() || self.ring.borrow().has_room(block));
        if has_room {
            block - self.frame_bytes() - ENTRY_HEADER_BYTES
        } else {
            0
        }
    }

    /// What a block takes before its first entry.
    fn frame_bytes(&self) -> usize {
        BLOCK_HEADER_BYTES + self.config.files * LIVE_BYTES
    }

    fn next_generation(&self, lane: &Lane<D>) -> u64 {
        let generation = lane.generations.after(self.newest.get());
        self.newest.set(counter(generation));
        generation
    }

    /// Puts a log in line for the next block.
    pub(crate) fn wait(&self, log: Rc<PartitionLog<D>>) {
        self.waiting.borrow_mut().push_back(log);
    }

    /// The next block's write, if somebody waits and none is on its way. Logs that found no place are given back to `return_to`.
    pub(crate) fn next_block(
        self: &Rc<Self>,
        lane: &Rc<Lane<D>>,
        mut return_to: impl FnMut(Rc<PartitionLog<D>>),
    ) -> Option<LaneTask> {
        if self.in_flight.get() || self.waiting.borrow().is_empty() {
            return None;
        }
        let room = self.room_bytes();
        let limit = self.config.block_size_bytes_max;
        let mut size_bytes = self.frame_bytes();
        let mut riders: Vec<Rider<D>> = Vec::new();
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for log in waiting {
            let left = limit.saturating_sub(size_bytes + ENTRY_HEADER_BYTES);
            match log.board(room, left) {
                Some(rider) => {
                    size_bytes += ENTRY_HEADER_BYTES + rider.size_bytes();
                    log.queued.set(false);
                    riders.push(rider);
                }
                // Another way by now, or no seat: it is asked again.
                None => return_to(log),
            }
        }
        if riders.is_empty() {
            return None;
        }
        let place = self.ring.borrow_mut().place(size_bytes);
        let file = place.and_then(|place| self.files.borrow()[place.file].clone());
        let (Some(place), Some(file)) = (place, file) else {
            for rider in riders {
                rider.log.did_not_ride();
            }
            return None;
        };
        let mut buffer = lane.disk.allocate(page_ceil(size_bytes as u64) as usize);
        let mut builder = BlockBuilder::new(buffer.as_mut(), self.ring.borrow().live());
        for rider in &riders {
            rider.with_batches(|entry, batches| builder.push(entry, batches));
        }
        builder.finish(place.generation, place.sequence);
        self.in_flight.set(true);
        let (journal, lane) = (self.clone(), lane.clone());
        Some(Box::pin(async move {
            journal.write(&lane, &file, place, buffer, riders).await;
        }))
    }

    async fn write(
        self: Rc<Self>,
        lane: &Rc<Lane<D>>,
        file: &D::File,
        place: BlockPlace,
        buffer: D::Buffer,
        riders: Vec<Rider<D>>,
    ) {
        let size = buffer.as_ref().len();
        let position = FilePosition::new(place.position);
        if seeded_bug("rode-before-written") {
            for rider in &riders {
                rider.log.rode(rider.entry.end_offset, rider.size_bytes());
            }
        }
        let result = match file.write_at(Rc::new(buffer), position).await {
            Ok(written) if written == size => Ok(()),
            Ok(written) => Err(short_write(written, size)),
            Err(error) => Err(error),
        };
        self.in_flight.set(false);
        match result {
            Ok(()) => {
                lane.count(|metrics| {
                    metrics.journal_blocks += 1;
                    metrics.journal_bytes += size as u64;
                    metrics.journal_entries += riders.len() as u64;
                });
                {
                    let mut ring = self.ring.borrow_mut();
                    for rider in &riders {
                        ring.hold(place.file, rider.entry.log_id, rider.entry.end_offset);
                    }
                }
                for rider in &riders {
                    rider.log.rode(rider.entry.end_offset, rider.size_bytes());
                }
                self.prepare_files(lane);
                self.press(lane);
            }
            Err(_) if seeded_bug("failed-ride-acknowledged") => {
                for rider in &riders {
                    rider.log.rode(rider.entry.end_offset, rider.size_bytes());
                }
            }
            Err(error) => self.fail(lane, &error, &riders),
        }
        lane.wake_flusher();
    }

    fn fail(self: &Rc<Self>, lane: &Rc<Lane<D>>, error: &io::Error, riders: &[Rider<D>]) {
        tracing::error!(
            lane = self.lane_index, %error,
            "a journal write failed: this lane writes to segments only until the server is restarted"
        );
        self.is_broken.set(true);
        lane.count(|metrics| metrics.failures += 1);
        for rider in riders {
            rider.log.did_not_ride();
        }
        let held = self.ring.borrow().held_logs();
        self.to_settle.borrow_mut().extend(held);
        self.start_settles(lane);
    }

    /// Has files made ready in the background, as many as should be.
    pub(crate) fn prepare_files(self: &Rc<Self>, lane: &Rc<Lane<D>>) {
        if self.is_broken.get() {
            return;
        }
        self.release(lane);
        loop {
            let Some(preparation) = self.ring.borrow_mut().prepare() else {
                return;
            };
            let (journal, lane_of_task) = (self.clone(), lane.clone());
            lane.spawn(Box::pin(async move {
                journal.prepare(&lane_of_task, preparation).await;
            }));
        }
    }

    async fn prepare(self: Rc<Self>, lane: &Rc<Lane<D>>, preparation: Preparation) {
        let result = match preparation {
            Preparation::Create(index) => self.create(lane, index).await.map(|new| (index, new)),
            Preparation::Renew(index) => {
                let file = self.files.borrow()[index].clone();
                match file {
                    Some(file) => {
                        let generation = self.next_generation(lane);
                        let settled = self.ring.borrow().sequences(index);
                        write_header::<D>(lane, &file, generation, settled, false)
                            .await
                            .map(|generation| (index, generation))
                    }
                    None => Err(io::Error::from(io::ErrorKind::NotFound)),
                }
            }
        };
        match result {
            Ok((index, generation)) => {
                self.ring.borrow_mut().prepared(index, generation);
                lane.wake_flusher();
            }
            Err(error) => {
                // A ring of fewer files, until the next look.
                tracing::warn!(lane = self.lane_index, %error, "no further journal file for now");
                self.ring.borrow_mut().not_prepared(preparation);
            }
        }
    }

    /// A file full of written zeros: overwriting is twice as fast as writing into space that is only reserved.
    async fn create(&self, lane: &Lane<D>, index: usize) -> io::Result<u64> {
        let disk = &lane.disk;
        let path = file_path(&self.directory, self.lane_index, index);
        let temporary = temporary_path(&path);
        let file = disk.create(&temporary).await?;
        file.reserve(self.config.file_size_bytes).await?;
        let mut at = 0;
        while at < self.config.file_size_bytes {
            let size = ZEROS_BYTES.min(self.config.file_size_bytes - at);
            let mut zeros = disk.allocate(size as usize);
            zeros.as_mut().fill(0);
            let written = file.write_at(Rc::new(zeros), FilePosition::new(at)).await?;
            if written as u64 != size {
                return Err(short_write(written, size as usize));
            }
            at += size;
        }
        let generation =
            write_header::<D>(lane, &file, self.next_generation(lane), 0..0, false).await?;
        file.flush().await?;
        disk.rename(&temporary, &path).await?;
        sync_parent(disk, &path).await?;
        self.files.borrow_mut()[index] = Some(Rc::new(file));
        Ok(generation)
    }

    fn release(&self, lane: &Lane<D>) {
        // A log that was dropped without being closed keeps what the ring has of it until the next start.
        self.ring
            .borrow_mut()
            .release(|log_id, end| lane.find_log(log_id).is_some_and(|log| log.is_settled(end)));
    }

    /// Settles what the oldest file holds, when the ring fills up.
    fn press(&self, lane: &Rc<Lane<D>>) {
        if !self.to_settle.borrow().is_empty() {
            return;
        }
        let logs = self.ring.borrow().logs_to_settle();
        if logs.is_empty() {
            return;
        }
        self.to_settle.borrow_mut().extend(logs);
        self.start_settles(lane);
    }

    fn start_settles(&self, lane: &Lane<D>) {
        let limit = if self.ring.borrow().files_left() == 0 {
            SETTLES_MAX_PRESSED
        } else if lane.is_busy() {
            1
        } else {
            SETTLES_MAX
        };
        while self.settling.get() < limit {
            let Some(log_id) = self.to_settle.borrow_mut().pop_front() else {
                return;
            };
            if let Some(log) = lane.find_log(log_id)
                && log.begin_settling()
            {
                self.settling.set(self.settling.get() + 1);
                lane.count(|metrics| metrics.settles += 1);
            }
        }
    }

    /// A log that was being settled is, or never will be.
    pub(crate) fn settle_ended(self: &Rc<Self>, lane: &Rc<Lane<D>>) {
        self.settling.set(self.settling.get().saturating_sub(1));
        self.start_settles(lane);
        if self.to_settle.borrow().is_empty() {
            self.prepare_files(lane);
            self.press(lane);
        }
    }

    /// Settles logs that nothing was appended to since the last time, and looks for files that can be used again.
    pub(crate) fn maintain(self: &Rc<Self>, lane: &Rc<Lane<D>>) {
        let held = self.ring.borrow().held_logs();
        {
            let mut queue = self.to_settle.borrow_mut();
            for log_id in held {
                if let Some(log) = lane.find_log(log_id)
                    && log.was_idle()
                    && !queue.contains(&log_id)
                {
                    queue.push_back(log_id);
                }
            }
        }
        self.start_settles(lane);
        self.prepare_files(lane);
    }

    /// What the ring holds of a log counts no more: the log is deleted.
    pub(crate) fn forget(&self, log_id: LogId) {
        self.ring.borrow_mut().forget(log_id);
    }

    /// Marks the files as empty, so that the next start need not look into them. Everything must be settled; what is not,
    /// stays, and so does a file that is just being made ready: its new header is on its way, and it holds nothing.
    pub(crate) async fn close(&self, lane: &Lane<D>) -> io::Result<()> {
        self.is_broken.set(true);
        self.ring.borrow_mut().leave_current();
        self.release(lane);
        for index in 0..self.config.files {
            let file = self.files.borrow()[index].clone();
            if let Some(file) = file
                && self.ring.borrow().is_at_rest(index)
            {
                let settled = self.ring.borrow().sequences(index);
                write_header::<D>(lane, &file, self.next_generation(lane), settled, true).await?;
            }
        }
        // Their places stay, for what is still being made ready.
        self.files.borrow_mut().fill(None);
        Ok(())
    }
}

/// Gives a file a new life; durable on return. Returns its generation.
async fn write_header<D: Disk>(
    lane: &Lane<D>,
    file: &D::File,
    generation: u64,
    settled: Range<u64>,
    is_empty: bool,
) -> io::Result<u64> {
    let header = JournalFileHeader {
        generation,
        settled,
        is_empty,
    };
    write_padded(&lane.disk, file, &header.encode(), FilePosition::ZERO).await?;
    Ok(generation)
}
