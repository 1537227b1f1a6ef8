//! `Metadata` (v0 to v13): the nodes, and topics with their partitions' leaders.

use std::collections::{HashMap, HashSet};

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use kafka_wire::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire::{MetadataRequest, MetadataResponse};
use kafka_wire_core::{StrBytes, Uuid};

use super::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS};
use crate::metadata::image::{MetadataImage, TopicMeta};
use crate::metadata::nodes::Nodes;
use crate::metadata::topic_name;

/// The answer to a `Metadata` request.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataAnswer {
    /// What to send. Topics in `missing` stand in it as unknown.
    pub response: MetadataResponse,
    /// Topics that do not exist, have valid names, and may be created by this request as far as the client is concerned.
    ///
    /// Whether the server creates topics on its own is the caller's to know; after creating them it asks again.
    pub missing: Vec<String>,
}

/// Answers a `Metadata` request of this version.
pub fn describe_topics(
    request: &MetadataRequest,
    version: i16,
    image: &MetadataImage,
    nodes: &Nodes,
) -> MetadataAnswer {
    let mut response = MetadataResponse::default();
    response.brokers = nodes
        .nodes
        .iter()
        .map(|node| broker(node.id, &node.host, node.port, nodes))
        .collect();
    response.cluster_id = Some(StrBytes::from(nodes.cluster_id.as_str()));
    response.controller_id = nodes.controller_id();
    if (8..=10).contains(&version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    let mut missing = Vec::new();
    match &request.topics {
        None => response.topics = image.topics().map(|topic| known(topic, nodes)).collect(),
        Some(topics) if topics.is_empty() && version == 0 => {
            response.topics = image.topics().map(|topic| known(topic, nodes)).collect();
        }
        Some(topics)
            if version < 12
                && topics
                    .iter()
                    .any(|t| !t.topic_id.is_zero() || t.name.is_none()) =>
        {
            // Ids came with v12; Kafka refuses the request as a whole.
            for topic in topics {
                let name = topic.name.clone().unwrap_or_default();
                response.topics.push(unknown(
                    ErrorCode::InvalidRequest,
                    Some(name),
                    topic.topic_id,
                ));
            }
        }
        Some(topics) if topics.iter().any(|topic| !topic.topic_id.is_zero()) => {
            let mut seen = HashSet::new();
            let ids = topics
                .iter()
                .map(|topic| topic.topic_id)
                .filter(|id| !id.is_zero());
            for id in ids.filter(|id| seen.insert(*id)) {
                response
                    .topics
                    .push(match image.topic_by_id(TopicId::new(id.to_bytes())) {
                        Some(topic) => known(topic, nodes),
                        None => unknown(ErrorCode::UnknownTopicId, None, id),
                    });
            }
        }
        Some(topics) => {
            let mut seen = HashSet::new();
            let names = topics.iter().filter_map(|topic| topic.name.as_ref());
            for name in names.filter(|name| seen.insert(name.as_str())) {
                let topic = match (image.topic(name), topic_name::validate(name)) {
                    (Some(topic), _) => known(topic, nodes),
                    (None, Err(_)) => unknown(
                        ErrorCode::InvalidTopicException,
                        Some(name.clone()),
                        Uuid::ZERO,
                    ),
                    (None, Ok(())) => {
                        if request.allow_auto_topic_creation {
                            missing.push(name.to_string());
                        }
                        unknown(
                            ErrorCode::UnknownTopicOrPartition,
                            Some(name.clone()),
                            Uuid::ZERO,
                        )
                    }
                };
                response.topics.push(topic);
            }
        }
    }
    if version >= 8 && request.include_topic_authorized_operations {
        for topic in response
            .topics
            .iter_mut()
            .filter(|topic| topic.error_code == 0)
        {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    MetadataAnswer { response, missing }
}

/// Puts the reasons into a response why topics could not be created.
pub fn note_refusals(response: &mut MetadataResponse, refused: &[(String, ErrorCode)]) {
    let refused: HashMap<&str, ErrorCode> = refused
        .iter()
        .map(|(name, code)| (name.as_str(), *code))
        .collect();
    for topic in &mut response.topics {
        let name = topic.name.as_deref().unwrap_or_default();
        if let Some(code) = refused.get(name) {
            topic.error_code = code.code();
        }
    }
}

fn broker(id: i32, host: &str, port: u16, nodes: &Nodes) -> MetadataResponseBroker {
    let mut broker = MetadataResponseBroker::default();
    broker.node_id = id;
    broker.host = StrBytes::from(host);
    broker.port = i32::from(port);
    broker.rack = nodes.rack.as_deref().map(StrBytes::from);
    broker
}

fn known(topic: &TopicMeta, nodes: &Nodes) -> MetadataResponseTopic {
    let mut answer = MetadataResponseTopic::default();
    answer.name = Some(StrBytes::from(topic.name.as_str()));
    answer.topic_id = Uuid::from_bytes(topic.id.get());
    answer.is_internal = topic_name::is_internal(&topic.name);
    answer.partitions = (0..)
        .zip(&topic.partitions)
        .map(|(index, meta)| {
            let leader = nodes.id_of_lane(meta.lane);
            let mut partition = MetadataResponsePartition::default();
            partition.partition_index = index;
            partition.leader_id = leader;
            partition.leader_epoch = meta.leader_epoch.get();
            partition.replica_nodes = vec![leader];
            partition.isr_nodes = vec![leader];
            partition
        })
        .collect();
    answer
}

fn unknown(code: ErrorCode, name: Option<StrBytes>, id: Uuid) -> MetadataResponseTopic {
    let mut answer = MetadataResponseTopic::default();
    answer.error_code = code.code();
    answer.is_internal = name.as_deref().is_some_and(topic_name::is_internal);
    answer.name = name;
    answer.topic_id = id;
    answer
}
