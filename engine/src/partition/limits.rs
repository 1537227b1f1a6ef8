//! What a topic's configuration allows a batch to be.

use corelane_format::ids::TimestampMs;
use corelane_format::kafka::{BatchHeader, TimestampType};
use corelane_net::error_code::ErrorCode;

/// Checked on every produced batch; changes with the topic's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLimits {
    /// `max.message.bytes`: the largest batch, in bytes.
    pub message_size_bytes_max: usize,
    /// `min.insync.replicas`: this server is the only replica there is.
    pub insync_replicas_min: i32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a record's timestamp may lie in the past.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far it may lie in the future.
    pub timestamp_after_max_ms: i64,
    /// Whether every record needs a key: `cleanup.policy` has `compact`.
    pub needs_keys: bool,
    /// Whether DeleteRecords is allowed: not where the topic is only compacted.
    pub deletes_records: bool,
}

impl PartitionLimits {
    /// Checks the batch's timestamp bounds, as far as its header tells: its newest record must not be too far in the
    /// future, nor too far in the past.
    ///
    /// # Errors
    /// `INVALID_TIMESTAMP`.
    pub fn check_timestamps(
        &self,
        header: &BatchHeader,
        now: TimestampMs,
    ) -> Result<(), ErrorCode> {
        // With LogAppendTime the broker's clock replaces whatever the producer says; -1 is "no timestamp".
        let newest = header.max_timestamp.get();
        if self.timestamp_type == TimestampType::LogAppendTime || newest < 0 {
            return Ok(());
        }
        let ahead = newest.saturating_sub(now.get());
        if ahead > self.timestamp_after_max_ms
            || ahead.saturating_neg() > self.timestamp_before_max_ms
        {
            return Err(ErrorCode::InvalidTimestamp);
        }
        Ok(())
    }
}
