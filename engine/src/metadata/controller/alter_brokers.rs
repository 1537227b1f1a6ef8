//! Broker settings while the server runs: those that give topics their defaults change, the others are read-only.
//!
//! A setting of all nodes has the empty name for its resource. What was set at start stays below what is set here.

use std::collections::BTreeMap;

use kafka_wire::incremental_alter_configs_request::AlterConfigsResource;

use super::alter_configs::{DELETE, changed};
use super::{Defaults, Rejection};
use crate::config::broker::is_dynamic;
use crate::config::broker_definitions;
use crate::config::definition::echo;
use crate::config::topic::validate_overrides;
use crate::metadata::image::MetadataImage;
use crate::metadata::nodes::Nodes;
use crate::metadata::record::MetadataRecord;

/// The node that a broker resource names; `None` is all nodes.
pub(super) fn node_of(name: &str, nodes: &Nodes) -> Result<Option<i32>, Rejection> {
    if name.is_empty() {
        return Ok(None);
    }
    let id: i32 = name.parse().map_err(|_| {
        Rejection::invalid_request(format!(
            "Node id must be an integer, but it is: {}",
            echo(name)
        ))
    })?;
    if nodes.node(id).is_none() {
        return Err(Rejection::invalid_request(format!(
            "Unexpected broker id, expected {}, but received {id}",
            nodes.ids()
        )));
    }
    Ok(Some(id))
}

/// Decides on the changes of one node's settings, or of all nodes'.
pub(super) fn alter_broker(
    resource: &AlterConfigsResource,
    image: &MetadataImage,
    defaults: &Defaults,
    nodes: &Nodes,
) -> Result<Vec<MetadataRecord>, Rejection> {
    let node = node_of(resource.resource_name.as_str(), nodes)?;
    // What was never set that way can be taken back that way.
    let fixed: Vec<String> = resource
        .configs
        .iter()
        .filter(|config| config.config_operation != DELETE && !is_dynamic(&config.name))
        .take(10)
        .map(|config| echo(&config.name))
        .collect();
    if !fixed.is_empty() {
        return Err(Rejection::invalid_request(format!(
            "Cannot update these configs dynamically: Set({}). Set them in the configuration file or with --set, and restart.",
            fixed.join(", ")
        )));
    }
    let before = image.broker_configs(node).cloned().unwrap_or_default();
    let mut after = before.clone();
    for config in &resource.configs {
        let definition = broker_definitions::find(&config.name);
        let default = || {
            definition
                .and_then(|definition| Some(defaults.broker.get(definition).value?.to_string()))
        };
        match changed(config, &before, definition, default)? {
            Some(text) => {
                if let Some(definition) = definition {
                    definition.parse(&text)?;
                }
                after.insert(config.name.to_string(), text)
            }
            None => after.remove(config.name.as_str()),
        };
    }
    let (of_node, of_all) = match node {
        Some(_) => (Some(&after), image.broker_configs(None)),
        None => (None, Some(&after)),
    };
    validate_overrides(
        &defaults.with_dynamic(of_node, of_all).topics,
        &BTreeMap::new(),
    )?;
    Ok(resource
        .configs
        .iter()
        .map(|config| config.name.as_str())
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| MetadataRecord::BrokerConfig {
            node,
            name: name.to_owned(),
            value: after.get(name).cloned(),
        })
        .collect())
}
