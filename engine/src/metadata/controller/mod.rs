//! Decisions on metadata: from a request and the image to records and the response, as Kafka's controller answers.
//!
//! Pure and total: every request gets a response, whatever it holds. What one request may create is bounded by [`Limits`]
//! before memory is taken for it. One topic that is refused does not stop the others of its request.

mod alter_brokers;
pub mod alter_configs;
pub mod alter_groups;
pub mod alter_reassignments;
pub mod auto_create;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod producer_ids;
pub mod replace_configs;

mod planner;
mod rejection;

#[cfg(test)]
mod alter_configs_tests;
#[cfg(test)]
mod broker_configs_tests;
#[cfg(test)]
mod create_topics_tests;
#[cfg(test)]
mod group_configs_tests;

use std::collections::{BTreeMap, HashSet};

use super::record::MetadataRecord;
use crate::config::{BrokerConfig, TopicConfig};

pub(crate) use rejection::Rejection;

/// Records to append, and the answer once every lane has applied them.
pub type Decision<T> = (Vec<MetadataRecord>, T);

/// Bounds on metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Partitions that one request may create.
    pub partitions_per_request_max: usize,
    /// Partitions of all topics together.
    pub partitions_max: usize,
}

impl Default for Limits {
    /// As many for one request as Kafka's controller allows records.
    fn default() -> Self {
        Self {
            partitions_per_request_max: 10_000,
            partitions_max: 200_000,
        }
    }
}

/// What decisions depend on besides the request and the image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// The broker settings.
    pub broker: BrokerConfig,
    /// What a topic without settings of its own has, by the broker settings.
    pub topics: TopicConfig,
    /// Bounds.
    pub limits: Limits,
}

impl Defaults {
    /// These with the broker settings on top that were set while the server runs: of one node, and of every node.
    #[must_use]
    pub fn with_dynamic(
        &self,
        node: Option<&BTreeMap<String, String>>,
        every_node: Option<&BTreeMap<String, String>>,
    ) -> Self {
        let broker = self.broker.with_dynamic(node, every_node);
        Self {
            topics: TopicConfig::server_defaults(&broker),
            broker,
            limits: self.limits,
        }
    }
}

/// The names that occur more than once.
fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}
