//! The first page of a journal file: which life of the file its blocks belong to.
//!
//! Rewritten durably before the file is used again, when everything in it is settled. It fits a sector, so a crash leaves
//! the old header or the new one, and both are right then.

use std::ops::Range;

use corelane_format::checksum::crc32c;

use crate::bytes::{Reader, put_u32, put_u64};
use crate::disk::PAGE_BYTES;

const MAGIC: u32 = u32::from_le_bytes(*b"CLjf");
const VERSION: u32 = 1;
const COVERED_BYTES: usize = 4 + 4 + 8 + 8 + 8 + 4;

/// Where the first block stands.
pub(crate) const FIRST_BLOCK_POSITION: u64 = PAGE_BYTES as u64;

/// What a journal file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalFileHeader {
    /// Unique among all lives of all files of the ring; the low half is random, so that no record can imitate a block.
    pub(crate) generation: u64,
    /// The sequences of the blocks that the file held in its life before: all of them are settled.
    pub(crate) settled: Range<u64>,
    /// No block of this generation was ever written, or will be: there is nothing to look for.
    pub(crate) is_empty: bool,
}

impl JournalFileHeader {
    /// The header's bytes; the rest of the page is zero.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(COVERED_BYTES + 4);
        put_u32(&mut out, MAGIC);
        put_u32(&mut out, VERSION);
        put_u64(&mut out, self.generation);
        put_u64(&mut out, self.settled.start);
        put_u64(&mut out, self.settled.end);
        put_u32(&mut out, u32::from(self.is_empty));
        let checksum = crc32c(&out);
        put_u32(&mut out, checksum);
        out
    }

    /// Reads a header page; `None` if it is damaged or of another version.
    pub(crate) fn decode(page: &[u8]) -> Option<Self> {
        let mut reader = Reader(page);
        let magic = reader.u32()?;
        let version = reader.u32()?;
        let generation = reader.u64()?;
        let settled = reader.u64()?..reader.u64()?;
        let is_empty = reader.u32()?;
        let checksum = reader.u32()?;
        let is_sound = magic == MAGIC
            && version == VERSION
            && is_empty <= 1
            && checksum == crc32c(&page[..COVERED_BYTES]);
        is_sound.then_some(Self {
            generation,
            settled,
            is_empty: is_empty == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_bit() {
        for is_empty in [false, true] {
            let header = JournalFileHeader {
                generation: 0x0102_0304_0506_0708,
                settled: 7..12,
                is_empty,
            };
            let good = header.encode();
            assert_eq!(JournalFileHeader::decode(&good).as_ref(), Some(&header));
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(JournalFileHeader::decode(&bad), None, "bit {bit}");
            }
            for cut in 0..good.len() {
                assert_eq!(JournalFileHeader::decode(&good[..cut]), None);
            }
        }
        assert_eq!(JournalFileHeader::decode(&[0; PAGE_BYTES]), None);
    }
}
