//! Settings of single groups: what changes, what is refused, what is told.

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    alter_configs_request,
};
use kafka_wire_core::StrBytes;

use super::Defaults;
use super::alter_configs::*;
use super::alter_groups::GROUP_CONFIGS_BYTES_MAX;
use super::replace_configs::replace_configs;
use crate::metadata::describe::configs::describe_configs;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::MetadataRecord;
use crate::metadata::test_support::{applied, nodes};

const SESSION: &str = "consumer.session.timeout.ms";
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";

/// Alters a group by (setting, operation, value). Gives the image after it, or the refusal.
fn alter(
    image: &MetadataImage,
    group_id: &str,
    operations: &[(&str, i8, &str)],
) -> Result<MetadataImage, (i16, String)> {
    let mut resource = AlterConfigsResource::default();
    resource.resource_type = RESOURCE_GROUP;
    resource.resource_name = StrBytes::from(group_id);
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
        incremental_alter_configs(&request, image, &Defaults::default(), &nodes(1));
    let result = &response.responses[0];
    if result.error_code != 0 {
        assert!(records.is_empty(), "what is refused changes nothing");
        let message = result.error_message.as_deref().unwrap_or_default();
        return Err((result.error_code, message.to_owned()));
    }
    Ok(applied(image, &records))
}

/// The settings of a group as `name=value@source`, with the synonyms behind.
fn described(image: &MetadataImage, group_id: &str, keys: Option<&[&str]>) -> Vec<String> {
    let mut resource = DescribeConfigsResource::default();
    resource.resource_type = RESOURCE_GROUP;
    resource.resource_name = StrBytes::from(group_id);
    resource.configuration_keys =
        keys.map(|keys| keys.iter().map(|key| StrBytes::from(*key)).collect());
    let mut request = DescribeConfigsRequest::default();
    request.resources = vec![resource];
    request.include_synonyms = true;
    request.include_documentation = true;
    let mut defaults = Defaults::default();
    let set = defaults
        .broker
        .set("group.consumer.heartbeat.interval.ms", "6000");
    assert_eq!(set, Ok(true));
    let response = describe_configs(&request, image, &defaults, &nodes(1));
    let result = &response.results[0];
    assert_eq!(result.error_code, 0);
    let value = |value: &Option<StrBytes>| value.as_deref().unwrap_or("null").to_owned();
    result
        .configs
        .iter()
        .map(|config| {
            assert!(!config.read_only && !config.is_sensitive && config.config_type == 3);
            assert!(config.documentation.is_some());
            let synonyms: Vec<String> = config
                .synonyms
                .iter()
                .map(|one| format!("{}={}@{}", one.name, value(&one.value), one.source))
                .collect();
            format!(
                "{}={}@{} from {}",
                config.name,
                value(&config.value),
                config.config_source,
                synonyms.join(" ")
            )
        })
        .collect()
}

#[test]
fn a_groups_settings_are_its_own_until_they_are_taken_back() {
    let none = MetadataImage::default();
    let defaults = [
        "consumer.heartbeat.interval.ms=6000@5 from consumer.heartbeat.interval.ms=6000@5",
        "consumer.session.timeout.ms=45000@5 from consumer.session.timeout.ms=45000@5",
    ];
    assert_eq!(described(&none, "g", None), defaults);
    let image = alter(&none, "g", &[(SESSION, 0, " 50000 ")]).unwrap();
    assert_eq!(
        described(&image, "g", Some(&[SESSION])),
        ["consumer.session.timeout.ms=50000@8 from consumer.session.timeout.ms=50000@8"]
    );
    assert_eq!(described(&image, "h", None), defaults);
    assert_eq!(image.groups_with_configs().collect::<Vec<_>>(), ["g"]);
    assert!(image.group_configs_bytes() > 0);
    let image = alter(&image, "g", &[(SESSION, 1, ""), (HEARTBEAT, 1, "")]).unwrap();
    assert_eq!(described(&image, "g", None), defaults);
    assert_eq!(image.groups_with_configs().count(), 0);
    assert_eq!(image.group_configs_bytes(), 0);
}

#[test]
fn what_a_group_cannot_be_given_is_refused() {
    type Case<'a> = (&'a str, &'a [(&'a str, i8, &'a str)], i16, &'a str);
    let image = MetadataImage::default();
    let table: [Case<'_>; 6] = [
        (
            "",
            &[(SESSION, 0, "50000")],
            42,
            "Default group resources are not allowed.",
        ),
        (
            "g",
            &[("retention.ms", 0, "1")],
            40,
            "Unknown group config name: retention.ms",
        ),
        ("g", &[(SESSION, 0, "soon")], 40, "Not a number of type INT"),
        (
            "g",
            &[(SESSION, 0, "60001")],
            40,
            "must be less than or equal to group.consumer.max.session.timeout.ms",
        ),
        ("g", &[(SESSION, 2, "1")], 40, "its type is not LIST"),
        (
            "g",
            &[(SESSION, 0, "50000"), (SESSION, 0, "50001")],
            42,
            "duplicate config keys",
        ),
    ];
    for (group_id, operations, code, message) in table {
        let (got, text) = alter(&image, group_id, operations).unwrap_err();
        assert_eq!(got, code, "{operations:?}: {text}");
        assert!(text.contains(message), "{text}");
    }
}

#[test]
fn a_groups_whole_configuration_is_replaced() {
    let image = MetadataImage::default();
    let image = alter(&image, "g", &[(SESSION, 0, "50000")]).unwrap();
    let mut resource = alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = RESOURCE_GROUP;
    resource.resource_name = "g".into();
    let mut config = alter_configs_request::AlterableConfig::default();
    config.name = HEARTBEAT.into();
    config.value = Some("7000".into());
    resource.configs = vec![config];
    let mut request = AlterConfigsRequest::default();
    request.resources = vec![resource];
    let (records, response) = replace_configs(&request, &image, &Defaults::default(), &nodes(1));
    assert_eq!(response.responses[0].error_code, 0);
    let image = applied(&image, &records);
    let own: Vec<_> = image.group_configs("g").into_iter().flatten().collect();
    assert_eq!(own, [(&HEARTBEAT.to_owned(), &"7000".to_owned())]);
}

#[test]
fn settings_of_groups_end_at_their_limit_and_what_makes_room_is_taken() {
    let name = |number: usize| format!("{number:0>30000}");
    let mut image = MetadataImage::default();
    let mut count = 0;
    while image.group_configs_bytes() < GROUP_CONFIGS_BYTES_MAX {
        image
            .apply(&MetadataRecord::GroupConfig {
                group_id: name(count),
                name: SESSION.to_owned(),
                value: Some("50000".to_owned()),
            })
            .unwrap();
        count += 1;
    }
    assert!(count < 600, "{count}");
    let set = [(SESSION, 0, "51000")];
    let refused = alter(&image, "one more", &set).unwrap_err();
    assert_eq!(refused.0, 44, "{}", refused.1);
    assert!(alter(&image, &name(0), &set).is_ok(), "it has it already");
    let image = alter(&image, &name(0), &[(SESSION, 1, "")]).unwrap();
    assert!(alter(&image, "one more", &set).is_ok());
}
