//! Histories of a few logs on one lane: playing them, keeping a ledger of what was answered, and holding what a crash left
//! against it.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use corelane_format::{LogId, Offset, TimestampMs};
use corelane_storage::disk::Disk;
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{
    AppendError, CompactionConfig, JournalConfig, LaneLogsConfig, LogConfig, SparesConfig,
    replay_journals,
};

use super::compacted_history::{Superseded, check_compacted, compact_step, keyed_batch};
use super::keyed::{assert_no_key_twice, read_keyed};
use super::small_lane;
use super::{Batch, Log, Logs, append_bytes, lane, names, read_all, run, run_until_stalled};

/// A small ring, so that it goes round soon.
const JOURNAL: JournalConfig = JournalConfig {
    files: 2,
    file_size_bytes: 12 << 10,
    block_size_bytes_max: 8 << 10,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Append to `log` so many batches of that many bytes at once, then wait for each.
    Append(usize, usize, usize),
    /// A batch of that many bytes to each of the first so many logs at once, then wait for all of them.
    Trickle(usize, usize),
    /// Delete records below this part (percent) of the log.
    DeleteRecords(usize, i64),
    /// Cut the log at this part (percent).
    Truncate(usize, i64),
    /// Delete the segments that `retention.bytes` does not want kept.
    Retention(usize),
    /// The same to the first log while larger batches are on their way to the second.
    RetentionUnderLoad(usize, usize),
    /// Compact the log into segments so many times as large.
    Compact(usize, u64),
    /// The same while records are appended between its steps.
    CompactUnderLoad(usize, u64),
    /// The same while the log is cut at this part (percent).
    CompactAndTruncate(usize, i64),
    /// Delete the log and begin another in its place.
    Recreate(usize),
    /// Close the lane cleanly and open it again.
    Restart,
}

/// What a client knows of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub log_id: u64,
    index: usize,
    /// The name of the record at each offset, as appended.
    names: Vec<String>,
    /// So many were acknowledged.
    acked: usize,
    start: i64,
    /// A deletion of records that was begun and not answered.
    start_max: i64,
    /// A truncation that was begun and not answered.
    may_end_at: Option<usize>,
    /// A deletion of the log that was begun and not answered.
    may_be_gone: bool,
    /// Where it was last truncated: what the log remembers of its producer depends on it.
    truncated: Option<usize>,
    /// What compaction may have taken.
    superseded: Superseded,
}

impl Ledger {
    fn new(index: usize, log_id: u64) -> Self {
        Self {
            log_id,
            index,
            names: Vec::new(),
            acked: 0,
            start: 0,
            start_max: 0,
            may_end_at: None,
            may_be_gone: false,
            truncated: None,
            superseded: Superseded::default(),
        }
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from(format!("/data/topic-{}.{}", self.index, self.log_id))
    }

    /// The batch at `offset`: each log has one idempotent producer, whose sequences are the offsets.
    fn producer(&self) -> i64 {
        1000 + self.index as i64
    }

    fn batch(&self, offset: usize, name: &str, size_bytes: usize) -> Vec<u8> {
        Batch::new(name, 1)
            .sized(size_bytes)
            .by(self.producer(), 0, offset as i32)
            .bytes()
    }
}

/// What clients know, and the settings that the logs have.
#[derive(Debug, Clone)]
pub struct World {
    pub ledgers: RefCell<Vec<Ledger>>,
    next_log_id: Cell<u64>,
    starts: Cell<u64>,
    /// Journal blocks that were written while histories were played.
    pub journal_blocks: Cell<u64>,
    /// Segments that compaction replaced while histories were played.
    pub replaced: Cell<u64>,
    /// Files of retired or replaced segments that became spares meanwhile.
    pub spares_kept: Cell<u64>,
    logs: usize,
    /// Whether the lane has a journal.
    journal: bool,
    pub config: LogConfig,
    pub lane: LaneLogsConfig,
}

