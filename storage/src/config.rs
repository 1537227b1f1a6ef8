//! Settings of a lane's logs and of one log.

use corelane_format::kafka::TimestampType;

use crate::spares::SparesConfig;

/// Settings that all logs of a lane share.
#[derive(Debug, Clone)]
pub struct LaneLogsConfig {
    /// Largest commit: larger only for a single batch that is larger itself.
    pub commit_size_bytes_max: usize,
    /// Smallest memory that a log with pending data holds.
    pub chunk_size_bytes_min: usize,
    /// Full commits of one log that overlap.
    pub commits_in_flight_max: usize,
    /// Writes of the whole lane that overlap.
    pub writes_in_flight_max: usize,
    /// Memory for data that was just written, kept for readers at the tail.
    pub tail_budget_bytes: usize,
    /// Memory for data read from disk.
    pub read_budget_bytes: usize,
    /// Memory for indexes that lookups have loaded.
    pub index_budget_bytes: usize,
    /// Appended bytes that are not flushed yet; [`crate::LaneLogs::admit`] waits above it.
    pub unflushed_budget_bytes: usize,
    /// One read from disk.
    pub read_size_bytes: usize,
    /// A log's active segment has its sidecar written about every so many bytes; a start after a crash scans about as much.
    pub checkpoint_bytes: u64,
    /// What the random halves of the segments' generations are made from. A number that nobody outside knows, and another
    /// one for each lane and start; tests take a fixed one.
    pub seed: u64,
    /// Where retired segments are kept for new ones to overwrite; none: they are deleted.
    pub spares: Option<SparesConfig>,
}

impl Default for LaneLogsConfig {
    fn default() -> Self {
        Self {
            commit_size_bytes_max: 1 << 20,
            chunk_size_bytes_min: 8 << 10,
            commits_in_flight_max: 4,
            writes_in_flight_max: 32,
            tail_budget_bytes: 64 << 20,
            read_budget_bytes: 32 << 20,
            index_budget_bytes: 8 << 20,
            unflushed_budget_bytes: 64 << 20,
            read_size_bytes: 1 << 20,
            checkpoint_bytes: 64 << 20,
            seed: 0,
            spares: None,
        }
    }
}

/// Settings of one log, by the topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_size_bytes: u64,
    /// `segment.ms`.
    pub segment_age_ms_max: u64,
    /// `index.interval.bytes`; entries are never closer than 32 KiB.
    pub index_interval_bytes: u64,
    /// `flush.messages`: at most this many less one records are visible before they are flushed. 1: none.
    pub flush_messages: u64,
    /// `flush.ms`. The flusher writes everything as soon as it can, so any bound is kept as far as the disk allows.
    pub flush_ms: u64,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `max.message.bytes`: a larger batch is refused.
    pub message_size_bytes_max: usize,
    /// `retention.ms`; `None` for -1, and for topics that are only compacted.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`; `None` for -1, and for topics that are only compacted.
    pub retention_bytes: Option<u64>,
    /// For topics that are compacted.
    pub compaction: Option<CompactionConfig>,
}

/// How a log is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionConfig {
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub dirty_ratio_min_ppm: u32,
    /// `min.compaction.lag.ms`: younger segments are left alone.
    pub lag_ms_min: u64,
    /// `max.compaction.lag.ms`: older ones are compacted whatever the ratio.
    pub lag_ms_max: u64,
    /// `delete.retention.ms`: how long a tombstone stays after a compaction has first seen it.
    pub delete_retention_ms: u64,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        Self {
            dirty_ratio_min_ppm: 500_000,
            lag_ms_min: 0,
            lag_ms_max: u64::MAX,
            delete_retention_ms: 86_400_000,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_size_bytes: 1 << 30,
            segment_age_ms_max: 7 * 86_400_000,
            index_interval_bytes: 4096,
            flush_messages: 1,
            flush_ms: u64::MAX,
            timestamp_type: TimestampType::CreateTime,
            message_size_bytes_max: 1_048_588,
            retention_ms: Some(7 * 86_400_000),
            retention_bytes: None,
            compaction: None,
        }
    }
}
