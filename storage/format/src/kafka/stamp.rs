//! What a leader writes into a batch that it appends.
//!
//! The offset and the leader epoch lie outside of the CRC, so stamping them costs nothing more. Timestamps lie inside:
//! the batch is hashed anew.
//!
//! These functions are for batches that were validated or built here. They panic on fewer bytes than a header, which
//! such a batch cannot have.

use super::attributes::Attributes;
use super::header::{CRC_START, field};
use crate::checksum::crc32c;
use crate::ids::{LeaderEpoch, Offset, TimestampMs};

/// Writes base offset and leader epoch. The checksum stays right.
#[inline]
pub fn stamp_offset(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    batch[field::BASE_OFFSET..field::BATCH_LENGTH]
        .copy_from_slice(&base_offset.get().to_be_bytes());
    batch[field::LEADER_EPOCH..field::MAGIC].copy_from_slice(&leader_epoch.get().to_be_bytes());
}

/// Makes every record's timestamp the broker's: sets the attribute, the max timestamp and the new CRC.
///
/// `batch` must be exactly the batch.
pub fn stamp_log_append_time(batch: &mut [u8], now: TimestampMs) {
    // The kind of timestamp is a bit of the low byte of the big-endian attributes.
    batch[field::ATTRIBUTES + 1] |= Attributes::LOG_APPEND_TIME as u8;
    stamp_max_timestamp(batch, now);
}

/// Corrects the max timestamp, when the records were looked at and the client's claim was wrong, and sets the new CRC.
///
/// `batch` must be exactly the batch.
pub fn stamp_max_timestamp(batch: &mut [u8], max_timestamp: TimestampMs) {
    batch[field::MAX_TIMESTAMP..field::PRODUCER_ID]
        .copy_from_slice(&max_timestamp.get().to_be_bytes());
    stamp_crc(batch);
}

/// Writes the CRC of the batch as it now stands, and returns it.
pub(super) fn stamp_crc(batch: &mut [u8]) -> u32 {
    let crc = crc32c(&batch[CRC_START..]);
    batch[field::CRC..field::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    crc
}
