//! Which APIs this server speaks, in which versions, and how their headers look.
//!
//! The one table behind `ApiVersions`, request dispatch and the client. Pure; constant for the life of the process.

mod header;
mod message;
mod table;
mod versions;

pub use header::{HeaderError, RequestHeader, put_request_header};
pub use message::{
    CONTROL_LIMITS, ControlLimits, control_limits, decode_request, encode_response,
    flexible_response_header,
};
pub use table::{
    ALTER_CONFIGS, ALTER_PARTITION_REASSIGNMENTS, API_VERSIONS, CONSUMER_GROUP_DESCRIBE,
    CONSUMER_GROUP_HEARTBEAT, CREATE_PARTITIONS, CREATE_TOPICS, DELETE_GROUPS, DELETE_RECORDS,
    DELETE_TOPICS, DESCRIBE_CLUSTER, DESCRIBE_CONFIGS, DESCRIBE_GROUPS, DESCRIBE_LOG_DIRS,
    DESCRIBE_PRODUCERS, DESCRIBE_QUORUM, DESCRIBE_TOPIC_PARTITIONS, ELECT_LEADERS, FETCH,
    FIND_COORDINATOR, HEARTBEAT, INCREMENTAL_ALTER_CONFIGS, INIT_PRODUCER_ID, JOIN_GROUP,
    LEAVE_GROUP, LIST_CONFIG_RESOURCES, LIST_GROUPS, LIST_OFFSETS, LIST_PARTITION_REASSIGNMENTS,
    METADATA, OFFSET_COMMIT, OFFSET_DELETE, OFFSET_FETCH, OFFSET_FOR_LEADER_EPOCH, PRODUCE,
    PRODUCE_VERSION_SERVED_MIN, SYNC_GROUP, SupportedApi, UPDATE_FEATURES, supported_api,
    supported_apis,
};
pub use versions::{ApiVersionsError, Feature, FeatureLevel, ServerFeatures, answer_api_versions};
