//! What every record carries: who sent it, which number it has, when it was meant to go, and a checksum.
//!
//! Layout of a record's value, little-endian:
//!
//! | bytes  | field      | meaning                                                               |
//! |--------|------------|-----------------------------------------------------------------------|
//! | 0..4   | checksum   | CRC32C of the filler, then of bytes 4..32                             |
//! | 4..8   | run        | tells this run's records from whatever else is in the topic           |
//! | 8..12  | producer   | the generator's own number, not Kafka's producer id                   |
//! | 12..16 | partition  | where it was sent, so that a record in the wrong partition is noticed |
//! | 16..24 | sequence   | counts from 0 within (producer, partition), without gaps              |
//! | 24..32 | intended   | nanoseconds on the run's clock                                        |
//! | 32..   | filler     | incompressible, or text-like                                          |
//!
//! The checksum takes the filler first because a producer reuses its filler: the checksum up to there is known, and
//! a record costs only its 28 own bytes.

use corelane_format::checksum::{crc32c, crc32c_append};
use thiserror::Error;

use super::arrivals::Random;

/// The smallest record that can be verified.
pub const RECORD_SIZE_BYTES_MIN: usize = 32;

/// The largest record; a guard against a slip of the keyboard, far above what brokers take by default.
pub const RECORD_SIZE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A record size that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "records of {got} bytes cannot be verified: each carries its producer, sequence, send time and checksum in \
     {RECORD_SIZE_BYTES_MIN} bytes, so use {RECORD_SIZE_BYTES_MIN} to {RECORD_SIZE_BYTES_MAX}"
)]
pub struct RecordSizeError {
    /// The size asked for.
    pub got: usize,
}

/// Checks a record size.
pub fn check_record_size(size_bytes: usize) -> Result<(), RecordSizeError> {
    if (RECORD_SIZE_BYTES_MIN..=RECORD_SIZE_BYTES_MAX).contains(&size_bytes) {
        Ok(())
    } else {
        Err(RecordSizeError { got: size_bytes })
    }
}

/// What a record says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The run.
    pub run: u32,
    /// The producer.
    pub producer: u32,
    /// The partition it was sent to.
    pub partition: u32,
    /// Its number within (producer, partition).
    pub sequence: u64,
    /// When it was meant to go.
    pub intended_ns: u64,
}

/// Why a value is not a sound record of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StampError {
    /// Too short to be one of ours.
    #[error("a value of {got} bytes is shorter than a stamp")]
    TooShort {
        /// Its size.
        got: usize,
    },
    /// The bytes are not those that were sent.
    #[error("checksum {got:08x}, expected {expected:08x}")]
    Checksum {
        /// What the record carries.
        got: u32,
        /// What its bytes make.
        expected: u32,
    },
}

/// The checksum of the filler, which [`write()`] continues.
pub fn filler_checksum(filler: &[u8]) -> u32 {
    crc32c(filler)
}

/// Writes the stamp into the first 32 bytes of a value whose filler has the checksum `filler_checksum`.
#[inline]
pub fn write(value: &mut [u8; RECORD_SIZE_BYTES_MIN], stamp: &Stamp, filler_checksum: u32) {
    value[4..8].copy_from_slice(&stamp.run.to_le_bytes());
    value[8..12].copy_from_slice(&stamp.producer.to_le_bytes());
    value[12..16].copy_from_slice(&stamp.partition.to_le_bytes());
    value[16..24].copy_from_slice(&stamp.sequence.to_le_bytes());
    value[24..32].copy_from_slice(&stamp.intended_ns.to_le_bytes());
    let checksum = crc32c_append(filler_checksum, &value[4..]);
    value[0..4].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads a value and checks that it is whole.
#[inline]
pub fn read(value: &[u8]) -> Result<Stamp, StampError> {
    let Some((head, filler)) = value.split_first_chunk::<RECORD_SIZE_BYTES_MIN>() else {
        return Err(StampError::TooShort { got: value.len() });
    };
    let got = u32_at(head, 0);
    let expected = crc32c_append(crc32c(filler), &head[4..]);
    if got != expected {
        return Err(StampError::Checksum { got, expected });
    }
    Ok(Stamp {
        run: u32_at(head, 4),
        producer: u32_at(head, 8),
        partition: u32_at(head, 12),
        sequence: u64_at(head, 16),
        intended_ns: u64_at(head, 24),
    })
}

fn u32_at(head: &[u8; RECORD_SIZE_BYTES_MIN], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn u64_at(head: &[u8; RECORD_SIZE_BYTES_MIN], at: usize) -> u64 {
    u64::from(u32_at(head, at)) | u64::from(u32_at(head, at + 4)) << 32
}

/// What the filler is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FillerKind {
    /// Incompressible.
    Random,
    /// Words and numbers like those of logs and JSON, which usual codecs shrink to about a third.
    Compressible,
}

impl FillerKind {
    /// As the command line writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Compressible => "compressible",
        }
    }
}

