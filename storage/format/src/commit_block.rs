//! The header of a commit block: what stands in front of the batches that one flush made durable.
//!
//! It is an rkyv archive of exactly 64 bytes, little-endian, and directly precedes `body_length` bytes of batches.
//!
//! # Invariants
//! - The header has a checksum of its own, so a rotten length cannot steer a scan of a file.
//! - `log_id` and `generation` tell a block from one that an earlier life of a recycled file left behind; the reader
//!   compares them.
//! - `previous_checksum` chains a log's blocks, and the highest `flushed_offset` of any valid block divides a torn tail,
//!   which may be cut off, from corruption, which may not.
//! - Zeros never decode: the magic is not zero.

use rkyv::ser::writer::Buffer;
use rkyv::{Archive, Serialize};

use crate::checksum::{crc32c, crc32c_append};

/// Size of an encoded header.
pub const COMMIT_BLOCK_HEADER_BYTES: usize = 64;

/// `CLcb` in the file.
pub const COMMIT_BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"CLcb");

/// The version that this code writes, and the only one that it reads.
pub const COMMIT_BLOCK_VERSION: u16 = 1;

/// The header of a commit block.
///
/// Fill `magic` and `version` from the constants, or start from [`CommitBlockHeader::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub struct CommitBlockHeader {
    /// [`COMMIT_BLOCK_MAGIC`].
    pub magic: u32,
    /// [`COMMIT_BLOCK_VERSION`].
    pub version: u16,
    /// No flags are defined yet; unknown ones are kept.
    pub flags: u16,
    /// The log that the block belongs to.
    pub log_id: u64,
    /// The unique number of the segment's (or journal file's) incarnation.
    pub generation: u64,
    /// Offset of the first record of the block.
    pub first_offset: i64,
    /// Exclusive: every offset of this log below it was flushed when the block was written.
    pub flushed_offset: i64,
    /// Offset of the last record, inclusive, minus `first_offset`.
    pub last_offset_delta: u32,
    /// Bytes of batches that follow the header, padding not counted.
    pub body_length: u32,
    /// `body_checksum` of the block before this one in the same log, or 0 for the first.
    pub previous_checksum: u32,
    /// CRC32C of the body.
    pub body_checksum: u32,
    /// CRC32C of the header without this field. [`CommitBlockHeader::encode`] computes it.
    pub header_checksum: u32,
    /// Zero.
    pub reserved: u32,
}

const HEADER_CHECKSUM_AT: usize = std::mem::offset_of!(ArchivedCommitBlockHeader, header_checksum);
const RESERVED_AT: usize = std::mem::offset_of!(ArchivedCommitBlockHeader, reserved);

const _: () = {
    assert!(size_of::<ArchivedCommitBlockHeader>() == COMMIT_BLOCK_HEADER_BYTES);
    assert!(align_of::<ArchivedCommitBlockHeader>() == 8);
    assert!(std::mem::offset_of!(ArchivedCommitBlockHeader, magic) == 0);
    assert!(std::mem::offset_of!(ArchivedCommitBlockHeader, version) == 4);
    assert!(std::mem::offset_of!(ArchivedCommitBlockHeader, log_id) == 8);
    assert!(std::mem::offset_of!(ArchivedCommitBlockHeader, generation) == 16);
    assert!(std::mem::offset_of!(ArchivedCommitBlockHeader, first_offset) == 24);
    assert!(std::mem::offset_of!(ArchivedCommitBlockHeader, flushed_offset) == 32);
    assert!(std::mem::offset_of!(ArchivedCommitBlockHeader, last_offset_delta) == 40);
    assert!(std::mem::offset_of!(ArchivedCommitBlockHeader, body_length) == 44);
    assert!(HEADER_CHECKSUM_AT == 56 && RESERVED_AT == 60);
};

/// Why bytes are not a commit block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitBlockError {
    /// Fewer than [`COMMIT_BLOCK_HEADER_BYTES`].
    #[error("a commit block header has {COMMIT_BLOCK_HEADER_BYTES} bytes, got {got}")]
    TooShort {
        /// Bytes at hand.
        got: usize,
    },
    /// Something else, such as space that was never written.
    #[error("commit block magic is {got:#010x}, expected {COMMIT_BLOCK_MAGIC:#010x}")]
    Magic {
        /// The number found.
        got: u32,
    },
    /// Written by another version of this format.
    #[error("commit block version is {got}, expected {COMMIT_BLOCK_VERSION}")]
    Version {
        /// The version found.
        got: u16,
    },
    /// The header is damaged.
    #[error("commit block header carries checksum {got:#010x}, its bytes have {expected:#010x}")]
    HeaderChecksum {
        /// The checksum found.
        got: u32,
        /// The checksum of the bytes.
        expected: u32,
    },
    /// The body is damaged.
    #[error("commit block body has checksum {got:#010x}, its header says {expected:#010x}")]
    BodyChecksum {
        /// The checksum of the bytes.
        got: u32,
        /// The checksum in the header.
        expected: u32,
    },
    /// The body is not as long as the header says.
    #[error("commit block body has {got} bytes, its header says {expected}")]
    BodyLength {
        /// Bytes at hand.
        got: usize,
        /// Bytes that the header declares.
        expected: u32,
    },
    /// The archive is not readable.
    #[error("commit block header is no archive of its type")]
    Archive,
}

