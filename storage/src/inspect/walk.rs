//! Walking one segment file: every sound block, and what stands between and behind them.
//!
//! A block counts where recovery would take it: sound, of this segment, with the offset and the previous checksum that are
//! due. After anything else the walk goes on at the next sound block with a higher offset, as recovery does.

use std::io;

use corelane_format::kafka::BatchHeader;
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader, FilePosition, LogId, Offset};

use crate::block::{BlockError, block_ceil};
use crate::disk::{Disk, DiskFile, PAGE_BYTES};
use crate::log::scan::BlockReader;
use crate::region::candidates;
use crate::segment_header::{FIRST_BLOCK_POSITION, SegmentHeader, SegmentHeaderError};

/// A block in its place in the chain, header and every batch checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkedBlock {
    /// Where it starts in the file.
    pub position: u64,
    /// Where it ends (exclusive), padding not counted.
    pub end_position: u64,
    /// Its header.
    pub header: CommitBlockHeader,
    /// Its batches, in order.
    pub batches: Vec<BatchHeader>,
}

/// Bytes that are no block in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkedGap {
    /// Where they start, which is where a block should.
    pub position: u64,
    /// Where the next sound block starts, if there is one.
    pub until: Option<u64>,
    /// The offset of the block that is missing.
    pub start: Offset,
    /// The first offset of the next sound block, if there is one.
    pub end: Option<Offset>,
    /// What stands there.
    pub detail: String,
}

/// One thing found in a segment file, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalkItem {
    /// A sound block.
    Block(WalkedBlock),
    /// Something else. Whether that is damage or a torn tail is [`crate::recovery`]'s to say, who knows what was durable.
    Gap(WalkedGap),
    /// The last block ends at `position`, and nothing of the segment follows; or the walk's limit was reached.
    End {
        /// Where the last block ends.
        position: u64,
        /// Whether what an earlier use of the file left follows, blocks of something else and none of this segment.
        is_stale: bool,
    },
}

/// A segment file being walked.
pub struct SegmentWalk<'a, D: Disk> {
    reader: BlockReader<'a, D>,
    header: SegmentHeader,
    header_is_whole: bool,
    position: u64,
    next_offset: Offset,
    /// What the next block must name; not known where the walk began in the middle.
    chain: Option<u32>,
    flushed_offset: Offset,
    limit: Offset,
    done: bool,
}

/// Why a file cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its header page is damaged, and no block says whose segment it is.
    #[error(transparent)]
    Header(#[from] SegmentHeaderError),
}

impl<'a, D: Disk> SegmentWalk<'a, D> {
    /// Begins at the first block of a file whose header page is sound.
    pub async fn new(file: &'a D::File) -> Result<Self, WalkError> {
        let page = file.read_at(FilePosition::ZERO, PAGE_BYTES).await?;
        let header = SegmentHeader::decode(page.as_ref())?;
        let size = file.size().await?;
        let mut walk = Self::of(file, size, header);
        let expected = header.encode();
        walk.header_is_whole = page.as_ref().get(..expected.len()) == Some(&expected[..]);
        Ok(walk)
    }

    /// Begins at the first block of the segment from `base_offset` on, whose header page is damaged: the first block says
    /// who the segment is, as for recovery, or else `sidecar` does. `None` if neither is left.
    pub(crate) async fn without_header(
        file: &'a D::File,
        log_id: LogId,
        base_offset: Offset,
        sidecar: Option<SegmentHeader>,
    ) -> io::Result<Option<Self>> {
        let size = file.size().await?;
        let history = sidecar.map_or(0, |header| header.history);
        let inferred = BlockReader::<D>::new(file, size)
            .infer_header(log_id, base_offset, history)
            .await?;
        Ok(inferred
            .or(sidecar)
            .map(|header| Self::of(file, size, header)))
    }

    /// Begins at the first block of the segment that `header` says.
    pub(crate) fn of(file: &'a D::File, size: u64, header: SegmentHeader) -> Self {
        Self {
            reader: BlockReader::new(file, size),
            header,
            header_is_whole: false,
            position: FIRST_BLOCK_POSITION,
            next_offset: header.base_offset,
            chain: Some(header.chain_seed()),
            flushed_offset: Offset::new(i64::MIN),
            limit: Offset::new(i64::MAX),
            done: false,
        }
    }

