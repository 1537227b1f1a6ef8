//! Records of groups as batches of a partition's log.

use std::rc::Rc;

use corelane_format::ids::TimestampMs;
use corelane_format::kafka::{BatchBuilder, BatchLimits, BuildError, validate_batch};
use corelane_net::error_code::ErrorCode;
use corelane_storage::AppendError;

use crate::group::{GroupRecord, Journal};
use crate::headroom::Room;
use crate::partition::Partition;

/// Appends to the log of a partition.
pub(super) struct LogJournal<'a> {
    partition: &'a Rc<Partition>,
    now: TimestampMs,
    room: Room,
}

impl<'a> LogJournal<'a> {
    pub(super) fn new(partition: &'a Rc<Partition>, now: TimestampMs, room: Room) -> Self {
        Self {
            partition,
            now,
            room,
        }
    }
}

impl Journal for LogJournal<'_> {
    fn append(&mut self, records: &[GroupRecord]) -> Result<(), ErrorCode> {
        if records.is_empty() {
            return Ok(());
        }
        if !self.room.takes_internal_writes() && !records.iter().all(GroupRecord::removes) {
            return Err(ErrorCode::NotCoordinator);
        }
        let partition = self.partition;
        let batch = encode(records, self.now).map_err(|error| {
            tracing::error!(partition = %partition.index, %error, "records of groups do not fit a batch");
            ErrorCode::UnknownServerError
        })?;
        let limits = BatchLimits {
            size_bytes_max: partition.limits.get().message_size_bytes_max,
            records_max: i32::MAX,
        };
        let appended = match validate_batch(&batch, &limits) {
            Ok(batch) => partition
                .log
                .append(&batch, partition.leader_epoch(), self.now),
            Err(error) => {
                tracing::warn!(partition = %partition.index, %error, "a batch of group records is refused");
                return Err(ErrorCode::UnknownServerError);
            }
        };
        appended.map(|_| ()).map_err(|error| {
            tracing::warn!(partition = %partition.index, %error, "records of groups cannot be appended");
            code_of(&error)
        })
    }
}

fn encode(records: &[GroupRecord], now: TimestampMs) -> Result<Vec<u8>, BuildError> {
    let mut builder = BatchBuilder::new();
    for record in records {
        let (key, value) = record.encode();
        builder.append(now, Some(&key), value.as_deref(), &[])?;
    }
    let mut bytes = Vec::new();
    builder.finish_into(&mut bytes)?;
    Ok(bytes)
}

/// What clients are told: Kafka's own translation of the log's errors for groups.
fn code_of(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::TooLarge { .. }
        | AppendError::DuplicateSequence { .. }
        | AppendError::OutOfOrderSequence { .. }
        | AppendError::InvalidProducerEpoch { .. } => ErrorCode::UnknownServerError,
        AppendError::Busy { .. } | AppendError::NoSpace { .. } | AppendError::Fenced(_) => {
            ErrorCode::NotCoordinator
        }
    }
}
