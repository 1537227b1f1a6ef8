//! The table of APIs.

macro_rules! apis {
    ($($constant:ident = $key:literal, $name:literal, $min:literal..=$max:literal, flexible $flexible:expr;)*) => {
        $(
            #[doc = concat!("API key of ", $name, ".")]
            pub const $constant: i16 = $key;
        )*

        static SUPPORTED: &[SupportedApi] = &[$(
            SupportedApi {
                key: $key,
                name: $name,
                version_min: $min,
                version_max: $max,
                flexible_from: $flexible,
            },
        )*];
    };
}

/// One API this server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedApi {
    /// The API key.
    pub key: i16,
    /// Kafka's name of the API.
    pub name: &'static str,
    /// Lowest version advertised.
    pub version_min: i16,
    /// Highest version advertised.
    pub version_max: i16,
    /// First version with compact lengths and tagged fields; beyond all versions if there is none.
    pub flexible_from: i16,
}

impl SupportedApi {
    /// Whether `version` is advertised.
    pub const fn has_version(&self, version: i16) -> bool {
        self.version_min <= version && version <= self.version_max
    }

    /// Whether `version`, known or not, has compact lengths and tagged fields.
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

/// For an API without flexible versions.
const NEVER: i16 = i16::MAX;

// The ranges are Kafka 4.1's. Ascending by key.
apis! {
    PRODUCE = 0, "Produce", 0..=13, flexible 9;
    FETCH = 1, "Fetch", 4..=18, flexible 12;
    LIST_OFFSETS = 2, "ListOffsets", 1..=10, flexible 6;
    METADATA = 3, "Metadata", 0..=13, flexible 9;
    OFFSET_COMMIT = 8, "OffsetCommit", 2..=9, flexible 8;
    OFFSET_FETCH = 9, "OffsetFetch", 1..=9, flexible 6;
    FIND_COORDINATOR = 10, "FindCoordinator", 0..=6, flexible 3;
    JOIN_GROUP = 11, "JoinGroup", 0..=9, flexible 6;
    HEARTBEAT = 12, "Heartbeat", 0..=4, flexible 4;
    LEAVE_GROUP = 13, "LeaveGroup", 0..=5, flexible 4;
    SYNC_GROUP = 14, "SyncGroup", 0..=5, flexible 4;
    DESCRIBE_GROUPS = 15, "DescribeGroups", 0..=6, flexible 5;
    LIST_GROUPS = 16, "ListGroups", 0..=5, flexible 3;
    API_VERSIONS = 18, "ApiVersions", 0..=4, flexible 3;
    CREATE_TOPICS = 19, "CreateTopics", 2..=7, flexible 5;
    DELETE_TOPICS = 20, "DeleteTopics", 1..=6, flexible 4;
    DELETE_RECORDS = 21, "DeleteRecords", 0..=2, flexible 2;
    INIT_PRODUCER_ID = 22, "InitProducerId", 0..=5, flexible 2;
    OFFSET_FOR_LEADER_EPOCH = 23, "OffsetForLeaderEpoch", 2..=4, flexible 4;
    DESCRIBE_CONFIGS = 32, "DescribeConfigs", 1..=4, flexible 4;
    ALTER_CONFIGS = 33, "AlterConfigs", 0..=2, flexible 2;
    DESCRIBE_LOG_DIRS = 35, "DescribeLogDirs", 1..=4, flexible 2;
    CREATE_PARTITIONS = 37, "CreatePartitions", 0..=3, flexible 2;
    DELETE_GROUPS = 42, "DeleteGroups", 0..=2, flexible 2;
    ELECT_LEADERS = 43, "ElectLeaders", 0..=2, flexible 2;
    INCREMENTAL_ALTER_CONFIGS = 44, "IncrementalAlterConfigs", 0..=1, flexible 1;
    ALTER_PARTITION_REASSIGNMENTS = 45, "AlterPartitionReassignments", 0..=1, flexible 0;
    LIST_PARTITION_REASSIGNMENTS = 46, "ListPartitionReassignments", 0..=0, flexible 0;
    OFFSET_DELETE = 47, "OffsetDelete", 0..=0, flexible NEVER;
    DESCRIBE_QUORUM = 55, "DescribeQuorum", 0..=2, flexible 0;
    UPDATE_FEATURES = 57, "UpdateFeatures", 0..=2, flexible 0;
    DESCRIBE_CLUSTER = 60, "DescribeCluster", 0..=2, flexible 0;
    DESCRIBE_PRODUCERS = 61, "DescribeProducers", 0..=0, flexible 0;
    CONSUMER_GROUP_HEARTBEAT = 68, "ConsumerGroupHeartbeat", 0..=1, flexible 0;
    CONSUMER_GROUP_DESCRIBE = 69, "ConsumerGroupDescribe", 0..=1, flexible 0;
    LIST_CONFIG_RESOURCES = 74, "ListConfigResources", 0..=1, flexible 0;
    DESCRIBE_TOPIC_PARTITIONS = 75, "DescribeTopicPartitions", 0..=0, flexible 0;
}

/// Produce is advertised from version 0, because older librdkafka silently stops compressing otherwise, but only
/// versions from here on are served; the others are answered `UNSUPPORTED_VERSION`.
pub const PRODUCE_VERSION_SERVED_MIN: i16 = 3;

/// Every API this server answers, ascending by key.
pub const fn supported_apis() -> &'static [SupportedApi] {
    SUPPORTED
}

/// The API with this key, if this server answers it.
pub fn supported_api(key: i16) -> Option<&'static SupportedApi> {
    // The data path's keys come first in the table, so the scan ends at once for them.
    SUPPORTED.iter().find(|api| api.key == key)
}

#[cfg(test)]
mod tests {
    use super::{PRODUCE, supported_apis};
    use kafka_wire::API_DESCRIPTORS;

    #[test]
    fn the_table_agrees_with_the_generated_messages() {
        for api in supported_apis() {
            let descriptor = API_DESCRIPTORS
                .iter()
                .find(|descriptor| descriptor.api_key.value() == api.key)
                .unwrap();
            assert_eq!(descriptor.request.name, format!("{}Request", api.name));
            let supported = descriptor.supported_versions;
            assert!(supported.max().value() >= api.version_max, "{}", api.name);
            if api.key != PRODUCE {
                assert_eq!(supported.min().value(), api.version_min, "{}", api.name);
            }
            assert_eq!(
                descriptor
                    .flexible_versions
                    .map_or(super::NEVER, |range| range.min().value()),
                api.flexible_from,
                "{}",
                api.name
            );
        }
    }

    #[test]
    fn keys_ascend() {
        assert!(supported_apis().is_sorted_by(|left, right| left.key < right.key));
    }
}
