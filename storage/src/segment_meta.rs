//! What is known of one segment without reading it: its extent, its sparse index, its timestamps, its quarantined
//! ranges. Pure; derived from the segment's blocks, by appending or by scanning.
//!
//! One sparse index serves offsets and timestamps: an entry is the start of a block, its first offset, and the largest
//! timestamp of everything *before* it. A lookup by offset starts at the last entry at or below it; a lookup by
//! timestamp at the last entry before which everything is older. Entries are at least `index_interval_bytes` (and
//! [`INTERVAL_BYTES_MIN`]) apart, so that a large segment of tiny blocks stays cheap.

use std::ops::Range;

use corelane_format::kafka::{BatchHeader, TimestampType};
use corelane_format::{Offset, TimestampMs};

use crate::bytes::{Reader, put_i64, put_u32, put_u64};
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::{FIRST_BLOCK_POSITION, SegmentHeader};

/// Index entries are never closer than this.
pub(crate) const INTERVAL_BYTES_MIN: u64 = 16 << 10;
const ENTRY_BYTES: usize = 16;
/// Positions are stored in units of the blocks' alignment.
const POSITION_UNIT: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IndexEntry {
    relative_offset: u32,
    position: u32,
    max_timestamp_before: i64,
}

/// The timestamp that stands for a batch: the largest of its records, as far as its header tells.
pub(crate) fn batch_timestamp(batch: &BatchHeader) -> TimestampMs {
    match batch.attributes.timestamp_type() {
        // The broker's own; the base is still the producer's and means nothing.
        TimestampType::LogAppendTime => batch.max_timestamp,
        TimestampType::CreateTime => batch.latest_timestamp(),
    }
}

/// Everything known of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) header: SegmentHeader,
    /// Exclusive.
    pub(crate) end_offset: Offset,
    /// Where the last block ends.
    pub(crate) end_position: u64,
    /// Where the last block starts, 0 if there is none.
    pub(crate) last_block_position: u64,
    /// What the next block's `previous_checksum` must be.
    pub(crate) chain: u32,
    pub(crate) first_timestamp: Option<TimestampMs>,
    /// The largest timestamp and the base offset of the first batch that has it.
    pub(crate) max_timestamp: Option<(TimestampMs, Offset)>,
    /// Quarantined: the bytes of these offsets are damaged. In order.
    pub(crate) gaps: Vec<Range<Offset>>,
    entries: Vec<IndexEntry>,
    indexed_to: u64,
}

