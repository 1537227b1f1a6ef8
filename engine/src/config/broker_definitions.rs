//! The table of broker settings that this server knows, by Kafka's names.
//!
//! Kafka settings that would do nothing here (threads of pools that do not exist, ...) are left out on purpose: a name that
//! is not in the table is refused, so nobody believes in a setting without effect.
//!
//! Defaults differ from Kafka's where Kafka's are unlimited (`max.connections*`), where one server cannot have three
//! replicas (the internal topics), and where acknowledgement waits for the flush (`log.flush.interval.messages`).

use super::definition::{ConfigDefinition, ConfigType, Rule};

/// Finds a broker setting by its name.
pub fn find(name: &str) -> Option<&'static ConfigDefinition> {
    BROKER_CONFIGS
        .binary_search_by(|candidate| candidate.name.cmp(name))
        .ok()
        .and_then(|index| BROKER_CONFIGS.get(index))
}

const fn broker(
    name: &'static str,
    kind: ConfigType,
    default: Option<&'static str>,
    rule: Rule,
    documentation: &'static str,
) -> ConfigDefinition {
    ConfigDefinition {
        name,
        kind,
        default,
        rule,
        documentation,
    }
}

const LONG_MAX: &str = "9223372036854775807";

/// Why a replication factor above 1 is refused.
const ONE_SERVER: Rule = Rule::Between(1, 1);

