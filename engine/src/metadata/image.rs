//! The cluster's metadata as it stands: what all records so far add up to.
//!
//! Each lane owns an image and applies the same records in the same order. Invariants, checked by every
//! [`MetadataImage::apply`] before anything changes:
//! - a topic id names one topic for ever, also after that topic was deleted;
//! - a topic name names at most one topic;
//! - a topic's partitions are numbered from 0 without gaps;
//! - a log id is above every log id before it, so none is ever reused;
//! - leader epochs and the next producer id never fall.
//!
//! Look-ups by name and by id cost one hash; nothing scans all topics but the calls that list them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use corelane_format::ids::{LeaderEpoch, LogId, PartitionIndex, ProducerId, TopicId};
use thiserror::Error;

use super::group_configs::GroupConfigs;
use super::record::MetadataRecord;
use super::topic_name;
use crate::config::TopicConfig;

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMeta {
    /// Its log.
    pub log_id: LogId,
    /// The lane that owns it.
    pub lane: usize,
    /// The number of its leadership.
    pub leader_epoch: LeaderEpoch,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMeta {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionMeta>,
    /// Its own settings, by name.
    pub configs: BTreeMap<String, String>,
}

impl TopicMeta {
    /// A partition by its index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionMeta> {
        self.partitions.get(usize::try_from(index.get()).ok()?)
    }
}

/// Why a record does not follow from the records before it: a bug, or a damaged log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// A server has at least one lane.
    #[error("a record sets the number of lanes to 0")]
    NoLanes,
    /// No server has so many lanes.
    #[error("a record names lane {lane}, a server has at most {LANES_MAX}")]
    LaneOutOfRange {
        /// The lane in the record.
        lane: usize,
    },
    /// The id is in use or was.
    #[error("topic id {id} of {name:?} is or was in use")]
    TopicIdReused {
        /// The id.
        id: TopicId,
        /// The name in the record.
        name: String,
    },
    /// The name is in use.
    #[error("topic name {name:?} is in use by {current}, a record gives it to {id}")]
    TopicNameInUse {
        /// The name.
        name: String,
        /// The topic that has it.
        current: TopicId,
        /// The topic in the record.
        id: TopicId,
    },
    /// No name of a topic.
    #[error("{name:?} is no topic name")]
    InvalidTopicName {
        /// The name.
        name: String,
    },
    /// No such topic.
    #[error("there is no topic {id}")]
    UnknownTopic {
        /// The id.
        id: TopicId,
    },
    /// No such partition, or not the next one.
    #[error("partition {got} of topic {id} does not follow: there are {count}")]
    UnexpectedPartition {
        /// The topic.
        id: TopicId,
        /// The index in the record.
        got: PartitionIndex,
        /// Partitions that the topic has.
        count: usize,
    },
    /// The log id is not above all before.
    #[error("log id {got} of topic {id} is or was in use: the next is {next}")]
    LogIdReused {
        /// The topic.
        id: TopicId,
        /// The log id in the record.
        got: LogId,
        /// The lowest that was free.
        next: LogId,
    },
    /// A leader epoch fell.
    #[error("leader epoch {got} of topic {id} partition {index} is below {current}")]
    LeaderEpochFell {
        /// The topic.
        id: TopicId,
        /// The partition.
        index: PartitionIndex,
        /// The epoch in the record.
        got: LeaderEpoch,
        /// The epoch so far.
        current: LeaderEpoch,
    },
    /// Producer ids would be handed out twice.
    #[error("the next producer id {got} is below {current}")]
    ProducerIdsFell {
        /// The next id in the record.
        got: ProducerId,
        /// The next id so far.
        current: ProducerId,
    },
}

/// Tells one state of a cluster's topics from another one; see [`MetadataImage::topics_stamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicsStamp {
    last_log_id: LogId,
    removed: usize,
}

