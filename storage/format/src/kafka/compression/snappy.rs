//! Snappy: raw blocks (librdkafka, Go) and Xerial's framing (Java, Python, Node).
//!
//! ```text
//! 82 53 4e 41 50 50 59 00   magic
//! i32 version, i32 oldest compatible version, big-endian
//! then chunks: i32 length, big-endian, and a raw Snappy block of that length
//! ```

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{Failure, reserve};

const XERIAL_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// Input bytes of one chunk, as in Java's default.
const XERIAL_CHUNK_BYTES: usize = 32 << 10;
/// No Snappy block expands by more: its best element copies 64 bytes and takes 3.
const RATIO_MAX: usize = 22;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1_u32.to_be_bytes());
    out.extend_from_slice(&1_u32.to_be_bytes());
    let mut encoder = Encoder::new();
    for chunk in input.chunks(XERIAL_CHUNK_BYTES) {
        let length_at = out.len();
        let block_at = length_at + 4;
        out.resize(block_at + max_compress_len(chunk.len()), 0);
        let length = encoder.compress(chunk, &mut out[block_at..]).ok()?;
        out[length_at..block_at].copy_from_slice(&(length as u32).to_be_bytes());
        out.truncate(block_at + length);
    }
    Some(())
}

pub(super) fn decompress(input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    if input.starts_with(&XERIAL_MAGIC) {
        // The first pass bounds the memory, the second one fills it.
        let mut size_bytes = 0_usize;
        for block in Chunks::new(input) {
            size_bytes = size_bytes.saturating_add(declared_size(block?)?);
            if size_bytes > limit {
                return Err(Failure::TooLarge);
            }
        }
        reserve(out, size_bytes)?;
        let mut decoder = Decoder::new();
        for block in Chunks::new(input) {
            append_block(&mut decoder, block?, out)?;
        }
        Ok(())
    } else {
        let size_bytes = declared_size(input)?;
        if size_bytes > limit {
            return Err(Failure::TooLarge);
        }
        reserve(out, size_bytes)?;
        append_block(&mut Decoder::new(), input, out)
    }
}

/// What a raw block says that it decompresses to, if that is possible at all.
fn declared_size(block: &[u8]) -> Result<usize, Failure> {
    let size_bytes = decompress_len(block).map_err(|_| Failure::Damaged("no Snappy length"))?;
    if size_bytes > block.len().saturating_mul(RATIO_MAX) {
        return Err(Failure::Damaged(
            "a Snappy block declares more than it can hold",
        ));
    }
    Ok(size_bytes)
}

fn append_block(decoder: &mut Decoder, block: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    let start = out.len();
    out.resize(start + declared_size(block)?, 0);
    decoder
        .decompress(block, &mut out[start..])
        .map(|_| ())
        .map_err(|_| Failure::Damaged("not a Snappy block"))
}

/// The raw blocks of a Xerial stream.
struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Failure::Damaged("a Xerial chunk is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn next_block(&mut self) -> Result<Option<&'a [u8]>, Failure> {
        // Streams may be joined, header and all.
        while self.rest.starts_with(&XERIAL_MAGIC) {
            self.take(XERIAL_HEADER_BYTES)?;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut length = [0; 4];
        length.copy_from_slice(self.take(4)?);
        self.take(u32::from_be_bytes(length) as usize).map(Some)
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<&'a [u8], Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_block().transpose()
    }
}
