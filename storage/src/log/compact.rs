//! Compaction: sealed segments are rewritten without what later records have replaced.
//!
//! What goes is decided in [`crate::compaction`]. A pass reads the dirty part and maps its keys, then rewrites groups of
//! neighbouring segments from the log's start up to where the map ends, lowest offsets first. Each group becomes one new
//! segment: ordinary commit blocks of a generation of their own, whose ranges of offsets cover the holes too, so that the
//! segment reaches from the base of the first one it replaces to the end of the last.
//!
//! Memory: the map's budget, one window of reading, one block of writing, and the largest batch. Between steps of about a
//! block the pace decides when to go on; nothing but [`swap`] holds up another change of the log, and appends, commits and
//! reads go on all the time.
//!
//! # What a crash leaves
//! The groups that were swapped, and the others as they were: in each state every key's last record is there, and a
//! tombstone never goes before the records below it that it deletes. A pass that did not end is made again.
//!
//! # What is left alone
//! The active segment, what is not durable in segments, and segments with quarantined ranges: their damage stays visible.
//! A batch that cannot be read stays as it is. Tombstones above such things stay, since what they delete may be in them.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use corelane_format::kafka::compression::decompress_into;
use corelane_format::kafka::{
    BatchHeader, Compression, DecompressLimits, SplitBatch, StoredBatch, records, split_first_batch,
};
use corelane_format::{Offset, TimestampMs};

use super::{PartitionLog, SegmentFile};
use crate::compaction::checkpoint;
use crate::compaction::offset_map::OffsetMap;
use crate::compaction::plan::{CompactionPlan, SealedSegment, group_segments, plan_compaction};
use crate::compaction::retention::CompactionFilter;
use crate::config::CompactionConfig;
use crate::disk::{Disk, PAGE_BYTES, read_small_file, replace_file_durably};
use crate::error::ChangeError;
use crate::event::TaskLock;
use crate::names::CLEANER_OFFSET;
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::SegmentHeader;

use rewrite::Rewrite;
use source::{Source, SourceBlock};

mod rewrite;
mod source;
mod swap;

/// How much is worked through before the pace is asked again.
const WORK_BYTES_MAX: usize = 64 << 10;

/// How fast a compaction goes: below everything else that the lane does.
#[expect(
    async_fn_in_trait,
    reason = "a lane's futures never leave their thread, so no Send bound is wanted"
)]
pub trait CompactionPace {
    /// Awaited between small steps; `moved_bytes` were read and written since the last time.
    async fn pass(&mut self, moved_bytes: u64);
}

/// No pace: step after step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpaced;

impl CompactionPace for Unpaced {
    async fn pass(&mut self, _: u64) {}
}

/// What a compaction may take.
#[derive(Debug, Clone, Copy)]
pub struct CompactionLimits {
    /// Memory for the map of keys; a few hundred bytes at least.
    pub map_budget_bytes: usize,
}

/// Why a log should be compacted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionDue {
    /// The dirty part of what can be compacted, in millionths.
    pub dirty_ratio_ppm: u32,
    /// Its bytes.
    pub dirty_bytes: u64,
    /// Whether `max.compaction.lag.ms` demands it.
    pub is_overdue: bool,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Everything below has been compacted.
    pub first_dirty: Offset,
    /// Segments that were replaced.
    pub segments_replaced: u64,
    /// Segments that took their place.
    pub segments_written: u64,
    /// Segments with damage, which stayed as they are.
    pub segments_damaged: u64,
    /// Records that went.
    pub records_dropped: u64,
    /// Batches that cannot be read, which stayed as they are.
    pub batches_unreadable: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// What a log remembers of its compactions.
#[derive(Default)]
pub(crate) struct CompactionState {
    running: TaskLock,
    /// Whether the file was looked at.
    is_loaded: Cell<bool>,
    checkpoint: Cell<Option<Offset>>,
}

/// Why a pass ended early.
pub(super) enum Stop {
    Error(ChangeError),
    /// The log was changed, closed, or is not compacted any more: there is nothing to finish.
    Abandoned,
}

impl<E: Into<ChangeError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// A segment that takes part, as it was when the pass began.
pub(super) struct Part<D: Disk> {
    pub(super) segment: SealedSegment,
    pub(super) header: SegmentHeader,
    pub(super) end_position: u64,
    /// `None` once another segment has taken its place.
    pub(super) file: Option<Rc<SegmentFile<D>>>,
}

/// One pass.
struct Pass<'a, P> {
    pace: &'a mut P,
    report: Compacted,
    section: Vec<u8>,
    /// Worked through since the pace was last asked.
    worked_bytes: usize,
}

