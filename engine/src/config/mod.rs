//! What can be configured, and how it is decided: topic and broker settings by Kafka's names, and the server's own.
//!
//! Pure: text in, checked values or a
//! message for the operator out. Read before the lanes start; a lane keeps its own copy afterwards. Nothing here is
//! written to disk, so a crash leaves nothing.

pub mod broker;
pub mod broker_definitions;
pub mod definition;
pub mod nearest;
pub mod topic;
pub mod topic_definitions;
pub mod units;

pub use broker::BrokerConfig;
pub use definition::{ConfigDefinition, ConfigError, ConfigSource, ConfigType, ConfigValue};
pub use topic::{CleanupPolicy, RecordFormat, TopicConfig};
