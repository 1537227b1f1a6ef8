//! The partitions that one request creates, before any record is applied: their logs, lanes, and the bounds on them.

use std::collections::HashSet;

use corelane_format::ids::{LeaderEpoch, LogId, PartitionIndex, TopicId};
use corelane_net::error_code::ErrorCode;

use super::{Defaults, Limits, Rejection};
use crate::metadata::image::{MetadataImage, PartitionMeta};
use crate::metadata::nodes::{NodeLanes, Nodes};
use crate::metadata::placement::{LaneLoads, place};
use crate::metadata::record::MetadataRecord;
use crate::metadata::topic_id_source::{TopicIdSource, fresh_topic_id};

/// Where a topic's new partitions go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Assignment {
    /// Wherever the server likes.
    Automatic {
        /// New partitions; at least 1.
        count: usize,
    },
    /// To these nodes, one for each new partition.
    Manual {
        /// The nodes, in the order of the partitions.
        nodes: Vec<NodeLanes>,
    },
}

impl Assignment {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Automatic { count } => *count,
            Self::Manual { nodes } => nodes.len(),
        }
    }
}

/// What a request has planned so far.
pub(super) struct Planner<'a> {
    image: &'a MetadataImage,
    nodes: &'a Nodes,
    limits: Limits,
    loads: LaneLoads,
    next_log_id: u64,
    topic_ids: HashSet<TopicId>,
    partitions: usize,
    records: Vec<MetadataRecord>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(image: &'a MetadataImage, defaults: &Defaults, nodes: &'a Nodes) -> Self {
        Self {
            image,
            nodes,
            limits: defaults.limits,
            loads: LaneLoads::of(image, nodes.lanes),
            next_log_id: image.next_log_id().get(),
            topic_ids: HashSet::new(),
            partitions: 0,
            records: Vec::new(),
        }
    }

    pub(super) fn into_records(self) -> Vec<MetadataRecord> {
        self.records
    }

    /// Whether `count` more partitions stay within the bounds.
    pub(super) fn check_limits(&self, count: usize) -> Result<(), Rejection> {
        let in_request = self.partitions.saturating_add(count);
        if in_request > self.limits.partitions_per_request_max {
            return Err(Rejection::new(
                ErrorCode::PolicyViolation,
                format!(
                    "This request would create {in_request} partitions so far, above the {} that one request may \
                     create (partitions_per_request_max).",
                    self.limits.partitions_per_request_max
                ),
            ));
        }
        let total = self.image.partitions_total().saturating_add(in_request);
        if total > self.limits.partitions_max {
            return Err(Rejection::new(
                ErrorCode::PolicyViolation,
                format!(
                    "There would be {total} partitions, above the {} that this server may have (partitions_max).",
                    self.limits.partitions_max
                ),
            ));
        }
        Ok(())
    }

    /// Checks one partition's replicas in a manual assignment, as Kafka does, and finds its lane.
    pub(super) fn manual(
        &self,
        brokers: &[i32],
        previous: Option<usize>,
    ) -> Result<NodeLanes, Rejection> {
        let refuse =
            |message: String| Err(Rejection::new(ErrorCode::InvalidReplicaAssignment, message));
        let mut sorted = brokers.to_vec();
        sorted.sort_unstable();
        if sorted.is_empty() {
            return refuse(
                "The manual partition assignment includes an empty replica list.".into(),
            );
        }
        for (at, broker) in sorted.iter().enumerate() {
            if self.nodes.lanes_of(*broker).is_none() {
                return refuse(format!(
                    "The manual partition assignment includes broker {broker}, but no such broker is registered."
                ));
            }
            if at > 0 && sorted[at - 1] == *broker {
                return refuse(format!(
                    "The manual partition assignment includes the broker {broker} more than once."
                ));
            }
        }
        if let Some(previous) = previous
            && previous != sorted.len()
        {
            return refuse(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not \
                 consistent with previous partitions, which have {previous} replica(s).",
                sorted.len()
            ));
        }
        match (
            brokers,
            brokers
                .first()
                .and_then(|broker| self.nodes.lanes_of(*broker)),
        ) {
            ([_], Some(lanes)) => Ok(lanes),
            // The nodes of one server share its disks: a second replica there would protect nothing.
            _ => refuse(format!(
                "The manual partition assignment includes {} replicas, but all brokers ({}) are one server.",
                sorted.len(),
                self.nodes.ids()
            )),
        }
    }

    /// Draws an id for a new topic.
    pub(super) fn topic_id(&mut self, ids: &mut impl TopicIdSource) -> Result<TopicId, Rejection> {
        let id = fresh_topic_id(self.image, |id| self.topic_ids.contains(&id), ids).ok_or_else(
            || {
                Rejection::new(
                    ErrorCode::UnknownServerError,
                    "No unused topic id could be found.",
                )
            },
        )?;
        self.topic_ids.insert(id);
        Ok(id)
    }

    /// Adds a record as it is.
    pub(super) fn push(&mut self, record: MetadataRecord) {
        self.records.push(record);
    }

    /// Adds new partitions behind the existing ones. The bounds were checked.
    pub(super) fn partitions(
        &mut self,
        topic_id: TopicId,
        existing: &[PartitionMeta],
        assignment: &Assignment,
    ) {
        let count = assignment.count();
        let lanes = match assignment {
            Assignment::Automatic { .. } => place(&mut self.loads, existing, count),
            Assignment::Manual { nodes } => nodes
                .iter()
                .map(|node| match node {
                    NodeLanes::One(lane) => {
                        self.loads.add(*lane);
                        *lane
                    }
                    NodeLanes::Any => self.loads.place_one(),
                })
                .collect(),
        };
        self.partitions += count;
        for (index, lane) in (existing.len()..).zip(lanes) {
            let log_id = LogId::new(self.next_log_id);
            self.next_log_id += 1;
            self.records.push(MetadataRecord::Partition {
                topic_id,
                index: PartitionIndex::new(i32::try_from(index).unwrap_or(i32::MAX)),
                log_id,
                lane,
                leader_epoch: LeaderEpoch::new(0),
            });
        }
    }
}
