//! Giving stored batches out: from the tail's chunks, from what was read before, or from disk.
//!
//! The hot path awaits nothing. What comes from disk is checked block by block and batch by batch before anybody sees
//! it; a damaged range is answered with [`ReadError::Corrupt`] and everything around it stays readable. A reader in
//! sequence finds the next stretch read ahead.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use corelane_format::{FilePosition, Offset};

use super::{LogState, PartitionLog, SegmentFile};
use crate::disk::{Disk, DiskFile, page_ceil, page_floor};
use crate::error::ReadError;
use crate::lane::cache::Piece;
use crate::region::{ParseStop, Region, parse_blocks};
use crate::segment_header::SegmentHeader;
use crate::slice::LogSlice;

/// What a read gave.
#[derive(Debug, Clone, Default)]
pub struct LogRead {
    /// Whole batches, in order; neighbours in one block share a slice. The first may begin below the offset asked for.
    pub slices: Vec<LogSlice>,
    /// Their sum.
    pub size_bytes: usize,
    /// Where to go on.
    pub next_offset: Offset,
}

/// What gathering from memory came to.
enum Gathered {
    /// Nothing more to gain.
    Done,
    /// The next batches must be read from disk.
    Disk,
    /// They are being read already.
    UnderWay,
}

/// A stretch of a segment to read.
pub(super) struct LoadPlan<D: Disk> {
    file: Rc<SegmentFile<D>>,
    segment: SegmentHeader,
    /// A block starts at (or at the candidates after) this position.
    position: u64,
    /// Its first offset.
    first_offset: Offset,
    /// Blocks end below this.
    limit: Offset,
    end_position: u64,
    sequential: bool,
}

/// What a segment's index says of an offset.
#[derive(Clone, Copy)]
struct Sought {
    segment: SegmentHeader,
    position: u64,
    first_offset: Offset,
}

/// Why there is no plan.
enum Unplanned {
    OutOfRange,
    NeedsIndex(SegmentHeader),
}

struct Bounds {
    end: Offset,
    size_bytes_max: usize,
    at_least_one: bool,
}

impl<D: Disk> PartitionLog<D> {
    /// Reads whole batches from the one that holds `from` (or the first after it) up to `end`, exclusive, in at most
    /// `size_bytes_max`; with `at_least_one` the first batch comes whatever its size. An empty answer means that there is
    /// nothing below `end`. Pass the readable offset as `end`: above it is data that a crash may take back.
    ///
    /// One call may give less than there is; go on at `next_offset`.
    pub async fn read(
        &self,
        from: Offset,
        end: Offset,
        size_bytes_max: usize,
        at_least_one: bool,
    ) -> Result<LogRead, ReadError> {
        let mut read = LogRead {
            next_offset: from,
            ..LogRead::default()
        };
        let bounds = Bounds {
            end,
            size_bytes_max,
            at_least_one,
        };
        let mut fresh: Option<Rc<Region>> = None;
        let mut from_memory = true;
        loop {
            let loaded = self.loaded.wait();
            let gathered = self.gather(&mut read, &bounds, fresh.take().as_ref())?;
            match gathered {
                Gathered::Done => {
                    if from_memory {
                        self.lane.count(|metrics| metrics.reads_from_memory += 1);
                    }
                    return Ok(read);
                }
                _ if !read.slices.is_empty() => return Ok(read),
                Gathered::UnderWay => {
                    from_memory = false;
                    loaded.await;
                }
                Gathered::Disk => {
                    from_memory = false;
                    fresh = Some(self.load(read.next_offset).await?);
                }
            }
        }
    }

