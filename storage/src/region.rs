//! Checked blocks that were read from disk, and how a stretch of a segment is parsed into them. Pure.

use std::cell::Cell;
use std::rc::Rc;

use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, Offset};

use crate::block::{BlockAt, BlockError, BlockView, SparseBatches, block_ceil, check_block};
use crate::disk::page_ceil;
use crate::segment_header::SegmentHeader;

/// A stretch of a segment in memory, every block of it checked.
pub(crate) struct Region {
    pub(crate) bytes: Rc<dyn AsRef<[u8]>>,
    pub(crate) blocks: Vec<BlockView>,
    /// Where the last block ends in the file.
    pub(crate) end_position: u64,
    pub(crate) segment: SegmentHeader,
    pub(crate) charge_bytes: usize,
    pub(crate) touched: Cell<bool>,
    /// Whether the region before it was read too: somebody reads in sequence.
    pub(crate) sequential: bool,
}

impl Region {
    pub(crate) fn first_offset(&self) -> Offset {
        self.blocks
            .first()
            .map_or(Offset::ZERO, |block| block.first_offset)
    }

    pub(crate) fn end_offset(&self) -> Offset {
        self.blocks
            .last()
            .map_or(Offset::ZERO, |block| block.end_offset)
    }

    pub(crate) fn covers(&self, offset: Offset) -> bool {
        self.first_offset() <= offset && offset < self.end_offset()
    }

    /// The block that holds `offset`, or the first after it.
    pub(crate) fn block_at(&self, offset: Offset) -> Option<&BlockView> {
        let index = self
            .blocks
            .partition_point(|block| block.end_offset <= offset);
        self.blocks.get(index)
    }
}

/// Why parsing stopped.
#[derive(Debug)]
pub(crate) enum ParseStop {
    /// All bytes at hand are used; the next block may start at one of the candidates after this position.
    End,
    /// The block at this position needs so many bytes from its start.
    NeedMore { position: u64, size_bytes: usize },
    /// No sound block where one must be.
    Bad { error: BlockError },
    /// The limit was reached.
    Limit,
}

/// A run of blocks.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) blocks: Vec<BlockView>,
    /// Where the last block ends in the file (or where parsing began).
    pub(crate) end_position: u64,
    pub(crate) next_offset: Offset,
    pub(crate) stop: ParseStop,
}

/// Parses blocks out of `bytes`, which stand at `bytes_position` in the file, starting after `end_position` with the block
/// of `next_offset`; what reaches beyond `limit` is cut off.
pub(crate) fn parse_blocks(
    bytes: &[u8],
    bytes_position: u64,
    end_position: u64,
    next_offset: Offset,
    limit: Offset,
    segment: &SegmentHeader,
) -> Parsed {
    let mut parsed = Parsed {
        blocks: Vec::new(),
        end_position,
        next_offset,
        stop: ParseStop::End,
    };
    let bytes_end = bytes_position + bytes.len() as u64;
    'blocks: while parsed.next_offset < limit {
        let mut failure: Option<BlockError> = None;
        for candidate in candidates(parsed.end_position) {
            if candidate + COMMIT_BLOCK_HEADER_BYTES as u64 > bytes_end {
                // Padding fills a page at most, so this is reached only near the end of what is at hand.
                if failure.is_none() || candidate >= bytes_end {
                    parsed.stop = ParseStop::End;
                    return parsed;
                }
                break;
            }
            let at = (candidate - bytes_position) as usize;
            let mut sparse = SparseBatches::default();
            let body_start = at + COMMIT_BLOCK_HEADER_BYTES;
            let first = parsed.next_offset;
            let checked = check_block(&bytes[at..], segment, |batch, position| {
                sparse.note(
                    batch.base_offset.get().saturating_sub(first.get()),
                    at + position,
                    body_start,
                );
            });
            match checked {
                BlockAt::Valid(header) if header.first_offset == parsed.next_offset.get() => {
                    let body_end = body_start + header.body_length as usize;
                    // A truncation may have cut through the block: the rest of it does not exist.
                    let end_offset = Offset::new(header.last_offset()).plus(1).min(limit);
                    parsed.blocks.push(BlockView {
                        first_offset: first,
                        end_offset,
                        body: body_start..body_end,
                        sparse,
                    });
                    parsed.end_position = bytes_position + body_end as u64;
                    parsed.next_offset = end_offset;
                    continue 'blocks;
                }
                BlockAt::Valid(header) => {
                    failure.get_or_insert(BlockError::Offsets {
                        base_offset: header.first_offset,
                        last_offset: header.last_offset(),
                        expected: parsed.next_offset.get(),
                    });
                }
                BlockAt::NeedMore { size_bytes } => {
                    parsed.stop = ParseStop::NeedMore {
                        position: candidate,
                        size_bytes,
                    };
                    return parsed;
                }
                BlockAt::Bad(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failure {
            parsed.stop = ParseStop::Bad { error };
        }
        return parsed;
    }
    parsed.stop = ParseStop::Limit;
    parsed
}

/// Where a block may stand after one that ended at `end_position`: right behind it, or at the next page.
pub(crate) fn candidates(end_position: u64) -> impl Iterator<Item = u64> {
    let (near, page) = (block_ceil(end_position), page_ceil(end_position));
    std::iter::once(near).chain((page != near).then_some(page))
}