impl World {
    /// Nothing yet; histories use the first `logs` logs.
    pub fn new(logs: usize, segment_size_bytes: u64) -> Self {
        Self {
            ledgers: RefCell::new(
                (0..logs)
                    .map(|index| Ledger::new(index, 1 + index as u64))
                    .collect(),
            ),
            next_log_id: Cell::new(100),
            starts: Cell::new(0),
            journal_blocks: Cell::new(0),
            replaced: Cell::new(0),
            spares_kept: Cell::new(0),
            logs,
            journal: true,
            config: LogConfig {
                segment_size_bytes,
                retention_bytes: Some(segment_size_bytes),
                retention_ms: None,
                ..LogConfig::default()
            },
            lane: LaneLogsConfig {
                commit_size_bytes_max: 8 << 10,
                checkpoint_bytes: 2 << 10,
                spares: Some(SparesConfig {
                    directory: PathBuf::from("/spares"),
                    bytes_max: 4 * segment_size_bytes,
                    size_bytes_min: 4096,
                }),
                ..small_lane()
            },
        }
    }

    /// The same without a journal.
    #[must_use]
    pub fn without_journal(self) -> Self {
        Self {
            journal: false,
            ..self
        }
    }

    /// The same with keys, of compacted logs whose records go by size too.
    #[must_use]
    pub fn compacted(mut self) -> Self {
        self.config.compaction = Some(CompactionConfig {
            delete_retention_ms: 0,
            ..CompactionConfig::default()
        });
        self.config.retention_bytes = Some(4 * self.config.segment_size_bytes);
        self
    }

    fn is_compacted(&self) -> bool {
        self.config.compaction.is_some()
    }

    fn batch(&self, ledger: &Ledger, offset: usize, name: &str, size_bytes: usize) -> Vec<u8> {
        if self.is_compacted() {
            keyed_batch(ledger.producer(), offset, name, size_bytes)
        } else {
            ledger.batch(offset, name, size_bytes)
        }
    }

    /// A lane as each start makes one: its segments' generations are its own.
    fn start(&self, disk: &MemoryDisk) -> Logs {
        self.starts.set(self.starts.get() + 1);
        let seed = self.starts.get();
        lane(
            disk,
            LaneLogsConfig {
                seed,
                ..self.lane.clone()
            },
        )
    }

    fn of<T>(&self, log: usize, what: impl FnOnce(&mut Ledger) -> T) -> T {
        what(&mut self.ledgers.borrow_mut()[log])
    }

    async fn open(&self, logs: &Logs, index: usize) -> Result<Log, String> {
        let (directory, id) = self.of(index, |ledger| (ledger.directory(), ledger.log_id));
        let opened = logs.open_log(&directory, LogId::new(id), self.config.clone());
        let (log, report) = opened.await.map_err(|error| error.to_string())?;
        let may_be_gone = self.of(index, |ledger| ledger.may_be_gone);
        assert!(
            report.quarantined.is_empty() || may_be_gone,
            "quarantined: {report:?}"
        );
        Ok(log)
    }

