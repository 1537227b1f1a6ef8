//! The header of a record batch: a parsed copy of its 61 bytes.

use super::attributes::Attributes;
use super::error::BatchError;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Size of the header, from `base_offset` to `records_count`.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Size of `base_offset` and `batch_length`, which the declared length does not count.
pub const BATCH_PREFIX_BYTES: usize = 12;
/// The one supported format version.
pub const MAGIC: i8 = 2;

/// Where the checksummed part of a batch starts.
pub(super) const CRC_START: usize = field::ATTRIBUTES;
/// The smallest possible `batch_length`.
pub(super) const BATCH_LENGTH_MIN: i32 = (BATCH_HEADER_BYTES - BATCH_PREFIX_BYTES) as i32;

/// Byte positions of the fields.
pub(super) mod field {
    pub(in super::super) const BASE_OFFSET: usize = 0;
    pub(in super::super) const BATCH_LENGTH: usize = 8;
    pub(in super::super) const LEADER_EPOCH: usize = 12;
    pub(in super::super) const MAGIC: usize = 16;
    pub(in super::super) const CRC: usize = 17;
    pub(in super::super) const ATTRIBUTES: usize = 21;
    pub(in super::super) const LAST_OFFSET_DELTA: usize = 23;
    pub(in super::super) const BASE_TIMESTAMP: usize = 27;
    pub(in super::super) const MAX_TIMESTAMP: usize = 35;
    pub(in super::super) const PRODUCER_ID: usize = 43;
    pub(in super::super) const PRODUCER_EPOCH: usize = 51;
    pub(in super::super) const BASE_SEQUENCE: usize = 53;
    pub(in super::super) const RECORDS_COUNT: usize = 57;
}

/// A parsed batch header.
///
/// Parsing checks what is needed to find the end of the batch and no more: that is [`super::validate_batch`]'s work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes after the first [`BATCH_PREFIX_BYTES`].
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: LeaderEpoch,
    /// Always [`MAGIC`] once parsed.
    pub magic: i8,
    /// CRC32C of everything from the attributes to the end.
    pub crc: u32,
    /// Codec, kind of timestamps, transaction and control bits.
    pub attributes: Attributes,
    /// Last offset minus base offset, also when compaction removed records.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are relative to: the first record's timestamp when a client wrote the batch.
    pub base_timestamp: TimestampMs,
    /// The largest timestamp, as the writer of the batch claims: some clients leave it at -1, or put the last record's
    /// here. See [`BatchHeader::latest_timestamp`].
    pub max_timestamp: TimestampMs,
    /// The idempotent producer, or negative.
    pub producer_id: ProducerId,
    /// The incarnation of the producer, or negative.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, or negative.
    pub base_sequence: Sequence,
    /// Number of records in the batch.
    pub records_count: i32,
}

