//! The fixed header of a native batch.

use rkyv::ser::writer::Buffer;
use rkyv::{Archive, Serialize};

use super::error::NativeError;
use crate::checksum::{crc32c, crc32c_append};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use crate::kafka::{Attributes, TimestampType};

/// Size of the header.
pub const NATIVE_HEADER_BYTES: usize = 80;
/// A batch starts at a multiple of this in memory, and its size is one.
pub const NATIVE_ALIGNMENT: usize = 16;
/// `CLnb` in memory.
pub const NATIVE_BATCH_MAGIC: u32 = u32::from_le_bytes(*b"CLnb");
/// The version that this code writes, and the only one that it reads.
pub const NATIVE_BATCH_VERSION: u16 = 1;

/// The archived form: what lies in memory, on disk and on the wire.
#[derive(Clone, Copy, Debug, Archive, Serialize)]
struct Fields {
    magic: u32,
    version: u16,
    attributes: i16,
    /// Stamped, outside of the checksum.
    base_offset: i64,
    /// Stamped, outside of the checksum.
    leader_epoch: i32,
    size_bytes: u32,
    producer_id: i64,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_epoch: i16,
    reserved_short: u16,
    base_sequence: i32,
    last_offset_delta: i32,
    records_count: i32,
    body_checksum: u32,
    header_checksum: u32,
    reserved: u64,
}

const ATTRIBUTES_AT: usize = std::mem::offset_of!(ArchivedFields, attributes);
const BASE_OFFSET_AT: usize = std::mem::offset_of!(ArchivedFields, base_offset);
const LEADER_EPOCH_AT: usize = std::mem::offset_of!(ArchivedFields, leader_epoch);
const SIZE_AT: usize = std::mem::offset_of!(ArchivedFields, size_bytes);
const MAX_TIMESTAMP_AT: usize = std::mem::offset_of!(ArchivedFields, max_timestamp);
const HEADER_CHECKSUM_AT: usize = std::mem::offset_of!(ArchivedFields, header_checksum);
const RESERVED_AT: usize = std::mem::offset_of!(ArchivedFields, reserved);

const _: () = {
    assert!(size_of::<ArchivedFields>() == NATIVE_HEADER_BYTES);
    assert!(align_of::<ArchivedFields>() == 8);
    assert!(NATIVE_HEADER_BYTES.is_multiple_of(NATIVE_ALIGNMENT));
    assert!(ATTRIBUTES_AT == 6 && BASE_OFFSET_AT == 8 && LEADER_EPOCH_AT == 16 && SIZE_AT == 20);
    assert!(std::mem::offset_of!(ArchivedFields, producer_id) == 24);
    assert!(MAX_TIMESTAMP_AT == 40);
    assert!(std::mem::offset_of!(ArchivedFields, records_count) == 60);
    assert!(HEADER_CHECKSUM_AT == 68 && RESERVED_AT == 72);
};

/// The parsed header of a native batch. The fields mean what they mean in [`crate::kafka::BatchHeader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeBatchHeader {
    /// Kind of timestamps, transaction and control bits; never a codec.
    pub attributes: Attributes,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Epoch of the leader that appended the batch.
    pub leader_epoch: LeaderEpoch,
    /// Size of the whole batch, header included: a multiple of [`NATIVE_ALIGNMENT`].
    pub size_bytes: u32,
    /// The idempotent producer, or negative.
    pub producer_id: ProducerId,
    /// The incarnation of the producer, or negative.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, or negative.
    pub base_sequence: Sequence,
    /// The first record's timestamp, or the time after which compaction may drop tombstones if the attributes say so.
    pub base_timestamp: TimestampMs,
    /// The largest timestamp, or the broker's time if the attributes say so.
    pub max_timestamp: TimestampMs,
    /// Last offset minus base offset.
    pub last_offset_delta: i32,
    /// Number of records.
    pub records_count: i32,
    /// CRC32C of everything after the header.
    pub body_checksum: u32,
}