    /// As a server does it: what the journal has goes into the logs whose directories there are.
    async fn start_journal(&self, logs: &Logs) -> Result<(), String> {
        let journals = Path::new("/journal");
        let present = match logs.disk().list(Path::new("/data")).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.to_string()),
        };
        let locate = |log_id: LogId| {
            let ledgers = self.ledgers.borrow();
            let ledger = ledgers
                .iter()
                .find(|ledger| ledger.log_id == log_id.get())?;
            let directory = ledger.directory();
            let is_there = |name: &str| directory.ends_with(name);
            let exists = present.iter().any(|entry| is_there(&entry.name));
            exists.then_some(directory)
        };
        let report = replay_journals(logs, journals, locate).await;
        let report = report.map_err(|error| error.to_string())?;
        // Damage may be told falsely when the power goes while the ring is made void; a loss never.
        for (log_id, range) in &report.lost {
            let ledgers = self.ledgers.borrow();
            let going = ledgers
                .iter()
                .any(|ledger| ledger.log_id == log_id.get() && ledger.may_be_gone);
            assert!(going, "lost {range:?} of {log_id}");
        }
        let opened = logs.open_journal(journals, 0, JOURNAL).await;
        opened.map_err(|error| error.to_string())?;
        // The ring's files are made in the background: histories are about what rides in them.
        quiet(logs).await;
        Ok(())
    }

    async fn open_all(&self, logs: &Logs) -> Result<Vec<Log>, String> {
        if self.journal {
            self.start_journal(logs).await?;
        }
        logs.open_spares()
            .await
            .map_err(|error| error.to_string())?;
        let mut opened = Vec::new();
        for log in 0..self.logs {
            opened.push(self.open(logs, log).await?);
        }
        Ok(opened)
    }

    /// Appends without waiting; an error is what stopped it.
    fn append(&self, log: &Log, index: usize, size_bytes: usize) -> Result<(), AppendError> {
        let (offset, name) = self.of(index, |ledger| {
            let offset = ledger.names.len();
            (offset, format!("l{}n{offset}", ledger.log_id))
        });
        let bytes = self.of(index, |ledger| {
            self.batch(ledger, offset, &name, size_bytes)
        });
        let appended = append_bytes(log, &bytes, 0)?;
        assert_eq!(appended.base_offset.get() as usize, offset);
        self.of(index, |ledger| ledger.names.push(name));
        Ok(())
    }

    async fn acknowledge(&self, log: &Log, index: usize) -> Result<(), String> {
        let (mut at, end) = self.of(index, |ledger| (ledger.acked, ledger.names.len()));
        while at < end {
            at += 1;
            let readable = log.wait_readable(Offset::new(at as i64)).await;
            readable.map_err(|error| error.to_string())?;
            self.of(index, |ledger| ledger.acked = ledger.acked.max(at));
        }
        Ok(())
    }

    /// Compacts a log, and appends so many records between the steps.
    async fn compact(
        &self,
        log: &Log,
        index: usize,
        merged: u64,
        appends: usize,
    ) -> Result<(), String> {
        self.of(index, |ledger| {
            let end = ledger.names.len();
            ledger.superseded.may_go_below(end);
        });
        let append = || self.append(log, index, 700).expect("appended");
        let done = compact_step(log, &self.config, merged, appends, append).await?;
        let replaced = done.map_or(0, |done| done.segments_replaced);
        self.replaced.set(self.replaced.get() + replaced);
        self.acknowledge(log, index).await
    }

    async fn truncate(&self, log: &Log, index: usize, percent: i64) -> Result<(), String> {
        let to = log.log_end_offset().get() * percent / 100;
        let to = to.max(log.log_start_offset().get());
        self.of(index, |ledger| {
            ledger.may_end_at = Some(to as usize);
            ledger.truncated = Some(to as usize);
            let end = ledger.names.len();
            ledger.superseded.note_before_cut(end);
        });
        let truncated = log.truncate(Offset::new(to)).await;
        truncated.map_err(|error| error.to_string())?;
        self.of(index, |ledger| {
            ledger.may_end_at = None;
            ledger.acked = to as usize;
            ledger.names.truncate(to as usize);
            ledger.superseded.cut(to as usize);
        });
        Ok(())
    }

    async fn step(&self, logs: &Logs, opened: &mut [Log], step: Step) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        match step {
            Step::Append(index, batches, size_bytes) => {
                for _ in 0..batches {
                    self.append(&opened[index], index, size_bytes)
                        .map_err(|error| text(&error))?;
                }
                self.acknowledge(&opened[index], index).await?;
            }
            Step::Trickle(count, size_bytes) => {
                for (index, log) in opened[..count].iter().enumerate() {
                    self.append(log, index, size_bytes)
                        .map_err(|error| text(&error))?;
                }
                for (index, log) in opened[..count].iter().enumerate() {
                    self.acknowledge(log, index).await?;
                }
            }
            Step::DeleteRecords(index, percent) => {
                let log = &opened[index];
                let to = log.log_end_offset().get() * percent / 100;
                self.of(index, |ledger| ledger.start_max = ledger.start.max(to));
                log.advance_log_start(Offset::new(to))
                    .await
                    .map_err(|error| text(&error))?;
                self.of(index, |ledger| ledger.start = ledger.start_max);
            }
            Step::Truncate(index, percent) => {
                self.truncate(&opened[index], index, percent).await?;
            }
            Step::Compact(index, merged) => {
                self.compact(&opened[index], index, merged, 0).await?;
            }
            Step::CompactUnderLoad(index, merged) => {
                for _ in 0..3 {
                    self.append(&opened[index], index, 1500)
                        .map_err(|error| text(&error))?;
                }
                self.compact(&opened[index], index, merged, 3).await?;
            }
            Step::CompactAndTruncate(index, percent) => {
                let log = &opened[index];
                let compact = self.compact(log, index, 3, 0);
                let truncate = self.truncate(log, index, percent);
                let (compacted, truncated) = futures_lite::future::zip(compact, truncate).await;
                compacted.and(truncated)?;
            }
            Step::Retention(index) | Step::RetentionUnderLoad(index, _) => {
                if let Step::RetentionUnderLoad(_, other) = step {
                    for _ in 0..4 {
                        self.append(&opened[other], other, 2500)
                            .map_err(|error| text(&error))?;
                    }
                }
                let log = &opened[index];
                self.of(index, |ledger| ledger.start_max = ledger.acked as i64);
                let applied = log.apply_retention(TimestampMs::new(0)).await;
                applied.map_err(|error| text(&error))?;
                let start = log.log_start_offset().get();
                self.of(index, |ledger| {
                    (ledger.start, ledger.start_max) = (start, start);
                });
                if let Step::RetentionUnderLoad(_, other) = step {
                    self.acknowledge(&opened[other], other).await?;
                }
            }
            Step::Recreate(index) => {
                self.of(index, |ledger| ledger.may_be_gone = true);
                logs.delete_log(&opened[index])
                    .await
                    .map_err(|error| text(&error))?;
                let log_id = self.next_log_id.replace(self.next_log_id.get() + 1);
                self.of(index, |ledger| *ledger = Ledger::new(index, log_id));
                opened[index] = self.open(logs, index).await?;
            }
            Step::Restart => {
                logs.shutdown().await.map_err(|error| text(&error))?;
                // A process ends when its requests have ended.
                quiet(logs).await;
            }
        }
        Ok(())
    }

    /// Plays `steps` until they are done, until nothing goes on any more, or until something fails, and says which it was.
    /// Writes complete in an order that `seed` picks.
    pub fn play(&self, disk: &MemoryDisk, steps: &[Step], seed: u64) -> Played {
        disk.hold_writes(true);
        let mut rest = steps;
        while !rest.is_empty() {
            let logs = self.start(disk);
            let used = Cell::new(0);
            let opened = RefCell::new(Vec::new());
            let play = async {
                let mut now_open = self.open_all(&logs).await?;
                for (index, step) in rest.iter().enumerate() {
                    used.set(index + 1);
                    opened.replace(now_open.clone());
                    if let Err(error) = self.step(&logs, &mut now_open, *step).await {
                        // As a server that stops after a failure.
                        let _ = logs.shutdown().await;
                        return Err(error);
                    }
                    if *step == Step::Restart {
                        break;
                    }
                }
                Ok(())
            };
            let both = futures_lite::future::or(play, release_in_some_order(disk, seed));
            let played = run_until_stalled(&logs, both);
            let blocks = self.journal_blocks.get() + logs.metrics().journal_blocks;
            self.journal_blocks.set(blocks);
            let kept = self.spares_kept.get() + logs.metrics().spares_kept;
            self.spares_kept.set(kept);
            // What a consumer can read is as good as acknowledged, whether or not anybody waited for it.
            for (index, log) in opened.borrow().iter().enumerate() {
                self.of(index, |ledger| {
                    if log.log_id().get() == ledger.log_id {
                        let readable =
                            (log.readable_offset().get() as usize).min(ledger.names.len());
                        ledger.acked = ledger.acked.max(readable);
                    }
                });
            }
            match played {
                None => return Played::Stalled,
                Some(Err(error)) => return Played::Failed(error),
                Some(Ok(())) => {}
            }
            rest = &rest[used.get()..];
        }
        Played::Done
    }

    /// Opens everything as after a crash, compares with the ledgers, appends and reads back. The ledgers know afterwards
    /// what was left of what was open. Panics over anything that must not be.
    async fn recover(&self, logs: &Logs) {
        logs.purge_trash("/data".as_ref()).await.expect("purged");
        let mut opened = self.open_all(logs).await.expect("opens");
        for (index, log) in opened.iter_mut().enumerate() {
            let ledger = self.of(index, |ledger| ledger.clone());
            let (start, end) = (log.log_start_offset().get(), log.log_end_offset().get());
            let context = format!("{start}..{end}, {ledger:?}");
            if ledger.may_be_gone {
                // Whoever deletes a log has written down before that it is gone: what is left of it means nothing.
                logs.delete_log(log).await.expect("deleted");
                let log_id = self.next_log_id.replace(self.next_log_id.get() + 1);
                self.of(index, |ledger| *ledger = Ledger::new(index, log_id));
                *log = self.open(logs, index).await.expect("opens");
            } else {
                let end_min = ledger.may_end_at.unwrap_or(ledger.acked).min(ledger.acked);
                assert!(
                    end as usize >= end_min,
                    "lost what was acknowledged: {context}"
                );
                assert!(end as usize <= ledger.names.len(), "{context}");
                assert!(
                    start >= ledger.start && start <= ledger.start.max(ledger.start_max),
                    "{context}"
                );
                self.check_records(log, &ledger, start as usize..end as usize, &context)
                    .await;
                self.of(index, |ledger| {
                    ledger.names.truncate(end as usize);
                    ledger.superseded.cut(end as usize);
                    (ledger.start, ledger.start_max) = (start, start);
                    (ledger.acked, ledger.may_end_at) = (end as usize, None);
                });
                self.check_retries(log, index);
            }
        }
        // Life goes on: small commits side by side, then a larger one.
        for (index, log) in opened.iter().enumerate() {
            self.append(log, index, 300).expect("appended");
        }
        for (index, log) in opened.iter().enumerate() {
            self.acknowledge(log, index).await.expect("durable");
        }
        self.append(&opened[0], 0, 3000).expect("appended");
        self.acknowledge(&opened[0], 0).await.expect("durable");
        if self.is_compacted() {
            for (index, log) in opened.iter().enumerate() {
                self.of(index, |ledger| {
                    let end = ledger.names.len();
                    ledger.superseded.may_go_below(end);
                });
                let done = compact_step(log, &self.config, 4, 0, || {}).await;
                if let Some(done) = done.expect("compacted") {
                    let records = read_keyed(log).await;
                    assert_no_key_twice(&records, done.first_dirty, "after a crash");
                }
            }
        }
    }

    /// Holds what can be read of a log against the ledger.
    async fn check_records(
        &self,
        log: &Log,
        ledger: &Ledger,
        offsets: std::ops::Range<usize>,
        context: &str,
    ) {
        if self.is_compacted() {
            let records = read_keyed(log).await;
            check_compacted(
                &records,
                &ledger.names,
                offsets,
                &ledger.superseded,
                context,
            );
        } else {
            let got = names(&read_all(log).await);
            assert_eq!(got, ledger.names[offsets], "{context}");
        }
    }

    /// What a producer sends again is known, and not appended a second time.
    fn check_retries(&self, log: &Log, index: usize) {
        let ledger = self.of(index, |ledger| ledger.clone());
        let end = ledger.names.len();
        if ledger.truncated.is_some() {
            return;
        }
        // Of what is compacted only the last batch is sure to be known.
        let known = if self.is_compacted() { 1 } else { 5 };
        for offset in end.saturating_sub(known).max(ledger.start as usize)..end {
            let bytes = self.batch(&ledger, offset, &ledger.names[offset], 1);
            match append_bytes(log, &bytes, 0) {
                Err(AppendError::DuplicateSequence {
                    base_offset,
                    last_offset,
                }) => {
                    assert_eq!(
                        (base_offset.get(), last_offset.get()),
                        (offset as i64, offset as i64)
                    );
                }
                other => panic!("the retry of {offset} was answered {other:?}, {ledger:?}"),
            }
        }
    }

    /// Holds what a crash left against the ledgers, appends, and crashes once more.
    pub fn verify(&self, image: &MemoryDisk) {
        for ledger in self
            .clone()
            .ledgers
            .borrow()
            .iter()
            .filter(|ledger| ledger.log_id >= 100)
        {
            let old = format!("/data/topic-{}.{}", ledger.index, 1 + ledger.index);
            let back = image
                .files()
                .into_iter()
                .any(|(path, _)| path.starts_with(&old));
            assert!(!back, "a deleted log is back: {old}");
        }
        let after = self.clone();
        let logs = after.start(image);
        run(&logs, after.recover(&logs));
        assert!(!image.saw_overlapping_writes());
        let again = image.crash(Survival::None);
        let logs = after.start(&again);
        run(&logs, async {
            for (index, log) in after
                .open_all(&logs)
                .await
                .expect("opens")
                .iter()
                .enumerate()
            {
                let ledger = after.of(index, |ledger| ledger.clone());
                let offsets = ledger.start as usize..ledger.names.len();
                let context = format!("second opening, {ledger:?}");
                after.check_records(log, &ledger, offsets, &context).await;
            }
        });
    }

    /// The power goes again while what a crash left is recovered or goes on, at operation `operation` of it.
    pub fn verify_with_another_crash(
        &self,
        image: &MemoryDisk,
        operation: u64,
        survival: Survival,
    ) {
        let between = self.clone();
        image.stop_at(operation);
        let logs = between.start(image);
        let _ = run_until_stalled(&logs, between.recover(&logs));
        between.verify(&image.crash(survival));
    }
}

