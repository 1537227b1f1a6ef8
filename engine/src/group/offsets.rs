//! The offsets that a group has committed.

use std::collections::BTreeMap;

use super::budget::{Budget, Charge};
use super::record::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use crate::metadata::MetadataImage;

/// What an offset costs besides its text.
const OFFSET_BYTES: usize = 192;

/// Where a group is in a partition.
#[derive(Debug)]
pub struct Committed {
    /// The next offset to consume.
    pub offset: i64,
    /// The leader epoch of the last record consumed, or -1.
    pub leader_epoch: i32,
    /// What the client keeps with it.
    pub metadata: Box<str>,
    /// When it was committed, by the wall clock.
    pub commit_timestamp_ms: i64,
    /// When it expires whatever the group does.
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id when it was committed; zeros if it is not known.
    pub topic_id: [u8; 16],
    _charge: Charge,
}

impl Committed {
    /// Whether the topic of this name is the one that the offset was committed for.
    pub fn is_of(&self, topic: &str, image: &MetadataImage) -> bool {
        self.topic_id == [0; 16]
            || image
                .topic(topic)
                .is_some_and(|topic| topic.id.get() == self.topic_id)
    }
}

/// All offsets of one group.
#[derive(Debug, Default)]
pub struct GroupOffsets {
    topics: BTreeMap<Box<str>, BTreeMap<i32, Committed>>,
}

impl GroupOffsets {
    /// What a new offset with this text is charged with.
    pub fn size_bytes(metadata: &str) -> usize {
        OFFSET_BYTES + metadata.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// One of them.
    pub fn get(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.topics.get(topic)?.get(&partition)
    }

    /// All of them, by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, &Committed)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(partition, committed)| (&**topic, *partition, committed))
        })
    }

    /// All of them, topic by topic.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &BTreeMap<i32, Committed>)> {
        self.topics
            .iter()
            .map(|(topic, partitions)| (&**topic, partitions))
    }

    /// Takes an offset over from its record.
    pub fn put(&mut self, key: &OffsetCommitKey, value: &OffsetCommitValue, budget: &Budget) {
        let committed = Committed {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.as_str().into(),
            commit_timestamp_ms: value.commit_timestamp_ms,
            expire_timestamp_ms: value.expire_timestamp_ms,
            topic_id: value.topic_id,
            _charge: budget.take(Self::size_bytes(&value.metadata)),
        };
        match self.topics.get_mut(key.topic.as_str()) {
            Some(partitions) => {
                partitions.insert(key.partition, committed);
            }
            None => {
                self.topics.insert(
                    key.topic.as_str().into(),
                    BTreeMap::from([(key.partition, committed)]),
                );
            }
        }
    }

    /// Forgets an offset.
    pub fn remove(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// The records that remove those that `select` takes.
    pub fn tombstones(
        &self,
        group_id: &str,
        mut select: impl FnMut(&str, i32, &Committed) -> bool,
    ) -> Vec<GroupRecord> {
        self.iter()
            .filter(|(topic, partition, committed)| select(topic, *partition, committed))
            .map(|(topic, partition, _)| GroupRecord::OffsetCommit {
                key: OffsetCommitKey {
                    group_id: group_id.to_owned(),
                    topic: topic.to_owned(),
                    partition,
                },
                value: None,
            })
            .collect()
    }
}
