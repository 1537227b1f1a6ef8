//! What a cluster says of itself.

use corelane_format::TopicId;
use kafka_wire::MetadataResponse;
use kafka_wire::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use crate::error_code::ErrorCode;

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Where clients reach it.
    pub host: String,
    /// Where clients reach it.
    pub port: i32,
    /// Its rack.
    pub rack: Option<String>,
}

impl Broker {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Its id; zero from a broker that has none.
    pub id: TopicId,
    /// Whether it can be used.
    pub error: ErrorCode,
    /// Whether it is one of the broker's own.
    pub is_internal: bool,
    /// Its partitions, ascending by index.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Which.
    pub index: i32,
    /// Whether it can be used.
    pub error: ErrorCode,
    /// The broker that leads it.
    pub leader: Option<i32>,
    /// The leader's epoch, -1 from a broker that does not say.
    pub leader_epoch: i32,
    /// The brokers that have it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync_replicas: Vec<i32>,
}

/// One answer, as plain values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) cluster_id: Option<String>,
    pub(super) controller_id: i32,
    pub(super) brokers: Vec<Broker>,
    pub(super) topics: Vec<TopicMetadata>,
}

impl From<&MetadataResponse> for Metadata {
    fn from(response: &MetadataResponse) -> Self {
        Self {
            cluster_id: response.cluster_id.as_deref().map(str::to_owned),
            controller_id: response.controller_id,
            brokers: response.brokers.iter().map(broker).collect(),
            topics: response.topics.iter().map(topic).collect(),
        }
    }
}

fn broker(broker: &MetadataResponseBroker) -> Broker {
    Broker {
        id: broker.node_id,
        host: broker.host.as_str().to_owned(),
        port: broker.port,
        rack: broker.rack.as_deref().map(str::to_owned),
    }
}

fn topic(topic: &MetadataResponseTopic) -> TopicMetadata {
    let mut partitions: Vec<_> = topic.partitions.iter().map(partition).collect();
    partitions.sort_by_key(|partition| partition.index);
    TopicMetadata {
        name: topic.name.as_deref().unwrap_or_default().to_owned(),
        id: TopicId::new(topic.topic_id.to_bytes()),
        error: ErrorCode::from_wire(topic.error_code),
        is_internal: topic.is_internal,
        partitions,
    }
}

fn partition(partition: &MetadataResponsePartition) -> PartitionMetadata {
    PartitionMetadata {
        index: partition.partition_index,
        error: ErrorCode::from_wire(partition.error_code),
        leader: (partition.leader_id >= 0).then_some(partition.leader_id),
        leader_epoch: partition.leader_epoch,
        replicas: partition.replica_nodes.clone(),
        in_sync_replicas: partition.isr_nodes.clone(),
    }
}
