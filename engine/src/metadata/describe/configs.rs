//! `DescribeConfigs` (v1 to v4): settings of topics, groups and brokers with where they come from.
//!
//! A resource that a request names twice is answered once, so that an answer cannot be much larger than the settings there
//! are.

use std::collections::{BTreeMap, HashSet};

use corelane_net::error_code::ErrorCode;
use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_wire::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_wire_core::StrBytes;
use tracing::level_filters::LevelFilter;

use crate::config::broker::{BrokerConfig, is_dynamic};
use crate::config::broker_definitions::{self, BROKER_CONFIGS};
use crate::config::definition::echo;
use crate::config::group_definitions::{GROUP_CONFIGS, GroupConfigDefinition};
use crate::config::topic_definitions::{TOPIC_CONFIGS, TopicConfigDefinition};
use crate::config::{ConfigDefinition, ConfigSource, ConfigType};
use crate::metadata::controller::alter_configs::{
    RESOURCE_BROKER, RESOURCE_BROKER_LOGGER, RESOURCE_GROUP, RESOURCE_TOPIC,
};
use crate::metadata::controller::{Defaults, Rejection};
use crate::metadata::image::{MetadataImage, TopicMeta};
use crate::metadata::nodes::{AdvertisedNode, Nodes};
use crate::metadata::topic_name;

/// Kafka's name of the logger above all others.
const ROOT_LOGGER: &str = "root";
/// Kafka's number for the source of a logger's level.
const BROKER_LOGGER_SOURCE: i8 = 6;

/// Answers a `DescribeConfigs` request. `defaults` are those of the node that answers.
pub fn describe_configs(
    request: &DescribeConfigsRequest,
    image: &MetadataImage,
    defaults: &Defaults,
    nodes: &Nodes,
) -> DescribeConfigsResponse {
    let question = Question {
        defaults,
        nodes,
        with_synonyms: request.include_synonyms,
        with_documentation: request.include_documentation,
    };
    let mut seen = HashSet::new();
    let mut response = DescribeConfigsResponse::default();
    for resource in &request.resources {
        if !seen.insert((resource.resource_type, resource.resource_name.as_str())) {
            continue;
        }
        let mut result = DescribeConfigsResult::default();
        result.resource_type = resource.resource_type;
        result.resource_name = resource.resource_name.clone();
        result.error_message = None;
        match question.answer(resource, image) {
            Ok(configs) => result.configs = configs,
            Err(rejection) => {
                result.error_code = rejection.code.code();
                result.error_message = Some(rejection.text());
            }
        }
        response.results.push(result);
    }
    response
}

/// What is asked of every resource of a request.
struct Question<'a> {
    defaults: &'a Defaults,
    nodes: &'a Nodes,
    with_synonyms: bool,
    with_documentation: bool,
}

