//! `DescribeQuorum` (v0 to v2): the controller's node is the only voter, the other nodes follow it.

use corelane_format::ids::{Offset, TimestampMs};
use corelane_net::error_code::ErrorCode;
use kafka_wire::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_wire::{DescribeQuorumRequest, DescribeQuorumResponse};
use kafka_wire_core::StrBytes;

use crate::metadata::nodes::Nodes;

/// The topic that stands for the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// From this version on the voters' endpoints are told.
const ENDPOINTS_SINCE: i16 = 2;

/// Answers a `DescribeQuorum` request of this version. `end` is the exclusive end of the metadata log: all of it is durable, and every lane has
/// applied what was answered for.
pub fn describe_quorum(
    request: &DescribeQuorumRequest,
    version: i16,
    nodes: &Nodes,
    end: Offset,
    now: TimestampMs,
) -> DescribeQuorumResponse {
    let mut response = DescribeQuorumResponse::default();
    response.error_message = None;
    let is_metadata = |topic: &str, index: i32| topic == METADATA_TOPIC && index == 0;
    response.topics = request
        .topics
        .iter()
        .map(|asked| {
            let mut topic = TopicData::default();
            topic.topic_name = asked.topic_name.clone();
            topic.partitions = asked
                .partitions
                .iter()
                .map(|partition| {
                    if is_metadata(&asked.topic_name, partition.partition_index) {
                        return metadata_partition(nodes, end, now);
                    }
                    let mut unknown = PartitionData::default();
                    unknown.partition_index = partition.partition_index;
                    unknown.error_code = ErrorCode::UnknownTopicOrPartition.code();
                    unknown.error_message = None;
                    unknown
                })
                .collect();
            topic
        })
        .collect();
    response.nodes = nodes
        .nodes
        .iter()
        .filter(|node| version >= ENDPOINTS_SINCE && node.id == nodes.controller_id())
        .map(|node| {
            let mut listener = Listener::default();
            listener.name = StrBytes::from("PLAINTEXT");
            listener.host = StrBytes::from(node.host.as_str());
            listener.port = node.port;
            let mut described = Node::default();
            described.node_id = node.id;
            described.listeners = vec![listener];
            described
        })
        .collect();
    response
}

fn metadata_partition(nodes: &Nodes, end: Offset, now: TimestampMs) -> PartitionData {
    let replica = |id: i32| {
        let mut replica = ReplicaState::default();
        replica.replica_id = id;
        replica.log_end_offset = end.get();
        replica.last_fetch_timestamp = now.get();
        replica.last_caught_up_timestamp = now.get();
        replica
    };
    let leader = nodes.controller_id();
    let mut partition = PartitionData::default();
    partition.error_message = None;
    partition.leader_id = leader;
    // It has had one leader since it was made.
    partition.leader_epoch = 1;
    partition.high_watermark = end.get();
    partition.current_voters = vec![replica(leader)];
    partition.observers = nodes
        .nodes
        .iter()
        .filter(|node| node.id != leader)
        .map(|node| replica(node.id))
        .collect();
    partition
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::test_support::nodes;
    use kafka_wire::describe_quorum_request;
    use kafka_wire_core::{ApiVersion, KafkaEncode};

    #[test]
    fn the_controllers_node_leads_and_the_others_watch() {
        let asked = |name: &str, index: i32| {
            let mut partition = describe_quorum_request::PartitionData::default();
            partition.partition_index = index;
            let mut topic = describe_quorum_request::TopicData::default();
            topic.topic_name = StrBytes::from(name);
            topic.partitions = vec![partition];
            topic
        };
        let mut request = DescribeQuorumRequest::default();
        request.topics = vec![
            asked(METADATA_TOPIC, 0),
            asked(METADATA_TOPIC, 1),
            asked("a", 0),
        ];
        let (end, now) = (Offset::new(7), TimestampMs::new(5));
        let response = describe_quorum(&request, 2, &nodes(3), end, now);
        let partition = |at: usize| &response.topics[at].partitions[0];
        let known = partition(0);
        assert_eq!(
            (known.error_code, known.leader_id, known.high_watermark),
            (0, 1000, 7)
        );
        let ids = |replicas: &[ReplicaState]| -> Vec<i32> {
            replicas.iter().map(|one| one.replica_id).collect()
        };
        assert_eq!(ids(&known.current_voters), [1000]);
        assert_eq!(ids(&known.observers), [1001, 1002]);
        assert_eq!((partition(1).error_code, partition(2).error_code), (3, 3));
        assert_eq!(response.nodes.len(), 1);
        for version in 0..=2 {
            let response = describe_quorum(&request, version, &nodes(3), end, now);
            response.encoded_len(ApiVersion::new(version)).unwrap();
        }
    }
}
