//! One commit block in bytes: its checksum, its check, and how to find a batch in it.
//!
//! # The body checksum
//! Every Kafka batch brings a CRC32C over everything from its attributes on, which was checked when it came in. A second
//! pass over the same bytes at commit time would double that cost for nothing. What the batch's own checksum does *not*
//! cover are its first 21 bytes: base offset, length, leader epoch, magic and the checksum itself. So a block's
//! `body_checksum` is the CRC32C over exactly those prefixes, in order ([`append_prefix`], computed as batches are
//! appended), and the header says so by [`FLAG_PREFIX_CHECKSUM`]. A flipped bit anywhere in a body then fails either the
//! block's checksum (prefixes) or its batch's (all the rest); [`check_block`] checks both.
//!
//! Padding between blocks is covered by nothing and means nothing.

use corelane_format::checksum::crc32c_append;
use corelane_format::kafka::{BATCH_HEADER_BYTES, BatchHeader, SplitBatch, split_first_batch};
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader, Offset};

use crate::seeded_bugs::seeded_bug;
use crate::segment_header::SegmentHeader;

/// The `flags` bit of a block whose checksum covers the prefixes of its batches.
pub const FLAG_PREFIX_CHECKSUM: u16 = 1;

/// The bytes of a batch that its own CRC does not cover.
pub(crate) const UNCOVERED_PREFIX_BYTES: usize = 21;

/// Blocks start at multiples of this.
pub const BLOCK_ALIGNMENT: u64 = 64;

/// Rounds up to where a block may start.
pub(crate) const fn block_ceil(position: u64) -> u64 {
    (position + BLOCK_ALIGNMENT - 1) & !(BLOCK_ALIGNMENT - 1)
}

/// Continues a body checksum by one batch.
pub(crate) fn append_prefix(checksum: u32, batch: &[u8]) -> u32 {
    crc32c_append(checksum, &batch[..UNCOVERED_PREFIX_BYTES.min(batch.len())])
}

/// Why the bytes at a position are not a sound block of their segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The header does not decode.
    #[error("{0}")]
    Header(#[from] corelane_format::CommitBlockError),
    /// It belongs to another log, or to an earlier life of the file.
    #[error(
        "block of log {log_id} generation {generation}, expected log {expected_log_id} generation {expected_generation}"
    )]
    Foreign {
        /// Of the block.
        log_id: u64,
        /// Of the block.
        generation: u64,
        /// Of the segment.
        expected_log_id: u64,
        /// Of the segment.
        expected_generation: u64,
    },
    /// Offsets that a block of this segment cannot have.
    #[error("block of offsets {first_offset}..={last_offset} in a segment from {base_offset}")]
    Span {
        /// Of the block.
        first_offset: i64,
        /// Of the block.
        last_offset: i64,
        /// Of the segment.
        base_offset: i64,
    },
    /// A checksum this version does not know.
    #[error("unknown block flags {got:#06x}")]
    Flags {
        /// The flags found.
        got: u16,
    },
    /// The body ends before the file or the limit does.
    #[error("block body of {expected} bytes, only {got} bytes there")]
    Truncated {
        /// Bytes at hand.
        got: usize,
        /// Bytes declared.
        expected: usize,
    },
    /// A batch in it is damaged.
    #[error("batch at {position} in the block: {error}")]
    Batch {
        /// Position in the body.
        position: usize,
        /// What is wrong with it.
        error: corelane_format::kafka::BatchError,
    },
    /// The batches' offsets do not follow each other or leave the block's range.
    #[error("batch {base_offset}..={last_offset} does not fit in block at {expected}")]
    Offsets {
        /// First offset of the batch.
        base_offset: i64,
        /// Last offset of the batch.
        last_offset: i64,
        /// The least allowed.
        expected: i64,
    },
    /// The prefixes of the batches are damaged.
    #[error("block body has checksum {got:#010x}, its header says {expected:#010x}")]
    BodyChecksum {
        /// Of the bytes.
        got: u32,
        /// In the header.
        expected: u32,
    },
}