/// A header's bytes, aligned as the archive demands.
#[repr(C, align(8))]
struct Aligned([u8; COMMIT_BLOCK_HEADER_BYTES]);

impl CommitBlockHeader {
    /// A header with magic and version filled in and everything else zero.
    pub const fn new() -> Self {
        Self {
            magic: COMMIT_BLOCK_MAGIC,
            version: COMMIT_BLOCK_VERSION,
            flags: 0,
            log_id: 0,
            generation: 0,
            first_offset: 0,
            flushed_offset: 0,
            last_offset_delta: 0,
            body_length: 0,
            previous_checksum: 0,
            body_checksum: 0,
            header_checksum: 0,
            reserved: 0,
        }
    }

    /// Offset of the last record, inclusive.
    #[inline]
    pub const fn last_offset(&self) -> i64 {
        self.first_offset
            .saturating_add(self.last_offset_delta as i64)
    }

    /// Writes the header with its checksum, which is computed here: the field's value does not matter.
    pub fn encode(&self, out: &mut [u8; COMMIT_BLOCK_HEADER_BYTES]) {
        let mut aligned = Aligned([0; COMMIT_BLOCK_HEADER_BYTES]);
        // A flat archive of a known size into a buffer of that size: the only way to fail is a buffer that is too small.
        rkyv::api::serialize_using::<_, rkyv::rancor::Panic>(
            self,
            &mut Buffer::from(&mut aligned.0),
        )
        .unwrap_or_else(|error| match error {});
        let checksum = header_checksum(&aligned.0);
        aligned.0[HEADER_CHECKSUM_AT..RESERVED_AT].copy_from_slice(&checksum.to_le_bytes());
        out.copy_from_slice(&aligned.0);
    }

    /// Reads the header at the start of `bytes`, which may be longer and need not be aligned.
    ///
    /// Checks magic, version and the header's own checksum. That the block belongs to this log and generation, and that
    /// its body is whole, is the caller's to check: see [`CommitBlockHeader::verify_body`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CommitBlockError> {
        let Some(raw) = bytes.first_chunk::<COMMIT_BLOCK_HEADER_BYTES>() else {
            return Err(CommitBlockError::TooShort { got: bytes.len() });
        };
        let aligned = Aligned(*raw);
        let archived = rkyv::access::<ArchivedCommitBlockHeader, rkyv::rancor::Failure>(&aligned.0)
            .map_err(|_| CommitBlockError::Archive)?;
        if archived.magic != COMMIT_BLOCK_MAGIC {
            return Err(CommitBlockError::Magic {
                got: archived.magic.to_native(),
            });
        }
        // The checksum before the version: a rotten version is damage and not a foreign file.
        let expected = header_checksum(raw);
        if archived.header_checksum != expected {
            return Err(CommitBlockError::HeaderChecksum {
                got: archived.header_checksum.to_native(),
                expected,
            });
        }
        if archived.version != COMMIT_BLOCK_VERSION {
            return Err(CommitBlockError::Version {
                got: archived.version.to_native(),
            });
        }
        Ok(Self {
            magic: archived.magic.to_native(),
            version: archived.version.to_native(),
            flags: archived.flags.to_native(),
            log_id: archived.log_id.to_native(),
            generation: archived.generation.to_native(),
            first_offset: archived.first_offset.to_native(),
            flushed_offset: archived.flushed_offset.to_native(),
            last_offset_delta: archived.last_offset_delta.to_native(),
            body_length: archived.body_length.to_native(),
            previous_checksum: archived.previous_checksum.to_native(),
            body_checksum: archived.body_checksum.to_native(),
            header_checksum: archived.header_checksum.to_native(),
            reserved: archived.reserved.to_native(),
        })
    }

    /// Checks that `body` is the body that this header was written for.
    pub fn verify_body(&self, body: &[u8]) -> Result<(), CommitBlockError> {
        if body.len() != self.body_length as usize {
            return Err(CommitBlockError::BodyLength {
                got: body.len(),
                expected: self.body_length,
            });
        }
        let got = crc32c(body);
        if got != self.body_checksum {
            return Err(CommitBlockError::BodyChecksum {
                got,
                expected: self.body_checksum,
            });
        }
        Ok(())
    }
}

