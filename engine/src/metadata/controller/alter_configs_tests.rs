//! What `IncrementalAlterConfigs` changes and refuses.

use corelane_net::error_code::ErrorCode;
use kafka_wire::IncrementalAlterConfigsRequest;
use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire_core::StrBytes;

use super::Defaults;
use super::alter_configs::*;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::MetadataRecord;
use crate::metadata::test_support::{applied, image_of, nodes, topic_id};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Operation<'a> = (&'a str, i8, Option<&'a str>);

fn resource(kind: i8, name: &str, operations: &[Operation<'_>]) -> AlterConfigsResource {
    let mut resource = AlterConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = StrBytes::from(name);
    resource.configs = operations
        .iter()
        .map(|(name, operation, value)| {
            let mut config = AlterableConfig::default();
            config.name = StrBytes::from(*name);
            config.config_operation = *operation;
            config.value = value.map(StrBytes::from);
            config
        })
        .collect();
    resource
}

fn request(resources: Vec<AlterConfigsResource>) -> IncrementalAlterConfigsRequest {
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = resources;
    request
}

/// An image of topic "a" with these settings.
fn image(configs: &[(&str, &str)]) -> MetadataImage {
    let records: Vec<MetadataRecord> = configs
        .iter()
        .map(|(name, value)| MetadataRecord::TopicConfig {
            topic_id: topic_id(0),
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        })
        .collect();
    applied(&image_of(Some(1), &[("a", &[0])]), &records)
}

fn configs(image: &MetadataImage) -> Vec<(&str, &str)> {
    let topic = image.topic("a").unwrap();
    topic
        .configs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[test]
fn operations_change_settings_as_in_kafka() {
    type Case<'a> = (
        &'a [(&'a str, &'a str)],
        &'a [Operation<'a>],
        &'a [(&'a str, &'a str)],
        usize,
    );
    let table: &[Case<'_>] = &[
        // settings before, operations, settings afterwards, records
        (
            &[],
            &[("retention.ms", SET, Some("5"))],
            &[("retention.ms", "5")],
            1,
        ),
        (
            &[("retention.ms", "5")],
            &[("retention.ms", SET, Some("5"))],
            &[("retention.ms", "5")],
            0,
        ),
        (
            &[("retention.ms", "5")],
            &[("retention.ms", DELETE, None)],
            &[],
            1,
        ),
        (&[], &[("retention.ms", DELETE, None)], &[], 0),
        (
            &[],
            &[("cleanup.policy", APPEND, Some("compact"))],
            &[("cleanup.policy", "delete,compact")],
            1,
        ),
        (
            &[],
            &[("cleanup.policy", APPEND, Some("delete"))],
            &[("cleanup.policy", "delete")],
            1,
        ),
        (
            &[("cleanup.policy", "compact")],
            &[("cleanup.policy", APPEND, Some("delete,compact"))],
            &[("cleanup.policy", "compact,delete")],
            1,
        ),
        (
            &[("cleanup.policy", "compact,delete")],
            &[("cleanup.policy", SUBTRACT, Some("delete"))],
            &[("cleanup.policy", "compact")],
            1,
        ),
        (
            &[("cleanup.policy", "compact")],
            &[("cleanup.policy", SUBTRACT, Some("compact"))],
            &[("cleanup.policy", "")],
            1,
        ),
        (
            &[("retention.ms", "5")],
            &[
                ("retention.ms", DELETE, None),
                ("flush.messages", SET, Some("9")),
            ],
            &[("flush.messages", "9")],
            2,
        ),
        (&[], &[], &[], 0),
    ];
    for (before, operations, after, count) in table {
        let image = image(before);
        let request = request(vec![resource(RESOURCE_TOPIC, "a", operations)]);
        let (records, response) =
            incremental_alter_configs(&request, &image, &Defaults::default(), &nodes(1));
        assert_eq!(
            response.responses[0].error_code, 0,
            "{operations:?}: {:?}",
            response.responses[0].error_message
        );
        assert_eq!(response.responses[0].error_message, None);
        assert_eq!(records.len(), *count, "{operations:?}");
        assert_eq!(
            configs(&applied(&image, &records)),
            *after,
            "{operations:?}"
        );
    }
}

#[test]
fn appending_starts_from_the_servers_default() {
    let mut defaults = Defaults::default();
    defaults
        .broker
        .set("log.cleanup.policy", "compact")
        .unwrap();
    let request = request(vec![resource(
        RESOURCE_TOPIC,
        "a",
        &[("cleanup.policy", APPEND, Some("delete"))],
    )]);
    let image = image(&[]);
    let (records, _) = incremental_alter_configs(&request, &image, &defaults, &nodes(1));
    assert_eq!(
        configs(&applied(&image, &records)),
        [("cleanup.policy", "compact,delete")]
    );
}

