//! What `DescribeConfigs` tells.

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::DescribeConfigsResourceResult;
use kafka_wire::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_wire_core::{ApiVersion, KafkaEncode, StrBytes};

use super::configs::describe_configs;
use crate::config::broker::is_dynamic;
use crate::metadata::controller::Defaults;
use crate::metadata::record::MetadataRecord;
use crate::metadata::test_support::{applied, image_of, nodes, topic_id};

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    let mut resource = DescribeConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = StrBytes::from(name);
    resource.configuration_keys =
        keys.map(|keys| keys.iter().map(|key| StrBytes::from(*key)).collect());
    resource
}

fn describe(
    resources: Vec<DescribeConfigsResource>,
    settings: &[(&str, &str)],
) -> DescribeConfigsResponse {
    let mut defaults = Defaults::default();
    for (name, value) in settings {
        defaults.broker.set(name, value).unwrap();
    }
    let set = |name: &str, value: &str| MetadataRecord::TopicConfig {
        topic_id: topic_id(0),
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let image = applied(
        &image_of(Some(2), &[("a", &[0])]),
        &[
            set("flush.messages", " 7 "),
            set("internal.segment.bytes", "65536"),
        ],
    );
    let mut request = DescribeConfigsRequest::default();
    request.resources = resources;
    request.include_synonyms = true;
    request.include_documentation = true;
    describe_configs(&request, &image, &defaults, &nodes(2))
}

/// A setting as text: value, source, read-only mark, type, synonyms.
fn show(config: &DescribeConfigsResourceResult) -> String {
    let synonyms: Vec<String> = config
        .synonyms
        .iter()
        .map(|s| {
            format!(
                "{}={}@{}",
                s.name,
                s.value.as_deref().unwrap_or("null"),
                s.source
            )
        })
        .collect();
    format!(
        "{}@{}{} type {} from {}",
        config.value.as_deref().unwrap_or("null"),
        config.config_source,
        if config.read_only { " read-only" } else { "" },
        config.config_type,
        synonyms.join(" ")
    )
}

#[test]
fn topic_settings_are_told_with_their_sources_and_synonyms() {
    let table = [
        (
            "flush.messages",
            "7@1 type 5 from flush.messages=7@1 log.flush.interval.messages=1@5",
        ),
        (
            "retention.ms",
            "7200000@4 type 5 from log.retention.hours=2@4 log.retention.hours=168@5",
        ),
        (
            "segment.bytes",
            "1073741824@5 type 3 from log.segment.bytes=1073741824@5",
        ),
        (
            "cleanup.policy",
            "delete@5 type 7 from log.cleanup.policy=delete@5",
        ),
        (
            "min.cleanable.dirty.ratio",
            "0.5@5 type 6 from log.cleaner.min.cleanable.ratio=0.5@5",
        ),
        ("preallocate", "false@5 type 1 from log.preallocate=false@5"),
        ("record.format", "kafka@5 type 2 from record.format=kafka@5"),
        (
            "flush.ms",
            "9223372036854775807@5 type 5 from log.flush.scheduler.interval.ms=9223372036854775807@5",
        ),
    ];
    let keys: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    let response = describe(
        vec![resource(2, "a", Some(&keys))],
        &[("log.retention.hours", "2")],
    );
    let configs = &response.results[0].configs;
    assert_eq!(configs.len(), table.len());
    for (name, expected) in table {
        let config = configs
            .iter()
            .find(|config| config.name.as_str() == name)
            .unwrap();
        assert_eq!(show(config), expected, "{name}");
        assert!(!config.is_sensitive && config.documentation.is_some());
    }
}

#[test]
fn all_topic_settings_are_told_but_internal_ones() {
    for keys in [None, Some(&[][..])] {
        let response = describe(vec![resource(2, "a", keys)], &[]);
        let names: Vec<&str> = response.results[0]
            .configs
            .iter()
            .map(|config| config.name.as_str())
            .collect();
        // Kafka 4.3 has 33; `record.format` is our own.
        assert_eq!(names.len(), 34);
        assert!(names.contains(&"max.message.bytes") && !names.contains(&"internal.segment.bytes"));
    }
}

#[test]
fn broker_settings_are_complete_and_those_that_can_change_are_told() {
    let response = describe(
        vec![resource(4, "1001", None), resource(4, "", None)],
        &[("num.partitions", "4")],
    );
    let configs = &response.results[0].configs;
    assert!(configs.is_sorted_by(|a, b| a.name < b.name));
    assert!(
        configs
            .iter()
            .all(|config| config.read_only != is_dynamic(&config.name) && !config.is_sensitive)
    );
    let find = |name: &str| {
        show(
            configs
                .iter()
                .find(|config| config.name.as_str() == name)
                .unwrap(),
        )
    };
    assert_eq!(
        find("num.partitions"),
        "4@4 read-only type 3 from num.partitions=4@4 num.partitions=1@5"
    );
    assert_eq!(
        find("default.replication.factor"),
        "1@5 read-only type 3 from default.replication.factor=1@5"
    );
    assert_eq!(find("log.retention.ms"), "null@5 type 5 from ");
    assert_eq!(
        find("broker.id"),
        "1001@4 read-only type 3 from broker.id=1001@4"
    );
    assert_eq!(
        find("advertised.listeners"),
        "PLAINTEXT://127.0.0.1:9093@4 read-only type 2 from advertised.listeners=PLAINTEXT://127.0.0.1:9093@4"
    );
    assert_eq!(
        (
            response.results[1].error_code,
            response.results[1].configs.len()
        ),
        (0, 0)
    );
}

#[test]
fn what_was_set_at_run_time_stands_above_the_rest() {
    let set = |node: Option<i32>, name: &str, value: &str| MetadataRecord::BrokerConfig {
        node,
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let image = applied(
        &image_of(Some(2), &[("a", &[0])]),
        &[
            set(None, "log.retention.ms", "2000"),
            set(Some(1001), "log.retention.ms", "3000"),
        ],
    );
    let mut defaults = Defaults::default();
    defaults.broker.set("log.retention.ms", "1000").unwrap();
    // As the first node sees it.
    let defaults = defaults.with_dynamic(None, image.broker_configs(None));
    let table = [
        (
            4,
            "1000",
            "log.retention.ms",
            "2000@3 type 5 from log.retention.ms=2000@3 log.retention.ms=1000@4",
        ),
        (
            4,
            "1001",
            "log.retention.ms",
            "3000@2 type 5 from log.retention.ms=3000@2 log.retention.ms=2000@3 log.retention.ms=1000@4",
        ),
        (
            4,
            "",
            "log.retention.ms",
            "2000@3 type 5 from log.retention.ms=2000@3",
        ),
        (
            2,
            "a",
            "retention.ms",
            "2000@3 type 5 from log.retention.ms=2000@3 log.retention.ms=1000@4 log.retention.hours=168@5",
        ),
        (8, "1000", "root", "@6 read-only type 2 from "),
    ];
    for (kind, name, key, expected) in table {
        let mut request = DescribeConfigsRequest::default();
        request.include_synonyms = true;
        request.resources = vec![resource(kind, name, Some(&[key]))];
        let response = describe_configs(&request, &image, &defaults, &nodes(2));
        let configs = &response.results[0].configs;
        assert_eq!(configs.len(), 1, "{kind} {name}");
        let shown = show(&configs[0]);
        // The level itself is what this process logs at.
        assert!(
            shown == expected || kind == 8 && shown.ends_with(expected),
            "{shown}"
        );
    }
}

#[test]
fn what_cannot_be_described_is_told_by_its_code() {
    let table = [
        (2, "nosuch", 3, "The topic 'nosuch' does not exist."),
        (2, "a/b", 17, "Topic name is invalid"),
        (2, "", 17, "the empty string is not allowed"),
        (
            4,
            "7",
            42,
            "Unexpected broker id, expected 1000 to 1001 or empty string, but received 7",
        ),
        (4, "x", 42, "Broker id must be an integer, but it is: x"),
        (16, "x", 42, "Unexpected resource type 16"),
        (8, "7", 42, "Unexpected broker id"),
        (32, "", 42, "Group name must not be empty"),
        (0, "", 42, "Unexpected resource type 0"),
    ];
    for (kind, name, code, message) in table {
        let response = describe(vec![resource(kind, name, None)], &[]);
        let result = &response.results[0];
        assert_eq!(
            (result.error_code, result.configs.len()),
            (code, 0),
            "{kind} {name}"
        );
        assert!(
            result.error_message.as_deref().unwrap().contains(message),
            "{:?}",
            result.error_message
        );
    }
}

#[test]
fn a_resource_asked_for_twice_is_answered_once() {
    let response = describe(
        vec![resource(2, "a", None), resource(2, "a", Some(&["x"]))],
        &[],
    );
    assert_eq!(response.results.len(), 1);
}

#[test]
fn synonyms_and_documentation_come_only_when_asked_and_every_version_can_carry_the_answer() {
    let mut request = DescribeConfigsRequest::default();
    request.resources = vec![resource(2, "a", None), resource(4, "1000", None)];
    let image = image_of(Some(2), &[("a", &[0])]);
    let response = describe_configs(&request, &image, &Defaults::default(), &nodes(2));
    let all = response.results.iter().flat_map(|result| &result.configs);
    assert!(
        all.clone()
            .all(|config| config.synonyms.is_empty() && config.documentation.is_none())
    );
    for version in 1..=4 {
        response.encoded_len(ApiVersion::new(version)).unwrap();
    }
}