impl Default for CommitBlockHeader {
    fn default() -> Self {
        Self::new()
    }
}

/// Hashes everything but the field that holds the result.
fn header_checksum(bytes: &[u8; COMMIT_BLOCK_HEADER_BYTES]) -> u32 {
    crc32c_append(crc32c(&bytes[..HEADER_CHECKSUM_AT]), &bytes[RESERVED_AT..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_header() -> impl Strategy<Value = CommitBlockHeader> {
        any::<(u16, u64, u64, i64, i64, u32, u32, u32, u32)>().prop_map(|f| CommitBlockHeader {
            flags: f.0,
            log_id: f.1,
            generation: f.2,
            first_offset: f.3,
            flushed_offset: f.4,
            last_offset_delta: f.5,
            body_length: f.6,
            previous_checksum: f.7,
            body_checksum: f.8,
            ..CommitBlockHeader::new()
        })
    }

    fn encoded(header: &CommitBlockHeader) -> [u8; COMMIT_BLOCK_HEADER_BYTES] {
        let mut bytes = [0xEE; COMMIT_BLOCK_HEADER_BYTES];
        header.encode(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn headers_survive_their_bytes_at_any_alignment(header in any_header(), shift in 0_usize..9) {
            let mut bytes = vec![0xCC; shift];
            bytes.extend_from_slice(&encoded(&header));
            bytes.push(0xCC);
            let decoded = CommitBlockHeader::decode(&bytes[shift..]).unwrap();
            prop_assert_eq!(CommitBlockHeader { header_checksum: 0, ..decoded }, header);
        }

        #[test]
        fn every_flipped_bit_is_found(header in any_header(), bit in 0_usize..512) {
            let mut bytes = encoded(&header);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(CommitBlockHeader::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            prop_assert!(CommitBlockHeader::decode(&bytes).is_err());
        }
    }

    #[test]
    fn zeros_never_decode() {
        assert_eq!(
            CommitBlockHeader::decode(&[0; 4096]),
            Err(CommitBlockError::Magic { got: 0 })
        );
        assert_eq!(
            CommitBlockHeader::decode(&[0; 63]),
            Err(CommitBlockError::TooShort { got: 63 })
        );
    }

    #[test]
    fn a_sound_header_of_another_version_is_told_apart_from_damage() {
        let header = CommitBlockHeader {
            version: 2,
            ..CommitBlockHeader::new()
        };
        assert_eq!(
            CommitBlockHeader::decode(&encoded(&header)),
            Err(CommitBlockError::Version { got: 2 })
        );
    }

    /// The bytes are what files hold: this must never need to change without a new version.
    #[test]
    fn layout_is_fixed() {
        let header = CommitBlockHeader {
            flags: 0x0102,
            log_id: 3,
            generation: 4,
            first_offset: 5,
            flushed_offset: 6,
            last_offset_delta: 7,
            body_length: 8,
            previous_checksum: 9,
            body_checksum: 10,
            ..CommitBlockHeader::new()
        };
        let mut expected = Vec::new();
        expected.extend_from_slice(b"CLcb\x01\x00\x02\x01");
        for wide in [3_u64, 4, 5, 6] {
            expected.extend_from_slice(&wide.to_le_bytes());
        }
        for narrow in [7_u32, 8, 9, 10] {
            expected.extend_from_slice(&narrow.to_le_bytes());
        }
        let mut covered = expected.clone();
        covered.extend_from_slice(&[0; 4]);
        expected.extend_from_slice(&crc32c(&covered).to_le_bytes());
        expected.extend_from_slice(&[0; 4]);
        assert_eq!(encoded(&header).as_slice(), expected);
    }

    #[test]
    fn bodies_are_checked() {
        let body = b"some batches";
        let header = CommitBlockHeader {
            body_length: body.len() as u32,
            body_checksum: crc32c(body),
            ..CommitBlockHeader::new()
        };
        assert_eq!(header.verify_body(body), Ok(()));
        assert!(matches!(
            header.verify_body(b"some batcheS"),
            Err(CommitBlockError::BodyChecksum { .. })
        ));
        assert_eq!(
            header.verify_body(b"some"),
            Err(CommitBlockError::BodyLength {
                got: 4,
                expected: 12
            })
        );
    }
}
