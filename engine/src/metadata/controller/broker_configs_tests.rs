//! Broker settings while the server runs, and whole configurations replaced.

use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::{AlterConfigsRequest, IncrementalAlterConfigsRequest, alter_configs_request};
use kafka_wire_core::{ApiVersion, KafkaEncode, StrBytes};

use super::Defaults;
use super::alter_configs::*;
use super::replace_configs::replace_configs;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::MetadataRecord;
use crate::metadata::test_support::{applied, image_of, nodes, topic_id};

/// Alters broker `name` by (setting, operation, value). Gives the image after it, or the refusal.
fn alter(
    image: &MetadataImage,
    name: &str,
    operations: &[(&str, i8, &str)],
) -> Result<MetadataImage, (i16, String)> {
    let mut resource = AlterConfigsResource::default();
    resource.resource_type = RESOURCE_BROKER;
    resource.resource_name = StrBytes::from(name);
    resource.configs = operations
        .iter()
        .map(|(name, operation, value)| {
            let mut config = AlterableConfig::default();
            config.name = StrBytes::from(*name);
            config.config_operation = *operation;
            config.value = Some(StrBytes::from(*value));
            config
        })
        .collect();
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = vec![resource];
    let (records, response) =
        incremental_alter_configs(&request, image, &Defaults::default(), &nodes(2));
    let result = &response.responses[0];
    if result.error_code != 0 {
        assert!(records.is_empty(), "what is refused changes nothing");
        let message = result.error_message.as_deref().unwrap_or_default();
        return Err((result.error_code, message.to_owned()));
    }
    Ok(applied(image, &records))
}

fn configs(image: &MetadataImage, node: Option<i32>) -> Vec<(&str, &str)> {
    image
        .broker_configs(node)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[test]
fn topic_defaults_change_for_one_node_or_for_all() {
    let image = MetadataImage::default();
    let image = alter(&image, "", &[("log.retention.ms", 0, "1000")]).unwrap();
    let image = alter(&image, "1001", &[("log.cleanup.policy", 2, "compact")]).unwrap();
    assert_eq!(configs(&image, None), [("log.retention.ms", "1000")]);
    assert_eq!(
        configs(&image, Some(1001)),
        [("log.cleanup.policy", "delete,compact")]
    );
    assert_eq!(image.nodes_with_configs().collect::<Vec<_>>(), [1001]);
    let effective = Defaults::default()
        .with_dynamic(image.broker_configs(Some(1001)), image.broker_configs(None));
    assert_eq!(effective.topics.retention_ms, Some(1000));
    assert!(effective.topics.cleanup_policy.compact);
    // Taken back, nothing is left.
    let image = alter(&image, "", &[("log.retention.ms", 1, "")]).unwrap();
    assert!(image.broker_configs(None).is_none());
}

#[test]
fn what_cannot_change_is_refused() {
    type Case<'a> = (&'a str, &'a [(&'a str, i8, &'a str)], i16, &'a str);
    let image = MetadataImage::default();
    let table: [Case<'_>; 8] = [
        (
            "",
            &[("num.partitions", 0, "4")],
            42,
            "Cannot update these configs dynamically: Set(num.partitions)",
        ),
        ("1000", &[("nosuch", 0, "4")], 42, "Set(nosuch)"),
        (
            "1000",
            &[("log.retention.hours", 0, "4")],
            42,
            "Set(log.retention.hours)",
        ),
        (
            "1000",
            &[("log.retention.ms", 0, "soon")],
            40,
            "Not a number of type LONG",
        ),
        (
            "1000",
            &[("log.retention.ms", 2, "4")],
            40,
            "its type is not LIST",
        ),
        (
            "1000",
            &[
                ("log.cleaner.min.compaction.lag.ms", 0, "9"),
                ("log.cleaner.max.compaction.lag.ms", 0, "8"),
            ],
            40,
            "conflict",
        ),
        (
            "1009",
            &[("log.retention.ms", 0, "4")],
            42,
            "expected 1000 to 1001",
        ),
        (
            "x",
            &[("log.retention.ms", 0, "4")],
            42,
            "Node id must be an integer",
        ),
    ];
    for (name, operations, code, message) in table {
        let (got, text) = alter(&image, name, operations).unwrap_err();
        assert_eq!(got, code, "{operations:?}: {text}");
        assert!(text.contains(message), "{text}");
    }
}