/// Fills `bytes` with bytes that depend on `kind` and `seed` alone.
pub fn fill(bytes: &mut [u8], seed: u64, kind: FillerKind) {
    let mut random = Random::new(seed);
    match kind {
        FillerKind::Random => {
            for chunk in bytes.chunks_mut(8) {
                let word = random.next_u64().to_le_bytes();
                chunk.copy_from_slice(&word[..chunk.len()]);
            }
        }
        FillerKind::Compressible => fill_with_text(bytes, &mut random),
    }
}

/// The words of compressible filler.
const WORDS: [&[u8]; 16] = [
    br#"{"level":"#,
    br#""info","#,
    br#""warning","#,
    br#""message":"#,
    br#""request served","#,
    br#""connection closed","#,
    br#""host":"#,
    br#""europe-west-1","#,
    br#""user":"#,
    br#""latency_ms":"#,
    br#""status":200,"#,
    br#""path":"#,
    br#""/api/v1/orders","#,
    br#""/api/v1/items","#,
    br#""trace":"#,
    br#""retries":0}"#,
];

fn fill_with_text(bytes: &mut [u8], random: &mut Random) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let word = WORDS[random.below(WORDS.len())];
        // Every word is followed by four random digits, which no codec can guess.
        let number = random.below(10_000);
        let digits = [1_000, 100, 10, 1].map(|place| b'0' + (number / place % 10) as u8);
        for part in [word, &digits] {
            let count = part.len().min(rest.len());
            let (filled, left) = std::mem::take(&mut rest).split_at_mut(count);
            filled.copy_from_slice(&part[..count]);
            rest = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(size_bytes: usize, stamp: &Stamp) -> Vec<u8> {
        let mut value = vec![0; size_bytes];
        fill(&mut value[RECORD_SIZE_BYTES_MIN..], 7, FillerKind::Random);
        let checksum = filler_checksum(&value[RECORD_SIZE_BYTES_MIN..]);
        write(value.first_chunk_mut().unwrap(), stamp, checksum);
        value
    }

    proptest! {
        #[test]
        fn a_stamp_survives(size in 32usize..300, run: u32, producer: u32, partition: u32, sequence: u64, intended_ns: u64) {
            let stamp = Stamp { run, producer, partition, sequence, intended_ns };
            prop_assert_eq!(read(&record(size, &stamp)), Ok(stamp));
        }

        #[test]
        fn a_flipped_bit_is_noticed(size in 32usize..300, sequence: u64, at: prop::sample::Index, bit in 0u8..8) {
            let stamp = Stamp { run: 1, producer: 2, partition: 3, sequence, intended_ns: 4 };
            let mut value = record(size, &stamp);
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
            let noticed = matches!(read(&value), Err(StampError::Checksum { .. }));
            prop_assert!(noticed);
        }
    }

    #[test]
    fn a_truncated_record_is_noticed() {
        let value = record(
            100,
            &Stamp {
                run: 1,
                producer: 2,
                partition: 3,
                sequence: 4,
                intended_ns: 5,
            },
        );
        assert!(matches!(
            read(&value[..99]),
            Err(StampError::Checksum { .. })
        ));
        assert_eq!(read(&value[..31]), Err(StampError::TooShort { got: 31 }));
    }

    #[test]
    fn sizes_that_cannot_be_verified_are_refused() {
        assert_eq!(check_record_size(31), Err(RecordSizeError { got: 31 }));
        assert_eq!(check_record_size(32), Ok(()));
        assert!(check_record_size(usize::MAX).is_err());
        assert!(RecordSizeError { got: 8 }.to_string().contains("32 bytes"));
    }

    #[test]
    fn filler_is_not_compressible() {
        let mut filler = vec![0; 4096];
        fill(&mut filler, 1, FillerKind::Random);
        let mut counts = [0u32; 256];
        for byte in &filler {
            counts[usize::from(*byte)] += 1;
        }
        assert!(
            counts.iter().all(|count| *count < 64),
            "a byte value dominates"
        );
        let mut other = vec![0; 4096];
        fill(&mut other, 2, FillerKind::Random);
        assert_ne!(filler, other);
    }

    #[test]
    fn compressible_filler_shrinks_to_about_a_third_and_no_further() {
        use corelane_format::kafka::{Compression, compress};
        let mut filler = vec![0; 65_536];
        fill(&mut filler, 1, FillerKind::Compressible);
        let mut packed = Vec::new();
        compress(Compression::Lz4, &filler, &mut packed).unwrap();
        let ratio = packed.len() as f64 / filler.len() as f64;
        assert!((0.15..0.6).contains(&ratio), "{ratio}");
    }
}
