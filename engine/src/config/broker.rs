//! The broker settings of this server: what the operator set, over the built-in defaults.
//!
//! Set in the configuration file or on the command line. Those that give topics their defaults can be changed while the
//! server runs, for one node or for all; the others are read-only ([`is_dynamic`]).

use std::collections::BTreeMap;

use super::broker_definitions::{BROKER_CONFIGS, find};
use super::definition::{ConfigDefinition, ConfigError, ConfigSource, ConfigValue};
use super::topic_definitions::{TOPIC_CONFIGS, TopicConfigDefinition};
use super::units;

/// A broker setting as it is in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSetting {
    /// The value; `None` is Kafka's null.
    pub value: Option<ConfigValue>,
    /// Set by the operator, or built in.
    pub source: ConfigSource,
}

/// The broker settings of this server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerConfig {
    set: BTreeMap<&'static str, ConfigValue>,
    /// Set while the server runs: of one node, then of every node.
    node: BTreeMap<&'static str, ConfigValue>,
    every_node: BTreeMap<&'static str, ConfigValue>,
}

/// Whether a broker setting can be changed while the server runs: it gives topics their default, and Kafka changes it at run
/// time too.
pub fn is_dynamic(name: &str) -> bool {
    !FIXED_TOPIC_DEFAULTS.contains(&name)
        && TOPIC_CONFIGS
            .iter()
            .flat_map(|topic| topic.synonyms)
            .any(|synonym| synonym.name == name)
}

/// Broker settings behind topic settings that Kafka does not change at run time: those in coarser units.
const FIXED_TOPIC_DEFAULTS: [&str; 5] = [
    "log.flush.scheduler.interval.ms",
    "log.retention.hours",
    "log.retention.minutes",
    "log.roll.hours",
    "log.roll.jitter.hours",
];

impl BrokerConfig {
    /// Sets a broker setting from text. Sizes and durations may carry a unit, as `64KiB` or `10s`.
    ///
    /// Returns `false` if no broker setting has this name.
    ///
    /// # Errors
    /// The value does not suit the setting.
    pub fn set(&mut self, name: &str, text: &str) -> Result<bool, ConfigError> {
        let Some(definition) = find(name) else {
            return Ok(false);
        };
        let plain = units::without_unit(name, text).map_err(|error| ConfigError::InvalidValue {
            name: name.to_owned(),
            value: super::definition::echo(text),
            reason: error.to_string(),
        })?;
        let value = definition.parse(&plain)?;
        self.set.insert(definition.name, value);
        Ok(true)
    }

    /// These settings with those on top that were set while the server runs. Names and values that this server does not
    /// know, of a record of another version, are left out.
    #[must_use]
    pub fn with_dynamic(
        &self,
        node: Option<&BTreeMap<String, String>>,
        every_node: Option<&BTreeMap<String, String>>,
    ) -> Self {
        let layer = |texts: Option<&BTreeMap<String, String>>| {
            texts
                .into_iter()
                .flatten()
                .filter_map(|(name, text)| {
                    let definition = find(name).filter(|_| is_dynamic(name))?;
                    Some((definition.name, definition.parse(text).ok()?))
                })
                .collect()
        };
        Self {
            set: self.set.clone(),
            node: layer(node),
            every_node: layer(every_node),
        }
    }

    /// What was set for this name, and where, the strongest first.
    pub fn layers(&self, name: &str) -> impl Iterator<Item = (&ConfigValue, ConfigSource)> {
        [
            (&self.node, ConfigSource::DynamicBroker),
            (&self.every_node, ConfigSource::DynamicDefault),
            (&self.set, ConfigSource::StaticBroker),
        ]
        .into_iter()
        .filter_map(move |(layer, source)| Some((layer.get(name)?, source)))
    }

    /// A setting as it is in effect, by its definition.
    pub fn get(&self, definition: &ConfigDefinition) -> BrokerSetting {
        match self.layers(definition.name).next() {
            Some((value, source)) => BrokerSetting {
                value: Some(value.clone()),
                source,
            },
            None => BrokerSetting {
                value: definition.default_value(),
                source: ConfigSource::Default,
            },
        }
    }

    /// A whole-number setting.
    ///
    /// Panics if the table has no whole-number setting of this name with a default: a bug, found by the first call.
    pub fn integer(&self, name: &str) -> i64 {
        match self.effective(name) {
            Some(ConfigValue::Integer(number)) => number,
            other => panic!("broker setting {name} is no number: {other:?}"),
        }
    }

    /// A boolean setting. Panics as [`BrokerConfig::integer`] does.
    pub fn boolean(&self, name: &str) -> bool {
        match self.effective(name) {
            Some(ConfigValue::Boolean(value)) => value,
            other => panic!("broker setting {name} is no boolean: {other:?}"),
        }
    }

