//! Rewriting a group of segments into one, under a temporary name.

use std::io;
use std::rc::Rc;

use corelane_format::kafka::{BatchHeader, DecompressLimits, FilterScratch, filter_batch};
use corelane_format::record_filter::Filtered;
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, FilePosition, Offset};

use super::source::{Source, SourceBlock};
use super::{CompactionPace, Part, Pass, Stop, batches};
use crate::chunk::{OpenChunk, SealContext, chunk_capacity, place_block};
use crate::compaction::retention::CompactionFilter;
use crate::disk::{Disk, DiskFile, short_write, write_padded};
use crate::error::ChangeError;
use crate::generation::counter;
use crate::log::PartitionLog;
use crate::log::commit::StepResult;
use crate::names::compacted_path;
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::SegmentHeader;
use crate::segment_meta::SegmentMeta;

/// What became of a group.
pub(super) enum Rewrite<D: Disk> {
    /// Written and durable under its temporary name.
    Done(NewSegment<D>),
    /// Nothing would go: the segment stays.
    Unchanged,
    /// Damage was found: the group stays.
    Damaged,
}

/// What takes a group's place.
pub(super) struct NewSegment<D: Disk> {
    pub(super) meta: SegmentMeta,
    pub(super) file: Rc<D::File>,
    pub(super) size_bytes: u64,
}

/// The segment under way.
struct Writer<'a, D: Disk> {
    log: &'a PartitionLog<D>,
    file: D::File,
    meta: SegmentMeta,
    open: Option<OpenChunk<D::Buffer>>,
    /// Exclusive end of the blocks so far.
    covered: Offset,
    /// Where the segment will end.
    end: Offset,
    interval_bytes: u64,
    written_bytes: u64,
    size_bytes: u64,
}

fn step(operation: &'static str) -> impl FnOnce(io::Error) -> (&'static str, io::Error) {
    move |error| (operation, error)
}

impl<'a, D: Disk> Writer<'a, D> {
    async fn create(
        log: &'a PartitionLog<D>,
        header: SegmentHeader,
        end: Offset,
        interval_bytes: u64,
    ) -> StepResult<Self> {
        let disk = &log.lane.disk;
        let path = compacted_path(log.directory(), header.base_offset);
        let file = disk.create(&path).await.map_err(step("create segment"))?;
        write_padded(disk, &file, &header.encode(), FilePosition::ZERO)
            .await
            .map_err(step("write segment header"))?;
        Ok(Self {
            log,
            file,
            meta: SegmentMeta::new(header),
            open: None,
            covered: header.base_offset,
            end,
            interval_bytes,
            written_bytes: 0,
            size_bytes: 0,
        })
    }

    async fn push(&mut self, batch: &[u8], header: &BatchHeader) -> StepResult<()> {
        if self
            .open
            .as_ref()
            .is_some_and(|open| !open.has_room(batch.len()))
        {
            self.write_block().await?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin_block(batch.len()),
        };
        open.push(
            batch,
            header.base_offset,
            header.last_offset(),
            header.partition_leader_epoch,
            None,
        );
        self.open = Some(open);
        self.meta.add_batch(header);
        Ok(())
    }

    fn begin_block(&mut self, batch_bytes: usize) -> OpenChunk<D::Buffer> {
        // At a page of its own: nothing of what is durable is written twice.
        let placement = place_block(self.meta.end_position, true);
        let config = &self.log.lane.config;
        let needed = COMMIT_BLOCK_HEADER_BYTES + batch_bytes;
        let capacity = chunk_capacity(
            needed,
            config.commit_size_bytes_max,
            config.chunk_size_bytes_min,
            config.commit_size_bytes_max,
        );
        let mut buffer = self.log.lane.buffer(capacity);
        if buffer.as_ref().len() < needed {
            buffer = self.log.lane.disk.allocate(capacity);
        }
        let first_offset = self.covered;
        self.meta
            .begin_block(placement.block_position, first_offset, self.interval_bytes);
        OpenChunk::new(buffer, placement, &[], self.meta.header, first_offset)
    }

