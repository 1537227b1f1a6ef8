//! What a server lets groups do.

use super::assignor::Assignor;
use crate::config::BrokerConfig;

/// Which way groups may change their protocol while members are in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Both ways.
    Bidirectional,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// Not at all.
    Disabled,
}

impl MigrationPolicy {
    /// The policy of this name, whatever its case.
    fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "upgrade" => Self::Upgrade,
            "downgrade" => Self::Downgrade,
            "disabled" => Self::Disabled,
            _ => Self::Bidirectional,
        }
    }

    /// Whether a classic group may become a consumer group.
    pub fn allows_upgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    /// Whether a consumer group may become a classic one.
    pub fn allows_downgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}

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
    /// `group.consumer.session.timeout.ms`.
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.max.size`.
    pub consumer_members_max: usize,
    /// `group.consumer.assignors`, at least one: the first is for groups whose members ask for none.
    pub consumer_assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`.
    pub migration: MigrationPolicy,
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
            consumer_session_timeout_ms: int("group.consumer.session.timeout.ms"),
            consumer_heartbeat_interval_ms: int("group.consumer.heartbeat.interval.ms"),
            consumer_members_max: usize::try_from(broker.integer("group.consumer.max.size"))
                .unwrap_or(usize::MAX),
            consumer_assignors: broker
                .text("group.consumer.assignors")
                .split(',')
                .filter_map(|name| Assignor::named(name.trim()))
                .collect(),
            migration: MigrationPolicy::named(&broker.text("group.consumer.migration.policy")),
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
