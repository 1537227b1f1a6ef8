//! The bytes of `<base>.index` and of `log-start`. Pure.
//!
//! A sidecar is derived: it saves a scan and is never believed over the segment. It carries its own checksum, the
//! segment's identity (log id, generation, base offset) and extent; the opener compares them with the segment's header
//! page and size and checks the segment's last block, and scans the segment when anything is off. The index comes behind
//! all this, at a page of its own, and is read when it is needed first.
//!
//! `log-start` is not derived: it is the one durable trace of `DeleteRecords`. A damaged one is an error.

use corelane_format::checksum::crc32c;
use corelane_format::{LogId, Offset};

use std::ops::Range;

use crate::bytes::{Reader, put_i64, put_u32, put_u64};
use crate::disk::page_ceil;
use crate::producer_state::ProducerState;
use crate::segment_meta::{ENTRY_BYTES, IndexEntry, SegmentMeta, decode_entries, encode_entries};

const SIDECAR_MAGIC: u32 = u32::from_le_bytes(*b"CLix");
const LOG_START_MAGIC: u32 = u32::from_le_bytes(*b"CLls");
const SIDECAR_VERSION: u32 = 2;
const LOG_START_VERSION: u32 = 1;
/// `magic, version, length` and the checksum at the end.
const FRAME_BYTES: usize = 20;
/// No sidecar is larger; a larger file is not read.
pub(crate) const SIDECAR_BYTES_MAX: u64 = 256 << 20;
/// No sidecar's part in front of its index is larger; a larger one is not read.
const HEAD_BYTES_MAX: usize = 64 << 20;
/// No index has more entries; a larger one is not read.
const ENTRIES_MAX: usize = 1 << 22;

/// What stands of a segment in front of its index, and the producers as of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sidecar {
    /// Its entries count as saved.
    pub(crate) meta: SegmentMeta,
    pub(crate) producers: ProducerState,
    entries_checksum: u32,
    entries_position: u64,
}

/// `magic, version, length, content, checksum`.
pub(crate) fn seal(magic: u32, version: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + FRAME_BYTES);
    put_u32(&mut out, magic);
    put_u32(&mut out, version);
    put_u64(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    let checksum = crc32c(&out);
    put_u32(&mut out, checksum);
    out
}

pub(crate) fn open(magic: u32, version: u32, bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(bytes);
    if reader.u32()? != magic || reader.u32()? != version {
        return None;
    }
    let length = usize::try_from(reader.u64()?).ok()?;
    let content = reader.take(length)?;
    let covered = bytes.len() - reader.0.len();
    let checksum = reader.u32()?;
    (crc32c(&bytes[..covered]) == checksum).then_some(content)
}

impl Sidecar {
    /// The whole file; `entries` are all of the segment's.
    pub(crate) fn encode(
        meta: &SegmentMeta,
        entries: &[IndexEntry],
        producers: &ProducerState,
    ) -> Vec<u8> {
        let entries = encode_entries(entries);
        let mut content = Vec::new();
        meta.encode(&mut content);
        put_u32(&mut content, crc32c(&entries));
        producers.encode(&mut content);
        let mut out = seal(SIDECAR_MAGIC, SIDECAR_VERSION, &content);
        out.resize(page_ceil(out.len() as u64) as usize, 0);
        out.extend_from_slice(&entries);
        out
    }

    /// How many bytes of the file [`Sidecar::decode`] takes, by its first ones.
    pub(crate) fn head_bytes(first: &[u8]) -> Option<usize> {
        let mut reader = Reader(first);
        let is_sidecar = reader.u32()? == SIDECAR_MAGIC && reader.u32()? == SIDECAR_VERSION;
        let length = usize::try_from(reader.u64()?).ok()?;
        (is_sidecar && length <= HEAD_BYTES_MAX).then(|| length + FRAME_BYTES)
    }

