//! One setting as Kafka defines it: its type, default and rule, and the only way from text to a checked value.
//!
//! The wording of a refusal is Kafka's own, since operators and tools know it. Values come from peers: their length is
//! bounded before anything is built from them, and what a message repeats of them is cut.

use std::fmt;

use thiserror::Error;

/// The longest value of a setting, in bytes; the limit of Kafka's own strings.
pub const CONFIG_VALUE_BYTES_MAX: usize = 32_767;

/// How much of a refused text an error message repeats, in characters.
const ECHO_CHARACTERS_MAX: usize = 256;

/// A setting's type, with Kafka's wire number in `DescribeConfigs` (v3 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Free text.
    String = 2,
    /// A 32-bit number.
    Int = 3,
    /// A 16-bit number.
    Short = 4,
    /// A 64-bit number.
    Long = 5,
    /// A decimal number.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
}

impl ConfigType {
    /// Kafka's number for this type on the wire.
    pub const fn wire(self) -> i8 {
        self as i8
    }

    const fn kafka_name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
        }
    }
}

/// Where an effective value comes from, with Kafka's wire number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic itself.
    Topic = 1,
    /// Set on one node while it runs.
    DynamicBroker = 2,
    /// Set on every node while they run.
    DynamicDefault = 3,
    /// Set in the server's configuration file or on its command line.
    StaticBroker = 4,
    /// Built in.
    Default = 5,
    /// Set on the group itself.
    Group = 8,
}

impl ConfigSource {
    /// Kafka's number for this source on the wire.
    pub const fn wire(self) -> i8 {
        self as i8
    }
}

/// What a value of the right type must fulfil besides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Any value.
    Any,
    /// A number of at least this.
    AtLeast(i64),
    /// A number within these bounds, both inclusive.
    Between(i64, i64),
    /// A compression level within these bounds (inclusive), or this default.
    Level {
        /// Lowest level.
        min: i64,
        /// Highest level.
        max: i64,
        /// The value that means "the codec's default".
        default: i64,
    },
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A list of these texts, without repeats.
    ListOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
    /// A text that Kafka knows, of which this server serves only some; the reason says why.
    Served {
        /// Every text that Kafka accepts.
        known: &'static [&'static str],
        /// Those that this server serves.
        served: &'static [&'static str],
        /// Why not the others, as a full sentence.
        reason: &'static str,
    },
    /// `false` only; the reason says why.
    OnlyFalse(&'static str),
}

/// A setting: everything that is known of it without a value.
#[derive(Clone, Copy, Debug)]
pub struct ConfigDefinition {
    /// Kafka's name, or Corelane's where Kafka has none.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// The built-in default in Kafka's notation; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// What a value must fulfil.
    pub rule: Rule,
    /// What it does, in a sentence or two.
    pub documentation: &'static str,
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// Of a [`ConfigType::Boolean`].
    Boolean(bool),
    /// Of the three whole-number types.
    Integer(i64),
    /// Of a [`ConfigType::Double`].
    Double(f64),
    /// Of a [`ConfigType::String`].
    Text(String),
    /// Of a [`ConfigType::List`].
    List(Vec<String>),
}