/// Every broker setting, sorted by name.
pub static BROKER_CONFIGS: &[ConfigDefinition] = &[
    broker(
        "auto.create.topics.enable",
        ConfigType::Boolean,
        Some("true"),
        Rule::Any,
        "Whether a Metadata request for a topic that does not exist creates it.",
    ),
    broker(
        "compression.gzip.level",
        ConfigType::Int,
        Some("-1"),
        Rule::Level {
            min: 1,
            max: 9,
            default: -1,
        },
        "Default of the topics' compression.gzip.level.",
    ),
    broker(
        "compression.lz4.level",
        ConfigType::Int,
        Some("9"),
        Rule::Between(1, 17),
        "Default of the topics' compression.lz4.level.",
    ),
    broker(
        "compression.type",
        ConfigType::String,
        Some("producer"),
        Rule::Served {
            known: &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"],
            served: &["producer"],
            reason: "batches are stored as the producer compressed them; set compression.type on the producer instead.",
        },
        "Default of the topics' compression.type.",
    ),
    broker(
        "compression.zstd.level",
        ConfigType::Int,
        Some("3"),
        Rule::Between(-131_072, 22),
        "Default of the topics' compression.zstd.level.",
    ),
    broker(
        "connections.max.idle.ms",
        ConfigType::Long,
        Some("600000"),
        Rule::AtLeast(1),
        "A connection that sends nothing for this long is closed.",
    ),
    broker(
        "default.replication.factor",
        ConfigType::Int,
        Some("1"),
        ONE_SERVER,
        "The replication factor of topics created without one. It counts servers, and this server has no peers.",
    ),
    broker(
        "delete.topic.enable",
        ConfigType::Boolean,
        Some("true"),
        Rule::Any,
        "Whether topics can be deleted.",
    ),
    broker(
        "fetch.max.bytes",
        ConfigType::Int,
        Some("57671680"),
        Rule::AtLeast(1024),
        "The most bytes that one Fetch answers with.",
    ),
    broker(
        "group.consumer.assignors",
        ConfigType::List,
        Some("uniform,range"),
        Rule::ListOf(&["uniform", "range"]),
        "The assignors that members of consumer groups may ask for; the first is for groups whose members ask for none.",
    ),
    broker(
        "group.consumer.heartbeat.interval.ms",
        ConfigType::Int,
        Some("5000"),
        Rule::AtLeast(1),
        "How often members of consumer groups are to show that they live.",
    ),
    broker(
        "group.consumer.max.heartbeat.interval.ms",
        ConfigType::Int,
        Some("15000"),
        Rule::AtLeast(1),
        "The longest heartbeat interval that a consumer group may be given.",
    ),
    broker(
        "group.consumer.max.session.timeout.ms",
        ConfigType::Int,
        Some("60000"),
        Rule::AtLeast(1),
        "The longest session timeout that a consumer group may be given.",
    ),
    broker(
        "group.consumer.max.size",
        ConfigType::Int,
        Some("2147483647"),
        Rule::AtLeast(1),
        "The most members that a consumer group may have.",
    ),
    broker(
        "group.consumer.migration.policy",
        ConfigType::String,
        Some("bidirectional"),
        Rule::OneOf(&["bidirectional", "disabled", "downgrade", "upgrade"]),
        "Which way groups may change between the classic and the consumer protocol while members are in them.",
    ),
    broker(
        "group.consumer.min.heartbeat.interval.ms",
        ConfigType::Int,
        Some("5000"),
        Rule::AtLeast(1),
        "The shortest heartbeat interval that a consumer group may be given.",
    ),
    broker(
        "group.consumer.min.session.timeout.ms",
        ConfigType::Int,
        Some("45000"),
        Rule::AtLeast(1),
        "The shortest session timeout that a consumer group may be given.",
    ),
    broker(
        "group.consumer.session.timeout.ms",
        ConfigType::Int,
        Some("45000"),
        Rule::AtLeast(1),
        "How long members of consumer groups may be silent.",
    ),
    broker(
        "group.initial.rebalance.delay.ms",
        ConfigType::Int,
        Some("3000"),
        Rule::AtLeast(0),
        "How long the first rebalance of an empty group waits for more members.",
    ),
    broker(
        "group.max.session.timeout.ms",
        ConfigType::Int,
        Some("1800000"),
        Rule::AtLeast(1),
        "The longest session timeout that a member of a classic group may ask for.",
    ),
    broker(
        "group.max.size",
        ConfigType::Int,
        Some("2147483647"),
        Rule::AtLeast(1),
        "The most members that a classic group may have.",
    ),
    broker(
        "group.min.session.timeout.ms",
        ConfigType::Int,
        Some("6000"),
        Rule::AtLeast(1),
        "The shortest session timeout that a member of a classic group may ask for.",
    ),
    broker(
        "log.cleaner.backoff.ms",
        ConfigType::Long,
        Some("15000"),
        Rule::AtLeast(0),
        "How long a lane waits before it looks again for logs to compact, when none needs it.",
    ),
    broker(
        "log.cleaner.dedupe.buffer.size",
        ConfigType::Long,
        Some("134217728"),
        Rule::AtLeast(0),
        "Memory for the keys of a compaction, all lanes together; each takes an equal part while it compacts.",
    ),
    broker(
        "log.cleaner.delete.retention.ms",
        ConfigType::Long,
        Some("86400000"),
        Rule::AtLeast(0),
        "Default of the topics' delete.retention.ms.",
    ),
    broker(
        "log.cleaner.io.max.bytes.per.second",
        ConfigType::Double,
        Some("1.7976931348623157e308"),
        Rule::AtLeast(1),
        "The most that compactions read and write per second, all lanes together. They give way to commits in any case.",
    ),
    broker(
        "log.cleaner.max.compaction.lag.ms",
        ConfigType::Long,
        Some(LONG_MAX),
        Rule::AtLeast(1),
        "Default of the topics' max.compaction.lag.ms.",
    ),
    broker(
        "log.cleaner.min.cleanable.ratio",
        ConfigType::Double,
        Some("0.5"),
        Rule::Between(0, 1),
        "Default of the topics' min.cleanable.dirty.ratio.",
    ),
    broker(
        "log.cleaner.min.compaction.lag.ms",
        ConfigType::Long,
        Some("0"),
        Rule::AtLeast(0),
        "Default of the topics' min.compaction.lag.ms.",
    ),
    broker(
        "log.cleanup.policy",
        ConfigType::List,
        Some("delete"),
        Rule::ListOf(&["compact", "delete"]),
        "Default of the topics' cleanup.policy.",
    ),
    broker(
        "log.flush.interval.messages",
        ConfigType::Long,
        Some("1"),
        Rule::AtLeast(1),
        "Default of the topics' flush.messages; 1 acknowledges after the flush.",
    ),
    broker(
        "log.flush.interval.ms",
        ConfigType::Long,
        None,
        Rule::AtLeast(0),
        "Default of the topics' flush.ms. Unset: log.flush.scheduler.interval.ms.",
    ),
    broker(
        "log.flush.scheduler.interval.ms",
        ConfigType::Long,
        Some(LONG_MAX),
        Rule::AtLeast(0),
        "Default of the topics' flush.ms where log.flush.interval.ms is unset.",
    ),
    broker(
        "log.index.interval.bytes",
        ConfigType::Int,
        Some("4096"),
        Rule::AtLeast(0),
        "Default of the topics' index.interval.bytes.",
    ),
    broker(
        "log.index.size.max.bytes",
        ConfigType::Int,
        Some("10485760"),
        Rule::AtLeast(4),
        "Default of the topics' segment.index.bytes.",
    ),
    broker(
        "log.local.retention.bytes",
        ConfigType::Long,
        Some("-2"),
        Rule::AtLeast(-2),
        "Default of the topics' local.retention.bytes.",
    ),
    broker(
        "log.local.retention.ms",
        ConfigType::Long,
        Some("-2"),
        Rule::AtLeast(-2),
        "Default of the topics' local.retention.ms.",
    ),
    broker(
        "log.message.timestamp.after.max.ms",
        ConfigType::Long,
        Some("3600000"),
        Rule::AtLeast(0),
        "Default of the topics' message.timestamp.after.max.ms.",
    ),
    broker(
        "log.message.timestamp.before.max.ms",
        ConfigType::Long,
        Some(LONG_MAX),
        Rule::AtLeast(0),
        "Default of the topics' message.timestamp.before.max.ms.",
    ),
    broker(
        "log.message.timestamp.type",
        ConfigType::String,
        Some("CreateTime"),
        Rule::OneOf(&["CreateTime", "LogAppendTime"]),
        "Default of the topics' message.timestamp.type.",
    ),
    broker(
        "log.preallocate",
        ConfigType::Boolean,
        Some("false"),
        Rule::Any,
        "Default of the topics' preallocate.",
    ),
    broker(
        "log.retention.bytes",
        ConfigType::Long,
        Some("-1"),
        Rule::Any,
        "Default of the topics' retention.bytes.",
    ),
    broker(
        "log.retention.check.interval.ms",
        ConfigType::Long,
        Some("300000"),
        Rule::AtLeast(1),
        "How often old segments are looked for.",
    ),
    broker(
        "log.retention.hours",
        ConfigType::Int,
        Some("168"),
        Rule::AtLeast(-1),
        "Default of the topics' retention.ms, in hours, where log.retention.ms and log.retention.minutes are unset.",
    ),
    broker(
        "log.retention.minutes",
        ConfigType::Int,
        None,
        Rule::AtLeast(-1),
        "Default of the topics' retention.ms, in minutes, where log.retention.ms is unset.",
    ),
    broker(
        "log.retention.ms",
        ConfigType::Long,
        None,
        Rule::AtLeast(-1),
        "Default of the topics' retention.ms. Unset: log.retention.minutes, then log.retention.hours.",
    ),
    broker(
        "log.roll.hours",
        ConfigType::Int,
        Some("168"),
        Rule::AtLeast(1),
        "Default of the topics' segment.ms, in hours, where log.roll.ms is unset.",
    ),
    broker(
        "log.roll.jitter.hours",
        ConfigType::Int,
        Some("0"),
        Rule::AtLeast(0),
        "Default of the topics' segment.jitter.ms, in hours, where log.roll.jitter.ms is unset.",
    ),
    broker(
        "log.roll.jitter.ms",
        ConfigType::Long,
        None,
        Rule::AtLeast(0),
        "Default of the topics' segment.jitter.ms. Unset: log.roll.jitter.hours.",
    ),
    broker(
        "log.roll.ms",
        ConfigType::Long,
        None,
        Rule::AtLeast(1),
        "Default of the topics' segment.ms. Unset: log.roll.hours.",
    ),
    broker(
        "log.segment.bytes",
        ConfigType::Int,
        Some("1073741824"),
        Rule::AtLeast(1_048_576),
        "Default of the topics' segment.bytes.",
    ),
    broker(
        "log.segment.delete.delay.ms",
        ConfigType::Long,
        Some("60000"),
        Rule::AtLeast(0),
        "Default of the topics' file.delete.delay.ms.",
    ),
    broker(
        "max.connections",
        ConfigType::Int,
        Some("12000"),
        Rule::AtLeast(1),
        "The most connections that the server keeps at once; Kafka's default is without limit.",
    ),
    broker(
        "max.connections.per.ip",
        ConfigType::Int,
        Some("12000"),
        Rule::AtLeast(1),
        "The most connections from one address at once; Kafka's default is without limit.",
    ),
    broker(
        "max.incremental.fetch.session.cache.slots",
        ConfigType::Int,
        Some("1000"),
        Rule::AtLeast(0),
        "The most incremental fetch sessions that each node keeps.",
    ),
    broker(
        "max.request.partition.size.limit",
        ConfigType::Int,
        Some("2000"),
        Rule::AtLeast(1),
        "The most partitions that one DescribeTopicPartitions answers with.",
    ),
    broker(
        "message.max.bytes",
        ConfigType::Int,
        Some("1048588"),
        Rule::AtLeast(0),
        "Default of the topics' max.message.bytes.",
    ),
    broker(
        "min.insync.replicas",
        ConfigType::Int,
        Some("1"),
        Rule::AtLeast(1),
        "Default of the topics' min.insync.replicas.",
    ),
    broker(
        "num.partitions",
        ConfigType::Int,
        Some("1"),
        Rule::AtLeast(1),
        "The number of partitions of topics created without one.",
    ),
    broker(
        "offset.metadata.max.bytes",
        ConfigType::Int,
        Some("4096"),
        Rule::AtLeast(0),
        "The longest text that a client may keep with a committed offset.",
    ),
    broker(
        "offsets.retention.check.interval.ms",
        ConfigType::Long,
        Some("600000"),
        Rule::AtLeast(1),
        "How often expired offsets are looked for.",
    ),
    broker(
        "offsets.retention.minutes",
        ConfigType::Int,
        Some("10080"),
        Rule::AtLeast(1),
        "How long offsets are kept after a group has become empty, or after they were committed if it has no members.",
    ),
    broker(
        "offsets.topic.num.partitions",
        ConfigType::Int,
        Some("50"),
        Rule::AtLeast(1),
        "The number of partitions of __consumer_offsets.",
    ),
    broker(
        "offsets.topic.replication.factor",
        ConfigType::Short,
        Some("1"),
        ONE_SERVER,
        "The replication factor of __consumer_offsets. It counts servers, and this server has no peers.",
    ),
    broker(
        "offsets.topic.segment.bytes",
        ConfigType::Int,
        Some("104857600"),
        Rule::AtLeast(1_048_576),
        "The segment size of __consumer_offsets.",
    ),
    broker(
        "producer.id.expiration.ms",
        ConfigType::Int,
        Some("86400000"),
        Rule::AtLeast(1),
        "How long the sequences of an idle idempotent producer are remembered.",
    ),
    broker(
        "socket.listen.backlog.size",
        ConfigType::Int,
        Some("1024"),
        Rule::AtLeast(1),
        "How many connections may wait to be accepted, for each listener.",
    ),
    broker(
        "socket.receive.buffer.bytes",
        ConfigType::Int,
        Some("-1"),
        Rule::AtLeast(-1),
        "SO_RCVBUF of connections; -1 leaves it to the kernel.",
    ),
    broker(
        "socket.request.max.bytes",
        ConfigType::Int,
        Some("104857600"),
        Rule::AtLeast(1),
        "The largest request that is read; a larger one closes its connection.",
    ),
    broker(
        "socket.send.buffer.bytes",
        ConfigType::Int,
        Some("-1"),
        Rule::AtLeast(-1),
        "SO_SNDBUF of connections; -1 leaves it to the kernel.",
    ),
    broker(
        "transaction.state.log.num.partitions",
        ConfigType::Int,
        Some("50"),
        Rule::AtLeast(1),
        "The number of partitions of __transaction_state.",
    ),
    broker(
        "transaction.state.log.replication.factor",
        ConfigType::Short,
        Some("1"),
        ONE_SERVER,
        "The replication factor of __transaction_state. It counts servers, and this server has no peers.",
    ),
    broker(
        "transaction.state.log.segment.bytes",
        ConfigType::Int,
        Some("104857600"),
        Rule::AtLeast(1_048_576),
        "The segment size of __transaction_state.",
    ),
    broker(
        "unclean.leader.election.enable",
        ConfigType::Boolean,
        Some("false"),
        Rule::Any,
        "Default of the topics' unclean.leader.election.enable.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_default_fulfils_its_own_rule() {
        assert!(BROKER_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        for definition in BROKER_CONFIGS {
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
}
