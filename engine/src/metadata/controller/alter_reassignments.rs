//! `AlterPartitionReassignments` (v0 and v1), as far as one server can answer it.
//!
//! A partition has one replica, on the node of its lane, and keeps it while the server runs. A reassignment to where it is
//! succeeds at once; any other is refused. There is never one under way to be cancelled.

use corelane_format::ids::PartitionIndex;
use corelane_net::error_code::ErrorCode;
use kafka_wire::alter_partition_reassignments_request::ReassignablePartition;
use kafka_wire::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_wire::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::planner::Planner;
use super::{Defaults, Rejection};
use crate::metadata::image::{MetadataImage, TopicMeta};
use crate::metadata::nodes::{NodeLanes, Nodes};

/// Answers an `AlterPartitionReassignments` request; nothing changes by it.
pub fn alter_reassignments(
    request: &AlterPartitionReassignmentsRequest,
    image: &MetadataImage,
    defaults: &Defaults,
    nodes: &Nodes,
) -> AlterPartitionReassignmentsResponse {
    let planner = Planner::new(image, defaults, nodes);
    let mut response = AlterPartitionReassignmentsResponse::default();
    response.allow_replication_factor_change = request.allow_replication_factor_change;
    response.error_message = None;
    response.responses = request
        .topics
        .iter()
        .map(|asked| {
            let topic = image.topic(&asked.name);
            let mut result = ReassignableTopicResponse::default();
            result.name = asked.name.clone();
            result.partitions = asked
                .partitions
                .iter()
                .map(|partition| {
                    let outcome = reassign(&asked.name, topic, partition, &planner, nodes);
                    let mut result = ReassignablePartitionResponse::default();
                    result.partition_index = partition.partition_index;
                    result.error_message = None;
                    if let Err(rejection) = outcome {
                        result.error_code = rejection.code.code();
                        result.error_message = Some(rejection.text());
                    }
                    result
                })
                .collect();
            result
        })
        .collect();
    response
}

fn reassign(
    name: &str,
    topic: Option<&TopicMeta>,
    asked: &ReassignablePartition,
    planner: &Planner<'_>,
    nodes: &Nodes,
) -> Result<(), Rejection> {
    let name = crate::config::definition::echo(name);
    let unknown = |message| Rejection::new(ErrorCode::UnknownTopicOrPartition, message);
    let topic = topic.ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let index = PartitionIndex::new(asked.partition_index);
    let partition = topic
        .partition(index)
        .ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let Some(replicas) = &asked.replicas else {
        return Err(Rejection::new(
            ErrorCode::NoReassignmentInProgress,
            "No partition reassignment is in progress.",
        ));
    };
    match planner.manual(replicas, None)? {
        NodeLanes::Any => Ok(()),
        NodeLanes::One(lane) if lane == partition.lane => Ok(()),
        NodeLanes::One(_) => Err(Rejection::new(
            ErrorCode::InvalidReplicaAssignment,
            format!(
                "Partition {name}:{index} stays on node {} while the server runs: partitions move between the cores of a \
                 server when it starts with others.",
                nodes.id_of_lane(partition.lane)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::test_support::{image_of, nodes, shared_nodes};
    use kafka_wire::alter_partition_reassignments_request::ReassignableTopic;
    use kafka_wire_core::StrBytes;

    #[test]
    fn only_what_changes_nothing_succeeds() {
        type Case<'a> = (&'a str, i32, Option<&'a [i32]>, ErrorCode, &'a str);
        let image = image_of(Some(2), &[("a", &[0, 1])]);
        let table: [Case<'_>; 9] = [
            ("a", 0, Some(&[1000]), ErrorCode::None, ""),
            ("a", 1, Some(&[1001]), ErrorCode::None, ""),
            (
                "a",
                0,
                Some(&[1001]),
                ErrorCode::InvalidReplicaAssignment,
                "stays on node 1000",
            ),
            (
                "a",
                0,
                Some(&[1000, 1001]),
                ErrorCode::InvalidReplicaAssignment,
                "2 replicas",
            ),
            (
                "a",
                0,
                Some(&[7]),
                ErrorCode::InvalidReplicaAssignment,
                "no such broker",
            ),
            (
                "a",
                0,
                Some(&[]),
                ErrorCode::InvalidReplicaAssignment,
                "empty replica list",
            ),
            (
                "a",
                0,
                None,
                ErrorCode::NoReassignmentInProgress,
                "No partition reassignment",
            ),
            (
                "a",
                2,
                None,
                ErrorCode::UnknownTopicOrPartition,
                "partition a:2",
            ),
            (
                "b",
                0,
                None,
                ErrorCode::UnknownTopicOrPartition,
                "topic named b",
            ),
        ];
        for (name, index, replicas, code, message) in table {
            let mut partition = ReassignablePartition::default();
            partition.partition_index = index;
            partition.replicas = replicas.map(<[i32]>::to_vec);
            let mut topic = ReassignableTopic::default();
            topic.name = StrBytes::from(name);
            topic.partitions = vec![partition];
            let mut request = AlterPartitionReassignmentsRequest::default();
            request.topics = vec![topic];
            let answer =
                |nodes: Nodes| alter_reassignments(&request, &image, &Defaults::default(), &nodes);
            let response = answer(nodes(2));
            let got = &response.responses[0].partitions[0];
            assert_eq!(got.error_code, code.code(), "{name} {index} {replicas:?}");
            let text = got.error_message.as_deref().unwrap_or_default();
            assert!(text.contains(message), "{text}");
            if replicas == Some(&[1000]) {
                let shared = answer(shared_nodes(2));
                assert_eq!(shared.responses[0].partitions[0].error_code, 0);
            }
        }
    }
}
