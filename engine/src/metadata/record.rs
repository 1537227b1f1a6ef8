//! The records of the metadata log, and their bytes.
//!
//! A record is one JSON object, `{"v":1,"type":"...","data":{...}}`: readable in a dump, and explicit about its version. A
//! version or type that this server does not know is an error and never skipped, since what it said would be lost. The
//! fixtures in the tests are the format: they must decode for ever.

use std::fmt;

use corelane_format::ids::{LeaderEpoch, LogId, PartitionIndex, ProducerId, TopicId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version that [`MetadataRecord::encode`] writes.
pub const RECORD_VERSION: u32 = 1;

/// One change of the cluster's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataRecord {
    /// The number of lanes that partitions are placed on changed.
    Lanes {
        /// Lanes of the server.
        count: usize,
    },
    /// A topic was created, so far without partitions.
    Topic {
        /// Its id, never used before.
        id: TopicId,
        /// Its name, not in use.
        name: String,
    },
    /// A partition was created. Partitions of a topic come in the order of their indexes.
    Partition {
        /// The topic.
        topic_id: TopicId,
        /// The next index.
        index: PartitionIndex,
        /// Its log, of a number never used before.
        log_id: LogId,
        /// The lane that owns it.
        lane: usize,
        /// Its first leader epoch.
        leader_epoch: LeaderEpoch,
    },
    /// A partition was moved to another lane.
    PartitionLane {
        /// The topic.
        topic_id: TopicId,
        /// The partition.
        index: PartitionIndex,
        /// The lane that owns it from now on.
        lane: usize,
        /// Its leader epoch from now on, not below the one before.
        leader_epoch: LeaderEpoch,
    },
    /// A topic's own setting was set, or taken back.
    TopicConfig {
        /// The topic.
        topic_id: TopicId,
        /// The setting.
        name: String,
        /// Its value; `None` goes back to the server's default.
        value: Option<String>,
    },
    /// A broker setting was set while the server runs, or taken back.
    BrokerConfig {
        /// The node; `None` is every node.
        node: Option<i32>,
        /// The setting.
        name: String,
        /// Its value; `None` goes back to what was set at start, or the default.
        value: Option<String>,
    },
    /// A setting of a group was set, or taken back.
    GroupConfig {
        /// The group, which need not exist.
        group_id: String,
        /// The setting.
        name: String,
        /// Its value; `None` goes back to the server's default.
        value: Option<String>,
    },
    /// A topic was deleted with all its partitions.
    RemoveTopic {
        /// The topic.
        topic_id: TopicId,
    },
    /// Producer ids were handed out.
    ProducerIds {
        /// The first id that has not been handed out yet.
        next: ProducerId,
    },
}

/// Why bytes are no metadata record.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Not a JSON object with a version and a type.
    #[error("a metadata record cannot be read: {0}")]
    Malformed(#[source] serde_json::Error),
    /// Written by a newer server.
    #[error(
        "a metadata record has version {got}, this server reads up to {supported}: start the newer server that wrote it"
    )]
    UnknownVersion {
        /// The record's version.
        got: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// A type that does not exist in this version.
    #[error("a metadata record of version {version} has the unknown type {got:?}")]
    UnknownType {
        /// The record's version.
        version: u32,
        /// Its type, as written.
        got: String,
    },
    /// The fields are not those of the type.
    #[error("a metadata record of type {kind} cannot be read: {source}")]
    MalformedFields {
        /// The record's type.
        kind: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A topic id is not one.
    #[error("a metadata record of type {kind} holds no topic id: {got:?}")]
    MalformedTopicId {
        /// The record's type.
        kind: String,
        /// The text found.
        got: String,
    },
}

#[derive(Serialize)]
struct EnvelopeOut<'a, T> {
    v: u32,
    r#type: &'a str,
    data: T,
}