impl SegmentMeta {
    pub(crate) fn new(header: SegmentHeader) -> Self {
        Self {
            header,
            end_offset: header.base_offset,
            end_position: FIRST_BLOCK_POSITION,
            last_block_position: 0,
            chain: header.chain_seed(),
            first_timestamp: None,
            max_timestamp: None,
            gaps: Vec::new(),
            entries: Vec::new(),
            indexed_to: 0,
        }
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// Notes that a block begins: must precede its batches.
    pub(crate) fn begin_block(&mut self, position: u64, first_offset: Offset, interval_bytes: u64) {
        self.last_block_position = position;
        let due = self.indexed_to == 0
            || position >= self.indexed_to + interval_bytes.max(INTERVAL_BYTES_MIN);
        let relative = u32::try_from(first_offset.minus(self.header.base_offset));
        let units = u32::try_from(position / POSITION_UNIT);
        if let (true, Ok(relative_offset), Ok(position_units)) = (due, relative, units) {
            self.entries.push(IndexEntry {
                relative_offset,
                position: position_units,
                max_timestamp_before: self
                    .max_timestamp
                    .map_or(i64::MIN, |(timestamp, _)| timestamp.get()),
            });
            self.indexed_to = position;
        }
    }

    /// Notes a batch, which carries its final offsets.
    pub(crate) fn add_batch(&mut self, batch: &BatchHeader) {
        let latest = batch_timestamp(batch);
        if latest.get() >= 0 {
            self.first_timestamp.get_or_insert(latest);
            let is_newer = |known| (latest > known) != seeded_bug("oldest-taken-for-newest");
            if self.max_timestamp.is_none_or(|(known, _)| is_newer(known)) {
                self.max_timestamp = Some((latest, batch.base_offset));
            }
        }
        self.end_offset = batch.next_offset();
    }

    /// Notes that the block is complete.
    pub(crate) fn end_block(&mut self, end_position: u64, checksum: u32) {
        self.end_position = end_position;
        self.chain = checksum;
    }

    /// Quarantines a range, merging it with what it touches.
    pub(crate) fn quarantine(&mut self, range: Range<Offset>) {
        let mut merged = range;
        self.gaps.retain(|gap| {
            let touches = gap.start <= merged.end && merged.start <= gap.end;
            if touches {
                merged = gap.start.min(merged.start)..gap.end.max(merged.end);
            }
            !touches
        });
        let at = self.gaps.partition_point(|gap| gap.start < merged.start);
        self.end_offset = self.end_offset.max(merged.end);
        self.gaps.insert(at, merged);
    }

    /// The quarantined range that holds `offset`.
    pub(crate) fn gap_at(&self, offset: Offset) -> Option<&Range<Offset>> {
        self.gaps.iter().find(|gap| gap.contains(&offset))
    }

    /// The position and first offset of a block at or below `offset`.
    pub(crate) fn seek_offset(&self, offset: Offset) -> (u64, Offset) {
        let relative = offset.minus(self.header.base_offset);
        let index = self
            .entries
            .partition_point(|entry| i64::from(entry.relative_offset) <= relative);
        self.entry(index.checked_sub(1))
    }

    /// The first offset of a block before which every batch is older than `timestamp`.
    pub(crate) fn seek_timestamp(&self, timestamp: TimestampMs) -> Offset {
        let index = self
            .entries
            .partition_point(|entry| entry.max_timestamp_before < timestamp.get());
        self.entry(index.checked_sub(1)).1
    }

    /// Index entry `index`: a block's position, its first offset, and the largest timestamp of everything before it.
    pub(crate) fn index_entry(&self, index: usize) -> Option<(u64, Offset, i64)> {
        let entry = self.entries.get(index)?;
        let (position, offset) = self.entry(Some(index));
        Some((position, offset, entry.max_timestamp_before))
    }

    fn entry(&self, index: Option<usize>) -> (u64, Offset) {
        match index.and_then(|index| self.entries.get(index)) {
            Some(entry) => (
                u64::from(entry.position) * POSITION_UNIT,
                self.header
                    .base_offset
                    .plus(i64::from(entry.relative_offset)),
            ),
            None => (FIRST_BLOCK_POSITION, self.header.base_offset),
        }
    }

    /// Bounds the segment to offsets below `end`: what lies above was truncated and is covered by a newer segment.
    pub(crate) fn cut(&mut self, end: Offset) {
        self.end_offset = self.end_offset.min(end);
        self.gaps.retain(|gap| gap.start < end);
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.header.log_id.get());
        put_u64(out, self.header.generation);
        put_i64(out, self.header.base_offset.get());
        put_u64(out, self.header.history);
        put_i64(out, self.end_offset.get());
        put_u64(out, self.end_position);
        put_u64(out, self.last_block_position);
        put_u32(out, self.chain);
        put_i64(out, self.first_timestamp.map_or(i64::MIN, TimestampMs::get));
        put_i64(
            out,
            self.max_timestamp
                .map_or(i64::MIN, |(timestamp, _)| timestamp.get()),
        );
        put_i64(
            out,
            self.max_timestamp.map_or(-1, |(_, offset)| offset.get()),
        );
        put_u32(out, self.gaps.len() as u32);
        for gap in &self.gaps {
            put_i64(out, gap.start.get());
            put_i64(out, gap.end.get());
        }
        put_u64(out, self.indexed_to);
        put_u32(out, self.entries.len() as u32);
        for entry in &self.entries {
            put_u32(out, entry.relative_offset);
            put_u32(out, entry.position);
            put_i64(out, entry.max_timestamp_before);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let header = SegmentHeader {
            log_id: corelane_format::LogId::new(reader.u64()?),
            generation: reader.u64()?,
            base_offset: Offset::new(reader.i64()?),
            history: reader.u64()?,
        };
        let end_offset = Offset::new(reader.i64()?);
        let end_position = reader.u64()?;
        let last_block_position = reader.u64()?;
        let chain = reader.u32()?;
        let first = reader.i64()?;
        let max = reader.i64()?;
        let max_offset = Offset::new(reader.i64()?);
        let gap_count = reader.count(16)?;
        let mut gaps = Vec::with_capacity(gap_count);
        for _ in 0..gap_count {
            gaps.push(Offset::new(reader.i64()?)..Offset::new(reader.i64()?));
        }
        let indexed_to = reader.u64()?;
        let entry_count = reader.count(ENTRY_BYTES)?;
        let mut entries = Vec::with_capacity(entry_count);
        for _ in 0..entry_count {
            entries.push(IndexEntry {
                relative_offset: reader.u32()?,
                position: reader.u32()?,
                max_timestamp_before: reader.i64()?,
            });
        }
        Some(Self {
            header,
            end_offset,
            end_position,
            last_block_position,
            chain,
            first_timestamp: (first != i64::MIN).then_some(TimestampMs::new(first)),
            max_timestamp: (max != i64::MIN).then_some((TimestampMs::new(max), max_offset)),
            gaps,
            entries,
            indexed_to,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_format::LogId;

    fn meta() -> SegmentMeta {
        let header = SegmentHeader {
            log_id: LogId::new(1),
            generation: 1,
            base_offset: Offset::new(100),
            history: 0,
        };
        let mut meta = SegmentMeta::new(header);
        for (index, timestamp) in [(0, 10), (1, 30), (2, 20), (3, 50)] {
            let position = 4096 + index * (32 << 10);
            meta.begin_block(position, Offset::new(100 + index as i64 * 10), 4096);
            meta.max_timestamp = meta
                .max_timestamp
                .max(Some((TimestampMs::new(timestamp), Offset::new(0))));
            meta.end_block(position + 100, 0);
        }
        meta
    }

    #[test]
    fn lookups() {
        let meta = meta();
        for (offset, position, first) in [
            (100, 4096, 100),
            (109, 4096, 100),
            (110, 4096 + (32 << 10), 110),
            (129, 4096 + (64 << 10), 120),
            (1000, 4096 + (96 << 10), 130),
        ] {
            assert_eq!(
                meta.seek_offset(Offset::new(offset)),
                (position, Offset::new(first)),
                "{offset}"
            );
        }
        // Blocks have 10, 30, 20, 50: before them at most -, 10, 30, 30.
        for (timestamp, first) in [
            (0, 100),
            (10, 100),
            (11, 110),
            (30, 110),
            (31, 130),
            (99, 130),
        ] {
            assert_eq!(
                meta.seek_timestamp(TimestampMs::new(timestamp)),
                Offset::new(first),
                "{timestamp}"
            );
        }
    }

    #[test]
    fn gaps_merge() {
        let mut meta = meta();
        for (start, end) in [(110, 115), (130, 135), (114, 120), (120, 130)] {
            meta.quarantine(Offset::new(start)..Offset::new(end));
        }
        assert_eq!(meta.gaps, vec![Offset::new(110)..Offset::new(135)]);
        assert!(meta.gap_at(Offset::new(134)).is_some() && meta.gap_at(Offset::new(135)).is_none());
    }

    #[test]
    fn round_trip() {
        let mut meta = meta();
        meta.quarantine(Offset::new(110)..Offset::new(115));
        let mut bytes = Vec::new();
        meta.encode(&mut bytes);
        assert_eq!(SegmentMeta::decode(&mut Reader(&bytes)), Some(meta));
        for cut in 0..bytes.len() {
            assert_eq!(
                SegmentMeta::decode(&mut Reader(&bytes[..cut])),
                None,
                "cut at {cut}"
            );
        }
    }
}