    fn gather(
        &self,
        read: &mut LogRead,
        bounds: &Bounds,
        fresh: Option<&Rc<Region>>,
    ) -> Result<Gathered, ReadError> {
        let mut state = self.state.borrow_mut();
        let (log_start, log_end) = (state.offsets.log_start(), state.offsets.log_end());
        if read.slices.is_empty() && (read.next_offset < log_start || read.next_offset > log_end) {
            return Err(ReadError::OutOfRange {
                requested: read.next_offset,
                log_start,
                log_end,
            });
        }
        let end = bounds.end.min(log_end);
        loop {
            let at = read.next_offset;
            if at >= end || (read.size_bytes >= bounds.size_bytes_max && !read.slices.is_empty()) {
                return Ok(Gathered::Done);
            }
            if let Some(gap) = state.gap_at(at) {
                if read.slices.is_empty() {
                    return Err(self.corrupt(gap, "quarantined"));
                }
                return Ok(Gathered::Done);
            }
            let left = bounds.size_bytes_max - read.size_bytes.min(bounds.size_bytes_max);
            let must = bounds.at_least_one && read.slices.is_empty();
            let (run, owner, block_end) = if let Some(chunk) = state.chunk_at(at) {
                chunk.touched.set(true);
                let run = chunk
                    .view
                    .select((*chunk.buffer).as_ref(), at, end, left, must);
                let owner: Rc<dyn AsRef<[u8]>> = chunk.buffer.clone();
                (run, owner, chunk.end_offset())
            } else if let Some(open) = state.open.as_ref().filter(|open| open.first_offset() <= at)
            {
                // The chunk still grows, so its readers get a copy. Only topics that are readable before their flush
                // come here.
                let view = open.view();
                let mut run = view.select(open.bytes(), at, end, left, must);
                let copy: Vec<u8> = open.bytes()[run.range.clone()].to_vec();
                run.range = 0..copy.len();
                (run, Rc::new(copy) as Rc<dyn AsRef<[u8]>>, open.end_offset())
            } else if let Some(region) = fresh
                .filter(|region| region.covers(at))
                .cloned()
                .or_else(|| state.region_at(at))
            {
                region.touched.set(true);
                let Some(view) = region.block_at(at) else {
                    return Ok(Gathered::Disk);
                };
                let run = view.select((*region.bytes).as_ref(), at, end, left, must);
                self.read_ahead(&mut state, &region);
                (run, region.bytes.clone(), view.end_offset)
            } else if state.loading.contains(&at) {
                return Ok(Gathered::UnderWay);
            } else {
                return Ok(Gathered::Disk);
            };
            if run.range.is_empty() {
                if run.stopped {
                    return Ok(Gathered::Done);
                }
                // Nothing at or above `at` is left in this block.
                read.next_offset = block_end;
                continue;
            }
            read.size_bytes += run.range.len();
            read.slices.push(LogSlice::new(owner, run.range));
            read.next_offset = if run.stopped {
                run.next_offset
            } else {
                block_end
            };
            if run.stopped {
                return Ok(Gathered::Done);
            }
        }
    }

    fn corrupt(&self, range: Range<Offset>, detail: &str) -> ReadError {
        ReadError::Corrupt {
            log_id: self.log_id(),
            start: range.start,
            end: range.end,
            detail: detail.to_owned(),
        }
    }

    pub(super) fn io_error(&self, error: std::io::Error) -> ReadError {
        ReadError::Io {
            log_id: self.log_id(),
            error: Rc::new(error),
        }
    }

    /// Has the stretch after `region` read while its reader is busy with it.
    fn read_ahead(&self, state: &mut LogState<D>, region: &Rc<Region>) {
        if !region.sequential {
            return;
        }
        let next = region.end_offset();
        let known = next >= state.settled
            || state.chunk_at(next).is_some()
            || state.loading.contains(&next)
            || state.region_at(next).is_some()
            || state.gap_at(next).is_some()
            || state.loading.len() >= 2;
        if known {
            return;
        }
        let Some(log) = self.weak().upgrade() else {
            return;
        };
        state.loading.push(next);
        self.lane.spawn(Box::pin(async move {
            let result = log.load(next).await;
            log.state
                .borrow_mut()
                .loading
                .retain(|loading| *loading != next);
            if let Err(error) = result {
                tracing::debug!(log_id = %log.log_id(), %error, "read ahead failed");
            }
            log.loaded.notify();
        }));
    }

