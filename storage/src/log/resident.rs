//! What a log holds in memory, added up.

use std::mem::size_of;

use super::{Carry, PartitionLog, Segment, SegmentFile};
use crate::disk::Disk;

impl<D: Disk> PartitionLog<D> {
    /// Bytes of memory that the log holds for itself. Not counted is what the lane's budgets count: flushed batches kept for
    /// readers, regions read from disk, loaded indexes. An idle log stays below 64 KiB, whatever its size on disk, up to
    /// some 150 segments and 50 active idempotent producers.
    pub fn resident_bytes(&self) -> usize {
        let state = self.state.borrow();
        let segments: usize = state.segments.iter().map(segment_bytes).sum();
        let unwritten: usize = state.sealed.iter().map(|chunk| chunk.charge_bytes).sum();
        let in_flight: usize = state
            .in_flight
            .iter()
            .map(|commit| commit.chunk.charge_bytes)
            .sum();
        let carry = match &state.carry {
            Carry::None | Carry::Chunk(_) => 0,
            Carry::Bytes(bytes) => bytes.len(),
        };
        size_of::<Self>()
            + self.directory.capacity()
            + state.segments.capacity() * size_of::<Segment<D>>()
            + segments
            + state.producers.heap_bytes()
            + state.checkpoint.heap_bytes()
            + state
                .open
                .as_ref()
                .map_or(0, crate::chunk::OpenChunk::capacity)
            + unwritten
            + in_flight
            + carry
    }
}

fn segment_bytes<D: Disk>(segment: &Segment<D>) -> usize {
    let producers = segment.sealed_producers.as_ref();
    size_of::<SegmentFile<D>>()
        + segment.file.path.capacity()
        + segment.meta.heap_bytes()
        + producers.map_or(0, crate::ProducerState::heap_bytes)
}
