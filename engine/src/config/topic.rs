//! A topic's settings in effect: the server's defaults with the topic's own on top, as typed values.
//!
//! Pure. The controller checks overrides before they become metadata records; [`TopicConfig::with_overrides`] therefore
//! only meets checked ones, and keeps the default where a record of another version holds a value it cannot read.

use std::collections::BTreeMap;

use corelane_format::kafka::TimestampType;

use super::broker::BrokerConfig;
use super::definition::{ConfigError, ConfigValue, echo};
use super::topic_definitions::{TOPIC_CONFIGS, find};

/// `cleanup.policy`. Neither means that nothing is ever removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Whole segments are dropped by age and size.
    pub delete: bool,
    /// The latest value of each key is kept.
    pub compact: bool,
}

/// `record.format`: what a topic's records are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// Kafka's record batches, verbatim.
    Kafka,
    /// Native rkyv batches.
    Rkyv,
}

/// A topic's settings in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `segment.bytes` (or the smaller internal one).
    pub segment_size_bytes: u64,
    /// `segment.ms`.
    pub segment_age_ms_max: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms_max: i64,
    /// `segment.index.bytes`.
    pub segment_index_size_bytes_max: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `flush.messages`; 1 acknowledges after the flush.
    pub flush_messages: u64,
    /// `flush.ms`.
    pub flush_ms: u64,
    /// `retention.ms`; `None` keeps for ever.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; `None` is without limit.
    pub retention_size_bytes: Option<u64>,
    /// `max.message.bytes`: of one batch.
    pub message_size_bytes_max: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_ms_max: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_ms_max: i64,
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub compaction_lag_ms_min: i64,
    /// `max.compaction.lag.ms`.
    pub compaction_lag_ms_max: i64,
    /// `min.cleanable.dirty.ratio`.
    pub cleanable_dirty_ratio_min: f64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `min.insync.replicas`.
    pub insync_replicas_min: i32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `record.format`.
    pub record_format: RecordFormat,
}

impl Default for TopicConfig {
    /// The built-in defaults: Kafka's, but for `flush.messages=1`.
    fn default() -> Self {
        Self {
            segment_size_bytes: 1 << 30,
            segment_age_ms_max: 604_800_000,
            segment_jitter_ms_max: 0,
            segment_index_size_bytes_max: 10 << 20,
            index_interval_bytes: 4096,
            flush_messages: 1,
            flush_ms: i64::MAX as u64,
            retention_ms: Some(604_800_000),
            retention_size_bytes: None,
            message_size_bytes_max: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_ms_max: i64::MAX,
            timestamp_after_ms_max: 3_600_000,
            cleanup_policy: CleanupPolicy {
                delete: true,
                compact: false,
            },
            delete_retention_ms: 86_400_000,
            compaction_lag_ms_min: 0,
            compaction_lag_ms_max: i64::MAX,
            cleanable_dirty_ratio_min: 0.5,
            file_delete_delay_ms: 60_000,
            insync_replicas_min: 1,
            preallocate: false,
            unclean_leader_election: false,
            record_format: RecordFormat::Kafka,
        }
    }
}

impl TopicConfig {
    /// What a topic without settings of its own has on this server.
    pub fn server_defaults(broker: &BrokerConfig) -> Self {
        let mut config = Self::default();
        for topic in TOPIC_CONFIGS {
            if let Some((value, _)) = broker.given_topic_default(topic) {
                config.set(topic.definition.name, &value);
            }
        }
        config
    }

    /// These settings with a topic's own on top.
    #[must_use]
    pub fn with_overrides<'a>(
        &self,
        overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut config = self.clone();
        let mut internal_segment_size = None;
        for (name, text) in overrides {
            let Some(topic) = find(name) else { continue };
            let Ok(value) = topic.definition.parse(text) else {
                continue;
            };
            if topic.is_internal {
                internal_segment_size = Some(value);
            } else {
                config.set(name, &value);
            }
        }
        if let Some(ConfigValue::Integer(size)) = internal_segment_size {
            config.segment_size_bytes = unsigned(size);
        }
        config
    }

    fn set(&mut self, name: &str, value: &ConfigValue) {
        match (name, value) {
            ("segment.bytes", ConfigValue::Integer(n)) => self.segment_size_bytes = unsigned(*n),
            ("segment.ms", ConfigValue::Integer(n)) => self.segment_age_ms_max = *n,
            ("segment.jitter.ms", ConfigValue::Integer(n)) => self.segment_jitter_ms_max = *n,
            ("segment.index.bytes", ConfigValue::Integer(n)) => {
                self.segment_index_size_bytes_max = unsigned(*n);
            }
            ("index.interval.bytes", ConfigValue::Integer(n)) => {
                self.index_interval_bytes = unsigned(*n);
            }
            ("flush.messages", ConfigValue::Integer(n)) => self.flush_messages = unsigned(*n),
            ("flush.ms", ConfigValue::Integer(n)) => self.flush_ms = unsigned(*n),
            ("retention.ms", ConfigValue::Integer(n)) => {
                self.retention_ms = (*n >= 0).then_some(*n);
            }
            ("retention.bytes", ConfigValue::Integer(n)) => {
                self.retention_size_bytes = u64::try_from(*n).ok();
            }
            ("max.message.bytes", ConfigValue::Integer(n)) => {
                self.message_size_bytes_max = usize::try_from(*n).unwrap_or(0);
            }
            ("message.timestamp.type", ConfigValue::Text(text)) => {
                self.timestamp_type = match text.as_str() {
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => TimestampType::CreateTime,
                };
            }
            ("message.timestamp.before.max.ms", ConfigValue::Integer(n)) => {
                self.timestamp_before_ms_max = *n;
            }
            ("message.timestamp.after.max.ms", ConfigValue::Integer(n)) => {
                self.timestamp_after_ms_max = *n;
            }
            ("cleanup.policy", ConfigValue::List(policies)) => {
                let has = |policy: &str| policies.iter().any(|element| element == policy);
                self.cleanup_policy = CleanupPolicy {
                    delete: has("delete"),
                    compact: has("compact"),
                };
            }
            ("delete.retention.ms", ConfigValue::Integer(n)) => self.delete_retention_ms = *n,
            ("min.compaction.lag.ms", ConfigValue::Integer(n)) => self.compaction_lag_ms_min = *n,
            ("max.compaction.lag.ms", ConfigValue::Integer(n)) => self.compaction_lag_ms_max = *n,
            ("min.cleanable.dirty.ratio", ConfigValue::Double(n)) => {
                self.cleanable_dirty_ratio_min = *n;
            }
            ("file.delete.delay.ms", ConfigValue::Integer(n)) => self.file_delete_delay_ms = *n,
            ("min.insync.replicas", ConfigValue::Integer(n)) => {
                self.insync_replicas_min = i32::try_from(*n).unwrap_or(i32::MAX);
            }
            ("preallocate", ConfigValue::Boolean(b)) => self.preallocate = *b,
            ("unclean.leader.election.enable", ConfigValue::Boolean(b)) => {
                self.unclean_leader_election = *b;
            }
            ("record.format", ConfigValue::Text(text)) => {
                self.record_format = match text.as_str() {
                    "rkyv" => RecordFormat::Rkyv,
                    _ => RecordFormat::Kafka,
                };
            }
            // Settings that are checked, kept and described, but change nothing on one server.
            _ => {}
        }
    }
}