/// Replaces the configuration of a resource. Gives the image after it, or the error code.
fn replace(
    image: &MetadataImage,
    kind: i8,
    name: &str,
    wanted: &[(&str, Option<&str>)],
    validate_only: bool,
) -> Result<MetadataImage, i16> {
    let mut resource = alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = StrBytes::from(name);
    resource.configs = wanted
        .iter()
        .map(|(name, value)| {
            let mut config = alter_configs_request::AlterableConfig::default();
            config.name = StrBytes::from(*name);
            config.value = value.map(StrBytes::from);
            config
        })
        .collect();
    let mut request = AlterConfigsRequest::default();
    request.resources = vec![resource];
    request.validate_only = validate_only;
    let (records, response) = replace_configs(&request, image, &Defaults::default(), &nodes(2));
    for version in 0..=2 {
        response.encoded_len(ApiVersion::new(version)).unwrap();
    }
    match response.responses[0].error_code {
        0 => Ok(applied(image, &records)),
        code => Err(code),
    }
}

#[test]
fn a_replaced_configuration_is_what_was_named_and_nothing_else() {
    let set = |name: &str| MetadataRecord::TopicConfig {
        topic_id: topic_id(0),
        name: name.to_owned(),
        value: Some("5".to_owned()),
    };
    let image = applied(
        &image_of(Some(1), &[("a", &[0])]),
        &[set("retention.ms"), set("segment.ms")],
    );
    let topic = |image: &MetadataImage| image.topic("a").unwrap().configs.clone();
    let wanted = [("segment.ms", Some("7")), ("flush.messages", Some("2"))];
    let dry = replace(&image, RESOURCE_TOPIC, "a", &wanted, true).unwrap();
    assert_eq!(topic(&dry), topic(&image));
    let replaced = replace(&image, RESOURCE_TOPIC, "a", &wanted, false).unwrap();
    let got: Vec<_> = topic(&replaced).into_iter().collect();
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(got, [text("flush.messages", "2"), text("segment.ms", "7")]);
    let nothing = replace(&image, RESOURCE_TOPIC, "a", &[], false).unwrap();
    assert!(topic(&nothing).is_empty());

    let table = [
        (RESOURCE_TOPIC, "b", &[][..], 3),
        (RESOURCE_TOPIC, "a", &[("retention.ms", None)][..], 42),
        (RESOURCE_TOPIC, "a", &[("nosuch", Some("1"))][..], 40),
        (
            RESOURCE_BROKER,
            "1000",
            &[("num.partitions", Some("1"))][..],
            42,
        ),
        (
            RESOURCE_BROKER_LOGGER,
            "1000",
            &[("root", Some("INFO"))][..],
            42,
        ),
    ];
    for (kind, name, wanted, code) in table {
        let refused = replace(&image, kind, name, wanted, false);
        assert_eq!(refused.err(), Some(code), "{name} {wanted:?}");
    }
}

#[test]
fn a_brokers_configuration_is_replaced_as_a_topics_is() {
    let image = alter(
        &MetadataImage::default(),
        "1000",
        &[
            ("log.retention.ms", 0, "1000"),
            ("log.segment.bytes", 0, "2097152"),
        ],
    )
    .unwrap();
    let wanted = [("log.retention.ms", Some("5"))];
    let image = replace(&image, RESOURCE_BROKER, "1000", &wanted, false).unwrap();
    assert_eq!(configs(&image, Some(1000)), [("log.retention.ms", "5")]);
}
