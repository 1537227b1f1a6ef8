//! `CreateTopics` (v2 to v7).

use std::collections::{BTreeMap, HashMap, HashSet};

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use kafka_wire::create_topics_request::CreatableTopic;
use kafka_wire::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_wire::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_wire_core::{StrBytes, Uuid};

use super::planner::{Assignment, Planner};
use super::{Decision, Defaults, Rejection, repeated};
use crate::config::ConfigSource;
use crate::config::definition::echo;
use crate::config::topic::validate_overrides;
use crate::config::topic_definitions::TOPIC_CONFIGS;
use crate::metadata::image::MetadataImage;
use crate::metadata::nodes::Nodes;
use crate::metadata::record::MetadataRecord;
use crate::metadata::topic_id_source::TopicIdSource;
use crate::metadata::topic_name;

/// A topic that is planned.
pub(super) struct CreatedTopic {
    id: TopicId,
    partitions: usize,
    overrides: BTreeMap<String, String>,
}

/// Decides on a `CreateTopics` request. With `validate_only` there are no records, and the response is the same.
pub fn create_topics(
    request: &CreateTopicsRequest,
    image: &MetadataImage,
    defaults: &Defaults,
    nodes: &Nodes,
    ids: &mut impl TopicIdSource,
) -> Decision<CreateTopicsResponse> {
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut planner = Planner::new(image, defaults, nodes);
    let mut answered = HashSet::new();
    let mut response = CreateTopicsResponse::default();
    for topic in &request.topics {
        let name = topic.name.as_str();
        if repeated.contains(name) {
            if answered.insert(name) {
                let rejection = Rejection::invalid_request("Duplicate topic name.");
                response.topics.push(refused(&topic.name, &rejection));
            }
            continue;
        }
        response.topics.push(
            match create_topic(topic, image, defaults, &mut planner, ids) {
                Ok(created) => accepted(&topic.name, &created, defaults),
                Err(rejection) => refused(&topic.name, &rejection),
            },
        );
    }
    let records = if request.validate_only {
        Vec::new()
    } else {
        planner.into_records()
    };
    (records, response)
}

/// Plans one topic, or leaves the plan as it was.
pub(super) fn create_topic(
    topic: &CreatableTopic,
    image: &MetadataImage,
    defaults: &Defaults,
    planner: &mut Planner<'_>,
    ids: &mut impl TopicIdSource,
) -> Result<CreatedTopic, Rejection> {
    let name = topic.name.as_str();
    if name == topic_name::CLUSTER_METADATA_TOPIC {
        return Err(Rejection::invalid_request(format!(
            "Creation of internal topic {name} is prohibited."
        )));
    }
    if image.topic(name).is_some() {
        return Err(Rejection::new(
            ErrorCode::TopicAlreadyExists,
            format!("Topic '{}' already exists.", echo(name)),
        ));
    }
    topic_name::validate(name)?;
    if let Some(other) = image.colliding_topic(name) {
        return Err(Rejection::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {other}"),
        ));
    }
    let overrides = overrides_of(topic)?;
    validate_overrides(&defaults.topics, &overrides)?;
    let assignment = assignment_of(topic, defaults, planner)?;
    planner.check_limits(assignment.count())?;
    let id = planner.topic_id(ids)?;
    planner.push(MetadataRecord::Topic {
        id,
        name: name.to_owned(),
    });
    for (config, value) in &overrides {
        planner.push(MetadataRecord::TopicConfig {
            topic_id: id,
            name: config.clone(),
            value: Some(value.clone()),
        });
    }
    planner.partitions(id, &[], &assignment);
    Ok(CreatedTopic {
        id,
        partitions: assignment.count(),
        overrides,
    })
}

