//! The table of settings of single groups: those of Kafka 4.1 that concern consumer groups.

use std::collections::BTreeMap;

use super::broker::BrokerConfig;
use super::definition::{ConfigDefinition, ConfigError, ConfigType, ConfigValue, Rule, echo};

/// How long a member may be silent.
pub const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
/// How often a member is to show that it lives.
pub const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";

/// A setting of groups.
#[derive(Clone, Copy, Debug)]
pub struct GroupConfigDefinition {
    /// The setting.
    pub definition: ConfigDefinition,
    /// The broker setting that gives it its default.
    pub default: &'static str,
    /// The broker settings that bound it, both inclusive.
    pub bounds: (&'static str, &'static str),
}

impl GroupConfigDefinition {
    /// What a group without a setting of its own has.
    pub fn default_of(&self, broker: &BrokerConfig) -> i64 {
        broker.integer(self.default)
    }
}

const fn group(
    name: &'static str,
    default: &'static str,
    bounds: (&'static str, &'static str),
    documentation: &'static str,
) -> GroupConfigDefinition {
    GroupConfigDefinition {
        definition: ConfigDefinition {
            name,
            kind: ConfigType::Int,
            default: None,
            rule: Rule::AtLeast(1),
            documentation,
        },
        default,
        bounds,
    }
}

/// All of them, by name.
pub const GROUP_CONFIGS: [GroupConfigDefinition; 2] = [
    group(
        HEARTBEAT_INTERVAL,
        "group.consumer.heartbeat.interval.ms",
        (
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ),
        "How often the members of this consumer group are to show that they live.",
    ),
    group(
        SESSION_TIMEOUT,
        "group.consumer.session.timeout.ms",
        (
            "group.consumer.min.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ),
        "How long the members of this consumer group may be silent.",
    ),
];

/// Finds a setting by its name.
pub fn find(name: &str) -> Option<&'static GroupConfigDefinition> {
    GROUP_CONFIGS
        .iter()
        .find(|candidate| candidate.definition.name == name)
}

/// Checks a group's own settings, over the defaults that the server gives it: names, values, bounds, and each against the
/// other.
///
/// # Errors
/// A typed refusal whose text is what Kafka answers.
pub fn validate(own: &BTreeMap<String, String>, broker: &BrokerConfig) -> Result<(), ConfigError> {
    if let Some(name) = own.keys().find(|name| find(name).is_none()) {
        return Err(ConfigError::UnknownGroupConfig { name: echo(name) });
    }
    for config in &GROUP_CONFIGS {
        if let Some(text) = own.get(config.definition.name) {
            config.definition.parse(text)?;
        }
    }
    let value = |config: &GroupConfigDefinition| {
        effective(own, config.definition.name).unwrap_or_else(|| config.default_of(broker))
    };
    for config in &GROUP_CONFIGS {
        let (min, max) = config.bounds;
        let got = value(config);
        let name = config.definition.name;
        if got < broker.integer(min) {
            return Err(ConfigError::Bound {
                name,
                relation: "greater than or equal to",
                other: min,
            });
        }
        if got > broker.integer(max) {
            return Err(ConfigError::Bound {
                name,
                relation: "less than or equal to",
                other: max,
            });
        }
    }
    let [heartbeat, session] = &GROUP_CONFIGS;
    if value(session) <= value(heartbeat) {
        return Err(ConfigError::Bound {
            name: SESSION_TIMEOUT,
            relation: "greater than",
            other: HEARTBEAT_INTERVAL,
        });
    }
    Ok(())
}

/// A group's own value of a setting; none if it has none, or one that this version cannot read.
pub fn effective(own: &BTreeMap<String, String>, name: &str) -> Option<i64> {
    match find(name)?.definition.parse(own.get(name)?) {
        Ok(ConfigValue::Integer(number)) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker_definitions;

    #[test]
    fn every_setting_has_its_broker_settings() {
        for config in &GROUP_CONFIGS {
            for name in [config.default, config.bounds.0, config.bounds.1] {
                assert!(broker_definitions::find(name).is_some(), "{name}");
            }
            let names = validate(&BTreeMap::new(), &BrokerConfig::default());
            assert_eq!(names, Ok(()));
        }
    }

    #[test]
    fn values_are_held_to_the_servers_bounds_and_to_each_other() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str);
        let table: [Case<'_>; 11] = [
            (&[(SESSION_TIMEOUT, "45000")], ""),
            (
                &[(SESSION_TIMEOUT, "60000"), (HEARTBEAT_INTERVAL, "15000")],
                "",
            ),
            (
                &[(SESSION_TIMEOUT, "44999")],
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                &[(SESSION_TIMEOUT, "60001")],
                "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
            ),
            (
                &[(HEARTBEAT_INTERVAL, "4999")],
                "consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms",
            ),
            (
                &[(HEARTBEAT_INTERVAL, "15001")],
                "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
            ),
            (
                &[(HEARTBEAT_INTERVAL, "soon")],
                "Invalid value soon for configuration consumer.heartbeat.interval.ms: Not a number of type INT",
            ),
            (
                &[(HEARTBEAT_INTERVAL, "0")],
                "Invalid value 0 for configuration consumer.heartbeat.interval.ms: Value must be at least 1",
            ),
            (
                &[("share.session.timeout.ms", "45000")],
                "Unknown group config name: share.session.timeout.ms",
            ),
            (&[("", "")], "Unknown group config name: "),
            (
                &[("retention.ms", "1")],
                "Unknown group config name: retention.ms",
            ),
        ];
        for (own, expected) in table {
            let own = own
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let message = validate(&own, &BrokerConfig::default())
                .map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(message, expected, "{own:?}");
        }
    }

    #[test]
    fn a_session_is_longer_than_an_interval() {
        let mut broker = BrokerConfig::default();
        for (name, value) in [
            ("group.consumer.min.session.timeout.ms", "1"),
            ("group.consumer.max.heartbeat.interval.ms", "60000"),
        ] {
            assert_eq!(broker.set(name, value), Ok(true));
        }
        let own = |value: &str| BTreeMap::from([(SESSION_TIMEOUT.to_owned(), value.to_owned())]);
        assert_eq!(
            validate(&own("5000"), &broker).unwrap_err().to_string(),
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
        );
        assert_eq!(validate(&own("5001"), &broker), Ok(()));
    }
}
