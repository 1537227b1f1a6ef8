//! Makes the checksums of changed files right again, so that a test gets behind them: what is left is what a file says that
//! rotted before it was written, or that somebody made.

use corelane_format::checksum::{crc32c, crc32c_append};
use corelane_format::commit_block::{COMMIT_BLOCK_MAGIC, COMMIT_BLOCK_VERSION};
use corelane_format::kafka::{SplitBatch, split_first_batch};
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader};

use crate::block::FLAG_PREFIX_CHECKSUM;

/// `magic, version, length, content, checksum`: sidecars, `log-start`, `cleaner-offset`. A length that does not fit becomes
/// one that does. `None` if there are too few bytes.
pub fn sealed(bytes: &mut [u8], magic: [u8; 4], version: u32) -> Option<()> {
    let room = bytes.len().checked_sub(20)?;
    bytes[..4].copy_from_slice(&magic);
    bytes[4..8].copy_from_slice(&version.to_le_bytes());
    let told = u64::from_le_bytes(*bytes[8..].first_chunk()?);
    let length = usize::try_from(told).ok().filter(|length| *length <= room);
    let length = length.unwrap_or(room);
    bytes[8..16].copy_from_slice(&(length as u64).to_le_bytes());
    put(bytes, 16 + length)
}

/// Both copies of a segment's header, or as much as there is.
pub fn segment_header(page: &mut [u8]) -> Option<()> {
    for start in [0, 2048] {
        let Some(copy) = page.get_mut(start..start + 44) else {
            return (start > 0).then_some(());
        };
        copy[..4].copy_from_slice(b"CLsg");
        copy[4..8].copy_from_slice(&2_u32.to_le_bytes());
        put(copy, 40)?;
    }
    Some(())
}

/// The mark of a truncation.
pub fn cut(bytes: &mut [u8]) -> Option<()> {
    bytes.get(..36)?;
    bytes[..4].copy_from_slice(b"CLct");
    bytes[4..8].copy_from_slice(&1_u32.to_le_bytes());
    put(bytes, 32)
}

/// The header page of a journal's file.
pub fn journal_header(page: &mut [u8]) -> Option<()> {
    page.get(..40)?;
    page[..4].copy_from_slice(b"CLjf");
    page[4..8].copy_from_slice(&1_u32.to_le_bytes());
    put(page, 36)
}

/// The block of a journal at `at`; a body that is too long ends with the bytes.
pub fn journal_block(bytes: &mut [u8], at: usize) -> Option<()> {
    let block = bytes.get_mut(at..)?;
    let room = block.len().checked_sub(64)?;
    block[..4].copy_from_slice(b"CLjb");
    block[4..8].copy_from_slice(&1_u32.to_le_bytes());
    let told = u32::from_le_bytes(*block[28..].first_chunk()?) as usize;
    let length = told.min(room);
    block[28..32].copy_from_slice(&(length as u32).to_le_bytes());
    let body = crc32c(&block[64..64 + length]);
    block[36..40].copy_from_slice(&body.to_le_bytes());
    put(block, 40)
}

/// A commit block at the start of `bytes` and its batches, as far as they can be told. Its body is as long as it says,
/// or reaches to the end if that is more than there is.
pub fn commit_block(bytes: &mut [u8]) -> Option<()> {
    bytes.get(..COMMIT_BLOCK_HEADER_BYTES)?;
    let (head, rest) = bytes.split_at_mut(COMMIT_BLOCK_HEADER_BYTES);
    head[..4].copy_from_slice(&COMMIT_BLOCK_MAGIC.to_le_bytes());
    head[4..6].copy_from_slice(&COMMIT_BLOCK_VERSION.to_le_bytes());
    let covered = crc32c_append(crc32c(&head[..56]), &head[60..]);
    head[56..60].copy_from_slice(&covered.to_le_bytes());
    let mut header = CommitBlockHeader::decode(head).ok()?;
    let length = (header.body_length as usize).min(rest.len());
    let body = &mut rest[..length];
    let (mut at, mut checksum) = (0, 0);
    while let Some(batch) = body.get_mut(at..)
        && let Ok(SplitBatch::Whole { batch: whole, .. }) = split_first_batch(batch)
    {
        let size_bytes = whole.bytes().len();
        let crc = crc32c(&batch[21..size_bytes]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        checksum = crc32c_append(checksum, &batch[..21]);
        at += size_bytes;
    }
    header.flags = FLAG_PREFIX_CHECKSUM;
    header.body_length = length as u32;
    header.body_checksum = checksum;
    header.encode(head.first_chunk_mut()?);
    Some(())
}

/// The checksum of everything before `at`, to there.
fn put(bytes: &mut [u8], at: usize) -> Option<()> {
    let (covered, rest) = bytes.split_at_mut_checked(at)?;
    rest.get_mut(..4)?
        .copy_from_slice(&crc32c(covered).to_le_bytes());
    Some(())
}
