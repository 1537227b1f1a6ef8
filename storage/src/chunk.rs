//! One commit block in memory: open while batches are copied to their final place, sealed when it goes to disk.
//!
//! A chunk mirrors the pages of the segment file it will be written to: buffer byte 0 is a page boundary of the file. When
//! the previous block ends within a page and nothing is in flight, the chunk begins with a copy of that page's used
//! part (`carry`), so that the write repeats those bytes unchanged. A sealed chunk is shared (`Rc`) between the write in
//! flight and readers and is never modified again.

use std::cell::Cell;
use std::rc::Rc;

use corelane_format::kafka::{stamp_log_append_time, stamp_offset};
use corelane_format::{
    COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader, LeaderEpoch, Offset, TimestampMs,
};

use crate::block::{BlockView, FLAG_PREFIX_CHECKSUM, SparseBatches, append_prefix, block_ceil};
use crate::disk::{DiskBuffer, PAGE_BYTES, page_ceil, page_floor};
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::SegmentHeader;

/// Where a chunk's block will stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// File position of the block's header.
    pub(crate) block_position: u64,
    /// File position of the buffer's first byte.
    pub(crate) page_position: u64,
    /// How many bytes of the previous block's last page the buffer starts with.
    pub(crate) carry_bytes: usize,
}

/// Where the next block goes after one that ended at `end_position`: right behind it, or, while a write is in flight, at
/// the next page, so that no page is ever in flight twice.
pub(crate) fn place_block(end_position: u64, write_in_flight: bool) -> Placement {
    if write_in_flight {
        let position = page_ceil(end_position);
        return Placement {
            block_position: position,
            page_position: position,
            carry_bytes: 0,
        };
    }
    let block_position = block_ceil(end_position);
    let page_position = page_floor(block_position);
    Placement {
        block_position,
        page_position,
        carry_bytes: end_position.saturating_sub(page_position) as usize,
    }
}

/// The capacity of a chunk whose batches take `needed_bytes` including header and carry.
pub(crate) fn chunk_capacity(
    needed_bytes: usize,
    recent_bytes: usize,
    min_bytes: usize,
    max_bytes: usize,
) -> usize {
    let max = max_bytes & !(PAGE_BYTES - 1);
    let wanted = recent_bytes
        .max(needed_bytes)
        .next_power_of_two()
        .clamp(min_bytes.min(max), max);
    page_ceil(wanted.max(needed_bytes) as u64) as usize
}

/// A block under construction.
#[derive(Debug)]
pub(crate) struct OpenChunk<B> {
    buffer: B,
    placement: Placement,
    used: usize,
    data_bytes: usize,
    pub(crate) segment: SegmentHeader,
    first_offset: Offset,
    end_offset: Offset,
    checksum: u32,
    sparse: SparseBatches,
    /// What lies below was handed to the lane's journal: a position in the buffer, and the offset that comes next.
    handed: usize,
    handed_end: Offset,
}

/// What a sealed block's header needs from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SealContext {
    /// Exclusive: everything below is durable in segments.
    pub(crate) settled_offset: Offset,
    pub(crate) previous_checksum: u32,
    /// Whether it was sealed because nothing more fits: such commits may overlap.
    pub(crate) is_full: bool,
}

impl<B: DiskBuffer> OpenChunk<B> {
    /// `carry` are the used bytes of the page that the block starts in.
    pub(crate) fn new(
        mut buffer: B,
        placement: Placement,
        carry: &[u8],
        segment: SegmentHeader,
        first_offset: Offset,
    ) -> Self {
        let start = (placement.block_position - placement.page_position) as usize;
        let body = start + COMMIT_BLOCK_HEADER_BYTES;
        let bytes = buffer.as_mut();
        bytes[..placement.carry_bytes].copy_from_slice(carry);
        if seeded_bug("last-page-not-repeated") {
            bytes[..placement.carry_bytes].fill(0);
        }
        bytes[placement.carry_bytes..body].fill(0);
        Self {
            buffer,
            placement,
            used: body,
            data_bytes: 0,
            segment,
            first_offset,
            end_offset: first_offset,
            checksum: 0,
            sparse: SparseBatches::default(),
            handed: body,
            handed_end: first_offset,
        }
    }

