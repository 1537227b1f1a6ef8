//! Walking a segment's file block by block, and finding the way again behind damage.
//!
//! Reads only. What the findings mean is decided in [`crate::recovery`].

use std::io;

use corelane_format::kafka::BatchHeader;
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader, FilePosition, LogId, Offset};

use crate::block::{BlockAt, BlockError, block_ceil, check_block, check_header};
use crate::disk::{Disk, DiskFile, page_ceil, page_floor};
use crate::producer_state::ProducerState;
use crate::recovery::Gap;
use crate::region::candidates;
use crate::segment_header::{FIRST_BLOCK_POSITION, SegmentHeader};
use crate::segment_meta::{SegmentMeta, batch_timestamp};

/// How much of a file is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// Reads a segment's file in large windows.
pub(crate) struct BlockReader<'a, D: Disk> {
    file: &'a D::File,
    size: u64,
    window_position: u64,
    window: Option<<D::File as DiskFile>::ReadBuffer>,
    pub(crate) bytes_read: u64,
}

impl<'a, D: Disk> BlockReader<'a, D> {
    /// Reads nothing at or above `size`.
    pub(crate) fn new(file: &'a D::File, size: u64) -> Self {
        Self {
            file,
            size,
            window_position: 0,
            window: None,
            bytes_read: 0,
        }
    }

    /// The bytes at `position`: at least `size_bytes` unless the file ends before.
    pub(crate) async fn bytes(&mut self, position: u64, size_bytes: usize) -> io::Result<&[u8]> {
        let have = self
            .window
            .as_ref()
            .map_or(0, |window| window.as_ref().len()) as u64;
        let wanted_end = (position + size_bytes as u64).min(self.size);
        let covered = self.window.is_some()
            && position >= self.window_position
            && wanted_end <= self.window_position + have;
        if !covered && position < self.size {
            let start = page_floor(position);
            let length = page_ceil(position - start + size_bytes as u64).max(WINDOW_BYTES as u64);
            let length = length.min(page_ceil(self.size - start)) as usize;
            let window = self.file.read_at(FilePosition::new(start), length).await?;
            self.bytes_read += window.as_ref().len() as u64;
            self.window_position = start;
            self.window = Some(window);
        }
        let Some(window) = &self.window else {
            return Ok(&[]);
        };
        let window = window.as_ref();
        let Some(at) = position.checked_sub(self.window_position) else {
            return Ok(&[]);
        };
        let end = ((self.size.saturating_sub(self.window_position)) as usize).min(window.len());
        Ok(window.get(at as usize..end).unwrap_or(&[]))
    }

    /// The block at `position`, checked whole; its batches go to `batches` and count only if it is sound.
    pub(crate) async fn block(
        &mut self,
        position: u64,
        segment: &SegmentHeader,
        batches: &mut Vec<BatchHeader>,
    ) -> io::Result<Result<CommitBlockHeader, BlockError>> {
        let mut needed = COMMIT_BLOCK_HEADER_BYTES;
        loop {
            batches.clear();
            let file_end = self.size;
            let bytes = self.bytes(position, needed).await?;
            match check_block(bytes, segment, |batch, _| batches.push(*batch)) {
                BlockAt::Valid(header) => return Ok(Ok(header)),
                BlockAt::Bad(error) => return Ok(Err(error)),
                BlockAt::NeedMore { size_bytes } => {
                    if needed >= size_bytes || position + size_bytes as u64 > file_end {
                        let got = bytes.len();
                        return Ok(Err(BlockError::Truncated {
                            got,
                            expected: size_bytes,
                        }));
                    }
                    needed = size_bytes;
                }
            }
        }
    }

    /// The first sound block of the segment at or after `position` whose first offset lies above `offset`.
    pub(crate) async fn find_block(
        &mut self,
        position: u64,
        segment: &SegmentHeader,
        offset: Offset,
    ) -> io::Result<Option<(u64, CommitBlockHeader)>> {
        let mut at = block_ceil(position.max(FIRST_BLOCK_POSITION));
        let mut batches = Vec::new();
        while at + COMMIT_BLOCK_HEADER_BYTES as u64 <= self.size {
            let bytes = self.bytes(at, COMMIT_BLOCK_HEADER_BYTES).await?;
            if bytes.len() < COMMIT_BLOCK_HEADER_BYTES {
                return Ok(None);
            }
            // Everything that is at hand at one go.
            let found = bytes
                .chunks_exact(COMMIT_BLOCK_HEADER_BYTES)
                .position(|chunk| {
                    check_header(chunk, segment)
                        .is_ok_and(|header| header.first_offset > offset.get())
                });
            match found {
                None => at += whole_blocks(bytes.len()),
                Some(index) => {
                    at += (index * COMMIT_BLOCK_HEADER_BYTES) as u64;
                    if let Ok(header) = self.block(at, segment, &mut batches).await? {
                        return Ok(Some((at, header)));
                    }
                    at += COMMIT_BLOCK_HEADER_BYTES as u64;
                }
            }
        }
        Ok(None)
    }

