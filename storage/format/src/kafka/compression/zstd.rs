//! Zstandard frames (RFC 8878).
//!
//! The codec's streaming reader takes the window that a frame declares, up to 128 MiB, for a few bytes of input. So the
//! blocks' headers are walked first: they bound the output from above, and then one call decompresses into memory of that
//! size (or of the limit, if smaller), with no window apart from it. Frames need not declare their size.

use super::{Failure, reserve};

const FRAME_MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
const SKIPPABLE_MASK: u32 = 0xFFFF_FFF0;
/// The most that one compressed block expands to.
const BLOCK_BYTES_MAX: u64 = 128 << 10;
/// Zstandard's own default: fast, and close to what clients use.
const LEVEL: i32 = 3;

const CUT_OFF: Failure = Failure::Damaged("a zstd frame is cut off");

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let compressed = zstd::bulk::compress(input, LEVEL).ok()?;
    out.extend_from_slice(&compressed);
    Some(())
}

pub(super) fn decompress(input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let bounds = walk(input)?;
    if bounds.least > limit as u64 {
        return Err(Failure::TooLarge);
    }
    let capacity = bounds.most.min(limit as u64) as usize;
    if capacity == 0 {
        return Ok(());
    }
    reserve(out, capacity)?;
    // The vector may have more room from earlier use; the codec fills what there is, so the limit is checked again.
    let mut decompressor =
        zstd::bulk::Decompressor::new().map_err(|_| Failure::OutOfMemory(capacity))?;
    match decompressor.decompress_to_buffer(input, out) {
        Ok(size) if size > limit => Err(Failure::TooLarge),
        Ok(_) => Ok(()),
        // The only damage that a larger output could have cured is a limit that was too small.
        Err(_) if bounds.most > limit as u64 => Err(Failure::TooLarge),
        Err(_) => Err(Failure::Damaged("not a zstd frame")),
    }
}

/// What a sequence of frames decompresses to at least and at most.
#[derive(Clone, Copy, Default)]
struct Bounds {
    least: u64,
    most: u64,
}

fn walk(input: &[u8]) -> Result<Bounds, Failure> {
    let mut reader = Reader { rest: input };
    let mut bounds = Bounds::default();
    let mut frames = 0;
    while !reader.rest.is_empty() {
        let magic = reader.little_endian(4)?;
        if magic & u64::from(SKIPPABLE_MASK) == u64::from(SKIPPABLE_MAGIC) {
            let length = reader.little_endian(4)?;
            reader.skip(length)?;
        } else if magic == u64::from(FRAME_MAGIC) {
            let frame = walk_frame(&mut reader)?;
            bounds.least = bounds.least.saturating_add(frame.least);
            bounds.most = bounds.most.saturating_add(frame.most);
            frames += 1;
        } else {
            return Err(Failure::Damaged("no zstd frame"));
        }
    }
    if frames == 0 {
        Err(Failure::Damaged("no zstd frame"))
    } else {
        Ok(bounds)
    }
}

/// One frame, whose magic has been read.
fn walk_frame(reader: &mut Reader<'_>) -> Result<Bounds, Failure> {
    let descriptor = reader.little_endian(1)?;
    let single_segment = descriptor & 1 << 5 != 0;
    let checksum = descriptor & 1 << 2 != 0;
    if descriptor & 1 << 3 != 0 {
        return Err(Failure::Damaged("a zstd frame uses a reserved bit"));
    }
    if !single_segment {
        reader.skip(1)?; // window
    }
    let dictionary_bytes = match descriptor & 0b11 {
        0 => 0,
        1 => 1,
        2 => 2,
        _ => 4,
    };
    if reader.little_endian(dictionary_bytes)? != 0 {
        return Err(Failure::Damaged("a zstd frame wants a dictionary"));
    }
    let content_bytes = match descriptor >> 6 {
        0 if single_segment => Some(reader.little_endian(1)?),
        0 => None,
        1 => Some(reader.little_endian(2)? + 256),
        2 => Some(reader.little_endian(4)?),
        _ => Some(reader.little_endian(8)?),
    };
    let mut bounds = Bounds::default();
    loop {
        let word = reader.little_endian(3)?;
        let size = word >> 3;
        let (stored, least, most) = match word >> 1 & 0b11 {
            0 => (size, size, size),
            1 => (1, size, size),
            2 => (size, 0, BLOCK_BYTES_MAX),
            _ => return Err(Failure::Damaged("a zstd block of a reserved type")),
        };
        reader.skip(stored)?;
        // Cannot overflow: each block takes three bytes of input and adds at most 2 MiB.
        bounds.least += least;
        bounds.most += most;
        if word & 1 != 0 {
            break;
        }
    }
    if checksum {
        reader.skip(4)?;
    }
    match content_bytes {
        None => Ok(bounds),
        Some(size) if (bounds.least..=bounds.most).contains(&size) => Ok(Bounds {
            least: size,
            most: size,
        }),
        Some(_) => Err(Failure::Damaged(
            "a zstd frame declares a size that its blocks cannot have",
        )),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn skip(&mut self, length: u64) -> Result<(), Failure> {
        let length = usize::try_from(length).map_err(|_| CUT_OFF)?;
        self.rest = self.rest.get(length..).ok_or(CUT_OFF)?;
        Ok(())
    }

    /// A number of up to eight bytes.
    fn little_endian(&mut self, bytes: usize) -> Result<u64, Failure> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(taken
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}