/// Reads `N` bytes at a constant position of a header. The bounds check folds away.
#[inline]
fn bytes_at<const N: usize>(header: &[u8; BATCH_HEADER_BYTES], position: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[position..position + N]);
    field
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may be longer.
    ///
    /// Fails if there are not [`BATCH_HEADER_BYTES`], if the magic is not 2, or if the declared length is smaller than a
    /// header. All else is taken as it stands.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(raw) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(BatchError::TooShort {
                got: bytes.len(),
                expected: BATCH_HEADER_BYTES,
            });
        };
        let header = Self {
            base_offset: Offset::new(i64::from_be_bytes(bytes_at(raw, field::BASE_OFFSET))),
            batch_length: i32::from_be_bytes(bytes_at(raw, field::BATCH_LENGTH)),
            partition_leader_epoch: LeaderEpoch::new(i32::from_be_bytes(bytes_at(
                raw,
                field::LEADER_EPOCH,
            ))),
            magic: i8::from_be_bytes(bytes_at(raw, field::MAGIC)),
            crc: u32::from_be_bytes(bytes_at(raw, field::CRC)),
            attributes: Attributes::new(i16::from_be_bytes(bytes_at(raw, field::ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(bytes_at(raw, field::LAST_OFFSET_DELTA)),
            base_timestamp: TimestampMs::new(i64::from_be_bytes(bytes_at(
                raw,
                field::BASE_TIMESTAMP,
            ))),
            max_timestamp: TimestampMs::new(i64::from_be_bytes(bytes_at(
                raw,
                field::MAX_TIMESTAMP,
            ))),
            producer_id: ProducerId::new(i64::from_be_bytes(bytes_at(raw, field::PRODUCER_ID))),
            producer_epoch: ProducerEpoch::new(i16::from_be_bytes(bytes_at(
                raw,
                field::PRODUCER_EPOCH,
            ))),
            base_sequence: Sequence::new(i32::from_be_bytes(bytes_at(raw, field::BASE_SEQUENCE))),
            records_count: i32::from_be_bytes(bytes_at(raw, field::RECORDS_COUNT)),
        };
        if header.magic != MAGIC {
            return Err(BatchError::UnsupportedMagic { got: header.magic });
        }
        if header.batch_length < BATCH_LENGTH_MIN {
            return Err(BatchError::LengthMismatch {
                got: header.batch_length,
                minimum: BATCH_LENGTH_MIN,
            });
        }
        Ok(header)
    }

    /// Size of the whole batch, prefix included.
    #[inline]
    pub const fn size_bytes(&self) -> usize {
        // `parse` refuses negative lengths; a header made by hand with one has the size of its prefix.
        let length = if self.batch_length < 0 {
            0
        } else {
            self.batch_length as usize
        };
        BATCH_PREFIX_BYTES + length
    }

    /// Size of the records section, compressed if the batch is.
    #[inline]
    pub const fn records_bytes(&self) -> usize {
        self.size_bytes().saturating_sub(BATCH_HEADER_BYTES)
    }

    /// Offset of the last record, inclusive.
    ///
    /// Saturates for headers that are neither validated nor stamped; validated ones cannot overflow.
    #[inline]
    pub const fn last_offset(&self) -> Offset {
        Offset::new(
            self.base_offset
                .get()
                .saturating_add(self.last_offset_delta as i64),
        )
    }

    /// The offset after the last record: where the next batch starts.
    #[inline]
    pub const fn next_offset(&self) -> Offset {
        Offset::new(self.last_offset().get().saturating_add(1))
    }

    /// Sequence of the last record, or [`Sequence::NONE`] if the batch has no sequences.
    #[inline]
    pub const fn last_sequence(&self) -> Sequence {
        if self.base_sequence.get() < 0 {
            Sequence::NONE
        } else {
            self.base_sequence.plus(self.last_offset_delta)
        }
    }

    /// The larger of base and max timestamp: never less than the first record's timestamp, even if the client left
    /// `max_timestamp` at -1. A base timestamp that is a delete horizon is no record's and does not count.
    #[inline]
    pub fn latest_timestamp(&self) -> TimestampMs {
        if self.attributes.has_delete_horizon() {
            return self.max_timestamp;
        }
        self.max_timestamp.max(self.base_timestamp)
    }

    /// When the batch's tombstones may go, if a compaction has seen them.
    #[inline]
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        self.attributes
            .has_delete_horizon()
            .then_some(self.base_timestamp)
    }

    /// Writes the header to the first [`BATCH_HEADER_BYTES`] of `out`, the CRC as it stands in the field.
    ///
    /// Panics if `out` is shorter.
    pub fn encode_into(&self, out: &mut [u8]) {
        let mut put = |position: usize, bytes: &[u8]| {
            out[position..position + bytes.len()].copy_from_slice(bytes);
        };
        put(field::RECORDS_COUNT, &self.records_count.to_be_bytes());
        put(field::BASE_OFFSET, &self.base_offset.get().to_be_bytes());
        put(field::BATCH_LENGTH, &self.batch_length.to_be_bytes());
        put(
            field::LEADER_EPOCH,
            &self.partition_leader_epoch.get().to_be_bytes(),
        );
        put(field::MAGIC, &self.magic.to_be_bytes());
        put(field::CRC, &self.crc.to_be_bytes());
        put(field::ATTRIBUTES, &self.attributes.get().to_be_bytes());
        put(
            field::LAST_OFFSET_DELTA,
            &self.last_offset_delta.to_be_bytes(),
        );
        put(
            field::BASE_TIMESTAMP,
            &self.base_timestamp.get().to_be_bytes(),
        );
        put(
            field::MAX_TIMESTAMP,
            &self.max_timestamp.get().to_be_bytes(),
        );
        put(field::PRODUCER_ID, &self.producer_id.get().to_be_bytes());
        put(
            field::PRODUCER_EPOCH,
            &self.producer_epoch.get().to_be_bytes(),
        );
        put(
            field::BASE_SEQUENCE,
            &self.base_sequence.get().to_be_bytes(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_header() -> impl Strategy<Value = BatchHeader> {
        (
            any::<(i64, i32, u32, i16, i32)>(),
            any::<(i64, i64, i64, i16, i32, i32)>(),
            BATCH_LENGTH_MIN..=i32::MAX,
        )
            .prop_map(|(a, b, batch_length)| BatchHeader {
                base_offset: Offset::new(a.0),
                batch_length,
                partition_leader_epoch: LeaderEpoch::new(a.1),
                magic: MAGIC,
                crc: a.2,
                attributes: Attributes::new(a.3),
                last_offset_delta: a.4,
                base_timestamp: TimestampMs::new(b.0),
                max_timestamp: TimestampMs::new(b.1),
                producer_id: ProducerId::new(b.2),
                producer_epoch: ProducerEpoch::new(b.3),
                base_sequence: Sequence::new(b.4),
                records_count: b.5,
            })
    }

    proptest! {
        #[test]
        fn headers_survive_their_bytes(header in any_header(), trailing in 0_usize..4) {
            let mut bytes = vec![0xAA; BATCH_HEADER_BYTES + trailing];
            header.encode_into(&mut bytes);
            prop_assert_eq!(BatchHeader::parse(&bytes), Ok(header));
            prop_assert!(bytes[BATCH_HEADER_BYTES..].iter().all(|byte| *byte == 0xAA));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = BatchHeader::parse(&bytes) {
                let _ = (header.last_offset(), header.next_offset(), header.last_sequence());
                prop_assert!(header.size_bytes() >= BATCH_HEADER_BYTES);
            }
        }
    }

    #[test]
    fn short_bytes_wrong_magic_and_impossible_lengths_are_refused() {
        let mut bytes = [0_u8; BATCH_HEADER_BYTES];
        assert_eq!(
            BatchHeader::parse(&bytes[..60]),
            Err(BatchError::TooShort {
                got: 60,
                expected: 61
            })
        );
        assert_eq!(
            BatchHeader::parse(&bytes),
            Err(BatchError::UnsupportedMagic { got: 0 })
        );
        bytes[field::MAGIC] = 2;
        for got in [-1, i32::MIN, 0, 48] {
            bytes[field::BATCH_LENGTH..field::LEADER_EPOCH].copy_from_slice(&i32::to_be_bytes(got));
            assert_eq!(
                BatchHeader::parse(&bytes),
                Err(BatchError::LengthMismatch { got, minimum: 49 })
            );
        }
    }
}
