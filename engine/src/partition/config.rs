//! From a topic's configuration to what its partitions and their logs need of it.

use corelane_storage::LogConfig;

use super::PartitionLimits;
use crate::config::TopicConfig;

impl From<&TopicConfig> for LogConfig {
    fn from(topic: &TopicConfig) -> Self {
        // A topic that is only compacted keeps everything: retention is the `delete` policy's.
        let retention = topic.cleanup_policy.delete;
        Self {
            segment_size_bytes: topic.segment_size_bytes,
            segment_age_ms_max: u64::try_from(topic.segment_age_ms_max).unwrap_or(u64::MAX),
            index_interval_bytes: topic.index_interval_bytes,
            flush_messages: topic.flush_messages,
            flush_ms: topic.flush_ms,
            timestamp_type: topic.timestamp_type,
            message_size_bytes_max: topic.message_size_bytes_max,
            retention_ms: topic
                .retention_ms
                .filter(|_| retention)
                .and_then(|ms| u64::try_from(ms).ok()),
            retention_bytes: topic.retention_size_bytes.filter(|_| retention),
        }
    }
}

impl From<&TopicConfig> for PartitionLimits {
    fn from(topic: &TopicConfig) -> Self {
        Self {
            message_size_bytes_max: topic.message_size_bytes_max,
            insync_replicas_min: topic.insync_replicas_min,
            timestamp_type: topic.timestamp_type,
            timestamp_before_max_ms: topic.timestamp_before_ms_max,
            timestamp_after_max_ms: topic.timestamp_after_ms_max,
        }
    }
}