    async fn write_block(&mut self) -> StepResult<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let chunk = open.seal(&SealContext {
            settled_offset: self.end,
            previous_checksum: self.meta.chain,
            is_full: true,
        });
        self.meta.end_block(chunk.end_position(), chunk.checksum);
        self.covered = chunk.end_offset();
        let position = FilePosition::new(chunk.write_position());
        let size_bytes = chunk.write_bytes();
        let written = self
            .file
            .write_at(chunk.buffer.clone(), position)
            .await
            .map_err(step("write"))?;
        if written != size_bytes {
            return Err(("write", short_write(written, size_bytes)));
        }
        self.written_bytes += size_bytes as u64;
        self.size_bytes = chunk.write_end();
        self.log.lane.recycle(chunk.buffer);
        Ok(())
    }

    /// The last block reaches to the segment's end, whether or not anything is left there.
    async fn finish(mut self) -> StepResult<NewSegment<D>> {
        if self.open.is_none() && self.covered < self.end {
            self.open = Some(self.begin_block(0));
        }
        if let Some(open) = &mut self.open {
            open.cover(self.end);
        }
        self.write_block().await?;
        self.file.flush().await.map_err(step("flush segment"))?;
        self.meta.end_offset = self.end;
        Ok(NewSegment {
            meta: self.meta,
            file: Rc::new(self.file),
            size_bytes: self.size_bytes,
        })
    }
}

