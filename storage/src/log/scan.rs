//! Walking a segment's file block by block, and finding the way again behind damage.
//!
//! Reads only. What the findings mean is decided in [`crate::recovery`].

use std::io;

use corelane_format::commit_block::COMMIT_BLOCK_MAGIC;
use corelane_format::kafka::BatchHeader;
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader, LogId, Offset};

use super::windows::Windows;
use crate::block::{BLOCK_ALIGNMENT, BlockAt, BlockError, block_ceil, check_block, check_header};
use crate::disk::Disk;
use crate::producer_state::ProducerState;
use crate::recovery::Gap;
use crate::region::candidates;
use crate::segment_header::{FIRST_BLOCK_POSITION, SegmentHeader};
use crate::segment_meta::{SegmentMeta, batch_timestamp};

/// How far behind damage the next sound block of a log's last segment is looked for, and one batch further.
///
/// A crash leaves gaps only among the commits that were in flight: a few blocks, each of one batch or of the largest commit
/// at most, and none of them was acknowledged behind the first that is missing. So for a torn tail much less would do.
/// Rot may lie anywhere. What it hits below the last checkpoint is known to have been durable whatever is found, and a
/// checkpoint is taken about every so many bytes: so behind it there is hardly more to look through than this. Only a
/// stretch longer than this without one sound block, in the part of a log that no checkpoint has covered yet, passes
/// for a torn tail. In return, what an earlier use of the file left behind the tail is never read to its end.
pub(crate) const SEARCH_BYTES: u64 = 64 << 20;

/// Reads a segment's file block by block.
pub(crate) struct BlockReader<'a, D: Disk> {
    windows: Windows<'a, D>,
}

/// What lies behind the last sound block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Nothing but zeros, as far as was looked.
    pub(crate) zeros: bool,
    /// The header of a block of this segment: an unfinished or damaged one.
    own: bool,
    /// The header of a block of something else: the file had an earlier use.
    foreign: bool,
}

impl Behind {
    /// Bytes of an earlier use of the file, and no sign of a block of this one.
    pub(crate) fn is_stale(self) -> bool {
        self.foreign && !self.own
    }
}

impl<'a, D: Disk> BlockReader<'a, D> {
    /// Reads nothing at or above `size`.
    pub(crate) fn new(file: &'a D::File, size: u64) -> Self {
        Self {
            windows: Windows::new(file, size),
        }
    }

    /// How much was read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.windows.bytes_read
    }

    /// The bytes at `position`: at least `size_bytes` unless the file ends before.
    pub(crate) async fn bytes(&mut self, position: u64, size_bytes: usize) -> io::Result<&[u8]> {
        self.windows.bytes(position, size_bytes).await
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
            let file_end = self.windows.size();
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

    /// The first sound block of the segment at or after `position`, and below `until`, whose first offset lies above
    /// `offset`; and what else was seen on the way.
    pub(crate) async fn find_block(
        &mut self,
        position: u64,
        until: u64,
        segment: &SegmentHeader,
        offset: Offset,
    ) -> io::Result<(Option<(u64, CommitBlockHeader)>, Behind)> {
        let mut at = block_ceil(position.max(FIRST_BLOCK_POSITION));
        let mut batches = Vec::new();
        let mut behind = Behind {
            zeros: true,
            own: false,
            foreign: false,
        };
        while at < until {
            let bytes = self.bytes(at, COMMIT_BLOCK_HEADER_BYTES).await?;
            if bytes.len() < COMMIT_BLOCK_HEADER_BYTES {
                behind.zeros &= is_zero(bytes);
                break;
            }
            let wanted = (until - at).saturating_add(BLOCK_ALIGNMENT - 1);
            let length = whole_blocks((bytes.len() as u64).min(wanted) as usize);
            // Everything that is at hand at one go.
            let bytes = &bytes[..length];
            behind.zeros = behind.zeros && is_zero(bytes);
            let found = bytes
                .chunks_exact(COMMIT_BLOCK_HEADER_BYTES)
                .position(|chunk| behind.note(chunk, segment, offset));
            match found {
                None => at += length as u64,
                Some(index) => {
                    at += (index * COMMIT_BLOCK_HEADER_BYTES) as u64;
                    if let Ok(header) = self.block(at, segment, &mut batches).await? {
                        return Ok((Some((at, header)), behind));
                    }
                    at += COMMIT_BLOCK_HEADER_BYTES as u64;
                }
            }
        }
        Ok((None, behind))
    }

    /// Who the segment from `base` on is, by its first block, for want of a header page. Nothing but the log itself ever
    /// writes to that place, and the block's chain begins with a checksum of log id, generation and base offset; so
    /// neither a forged block nor one that an earlier use of the file left there passes. What `history` is it cannot tell.
    pub(crate) async fn infer_header(
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

impl Behind {
    /// Notes whose header, if anybody's, `chunk` is; whether a block that is looked for may stand there.
    fn note(&mut self, chunk: &[u8], segment: &SegmentHeader, offset: Offset) -> bool {
        if chunk.first_chunk() != Some(&COMMIT_BLOCK_MAGIC.to_le_bytes()) {
            return false;
        }
        match check_header(chunk, segment) {
            Ok(header) => {
                self.own = true;
                header.first_offset > offset.get()
            }
            Err(BlockError::Foreign { .. }) => {
                self.foreign = true;
                false
            }
            Err(BlockError::Header(_)) => false,
            Err(_) => {
                self.own = true;
                false
            }
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// How far the next place for a block is when none of these bytes begins one.
const fn whole_blocks(size_bytes: usize) -> usize {
    size_bytes / COMMIT_BLOCK_HEADER_BYTES * COMMIT_BLOCK_HEADER_BYTES
}

/// A scan's result.
pub(super) struct Scan {
    pub(super) meta: SegmentMeta,
    pub(super) producers: ProducerState,
    pub(super) gaps: Vec<Gap>,
    /// The highest flushed offset any block vouches for.
    pub(super) flushed: Offset,
    /// What an earlier use of the file left follows the last block.
    pub(super) stale: bool,
}

/// How far a scan goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Blocks end at or below this offset.
    pub(super) stop: Offset,
    /// Behind damage the next block is looked for at least up to this position,
    pub(super) search_until: u64,
    /// and at least over so many bytes.
    pub(super) search_bytes: u64,
}

/// Follows the chain from where `meta` ends, as far as `reach` says.
pub(super) async fn scan_segment<D: Disk>(
    reader: &mut BlockReader<'_, D>,
    meta: SegmentMeta,
    producers: ProducerState,
    reach: Reach,
    interval_bytes: u64,
) -> io::Result<Scan> {
    let segment = meta.header;
    let stop = reach.stop;
    let mut scan = Scan {
        meta,
        producers,
        gaps: Vec::new(),
        flushed: Offset::new(i64::MIN),
        stale: false,
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
        let from = scan.meta.end_position;
        let until = reach
            .search_until
            .max(from.saturating_add(reach.search_bytes));
        let (next, behind) = reader.find_block(from, until, &segment, start).await?;
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
            if behind.is_stale() {
                scan.stale = true;
            } else if !behind.zeros {
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
    scan.meta.end_offset = Offset::new(header.last_offset()).plus(1);
    scan.meta.cut(stop);
    let end = position + COMMIT_BLOCK_HEADER_BYTES as u64 + u64::from(header.body_length);
    scan.meta.end_block(end, header.body_checksum);
    scan.flushed = scan.flushed.max(Offset::new(header.flushed_offset));
}
