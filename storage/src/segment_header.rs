//! The first page of a segment file: who the segment is.
//!
//! Written and flushed before the segment gets its final name, so a named segment without a valid header page is
//! corruption and never a torn creation.

use corelane_format::checksum::crc32c;
use corelane_format::{LogId, Offset};

use crate::bytes::{Reader, put_i64, put_u32, put_u64};
use crate::disk::PAGE_BYTES;

/// `CLsg` in the file.
const MAGIC: u32 = u32::from_le_bytes(*b"CLsg");
const VERSION: u32 = 1;
const ENCODED_BYTES: usize = 4 + 4 + 8 + 8 + 8 + 4;

/// Where the first commit block stands.
pub const FIRST_BLOCK_POSITION: u64 = PAGE_BYTES as u64;

/// Who a segment is. Its blocks carry the same log id and generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub log_id: LogId,
    /// The unique number of this incarnation among all segments this log ever had.
    pub generation: u64,
    /// The offset of its first record.
    pub base_offset: Offset,
}

/// Why a page is no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentHeaderError {
    /// Too few bytes.
    #[error("a segment header has {ENCODED_BYTES} bytes, got {got}")]
    TooShort {
        /// Bytes at hand.
        got: usize,
    },
    /// Something else.
    #[error("segment magic is {got:#010x}, expected {MAGIC:#010x}")]
    Magic {
        /// The number found.
        got: u32,
    },
    /// Written by another version.
    #[error("segment version is {got}, expected {VERSION}")]
    Version {
        /// The version found.
        got: u32,
    },
    /// Damaged.
    #[error("segment header carries checksum {got:#010x}, its bytes have {expected:#010x}")]
    Checksum {
        /// The checksum found.
        got: u32,
        /// The checksum of the bytes.
        expected: u32,
    },
}

impl SegmentHeader {
    /// The header's bytes; the rest of the page is zero.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENCODED_BYTES);
        put_u32(&mut out, MAGIC);
        put_u32(&mut out, VERSION);
        put_u64(&mut out, self.log_id.get());
        put_u64(&mut out, self.generation);
        put_i64(&mut out, self.base_offset.get());
        let checksum = crc32c(&out);
        put_u32(&mut out, checksum);
        out
    }

    /// Reads a header page.
    pub fn decode(page: &[u8]) -> Result<Self, SegmentHeaderError> {
        let too_short = SegmentHeaderError::TooShort { got: page.len() };
        let mut reader = Reader(page);
        let magic = reader.u32().ok_or(too_short)?;
        let version = reader.u32().ok_or(too_short)?;
        let log_id = reader.u64().ok_or(too_short)?;
        let generation = reader.u64().ok_or(too_short)?;
        let base_offset = reader.i64().ok_or(too_short)?;
        let got = reader.u32().ok_or(too_short)?;
        if magic != MAGIC {
            return Err(SegmentHeaderError::Magic { got: magic });
        }
        let expected = crc32c(&page[..ENCODED_BYTES - 4]);
        if got != expected {
            return Err(SegmentHeaderError::Checksum { got, expected });
        }
        if version != VERSION {
            return Err(SegmentHeaderError::Version { got: version });
        }
        Ok(Self {
            log_id: LogId::new(log_id),
            generation,
            base_offset: Offset::new(base_offset),
        })
    }

    /// What the `previous_checksum` of the segment's first block is: it ties the chain to this very segment. The header's
    /// own checksum is left out: bytes that end in their CRC all have the same CRC.
    pub fn chain_seed(&self) -> u32 {
        crc32c(&self.encode()[..ENCODED_BYTES - 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log_id: LogId::new(7),
            generation: 3,
            base_offset: Offset::new(1234),
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(SegmentHeader::decode(&header().encode()), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = header().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_segment_begins_its_own_chain() {
        let mut next = header();
        next.generation += 1;
        let mut other_log = header();
        other_log.log_id = LogId::new(8);
        assert_ne!(header().chain_seed(), next.chain_seed());
        assert_ne!(header().chain_seed(), other_log.chain_seed());
    }

    #[test]
    fn zeros_are_no_header() {
        assert_eq!(
            SegmentHeader::decode(&[0; 4096]),
            Err(SegmentHeaderError::Magic { got: 0 })
        );
    }
}
