//! What a server lets groups do.

use crate::config::BrokerConfig;

/// Limits of groups, by Kafka's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: u64,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.max.size`.
    pub members_max: usize,
    /// `offset.metadata.max.bytes`: characters of the text that comes with an offset.
    pub offset_metadata_length_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
}

impl GroupConfig {
    /// What the broker settings say.
    pub fn of(broker: &BrokerConfig) -> Self {
        let int = |name: &str| i32::try_from(broker.integer(name)).unwrap_or(i32::MAX);
        Self {
            initial_rebalance_delay_ms: broker
                .integer("group.initial.rebalance.delay.ms")
                .unsigned_abs(),
            session_timeout_ms_min: int("group.min.session.timeout.ms"),
            session_timeout_ms_max: int("group.max.session.timeout.ms"),
            members_max: usize::try_from(broker.integer("group.max.size")).unwrap_or(usize::MAX),
            offset_metadata_length_max: usize::try_from(
                broker.integer("offset.metadata.max.bytes"),
            )
            .unwrap_or(usize::MAX),
            offsets_retention_ms: broker.integer("offsets.retention.minutes") * 60_000,
        }
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self::of(&BrokerConfig::default())
    }
}
