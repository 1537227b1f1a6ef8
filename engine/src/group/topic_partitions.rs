//! A set of partitions, by the ids of their topics.

use std::collections::{BTreeMap, BTreeSet};

use corelane_format::ids::TopicId;

/// Partitions by topic. A topic without partitions is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPartitions(BTreeMap<TopicId, BTreeSet<i32>>);

impl TopicPartitions {
    /// Adds a partition. `false` if it is there already.
    pub fn insert(&mut self, topic: TopicId, partition: i32) -> bool {
        self.0.entry(topic).or_default().insert(partition)
    }

    /// Whether the partition is in the set.
    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.0
            .get(&topic)
            .is_some_and(|partitions| partitions.contains(&partition))
    }

    /// How many partitions there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All partitions, by topic and index.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> + '_ {
        self.0
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |one| (*topic, *one)))
    }

    /// All partitions, topic by topic.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (TopicId, &BTreeSet<i32>)> {
        self.0
            .iter()
            .map(|(topic, partitions)| (*topic, partitions))
    }

    /// Whether all partitions are in the other set too.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().all(|(topic, partitions)| {
            other
                .0
                .get(topic)
                .is_some_and(|others| partitions.is_subset(others))
        })
    }

    /// Whether any partition is in both sets.
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().any(|(topic, partitions)| {
            other
                .0
                .get(topic)
                .is_some_and(|others| !partitions.is_disjoint(others))
        })
    }

    /// Those that `select` takes, and the others.
    pub fn partition(&self, mut select: impl FnMut(TopicId, i32) -> bool) -> (Self, Self) {
        self.iter()
            .partition(|(topic, partition)| select(*topic, *partition))
    }

    /// Adds all of another set.
    pub fn append(&mut self, other: Self) {
        for (topic, mut partitions) in other.0 {
            self.0.entry(topic).or_default().append(&mut partitions);
        }
    }
}

impl FromIterator<(TopicId, i32)> for TopicPartitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32)>>(partitions: I) -> Self {
        let mut set = Self::default();
        for (topic, partition) in partitions {
            set.insert(topic, partition);
        }
        set
    }
}

impl Extend<(TopicId, i32)> for TopicPartitions {
    fn extend<I: IntoIterator<Item = (TopicId, i32)>>(&mut self, partitions: I) {
        for (topic, partition) in partitions {
            self.insert(topic, partition);
        }
    }
}