    /// Bytes that were never handed to the journal.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.used - self.handed
    }

    /// Where they begin.
    pub(crate) fn pending_offset(&self) -> Offset {
        self.handed_end
    }

    /// Bytes of batches in all.
    pub(crate) fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Takes everything that is pending as handed to the journal; it lies at the range that is returned.
    pub(crate) fn hand_over(&mut self) -> std::ops::Range<usize> {
        let start = std::mem::replace(&mut self.handed, self.used);
        self.handed_end = self.end_offset;
        start..self.used
    }

    fn body_start(&self) -> usize {
        (self.placement.block_position - self.placement.page_position) as usize
            + COMMIT_BLOCK_HEADER_BYTES
    }

    /// Bytes of the buffer that are taken.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn capacity(&self) -> usize {
        self.buffer.as_ref().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.data_bytes == 0
    }

    pub(crate) fn first_offset(&self) -> Offset {
        self.first_offset
    }

    pub(crate) fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Where the block would end in the file if sealed now.
    pub(crate) fn end_position(&self) -> u64 {
        self.placement.page_position + self.used as u64
    }

    pub(crate) fn has_room(&self, size_bytes: usize) -> bool {
        self.used + size_bytes <= self.capacity()
    }

    /// Moves everything to a larger buffer; the old one is given back.
    pub(crate) fn grow(&mut self, mut buffer: B) -> B {
        buffer.as_mut()[..self.used].copy_from_slice(&self.buffer.as_ref()[..self.used]);
        std::mem::replace(&mut self.buffer, buffer)
    }

    /// Copies a batch to its final place and stamps it. There must be room. Returns the stored bytes.
    pub(crate) fn push(
        &mut self,
        batch: &[u8],
        base_offset: Offset,
        last_offset: Offset,
        leader_epoch: LeaderEpoch,
        log_append_time: Option<TimestampMs>,
    ) -> &[u8] {
        let (start, end) = (self.used, self.used + batch.len());
        let body_start = self.body_start();
        let stored = &mut self.buffer.as_mut()[start..end];
        stored.copy_from_slice(batch);
        stamp_offset(stored, base_offset, leader_epoch);
        if let Some(now) = log_append_time {
            stamp_log_append_time(stored, now);
        }
        self.checksum = append_prefix(self.checksum, stored);
        self.sparse
            .note(base_offset.minus(self.first_offset), start, body_start);
        self.used = end;
        self.data_bytes += batch.len();
        self.end_offset = last_offset.plus(1);
        &self.buffer.as_ref()[start..end]
    }

    /// Makes the block reach up to `end`, exclusive, though no batch of it does: compaction leaves holes.
    pub(crate) fn cover(&mut self, end: Offset) {
        self.end_offset = self.end_offset.max(end);
    }

    /// The block as a reader sees it now.
    pub(crate) fn view(&self) -> BlockView {
        BlockView {
            first_offset: self.first_offset,
            end_offset: self.end_offset,
            body: self.body_start()..self.used,
            sparse: self.sparse.clone(),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer.as_ref()[..self.used]
    }

    /// Completes the block: header, zeros to the end of its last page.
    pub(crate) fn seal(mut self, context: &SealContext) -> Chunk<B> {
        assert!(
            self.end_offset > self.first_offset,
            "a block covers at least one offset"
        );
        let view = self.view();
        let body_start = view.body.start;
        let delta = self.end_offset.minus(self.first_offset) - 1;
        let header = CommitBlockHeader {
            flags: FLAG_PREFIX_CHECKSUM,
            log_id: self.segment.log_id.get(),
            generation: self.segment.generation,
            first_offset: self.first_offset.get(),
            flushed_offset: context.settled_offset.get(),
            last_offset_delta: u32::try_from(delta).unwrap_or(u32::MAX),
            body_length: (self.used - body_start) as u32,
            previous_checksum: context.previous_checksum,
            body_checksum: self.checksum,
            ..CommitBlockHeader::new()
        };
        let charge_bytes = self.capacity();
        let write_bytes = page_ceil(self.used as u64) as usize;
        let bytes = self.buffer.as_mut();
        bytes[self.used..write_bytes].fill(0);
        if let Some(slot) = bytes[body_start - COMMIT_BLOCK_HEADER_BYTES..].first_chunk_mut() {
            header.encode(slot);
        }
        self.buffer.trim_to(write_bytes);
        Chunk {
            placement: self.placement,
            used: self.used,
            charge_bytes,
            data_bytes: self.data_bytes,
            segment: self.segment,
            view,
            checksum: self.checksum,
            is_full: context.is_full,
            touched: Cell::new(false),
            flushed: Cell::new(false),
            buffer: Rc::new(self.buffer),
        }
    }
}