    /// A fractional setting. Panics as [`BrokerConfig::integer`] does.
    pub fn double(&self, name: &str) -> f64 {
        match self.effective(name) {
            Some(ConfigValue::Double(number)) => number,
            other => panic!("broker setting {name} is no fraction: {other:?}"),
        }
    }

    /// A setting as text, lists with commas between. Panics as [`BrokerConfig::integer`] does.
    pub fn text(&self, name: &str) -> String {
        match self.effective(name) {
            Some(value) => value.to_string(),
            None => panic!("broker setting {name} has no value"),
        }
    }

    fn effective(&self, name: &str) -> Option<ConfigValue> {
        find(name).and_then(|definition| self.get(definition).value)
    }

    /// `num.partitions`.
    pub fn num_partitions(&self) -> i32 {
        i32::try_from(self.integer("num.partitions")).unwrap_or(i32::MAX)
    }

    /// `auto.create.topics.enable`.
    pub fn auto_create_topics(&self) -> bool {
        self.boolean("auto.create.topics.enable")
    }

    /// `delete.topic.enable`.
    pub fn delete_topics(&self) -> bool {
        self.boolean("delete.topic.enable")
    }

    /// `socket.request.max.bytes`.
    pub fn request_size_bytes_max(&self) -> usize {
        usize::try_from(self.integer("socket.request.max.bytes")).unwrap_or(usize::MAX)
    }

    /// `connections.max.idle.ms`.
    pub fn connection_idle_ms_max(&self) -> u64 {
        self.integer("connections.max.idle.ms").unsigned_abs()
    }

    /// `max.connections`, of the whole server.
    pub fn connections_max(&self) -> usize {
        usize::try_from(self.integer("max.connections")).unwrap_or(usize::MAX)
    }

    /// `max.connections.per.ip`.
    pub fn connections_per_address_max(&self) -> usize {
        usize::try_from(self.integer("max.connections.per.ip")).unwrap_or(usize::MAX)
    }

    /// `fetch.max.bytes`.
    pub fn fetch_size_bytes_max(&self) -> usize {
        usize::try_from(self.integer("fetch.max.bytes")).unwrap_or(usize::MAX)
    }

    /// `max.incremental.fetch.session.cache.slots`, of each node.
    pub fn fetch_sessions_max(&self) -> usize {
        usize::try_from(self.integer("max.incremental.fetch.session.cache.slots"))
            .unwrap_or(usize::MAX)
    }

    /// `log.retention.check.interval.ms`.
    pub fn retention_check_interval_ms(&self) -> u64 {
        self.integer("log.retention.check.interval.ms")
            .unsigned_abs()
    }

    /// `offsets.retention.check.interval.ms`.
    pub fn offsets_retention_check_interval_ms(&self) -> u64 {
        self.integer("offsets.retention.check.interval.ms")
            .unsigned_abs()
    }

    /// `log.cleaner.backoff.ms`.
    pub fn cleaner_backoff_ms(&self) -> u64 {
        self.integer("log.cleaner.backoff.ms").unsigned_abs()
    }

    /// `log.cleaner.dedupe.buffer.size`, of the whole server.
    pub fn cleaner_map_bytes(&self) -> usize {
        usize::try_from(self.integer("log.cleaner.dedupe.buffer.size")).unwrap_or(usize::MAX)
    }

    /// `log.cleaner.io.max.bytes.per.second`, of the whole server.
    pub fn cleaner_bytes_per_second_max(&self) -> f64 {
        self.double("log.cleaner.io.max.bytes.per.second")
    }

    /// `max.request.partition.size.limit`.
    pub fn described_partitions_max(&self) -> usize {
        usize::try_from(self.integer("max.request.partition.size.limit")).unwrap_or(usize::MAX)
    }

    /// The default that was given to a topic setting through its broker synonyms, in the topic setting's unit.
    pub fn given_topic_default(
        &self,
        topic: &TopicConfigDefinition,
    ) -> Option<(ConfigValue, ConfigSource)> {
        topic.synonyms.iter().find_map(|synonym| {
            let (value, source) = self.layers(synonym.name).next()?;
            let value = match value {
                // -1 means "for ever" in every unit.
                ConfigValue::Integer(number) if *number >= 0 => {
                    ConfigValue::Integer(number.saturating_mul(synonym.factor))
                }
                other => other.clone(),
            };
            Some((value, source))
        })
    }

    /// A topic setting of a topic without one of its own.
    pub fn topic_default(&self, topic: &TopicConfigDefinition) -> BrokerSetting {
        match self.given_topic_default(topic) {
            Some((value, source)) => BrokerSetting {
                value: Some(value),
                source,
            },
            None => BrokerSetting {
                value: topic.definition.default_value(),
                source: ConfigSource::Default,
            },
        }
    }