impl fmt::Display for ConfigValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(formatter),
            Self::Integer(value) => value.fmt(formatter),
            // `{:?}` writes 1.0 as Java does.
            Self::Double(value) => write!(formatter, "{value:?}"),
            Self::Text(value) => value.fmt(formatter),
            Self::List(values) => values.join(",").fmt(formatter),
        }
    }
}

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No topic setting has this name.
    #[error("Unknown topic config name: {name}")]
    UnknownTopicConfig {
        /// The name as given, cut.
        name: String,
    },
    /// No setting of groups has this name.
    #[error("Unknown group config name: {name}")]
    UnknownGroupConfig {
        /// The name as given, cut.
        name: String,
    },
    /// A setting of a group does not agree with another setting.
    #[error("{name} must be {relation} {other}")]
    Bound {
        /// The setting.
        name: &'static str,
        /// How it must compare.
        relation: &'static str,
        /// The setting that it is compared with.
        other: &'static str,
    },
    /// The value does not suit the setting.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    InvalidValue {
        /// The setting.
        name: String,
        /// The value as given, cut.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A list has an empty element.
    #[error("Configuration '{name}' values must not be empty.")]
    EmptyListElement {
        /// The setting.
        name: String,
    },
    /// The value is longer than any setting may be.
    #[error("The value of configuration {name} has {got} bytes, more than the {limit} allowed")]
    TooLong {
        /// The setting.
        name: String,
        /// Bytes given.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Two settings contradict each other.
    #[error("conflict topic config setting {lower} ({lower_value}) > {upper} ({upper_value})")]
    Conflict {
        /// The setting that must not be above the other.
        lower: &'static str,
        /// Its value.
        lower_value: i64,
        /// The setting that must not be below.
        upper: &'static str,
        /// Its value.
        upper_value: i64,
    },
    /// Kafka knows it, this server does not serve it.
    #[error("{reason}")]
    NotServed {
        /// A full sentence.
        reason: String,
    },
}

