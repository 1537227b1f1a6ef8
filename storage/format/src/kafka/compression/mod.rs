//! The five codecs of a records section, with a ceiling on what decompression may take.
//!
//! Compressed bytes come from peers, and some are made to explode. So:
//! - output never exceeds [`DecompressLimits`], whatever the bytes claim;
//! - where a format declares its size, it is checked against the limit, and against what the format can at best achieve,
//!   before memory is taken;
//! - where it does not (gzip), memory grows with the output, up to the limit.
//!
//! The checksums inside of LZ4 frames are not verified: the batch's CRC32C has already covered those bytes.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::borrow::Cow;

use super::attributes::Compression;

/// What a decompression may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecompressLimits {
    /// Largest size of the result.
    pub size_bytes_max: usize,
    /// Largest size of the result as a multiple of the compressed size. Results up to [`RATIO_FREE_BYTES`] are exempt:
    /// small batches of equal records compress at nearly any ratio, and cost little.
    pub ratio_max: usize,
}

/// Results up to this size are not held to a ratio.
pub const RATIO_FREE_BYTES: usize = 1 << 20;

impl Default for DecompressLimits {
    fn default() -> Self {
        Self {
            size_bytes_max: 64 << 20,
            ratio_max: 4096,
        }
    }
}

impl DecompressLimits {
    /// The largest result allowed for this many compressed bytes.
    pub fn limit_bytes(&self, compressed_bytes: usize) -> usize {
        let by_ratio = compressed_bytes
            .saturating_mul(self.ratio_max)
            .max(RATIO_FREE_BYTES);
        // Room for one byte more than the limit must be representable.
        by_ratio
            .min(self.size_bytes_max)
            .min(isize::MAX as usize - 1)
    }
}

/// Why bytes cannot be compressed or decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The bytes are not what the codec writes.
    #[error("{codec} data of {compressed_bytes} bytes is damaged: {reason}")]
    Damaged {
        /// The codec.
        codec: Compression,
        /// Size of the compressed data.
        compressed_bytes: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The result would exceed the limits.
    #[error(
        "{codec} data of {compressed_bytes} bytes decompresses to more than the limit of {limit} bytes"
    )]
    TooLarge {
        /// The codec.
        codec: Compression,
        /// Size of the compressed data.
        compressed_bytes: usize,
        /// The largest allowed result.
        limit: usize,
    },
    /// There is no memory for the result.
    #[error("no memory for {size_bytes} bytes of decompressed {codec} data")]
    OutOfMemory {
        /// The codec.
        codec: Compression,
        /// What was asked for.
        size_bytes: usize,
    },
    /// The encoder failed, which none of these does for input that fits in memory.
    #[error("{codec} could not compress {size_bytes} bytes")]
    Encoder {
        /// The codec.
        codec: Compression,
        /// Size of the input.
        size_bytes: usize,
    },
}

/// What went wrong inside of one codec; [`decompress_into`] adds the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Damaged(&'static str),
    TooLarge,
    OutOfMemory(usize),
}

/// Appends the compressed `input` to `out`, in the form that every client reads: Snappy in Xerial's framing as Java
/// writes it, LZ4 as a frame of independent 64 KiB blocks, one gzip member, one zstd frame.
pub fn compress(
    codec: Compression,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let start = out.len();
    let done = match codec {
        Compression::None => {
            out.extend_from_slice(input);
            Some(())
        }
        Compression::Gzip => gzip::compress(input, out),
        Compression::Snappy => snappy::compress(input, out),
        Compression::Lz4 => lz4::compress(input, out),
        Compression::Zstd => zstd::compress(input, out),
    };
    done.ok_or_else(|| {
        out.truncate(start);
        CompressionError::Encoder {
            codec,
            size_bytes: input.len(),
        }
    })
}

/// Why clients and Kafka's broker refuse an LZ4 section by its first bytes, if they do: [`decompress`] takes more, linked
/// blocks among it. Costs a few comparisons.
pub fn lz4_frame_fault(section: &[u8]) -> Option<&'static str> {
    lz4::frame_fault(section)
}

/// Decompresses `input` into a new vector.
pub fn decompress(
    codec: Compression,
    input: &[u8],
    limits: DecompressLimits,
) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    decompress_into(codec, input, limits, &mut out)?;
    Ok(out)
}

/// Decompresses `input` into `out`, replacing what it held and keeping its memory. On an error `out` is empty.
pub fn decompress_into(
    codec: Compression,
    input: &[u8],
    limits: DecompressLimits,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    out.clear();
    let limit = limits.limit_bytes(input.len());
    let done = match codec {
        Compression::None if input.len() > limit => Err(Failure::TooLarge),
        Compression::None => reserve(out, input.len()).map(|()| out.extend_from_slice(input)),
        Compression::Gzip => gzip::decompress(input, limit, out),
        Compression::Snappy => snappy::decompress(input, limit, out),
        Compression::Lz4 => lz4::decompress(input, limit, out),
        Compression::Zstd => zstd::decompress(input, limit, out),
    };
    let compressed_bytes = input.len();
    done.map_err(|failure| {
        out.clear();
        match failure {
            Failure::Damaged(reason) => CompressionError::Damaged {
                codec,
                compressed_bytes,
                reason,
            },
            Failure::TooLarge => CompressionError::TooLarge {
                codec,
                compressed_bytes,
                limit,
            },
            Failure::OutOfMemory(size_bytes) => CompressionError::OutOfMemory { codec, size_bytes },
        }
    })
}

/// The records section itself if it is not compressed, else its decompressed form.
pub fn decompressed(
    codec: Compression,
    section: &[u8],
    limits: DecompressLimits,
) -> Result<Cow<'_, [u8]>, CompressionError> {
    match codec {
        Compression::None => Ok(Cow::Borrowed(section)),
        _ => decompress(codec, section, limits).map(Cow::Owned),
    }
}

/// Makes room for exactly `additional` bytes more.
fn reserve(out: &mut Vec<u8>, additional: usize) -> Result<(), Failure> {
    out.try_reserve_exact(additional)
        .map_err(|_| Failure::OutOfMemory(additional))
}