impl TopicsStamp {
    /// A number that grows with each change.
    pub fn version(self) -> i64 {
        let removed = i64::try_from(self.removed).unwrap_or(i64::MAX);
        i64::try_from(self.last_log_id.get())
            .unwrap_or(i64::MAX)
            .saturating_add(removed)
    }
}

/// The cluster's metadata.
#[derive(Clone, Debug, Default)]
pub struct MetadataImage {
    topic_defaults: TopicConfig,
    lanes: Option<usize>,
    topics: HashMap<TopicId, TopicMeta>,
    by_name: HashMap<String, TopicId>,
    // Ordered, for listings and cursors.
    names: BTreeMap<String, TopicId>,
    // How many names there are to each form with '.' and '_' made equal, of names that have either.
    collisions: HashMap<String, Vec<String>>,
    // Ids of deleted topics: 16 bytes each, the price of never reusing one.
    removed: HashSet<TopicId>,
    lane_loads: Vec<usize>,
    partitions_total: usize,
    last_log_id: LogId,
    next_producer_id: ProducerId,
    // Of every node under `None`.
    broker_configs: BTreeMap<Option<i32>, BTreeMap<String, String>>,
    group_configs: GroupConfigs,
}

/// What is counted for each lane must stay small, whatever a record says.
const LANES_MAX: usize = 1 << 16;

fn check_lane(lane: usize) -> Result<(), ApplyError> {
    if lane < LANES_MAX {
        Ok(())
    } else {
        Err(ApplyError::LaneOutOfRange { lane })
    }
}

impl MetadataImage {
    /// The metadata of a cluster without any record, on a server with these topic defaults.
    pub fn new(topic_defaults: TopicConfig) -> Self {
        Self {
            topic_defaults,
            ..Self::default()
        }
    }