#[test]
fn refusals_are_kafkas_and_change_nothing() {
    use ErrorCode::{
        InvalidConfig, InvalidRequest, InvalidTopicException, UnknownTopicOrPartition,
    };
    type Case<'a> = (i8, &'a str, &'a [Operation<'a>], ErrorCode, &'a str);
    let table: &[Case<'_>] = &[
        (
            2,
            "a",
            &[("nosuch", SET, Some("1"))],
            InvalidConfig,
            "Unknown topic config name: nosuch",
        ),
        (
            2,
            "a",
            &[("retention.ms", SET, Some("x"))],
            InvalidConfig,
            "Not a number of type LONG",
        ),
        (
            2,
            "a",
            &[("retention.ms", SET, None)],
            InvalidRequest,
            "Null value not supported for : retention.ms",
        ),
        (
            2,
            "a",
            &[("retention.ms", APPEND, Some("1"))],
            InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            2,
            "a",
            &[("nosuch", SUBTRACT, Some("1"))],
            InvalidConfig,
            "Can't SUBTRACT to key nosuch",
        ),
        (
            2,
            "a",
            &[("cleanup.policy", APPEND, Some("x"))],
            InvalidConfig,
            "String must be one of: compact, delete",
        ),
        (
            2,
            "a",
            &[("retention.ms", 7, Some("1"))],
            InvalidRequest,
            "Unknown operations type 7",
        ),
        (
            2,
            "a",
            &[
                ("retention.ms", SET, Some("1")),
                ("retention.ms", DELETE, None),
            ],
            InvalidRequest,
            "Error due to duplicate config keys",
        ),
        (
            2,
            "a",
            &[
                ("min.compaction.lag.ms", SET, Some("9")),
                ("max.compaction.lag.ms", SET, Some("8")),
            ],
            InvalidConfig,
            "conflict topic config setting",
        ),
        (
            2,
            "b",
            &[("retention.ms", SET, Some("1"))],
            UnknownTopicOrPartition,
            "The topic 'b' does not exist.",
        ),
        (
            2,
            "b",
            &[("nosuch", SET, Some("1"))],
            InvalidConfig,
            "Unknown topic config name: nosuch",
        ),
        (
            2,
            "",
            &[],
            InvalidRequest,
            "Default topic resources are not allowed.",
        ),
        (
            2,
            "a/b",
            &[],
            InvalidTopicException,
            "Topic name is invalid",
        ),
        (
            4,
            "1000",
            &[("num.partitions", SET, Some("3"))],
            InvalidRequest,
            "Cannot update these configs dynamically: Set(num.partitions)",
        ),
        (
            4,
            "",
            &[("log.retention.hours", SET, Some("3"))],
            InvalidRequest,
            "Cannot update these configs dynamically: Set(log.retention.hours)",
        ),
        (
            4,
            "7",
            &[],
            InvalidRequest,
            "Unexpected broker id, expected 1000, but received 7",
        ),
        (
            4,
            "x",
            &[],
            InvalidRequest,
            "Node id must be an integer, but it is: x",
        ),
        (8, "1000", &[], InvalidRequest, "Log levels are set with"),
        (16, "x", &[], InvalidRequest, "Unknown resource type 16"),
        (0, "", &[], InvalidRequest, "Unknown resource type 0"),
    ];
    for (kind, name, operations, code, message) in table {
        let request = request(vec![resource(*kind, name, operations)]);
        let (records, response) =
            incremental_alter_configs(&request, &image(&[]), &Defaults::default(), &nodes(1));
        let result = &response.responses[0];
        assert_eq!(
            (records.len(), result.error_code),
            (0, code.code()),
            "{name} {operations:?}"
        );
        let text = result.error_message.as_ref().unwrap();
        assert!(text.contains(message), "{text}");
    }
}

#[test]
fn deleting_a_broker_setting_that_was_never_set_is_no_error() {
    let request = request(vec![resource(
        RESOURCE_BROKER,
        "1000",
        &[("num.partitions", DELETE, None)],
    )]);
    let (records, response) =
        incremental_alter_configs(&request, &image(&[]), &Defaults::default(), &nodes(1));
    assert_eq!((records.len(), response.responses[0].error_code), (0, 0));
}

#[test]
fn one_refused_resource_does_not_stop_the_others_and_a_repeated_one_is_refused_each_time() {
    let set = |value| resource(RESOURCE_TOPIC, "a", &[("retention.ms", SET, Some(value))]);
    let bad = resource(RESOURCE_TOPIC, "nosuch", &[]);
    let codes = |resources: Vec<AlterConfigsResource>| {
        let (records, response) = incremental_alter_configs(
            &request(resources),
            &image(&[]),
            &Defaults::default(),
            &nodes(1),
        );
        (
            records.len(),
            response
                .responses
                .iter()
                .map(|result| result.error_code)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(codes(vec![bad, set("1")]), (1, vec![3, 0]));
    assert_eq!(codes(vec![set("1"), set("2")]), (0, vec![42, 42]));
}

#[test]
fn validate_only_answers_alike_and_changes_nothing() {
    let mut request = request(vec![resource(
        RESOURCE_TOPIC,
        "a",
        &[("retention.ms", SET, Some("1"))],
    )]);
    let (_, real) =
        incremental_alter_configs(&request, &image(&[]), &Defaults::default(), &nodes(1));
    request.validate_only = true;
    let (records, validated) =
        incremental_alter_configs(&request, &image(&[]), &Defaults::default(), &nodes(1));
    assert_eq!((records.len(), validated), (0, real));
}
