//! What is known of one segment without reading it: its extent, its sparse index, its timestamps, its quarantined
//! ranges. Pure; derived from the segment's blocks, by appending or by scanning.
//!
//! One sparse index serves offsets and timestamps: an entry is the start of a block, its first offset, and the largest
//! timestamp of everything *before* it. A lookup by offset starts at the last entry at or below it; a lookup by
//! timestamp at the last entry before which everything is older. Entries are at least `index_interval_bytes` (and
//! [`INTERVAL_BYTES_MIN`]) apart, so that a large segment of tiny blocks stays cheap.
//!
//! The facts stay in memory. Of the index only what no sidecar holds yet does: entries that were saved are let go
//! ([`SegmentMeta::forget_saved`]), and a lookup among them is made with the entries that the caller has loaded.

use std::mem::size_of;
use std::ops::Range;

use corelane_format::kafka::{BatchHeader, TimestampType};
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, Offset, TimestampMs};

use crate::bytes::{Reader, put_i64, put_u32, put_u64};
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::{FIRST_BLOCK_POSITION, SegmentHeader};

/// Index entries are never closer than this.
pub(crate) const INTERVAL_BYTES_MIN: u64 = 32 << 10;
/// One entry as it is stored.
pub(crate) const ENTRY_BYTES: usize = 16;
/// Positions are stored in units of the blocks' alignment.
const POSITION_UNIT: u64 = 64;

/// The start of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
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
    /// A truncation went through it: its blocks reach further than it does, so it cannot be told by its last block where it
    /// ends.
    pub(crate) is_cut: bool,
    /// How many entries, the first ones, are in the sidecar alone.
    saved: usize,
    /// Those behind them.
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
            is_cut: false,
            saved: 0,
            entries: Vec::new(),
            indexed_to: 0,
        }
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// Whether compaction has left nothing but the range of its offsets.
    pub(crate) fn is_emptied(&self) -> bool {
        self.end_offset > self.header.base_offset
            && self.end_position <= FIRST_BLOCK_POSITION + COMMIT_BLOCK_HEADER_BYTES as u64
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

    /// How many of its first entries a lookup may need to be given.
    pub(crate) fn saved_entries(&self) -> usize {
        self.saved
    }

    /// All entries, of which `saved` are those that are not in memory.
    pub(crate) fn all_entries(&self, saved: &[IndexEntry]) -> Option<Vec<IndexEntry>> {
        let mut all = saved.get(..self.saved)?.to_vec();
        all.extend_from_slice(&self.entries);
        Some(all)
    }

    /// Entry `index` of those in memory: a block's position, its first offset, and the largest timestamp of everything
    /// before it.
    pub(crate) fn index_entry(&self, index: usize) -> Option<(u64, Offset, i64)> {
        let entry = self.entries.get(index)?;
        let (position, offset) = self.place(entry);
        Some((position, offset, entry.max_timestamp_before))
    }

    fn place(&self, entry: &IndexEntry) -> (u64, Offset) {
        let offset = self.header.base_offset.get();
        (
            u64::from(entry.position) * POSITION_UNIT,
            Offset::new(offset.saturating_add(i64::from(entry.relative_offset))),
        )
    }

    /// Lets go of entries that a sidecar holds: `count` are in it.
    pub(crate) fn forget_saved(&mut self, count: usize) {
        if let Some(more) = count.checked_sub(self.saved)
            && more <= self.entries.len()
        {
            self.entries.drain(..more);
            self.entries.shrink_to_fit();
            self.saved = count;
        }
    }

    /// Takes back entries whose sidecar is damaged, as a scan found them.
    pub(crate) fn restore_entries(&mut self, mut scanned: Vec<IndexEntry>) {
        if let Some(first) = self.entries.first() {
            scanned.retain(|entry| entry.position < first.position);
        }
        scanned.append(&mut self.entries);
        (self.saved, self.entries) = (0, scanned);
    }

    /// The entries in memory.
    pub(crate) fn into_entries(self) -> Vec<IndexEntry> {
        self.entries
    }

    /// The memory behind it.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<IndexEntry>()
            + self.gaps.capacity() * size_of::<Range<Offset>>()
    }

    /// The position and first offset of a block at or below `offset`; `None` if that takes the saved entries and `saved`
    /// are not all of them.
    pub(crate) fn seek_offset(
        &self,
        offset: Offset,
        saved: &[IndexEntry],
    ) -> Option<(u64, Offset)> {
        let relative = offset.minus(self.header.base_offset);
        if relative <= 0 {
            return Some((FIRST_BLOCK_POSITION, self.header.base_offset));
        }
        self.seek(saved, |entry| i64::from(entry.relative_offset) <= relative)
    }

    /// The first offset of a block before which every batch is older than `timestamp`; `None` as above.
    pub(crate) fn seek_timestamp(
        &self,
        timestamp: TimestampMs,
        saved: &[IndexEntry],
    ) -> Option<Offset> {
        let older = |entry: &IndexEntry| entry.max_timestamp_before < timestamp.get();
        Some(self.seek(saved, older)?.1)
    }

    /// The last entry for which `before` is true, or the segment's start.
    fn seek(
        &self,
        saved: &[IndexEntry],
        before: impl Fn(&IndexEntry) -> bool,
    ) -> Option<(u64, Offset)> {
        let last = |entries: &[IndexEntry]| {
            let index = entries.partition_point(&before).checked_sub(1)?;
            entries.get(index).copied()
        };
        let entry = match last(&self.entries) {
            None if self.saved > 0 => last(saved.get(..self.saved)?),
            entry => entry,
        };
        let start = (FIRST_BLOCK_POSITION, self.header.base_offset);
        Some(entry.map_or(start, |entry| self.place(&entry)))
    }

    /// Bounds the segment to offsets below `end`: what lies above was truncated and is covered by a newer segment.
    pub(crate) fn cut(&mut self, end: Offset) {
        self.is_cut |= end < self.end_offset;
        self.end_offset = self.end_offset.min(end);
        self.gaps.retain(|gap| gap.start < end);
    }

    /// Appends the facts, without the index.
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
        put_u32(out, (self.saved + self.entries.len()) as u32);
    }

    /// Reads the facts; all entries count as saved. Whatever the bytes, what comes of them can be reckoned with.
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
        let saved = usize::try_from(reader.u32()?).ok()?;
        Some(Self {
            header,
            end_offset,
            end_position,
            last_block_position,
            chain,
            first_timestamp: (first != i64::MIN).then_some(TimestampMs::new(first)),
            max_timestamp: (max != i64::MIN).then_some((TimestampMs::new(max), max_offset)),
            gaps,
            is_cut: false,
            saved,
            entries: Vec::new(),
            indexed_to,
        })
        .filter(Self::is_possible)
    }

    /// Whether the numbers fit each other as far as sums of them go.
    fn is_possible(&self) -> bool {
        const SPAN_MAX: i64 = 1 << 31;
        let base = self.header.base_offset.get();
        let in_span = |offset: Offset| {
            let span = offset.get().checked_sub(base);
            offset.get() < i64::MAX && span.is_some_and(|span| (0..=SPAN_MAX).contains(&span))
        };
        let ordered = |gap: &Range<Offset>| gap.start <= gap.end && gap.start < self.end_offset;
        base >= 0
            && in_span(self.end_offset)
            && self
                .gaps
                .iter()
                .all(|gap| in_span(gap.start) && in_span(gap.end) && ordered(gap))
            && (FIRST_BLOCK_POSITION..1 << 62).contains(&self.end_position)
            && self.last_block_position < self.end_position
            && self.indexed_to <= self.end_position
    }
}