/// What stands at a position where a block might start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlockAt {
    /// A sound block of this segment, header and every batch checked.
    Valid(CommitBlockHeader),
    /// A sound header whose body reaches past the bytes at hand; so many are needed from the block's start.
    NeedMore { size_bytes: usize },
    /// Not a block.
    Bad(BlockError),
}

/// Checks the block at the start of `bytes`, batch by batch.
///
/// `visit` sees each batch's header and its position relative to the block's start, before it is known whether the whole
/// block is sound: what it gathers counts only if the answer is [`BlockAt::Valid`].
pub(crate) fn check_block(
    bytes: &[u8],
    segment: &SegmentHeader,
    mut visit: impl FnMut(&BatchHeader, usize),
) -> BlockAt {
    let header = match check_header(bytes, segment) {
        Ok(header) => header,
        Err(error) => return BlockAt::Bad(error),
    };
    let end = COMMIT_BLOCK_HEADER_BYTES + header.body_length as usize;
    if bytes.len() < end {
        return BlockAt::NeedMore { size_bytes: end };
    }
    let mut position = COMMIT_BLOCK_HEADER_BYTES;
    let mut checksum = 0;
    let mut expected = header.first_offset;
    while position < end {
        let at = position - COMMIT_BLOCK_HEADER_BYTES;
        let batch = match split_first_batch(&bytes[position..end]) {
            Ok(SplitBatch::Whole { batch, .. }) => batch,
            Ok(SplitBatch::Incomplete { needed_bytes }) => {
                return BlockAt::Bad(BlockError::Truncated {
                    got: end - position,
                    expected: needed_bytes,
                });
            }
            Err(error) => {
                return BlockAt::Bad(BlockError::Batch {
                    position: at,
                    error,
                });
            }
        };
        if let Err(error) = batch.verify_crc()
            && !seeded_bug("batch-checksum-ignored")
        {
            return BlockAt::Bad(BlockError::Batch {
                position: at,
                error,
            });
        }
        let batch_header = batch.header();
        let (base, last) = (
            batch_header.base_offset.get(),
            batch_header.last_offset().get(),
        );
        if base < expected || last < base || last > header.last_offset() {
            return BlockAt::Bad(BlockError::Offsets {
                base_offset: base,
                last_offset: last,
                expected,
            });
        }
        visit(batch_header, position);
        checksum = append_prefix(checksum, batch.bytes());
        expected = last + 1;
        position += batch.bytes().len();
    }
    if checksum != header.body_checksum && !seeded_bug("body-checksum-ignored") {
        return BlockAt::Bad(BlockError::BodyChecksum {
            got: checksum,
            expected: header.body_checksum,
        });
    }
    BlockAt::Valid(header)
}

/// Checks a block's header alone: whose it is, exactly, and that its offsets are possible.
pub(crate) fn check_header(
    bytes: &[u8],
    segment: &SegmentHeader,
) -> Result<CommitBlockHeader, BlockError> {
    let header = CommitBlockHeader::decode(bytes)?;
    let earlier_life = header.generation != segment.generation;
    if header.log_id != segment.log_id.get()
        || (earlier_life && !seeded_bug("earlier-life-accepted"))
    {
        return Err(BlockError::Foreign {
            log_id: header.log_id,
            generation: header.generation,
            expected_log_id: segment.log_id.get(),
            expected_generation: segment.generation,
        });
    }
    if header.flags != FLAG_PREFIX_CHECKSUM {
        return Err(BlockError::Flags { got: header.flags });
    }
    // A segment is rolled before its offsets leave 31 bits, so this also keeps sums of offsets from overflowing.
    let base_offset = segment.base_offset.get();
    let last_offset = header
        .first_offset
        .checked_add(i64::from(header.last_offset_delta));
    let fits = last_offset
        .filter(|last| *last < i64::MAX)
        .and_then(|last| last.checked_sub(base_offset))
        .is_some_and(|span| span <= i64::from(i32::MAX));
    if header.first_offset < base_offset || !fits {
        return Err(BlockError::Span {
            first_offset: header.first_offset,
            last_offset: header.last_offset(),
            base_offset,
        });
    }
    Ok(header)
}

/// Where a batch lies in a body, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchPlace {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) size_bytes: usize,
}

