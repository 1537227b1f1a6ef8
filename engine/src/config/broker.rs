//! The broker settings of this server: what the operator set, over the built-in defaults.
//!
//! Read-only while the server runs: set in the configuration file or on the command line.

use std::collections::BTreeMap;

use super::broker_definitions::{BROKER_CONFIGS, find};
use super::definition::{ConfigDefinition, ConfigError, ConfigSource, ConfigValue};
use super::topic_definitions::TopicConfigDefinition;
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
}

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

    /// A setting as it is in effect, by its definition.
    pub fn get(&self, definition: &ConfigDefinition) -> BrokerSetting {
        match self.set.get(definition.name) {
            Some(value) => BrokerSetting {
                value: Some(value.clone()),
                source: ConfigSource::StaticBroker,
            },
            None => BrokerSetting {
                value: definition.default_value(),
                source: ConfigSource::Default,
            },
        }
    }

    /// What the operator set for this name, if anything.
    pub fn set_value(&self, name: &str) -> Option<&ConfigValue> {
        self.set.get(name)
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

    /// The default that the operator gave to a topic setting through its broker synonyms, in the topic setting's unit.
    pub fn static_topic_default(&self, topic: &TopicConfigDefinition) -> Option<ConfigValue> {
        topic.synonyms.iter().find_map(|synonym| {
            self.set.get(synonym.name).map(|value| match value {
                // -1 means "for ever" in every unit.
                ConfigValue::Integer(number) if *number >= 0 => {
                    ConfigValue::Integer(number.saturating_mul(synonym.factor))
                }
                other => other.clone(),
            })
        })
    }

    /// A topic setting of a topic without one of its own.
    pub fn topic_default(&self, topic: &TopicConfigDefinition) -> BrokerSetting {
        match self.static_topic_default(topic) {
            Some(value) => BrokerSetting {
                value: Some(value),
                source: ConfigSource::StaticBroker,
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