#[derive(Deserialize)]
struct EnvelopeIn {
    v: u32,
    r#type: String,
    #[serde(default)]
    data: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LanesFields {
    count: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicFields {
    id: String,
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartitionFields {
    topic_id: String,
    index: i32,
    log_id: u64,
    lane: usize,
    leader_epoch: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartitionLaneFields {
    topic_id: String,
    index: i32,
    lane: usize,
    leader_epoch: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicConfigFields {
    topic_id: String,
    name: String,
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BrokerConfigFields {
    node: Option<i32>,
    name: String,
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupConfigFields {
    group_id: String,
    name: String,
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveTopicFields {
    topic_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProducerIdsFields {
    next: i64,
}

impl MetadataRecord {
    /// The topic that the record is about, if it is about one.
    pub fn topic_id(&self) -> Option<TopicId> {
        match self {
            Self::Topic { id: topic_id, .. }
            | Self::Partition { topic_id, .. }
            | Self::PartitionLane { topic_id, .. }
            | Self::TopicConfig { topic_id, .. }
            | Self::RemoveTopic { topic_id } => Some(*topic_id),
            Self::Lanes { .. }
            | Self::BrokerConfig { .. }
            | Self::GroupConfig { .. }
            | Self::ProducerIds { .. } => None,
        }
    }

    /// The record's bytes, in the newest version.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Lanes { count } => write("lanes", LanesFields { count: *count }),
            Self::Topic { id, name } => write(
                "topic",
                TopicFields {
                    id: id.to_string(),
                    name: name.clone(),
                },
            ),
            Self::Partition {
                topic_id,
                index,
                log_id,
                lane,
                leader_epoch,
            } => write(
                "partition",
                PartitionFields {
                    topic_id: topic_id.to_string(),
                    index: index.get(),
                    log_id: log_id.get(),
                    lane: *lane,
                    leader_epoch: leader_epoch.get(),
                },
            ),
            Self::PartitionLane {
                topic_id,
                index,
                lane,
                leader_epoch,
            } => write(
                "partition_lane",
                PartitionLaneFields {
                    topic_id: topic_id.to_string(),
                    index: index.get(),
                    lane: *lane,
                    leader_epoch: leader_epoch.get(),
                },
            ),
            Self::TopicConfig {
                topic_id,
                name,
                value,
            } => write(
                "topic_config",
                TopicConfigFields {
                    topic_id: topic_id.to_string(),
                    name: name.clone(),
                    value: value.clone(),
                },
            ),
            Self::BrokerConfig { node, name, value } => write(
                "broker_config",
                BrokerConfigFields {
                    node: *node,
                    name: name.clone(),
                    value: value.clone(),
                },
            ),
            Self::GroupConfig {
                group_id,
                name,
                value,
            } => write(
                "group_config",
                GroupConfigFields {
                    group_id: group_id.clone(),
                    name: name.clone(),
                    value: value.clone(),
                },
            ),
            Self::RemoveTopic { topic_id } => write(
                "remove_topic",
                RemoveTopicFields {
                    topic_id: topic_id.to_string(),
                },
            ),
            Self::ProducerIds { next } => {
                write("producer_ids", ProducerIdsFields { next: next.get() })
            }
        }
    }

    /// Reads a record from its bytes.
    ///
    /// # Errors
    /// The bytes are no record, or one that this server does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let envelope: EnvelopeIn = serde_json::from_slice(bytes).map_err(RecordError::Malformed)?;
        if envelope.v != RECORD_VERSION {
            return Err(RecordError::UnknownVersion {
                got: envelope.v,
                supported: RECORD_VERSION,
            });
        }
        let kind = envelope.r#type;
        let data = envelope.data;
        Ok(match kind.as_str() {
            "lanes" => {
                let LanesFields { count } = read(&kind, data)?;
                Self::Lanes { count }
            }
            "topic" => {
                let TopicFields { id, name } = read(&kind, data)?;
                Self::Topic {
                    id: topic_id(&kind, &id)?,
                    name,
                }
            }
            "partition" => {
                let fields: PartitionFields = read(&kind, data)?;
                Self::Partition {
                    topic_id: topic_id(&kind, &fields.topic_id)?,
                    index: PartitionIndex::new(fields.index),
                    log_id: LogId::new(fields.log_id),
                    lane: fields.lane,
                    leader_epoch: LeaderEpoch::new(fields.leader_epoch),
                }
            }
            "partition_lane" => {
                let fields: PartitionLaneFields = read(&kind, data)?;
                Self::PartitionLane {
                    topic_id: topic_id(&kind, &fields.topic_id)?,
                    index: PartitionIndex::new(fields.index),
                    lane: fields.lane,
                    leader_epoch: LeaderEpoch::new(fields.leader_epoch),
                }
            }
            "topic_config" => {
                let fields: TopicConfigFields = read(&kind, data)?;
                Self::TopicConfig {
                    topic_id: topic_id(&kind, &fields.topic_id)?,
                    name: fields.name,
                    value: fields.value,
                }
            }
            "broker_config" => {
                let BrokerConfigFields { node, name, value } = read(&kind, data)?;
                Self::BrokerConfig { node, name, value }
            }
            "group_config" => {
                let GroupConfigFields {
                    group_id,
                    name,
                    value,
                } = read(&kind, data)?;
                Self::GroupConfig {
                    group_id,
                    name,
                    value,
                }
            }
            "remove_topic" => {
                let fields: RemoveTopicFields = read(&kind, data)?;
                Self::RemoveTopic {
                    topic_id: topic_id(&kind, &fields.topic_id)?,
                }
            }
            "producer_ids" => {
                let fields: ProducerIdsFields = read(&kind, data)?;
                Self::ProducerIds {
                    next: ProducerId::new(fields.next),
                }
            }
            _ => {
                return Err(RecordError::UnknownType {
                    version: envelope.v,
                    got: kind,
                });
            }
        })
    }
}

fn write<T: Serialize>(kind: &str, data: T) -> Vec<u8> {
    serde_json::to_vec(&EnvelopeOut {
        v: RECORD_VERSION,
        r#type: kind,
        data,
    })
    .expect("strings and numbers always have a JSON form")
}

fn read<T: DeserializeOwned>(kind: &str, data: serde_json::Value) -> Result<T, RecordError> {
    serde_json::from_value(data).map_err(|source| RecordError::MalformedFields {
        kind: kind.to_owned(),
        source,
    })
}

fn topic_id(kind: &str, text: &str) -> Result<TopicId, RecordError> {
    text.parse().map_err(|_| RecordError::MalformedTopicId {
        kind: kind.to_owned(),
        got: text.to_owned(),
    })
}

/// The record's JSON, for dumps.
impl fmt::Display for MetadataRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.encode()))
    }
}