/// Waits until nothing in the background goes on any more.
async fn quiet(logs: &Logs) {
    let disk = logs.disk();
    let (mut operations, mut idle) = (0, 0);
    while idle < 20 {
        if disk.stopped() {
            std::future::pending::<()>().await;
        }
        futures_lite::future::yield_now().await;
        let is_quiet = disk.held() == 0 && disk.operations() == operations;
        idle = if is_quiet { idle + 1 } else { 0 };
        operations = disk.operations();
    }
}

/// How a history ended.
#[derive(Debug)]
pub enum Played {
    Done,
    /// Nothing completes any more.
    Stalled,
    /// Something was answered with an error.
    Failed(String),
}

/// Lets held writes complete, one after the other, in an order that `seed` picks. Never ends.
async fn release_in_some_order(disk: &MemoryDisk, seed: u64) -> Result<(), String> {
    let mut state = seed;
    let (mut operations, mut idle) = (0, 0);
    // The power is gone, or something hangs: what is on its way stays there.
    while !disk.stopped() && idle < 100 {
        futures_lite::future::yield_now().await;
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let held = disk.held();
        // Now and then other operations overtake it.
        if held > 0 && state >> 62 == 0 {
            disk.release((state >> 33) as usize % held);
        }
        idle = if held > 0 || disk.operations() > operations {
            0
        } else {
            idle + 1
        };
        operations = disk.operations();
    }
    std::future::pending().await
}
