//! `ElectLeaders` (v0 to v2) and `ListPartitionReassignments` (v0), as one server answers them: every partition has its one
//! leader, and none moves.

use corelane_format::ids::PartitionIndex;
use corelane_net::error_code::ErrorCode;
use kafka_wire::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_wire::{ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsResponse};
use kafka_wire_core::StrBytes;

use crate::config::definition::echo;
use crate::metadata::image::MetadataImage;

/// Kafka's numbers for elections of the preferred leader, and of one that may lack records.
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

/// Answers an `ElectLeaders` request. One for all partitions names only those that changed, as in Kafka: none.
pub fn elect_leaders(request: &ElectLeadersRequest, image: &MetadataImage) -> ElectLeadersResponse {
    let mut response = ElectLeadersResponse::default();
    if !ELECTION_TYPES.contains(&request.election_type) {
        response.error_code = ErrorCode::InvalidRequest.code();
        return response;
    }
    response.replica_election_results = request
        .topic_partitions
        .iter()
        .flatten()
        .map(|asked| {
            let topic = image.topic(&asked.topic);
            let mut result = ReplicaElectionResult::default();
            result.topic = asked.topic.clone();
            result.partition_result = asked
                .partitions
                .iter()
                .map(|index| {
                    let name = echo(&asked.topic);
                    let (code, message) = match topic {
                        None => (
                            ErrorCode::UnknownTopicOrPartition,
                            format!("No such topic as {name}"),
                        ),
                        Some(topic) if topic.partition(PartitionIndex::new(*index)).is_none() => (
                            ErrorCode::UnknownTopicOrPartition,
                            format!("No such partition as {name}-{index}"),
                        ),
                        Some(_) => (
                            ErrorCode::ElectionNotNeeded,
                            "Leader election not needed for topic partition.".to_owned(),
                        ),
                    };
                    let mut partition = PartitionResult::default();
                    partition.partition_id = *index;
                    partition.error_code = code.code();
                    partition.error_message = Some(StrBytes::from(message));
                    partition
                })
                .collect();
            result
        })
        .collect();
    response
}

/// Answers a `ListPartitionReassignments` request: none is under way, whatever is asked.
pub fn list_reassignments() -> ListPartitionReassignmentsResponse {
    let mut response = ListPartitionReassignmentsResponse::default();
    response.error_message = None;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::test_support::image_of;
    use kafka_wire::elect_leaders_request::TopicPartitions;
    use kafka_wire_core::{ApiVersion, KafkaEncode};

    #[test]
    fn no_election_is_needed_and_none_is_held() {
        let image = image_of(Some(1), &[("a", &[0])]);
        let asked = |name: &str, partitions: &[i32]| {
            let mut topic = TopicPartitions::default();
            topic.topic = StrBytes::from(name);
            topic.partitions = partitions.to_vec();
            topic
        };
        let mut request = ElectLeadersRequest::default();
        request.topic_partitions = Some(vec![asked("a", &[0, 1]), asked("b", &[0])]);
        let response = elect_leaders(&request, &image);
        let codes: Vec<i16> = response
            .replica_election_results
            .iter()
            .flat_map(|topic| &topic.partition_result)
            .map(|partition| partition.error_code)
            .collect();
        assert_eq!((response.error_code, codes), (0, vec![84, 3, 3]));
        for version in 0..=2 {
            response.encoded_len(ApiVersion::new(version)).unwrap();
        }
        request.topic_partitions = None;
        assert!(
            elect_leaders(&request, &image)
                .replica_election_results
                .is_empty()
        );
        request.election_type = 2;
        assert_eq!(elect_leaders(&request, &image).error_code, 42);
    }
}
