//! From the engine's errors to Kafka's error codes: one exhaustive match for each.

use corelane_format::ids::LeaderEpoch;
use corelane_format::kafka::{BatchError, SplitBatch, split_first_batch};
use corelane_format::native::NativeError;
use corelane_net::api::RequestHeader;
use corelane_net::error_code::ErrorCode;
use corelane_net::server::CloseReason;
use corelane_net::wire::WireError;
use corelane_storage::{AppendError, FenceReason, LogFenced, ReadError};

use crate::server::controller::ControllerError;

/// The end of a connection that sent a malformed request.
pub(super) fn malformed(header: &RequestHeader<'_>, error: WireError) -> CloseReason {
    CloseReason::Body {
        api_key: header.api_key,
        api_version: header.api_version,
        error,
    }
}

/// A failure of the disk. Clients take it as retriable after a metadata refresh.
pub(super) const fn storage() -> ErrorCode {
    ErrorCode::KafkaStorageError
}

/// The disk has no room for more records. Kafka's code for trouble with storage, which every client tries again: Java's,
/// librdkafka's and kafka-python's refresh their metadata and send again until their delivery timeout. No code says "full".
pub(super) const NO_ROOM: ErrorCode = storage();

/// The code for `records` that are not one acceptable batch. Where Kafka looks first decides: at the framing of batches
/// (`ProduceRequest.validateRecords`), then at the checksum, then at what the header claims (`LogValidator`).
pub(super) fn of_batch(error: &BatchError, records: &[u8]) -> ErrorCode {
    match error {
        BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        BatchError::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
        // Kafka's broker decompresses what it is sent; what its reader throws on such a frame has no code of its own.
        BatchError::Lz4Frame { .. } => ErrorCode::UnknownServerError,
        // The formats before magic 2 are known, but not allowed here; others are no format at all.
        BatchError::UnsupportedMagic { got: 0 | 1 }
        | BatchError::TooShort { .. }
        | BatchError::Truncated { .. }
        | BatchError::UnknownCompression { .. }
        | BatchError::CountMismatch { .. }
        | BatchError::CountImpossible { .. }
        | BatchError::TooManyRecords { .. }
        | BatchError::ControlFromClient => ErrorCode::InvalidRecord,
        BatchError::TrailingBytes { .. } => match split_first_batch(records) {
            // A second batch: one too many. Otherwise the length is wrong.
            Ok(SplitBatch::Whole { batch, .. }) if batch.verify_crc().is_ok() => {
                ErrorCode::InvalidRecord
            }
            _ => ErrorCode::CorruptMessage,
        },
        _ => ErrorCode::CorruptMessage,
    }
}

/// The code for a payload that is not one acceptable native batch.
pub(super) fn of_native_batch(error: &NativeError) -> ErrorCode {
    match error {
        NativeError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        NativeError::Version { .. } => ErrorCode::UnsupportedForMessageFormat,
        NativeError::TrailingBytes { .. }
        | NativeError::Count { .. }
        | NativeError::Offset { .. }
        | NativeError::Attributes { .. }
        | NativeError::Producer { .. }
        | NativeError::ColumnLength { .. } => ErrorCode::InvalidRecord,
        _ => ErrorCode::CorruptMessage,
    }
}

/// The code for a read that failed.
///
/// Damaged records are `CORRUPT_MESSAGE` and no storage error. To clients a storage error means a leader whose disk went away:
/// Kafka's own consumer and librdkafka take it as retriable, refresh their metadata and ask again for ever, without a word to
/// the application. `CORRUPT_MESSAGE` is what Kafka answers when it cannot read a log's records; Kafka's consumer throws an
/// exception that names partition and offset, librdkafka hands the error to the application, and both leave the position
/// where it is, so that the application may seek behind the range.
pub(super) fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
        ReadError::Io { .. } => storage(),
    }
}

/// The code for a change of metadata that did not take effect.
pub(super) fn of_controller(error: &ControllerError) -> ErrorCode {
    match error {
        ControllerError::TooLarge { .. } => ErrorCode::PolicyViolation,
        ControllerError::Lane(_) => ErrorCode::BrokerNotAvailable,
        ControllerError::Log { .. }
        | ControllerError::Unreadable { .. }
        | ControllerError::Apply { .. } => storage(),
    }
}

/// Checks the leader epoch that a client believes in; -1 means that it does not say.
pub(super) fn check_leader_epoch(
    claimed: LeaderEpoch,
    leading: LeaderEpoch,
) -> Result<(), ErrorCode> {
    match claimed.get() {
        ..0 => Ok(()),
        epoch if epoch < leading.get() => Err(ErrorCode::FencedLeaderEpoch),
        epoch if epoch > leading.get() => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

/// The code for a log that takes no more writes.
pub(super) fn of_fence(fenced: &LogFenced) -> ErrorCode {
    match fenced.reason {
        FenceReason::Deleted => ErrorCode::UnknownTopicOrPartition,
        FenceReason::Closed => ErrorCode::NotLeaderOrFollower,
        FenceReason::Io { .. } => storage(),
    }
}

/// The code for an append that was refused.
pub(super) fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::DuplicateSequence { .. } => ErrorCode::DuplicateSequenceNumber,
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        // Being truncated or deleted: the client looks the leader up again and retries.
        AppendError::Busy { .. } => ErrorCode::NotLeaderOrFollower,
        AppendError::NoSpace { .. } => NO_ROOM,
        AppendError::Fenced(fenced) => of_fence(fenced),
    }
}
