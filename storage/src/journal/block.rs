//! The bytes of a journal block: a header, what the ring holds, then entries. Pure.
//!
//! What the ring holds are the ranges of sequences in its files that may not be settled: a block outside of them that cannot be
//! found is no loss.
//!
//! An entry is a run of one log's batches, as they will stand in its segment: offsets and epochs are stamped. Blocks start at
//! page boundaries. One checksum covers the body, another one the header, so that a rotten length steers nothing.

use std::ops::Range;

use corelane_format::checksum::crc32c;
use corelane_format::{LogId, Offset};

use crate::bytes::Reader;

const MAGIC: u32 = u32::from_le_bytes(*b"CLjb");
const VERSION: u32 = 1;
const COVERED_BYTES: usize = 4 + 4 + 8 + 8 + 4 + 4 + 4 + 4;
/// A range of sequences.
pub(crate) const LIVE_BYTES: usize = 16;
/// A block's header.
pub(crate) const BLOCK_HEADER_BYTES: usize = 64;
/// An entry's header.
pub(crate) const ENTRY_HEADER_BYTES: usize = 32;

/// What a block says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalBlockHeader {
    /// The file's.
    pub(crate) generation: u64,
    /// One more than the block before, over all files of the ring.
    pub(crate) sequence: u64,
    /// Ranges of sequences that may not be settled.
    pub(crate) live_count: u32,
    pub(crate) body_length: u32,
    pub(crate) entry_count: u32,
    pub(crate) body_checksum: u32,
}

impl JournalBlockHeader {
    fn encode(&self, out: &mut [u8; BLOCK_HEADER_BYTES]) {
        out.fill(0);
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..8].copy_from_slice(&VERSION.to_le_bytes());
        out[8..16].copy_from_slice(&self.generation.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..28].copy_from_slice(&self.live_count.to_le_bytes());
        out[28..32].copy_from_slice(&self.body_length.to_le_bytes());
        out[32..36].copy_from_slice(&self.entry_count.to_le_bytes());
        out[36..40].copy_from_slice(&self.body_checksum.to_le_bytes());
        let checksum = crc32c(&out[..COVERED_BYTES]);
        out[COVERED_BYTES..COVERED_BYTES + 4].copy_from_slice(&checksum.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let covered = bytes.get(..COVERED_BYTES)?;
        let mut reader = Reader(bytes);
        let is_known = reader.u32()? == MAGIC && reader.u32()? == VERSION;
        let header = Self {
            generation: reader.u64()?,
            sequence: reader.u64()?,
            live_count: reader.u32()?,
            body_length: reader.u32()?,
            entry_count: reader.u32()?,
            body_checksum: reader.u32()?,
        };
        (is_known && reader.u32()? == crc32c(covered)).then_some(header)
    }
}

/// Whose batches an entry holds, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    pub(crate) log_id: LogId,
    /// How many truncations the log had had: an entry from before a truncation is void.
    pub(crate) history: u64,
    pub(crate) first_offset: Offset,
    /// Exclusive.
    pub(crate) end_offset: Offset,
}

/// Fills a block. The buffer must be large enough: [`BLOCK_HEADER_BYTES`], [`LIVE_BYTES`] for each range, and for each entry
/// [`ENTRY_HEADER_BYTES`] and its batches.
#[derive(Debug)]
pub(crate) struct BlockBuilder<'a> {
    bytes: &'a mut [u8],
    used: usize,
    live_count: u32,
    entry_count: u32,
}

impl<'a> BlockBuilder<'a> {
    /// `live` are the ranges of sequences that may not be settled, this block's among them.
    pub(crate) fn new(bytes: &'a mut [u8], live: impl Iterator<Item = Range<u64>>) -> Self {
        let mut used = BLOCK_HEADER_BYTES;
        let mut live_count = 0;
        for range in live {
            bytes[used..used + 8].copy_from_slice(&range.start.to_le_bytes());
            bytes[used + 8..used + LIVE_BYTES].copy_from_slice(&range.end.to_le_bytes());
            used += LIVE_BYTES;
            live_count += 1;
        }
        Self {
            bytes,
            used,
            live_count,
            entry_count: 0,
        }
    }

    /// Copies one log's run of batches.
    pub(crate) fn push(&mut self, entry: &EntryHeader, batches: &[u8]) {
        let delta = entry.end_offset.minus(entry.first_offset) - 1;
        let header = &mut self.bytes[self.used..self.used + ENTRY_HEADER_BYTES];
        header[0..8].copy_from_slice(&entry.log_id.get().to_le_bytes());
        header[8..16].copy_from_slice(&entry.history.to_le_bytes());
        header[16..24].copy_from_slice(&entry.first_offset.get().to_le_bytes());
        header[24..28].copy_from_slice(&u32::try_from(delta).unwrap_or(u32::MAX).to_le_bytes());
        header[28..32].copy_from_slice(&(batches.len() as u32).to_le_bytes());
        self.used += ENTRY_HEADER_BYTES;
        self.bytes[self.used..self.used + batches.len()].copy_from_slice(batches);
        self.used += batches.len();
        self.entry_count += 1;
    }