/// The batch at the start of `bytes`, which were checked before: only what walking needs.
pub(crate) fn place_of_batch(bytes: &[u8]) -> Option<BatchPlace> {
    let header = bytes.first_chunk::<BATCH_HEADER_BYTES>()?;
    let base = i64::from_be_bytes(*header[0..].first_chunk()?);
    let length = i32::from_be_bytes(*header[8..].first_chunk()?);
    let delta = i32::from_be_bytes(*header[23..].first_chunk()?);
    let size_bytes = usize::try_from(length).ok()?.checked_add(12)?;
    if size_bytes > bytes.len() || size_bytes < BATCH_HEADER_BYTES || delta < 0 {
        return None;
    }
    Some(BatchPlace {
        base_offset: Offset::new(base),
        last_offset: Offset::new(base.checked_add(i64::from(delta))?),
        size_bytes,
    })
}

/// One checked block within a buffer that is kept in memory.
#[derive(Debug, Clone)]
pub(crate) struct BlockView {
    pub(crate) first_offset: Offset,
    /// Exclusive.
    pub(crate) end_offset: Offset,
    /// The batches' range in the buffer.
    pub(crate) body: std::ops::Range<usize>,
    /// Every so many bytes, the offset and position (in the buffer) of a batch: where to begin walking.
    pub(crate) sparse: SparseBatches,
}

/// Some of a block's batches, in order, so that finding one does not mean walking all.
#[derive(Debug, Clone, Default)]
pub(crate) struct SparseBatches(Vec<(u32, u32)>);

impl SparseBatches {
    const INTERVAL_BYTES: usize = 16 << 10;

    /// Notes a batch `delta` offsets after the block's first, at `position` in the buffer.
    pub(crate) fn note(&mut self, delta: i64, position: usize, body_start: usize) {
        let last = self
            .0
            .last()
            .map_or(body_start, |(_, position)| *position as usize);
        if position >= last + Self::INTERVAL_BYTES
            && let (Ok(delta), Ok(position)) = (u32::try_from(delta), u32::try_from(position))
        {
            self.0.push((delta, position));
        }
    }

    /// The last noted position whose batch starts at or below `delta`.
    fn seek(&self, delta: i64) -> Option<usize> {
        let index = self
            .0
            .partition_point(|(noted, _)| i64::from(*noted) <= delta);
        index.checked_sub(1).map(|index| self.0[index].1 as usize)
    }
}

/// A run of whole batches chosen from one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchRun {
    /// In the buffer.
    pub(crate) range: std::ops::Range<usize>,
    /// The offset after the last batch.
    pub(crate) next_offset: Offset,
    /// Whether the run ended because the next batch was too large for what was left, or out of bounds.
    pub(crate) stopped: bool,
}

impl BlockView {
    /// The whole batches from the one that holds `from` (or the first after it) on, below `end`, in at most
    /// `size_bytes_max`, or one batch of any size if `at_least_one`.
    pub(crate) fn select(
        &self,
        buffer: &[u8],
        from: Offset,
        end: Offset,
        size_bytes_max: usize,
        at_least_one: bool,
    ) -> BatchRun {
        let mut position = self
            .sparse
            .seek(from.minus(self.first_offset).max(0))
            .unwrap_or(self.body.start);
        let mut start = None;
        let mut next_offset = from;
        let mut taken = 0_usize;
        let mut stopped = false;
        while position < self.body.end {
            let Some(batch) = place_of_batch(&buffer[position..self.body.end]) else {
                stopped = true;
                break;
            };
            if batch.base_offset >= self.end_offset {
                break;
            }
            if batch.last_offset >= from {
                let fits =
                    taken + batch.size_bytes <= size_bytes_max || (at_least_one && start.is_none());
                if batch.last_offset >= end || !fits {
                    stopped = true;
                    break;
                }
                start.get_or_insert(position);
                taken += batch.size_bytes;
                next_offset = batch.last_offset.plus(1);
            }
            position += batch.size_bytes;
        }
        let start = start.unwrap_or(position);
        BatchRun {
            range: start..start + taken,
            next_offset,
            stopped,
        }
    }
}
