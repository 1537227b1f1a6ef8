//! From a topic's configuration to what its partitions and their logs need of it.

use corelane_storage::{CompactionConfig, LogConfig};

use super::PartitionLimits;
use crate::config::TopicConfig;

impl From<&TopicConfig> for LogConfig {
    fn from(topic: &TopicConfig) -> Self {
        // A topic that is only compacted keeps everything: retention is the `delete` policy's.
        let retention = topic.cleanup_policy.delete;
        let compacts = topic.cleanup_policy.compact;
        // Only sealed segments are compacted, so the active one must not grow older than that.
        let segment_age_ms_max = if compacts && topic.compaction_lag_ms_max > 0 {
            topic.segment_age_ms_max.min(topic.compaction_lag_ms_max)
        } else {
            topic.segment_age_ms_max
        };
        Self {
            segment_size_bytes: topic.segment_size_bytes,
            segment_age_ms_max: milliseconds(segment_age_ms_max),
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
            compaction: compacts.then(|| CompactionConfig {
                // A ratio from 0 to 1.
                dirty_ratio_min_ppm: (topic.cleanable_dirty_ratio_min * 1e6) as u32,
                lag_ms_min: milliseconds(topic.compaction_lag_ms_min),
                lag_ms_max: milliseconds(topic.compaction_lag_ms_max),
                delete_retention_ms: milliseconds(topic.delete_retention_ms),
            }),
        }
    }
}

fn milliseconds(setting: i64) -> u64 {
    u64::try_from(setting).unwrap_or(0)
}

impl From<&TopicConfig> for PartitionLimits {
    fn from(topic: &TopicConfig) -> Self {
        Self {
            message_size_bytes_max: topic.message_size_bytes_max,
            insync_replicas_min: topic.insync_replicas_min,
            timestamp_type: topic.timestamp_type,
            timestamp_before_max_ms: topic.timestamp_before_ms_max,
            timestamp_after_max_ms: topic.timestamp_after_ms_max,
            needs_keys: topic.cleanup_policy.compact,
            deletes_records: topic.cleanup_policy.delete || !topic.cleanup_policy.compact,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopicConfig;

    #[test]
    fn the_cleanup_policy_decides_what_has_an_effect() {
        for (policy, retains, compacts, needs_keys, deletes_records) in [
            ("delete", true, false, false, true),
            ("compact", false, true, true, false),
            ("compact,delete", true, true, true, true),
        ] {
            let topic = TopicConfig::default().with_overrides([
                ("cleanup.policy", policy),
                ("min.cleanable.dirty.ratio", "0.25"),
                ("max.compaction.lag.ms", "1000"),
            ]);
            let log = LogConfig::from(&topic);
            assert_eq!(log.retention_ms.is_some(), retains, "{policy}");
            assert_eq!(
                log.compaction
                    .map(|compaction| compaction.dirty_ratio_min_ppm),
                compacts.then_some(250_000),
                "{policy}"
            );
            let age = if compacts { 1000 } else { 604_800_000 };
            assert_eq!(log.segment_age_ms_max, age, "{policy}");
            let limits = PartitionLimits::from(&topic);
            assert_eq!(
                (limits.needs_keys, limits.deletes_records),
                (needs_keys, deletes_records),
                "{policy}"
            );
        }
    }
}
