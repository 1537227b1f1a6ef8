//! A sidecar against the segment that it was derived from. Pure: the walk says what it sees, in order.
//!
//! Only what the walk has seen soundly counts against the sidecar: where blocks are missing it may well know more than
//! the segment still shows.

use std::ops::Range;

use corelane_format::{Offset, TimestampMs};

use super::walk::{WalkedBlock, WalkedGap};
use crate::segment_meta::SegmentMeta;
use crate::sidecar::Sidecar;

/// A sidecar, while its segment is walked.
pub(super) struct SidecarCheck {
    recorded: SegmentMeta,
    /// What the walk has seen so far, as a sidecar would say it, without an index.
    seen: SegmentMeta,
    /// Next of the recorded index entries.
    entry: usize,
    /// Where the next segment begins.
    limit: Offset,
    /// Whether anything was missing below the sidecar's end.
    incomplete: bool,
    compared: bool,
    sound_again: Vec<Range<Offset>>,
    faults: Vec<String>,
}

/// So far apart are the entries of an index that is not wanted.
const NO_INDEX_BYTES: u64 = 1 << 62;

/// More faults than these are not told: the sidecar goes as a whole.
const FAULTS_MAX: usize = 4;

impl SidecarCheck {
    /// The segment's offsets end at `limit` if a newer segment begins there.
    pub(super) fn new(sidecar: Sidecar, limit: Offset) -> Self {
        let recorded = sidecar.meta;
        Self {
            limit,
            seen: SegmentMeta::new(recorded.header),
            sound_again: recorded.gaps.clone(),
            recorded,
            entry: 0,
            incomplete: false,
            compared: false,
            faults: Vec::new(),
        }
    }

    /// The end offset (exclusive) that the sidecar vouches for.
    pub(super) fn end_offset(&self) -> Offset {
        self.recorded.end_offset
    }

    /// A sound block was seen.
    pub(super) fn block(&mut self, block: &WalkedBlock) {
        if block.position >= self.recorded.end_position {
            self.compare();
            return;
        }
        self.entries_below(block.position);
        if let Some((position, first_offset, max_timestamp)) = self.recorded.index_entry(self.entry)
            && position == block.position
        {
            self.entry += 1;
            let seen = self
                .seen
                .max_timestamp
                .map_or(i64::MIN, |(timestamp, _)| timestamp.get());
            if first_offset.get() != block.header.first_offset {
                self.fault(format!(
                    "index entry for position {position} says offset {first_offset}, the block begins with {}",
                    block.header.first_offset
                ));
            } else if max_timestamp != seen && !self.incomplete {
                self.fault(format!(
                    "index entry for position {position} says that all before is at most {max_timestamp}, it is {seen}"
                ));
            }
        }
        self.seen.begin_block(
            block.position,
            Offset::new(block.header.first_offset),
            NO_INDEX_BYTES,
        );
        for batch in &block.batches {
            self.seen.add_batch(batch);
        }
        self.seen
            .end_block(block.end_position, block.header.body_checksum);
        let (first, end) = (block.header.first_offset, block.header.last_offset());
        // A range is sound again where every one of its offsets is.
        for range in &mut self.sound_again {
            if range.start.get() >= first && range.start.get() <= end {
                range.start = Offset::new(end.saturating_add(1));
            }
        }
    }

    /// Something else was seen.
    pub(super) fn gap(&mut self, gap: &WalkedGap) {
        let until = gap.until.unwrap_or(u64::MAX);
        if gap.position >= self.recorded.end_position {
            self.compare();
            return;
        }
        self.entries_below(gap.position);
        self.incomplete = true;
        // What it knows of these blocks cannot be checked any more.
        while self
            .recorded
            .index_entry(self.entry)
            .is_some_and(|(position, ..)| position < until)
        {
            self.entry += 1;
        }
        if until == u64::MAX || until >= self.recorded.end_position {
            self.compared = true;
        }
    }

    /// The walk is over: the faults, and the recorded ranges that are sound again.
    pub(super) fn finish(mut self) -> (Vec<String>, Vec<Range<Offset>>) {
        self.compare();
        let recorded = std::mem::take(&mut self.recorded.gaps);
        let again = recorded
            .into_iter()
            .zip(&self.sound_again)
            .filter(|(range, left)| left.start >= range.end && !range.is_empty())
            .map(|(range, _)| range)
            .collect();
        (self.faults, again)
    }

    fn entries_below(&mut self, position: u64) {
        while let Some((entry, ..)) = self.recorded.index_entry(self.entry)
            && entry < position
        {
            self.entry += 1;
            self.fault(format!("no block begins at index entry {entry}"));
        }
    }

    /// Compares the ends, once, when all blocks that the sidecar covers were seen.
    fn compare(&mut self) {
        if std::mem::replace(&mut self.compared, true) {
            return;
        }
        self.entries_below(u64::MAX);
        let (recorded, seen) = (&self.recorded, &self.seen);
        let mut faults = Vec::new();
        if recorded.end_position != seen.end_position {
            faults.push(format!(
                "it says that the segment ends at position {}, the last block below ends at {}",
                recorded.end_position, seen.end_position
            ));
        } else if recorded.last_block_position != seen.last_block_position
            || recorded.chain != seen.chain
        {
            faults.push("its last block is not the segment's".to_owned());
        }
        // A truncation may end the offsets before the block does.
        if recorded.end_offset != seen.end_offset.min(self.limit) && !self.incomplete {
            faults.push(format!(
                "it says that offsets end at {}, the last block below ends them at {}",
                recorded.end_offset, seen.end_offset
            ));
        }
        if !self.incomplete && recorded.gaps.is_empty() {
            let told = (
                recorded.first_timestamp,
                recorded.max_timestamp.map(|(timestamp, _)| timestamp),
            );
            let found = (
                seen.first_timestamp,
                seen.max_timestamp.map(|(timestamp, _)| timestamp),
            );
            if told != found {
                faults.push(format!(
                    "it says that timestamps begin with {} and reach {}, they begin with {} and reach {}",
                    shown(told.0),
                    shown(told.1),
                    shown(found.0),
                    shown(found.1)
                ));
            }
        }
        for fault in faults {
            self.fault(fault);
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

fn shown(timestamp: Option<TimestampMs>) -> String {
    timestamp.map_or_else(|| "none".to_owned(), |timestamp| timestamp.to_string())
}