/// A sealed block: immutable.
#[derive(Debug)]
pub(crate) struct Chunk<B> {
    pub(crate) buffer: Rc<B>,
    placement: Placement,
    used: usize,
    /// The memory it holds.
    pub(crate) charge_bytes: usize,
    /// The batches' bytes.
    pub(crate) data_bytes: usize,
    pub(crate) segment: SegmentHeader,
    pub(crate) view: BlockView,
    pub(crate) checksum: u32,
    pub(crate) is_full: bool,
    /// Read since the cache last looked.
    pub(crate) touched: Cell<bool>,
    /// Whether it is durable.
    pub(crate) flushed: Cell<bool>,
}

impl<B: DiskBuffer> Chunk<B> {
    pub(crate) fn first_offset(&self) -> Offset {
        self.view.first_offset
    }

    pub(crate) fn end_offset(&self) -> Offset {
        self.view.end_offset
    }

    /// Where the buffer is written.
    pub(crate) fn write_position(&self) -> u64 {
        self.placement.page_position
    }

    /// How much is written: whole pages.
    pub(crate) fn write_bytes(&self) -> usize {
        (*self.buffer).as_ref().len()
    }

    /// Where the write ends: a page boundary.
    pub(crate) fn write_end(&self) -> u64 {
        self.placement.page_position + self.write_bytes() as u64
    }

    /// Where the block ends.
    pub(crate) fn end_position(&self) -> u64 {
        self.placement.page_position + self.used as u64
    }

    /// The used bytes of the page in which the next block will start if it follows directly.
    pub(crate) fn last_page(&self) -> &[u8] {
        let page = page_floor(block_ceil(self.end_position()))
            .saturating_sub(self.placement.page_position) as usize;
        (*self.buffer).as_ref().get(page..self.used).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placements() {
        // end of the previous block, in flight -> block, page, carry
        for (end, in_flight, block, page, carry) in [
            (4096, false, 4096, 4096, 0),
            (4096, true, 4096, 4096, 0),
            (5000, false, 5056, 4096, 904),
            (5000, true, 8192, 8192, 0),
            (8192, true, 8192, 8192, 0),
            (8190, false, 8192, 8192, 0),
            (8000, false, 8000, 4096, 3904),
        ] {
            let expected = Placement {
                block_position: block,
                page_position: page,
                carry_bytes: carry,
            };
            assert_eq!(place_block(end, in_flight), expected, "{end} {in_flight}");
        }
    }

    #[test]
    fn capacities() {
        const K: usize = 1 << 10;
        for (needed, recent, expected) in [
            (100, 0, 16 * K),
            (20 * K, 0, 32 * K),
            (100, 200 * K, 256 * K),
            (100, 9000 * K, 1024 * K),
            (3000 * K + 1, 0, 3004 * K),
        ] {
            assert_eq!(
                chunk_capacity(needed, recent, 16 * K, 1024 * K),
                expected,
                "{needed} {recent}"
            );
        }
    }
}