/// A header's bytes, aligned as the archive demands.
#[repr(C, align(16))]
struct Aligned([u8; NATIVE_HEADER_BYTES]);

impl NativeBatchHeader {
    /// A header of nothing: no producer, no records.
    pub(super) const EMPTY: Self = Self {
        attributes: Attributes::new(0),
        base_offset: Offset::ZERO,
        leader_epoch: LeaderEpoch::UNKNOWN,
        size_bytes: 0,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: Sequence::NONE,
        base_timestamp: TimestampMs::NONE,
        max_timestamp: TimestampMs::NONE,
        last_offset_delta: -1,
        records_count: 0,
        body_checksum: 0,
    };

    /// Offset of the last record, inclusive. Saturates for headers that were not validated.
    #[inline]
    pub const fn last_offset(&self) -> Offset {
        Offset::new(
            self.base_offset
                .get()
                .saturating_add(self.last_offset_delta as i64),
        )
    }

    /// The broker's time that all records have, if they have it.
    #[inline]
    pub fn log_append_time(&self) -> Option<TimestampMs> {
        (self.attributes.timestamp_type() == TimestampType::LogAppendTime)
            .then_some(self.max_timestamp)
    }

    /// Writes the header with its checksum to the first [`NATIVE_HEADER_BYTES`] of `out`.
    ///
    /// Panics if `out` is shorter.
    pub(super) fn encode_into(&self, out: &mut [u8]) {
        let fields = Fields {
            magic: NATIVE_BATCH_MAGIC,
            version: NATIVE_BATCH_VERSION,
            attributes: self.attributes.get(),
            base_offset: self.base_offset.get(),
            leader_epoch: self.leader_epoch.get(),
            size_bytes: self.size_bytes,
            producer_id: self.producer_id.get(),
            base_timestamp: self.base_timestamp.get(),
            max_timestamp: self.max_timestamp.get(),
            producer_epoch: self.producer_epoch.get(),
            reserved_short: 0,
            base_sequence: self.base_sequence.get(),
            last_offset_delta: self.last_offset_delta,
            records_count: self.records_count,
            body_checksum: self.body_checksum,
            header_checksum: 0,
            reserved: 0,
        };
        let mut aligned = Aligned([0; NATIVE_HEADER_BYTES]);
        // A flat archive of a known size into a buffer of that size: the only way to fail is a buffer that is too small.
        rkyv::api::serialize_using::<_, rkyv::rancor::Panic>(
            &fields,
            &mut Buffer::from(&mut aligned.0),
        )
        .unwrap_or_else(|error| match error {});
        stamp_checksum(&mut aligned.0);
        out[..NATIVE_HEADER_BYTES].copy_from_slice(&aligned.0);
    }