impl<D: Disk> PartitionLog<D> {
    /// Writes what is left of a group, durable on return under its temporary name.
    pub(super) async fn rewrite_group<P: CompactionPace>(
        &self,
        group: &[Part<D>],
        filter: &mut CompactionFilter<'_>,
        pass: &mut Pass<'_, P>,
    ) -> Result<Rewrite<D>, Stop> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(Rewrite::Unchanged);
        };
        let mut scratch = FilterScratch::default();
        if group.len() == 1 {
            match self.changes(first, filter, &mut scratch, pass).await? {
                Some(true) => {}
                Some(false) => return Ok(Rewrite::Unchanged),
                None => return Ok(Rewrite::Damaged),
            }
        }
        let (header, interval_bytes) = {
            let mut state = self.state.borrow_mut();
            let generation = self.lane.generations.after(state.generation_counter);
            state.generation_counter = counter(generation);
            let header = SegmentHeader {
                log_id: self.log_id(),
                generation,
                base_offset: first.segment.base,
                history: last.header.history,
            };
            (header, state.config.index_interval_bytes)
        };
        let writer = Writer::create(self, header, last.segment.end, interval_bytes).await;
        let result = match writer {
            Ok(writer) => {
                self.copy_group(group, writer, filter, &mut scratch, pass)
                    .await
            }
            Err(error) => Err(self.write_failed(error)),
        };
        if !matches!(result, Ok(Rewrite::Done(_))) {
            let path = compacted_path(self.directory(), header.base_offset);
            // What is left goes when the log is opened.
            drop(self.lane.disk.delete(&path).await);
        }
        result
    }

    fn write_failed(&self, (operation, error): (&'static str, io::Error)) -> Stop {
        // A deleted log's directory may be gone.
        if self.check_going_on().is_err() {
            return Stop::Abandoned;
        }
        Stop::Error(ChangeError::Io {
            log_id: self.log_id(),
            operation,
            error: Rc::new(error),
        })
    }

    /// Whether anything of a segment would go; `None` if it is damaged.
    async fn changes<P: CompactionPace>(
        &self,
        part: &Part<D>,
        filter: &mut CompactionFilter<'_>,
        scratch: &mut FilterScratch,
        pass: &mut Pass<'_, P>,
    ) -> Result<Option<bool>, Stop> {
        let file = self.open_part(part).await?;
        let mut source = Source::<D>::new(&file, part);
        let mut out = Vec::new();
        loop {
            self.check_going_on()?;
            let block = match self.next_block(&mut source).await? {
                SourceBlock::End => return Ok(Some(false)),
                SourceBlock::Damaged => return Ok(None),
                SourceBlock::Block(block) => block,
            };
            let body = source
                .body(&block)
                .await
                .map_err(|error| self.read_failed(error))?;
            let mut changes = false;
            for batch in batches(body, part.segment.end) {
                out.clear();
                let limits = DecompressLimits::default();
                let filtered = filter_batch(&batch, limits, filter, scratch, &mut out);
                if filtered.is_err() {
                    filter.stays(batch.header().base_offset);
                }
                changes = filtered.is_ok_and(|filtered| filtered != Filtered::Unchanged);
                if changes {
                    break;
                }
                pass.worked(batch.bytes().len()).await;
            }
            pass.step(block.size_bytes, 0).await;
            if changes {
                return Ok(Some(true));
            }
        }
    }

    async fn copy_group<P: CompactionPace>(
        &self,
        group: &[Part<D>],
        mut writer: Writer<'_, D>,
        filter: &mut CompactionFilter<'_>,
        scratch: &mut FilterScratch,
        pass: &mut Pass<'_, P>,
    ) -> Result<Rewrite<D>, Stop> {
        let mut out = Vec::new();
        let mut dropped_records = 0_u64;
        let mut unreadable = 0_u64;
        for part in group {
            let file = self.open_part(part).await?;
            let mut source = Source::<D>::new(&file, part);
            loop {
                self.check_going_on()?;
                let block = match self.next_block(&mut source).await? {
                    SourceBlock::End => break,
                    SourceBlock::Damaged => return Ok(Rewrite::Damaged),
                    SourceBlock::Block(block) => block,
                };
                let written_before = writer.written_bytes;
                let body = source
                    .body(&block)
                    .await
                    .map_err(|error| self.read_failed(error))?;
                for batch in batches(body, part.segment.end) {
                    out.clear();
                    let limits = DecompressLimits::default();
                    let filtered = filter_batch(&batch, limits, filter, scratch, &mut out);
                    let left = match filtered {
                        Ok(Filtered::Unchanged) => Some((batch.bytes(), *batch.header())),
                        Ok(Filtered::Rebuilt { dropped } | Filtered::Emptied { dropped }) => {
                            dropped_records += u64::from(dropped);
                            if seeded_bug("offsets-renumbered") {
                                let base = batch.header().base_offset.get() - i64::from(dropped);
                                out[..8].copy_from_slice(&base.to_be_bytes());
                            }
                            BatchHeader::parse(&out)
                                .ok()
                                .map(|header| (&out[..], header))
                        }
                        Ok(Filtered::Dropped { dropped }) => {
                            dropped_records += u64::from(dropped);
                            None
                        }
                        Err(error) => {
                            tracing::warn!(log_id = %self.log_id(), offset = %batch.header().base_offset, %error, "a batch cannot be compacted");
                            unreadable += 1;
                            filter.stays(batch.header().base_offset);
                            Some((batch.bytes(), *batch.header()))
                        }
                    };
                    let is_marker = batch.header().attributes.is_control();
                    let left = left.filter(|_| !(is_marker && seeded_bug("marker-dropped")));
                    if let Some((bytes, header)) = left {
                        writer
                            .push(bytes, &header)
                            .await
                            .map_err(|error| self.write_failed(error))?;
                    }
                    pass.worked(batch.bytes().len()).await;
                }
                let written = writer.written_bytes - written_before;
                pass.step(block.size_bytes, written).await;
            }
        }
        let written_before = writer.written_bytes;
        let log = writer.log;
        let new = writer
            .finish()
            .await
            .map_err(|error| log.write_failed(error))?;
        pass.step(0, new.size_bytes.saturating_sub(written_before))
            .await;
        pass.report.records_dropped += dropped_records;
        pass.report.batches_unreadable += unreadable;
        Ok(Rewrite::Done(new))
    }
}
