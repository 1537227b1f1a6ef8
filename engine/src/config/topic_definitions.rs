//! The table of topic settings: Kafka 4.3's, by its names, types, defaults and rules, and Corelane's own.
//!
//! Two defaults differ from Kafka on purpose: `flush.messages` is 1 (acknowledged after the flush), and `record.format` is
//! Corelane's alone.

use super::definition::{ConfigDefinition, ConfigType, Rule};

/// A broker setting that gives a topic setting its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerSynonym {
    /// The broker setting's name.
    pub name: &'static str,
    /// What its value is multiplied by: 1, or the milliseconds of its unit.
    pub factor: i64,
}

/// A topic setting and the broker settings that give it its default, the first that is set winning.
#[derive(Clone, Copy, Debug)]
pub struct TopicConfigDefinition {
    /// The setting.
    pub definition: ConfigDefinition,
    /// The broker settings behind it, in order of precedence.
    pub synonyms: &'static [BrokerSynonym],
    /// Internal settings are accepted but not described.
    pub is_internal: bool,
}

/// Finds a topic setting by its name.
pub fn find(name: &str) -> Option<&'static TopicConfigDefinition> {
    TOPIC_CONFIGS
        .binary_search_by(|candidate| candidate.definition.name.cmp(name))
        .ok()
        .and_then(|index| TOPIC_CONFIGS.get(index))
}

/// Kafka's codecs for `compression.type`, in its order.
const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

const fn synonym(name: &'static str) -> BrokerSynonym {
    BrokerSynonym { name, factor: 1 }
}

const fn hours(name: &'static str) -> BrokerSynonym {
    BrokerSynonym {
        name,
        factor: 3_600_000,
    }
}

const fn minutes(name: &'static str) -> BrokerSynonym {
    BrokerSynonym {
        name,
        factor: 60_000,
    }
}

const fn topic(
    name: &'static str,
    kind: ConfigType,
    default: Option<&'static str>,
    rule: Rule,
    synonyms: &'static [BrokerSynonym],
    documentation: &'static str,
) -> TopicConfigDefinition {
    TopicConfigDefinition {
        definition: ConfigDefinition {
            name,
            kind,
            default,
            rule,
            documentation,
        },
        synonyms,
        is_internal: false,
    }
}

const LONG_MAX: &str = "9223372036854775807";