impl<P: CompactionPace> Pass<'_, P> {
    /// A batch was worked through: others may have a turn.
    async fn worked(&mut self, size_bytes: usize) {
        self.worked_bytes += size_bytes;
        if self.worked_bytes >= WORK_BYTES_MAX {
            self.worked_bytes = 0;
            self.pace.pass(0).await;
        }
    }

    async fn step(&mut self, read_bytes: u64, written_bytes: u64) {
        self.report.read_bytes += read_bytes;
        self.report.written_bytes += written_bytes;
        self.worked_bytes = 0;
        self.pace.pass(read_bytes + written_bytes).await;
    }
}

impl<D: Disk> PartitionLog<D> {
    /// Whether the log should be compacted now, by its topic's rules. Reads at most a small file, once.
    pub async fn compaction_due(
        &self,
        now: TimestampMs,
    ) -> Result<Option<CompactionDue>, ChangeError> {
        let Some(config) = self.compaction_config() else {
            return Ok(None);
        };
        self.load_checkpoint().await?;
        let (_, plan) = self.plan_pass(now, &config);
        Ok(plan.is_due(&config).then_some(CompactionDue {
            dirty_ratio_ppm: plan.dirty_ratio_ppm,
            dirty_bytes: plan.dirty_bytes,
            is_overdue: plan.is_overdue,
        }))
    }