    /// Whether nothing but zeros follows.
    pub(crate) async fn is_zero_from(&mut self, position: u64) -> io::Result<bool> {
        let mut at = position;
        while at < self.size {
            let bytes = self.bytes(at, 1).await?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }

    /// Who the segment from `base` on is, by its first block, for want of a header page. Nothing but the log itself ever
    /// writes to that place, and the block's chain begins with a checksum of log id, generation and base offset; so
    /// neither a forged block nor one that an earlier use of the file left there passes. What `history` is it cannot tell.
    pub(super) async fn infer_header(
        &mut self,
        log_id: LogId,
        base: Offset,
        history: u64,
    ) -> io::Result<Option<SegmentHeader>> {
        let bytes = self
            .bytes(FIRST_BLOCK_POSITION, COMMIT_BLOCK_HEADER_BYTES)
            .await?;
        let Ok(block) = CommitBlockHeader::decode(bytes) else {
            return Ok(None);
        };
        let header = SegmentHeader {
            log_id,
            generation: block.generation,
            base_offset: base,
            history,
        };
        let is_first = block.log_id == log_id.get()
            && block.first_offset == base.get()
            && block.previous_checksum == header.chain_seed();
        Ok(is_first.then_some(header))
    }
}

/// How far the next place for a block is when none of these bytes begins one.
const fn whole_blocks(size_bytes: usize) -> u64 {
    (size_bytes / COMMIT_BLOCK_HEADER_BYTES * COMMIT_BLOCK_HEADER_BYTES) as u64
}

/// A scan's result.
pub(super) struct Scan {
    pub(super) meta: SegmentMeta,
    pub(super) producers: ProducerState,
    pub(super) gaps: Vec<Gap>,
    /// The highest flushed offset any block vouches for.
    pub(super) flushed: Offset,
}

/// Follows the chain from where `meta` ends, up to `stop`.
pub(super) async fn scan_segment<D: Disk>(
    reader: &mut BlockReader<'_, D>,
    meta: SegmentMeta,
    producers: ProducerState,
    stop: Offset,
    interval_bytes: u64,
) -> io::Result<Scan> {
    let segment = meta.header;
    let mut scan = Scan {
        meta,
        producers,
        gaps: Vec::new(),
        flushed: Offset::new(i64::MIN),
    };
    let mut batches: Vec<BatchHeader> = Vec::new();
    while scan.meta.end_offset < stop {
        let mut failure: Option<(u64, BlockError)> = None;
        let mut accepted = false;
        for position in candidates(scan.meta.end_position) {
            match reader.block(position, &segment, &mut batches).await? {
                Ok(header)
                    if header.first_offset == scan.meta.end_offset.get()
                        && header.previous_checksum == scan.meta.chain =>
                {
                    accept(&mut scan, position, &header, &batches, stop, interval_bytes);
                    accepted = true;
                    break;
                }
                Ok(header) => {
                    failure.get_or_insert((
                        position,
                        BlockError::Offsets {
                            base_offset: header.first_offset,
                            last_offset: header.last_offset(),
                            expected: scan.meta.end_offset.get(),
                        },
                    ));
                }
                Err(error) => {
                    failure.get_or_insert((position, error));
                }
            }
        }
        if accepted {
            continue;
        }
        let (position, error) = failure.unwrap_or((
            scan.meta.end_position,
            BlockError::Truncated {
                got: 0,
                expected: 0,
            },
        ));
        let start = scan.meta.end_offset;
        let next = reader
            .find_block(scan.meta.end_position, &segment, start)
            .await?;
        let detail = error.to_string();
        if let Some((found, header)) = next {
            let end = Offset::new(header.first_offset);
            scan.gaps.push(Gap {
                start,
                end: Some(end),
                position,
                detail,
            });
            scan.meta.end_offset = end;
            scan.meta.end_position = found;
            scan.meta.chain = header.previous_checksum;
        } else {
            if !reader.is_zero_from(scan.meta.end_position).await? {
                scan.gaps.push(Gap {
                    start,
                    end: None,
                    position,
                    detail,
                });
            }
            break;
        }
    }
    Ok(scan)
}

fn accept(
    scan: &mut Scan,
    position: u64,
    header: &CommitBlockHeader,
    batches: &[BatchHeader],
    stop: Offset,
    interval_bytes: u64,
) {
    scan.meta
        .begin_block(position, Offset::new(header.first_offset), interval_bytes);
    // A truncation may have cut through this block: what lies above `stop` does not exist.
    for batch in batches.iter().filter(|batch| batch.base_offset < stop) {
        scan.meta.add_batch(batch);
        scan.producers.observe(batch, batch_timestamp(batch));
    }
    scan.meta.end_offset = Offset::new(header.last_offset()).plus(1).min(stop);
    let end = position + COMMIT_BLOCK_HEADER_BYTES as u64 + u64::from(header.body_length);
    scan.meta.end_block(end, header.body_checksum);
    scan.flushed = scan.flushed.max(Offset::new(header.flushed_offset));
}
