//! The bytes of `cleaner-offset`: how far a log was compacted. Pure.
//!
//! Losing the file, or finding it damaged, only costs work: the log is compacted from its start again. A file that says
//! too much would leave duplicates behind, so what is cut off takes the file along.

use corelane_format::{LogId, Offset};

use crate::bytes::{Reader, put_i64, put_u64};
use crate::sidecar::{open, seal};

const MAGIC: u32 = u32::from_le_bytes(*b"CLco");
const VERSION: u32 = 1;

pub(crate) fn encode(log_id: LogId, first_dirty: Offset) -> Vec<u8> {
    let mut content = Vec::new();
    put_u64(&mut content, log_id.get());
    put_i64(&mut content, first_dirty.get());
    seal(MAGIC, VERSION, &content)
}

/// `None` for anything that is not exactly this log's.
pub(crate) fn decode(bytes: &[u8], log_id: LogId) -> Option<Offset> {
    let mut reader = Reader(open(MAGIC, VERSION, bytes)?);
    (reader.u64()? == log_id.get())
        .then(|| reader.i64().map(Offset::new))
        .flatten()
        .filter(|offset| *offset >= Offset::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_logs_own_bytes_count() {
        let good = encode(LogId::new(3), Offset::new(77));
        assert_eq!(decode(&good, LogId::new(3)), Some(Offset::new(77)));
        assert_eq!(decode(&good, LogId::new(4)), None);
        assert_eq!(
            decode(&encode(LogId::new(3), Offset::new(-1)), LogId::new(3)),
            None
        );
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad, LogId::new(3)), None, "bit {bit}");
        }
    }
}