    /// The names of all broker settings.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BROKER_CONFIGS.iter().map(|definition| definition.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic_definitions;

    #[test]
    fn every_typed_accessor_has_a_setting_behind_it() {
        let broker = BrokerConfig::default();
        assert_eq!(broker.num_partitions(), 1);
        assert!(broker.auto_create_topics() && broker.delete_topics());
        assert_eq!(broker.request_size_bytes_max(), 100 << 20);
        assert_eq!(broker.connection_idle_ms_max(), 600_000);
        assert_eq!(
            (
                broker.connections_max(),
                broker.connections_per_address_max()
            ),
            (12_000, 12_000)
        );
        assert_eq!(broker.fetch_size_bytes_max(), 55 << 20);
        assert_eq!(broker.fetch_sessions_max(), 1_000);
        assert_eq!(broker.retention_check_interval_ms(), 300_000);
        assert_eq!(broker.described_partitions_max(), 2_000);
        assert_eq!(broker.offsets_retention_check_interval_ms(), 600_000);
        assert_eq!(
            (broker.cleaner_backoff_ms(), broker.cleaner_map_bytes()),
            (15_000, 128 << 20)
        );
        assert!(broker.cleaner_bytes_per_second_max() > 1e300);
    }

    #[test]
    fn the_first_synonym_that_is_set_gives_the_topic_default() {
        type Case<'a> = (&'a [(&'a str, &'a str)], i64, ConfigSource);
        let retention = topic_definitions::find("retention.ms").unwrap();
        let table: &[Case<'_>] = &[
            (&[], 604_800_000, ConfigSource::Default),
            (
                &[("log.retention.hours", "2")],
                7_200_000,
                ConfigSource::StaticBroker,
            ),
            (
                &[("log.retention.hours", "2"), ("log.retention.minutes", "3")],
                180_000,
                ConfigSource::StaticBroker,
            ),
            (
                &[("log.retention.minutes", "3"), ("log.retention.ms", "7")],
                7,
                ConfigSource::StaticBroker,
            ),
            (
                &[("log.retention.hours", "-1")],
                -1,
                ConfigSource::StaticBroker,
            ),
            (
                &[("log.retention.ms", "3d")],
                259_200_000,
                ConfigSource::StaticBroker,
            ),
        ];
        for (settings, value, source) in table {
            let mut broker = BrokerConfig::default();
            for (name, text) in *settings {
                assert_eq!(broker.set(name, text), Ok(true));
            }
            let expected = BrokerSetting {
                value: Some(ConfigValue::Integer(*value)),
                source: *source,
            };
            assert_eq!(broker.topic_default(retention), expected, "{settings:?}");
        }
    }

    #[test]
    fn what_was_set_at_run_time_wins_and_the_node_over_all_nodes() {
        let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect()
        };
        let mut broker = BrokerConfig::default();
        broker.set("log.retention.ms", "1000").unwrap();
        let all = texts(&[("log.retention.ms", "2000"), ("num.partitions", "9")]);
        let node = texts(&[("log.retention.ms", "3000"), ("log.segment.bytes", "x")]);
        let table = [
            (None, None, 1000, ConfigSource::StaticBroker),
            (None, Some(&all), 2000, ConfigSource::DynamicDefault),
            (Some(&node), Some(&all), 3000, ConfigSource::DynamicBroker),
        ];
        let retention = topic_definitions::find("retention.ms").unwrap();
        for (node, all, value, source) in table {
            let broker = broker.with_dynamic(node, all);
            let expected = BrokerSetting {
                value: Some(ConfigValue::Integer(value)),
                source,
            };
            assert_eq!(broker.topic_default(retention), expected);
            assert_eq!(broker.num_partitions(), 1, "read-only");
            assert_eq!(broker.layers("log.segment.bytes").count(), 0, "unreadable");
        }
        assert!(is_dynamic("log.cleanup.policy") && is_dynamic("min.insync.replicas"));
        assert!(!is_dynamic("num.partitions") && !is_dynamic("log.retention.hours"));
    }

    #[test]
    fn unknown_names_and_unsuitable_values_are_told_apart() {
        let mut broker = BrokerConfig::default();
        assert_eq!(broker.set("num.network.threads", "3"), Ok(false));
        assert_eq!(
            broker.set("num.partitions", "0").unwrap_err().to_string(),
            "Invalid value 0 for configuration num.partitions: Value must be at least 1"
        );
        assert_eq!(
            broker
                .set("log.segment.bytes", "64XB")
                .unwrap_err()
                .to_string(),
            "Invalid value 64XB for configuration log.segment.bytes: XB is no unit of size; use B, KiB, MiB, GiB, TiB, KB, MB, GB or TB"
        );
        assert_eq!(broker.num_partitions(), 1);
    }
}
