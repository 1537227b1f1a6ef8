//! LZ4 frames, version 1.
//!
//! The frame is taken apart here and only its blocks go to the codec: so memory follows the blocks that are there and not
//! the block size that the frame claims, and a frame that is cut off is an error.
//!
//! ```text
//! u32 magic, FLG, BD, [u64 content size], [u32 dictionary id], header checksum byte
//! blocks: u32 length (top bit: stored uncompressed), bytes, [u32 checksum]
//! u32 0, [u32 content checksum]
//! ```

use std::io::Write;

use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::Failure;

const FRAME_MAGIC: u32 = 0x184D_2204;
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
const SKIPPABLE_MASK: u32 = 0xFFFF_FFF0;
/// How far back a linked block may refer.
const WINDOW_BYTES: usize = 64 << 10;
/// No block expands by more: each byte of a long match length adds at most 255.
const RATIO_MAX: usize = 255;

const CUT_OFF: Failure = Failure::Damaged("an LZ4 frame is cut off");

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // What Java's and librdkafka's readers demand: independent blocks. 64 KiB is what they write.
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(input).ok()?;
    encoder.finish().ok()?;
    Some(())
}

pub(super) fn decompress(input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut reader = Reader { rest: input };
    let mut frames = 0;
    while !reader.rest.is_empty() {
        let magic = reader.u32()?;
        if magic & SKIPPABLE_MASK == SKIPPABLE_MAGIC {
            let length = reader.u32()?;
            reader.take(length as usize)?;
        } else if magic == FRAME_MAGIC {
            frame(&mut reader, limit, out)?;
            frames += 1;
        } else {
            return Err(Failure::Damaged("no LZ4 frame"));
        }
    }
    if frames == 0 {
        Err(Failure::Damaged("no LZ4 frame"))
    } else {
        Ok(())
    }
}

/// Why Kafka's broker and Java's and librdkafka's consumers refuse a frame by its header, if they do. They read one frame
/// and nothing before it.
///
/// The header's checksum byte is not looked at.
pub(super) fn frame_fault(section: &[u8]) -> Option<&'static str> {
    let Some((prefix, _)) = section.split_first_chunk::<6>() else {
        return Some("the frame is cut off");
    };
    let &[m0, m1, m2, m3, flags, descriptor] = prefix;
    let content_size_bytes = if flags & 1 << 3 == 0 { 0 } else { 8 };
    if u32::from_le_bytes([m0, m1, m2, m3]) != FRAME_MAGIC {
        Some("it does not begin with a frame")
    } else if flags & 0b11 != 0 {
        Some("it wants a dictionary, or a flag that is reserved")
    } else if flags & 1 << 5 == 0 {
        Some("its blocks depend on each other")
    } else if flags >> 6 != 1 {
        Some("the version of the frame is unknown")
    } else if descriptor & 0b1000_1111 != 0 || descriptor >> 4 < 4 {
        Some("the block size is impossible")
    } else if section.len() <= prefix.len() + content_size_bytes {
        Some("the frame is cut off")
    } else {
        None
    }
}

/// One frame, whose magic has been read.
fn frame(reader: &mut Reader<'_>, limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let start = out.len();
    let flags = reader.byte()?;
    let descriptor = reader.byte()?;
    let independent = flags & 1 << 5 != 0;
    let block_checksums = flags & 1 << 4 != 0;
    let content_checksum = flags & 1 << 2 != 0;
    if flags >> 6 != 1 || flags & 0b10 != 0 {
        return Err(Failure::Damaged("an unknown version of LZ4 frame"));
    }
    if flags & 1 != 0 {
        return Err(Failure::Damaged("an LZ4 frame wants a dictionary"));
    }
    let block_bytes_max = match descriptor >> 4 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => {
            return Err(Failure::Damaged(
                "an LZ4 frame has an impossible block size",
            ));
        }
    };
    let content_bytes = if flags & 1 << 3 == 0 {
        None
    } else {
        Some(reader.u64()?)
    };
    if content_bytes.is_some_and(|size| size > (limit - start) as u64) {
        return Err(Failure::TooLarge);
    }
    reader.byte()?; // header checksum

    loop {
        let word = reader.u32()?;
        if word == 0 {
            break;
        }
        let stored = word >> 31 != 0;
        let block = reader.take((word & 0x7FFF_FFFF) as usize)?;
        if block.len() > block_bytes_max {
            return Err(Failure::Damaged(
                "an LZ4 block exceeds its frame's block size",
            ));
        }
        let position = out.len();
        let room = limit - position;
        if stored {
            if block.len() > room {
                return Err(Failure::TooLarge);
            }
            grow(out, block.len())?;
            out[position..].copy_from_slice(block);
        } else {
            // One byte beyond the limit, to tell a block that ends there from one that goes on.
            let most = block.len().saturating_mul(RATIO_MAX).min(block_bytes_max);
            let window = most.min(room + 1);
            grow(out, window)?;
            let (before, target) = out.split_at_mut(position);
            let written = if independent || position == start {
                decompress_into(block, target)
            } else {
                let dictionary = &before[start.max(position.saturating_sub(WINDOW_BYTES))..];
                decompress_into_with_dict(block, target, dictionary)
            };
            match written {
                Ok(size) if size > room => return Err(Failure::TooLarge),
                Ok(size) => out.truncate(position + size),
                // A window cut short by the limit is what the block did not fit into.
                Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if window < most => {
                    return Err(Failure::TooLarge);
                }
                Err(_) => return Err(Failure::Damaged("not an LZ4 block")),
            }
        }
        if block_checksums {
            reader.take(4)?;
        }
    }
    if content_checksum {
        reader.take(4)?;
    }
    if content_bytes.is_some_and(|size| size != (out.len() - start) as u64) {
        return Err(Failure::Damaged("an LZ4 frame is not as long as it says"));
    }
    Ok(())
}

/// Adds `additional` zeros, growing the memory in steps: a frame of many small blocks must not copy its output each time.
fn grow(out: &mut Vec<u8>, additional: usize) -> Result<(), Failure> {
    out.try_reserve(additional)
        .map_err(|_| Failure::OutOfMemory(additional))?;
    out.resize(out.len() + additional, 0);
    Ok(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Failure> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn u32(&mut self) -> Result<u32, Failure> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Failure> {
        self.array().map(u64::from_le_bytes)
    }
}