/// The bytes of an index.
pub(crate) fn encode_entries(entries: &[IndexEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        put_u32(&mut out, entry.relative_offset);
        put_u32(&mut out, entry.position);
        put_i64(&mut out, entry.max_timestamp_before);
    }
    out
}

/// The entries of an index; what is left of the bytes is ignored.
pub(crate) fn decode_entries(bytes: &[u8]) -> Vec<IndexEntry> {
    let mut reader = Reader(bytes);
    let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    while let (Some(relative_offset), Some(position), Some(max_timestamp_before)) =
        (reader.u32(), reader.u32(), reader.i64())
    {
        entries.push(IndexEntry {
            relative_offset,
            position,
            max_timestamp_before,
        });
    }
    entries
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
            let expected = Some((position, Offset::new(first)));
            assert_eq!(meta.seek_offset(Offset::new(offset), &[]), expected);
            for saved in 0..=4 {
                let (kept, gone) = let_go(&meta, saved);
                assert_eq!(kept.seek_offset(Offset::new(offset), &gone), expected);
            }
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
            let (timestamp, expected) = (TimestampMs::new(timestamp), Some(Offset::new(first)));
            assert_eq!(meta.seek_timestamp(timestamp, &[]), expected);
            for saved in 0..=4 {
                let (kept, gone) = let_go(&meta, saved);
                assert_eq!(kept.seek_timestamp(timestamp, &gone), expected);
            }
        }
    }

    /// The same with its first entries only in a sidecar, and those.
    fn let_go(meta: &SegmentMeta, count: usize) -> (SegmentMeta, Vec<IndexEntry>) {
        let all = meta.all_entries(&[]).expect("in memory");
        let mut kept = meta.clone();
        kept.forget_saved(count);
        assert_eq!(kept.saved_entries(), count);
        assert_eq!(kept.all_entries(&all[..count]), Some(all.clone()));
        (kept, all[..count].to_vec())
    }

    #[test]
    fn saved_entries_are_asked_for_only_where_they_are_needed() {
        let (kept, gone) = let_go(&meta(), 2);
        assert_eq!(kept.seek_offset(Offset::new(119), &[]), None);
        assert_eq!(kept.seek_offset(Offset::new(119), &gone[..1]), None);
        assert!(kept.seek_offset(Offset::new(120), &[]).is_some());
        assert_eq!(kept.seek_timestamp(TimestampMs::new(30), &[]), None);
        assert!(kept.seek_timestamp(TimestampMs::new(31), &[]).is_some());
        let mut restored = kept;
        restored.restore_entries(meta().into_entries());
        assert_eq!(restored, meta());
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
        let (kept, entries) = let_go(&meta, 4);
        let mut bytes = Vec::new();
        meta.encode(&mut bytes);
        assert_eq!(SegmentMeta::decode(&mut Reader(&bytes)), Some(kept));
        assert_eq!(decode_entries(&encode_entries(&entries)), entries);
        for cut in 0..bytes.len() {
            assert_eq!(
                SegmentMeta::decode(&mut Reader(&bytes[..cut])),
                None,
                "cut at {cut}"
            );
        }
    }
}