fn overrides_of(topic: &CreatableTopic) -> Result<BTreeMap<String, String>, Rejection> {
    let nulls: Vec<String> = topic
        .configs
        .iter()
        .filter(|config| config.value.is_none())
        .take(10)
        .map(|config| echo(&config.name))
        .collect();
    if !nulls.is_empty() {
        return Err(Rejection::new(
            ErrorCode::InvalidConfig,
            format!(
                "Null value not supported for topic configs: {}",
                nulls.join(",")
            ),
        ));
    }
    // Of a setting given twice Kafka takes the last.
    Ok(topic
        .configs
        .iter()
        .filter_map(|config| Some((config.name.to_string(), config.value.as_ref()?.to_string())))
        .collect())
}

fn assignment_of(
    topic: &CreatableTopic,
    defaults: &Defaults,
    planner: &Planner<'_>,
) -> Result<Assignment, Rejection> {
    if !topic.assignments.is_empty() {
        return manual_assignment(topic, planner);
    }
    match topic.replication_factor {
        -1 | 1 => {}
        ..=0 => {
            return Err(Rejection::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        factor => {
            return Err(Rejection::new(
                ErrorCode::InvalidReplicationFactor,
                format!(
                    "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} \
                     cannot be reached because only 1 server(s) are registered."
                ),
            ));
        }
    }
    let count = match topic.num_partitions {
        -1 => defaults.broker.num_partitions(),
        count => count,
    };
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(Assignment::Automatic { count }),
        _ => Err(Rejection::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        )),
    }
}

fn manual_assignment(
    topic: &CreatableTopic,
    planner: &Planner<'_>,
) -> Result<Assignment, Rejection> {
    if topic.replication_factor != -1 {
        return Err(Rejection::invalid_request(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ));
    }
    if topic.num_partitions != -1 {
        return Err(Rejection::invalid_request(
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ));
    }
    let mut by_index = HashMap::new();
    let mut previous = None;
    for assignment in &topic.assignments {
        if by_index.contains_key(&assignment.partition_index) {
            return Err(Rejection::new(
                ErrorCode::InvalidReplicaAssignment,
                format!(
                    "Found multiple manual partition assignments for partition {}",
                    assignment.partition_index
                ),
            ));
        }
        let lanes = planner.manual(&assignment.broker_ids, previous)?;
        previous = Some(assignment.broker_ids.len());
        by_index.insert(assignment.partition_index, lanes);
    }
    let nodes: Option<Vec<_>> = (0..)
        .take(by_index.len())
        .map(|index| by_index.get(&index).copied())
        .collect();
    nodes
        .map(|nodes| Assignment::Manual { nodes })
        .ok_or_else(|| {
            Rejection::new(
                ErrorCode::InvalidReplicaAssignment,
                "partitions should be a consecutive 0-based integer sequence",
            )
        })
}

fn refused(name: &StrBytes, rejection: &Rejection) -> CreatableTopicResult {
    let mut result = CreatableTopicResult::default();
    result.name = name.clone();
    result.error_code = rejection.code.code();
    result.error_message = Some(rejection.text());
    result
}

fn accepted(name: &StrBytes, created: &CreatedTopic, defaults: &Defaults) -> CreatableTopicResult {
    let mut result = CreatableTopicResult::default();
    result.name = name.clone();
    result.topic_id = Uuid::from_bytes(created.id.get());
    result.error_message = None;
    result.num_partitions = i32::try_from(created.partitions).unwrap_or(i32::MAX);
    result.replication_factor = 1;
    result.configs = Some(effective_configs(&created.overrides, defaults));
    result
}

fn effective_configs(
    overrides: &BTreeMap<String, String>,
    defaults: &Defaults,
) -> Vec<CreatableTopicConfigs> {
    TOPIC_CONFIGS
        .iter()
        .filter(|topic| !topic.is_internal)
        .map(|topic| {
            let (value, source) = if let Some(text) = overrides.get(topic.definition.name) {
                (Some(text.trim().to_owned()), ConfigSource::Topic)
            } else {
                let default = defaults.broker.topic_default(topic);
                (default.value.map(|value| value.to_string()), default.source)
            };
            let mut config = CreatableTopicConfigs::default();
            config.name = StrBytes::from(topic.definition.name);
            config.value = value.map(StrBytes::from);
            config.config_source = source.wire();
            config
        })
        .collect()
}