    /// Reads the header at the start of `bytes`, which may be longer and need not be aligned.
    ///
    /// Checks magic, version, the header's own checksum and the size; [`super::NativeBatch::open`] checks the rest.
    pub fn decode(bytes: &[u8]) -> Result<Self, NativeError> {
        let Some(raw) = bytes.first_chunk::<NATIVE_HEADER_BYTES>() else {
            return Err(NativeError::TooShort {
                got: bytes.len(),
                expected: NATIVE_HEADER_BYTES,
            });
        };
        let aligned = Aligned(*raw);
        let fields = rkyv::access::<ArchivedFields, rkyv::rancor::Failure>(&aligned.0)
            .map_err(|_| NativeError::Archive)?;
        if fields.magic != NATIVE_BATCH_MAGIC {
            return Err(NativeError::Magic {
                got: fields.magic.to_native(),
            });
        }
        // The checksum before the version: a rotten version is damage and not a foreign batch.
        let expected = checksum(raw);
        if fields.header_checksum != expected {
            return Err(NativeError::HeaderChecksum {
                got: fields.header_checksum.to_native(),
                expected,
            });
        }
        if fields.version != NATIVE_BATCH_VERSION {
            return Err(NativeError::Version {
                got: fields.version.to_native(),
            });
        }
        let size_bytes = fields.size_bytes.to_native();
        if (size_bytes as usize) < NATIVE_HEADER_BYTES
            || size_bytes > i32::MAX as u32
            || !(size_bytes as usize).is_multiple_of(NATIVE_ALIGNMENT)
        {
            return Err(NativeError::Size { got: size_bytes });
        }
        Ok(Self {
            attributes: Attributes::new(fields.attributes.to_native()),
            base_offset: Offset::new(fields.base_offset.to_native()),
            leader_epoch: LeaderEpoch::new(fields.leader_epoch.to_native()),
            size_bytes,
            producer_id: ProducerId::new(fields.producer_id.to_native()),
            producer_epoch: ProducerEpoch::new(fields.producer_epoch.to_native()),
            base_sequence: Sequence::new(fields.base_sequence.to_native()),
            base_timestamp: TimestampMs::new(fields.base_timestamp.to_native()),
            max_timestamp: TimestampMs::new(fields.max_timestamp.to_native()),
            last_offset_delta: fields.last_offset_delta.to_native(),
            records_count: fields.records_count.to_native(),
            body_checksum: fields.body_checksum.to_native(),
        })
    }
}

/// Writes base offset and leader epoch into a native batch. The checksums stay right.
///
/// Panics on fewer bytes than a header, which no opened or built batch has.
#[inline]
pub fn stamp_native_offset(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    batch[BASE_OFFSET_AT..LEADER_EPOCH_AT].copy_from_slice(&base_offset.get().to_le_bytes());
    batch[LEADER_EPOCH_AT..SIZE_AT].copy_from_slice(&leader_epoch.get().to_le_bytes());
}

/// Makes every record's timestamp the broker's. Only the header is hashed anew.
///
/// Panics on fewer bytes than a header, which no opened or built batch has.
pub fn stamp_native_log_append_time(batch: &mut [u8], now: TimestampMs) {
    // The kind of timestamp is a bit of the low byte of the little-endian attributes.
    let attribute = Attributes::new(0).with_timestamp_type(TimestampType::LogAppendTime);
    batch[ATTRIBUTES_AT] |= attribute.get() as u8;
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&now.get().to_le_bytes());
    stamp_checksum(batch);
}

/// Hashes everything but the stamped fields and the field that holds the result.
fn checksum(header: &[u8]) -> u32 {
    let crc = crc32c(&header[..BASE_OFFSET_AT]);
    let crc = crc32c_append(crc, &header[SIZE_AT..HEADER_CHECKSUM_AT]);
    crc32c_append(crc, &header[RESERVED_AT..NATIVE_HEADER_BYTES])
}

/// Writes the header's checksum.
fn stamp_checksum(header: &mut [u8]) {
    let crc = checksum(header);
    header[HEADER_CHECKSUM_AT..RESERVED_AT].copy_from_slice(&crc.to_le_bytes());
}

/// Makes the header of damaged bytes consistent again, so that a fuzzer gets past it. `batch` is at least a header long.
pub(crate) fn repair(batch: &mut [u8]) {
    let size_bytes = batch.len() as u32;
    let body_checksum = crc32c(&batch[NATIVE_HEADER_BYTES..]);
    batch[..4].copy_from_slice(&NATIVE_BATCH_MAGIC.to_le_bytes());
    batch[4..ATTRIBUTES_AT].copy_from_slice(&NATIVE_BATCH_VERSION.to_le_bytes());
    batch[SIZE_AT..SIZE_AT + 4].copy_from_slice(&size_bytes.to_le_bytes());
    batch[HEADER_CHECKSUM_AT - 4..HEADER_CHECKSUM_AT].copy_from_slice(&body_checksum.to_le_bytes());
    stamp_checksum(batch);
}