    /// Writes the header, and zeros to the end of the buffer.
    pub(crate) fn finish(self, generation: u64, sequence: u64) {
        let body = &self.bytes[BLOCK_HEADER_BYTES..self.used];
        let header = JournalBlockHeader {
            generation,
            sequence,
            live_count: self.live_count,
            body_length: body.len() as u32,
            entry_count: self.entry_count,
            body_checksum: crc32c(body),
        };
        self.bytes[self.used..].fill(0);
        if let Some(slot) = self.bytes.first_chunk_mut() {
            header.encode(slot);
        }
    }
}

/// An entry of a sound block; `batches` are positions in what was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) header: EntryHeader,
    pub(crate) batches: Range<usize>,
}

/// A sound block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) header: JournalBlockHeader,
    pub(crate) live: Vec<Range<u64>>,
    pub(crate) entries: Vec<Entry>,
}

/// The block at the start of `bytes`, if a sound one stands there; positions count from `bytes`.
pub(crate) fn parse_block(bytes: &[u8]) -> Option<Block> {
    let header = JournalBlockHeader::decode(bytes)?;
    let end = BLOCK_HEADER_BYTES.checked_add(header.body_length as usize)?;
    let body = bytes.get(BLOCK_HEADER_BYTES..end)?;
    if crc32c(body) != header.body_checksum {
        return None;
    }
    // What the checksum covers we wrote ourselves; still, nothing is believed that does not fit.
    if header.entry_count as usize > body.len() / ENTRY_HEADER_BYTES
        || header.live_count as usize > body.len() / LIVE_BYTES
    {
        return None;
    }
    let mut at = BLOCK_HEADER_BYTES;
    let mut live = Vec::with_capacity(header.live_count as usize);
    for _ in 0..header.live_count {
        let mut reader = Reader(bytes.get(at..end)?);
        live.push(reader.u64()?..reader.u64()?);
        at += LIVE_BYTES;
    }
    let mut entries = Vec::with_capacity(header.entry_count as usize);
    for _ in 0..header.entry_count {
        let mut reader = Reader(bytes.get(at..end)?);
        let log_id = LogId::new(reader.u64()?);
        let history = reader.u64()?;
        let first_offset = reader.i64()?;
        let delta = reader.u32()?;
        let length = reader.u32()? as usize;
        let end_offset = first_offset.checked_add(i64::from(delta) + 1)?;
        let start = at + ENTRY_HEADER_BYTES;
        let stop = start.checked_add(length)?;
        if stop > end || first_offset < 0 {
            return None;
        }
        entries.push(Entry {
            header: EntryHeader {
                log_id,
                history,
                first_offset: Offset::new(first_offset),
                end_offset: Offset::new(end_offset),
            },
            batches: start..stop,
        });
        at = stop;
    }
    (at == end).then_some(Block {
        header,
        live,
        entries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(log_id: u64, first: i64, end: i64) -> EntryHeader {
        EntryHeader {
            log_id: LogId::new(log_id),
            history: 2,
            first_offset: Offset::new(first),
            end_offset: Offset::new(end),
        }
    }

    fn block() -> Vec<u8> {
        let mut bytes = vec![0xA5; 4096];
        let mut builder = BlockBuilder::new(&mut bytes, [1..3, 5..6].into_iter());
        builder.push(&entry(1, 10, 12), b"two batches");
        builder.push(&entry(9, 0, 1), b"one");
        builder.finish(77, 5);
        bytes
    }

    #[test]
    fn round_trip() {
        let bytes = block();
        let Block {
            header,
            live,
            entries,
        } = parse_block(&bytes).expect("a sound block");
        assert_eq!((header.generation, header.sequence), (77, 5));
        assert_eq!(live, vec![1..3, 5..6]);
        let got: Vec<_> = entries
            .iter()
            .map(|entry| (entry.header, &bytes[entry.batches.clone()]))
            .collect();
        assert_eq!(
            got,
            vec![
                (entry(1, 10, 12), &b"two batches"[..]),
                (entry(9, 0, 1), &b"one"[..])
            ]
        );
        let end = entries[1].batches.end;
        assert!(
            bytes[end..].iter().all(|byte| *byte == 0),
            "padding is zero"
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = block();
        let block = parse_block(&good).expect("a sound block");
        let end = block.entries[1].batches.end;
        for bit in 0..end * 8 {
            // Bytes 44 to 63 mean nothing.
            if (44 * 8..64 * 8).contains(&bit) {
                continue;
            }
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_block(&bad), None, "bit {bit}");
        }
        for cut in 0..end {
            assert_eq!(parse_block(&good[..cut]), None, "cut at {cut}");
        }
        assert_eq!(parse_block(&[0; 4096]), None);
    }
}
