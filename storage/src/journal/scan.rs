//! What a journal file holds. Pure.

use std::ops::Range;

use super::block::{Entry, parse_block};
use super::header::{FIRST_BLOCK_POSITION, JournalFileHeader};
use crate::disk::{PAGE_BYTES, page_ceil};

/// A sound block; the positions of its entries count from the file's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScannedBlock {
    pub(crate) sequence: u64,
    pub(crate) live: Vec<Range<u64>>,
    pub(crate) entries: Vec<Entry>,
}

/// A file's findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScannedFile {
    /// In the order of their sequences.
    pub(crate) blocks: Vec<ScannedBlock>,
    /// Places where a sound block follows something that is none: rot, since blocks are written one after the other.
    pub(crate) damaged: Vec<Range<u64>>,
    /// By its header: settled, and gone from it.
    pub(crate) settled: Range<u64>,
    /// The header page is damaged; the generation was taken from the blocks.
    pub(crate) header_is_damaged: bool,
}

/// Reads a whole file.
///
/// Blocks of other generations are what earlier lives of the file left, and count for nothing. What stands behind the last
/// sound block is a torn write or stale, and never acknowledged.
pub(crate) fn scan_file(bytes: &[u8]) -> ScannedFile {
    let mut scanned = ScannedFile::default();
    let generation = match JournalFileHeader::decode(bytes) {
        Some(header) if header.is_empty => return scanned,
        Some(header) => {
            scanned.settled = header.settled;
            header.generation
        }
        None => {
            let newest = pages(bytes, FIRST_BLOCK_POSITION)
                .filter_map(|at| parse_block(&bytes[at as usize..]))
                .map(|block| block.header.generation)
                .max();
            let Some(newest) = newest else {
                // A file that was never finished, or nothing to tell.
                return scanned;
            };
            scanned.header_is_damaged = true;
            newest
        }
    };
    let mut at = FIRST_BLOCK_POSITION;
    let mut last_sequence = 0;
    while (at as usize) < bytes.len() {
        let found = pages(bytes, at).find_map(|position| {
            let block = parse_block(&bytes[position as usize..])?;
            let header = block.header;
            let counts = header.generation == generation && header.sequence > last_sequence;
            counts.then_some((position, block))
        });
        let Some((position, mut block)) = found else {
            break;
        };
        let header = block.header;
        if position > at {
            scanned.damaged.push(at..position);
        }
        for entry in &mut block.entries {
            let shift = position as usize;
            entry.batches = entry.batches.start + shift..entry.batches.end + shift;
        }
        last_sequence = header.sequence;
        let size = super::block::BLOCK_HEADER_BYTES as u64 + u64::from(header.body_length);
        at = page_ceil(position + size);
        scanned.blocks.push(ScannedBlock {
            sequence: header.sequence,
            live: block.live,
            entries: block.entries,
        });
    }
    scanned
}

fn pages(bytes: &[u8], from: u64) -> impl Iterator<Item = u64> {
    (from..bytes.len() as u64).step_by(PAGE_BYTES)
}

