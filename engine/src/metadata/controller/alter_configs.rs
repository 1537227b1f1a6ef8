//! `IncrementalAlterConfigs` (v0 and v1): settings of topics and of groups, and those of brokers that can change while they run.

use std::collections::{BTreeMap, HashMap, HashSet};

use corelane_net::error_code::ErrorCode;
use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alter_brokers::alter_broker;
use super::alter_groups::alter_group;
use super::{Decision, Defaults, Rejection};
use crate::config::definition::echo;
use crate::config::topic::validate_overrides;
use crate::config::{ConfigDefinition, ConfigType, topic_definitions};
use crate::metadata::image::MetadataImage;
use crate::metadata::nodes::Nodes;
use crate::metadata::record::MetadataRecord;
use crate::metadata::topic_name;

/// Kafka's number for topics among the kinds of configuration resources.
pub const RESOURCE_TOPIC: i8 = 2;
/// Kafka's number for brokers among the kinds of configuration resources.
pub const RESOURCE_BROKER: i8 = 4;
/// Kafka's number for the loggers of a broker among the kinds of configuration resources.
pub const RESOURCE_BROKER_LOGGER: i8 = 8;
/// Kafka's number for groups among the kinds of configuration resources.
pub const RESOURCE_GROUP: i8 = 32;

pub(super) const SET: i8 = 0;
pub(super) const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Decides on an `IncrementalAlterConfigs` request. With `validate_only` there are no records, and the response is the same.
pub fn incremental_alter_configs(
    request: &IncrementalAlterConfigsRequest,
    image: &MetadataImage,
    defaults: &Defaults,
    nodes: &Nodes,
) -> Decision<IncrementalAlterConfigsResponse> {
    let mut times: HashMap<(i8, &str), usize> = HashMap::new();
    for resource in &request.resources {
        *times
            .entry((resource.resource_type, resource.resource_name.as_str()))
            .or_default() += 1;
    }
    let mut records = Vec::new();
    let mut response = IncrementalAlterConfigsResponse::default();
    for resource in &request.resources {
        let outcome = if times[&(resource.resource_type, resource.resource_name.as_str())] > 1 {
            Err(Rejection::invalid_request(
                "Each resource must appear at most once.",
            ))
        } else {
            alter(resource, image, defaults, nodes)
        };
        let mut result = AlterConfigsResourceResponse::default();
        result.resource_type = resource.resource_type;
        result.resource_name = resource.resource_name.clone();
        result.error_message = None;
        match outcome {
            Ok(changes) => records.extend(changes),
            Err(rejection) => {
                result.error_code = rejection.code.code();
                result.error_message = Some(rejection.text());
            }
        }
        response.responses.push(result);
    }
    if request.validate_only {
        records.clear();
    }
    (records, response)
}

fn alter(
    resource: &AlterConfigsResource,
    image: &MetadataImage,
    defaults: &Defaults,
    nodes: &Nodes,
) -> Result<Vec<MetadataRecord>, Rejection> {
    let mut names = HashSet::new();
    if !resource
        .configs
        .iter()
        .all(|config| names.insert(config.name.as_str()))
    {
        return Err(Rejection::invalid_request(
            "Error due to duplicate config keys",
        ));
    }
    let nulls: Vec<String> = resource
        .configs
        .iter()
        .filter(|config| config.config_operation != DELETE && config.value.is_none())
        .take(10)
        .map(|config| echo(&config.name))
        .collect();
    if !nulls.is_empty() {
        return Err(Rejection::invalid_request(format!(
            "Null value not supported for : {}",
            nulls.join(", ")
        )));
    }
    if let Some(config) = resource
        .configs
        .iter()
        .find(|config| !(SET..=SUBTRACT).contains(&config.config_operation))
    {
        return Err(Rejection::invalid_request(format!(
            "Unknown operations type {}",
            config.config_operation
        )));
    }
    match resource.resource_type {
        RESOURCE_TOPIC => alter_topic(resource, image, defaults),
        RESOURCE_BROKER => alter_broker(resource, image, defaults, nodes),
        RESOURCE_GROUP => alter_group(resource, image, defaults),
        RESOURCE_BROKER_LOGGER => Err(Rejection::invalid_request(
            "Log levels are set with --log-level or CORELANE_LOG, and stay while the server runs.",
        )),
        other => Err(Rejection::invalid_request(format!(
            "Unknown resource type {other}"
        ))),
    }
}

fn alter_topic(
    resource: &AlterConfigsResource,
    image: &MetadataImage,
    defaults: &Defaults,
) -> Result<Vec<MetadataRecord>, Rejection> {
    let name = resource.resource_name.as_str();
    if name.is_empty() {
        return Err(Rejection::invalid_request(
            "Default topic resources are not allowed.",
        ));
    }
    topic_name::validate(name)?;
    let topic = image.topic(name);
    let before = topic.map(|topic| topic.configs.clone()).unwrap_or_default();
    let mut after = before.clone();
    for config in &resource.configs {
        let definition = topic_definitions::find(&config.name);
        let default = || {
            definition
                .and_then(|topic| Some(defaults.broker.topic_default(topic).value?.to_string()))
        };
        match changed(
            config,
            &before,
            definition.map(|topic| &topic.definition),
            default,
        )? {
            Some(value) => after.insert(config.name.to_string(), value),
            None => after.remove(config.name.as_str()),
        };
    }
    validate_overrides(&defaults.topics, &after)?;
    // Kafka checks the settings before it looks for the topic.
    let Some(topic) = topic else {
        return Err(Rejection::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{name}' does not exist."),
        ));
    };
    let names = resource.configs.iter().map(|config| config.name.as_str());
    Ok(names
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| MetadataRecord::TopicConfig {
            topic_id: topic.id,
            name: name.to_owned(),
            value: after.get(name).cloned(),
        })
        .collect())
}

/// What one operation makes of a setting; `None` goes back to the default.
pub(super) fn changed(
    config: &AlterableConfig,
    before: &BTreeMap<String, String>,
    definition: Option<&ConfigDefinition>,
    default: impl FnOnce() -> Option<String>,
) -> Result<Option<String>, Rejection> {
    let name = config.name.as_str();
    let text = config.value.as_deref().unwrap_or_default();
    let operation = match config.config_operation {
        DELETE => return Ok(None),
        APPEND => "APPEND",
        SUBTRACT => "SUBTRACT",
        _ => return Ok(Some(text.to_owned())),
    };
    if definition.is_none_or(|definition| definition.kind != ConfigType::List) {
        return Err(Rejection::new(
            ErrorCode::InvalidConfig,
            format!(
                "Can't {operation} to key {} because its type is not LIST.",
                echo(name)
            ),
        ));
    }
    let current = before
        .get(name)
        .cloned()
        .or_else(default)
        .unwrap_or_default();
    let mut elements: Vec<&str> = elements(&current).collect();
    for element in self::elements(text) {
        let at = elements.iter().position(|known| *known == element);
        match (config.config_operation, at) {
            (APPEND, None) => elements.push(element),
            (SUBTRACT, Some(at)) => {
                elements.remove(at);
            }
            _ => {}
        }
    }
    Ok(Some(elements.join(",")))
}

fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
}