    /// Adds one record.
    ///
    /// # Errors
    /// The record does not follow from those before it; the image is as it was.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::Lanes { count: 0 } => Err(ApplyError::NoLanes),
            MetadataRecord::Lanes { count } => {
                check_lane(count - 1)?;
                self.lanes = Some(*count);
                Ok(())
            }
            MetadataRecord::Topic { id, name } => self.add_topic(*id, name),
            MetadataRecord::Partition {
                topic_id,
                index,
                log_id,
                lane,
                leader_epoch,
            } => {
                let meta = PartitionMeta {
                    log_id: *log_id,
                    lane: *lane,
                    leader_epoch: *leader_epoch,
                };
                self.add_partition(*topic_id, *index, meta)
            }
            MetadataRecord::PartitionLane {
                topic_id,
                index,
                lane,
                leader_epoch,
            } => self.move_partition(*topic_id, *index, *lane, *leader_epoch),
            MetadataRecord::TopicConfig {
                topic_id,
                name,
                value,
            } => {
                let topic = self.topic_mut(*topic_id)?;
                match value {
                    Some(value) => topic.configs.insert(name.clone(), value.clone()),
                    None => topic.configs.remove(name),
                };
                Ok(())
            }
            MetadataRecord::BrokerConfig { node, name, value } => {
                let configs = self.broker_configs.entry(*node).or_default();
                match value {
                    Some(value) => configs.insert(name.clone(), value.clone()),
                    None => configs.remove(name),
                };
                if configs.is_empty() {
                    self.broker_configs.remove(node);
                }
                Ok(())
            }
            MetadataRecord::GroupConfig {
                group_id,
                name,
                value,
            } => {
                self.group_configs.put(group_id, name, value.as_deref());
                Ok(())
            }
            MetadataRecord::RemoveTopic { topic_id } => self.remove_topic(*topic_id),
            MetadataRecord::ProducerIds { next } => {
                if *next < self.next_producer_id {
                    return Err(ApplyError::ProducerIdsFell {
                        got: *next,
                        current: self.next_producer_id,
                    });
                }
                self.next_producer_id = *next;
                Ok(())
            }
        }
    }

    fn add_topic(&mut self, id: TopicId, name: &str) -> Result<(), ApplyError> {
        if topic_name::validate(name).is_err() {
            return Err(ApplyError::InvalidTopicName {
                name: name.to_owned(),
            });
        }
        if id.is_zero() || self.knows_topic_id(id) {
            return Err(ApplyError::TopicIdReused {
                id,
                name: name.to_owned(),
            });
        }
        if let Some(current) = self.by_name.get(name) {
            return Err(ApplyError::TopicNameInUse {
                name: name.to_owned(),
                current: *current,
                id,
            });
        }
        let topic = TopicMeta {
            id,
            name: name.to_owned(),
            partitions: Vec::new(),
            configs: BTreeMap::new(),
        };
        self.topics.insert(id, topic);
        self.by_name.insert(name.to_owned(), id);
        self.names.insert(name.to_owned(), id);
        if let Some(unified) = topic_name::unified(name) {
            self.collisions
                .entry(unified)
                .or_default()
                .push(name.to_owned());
        }
        Ok(())
    }

    fn add_partition(
        &mut self,
        id: TopicId,
        index: PartitionIndex,
        meta: PartitionMeta,
    ) -> Result<(), ApplyError> {
        check_lane(meta.lane)?;
        let last_log_id = self.last_log_id;
        let topic = self.topic_mut(id)?;
        let count = topic.partitions.len();
        if usize::try_from(index.get()) != Ok(count) {
            return Err(ApplyError::UnexpectedPartition {
                id,
                got: index,
                count,
            });
        }
        // After the last of all numbers there would be no next one.
        if meta.log_id <= last_log_id || meta.log_id.get() == u64::MAX {
            let next = LogId::new(last_log_id.get().saturating_add(1));
            return Err(ApplyError::LogIdReused {
                id,
                got: meta.log_id,
                next,
            });
        }
        topic.partitions.push(meta);
        self.last_log_id = meta.log_id;
        self.partitions_total += 1;
        self.add_load(meta.lane);
        Ok(())
    }

    fn move_partition(
        &mut self,
        id: TopicId,
        index: PartitionIndex,
        lane: usize,
        leader_epoch: LeaderEpoch,
    ) -> Result<(), ApplyError> {
        check_lane(lane)?;
        let topic = self.topic_mut(id)?;
        let count = topic.partitions.len();
        let partition = usize::try_from(index.get())
            .ok()
            .and_then(|at| topic.partitions.get_mut(at));
        let Some(partition) = partition else {
            return Err(ApplyError::UnexpectedPartition {
                id,
                got: index,
                count,
            });
        };
        let current = partition.leader_epoch;
        if leader_epoch < current {
            return Err(ApplyError::LeaderEpochFell {
                id,
                index,
                got: leader_epoch,
                current,
            });
        }
        let before = partition.lane;
        partition.lane = lane;
        partition.leader_epoch = leader_epoch;
        self.remove_load(before);
        self.add_load(lane);
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId) -> Result<(), ApplyError> {
        let Some(topic) = self.topics.remove(&id) else {
            return Err(ApplyError::UnknownTopic { id });
        };
        self.by_name.remove(&topic.name);
        self.names.remove(&topic.name);
        if let Some(unified) = topic_name::unified(&topic.name)
            && let Some(names) = self.collisions.get_mut(&unified)
        {
            names.retain(|name| *name != topic.name);
            if names.is_empty() {
                self.collisions.remove(&unified);
            }
        }
        for partition in &topic.partitions {
            self.remove_load(partition.lane);
        }
        self.partitions_total -= topic.partitions.len();
        self.removed.insert(id);
        Ok(())
    }

    fn topic_mut(&mut self, id: TopicId) -> Result<&mut TopicMeta, ApplyError> {
        self.topics
            .get_mut(&id)
            .ok_or(ApplyError::UnknownTopic { id })
    }

    fn add_load(&mut self, lane: usize) {
        if self.lane_loads.len() <= lane {
            self.lane_loads.resize(lane + 1, 0);
        }
        self.lane_loads[lane] += 1;
    }

    fn remove_load(&mut self, lane: usize) {
        let load = &mut self.lane_loads[lane];
        assert!(*load > 0, "a lane's partitions are counted");
        *load -= 1;
    }

    /// The number of lanes that partitions were last placed for.
    pub fn lanes(&self) -> Option<usize> {
        self.lanes
    }

    /// A topic by its name.
    pub fn topic(&self, name: &str) -> Option<&TopicMeta> {
        self.topics.get(self.by_name.get(name)?)
    }

    /// A topic by its id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&TopicMeta> {
        self.topics.get(&id)
    }

    /// A partition by its topic's id and its index.
    pub fn partition(&self, id: TopicId, index: PartitionIndex) -> Option<&PartitionMeta> {
        self.topic_by_id(id)?.partition(index)
    }

    /// Whether a topic has this id, or had it before it was deleted.
    pub fn knows_topic_id(&self, id: TopicId) -> bool {
        self.topics.contains_key(&id) || self.removed.contains(&id)
    }

    /// All topics, in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &TopicMeta> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// The topics whose names are not before `name`, in the order of their names.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a TopicMeta> + use<'a> {
        self.names
            .range::<str, _>((Bound::Included(name), Bound::Unbounded))
            .filter_map(|(_, id)| self.topics.get(id))
    }

    /// A topic whose name differs from `name` only in '.' against '_', which Kafka does not allow.
    pub fn colliding_topic(&self, name: &str) -> Option<&str> {
        let names = self.collisions.get(&topic_name::unified(name)?)?;
        names
            .iter()
            .map(String::as_str)
            .find(|other| *other != name)
    }

    /// Changes with every topic or partition that is added or removed.
    pub fn topics_stamp(&self) -> TopicsStamp {
        TopicsStamp {
            last_log_id: self.last_log_id,
            removed: self.removed.len(),
        }
    }

    /// How many topics there are.
    pub fn topics_total(&self) -> usize {
        self.topics.len()
    }

    /// How many partitions there are in all topics.
    pub fn partitions_total(&self) -> usize {
        self.partitions_total
    }

    /// How many partitions each lane owns; lanes beyond the end own none.
    pub fn lane_loads(&self) -> &[usize] {
        &self.lane_loads
    }

    /// A topic's settings in effect; the server's defaults if there is no such topic.
    pub fn topic_config(&self, id: TopicId) -> TopicConfig {
        match self.topics.get(&id) {
            None => self.topic_defaults.clone(),
            Some(topic) => self.topic_defaults.with_overrides(
                topic
                    .configs
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            ),
        }
    }

    /// The broker settings that were set while the server runs: of one node, or of every node (`None`).
    pub fn broker_configs(&self, node: Option<i32>) -> Option<&BTreeMap<String, String>> {
        self.broker_configs.get(&node)
    }

    /// The nodes that have broker settings of their own.
    pub fn nodes_with_configs(&self) -> impl Iterator<Item = i32> + '_ {
        self.broker_configs.keys().filter_map(|node| *node)
    }

    /// A group's own settings.
    pub fn group_configs(&self, group_id: &str) -> Option<&BTreeMap<String, String>> {
        self.group_configs.of(group_id)
    }

    /// The groups that have settings of their own, in the order of their names.
    pub fn groups_with_configs(&self) -> impl Iterator<Item = &str> {
        self.group_configs.groups()
    }

    /// What the settings of all groups take, in bytes.
    pub fn group_configs_bytes(&self) -> usize {
        self.group_configs.size_bytes()
    }

    /// Takes other settings for topics without settings of their own.
    pub fn set_topic_defaults(&mut self, topic_defaults: TopicConfig) {
        self.topic_defaults = topic_defaults;
    }

    /// The settings in effect of a topic without settings of its own.
    pub fn topic_defaults(&self) -> &TopicConfig {
        &self.topic_defaults
    }

    /// The lowest log id that was never used.
    pub fn next_log_id(&self) -> LogId {
        LogId::new(self.last_log_id.get() + 1)
    }

    /// The lowest producer id that was never handed out.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }
}