/// The sequences that are missing although they may not be settled: what they held cannot be proved. `live` is what the
/// newest block of the ring says, `settled` what the files' headers have said since.
pub(crate) fn missing_sequences(
    found: &mut [u64],
    live: &[Range<u64>],
    settled: &[Range<u64>],
) -> Vec<Range<u64>> {
    found.sort_unstable();
    let mut missing: Vec<Range<u64>> = Vec::new();
    for range in live.iter().filter(|range| !settled.contains(range)) {
        let mut next = range.start;
        let from = found.partition_point(|sequence| *sequence < range.start);
        let inside = found[from..]
            .iter()
            .copied()
            .take_while(|sequence| *sequence < range.end);
        for sequence in inside.chain([range.end]) {
            if sequence > next {
                missing.push(next..sequence);
            }
            next = sequence + 1;
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::block::{BlockBuilder, EntryHeader};
    use corelane_format::{LogId, Offset};

    fn file(generation: u64, blocks: &[(u64, u64, usize)]) -> Vec<u8> {
        let header = JournalFileHeader {
            generation,
            settled: 0..0,
            is_empty: false,
        };
        let mut bytes = header.encode();
        bytes.resize(PAGE_BYTES, 0);
        for (block_generation, sequence, size) in blocks {
            let mut block = vec![0; page_ceil(*size as u64 + 200) as usize];
            let mut builder = BlockBuilder::new(&mut block, std::iter::empty());
            let entry = EntryHeader {
                log_id: LogId::new(1),
                history: 0,
                first_offset: Offset::new(*sequence as i64),
                end_offset: Offset::new(*sequence as i64 + 1),
            };
            builder.push(&entry, &vec![*sequence as u8; *size]);
            builder.finish(*block_generation, *sequence);
            bytes.extend_from_slice(&block);
        }
        bytes.resize(64 << 10, 0);
        bytes
    }

    fn sequences(scanned: &ScannedFile) -> Vec<u64> {
        scanned.blocks.iter().map(|block| block.sequence).collect()
    }

    #[test]
    fn blocks_of_this_life_only() {
        let bytes = file(7, &[(7, 4, 100), (7, 5, 9000), (6, 3, 10), (6, 6, 10)]);
        let scanned = scan_file(&bytes);
        assert_eq!(sequences(&scanned), vec![4, 5]);
        assert!(scanned.damaged.is_empty());
        let entry = &scanned.blocks[1].entries[0];
        assert!(bytes[entry.batches.clone()].iter().all(|byte| *byte == 5));
    }

    #[test]
    fn rot_before_a_sound_block_is_told_from_a_torn_end() {
        let good = file(7, &[(7, 4, 100), (7, 5, 100), (7, 6, 100)]);
        for (page, found, damaged_at) in [
            (1, vec![5, 6], Some(4096)),
            (2, vec![4, 6], Some(8192)),
            (3, vec![4, 5], None),
        ] {
            let mut bad = good.clone();
            bad[page * 4096 + 130] ^= 1;
            let scanned = scan_file(&bad);
            let damaged: Vec<_> = damaged_at.map(|at| at..at + 4096).into_iter().collect();
            assert_eq!((sequences(&scanned), scanned.damaged), (found, damaged));
        }
    }

    #[test]
    fn a_damaged_header_page_costs_nothing() {
        let mut bytes = file(7, &[(7, 4, 100), (6, 3, 100)]);
        bytes[9] ^= 1;
        let scanned = scan_file(&bytes);
        assert!(scanned.header_is_damaged);
        assert_eq!(sequences(&scanned), vec![4]);
        assert_eq!(scan_file(&[0; 8192]), ScannedFile::default());
        assert_eq!(scan_file(&[]), ScannedFile::default());
    }

    #[test]
    fn an_empty_file_is_not_looked_into() {
        let mut bytes = file(7, &[(7, 4, 100)]);
        let header = JournalFileHeader {
            generation: 7,
            settled: 0..0,
            is_empty: true,
        };
        let page = header.encode();
        bytes[..page.len()].copy_from_slice(&page);
        assert_eq!(scan_file(&bytes), ScannedFile::default());
    }

    /// Ranges as `first-last`.
    fn ranges(text: &str) -> Vec<Range<u64>> {
        text.split_whitespace()
            .filter_map(|range| {
                let (first, last) = range.split_once('-')?;
                Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
            })
            .collect()
    }

    #[test]
    fn missing_blocks_count_unless_they_were_settled() {
        for (mut found, live, expected) in [
            (vec![3, 1, 2], "1-3", ""),
            (vec![1, 4], "1-4", "2-3"),
            (vec![1, 4], "1-1 4-4", ""),
            (vec![1, 9, 10], "1-1 8-10", "8-8"),
            (vec![4, 5], "1-6", "1-3 6-6"),
            // The file of 20 to 29 was renewed since.
            (vec![31], "20-29 31-31", ""),
            (vec![], "", ""),
        ] {
            let missing = missing_sequences(&mut found, &ranges(live), &ranges("20-29"));
            assert_eq!(missing, ranges(expected), "{found:?} {live}");
        }
    }
}