    /// Begins with the block of `offset` that stands at `position`.
    #[must_use]
    pub(crate) fn from(mut self, position: u64, offset: Offset) -> Self {
        if position > FIRST_BLOCK_POSITION {
            (self.position, self.next_offset) = (position, offset);
            self.chain = None;
        }
        self
    }

    /// Ends the walk before `limit`, where a newer segment begins.
    #[must_use]
    pub fn up_to(mut self, limit: Offset) -> Self {
        self.limit = limit;
        self
    }

    /// Who the segment is.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Whether the header page holds what was written to it, in all its copies.
    pub fn header_is_whole(&self) -> bool {
        self.header_is_whole
    }

    /// The end of the last block so far, as an offset; exclusive, and never above the limit.
    pub fn end_offset(&self) -> Offset {
        self.next_offset.min(self.limit)
    }

    /// The highest flushed offset that a block so far has stated; the least number before the first.
    pub fn flushed_offset(&self) -> Offset {
        self.flushed_offset
    }

    /// Bytes read from the file so far.
    pub fn bytes_read(&self) -> u64 {
        self.reader.bytes_read()
    }

    /// The bytes at `position`, at least `size_bytes` of them unless the file ends before.
    pub async fn bytes(&mut self, position: u64, size_bytes: usize) -> io::Result<&[u8]> {
        self.reader.bytes(position, size_bytes).await
    }

    /// The next thing in the file, or `None` after its end.
    pub async fn next(&mut self) -> io::Result<Option<WalkItem>> {
        if self.done {
            return Ok(None);
        }
        if self.next_offset >= self.limit {
            return Ok(Some(self.end(false)));
        }
        let mut failure: Option<String> = None;
        let mut batches = Vec::new();
        for position in candidates(self.position) {
            let block = self
                .reader
                .block(position, &self.header, &mut batches)
                .await?;
            match block {
                Ok(header) if self.is_due(&header) => {
                    return Ok(Some(self.take(position, header, batches)));
                }
                Ok(header) => {
                    failure.get_or_insert_with(|| self.misplaced(&header));
                }
                Err(error) => {
                    failure.get_or_insert_with(|| error.to_string());
                }
            }
        }
        let (position, start) = (self.position, self.next_offset);
        // To the end of the file, however long that takes: whoever looks wants to know.
        let (found, behind) = self
            .reader
            .find_block(position, u64::MAX, &self.header, start)
            .await?;
        if let Some((until, header)) = found {
            let end = Offset::new(header.first_offset);
            self.position = until;
            self.next_offset = end;
            self.chain = Some(header.previous_checksum);
            return Ok(Some(WalkItem::Gap(WalkedGap {
                position: block_ceil(position),
                until: Some(until),
                start,
                end: Some(end),
                detail: failure.unwrap_or_default(),
            })));
        }
        if behind.zeros || behind.is_stale() {
            return Ok(Some(self.end(behind.is_stale())));
        }
        self.done = true;
        Ok(Some(WalkItem::Gap(WalkedGap {
            position: block_ceil(position),
            until: None,
            start,
            end: None,
            detail: failure.unwrap_or_default(),
        })))
    }

    fn is_due(&self, header: &CommitBlockHeader) -> bool {
        header.first_offset == self.next_offset.get()
            && self
                .chain
                .is_none_or(|chain| chain == header.previous_checksum)
    }

    fn misplaced(&self, header: &CommitBlockHeader) -> String {
        if header.first_offset == self.next_offset.get() {
            return format!(
                "the block names {:#010x} as the checksum of the one before it, which has {:#010x}",
                header.previous_checksum,
                self.chain.unwrap_or_default()
            );
        }
        BlockError::Offsets {
            base_offset: header.first_offset,
            last_offset: header.last_offset(),
            expected: self.next_offset.get(),
        }
        .to_string()
    }

    fn end(&mut self, is_stale: bool) -> WalkItem {
        self.done = true;
        WalkItem::End {
            position: self.position,
            is_stale,
        }
    }

    fn take(
        &mut self,
        position: u64,
        header: CommitBlockHeader,
        batches: Vec<BatchHeader>,
    ) -> WalkItem {
        let end_position =
            position + COMMIT_BLOCK_HEADER_BYTES as u64 + u64::from(header.body_length);
        self.position = end_position;
        self.next_offset = Offset::new(header.last_offset().saturating_add(1));
        self.chain = Some(header.body_checksum);
        self.flushed_offset = self.flushed_offset.max(Offset::new(header.flushed_offset));
        WalkItem::Block(WalkedBlock {
            position,
            end_position,
            header,
            batches,
        })
    }
}