/// A value and where it comes from, under the name it was set by.
type Found = (&'static str, Option<String>, ConfigSource);

impl Question<'_> {
    fn answer(
        &self,
        resource: &DescribeConfigsResource,
        image: &MetadataImage,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Rejection> {
        let name = resource.resource_name.as_str();
        let keys: Option<HashSet<&str>> = resource
            .configuration_keys
            .as_ref()
            .filter(|keys| !keys.is_empty())
            .map(|keys| keys.iter().map(StrBytes::as_str).collect());
        let is_asked = |name: &str| keys.as_ref().is_none_or(|keys| keys.contains(name));
        match resource.resource_type {
            RESOURCE_TOPIC => {
                topic_name::validate(name)?;
                let topic = image.topic(name).ok_or_else(|| {
                    Rejection::new(
                        ErrorCode::UnknownTopicOrPartition,
                        format!("The topic '{name}' does not exist."),
                    )
                })?;
                Ok(TOPIC_CONFIGS
                    .iter()
                    .filter(|config| !config.is_internal && is_asked(config.definition.name))
                    .map(|config| self.topic_config(config, topic))
                    .collect())
            }
            // What was set for all brokers while they run.
            RESOURCE_BROKER if name.is_empty() => Ok(image
                .broker_configs(None)
                .into_iter()
                .flatten()
                .filter_map(|(name, _)| broker_definitions::find(name))
                .filter(|definition| is_asked(definition.name))
                .map(|definition| {
                    let all = self
                        .defaults
                        .broker
                        .with_dynamic(None, image.broker_configs(None));
                    let mut config = self.broker_config(definition, &all);
                    config.synonyms.truncate(1);
                    config
                })
                .collect()),
            RESOURCE_BROKER => {
                let node = self.node(name)?;
                let broker = self.defaults.broker.with_dynamic(
                    image.broker_configs(Some(node.id)),
                    image.broker_configs(None),
                );
                let mut configs = self.node_configs(node);
                configs.extend(
                    BROKER_CONFIGS
                        .iter()
                        .map(|definition| self.broker_config(definition, &broker)),
                );
                configs.retain(|config| is_asked(&config.name));
                configs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                Ok(configs)
            }
            RESOURCE_GROUP if name.is_empty() => {
                Err(Rejection::invalid_request("Group name must not be empty"))
            }
            // As in Kafka, it need not exist.
            RESOURCE_GROUP => Ok(GROUP_CONFIGS
                .iter()
                .filter(|config| is_asked(config.definition.name))
                .map(|config| self.group_config(config, image.group_configs(name)))
                .collect()),
            RESOURCE_BROKER_LOGGER => {
                self.node(name)?;
                Ok(is_asked(ROOT_LOGGER)
                    .then(|| self.root_logger())
                    .into_iter()
                    .collect())
            }
            other => Err(Rejection::invalid_request(format!(
                "Unexpected resource type {other} for resource {}",
                echo(name)
            ))),
        }
    }

    fn node(&self, name: &str) -> Result<&AdvertisedNode, Rejection> {
        let id: i32 = name.parse().map_err(|_| {
            Rejection::invalid_request(format!(
                "Broker id must be an integer, but it is: {}",
                echo(name)
            ))
        })?;
        self.nodes.node(id).ok_or_else(|| {
            Rejection::invalid_request(format!(
                "Unexpected broker id, expected {} or empty string, but received {id}",
                self.nodes.ids()
            ))
        })
    }

    /// The server has one level for all that it logs, but for targets that `--log-level` names.
    fn root_logger(&self) -> DescribeConfigsResourceResult {
        let mut result = DescribeConfigsResourceResult::default();
        let level = LevelFilter::current().to_string().to_uppercase();
        result.name = StrBytes::from(ROOT_LOGGER);
        result.value = Some(StrBytes::from(level));
        result.read_only = true;
        result.config_source = BROKER_LOGGER_SOURCE;
        result.config_type = ConfigType::String.wire();
        result.documentation = self
            .with_documentation
            .then(|| StrBytes::from("The level of the server's log; set with --log-level."));
        result
    }

    fn topic_config(
        &self,
        config: &TopicConfigDefinition,
        topic: &TopicMeta,
    ) -> DescribeConfigsResourceResult {
        let definition = &config.definition;
        let mut found: Vec<Found> = Vec::new();
        if let Some(text) = topic.configs.get(definition.name) {
            let value = definition
                .parse(text)
                .map_or_else(|_| text.clone(), |value| value.to_string());
            found.push((definition.name, Some(value), ConfigSource::Topic));
        }
        let broker = &self.defaults.broker;
        let synonyms = || {
            config
                .synonyms
                .iter()
                .filter_map(|synonym| broker_definitions::find(synonym.name))
        };
        for synonym in synonyms() {
            for (value, source) in broker.layers(synonym.name) {
                found.push((synonym.name, Some(value.to_string()), source));
            }
        }
        for synonym in synonyms() {
            if let Some(default) = synonym.default {
                found.push((
                    synonym.name,
                    Some(default.to_owned()),
                    ConfigSource::Default,
                ));
            }
        }
        if config.synonyms.is_empty() {
            found.push((
                definition.name,
                definition.default.map(str::to_owned),
                ConfigSource::Default,
            ));
        }
        // The synonyms are in their own units; the value is in the topic setting's.
        let value = match found.first() {
            Some((_, value, ConfigSource::Topic)) => value.clone(),
            _ => broker
                .topic_default(config)
                .value
                .map(|value| value.to_string()),
        };
        self.result(definition, value, &found, false)
    }

    /// Kafka names no synonyms here: what the broker settings say is the default.
    fn group_config(
        &self,
        config: &GroupConfigDefinition,
        own: Option<&BTreeMap<String, String>>,
    ) -> DescribeConfigsResourceResult {
        let definition = &config.definition;
        let (value, source) = match own.and_then(|own| own.get(definition.name)) {
            Some(text) => (
                definition
                    .parse(text)
                    .map_or_else(|_| text.clone(), |value| value.to_string()),
                ConfigSource::Group,
            ),
            None => (
                config.default_of(&self.defaults.broker).to_string(),
                ConfigSource::Default,
            ),
        };
        let found = [(definition.name, Some(value.clone()), source)];
        self.result(definition, Some(value), &found, false)
    }

    fn broker_config(
        &self,
        definition: &ConfigDefinition,
        broker: &BrokerConfig,
    ) -> DescribeConfigsResourceResult {
        let mut found: Vec<Found> = broker
            .layers(definition.name)
            .map(|(value, source)| (definition.name, Some(value.to_string()), source))
            .collect();
        if let Some(default) = definition.default {
            found.push((
                definition.name,
                Some(default.to_owned()),
                ConfigSource::Default,
            ));
        }
        let value = found.first().and_then(|(_, value, _)| value.clone());
        self.result(definition, value, &found, !is_dynamic(definition.name))
    }

    /// What differs from node to node.
    fn node_configs(&self, node: &AdvertisedNode) -> Vec<DescribeConfigsResourceResult> {
        let listener = format!("PLAINTEXT://{}:{}", node.host, node.port);
        let text = |text: &str| Some(text.to_owned());
        let rows: [(&'static str, ConfigType, Option<String>, &'static str); 9] = [
            (
                "advertised.listeners",
                ConfigType::String,
                Some(listener.clone()),
                "Where clients connect to this node.",
            ),
            (
                "broker.id",
                ConfigType::Int,
                Some(node.id.to_string()),
                "This node's id.",
            ),
            (
                "broker.rack",
                ConfigType::String,
                self.nodes.rack.clone(),
                "The rack of this server's nodes.",
            ),
            (
                "inter.broker.listener.name",
                ConfigType::String,
                text("PLAINTEXT"),
                "The listener between nodes; nodes of one server use none.",
            ),
            (
                "inter.broker.protocol.version",
                ConfigType::String,
                text("4.1"),
                "The Kafka release whose protocol is spoken; tools read it.",
            ),
            (
                "listener.security.protocol.map",
                ConfigType::List,
                text("PLAINTEXT:PLAINTEXT"),
                "The listeners and how they are protected.",
            ),
            (
                "listeners",
                ConfigType::List,
                Some(listener),
                "Where this node listens.",
            ),
            (
                "node.id",
                ConfigType::Int,
                Some(node.id.to_string()),
                "This node's id.",
            ),
            (
                "process.roles",
                ConfigType::List,
                text("broker,controller"),
                "What this server is.",
            ),
        ];
        rows.into_iter()
            .map(|(name, kind, value, documentation)| {
                let definition = ConfigDefinition {
                    name,
                    kind,
                    default: None,
                    rule: crate::config::definition::Rule::Any,
                    documentation,
                };
                let found = [(name, value.clone(), ConfigSource::StaticBroker)];
                self.result(&definition, value, &found, true)
            })
            .collect()
    }

    fn result(
        &self,
        definition: &ConfigDefinition,
        value: Option<String>,
        found: &[Found],
        is_read_only: bool,
    ) -> DescribeConfigsResourceResult {
        let mut result = DescribeConfigsResourceResult::default();
        result.name = StrBytes::from(definition.name);
        result.value = value.map(StrBytes::from);
        result.read_only = is_read_only;
        result.config_source = found
            .first()
            .map_or(ConfigSource::Default, |(_, _, source)| *source)
            .wire();
        // None of the settings there are is a secret.
        result.is_sensitive = false;
        result.config_type = definition.kind.wire();
        result.documentation = self
            .with_documentation
            .then(|| StrBytes::from(definition.documentation));
        if self.with_synonyms {
            result.synonyms = found
                .iter()
                .map(|(name, value, source)| {
                    let mut synonym = DescribeConfigsSynonym::default();
                    synonym.name = StrBytes::from(*name);
                    synonym.value = value.as_deref().map(StrBytes::from);
                    synonym.source = source.wire();
                    synonym
                })
                .collect();
        }
        result
    }
}