    /// How to load the stretch that holds `at`. `sought` is what the index of a segment says of `at`: without it the
    /// answer may be the segment whose index must be asked.
    fn plan(&self, at: Offset, sought: Option<Sought>) -> Result<LoadPlan<D>, Unplanned> {
        let state = self.state.borrow();
        let index = state.segment_index(at).ok_or(Unplanned::OutOfRange)?;
        let segment = &state.segments[index];
        let seek = || {
            sought
                .filter(|sought| sought.segment == segment.meta.header)
                .map(|sought| (sought.position, sought.first_offset))
                .or_else(|| segment.meta.seek_offset(at, &[]))
                .ok_or(Unplanned::NeedsIndex(segment.meta.header))
        };
        // What is not settled is in memory.
        let settled = state.settled;
        // Whoever reads on where another region ends needs no index and reads in sequence.
        let before = state
            .regions
            .range(..at)
            .next_back()
            .map(|(_, region)| region);
        let follows = before.filter(|region| {
            region.end_offset() == at && region.segment.generation == segment.meta.header.generation
        });
        let sequential = before.is_some_and(|region| region.end_offset() == at)
            || segment.meta.base_offset() == at && at > state.offsets.log_start();
        let (mut position, mut first_offset) = match follows {
            Some(region) => (region.end_position, at),
            None => seek()?,
        };
        // Behind a quarantined range the index knows the next sound block.
        if let Some(gap) = segment
            .meta
            .gaps
            .iter()
            .rev()
            .find(|gap| gap.start >= first_offset && gap.end <= at)
        {
            let (sought, offset) = seek()?;
            if offset < gap.end {
                (position, first_offset) = (sought, offset);
            }
        }
        Ok(LoadPlan {
            file: segment.file.clone(),
            segment: segment.meta.header,
            position,
            first_offset,
            limit: segment.meta.end_offset.min(settled),
            end_position: segment.meta.end_position,
            sequential,
        })
    }

    /// Reads and checks the stretch that holds `at`, and keeps it.
    async fn load(&self, at: Offset) -> Result<Rc<Region>, ReadError> {
        let mut sought = None;
        loop {
            let plan = match self.plan(at, sought) {
                Ok(plan) => plan,
                Err(Unplanned::OutOfRange) => return Err(self.out_of_range(at)),
                Err(Unplanned::NeedsIndex(segment)) => {
                    match self.seek_offset(segment, at).await {
                        Ok(Some((position, first_offset))) => {
                            sought = Some(Sought {
                                segment,
                                position,
                                first_offset,
                            });
                        }
                        _ if self.is_replaced(segment.generation, at) => {}
                        Ok(None) => return Err(self.out_of_range(at)),
                        Err(error) => return Err(error),
                    }
                    continue;
                }
            };
            match self.load_planned(&plan, at).await {
                Err(_) if self.is_replaced(plan.segment.generation, at) => {}
                result => return result,
            }
        }
    }

    /// Whether compaction has put another segment in the place of the one that held `at`.
    pub(super) fn is_replaced(&self, generation: u64, at: Offset) -> bool {
        let mut state = self.state.borrow_mut();
        at >= state.offsets.log_start()
            && at < state.offsets.log_end()
            && state.segment_of(generation).is_none()
    }

    fn out_of_range(&self, at: Offset) -> ReadError {
        let state = self.state.borrow();
        ReadError::OutOfRange {
            requested: at,
            log_start: state.offsets.log_start(),
            log_end: state.offsets.log_end(),
        }
    }

