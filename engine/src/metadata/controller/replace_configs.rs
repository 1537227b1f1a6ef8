//! `AlterConfigs` (v0 to v2), the older way: what a request names is a resource's whole configuration from then on.
//!
//! Decided as the incremental request that sets what is named and deletes the rest.

use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    alter_configs_request, alter_configs_response,
};
use kafka_wire_core::StrBytes;

use super::alter_brokers::node_of;
use super::alter_configs::{
    DELETE, RESOURCE_BROKER, RESOURCE_GROUP, RESOURCE_TOPIC, SET, incremental_alter_configs,
};
use super::{Decision, Defaults};
use crate::metadata::image::MetadataImage;
use crate::metadata::nodes::Nodes;

/// Decides on an `AlterConfigs` request.
pub fn replace_configs(
    request: &AlterConfigsRequest,
    image: &MetadataImage,
    defaults: &Defaults,
    nodes: &Nodes,
) -> Decision<AlterConfigsResponse> {
    let mut incremental = IncrementalAlterConfigsRequest::default();
    incremental.validate_only = request.validate_only;
    incremental.resources = request
        .resources
        .iter()
        .map(|resource| as_operations(resource, image, nodes))
        .collect();
    let (records, decided) = incremental_alter_configs(&incremental, image, defaults, nodes);
    let mut response = AlterConfigsResponse::default();
    response.responses = decided
        .responses
        .into_iter()
        .map(|one| {
            let mut result = alter_configs_response::AlterConfigsResourceResponse::default();
            result.resource_type = one.resource_type;
            result.resource_name = one.resource_name;
            result.error_code = one.error_code;
            result.error_message = one.error_message;
            result
        })
        .collect();
    (records, response)
}

fn as_operations(
    resource: &alter_configs_request::AlterConfigsResource,
    image: &MetadataImage,
    nodes: &Nodes,
) -> AlterConfigsResource {
    let name = resource.resource_name.as_str();
    let current = match resource.resource_type {
        RESOURCE_TOPIC => image.topic(name).map(|topic| &topic.configs),
        RESOURCE_BROKER => node_of(name, nodes)
            .ok()
            .and_then(|node| image.broker_configs(node)),
        RESOURCE_GROUP => image.group_configs(name),
        _ => None,
    };
    let mut operations = AlterConfigsResource::default();
    operations.resource_type = resource.resource_type;
    operations.resource_name = resource.resource_name.clone();
    operations.configs = resource
        .configs
        .iter()
        .map(|config| {
            let mut operation = AlterableConfig::default();
            operation.name = config.name.clone();
            operation.config_operation = SET;
            operation.value.clone_from(&config.value);
            operation
        })
        .collect();
    let is_named = |name: &str| {
        resource
            .configs
            .iter()
            .any(|config| config.name.as_str() == name)
    };
    let dropped = current
        .into_iter()
        .flat_map(|configs| configs.keys())
        .filter(|name| !is_named(name));
    operations.configs.extend(dropped.map(|name| {
        let mut operation = AlterableConfig::default();
        operation.name = StrBytes::from(name.as_str());
        operation.config_operation = DELETE;
        operation.value = None;
        operation
    }));
    operations
}