    /// `None` for anything that does not begin with exactly the head of a sidecar of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let content = open(SIDECAR_MAGIC, SIDECAR_VERSION, bytes)?;
        let mut reader = Reader(content);
        let meta = SegmentMeta::decode(&mut reader)?;
        let entries_checksum = reader.u32()?;
        let producers = ProducerState::decode(&mut reader)?;
        let is_whole = reader.0.is_empty() && meta.saved_entries() <= ENTRIES_MAX;
        is_whole.then_some(Self {
            meta,
            producers,
            entries_checksum,
            entries_position: page_ceil((content.len() + FRAME_BYTES) as u64),
        })
    }

    /// The whole file, its index in memory. `None` as above, and for an index that is not the one it should be.
    pub(crate) fn decode_whole(bytes: &[u8]) -> Option<Self> {
        let mut sidecar = Self::decode(bytes)?;
        let range = sidecar.entries_range();
        let index = bytes.get(usize::try_from(range.start).ok()?.min(bytes.len())..)?;
        let entries = sidecar.decode_entries(index)?;
        sidecar.meta.restore_entries(entries);
        Some(sidecar)
    }

    /// Where the index stands in the file.
    pub(crate) fn entries_range(&self) -> Range<u64> {
        let size_bytes = (self.meta.saved_entries() * ENTRY_BYTES) as u64;
        self.entries_position..self.entries_position + size_bytes
    }

    /// The index, if these are its bytes.
    pub(crate) fn decode_entries(&self, bytes: &[u8]) -> Option<Vec<IndexEntry>> {
        let bytes = bytes.get(..self.meta.saved_entries() * ENTRY_BYTES)?;
        (crc32c(bytes) == self.entries_checksum).then(|| decode_entries(bytes))
    }
}

pub(crate) fn encode_log_start(log_id: LogId, log_start: Offset) -> Vec<u8> {
    let mut content = Vec::new();
    put_u64(&mut content, log_id.get());
    put_i64(&mut content, log_start.get());
    seal(LOG_START_MAGIC, LOG_START_VERSION, &content)
}

pub(crate) fn decode_log_start(bytes: &[u8]) -> Option<(LogId, Offset)> {
    let mut reader = Reader(open(LOG_START_MAGIC, LOG_START_VERSION, bytes)?);
    let log_id = LogId::new(reader.u64()?);
    let log_start = Offset::new(reader.i64()?);
    // A log that begins there must be able to go on.
    (Offset::ZERO..Offset::new(i64::MAX))
        .contains(&log_start)
        .then_some((log_id, log_start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment_header::SegmentHeader;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let header = SegmentHeader {
            log_id: LogId::new(1),
            generation: 9,
            base_offset: Offset::new(5),
            history: 3,
        };
        let mut meta = SegmentMeta::new(header);
        for block in 0..300 {
            let position = 4096 + block * (64 << 10);
            meta.begin_block(position, Offset::new(5 + block as i64), 4096);
            meta.end_block(position + 100, 7);
        }
        let entries = meta.all_entries(&[]).expect("in memory");
        let good = Sidecar::encode(&meta, &entries, &ProducerState::default());
        let head_bytes = Sidecar::head_bytes(&good).expect("a sidecar");
        meta.forget_saved(entries.len());
        for size_bytes in [head_bytes, 4096, good.len()] {
            let decoded = Sidecar::decode(&good[..size_bytes]).expect("a sidecar");
            assert_eq!(decoded.meta, meta);
            let range = decoded.entries_range();
            assert_eq!(range.end, good.len() as u64);
            let bytes = &good[range.start as usize..];
            assert_eq!(decoded.decode_entries(bytes).as_ref(), Some(&entries));
            let whole = Sidecar::decode_whole(&good).expect("a sidecar");
            assert_eq!(whole.meta.all_entries(&[]).as_ref(), Some(&entries));
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decoded.decode_entries(&bad), None, "bit {bit}");
            }
        }
        for bit in 0..head_bytes * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Sidecar::decode(&bad), None, "bit {bit}");
        }
        for cut in 0..head_bytes {
            assert_eq!(Sidecar::decode(&good[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn log_start_round_trip() {
        let good = encode_log_start(LogId::new(3), Offset::new(77));
        assert_eq!(
            decode_log_start(&good),
            Some((LogId::new(3), Offset::new(77)))
        );
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_log_start(&bad), None, "bit {bit}");
        }
    }
}
