//! Walking a sealed segment block by block, everything checked.

use std::io;

use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, Offset};

use super::Part;
use crate::disk::Disk;
use crate::log::scan::BlockReader;
use crate::region::candidates;
use crate::segment_header::SegmentHeader;

/// A sound block.
pub(super) struct FoundBlock {
    body_position: u64,
    body_bytes: usize,
    /// Header included.
    pub(super) size_bytes: u64,
}

/// What comes next in a segment.
pub(super) enum SourceBlock {
    Block(FoundBlock),
    End,
    /// No sound block where one must be.
    Damaged,
}

/// A segment being read.
pub(super) struct Source<'a, D: Disk> {
    reader: BlockReader<'a, D>,
    segment: SegmentHeader,
    position: u64,
    next_offset: Offset,
    chain: u32,
    end: Offset,
}

impl<'a, D: Disk> Source<'a, D> {
    pub(super) fn new(file: &'a D::File, part: &Part<D>) -> Self {
        Self {
            reader: BlockReader::new(file, part.end_position),
            segment: part.header,
            position: crate::segment_header::FIRST_BLOCK_POSITION,
            next_offset: part.segment.base,
            chain: part.header.chain_seed(),
            end: part.segment.end,
        }
    }

    pub(super) fn next_offset(&self) -> Offset {
        self.next_offset
    }

    pub(super) fn end(&self) -> Offset {
        self.end
    }

    /// The next block. What a truncation has cut off behind the segment's end is not looked at.
    pub(super) async fn next(&mut self) -> io::Result<SourceBlock> {
        if self.next_offset >= self.end {
            return Ok(SourceBlock::End);
        }
        let mut batches = Vec::new();
        for position in candidates(self.position) {
            let found = self
                .reader
                .block(position, &self.segment, &mut batches)
                .await?;
            if let Ok(header) = found
                && header.first_offset == self.next_offset.get()
                && header.previous_checksum == self.chain
            {
                let body_bytes = header.body_length as usize;
                let block = FoundBlock {
                    body_position: position + COMMIT_BLOCK_HEADER_BYTES as u64,
                    body_bytes,
                    size_bytes: (COMMIT_BLOCK_HEADER_BYTES + body_bytes) as u64,
                };
                self.position = block.body_position + body_bytes as u64;
                self.next_offset = Offset::new(header.last_offset()).plus(1);
                self.chain = header.body_checksum;
                return Ok(SourceBlock::Block(block));
            }
        }
        Ok(SourceBlock::Damaged)
    }

    /// The batches of a block that was just found.
    pub(super) async fn body(&mut self, block: &FoundBlock) -> io::Result<&[u8]> {
        let bytes = self
            .reader
            .bytes(block.body_position, block.body_bytes)
            .await?;
        bytes
            .get(..block.body_bytes)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}
