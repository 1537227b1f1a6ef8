//! The first page of a segment file: who the segment is.
//!
//! Written and flushed before the segment gets its final name, so a named segment without a valid header page is
//! corruption and never a torn creation. The header stands in it twice, far enough apart that one bad sector leaves a copy.

use corelane_format::checksum::crc32c;
use corelane_format::{LogId, Offset};

use crate::bytes::{Reader, put_i64, put_u32, put_u64};
use crate::disk::PAGE_BYTES;

/// `CLsg` in the file.
const MAGIC: u32 = u32::from_le_bytes(*b"CLsg");
const VERSION: u32 = 2;
/// What ties the chain of blocks to the segment.
const IDENTITY_BYTES: usize = 4 + 4 + 8 + 8 + 8;
const FIELD_BYTES: usize = IDENTITY_BYTES + 8;
const ENCODED_BYTES: usize = FIELD_BYTES + 4;
/// Where the second copy stands.
const COPY_POSITION: usize = PAGE_BYTES / 2;
/// A header of version 1 had no history.
const FIELD_BYTES_OF_VERSION_1: usize = IDENTITY_BYTES;

/// Where the first commit block stands.
pub const FIRST_BLOCK_POSITION: u64 = PAGE_BYTES as u64;

/// Who a segment is. Its blocks carry the same log id and generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub log_id: LogId,
    /// The unique number of this incarnation among all segments this log ever had: a counter in the high 32 bits, a
    /// random number in the low 32, so that no producer can forge a block of this segment.
    pub generation: u64,
    /// The offset of its first record.
    pub base_offset: Offset,
    /// How many truncations the log had had when the segment was begun.
    pub history: u64,
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
    #[error(
        "segment version is {got}, this build reads version {VERSION}; use the build that wrote it"
    )]
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
    /// The header page up to the end of its second copy; the rest of the page is zero.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.fields();
        let checksum = crc32c(&out);
        put_u32(&mut out, checksum);
        let copy = out.clone();
        out.resize(COPY_POSITION, 0);
        out.extend_from_slice(&copy);
        out
    }

    fn fields(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(COPY_POSITION + ENCODED_BYTES);
        put_u32(&mut out, MAGIC);
        put_u32(&mut out, VERSION);
        put_u64(&mut out, self.log_id.get());
        put_u64(&mut out, self.generation);
        put_i64(&mut out, self.base_offset.get());
        put_u64(&mut out, self.history);
        out
    }

    /// Reads a header page by the first copy that is sound. The error is the first copy's, unless the second one is sound
    /// and of another version.
    pub fn decode(page: &[u8]) -> Result<Self, SegmentHeaderError> {
        let first = Self::decode_copy(page);
        let Err(SegmentHeaderError::Magic { .. } | SegmentHeaderError::Checksum { .. }) = first
        else {
            return first;
        };
        match Self::decode_copy(page.get(COPY_POSITION..).unwrap_or(&[])) {
            second @ (Ok(_) | Err(SegmentHeaderError::Version { .. })) => second,
            Err(_) => first,
        }
    }

    fn decode_copy(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let too_short = SegmentHeaderError::TooShort { got: bytes.len() };
        let mut reader = Reader(bytes);
        let magic = reader.u32().ok_or(too_short)?;
        let version = reader.u32().ok_or(too_short)?;
        let log_id = reader.u64().ok_or(too_short)?;
        let generation = reader.u64().ok_or(too_short)?;
        let base_offset = reader.i64().ok_or(too_short)?;
        let history = reader.u64().ok_or(too_short)?;
        let got = reader.u32().ok_or(too_short)?;
        if magic != MAGIC {
            return Err(SegmentHeaderError::Magic { got: magic });
        }
        let expected = crc32c(&bytes[..FIELD_BYTES]);
        if got != expected {
            // Only with a checksum that fits is another version more than a flipped bit.
            let mut old = Reader(&bytes[FIELD_BYTES_OF_VERSION_1..]);
            return Err(
                if old.u32() == Some(crc32c(&bytes[..FIELD_BYTES_OF_VERSION_1])) {
                    SegmentHeaderError::Version { got: version }
                } else {
                    SegmentHeaderError::Checksum { got, expected }
                },
            );
        }
        if version != VERSION {
            return Err(SegmentHeaderError::Version { got: version });
        }
        Ok(Self {
            log_id: LogId::new(log_id),
            generation,
            base_offset: Offset::new(base_offset),
            history,
        })
    }

    /// What the `previous_checksum` of the segment's first block is: it ties the chain to this very segment. The header's
    /// own checksum is left out: bytes that end in their CRC all have the same CRC.
    pub fn chain_seed(&self) -> u32 {
        crc32c(&self.fields()[..IDENTITY_BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log_id: LogId::new(7),
            generation: 3 << 32 | 5,
            base_offset: Offset::new(1234),
            history: 2,
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(SegmentHeader::decode(&header().encode()), Ok(header()));
    }

    /// The bytes are what files hold: this must never need to change without a new version.
    #[test]
    fn layout_is_fixed() {
        let mut copy = b"CLsg\x02\x00\x00\x00".to_vec();
        for field in [7_u64, 3 << 32 | 5, 1234, 2] {
            copy.extend_from_slice(&field.to_le_bytes());
        }
        assert_eq!(header().chain_seed(), crc32c(&copy[..32]));
        copy.extend_from_slice(&crc32c(&copy).to_le_bytes());
        let mut page = vec![0; 2048];
        page[..copy.len()].copy_from_slice(&copy);
        page.extend_from_slice(&copy);
        assert_eq!(header().encode(), page);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = header().encode();
        for bit in 0..ENCODED_BYTES * 8 {
            let mut bad = good[..ENCODED_BYTES].to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn either_copy_is_enough() {
        for copy in [0, COPY_POSITION] {
            for bit in 0..ENCODED_BYTES * 8 {
                let mut bad = header().encode();
                bad[copy + bit / 8] ^= 1 << (bit % 8);
                assert_eq!(SegmentHeader::decode(&bad), Ok(header()), "bit {bit}");
            }
            let mut torn = header().encode();
            torn[copy..copy + ENCODED_BYTES].fill(0);
            assert_eq!(SegmentHeader::decode(&torn), Ok(header()));
        }
    }

    #[test]
    fn other_versions_are_told_apart_from_damage() {
        let mut first = b"CLsg\x01\x00\x00\x00".to_vec();
        first.extend_from_slice(&[7; 24]);
        first.extend_from_slice(&crc32c(&first).to_le_bytes());
        first.resize(PAGE_BYTES, 0);
        assert_eq!(
            SegmentHeader::decode(&first),
            Err(SegmentHeaderError::Version { got: 1 })
        );
        let mut later = header().encode();
        later[4] = 3;
        assert_eq!(
            SegmentHeader::decode(&later),
            Ok(header()),
            "a flipped version in one copy is damage"
        );
        let mut later = header().fields();
        later[4] = 3;
        later.extend_from_slice(&crc32c(&later).to_le_bytes());
        assert_eq!(
            SegmentHeader::decode(&later),
            Err(SegmentHeaderError::Version { got: 3 })
        );
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
