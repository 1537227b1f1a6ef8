//! Record batches written out by hand, with every field at the test's mercy.
//!
//! Deliberately not made with the engine's own codec: this is the second opinion on the format.

use std::time::{SystemTime, UNIX_EPOCH};

/// The fields of a batch of magic 2. The defaults are those of one valid, uncompressed batch.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) base_offset: i64,
    /// Added to the true length.
    pub(crate) length_error: i32,
    pub(crate) magic: i8,
    /// Added to the true checksum.
    pub(crate) crc_error: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: Option<i32>,
    pub(crate) base_timestamp_ms: i64,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records_count: Option<i32>,
    pub(crate) values: Vec<Vec<u8>>,
    /// Takes the place of the encoded records.
    pub(crate) body: Option<Vec<u8>>,
}

impl Batch {
    /// One batch of these values, without keys and headers.
    pub(crate) fn of(values: &[&[u8]]) -> Self {
        // The present: retention and the expiry of idle producers go by it.
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_millis() as i64);
        Self {
            base_offset: 0,
            length_error: 0,
            magic: 2,
            crc_error: 0,
            attributes: 0,
            last_offset_delta: None,
            base_timestamp_ms: now_ms,
            max_timestamp_ms: now_ms,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records_count: None,
            values: values.iter().map(|value| value.to_vec()).collect(),
            body: None,
        }
    }

    /// The same batch from an idempotent producer.
    pub(crate) fn by_producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// The bytes on the wire.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = self.values.len() as i32;
        let mut summed = Vec::new();
        summed.extend(self.attributes.to_be_bytes());
        summed.extend(self.last_offset_delta.unwrap_or(count - 1).to_be_bytes());
        summed.extend(self.base_timestamp_ms.to_be_bytes());
        summed.extend(self.max_timestamp_ms.to_be_bytes());
        summed.extend(self.producer_id.to_be_bytes());
        summed.extend(self.producer_epoch.to_be_bytes());
        summed.extend(self.base_sequence.to_be_bytes());
        summed.extend(self.records_count.unwrap_or(count).to_be_bytes());
        match &self.body {
            Some(body) => summed.extend(body),
            None => self.encode_records(&mut summed),
        }
        let mut bytes = Vec::new();
        bytes.extend(self.base_offset.to_be_bytes());
        bytes.extend((summed.len() as i32 + 9 + self.length_error).to_be_bytes());
        bytes.extend((-1_i32).to_be_bytes()); // partition leader epoch
        bytes.extend(self.magic.to_be_bytes());
        bytes.extend(crc32c(&summed).wrapping_add(self.crc_error).to_be_bytes());
        bytes.extend(summed);
        bytes
    }

    fn encode_records(&self, out: &mut Vec<u8>) {
        for (index, value) in self.values.iter().enumerate() {
            let mut record = vec![0]; // attributes
            varint(0, &mut record); // timestamp delta
            varint(index as i64, &mut record); // offset delta
            varint(-1, &mut record); // no key
            varint(value.len() as i64, &mut record);
            record.extend(value);
            varint(0, &mut record); // headers
            varint(record.len() as i64, out);
            out.extend(record);
        }
    }
}

/// Zigzag, seven bits a byte, the lowest first.
fn varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// CRC-32C bit by bit: slow, and evidently right.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
        crc
    })
}