    async fn load_planned(&self, plan: &LoadPlan<D>, at: Offset) -> Result<Rc<Region>, ReadError> {
        let file = plan
            .file
            .open(&self.lane.disk)
            .await
            .map_err(|error| self.io_error(error))?;
        let (mut position, mut next_offset) = (plan.position, plan.first_offset);
        let mut size_bytes = self.lane.config.read_size_bytes;
        loop {
            let start = page_floor(position);
            let end = page_ceil(plan.end_position)
                .min(page_ceil(start + size_bytes as u64))
                .max(start);
            let buffer = if start < end {
                let read = file
                    .read_at(FilePosition::new(start), (end - start) as usize)
                    .await;
                let buffer = read.map_err(|error| self.io_error(error))?;
                self.lane.count(|metrics| {
                    metrics.disk_reads += 1;
                    metrics.disk_read_bytes += buffer.as_ref().len() as u64;
                });
                Some(buffer)
            } else {
                None
            };
            let bytes = buffer.as_ref().map_or(&[][..], AsRef::as_ref);
            let bytes_end = start + bytes.len() as u64;
            let at_end = bytes_end >= plan.end_position || bytes.len() < (end - start) as usize;
            let parsed = parse_blocks(
                bytes,
                start,
                position,
                next_offset,
                plan.limit,
                &plan.segment,
            );
            if parsed.next_offset > at
                && let Some(buffer) = buffer
            {
                let charge_bytes = buffer.as_ref().len();
                let region = Rc::new(Region {
                    bytes: Rc::new(buffer),
                    blocks: parsed.blocks,
                    end_position: parsed.end_position,
                    segment: plan.segment,
                    charge_bytes,
                    touched: Cell::new(false),
                    sequential: plan.sequential,
                });
                self.keep(&region);
                return Ok(region);
            }
            let detail = match parsed.stop {
                ParseStop::NeedMore {
                    position: block,
                    size_bytes: needed,
                } if !at_end => {
                    (position, next_offset) = (parsed.end_position, parsed.next_offset);
                    size_bytes = (block - page_floor(position)) as usize + needed;
                    continue;
                }
                ParseStop::End if !at_end => {
                    // Padding to the end of what is at hand: without progress only more bytes can tell.
                    size_bytes = if parsed.end_position == position {
                        size_bytes.saturating_add(self.lane.config.read_size_bytes)
                    } else {
                        self.lane.config.read_size_bytes
                    };
                    (position, next_offset) = (parsed.end_position, parsed.next_offset);
                    continue;
                }
                ParseStop::Limit => return Err(self.out_of_range(at)),
                ParseStop::Bad { error } => error.to_string(),
                ParseStop::NeedMore { .. } | ParseStop::End => "the segment ends early".to_owned(),
            };
            // A damaged block: find the next sound one, so that what lies behind it stays readable.
            let damaged_from = parsed.next_offset;
            let found = self
                .find_block(&file, plan, parsed.end_position, damaged_from)
                .await?;
            let damaged_to = found.map_or(plan.limit, |(_, offset)| offset);
            self.quarantine(plan, damaged_from..damaged_to, &detail);
            match found {
                Some((block, offset)) if offset <= at => (position, next_offset) = (block, offset),
                _ => {
                    return Err(self.corrupt(damaged_from..damaged_to, &detail));
                }
            }
        }
    }

    fn quarantine(&self, plan: &LoadPlan<D>, range: Range<Offset>, detail: &str) {
        let mut state = self.state.borrow_mut();
        let Some(segment) = state.segment_of(plan.segment.generation) else {
            return;
        };
        let is_known = segment
            .meta
            .gap_at(range.start)
            .is_some_and(|gap| range.end <= gap.end);
        if is_known || range.is_empty() {
            return;
        }
        tracing::error!(log_id = %self.log_id(), start = %range.start, end = %range.end, detail, "damaged range quarantined");
        segment.meta.quarantine(range);
        self.lane.count(|metrics| metrics.corruptions_found += 1);
    }

    /// The first sound block above `offset` after `position`: its position and first offset.
    async fn find_block(
        &self,
        file: &D::File,
        plan: &LoadPlan<D>,
        position: u64,
        offset: Offset,
    ) -> Result<Option<(u64, Offset)>, ReadError> {
        let mut scan = super::scan::BlockReader::<D>::new(file, plan.end_position);
        let (found, _) = scan
            .find_block(position, plan.end_position, &plan.segment, offset)
            .await
            .map_err(|error| self.io_error(error))?;
        Ok(found
            .map(|(position, header)| (position, Offset::new(header.first_offset)))
            .filter(|(_, first)| *first < plan.limit))
    }

    fn keep(&self, region: &Rc<Region>) {
        let first = region.first_offset();
        let replaced = {
            let mut state = self.state.borrow_mut();
            // Compaction has put another segment in its place meanwhile: who asked may have it, and nobody else.
            if state.segment_of(region.segment.generation).is_none() {
                return;
            }
            state.regions.insert(first, region.clone())
        };
        if replaced.is_none() {
            self.lane
                .read_cache
                .insert(self.weak(), Piece::Region(first), region.charge_bytes);
        }
    }
}

impl<D: Disk> LogState<D> {
    fn chunk_at(&self, at: Offset) -> Option<&Rc<crate::chunk::Chunk<D::Buffer>>> {
        let (_, chunk) = self.tail.range(..=at).next_back()?;
        (at < chunk.end_offset()).then_some(chunk)
    }

    fn region_at(&self, at: Offset) -> Option<Rc<Region>> {
        let (_, region) = self.regions.range(..=at).next_back()?;
        region.covers(at).then(|| region.clone())
    }

    fn gap_at(&self, at: Offset) -> Option<Range<Offset>> {
        let segment = &self.segments[self.segment_index(at)?];
        segment.meta.gap_at(at).cloned()
    }
}
