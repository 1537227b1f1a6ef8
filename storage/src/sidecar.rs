//! The bytes of `<base>.index` and of `log-start`. Pure.
//!
//! A sidecar is derived: it saves a scan and is never believed over the segment. It carries its own checksum, the
//! segment's identity (log id, generation, base offset) and extent; the opener compares them with the segment's header
//! page and size and checks the segment's last block, and scans the segment when anything is off.
//!
//! `log-start` is not derived: it is the one durable trace of `DeleteRecords`. A damaged one is an error.

use corelane_format::checksum::crc32c;
use corelane_format::{LogId, Offset};

use crate::bytes::{Reader, put_i64, put_u32, put_u64};
use crate::producer_state::ProducerState;
use crate::segment_meta::SegmentMeta;

const SIDECAR_MAGIC: u32 = u32::from_le_bytes(*b"CLix");
const LOG_START_MAGIC: u32 = u32::from_le_bytes(*b"CLls");
const SIDECAR_VERSION: u32 = 2;
const LOG_START_VERSION: u32 = 1;
/// No sidecar is larger; a larger file is not read.
pub(crate) const SIDECAR_BYTES_MAX: u64 = 256 << 20;

/// A segment's index and the producers as of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sidecar {
    pub(crate) meta: SegmentMeta,
    pub(crate) producers: ProducerState,
}

/// `magic, version, length, content, checksum`.
fn seal(magic: u32, version: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 20);
    put_u32(&mut out, magic);
    put_u32(&mut out, version);
    put_u64(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    let checksum = crc32c(&out);
    put_u32(&mut out, checksum);
    out
}

fn open(magic: u32, version: u32, bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(bytes);
    if reader.u32()? != magic || reader.u32()? != version {
        return None;
    }
    let length = usize::try_from(reader.u64()?).ok()?;
    let content = reader.take(length)?;
    let checksum = reader.u32()?;
    (crc32c(&bytes[..16 + length]) == checksum).then_some(content)
}

impl Sidecar {
    pub(crate) fn encode(meta: &SegmentMeta, producers: &ProducerState) -> Vec<u8> {
        let mut content = Vec::new();
        meta.encode(&mut content);
        producers.encode(&mut content);
        seal(SIDECAR_MAGIC, SIDECAR_VERSION, &content)
    }

    /// `None` for anything that is not exactly a sidecar of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(open(SIDECAR_MAGIC, SIDECAR_VERSION, bytes)?);
        let meta = SegmentMeta::decode(&mut reader)?;
        let producers = ProducerState::decode(&mut reader)?;
        reader.0.is_empty().then_some(Self { meta, producers })
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
    Some((LogId::new(reader.u64()?), Offset::new(reader.i64()?)))
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
        let meta = SegmentMeta::new(header);
        let good = Sidecar::encode(&meta, &ProducerState::default());
        assert_eq!(
            Sidecar::decode(&good).map(|sidecar| sidecar.meta),
            Some(meta)
        );
        let mut padded = good.clone();
        padded.resize(4096, 0);
        assert!(Sidecar::decode(&padded).is_some(), "page padding is fine");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Sidecar::decode(&bad), None, "bit {bit}");
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