    /// Compacts what can be compacted now, due or not: one pass, as far as the memory for its map goes. `None` if there was
    /// nothing to do, or the log was changed or closed meanwhile. What was swapped is durable on return.
    ///
    /// `now` is the wall clock, for ages and for delete horizons. Dropping it leaves a temporary file at most.
    pub async fn compact<P: CompactionPace>(
        &self,
        now: TimestampMs,
        limits: CompactionLimits,
        pace: &mut P,
    ) -> Result<Option<Compacted>, ChangeError> {
        let Some(_running) = self.compaction.running.try_lock() else {
            return Ok(None);
        };
        let Some(config) = self.compaction_config() else {
            return Ok(None);
        };
        self.load_checkpoint().await?;
        let mut pass = Pass {
            pace,
            report: Compacted::default(),
            section: Vec::new(),
            worked_bytes: 0,
        };
        let result = self.run_pass(now, &config, limits, &mut pass).await;
        let report = pass.report;
        self.lane.count(|metrics| {
            metrics.compactions += u64::from(matches!(result, Ok(true)));
            metrics.compaction_read_bytes += report.read_bytes;
            metrics.compaction_written_bytes += report.written_bytes;
            metrics.compaction_dropped_records += report.records_dropped;
        });
        match result {
            Ok(true) => Ok(Some(report)),
            Ok(false) | Err(Stop::Abandoned) => Ok(None),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    fn compaction_config(&self) -> Option<CompactionConfig> {
        let state = self.state.borrow();
        state
            .config
            .compaction
            .filter(|_| state.fenced.is_none() && !state.closing)
    }

    fn check_going_on(&self) -> Result<(), Stop> {
        self.compaction_config().map(|_| ()).ok_or(Stop::Abandoned)
    }

    async fn load_checkpoint(&self) -> Result<(), ChangeError> {
        if self.compaction.is_loaded.get() {
            return Ok(());
        }
        let path = self.directory().join(CLEANER_OFFSET);
        let found = match read_small_file(&self.lane.disk, &path, PAGE_BYTES as u64).await {
            Ok(bytes) => {
                let found = checkpoint::decode(&bytes, self.log_id());
                if found.is_none() {
                    tracing::warn!(log_id = %self.log_id(), path = %path.display(), "damaged: the log is compacted from its start");
                }
                found
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Only work is lost with it.
            Err(error) => {
                tracing::warn!(log_id = %self.log_id(), path = %path.display(), %error, "cannot be read: the log is compacted from its start");
                None
            }
        };
        // A truncation may have come in between.
        if !self.compaction.is_loaded.replace(true) {
            self.compaction.checkpoint.set(found);
        }
        Ok(())
    }

    /// The sealed segments that are wholly durable, and what is to be done with them.
    fn plan_pass(
        &self,
        now: TimestampMs,
        config: &CompactionConfig,
    ) -> (Vec<Part<D>>, CompactionPlan) {
        let state = self.state.borrow();
        let settled = state.settled;
        let parts: Vec<Part<D>> = state
            .segments
            .iter()
            .zip(state.segments.iter().skip(1))
            // The next one's file is what seals a segment on disk.
            .take_while(|(segment, next)| {
                (segment.meta.end_offset <= settled
                    && segment.file.exists.get()
                    && next.file.exists.get())
                    || seeded_bug("unflushed-segment-compacted")
            })
            .map(|(segment, _)| {
                let meta = &segment.meta;
                Part {
                    segment: SealedSegment {
                        base: meta.base_offset(),
                        end: meta.end_offset,
                        size_bytes: meta.end_position,
                        first_timestamp: meta.first_timestamp,
                        max_timestamp: meta.max_timestamp.map(|(newest, _)| newest),
                        is_empty: meta.is_emptied(),
                        is_damaged: !meta.gaps.is_empty(),
                    },
                    header: meta.header,
                    end_position: meta.end_position,
                    file: Some(segment.file.clone()),
                }
            })
            .collect();
        let views: Vec<SealedSegment> = parts.iter().map(|part| part.segment).collect();
        let plan = plan_compaction(
            &views,
            self.compaction.checkpoint.get(),
            state.offsets.log_start(),
            state.offsets.log_end(),
            now,
            config,
        );
        (parts, plan)
    }

    /// Whether it went through.
    async fn run_pass<P: CompactionPace>(
        &self,
        now: TimestampMs,
        config: &CompactionConfig,
        limits: CompactionLimits,
        pass: &mut Pass<'_, P>,
    ) -> Result<bool, Stop> {
        let (mut parts, plan) = self.plan_pass(now, config);
        if plan.dirty_bytes == 0 {
            return Ok(false);
        }
        let (history, segment_size_bytes, producers) = {
            let state = self.state.borrow();
            (
                state.history,
                state.config.segment_size_bytes,
                state.producers.last_batches(state.offsets.flushed()),
            )
        };
        let (map, mapped_end) = self.map_keys(&mut parts, &plan, limits, pass).await?;
        if seeded_bug("checkpoint-before-the-swap") {
            self.save_checkpoint(mapped_end, history).await?;
        }
        parts.retain(|part| part.segment.base < mapped_end);
        let mut filter = CompactionFilter {
            map: &map,
            mapped_end,
            producers: &producers,
            now,
            delete_retention_ms: config.delete_retention_ms,
            stays_from: None,
        };
        let views: Vec<SealedSegment> = parts.iter().map(|part| part.segment).collect();
        let mut done = 0;
        for group in group_segments(&views, segment_size_bytes) {
            for damaged in &views[done..group.start] {
                filter.stays(damaged.base);
            }
            done = group.end;
            let group = &mut parts[group];
            match self.rewrite_group(group, &mut filter, pass).await? {
                Rewrite::Done(new) => {
                    let replaced = group.len() as u64;
                    if self.swap(group, new, history).await? {
                        pass.report.segments_replaced += replaced;
                        pass.report.segments_written += 1;
                    }
                }
                Rewrite::Unchanged => {}
                Rewrite::Damaged => {
                    if let Some(first) = group.first() {
                        filter.stays(first.segment.base);
                    }
                }
            }
        }
        pass.report.segments_damaged =
            views.iter().filter(|segment| segment.is_damaged).count() as u64;
        pass.report.first_dirty = mapped_end;
        self.save_checkpoint(mapped_end, history).await?;
        Ok(true)
    }

    /// Makes the log forget how far it was compacted, durably with the next sync of its directory: it is being cut.
    pub(super) async fn forget_compaction(&self) -> Result<(), ChangeError> {
        self.compaction.is_loaded.set(true);
        if seeded_bug("checkpoint-outlives-a-cut") {
            return Ok(());
        }
        self.compaction.checkpoint.set(None);
        let path = self.directory().join(CLEANER_OFFSET);
        match self.lane.disk.delete(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ChangeError::Io {
                log_id: self.log_id(),
                operation: "delete cleaner offset",
                error: Rc::new(error),
            }),
            _ => Ok(()),
        }
    }

    /// Durably notes how far the log is compacted.
    async fn save_checkpoint(&self, first_dirty: Offset, history: u64) -> Result<(), Stop> {
        let _guard = self.changing.lock().await;
        self.check_going_on()?;
        if self.state.borrow().history != history {
            return Err(Stop::Abandoned);
        }
        let content = checkpoint::encode(self.log_id(), first_dirty);
        let path = self.directory().join(CLEANER_OFFSET);
        replace_file_durably(&self.lane.disk, &path, &content)
            .await
            .map_err(|error| ChangeError::Io {
                log_id: self.log_id(),
                operation: "write cleaner offset",
                error: Rc::new(error),
            })?;
        self.compaction.checkpoint.set(Some(first_dirty));
        Ok(())
    }

    /// Maps the keys of the dirty part, and says up to where (exclusive) there was room for all of them.
    async fn map_keys<P: CompactionPace>(
        &self,
        parts: &mut [Part<D>],
        plan: &CompactionPlan,
        limits: CompactionLimits,
        pass: &mut Pass<'_, P>,
    ) -> Result<(OffsetMap, Offset), Stop> {
        let keys_max = u64::try_from(plan.end.minus(plan.first_dirty)).unwrap_or(0);
        let mut map = OffsetMap::new(limits.map_budget_bytes, keys_max);
        let dirty = parts.iter_mut().filter(|part| {
            part.segment.end > plan.first_dirty
                && part.segment.end <= plan.end
                && !part.segment.is_damaged
        });
        for part in dirty {
            let file = self.open_part(part).await?;
            let mut source = Source::<D>::new(&file, part);
            loop {
                self.check_going_on()?;
                let block = match self.next_block(&mut source).await? {
                    SourceBlock::End => break,
                    SourceBlock::Damaged => {
                        part.segment.is_damaged = true;
                        break;
                    }
                    SourceBlock::Block(block) => block,
                };
                let body = source
                    .body(&block)
                    .await
                    .map_err(|error| self.read_failed(error))?;
                let mut full_at = None;
                for batch in batches(body, part.segment.end) {
                    if batch.header().last_offset() >= plan.first_dirty {
                        full_at = map_batch(&mut map, &batch, plan.first_dirty, &mut pass.section);
                    }
                    if full_at.is_some() {
                        break;
                    }
                    pass.worked(batch.bytes().len()).await;
                }
                pass.step(block.size_bytes, 0).await;
                if let Some(full_at) = full_at {
                    if seeded_bug("full-map-taken-for-complete") {
                        return Ok((map, plan.end));
                    }
                    return Ok((map, full_at));
                }
            }
        }
        Ok((map, plan.end))
    }

    fn read_failed(&self, error: io::Error) -> Stop {
        Stop::Error(ChangeError::Io {
            log_id: self.log_id(),
            operation: "read segment",
            error: Rc::new(error),
        })
    }

    /// Its handle stays open from here on, so that readers who have planned to read it still can after it was replaced.
    async fn open_part(&self, part: &Part<D>) -> Result<Rc<D::File>, Stop> {
        let Some(file) = &part.file else {
            return Err(Stop::Abandoned);
        };
        file.open(&self.lane.disk)
            .await
            .map_err(|error| match self.check_going_on() {
                // Retention may have deleted it.
                Err(stop) => stop,
                Ok(()) if error.kind() == io::ErrorKind::NotFound => Stop::Abandoned,
                Ok(()) => self.read_failed(error),
            })
    }

    async fn next_block(&self, source: &mut Source<'_, D>) -> Result<SourceBlock, Stop> {
        let found = source
            .next()
            .await
            .map_err(|error| self.read_failed(error))?;
        if matches!(found, SourceBlock::Damaged) {
            let (at, end) = (source.next_offset(), source.end());
            tracing::error!(log_id = %self.log_id(), start = %at, "damaged block: its segment is not compacted");
            // An ordinary read finds the exact range and quarantines it.
            drop(self.read(at, end, 1, true).await);
        }
        Ok(found)
    }
}

/// The batches of a block's body, which was checked, as far as the log goes.
pub(super) fn batches(body: &[u8], end: Offset) -> impl Iterator<Item = StoredBatch<'_>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let Ok(SplitBatch::Whole {
            batch,
            rest: behind,
        }) = split_first_batch(rest)
        else {
            return None;
        };
        rest = behind;
        Some(batch)
    })
    .take_while(move |batch| batch.header().base_offset < end)
}

/// Maps the keys of a batch. Where there is no room for one, its offset comes back. A batch that cannot be read has no
/// keys: it stays as it is.
fn map_batch(
    map: &mut OffsetMap,
    batch: &StoredBatch<'_>,
    from: Offset,
    section: &mut Vec<u8>,
) -> Option<Offset> {
    let header: &BatchHeader = batch.header();
    if header.attributes.is_control() || header.records_count <= 0 {
        return None;
    }
    let body = match header.attributes.compression() {
        Ok(Compression::None) => batch.records_section(),
        Ok(codec) => {
            let limits = DecompressLimits::default();
            decompress_into(codec, batch.records_section(), limits, section).ok()?;
            section
        }
        Err(_) => return None,
    };
    // Keys of a batch whose end cannot be read must not count: nothing of it will be rewritten.
    if records(header, body).any(|record| record.is_err()) {
        return None;
    }
    for record in records(header, body).flatten() {
        let offset = header.base_offset.plus(i64::from(record.offset_delta));
        if let Some(key) = record.key
            && offset >= from
            && !map.put(key, offset)
        {
            return Some(offset);
        }
    }
    None
}
