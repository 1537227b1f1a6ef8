//! What can be configured, and how it is decided: topic and broker settings by Kafka's names, and the server's own.
//!
//! Pure but for two named readers ([`settings_file::read`] and [`process_cores`]): text in, checked values or a
//! message for the operator out. Read before the lanes start; a lane keeps its own copy afterwards. Nothing here is
//! written to disk, so a crash leaves nothing.

pub mod affinity;
pub mod broker;
pub mod broker_definitions;
pub mod cores;
pub mod definition;
pub mod group_definitions;
pub mod nearest;
pub mod settings;
pub mod settings_builder;
pub mod settings_error;
pub mod settings_file;
pub mod topic;
pub mod topic_definitions;
pub mod units;

pub use affinity::process_cores;
pub use broker::BrokerConfig;
pub use definition::{ConfigDefinition, ConfigError, ConfigSource, ConfigType, ConfigValue};
pub use settings::{
    ADMIN_ADDRESS, AdminListen, FlushChoice, ListenMode, MemoryBudgets, PollMode, ServerSettings,
};
pub use settings_builder::SettingsOverrides;
pub use settings_error::SettingsError;
pub use topic::{CleanupPolicy, RecordFormat, TopicConfig};

#[cfg(test)]
mod settings_tests;