/// Every topic setting, sorted by name.
pub static TOPIC_CONFIGS: &[TopicConfigDefinition] = &[
    topic(
        "cleanup.policy",
        ConfigType::List,
        Some("delete"),
        Rule::ListOf(&["compact", "delete"]),
        &[synonym("log.cleanup.policy")],
        "What happens to old records: `delete` drops whole segments by age and size, `compact` keeps the latest value of each key; both may be given.",
    ),
    topic(
        "compression.gzip.level",
        ConfigType::Int,
        Some("-1"),
        Rule::Level {
            min: 1,
            max: 9,
            default: -1,
        },
        &[synonym("compression.gzip.level")],
        "The level for compression.type=gzip. Has no effect while the producer's compression is kept.",
    ),
    topic(
        "compression.lz4.level",
        ConfigType::Int,
        Some("9"),
        Rule::Between(1, 17),
        &[synonym("compression.lz4.level")],
        "The level for compression.type=lz4. Has no effect while the producer's compression is kept.",
    ),
    topic(
        "compression.type",
        ConfigType::String,
        Some("producer"),
        Rule::Served {
            known: COMPRESSION_TYPES,
            served: &["producer"],
            reason: "batches are stored as the producer compressed them; set compression.type on the producer instead.",
        },
        &[synonym("compression.type")],
        "How records are compressed at rest. `producer` keeps what the producer chose, the only choice served.",
    ),
    topic(
        "compression.zstd.level",
        ConfigType::Int,
        Some("3"),
        Rule::Between(-131_072, 22),
        &[synonym("compression.zstd.level")],
        "The level for compression.type=zstd. Has no effect while the producer's compression is kept.",
    ),
    topic(
        "delete.retention.ms",
        ConfigType::Long,
        Some("86400000"),
        Rule::AtLeast(0),
        &[synonym("log.cleaner.delete.retention.ms")],
        "How long a compacted topic keeps the marker of a deleted key.",
    ),
    topic(
        "file.delete.delay.ms",
        ConfigType::Long,
        Some("60000"),
        Rule::AtLeast(0),
        &[synonym("log.segment.delete.delay.ms")],
        "How long a file waits in the trash before it is deleted from the file system.",
    ),
    topic(
        "flush.messages",
        ConfigType::Long,
        Some("1"),
        Rule::AtLeast(1),
        &[synonym("log.flush.interval.messages")],
        "How many records may be acknowledged before they are flushed to disk. 1, Corelane's default, acknowledges after the flush.",
    ),
    topic(
        "flush.ms",
        ConfigType::Long,
        Some(LONG_MAX),
        Rule::AtLeast(0),
        &[
            synonym("log.flush.interval.ms"),
            synonym("log.flush.scheduler.interval.ms"),
        ],
        "How long a record may be acknowledged before it is flushed to disk, where flush.messages is above 1.",
    ),
    topic(
        "follower.replication.throttled.replicas",
        ConfigType::List,
        Some(""),
        Rule::ThrottledReplicas,
        &[],
        "Replicas whose replication is throttled on the follower: `partition:broker` in a list, or `*`.",
    ),
    topic(
        "index.interval.bytes",
        ConfigType::Int,
        Some("4096"),
        Rule::AtLeast(0),
        &[synonym("log.index.interval.bytes")],
        "How many bytes of log there are to one entry of the offset index.",
    ),
    TopicConfigDefinition {
        definition: ConfigDefinition {
            name: "internal.segment.bytes",
            kind: ConfigType::Int,
            default: None,
            rule: Rule::AtLeast(65_536),
            documentation: "As segment.bytes, for tests that need smaller segments than Kafka allows.",
        },
        synonyms: &[],
        is_internal: true,
    },
    topic(
        "leader.replication.throttled.replicas",
        ConfigType::List,
        Some(""),
        Rule::ThrottledReplicas,
        &[],
        "Replicas whose replication is throttled on the leader: `partition:broker` in a list, or `*`.",
    ),
    topic(
        "local.retention.bytes",
        ConfigType::Long,
        Some("-2"),
        Rule::AtLeast(-2),
        &[synonym("log.local.retention.bytes")],
        "Tiered storage: the size kept on this server. -2 means retention.bytes.",
    ),
    topic(
        "local.retention.ms",
        ConfigType::Long,
        Some("-2"),
        Rule::AtLeast(-2),
        &[synonym("log.local.retention.ms")],
        "Tiered storage: the age kept on this server. -2 means retention.ms.",
    ),
    topic(
        "max.compaction.lag.ms",
        ConfigType::Long,
        Some(LONG_MAX),
        Rule::AtLeast(1),
        &[synonym("log.cleaner.max.compaction.lag.ms")],
        "The longest that a record of a compacted topic stays ineligible for compaction.",
    ),
    topic(
        "max.message.bytes",
        ConfigType::Int,
        Some("1048588"),
        Rule::AtLeast(0),
        &[synonym("message.max.bytes")],
        "The largest record batch that is accepted, in bytes, as compressed.",
    ),
    topic(
        "message.timestamp.after.max.ms",
        ConfigType::Long,
        Some("3600000"),
        Rule::AtLeast(0),
        &[synonym("log.message.timestamp.after.max.ms")],
        "How far a record's timestamp may lie after the server's clock, with message.timestamp.type=CreateTime.",
    ),
    topic(
        "message.timestamp.before.max.ms",
        ConfigType::Long,
        Some(LONG_MAX),
        Rule::AtLeast(0),
        &[synonym("log.message.timestamp.before.max.ms")],
        "How far a record's timestamp may lie before the server's clock, with message.timestamp.type=CreateTime.",
    ),
    topic(
        "message.timestamp.type",
        ConfigType::String,
        Some("CreateTime"),
        Rule::OneOf(&["CreateTime", "LogAppendTime"]),
        &[synonym("log.message.timestamp.type")],
        "Whether a record's timestamp is the producer's (CreateTime) or the server's (LogAppendTime).",
    ),
    topic(
        "min.cleanable.dirty.ratio",
        ConfigType::Double,
        Some("0.5"),
        Rule::Between(0, 1),
        &[synonym("log.cleaner.min.cleanable.ratio")],
        "The share of a log that must be uncompacted before it is compacted again.",
    ),
    topic(
        "min.compaction.lag.ms",
        ConfigType::Long,
        Some("0"),
        Rule::AtLeast(0),
        &[synonym("log.cleaner.min.compaction.lag.ms")],
        "The shortest time that a record of a compacted topic stays uncompacted.",
    ),
    topic(
        "min.insync.replicas",
        ConfigType::Int,
        Some("1"),
        Rule::AtLeast(1),
        &[synonym("min.insync.replicas")],
        "How many replicas must have a record before acks=all is answered.",
    ),
    topic(
        "preallocate",
        ConfigType::Boolean,
        Some("false"),
        Rule::Any,
        &[synonym("log.preallocate")],
        "Whether segments are reserved on disk at their full size. Corelane always does.",
    ),
    topic(
        "record.format",
        ConfigType::String,
        Some("kafka"),
        Rule::Served {
            known: &["kafka", "rkyv"],
            served: &["kafka"],
            reason: "topics in the native format come with the native protocol.",
        },
        &[],
        "Corelane's own: the format that records are stored in, `kafka` (record batches) or `rkyv` (native batches).",
    ),
    topic(
        "remote.log.copy.disable",
        ConfigType::Boolean,
        Some("false"),
        Rule::Any,
        &[],
        "Tiered storage: whether a topic stops uploading.",
    ),
    topic(
        "remote.log.delete.on.disable",
        ConfigType::Boolean,
        Some("false"),
        Rule::Any,
        &[],
        "Tiered storage: whether uploaded data is deleted when tiered storage is switched off for a topic.",
    ),
    topic(
        "remote.storage.enable",
        ConfigType::Boolean,
        Some("false"),
        Rule::OnlyFalse(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ),
        &[],
        "Tiered storage: whether a topic's segments are uploaded.",
    ),
    topic(
        "retention.bytes",
        ConfigType::Long,
        Some("-1"),
        Rule::Any,
        &[synonym("log.retention.bytes")],
        "The size up to which a partition keeps old segments with cleanup.policy=delete. Negative means no limit.",
    ),
    topic(
        "retention.ms",
        ConfigType::Long,
        Some("604800000"),
        Rule::AtLeast(-1),
        &[
            synonym("log.retention.ms"),
            minutes("log.retention.minutes"),
            hours("log.retention.hours"),
        ],
        "How long a partition keeps old segments with cleanup.policy=delete. -1 means for ever.",
    ),
    topic(
        "segment.bytes",
        ConfigType::Int,
        Some("1073741824"),
        Rule::AtLeast(1_048_576),
        &[synonym("log.segment.bytes")],
        "The size at which a new segment is begun.",
    ),
    topic(
        "segment.index.bytes",
        ConfigType::Int,
        Some("10485760"),
        Rule::AtLeast(4),
        &[synonym("log.index.size.max.bytes")],
        "The largest size of a segment's offset index.",
    ),
    topic(
        "segment.jitter.ms",
        ConfigType::Long,
        Some("0"),
        Rule::AtLeast(0),
        &[
            synonym("log.roll.jitter.ms"),
            hours("log.roll.jitter.hours"),
        ],
        "The most that is taken off segment.ms at random, so that segments do not all roll at once.",
    ),
    topic(
        "segment.ms",
        ConfigType::Long,
        Some("604800000"),
        Rule::AtLeast(1),
        &[synonym("log.roll.ms"), hours("log.roll.hours")],
        "The age at which a new segment is begun even if the old one is not full.",
    ),
    topic(
        "unclean.leader.election.enable",
        ConfigType::Boolean,
        Some("false"),
        Rule::Any,
        &[synonym("unclean.leader.election.enable")],
        "Whether a replica that may lack records can become the leader as a last resort.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker_definitions;

    #[test]
    fn the_table_is_sorted_and_every_default_fulfils_its_own_rule() {
        assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.definition.name < b.definition.name));
        for topic in TOPIC_CONFIGS {
            let definition = &topic.definition;
            if let Some(text) = definition.default {
                let value = definition.parse(text);
                assert_eq!(
                    value.map(|v| v.to_string()),
                    Ok(text.to_owned()),
                    "{}",
                    definition.name
                );
            }
            assert!(!definition.documentation.is_empty(), "{}", definition.name);
        }
    }

    #[test]
    fn every_synonym_is_a_broker_setting() {
        for topic in TOPIC_CONFIGS {
            for synonym in topic.synonyms {
                assert!(
                    broker_definitions::find(synonym.name).is_some(),
                    "{}",
                    synonym.name
                );
            }
        }
    }

    #[test]
    fn settings_are_found_by_their_exact_name_only() {
        assert!(find("retention.ms").is_some());
        assert!(find("Retention.ms").is_none());
        assert!(find("message.format.version").is_none());
    }

    /// The answers of Kafka 4.3.1's own validator to the same values.
    #[test]
    fn values_are_accepted_and_refused_as_by_kafka() {
        const RANGE: &str = "Value must be at least";
        let table: &[(&str, &str, Result<&str, String>)] = &[
            ("cleanup.policy", "", Ok("")),
            ("cleanup.policy", "compact, delete", Ok("compact,delete")),
            ("cleanup.policy", "compact,compact", Ok("compact")),
            ("cleanup.policy", "x", Err("Invalid value x for configuration cleanup.policy: String must be one of: compact, delete".into())),
            ("cleanup.policy", "Compact", Err("Invalid value Compact for configuration cleanup.policy: String must be one of: compact, delete".into())),
            ("cleanup.policy", "delete,", Err("Configuration 'cleanup.policy' values must not be empty.".into())),
            ("segment.bytes", "12", Err(format!("Invalid value 12 for configuration segment.bytes: {RANGE} 1048576"))),
            ("segment.bytes", "x", Err("Invalid value x for configuration segment.bytes: Not a number of type INT".into())),
            ("segment.bytes", " 2000000 ", Ok("2000000")),
            ("segment.bytes", "3000000000", Err("Invalid value 3000000000 for configuration segment.bytes: Not a number of type INT".into())),
            ("retention.ms", "-2", Err(format!("Invalid value -2 for configuration retention.ms: {RANGE} -1"))),
            ("retention.bytes", "-5", Ok("-5")),
            ("retention.ms", "1.5", Err("Invalid value 1.5 for configuration retention.ms: Not a number of type LONG".into())),
            ("min.cleanable.dirty.ratio", "2", Err("Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1".into())),
            ("min.cleanable.dirty.ratio", "-1", Err(format!("Invalid value -1.0 for configuration min.cleanable.dirty.ratio: {RANGE} 0"))),
            ("min.cleanable.dirty.ratio", "1", Ok("1.0")),
            ("min.cleanable.dirty.ratio", "x", Err("Invalid value x for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE".into())),
            ("preallocate", "yes", Err("Invalid value yes for configuration preallocate: Expected value to be either true or false".into())),
            ("preallocate", "TRUE", Ok("true")),
            ("message.timestamp.type", "createtime", Err("Invalid value createtime for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime".into())),
            ("compression.type", "bogus", Err("Invalid value bogus for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer".into())),
            ("compression.gzip.level", "0", Err("Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1".into())),
            ("compression.zstd.level", "23", Err("Invalid value 23 for configuration compression.zstd.level: Value must be no more than 22".into())),
            ("leader.replication.throttled.replicas", "*", Ok("*")),
            ("leader.replication.throttled.replicas", "0:1,1:2", Ok("0:1,1:2")),
            ("remote.storage.enable", "true", Err("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.".into())),
            ("flush.messages", "0", Err(format!("Invalid value 0 for configuration flush.messages: {RANGE} 1"))),
            ("flush.messages", "+5", Ok("5")),
            ("local.retention.ms", "-3", Err(format!("Invalid value -3 for configuration local.retention.ms: {RANGE} -2"))),
            ("segment.ms", "0", Err(format!("Invalid value 0 for configuration segment.ms: {RANGE} 1"))),
        ];
        for (name, text, expected) in table {
            let got = find(name).map(|topic| topic.definition.parse(text));
            let got = got.map(|result| {
                result
                    .map(|value| value.to_string())
                    .map_err(|error| error.to_string())
            });
            assert_eq!(
                got,
                Some(expected.clone().map(str::to_owned)),
                "{name}={text}"
            );
        }
    }

    #[test]
    fn what_kafka_knows_but_corelane_does_not_serve_is_refused_with_the_reason() {
        let compression = find("compression.type").unwrap().definition;
        assert!(compression.parse("producer").is_ok());
        let refusal = compression.parse("zstd").unwrap_err().to_string();
        assert!(
            refusal.contains("compression.type=zstd is not served"),
            "{refusal}"
        );
        assert!(refusal.contains("on the producer"), "{refusal}");
    }
}