/// Cuts a text for repetition in a message.
pub fn echo(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARACTERS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

impl ConfigDefinition {
    /// Checks a text and returns its value.
    ///
    /// # Errors
    /// A typed refusal whose text is what Kafka answers.
    pub fn parse(&self, text: &str) -> Result<ConfigValue, ConfigError> {
        if text.len() > CONFIG_VALUE_BYTES_MAX {
            return Err(ConfigError::TooLong {
                name: self.name.to_owned(),
                got: text.len(),
                limit: CONFIG_VALUE_BYTES_MAX,
            });
        }
        let value = self.parse_type(text.trim())?;
        self.check(value)
    }

    /// The built-in default as a value, if there is one.
    ///
    /// The tables of definitions are tested to hold only defaults that parse.
    pub fn default_value(&self) -> Option<ConfigValue> {
        self.default.and_then(|text| self.parse(text).ok())
    }

    fn invalid(&self, value: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::InvalidValue {
            name: self.name.to_owned(),
            value: echo(value),
            reason: reason.into(),
        }
    }

    fn parse_type(&self, text: &str) -> Result<ConfigValue, ConfigError> {
        let not_a_number = || {
            self.invalid(
                text,
                format!("Not a number of type {}", self.kind.kafka_name()),
            )
        };
        match self.kind {
            ConfigType::Boolean if text.eq_ignore_ascii_case("true") => {
                Ok(ConfigValue::Boolean(true))
            }
            ConfigType::Boolean if text.eq_ignore_ascii_case("false") => {
                Ok(ConfigValue::Boolean(false))
            }
            ConfigType::Boolean => {
                Err(self.invalid(text, "Expected value to be either true or false"))
            }
            ConfigType::String => Ok(ConfigValue::Text(text.to_owned())),
            ConfigType::Short => text
                .parse::<i16>()
                .map(|n| ConfigValue::Integer(n.into()))
                .map_err(|_| not_a_number()),
            ConfigType::Int => text
                .parse::<i32>()
                .map(|n| ConfigValue::Integer(n.into()))
                .map_err(|_| not_a_number()),
            ConfigType::Long => text
                .parse::<i64>()
                .map(ConfigValue::Integer)
                .map_err(|_| not_a_number()),
            // Java would take NaN; nothing sensible can be done with it.
            ConfigType::Double => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(ConfigValue::Double(number)),
                _ => Err(not_a_number()),
            },
            ConfigType::List if text.is_empty() => Ok(ConfigValue::List(Vec::new())),
            ConfigType::List => Ok(ConfigValue::List(
                text.split(',')
                    .map(|element| element.trim().to_owned())
                    .collect(),
            )),
        }
    }

    fn check(&self, value: ConfigValue) -> Result<ConfigValue, ConfigError> {
        let refuse = |reason: String| Err(self.invalid(&value.to_string(), reason));
        match (self.rule, &value) {
            (Rule::AtLeast(min), ConfigValue::Integer(number)) if *number < min => {
                refuse(format!("Value must be at least {min}"))
            }
            (Rule::Between(min, _), ConfigValue::Integer(number)) if *number < min => {
                refuse(format!("Value must be at least {min}"))
            }
            (Rule::Between(_, max), ConfigValue::Integer(number)) if *number > max => {
                refuse(format!("Value must be no more than {max}"))
            }
            (Rule::Between(min, _), ConfigValue::Double(number)) if *number < min as f64 => {
                refuse(format!("Value must be at least {min}"))
            }
            (Rule::Between(_, max), ConfigValue::Double(number)) if *number > max as f64 => {
                refuse(format!("Value must be no more than {max}"))
            }
            (Rule::Level { min, max, default }, ConfigValue::Integer(number))
                if !(min..=max).contains(number) && *number != default =>
            {
                refuse(format!(
                    "Value must be between {min} and {max} or equal to {default}"
                ))
            }
            (Rule::OneOf(texts), ConfigValue::Text(text)) if !texts.contains(&text.as_str()) => {
                refuse(format!("String must be one of: {}", texts.join(", ")))
            }
            (Rule::ListOf(texts), ConfigValue::List(elements)) => {
                if elements.iter().any(String::is_empty) {
                    return Err(ConfigError::EmptyListElement {
                        name: self.name.to_owned(),
                    });
                }
                if let Some(stranger) = elements
                    .iter()
                    .find(|element| !texts.contains(&element.as_str()))
                {
                    return Err(self.invalid(
                        stranger,
                        format!("String must be one of: {}", texts.join(", ")),
                    ));
                }
                let mut distinct: Vec<String> = Vec::with_capacity(elements.len().min(texts.len()));
                for element in elements {
                    if !distinct.contains(element) {
                        distinct.push(element.clone());
                    }
                }
                Ok(ConfigValue::List(distinct))
            }
            (Rule::ThrottledReplicas, ConfigValue::List(elements))
                if !are_throttled_replicas(elements) =>
            {
                refuse(format!(
                    "{} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    self.name
                ))
            }
            (Rule::Served { known, .. }, ConfigValue::Text(text))
                if !known.contains(&text.as_str()) =>
            {
                refuse(format!("String must be one of: {}", known.join(", ")))
            }
            (Rule::Served { served, reason, .. }, ConfigValue::Text(text))
                if !served.contains(&text.as_str()) =>
            {
                Err(ConfigError::NotServed {
                    reason: format!("{}={text} is not served: {reason}", self.name),
                })
            }
            (Rule::OnlyFalse(reason), ConfigValue::Boolean(true)) => Err(ConfigError::NotServed {
                reason: reason.to_owned(),
            }),
            _ => Ok(value),
        }
    }
}

fn are_throttled_replicas(elements: &[String]) -> bool {
    if let [only] = elements
        && only == "*"
    {
        return true;
    }
    elements
        .iter()
        .filter(|element| !element.is_empty())
        .all(|element| {
            element.split_once(':').is_some_and(|(partition, broker)| {
                let is_number =
                    |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                is_number(partition) && is_number(broker)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_repeats_only_the_beginning_of_a_long_text() {
        assert_eq!(echo("short"), "short");
        let cut = echo(&"ü".repeat(5_000));
        assert_eq!(cut.chars().count(), ECHO_CHARACTERS_MAX + 3);
    }

    #[test]
    fn a_value_longer_than_any_string_of_kafka_is_refused() {
        let definition = ConfigDefinition {
            name: "x",
            kind: ConfigType::List,
            default: None,
            rule: Rule::Any,
            documentation: "",
        };
        let long = "a".repeat(CONFIG_VALUE_BYTES_MAX + 1);
        assert_eq!(
            definition.parse(&long),
            Err(ConfigError::TooLong {
                name: "x".to_owned(),
                got: long.len(),
                limit: CONFIG_VALUE_BYTES_MAX
            })
        );
        assert!(definition.parse(&long[1..]).is_ok());
    }
}