/// Checks a topic's whole set of overrides, as it would be after a change.
///
/// # Errors
/// The first refusal, in the order of names.
pub fn validate_overrides(
    server_defaults: &TopicConfig,
    overrides: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    for (name, text) in overrides {
        let Some(topic) = find(name) else {
            return Err(ConfigError::UnknownTopicConfig { name: echo(name) });
        };
        topic.definition.parse(text)?;
    }
    let effective = server_defaults.with_overrides(
        overrides
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    if effective.compaction_lag_ms_min > effective.compaction_lag_ms_max {
        return Err(ConfigError::Conflict {
            lower: "min.compaction.lag.ms",
            lower_value: effective.compaction_lag_ms_min,
            upper: "max.compaction.lag.ms",
            upper_value: effective.compaction_lag_ms_max,
        });
    }
    Ok(())
}

/// A checked number that its rule keeps from being negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn the_built_in_defaults_are_those_of_the_table() {
        let from_table = TOPIC_CONFIGS
            .iter()
            .filter(|topic| !topic.is_internal)
            .fold(
                TopicConfig {
                    segment_size_bytes: 0,
                    flush_messages: 0,
                    retention_ms: None,
                    message_size_bytes_max: 0,
                    ..TopicConfig::default()
                },
                |mut config, topic| {
                    config.set(
                        topic.definition.name,
                        &topic.definition.default_value().unwrap(),
                    );
                    config
                },
            );
        assert_eq!(from_table, TopicConfig::default());
    }

    #[test]
    fn a_topics_own_settings_win_over_the_servers() {
        let mut broker = BrokerConfig::default();
        broker.set("log.retention.ms", "1000").unwrap();
        broker.set("log.segment.bytes", "2097152").unwrap();
        let server = TopicConfig::server_defaults(&broker);
        assert_eq!(
            (server.retention_ms, server.segment_size_bytes),
            (Some(1000), 2 << 20)
        );
        let topic =
            server.with_overrides([("retention.ms", "-1"), ("cleanup.policy", "compact,delete")]);
        assert_eq!(topic.retention_ms, None);
        assert_eq!(
            topic.cleanup_policy,
            CleanupPolicy {
                delete: true,
                compact: true
            }
        );
        assert_eq!(topic.segment_size_bytes, 2 << 20);
    }

    #[test]
    fn the_internal_segment_size_wins_in_any_order() {
        let small = TopicConfig::default().with_overrides([
            ("internal.segment.bytes", "65536"),
            ("segment.bytes", "1048576"),
        ]);
        assert_eq!(small.segment_size_bytes, 65_536);
    }

    #[test]
    fn an_unreadable_override_keeps_the_default() {
        let config =
            TopicConfig::default().with_overrides([("retention.ms", "soon"), ("nosuch", "1")]);
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn sets_of_overrides_are_refused_in_kafkas_words() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Result<(), &'a str>);
        let table: &[Case<'_>] = &[
            (&[], Ok(())),
            (&[("retention.ms", "1"), ("flush.messages", "100")], Ok(())),
            (&[("nosuch", "1")], Err("Unknown topic config name: nosuch")),
            (
                &[
                    ("min.compaction.lag.ms", "10"),
                    ("max.compaction.lag.ms", "5"),
                ],
                Err(
                    "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
                ),
            ),
            (
                &[("retention.ms", "x")],
                Err("Invalid value x for configuration retention.ms: Not a number of type LONG"),
            ),
        ];
        for (pairs, expected) in table {
            let got = validate_overrides(&TopicConfig::default(), &overrides(pairs));
            assert_eq!(
                got.map_err(|error| error.to_string()),
                expected.map_err(str::to_owned),
                "{pairs:?}"
            );
        }
    }
}
