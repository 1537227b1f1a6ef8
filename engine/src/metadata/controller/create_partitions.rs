//! `CreatePartitions` (v0 to v3): a topic gets more partitions, never fewer.

use std::collections::HashSet;

use corelane_net::error_code::ErrorCode;
use kafka_wire::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::create_partitions_response::CreatePartitionsTopicResult;
use kafka_wire::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::planner::{Assignment, Planner};
use super::{Decision, Defaults, Rejection, repeated};
use crate::metadata::image::MetadataImage;
use crate::metadata::nodes::Nodes;
use crate::metadata::topic_name;

/// Decides on a `CreatePartitions` request. With `validate_only` there are no records, and the response is the same.
pub fn create_partitions(
    request: &CreatePartitionsRequest,
    image: &MetadataImage,
    defaults: &Defaults,
    nodes: &Nodes,
) -> Decision<CreatePartitionsResponse> {
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut answered = HashSet::new();
    let mut planner = Planner::new(image, defaults, nodes);
    let mut response = CreatePartitionsResponse::default();
    for topic in &request.topics {
        let outcome = if repeated.contains(topic.name.as_str()) {
            if !answered.insert(topic.name.as_str()) {
                continue;
            }
            Err(Rejection::invalid_request("Duplicate topic name."))
        } else {
            add_partitions(topic, image, &mut planner)
        };
        let mut result = CreatePartitionsTopicResult::default();
        result.name = topic.name.clone();
        if let Err(rejection) = outcome {
            result.error_code = rejection.code.code();
            result.error_message = Some(rejection.text());
        }
        response.results.push(result);
    }
    let records = if request.validate_only {
        Vec::new()
    } else {
        planner.into_records()
    };
    (records, response)
}

fn add_partitions(
    asked: &CreatePartitionsTopic,
    image: &MetadataImage,
    planner: &mut Planner<'_>,
) -> Result<(), Rejection> {
    let topic = image
        .topic(&asked.name)
        .ok_or_else(Rejection::unknown_topic)?;
    let current = topic.partitions.len();
    let wanted = usize::try_from(asked.count).unwrap_or(0);
    if wanted == current {
        return Err(Rejection::new(
            ErrorCode::InvalidPartitions,
            format!("Topic already has {current} partition(s)."),
        ));
    }
    if wanted < current {
        return Err(Rejection::new(
            ErrorCode::InvalidPartitions,
            format!(
                "The topic {} currently has {current} partition(s); {} would not be an increase.",
                topic.name, asked.count
            ),
        ));
    }
    if topic_name::is_internal(&topic.name) {
        // Groups are found by the number of partitions; with another number their offsets would be lost.
        return Err(Rejection::new(
            ErrorCode::PolicyViolation,
            format!(
                "The internal topic {} keeps its {current} partition(s).",
                topic.name
            ),
        ));
    }
    let count = wanted - current;
    if let Some(assignments) = &asked.assignments
        && assignments.len() != count
    {
        return Err(Rejection::new(
            ErrorCode::InvalidReplicaAssignment,
            format!(
                "Attempted to add {count} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            ),
        ));
    }
    planner.check_limits(count)?;
    let assignment = match &asked.assignments {
        None => Assignment::Automatic { count },
        Some(assignments) => Assignment::Manual {
            nodes: assignments
                .iter()
                .map(|assignment| planner.manual(&assignment.broker_ids, Some(1)))
                .collect::<Result<_, _>>()?,
        },
    };
    planner.partitions(topic.id, &topic.partitions, &assignment);
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka_wire::create_partitions_request::CreatePartitionsAssignment;
    use kafka_wire_core::StrBytes;

    use super::*;
    use crate::metadata::test_support::{applied, image_of, nodes, shared_nodes};

    fn asked(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
        let mut topic = CreatePartitionsTopic::default();
        topic.name = StrBytes::from(name);
        topic.count = count;
        topic.assignments = assignments.map(|assignments| {
            assignments
                .iter()
                .map(|brokers| {
                    let mut assignment = CreatePartitionsAssignment::default();
                    assignment.broker_ids = brokers.to_vec();
                    assignment
                })
                .collect()
        });
        topic
    }

    fn request(topics: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
        let mut request = CreatePartitionsRequest::default();
        request.topics = topics;
        request
    }

    fn image() -> MetadataImage {
        image_of(Some(3), &[("a", &[0, 1]), ("b", &[2])])
    }

    fn lanes(image: &MetadataImage, name: &str) -> Vec<usize> {
        image
            .topic(name)
            .unwrap()
            .partitions
            .iter()
            .map(|partition| partition.lane)
            .collect()
    }

    #[test]
    fn internal_topics_keep_their_number_of_partitions() {
        let image = image_of(Some(1), &[("__consumer_offsets", &[0])]);
        let request = request(vec![asked("__consumer_offsets", 2, None)]);
        let (records, response) =
            create_partitions(&request, &image, &Defaults::default(), &nodes(1));
        assert_eq!(records, []);
        let code = response.results[0].error_code;
        assert_eq!(code, ErrorCode::PolicyViolation.code());
    }

    #[test]
    fn new_partitions_follow_the_existing_ones() {
        let request = request(vec![
            asked("a", 4, None),
            asked("b", 3, Some(&[&[1000], &[1000]])),
        ]);
        let image = image();
        let (records, response) =
            create_partitions(&request, &image, &Defaults::default(), &nodes(3));
        assert!(
            response
                .results
                .iter()
                .all(|r| r.error_code == 0 && r.error_message.is_none())
        );
        let after = applied(&image, &records);
        assert_eq!(lanes(&after, "a"), [0, 1, 2, 0]);
        assert_eq!(lanes(&after, "b"), [2, 0, 0]);
        assert_eq!(after.next_log_id().get(), image.next_log_id().get() + 4);
    }

    #[test]
    fn validate_only_answers_alike_and_changes_nothing() {
        let mut request = request(vec![asked("a", 4, None), asked("b", 1, None)]);
        let (_, real) = create_partitions(&request, &image(), &Defaults::default(), &nodes(3));
        request.validate_only = true;
        let (records, validated) =
            create_partitions(&request, &image(), &Defaults::default(), &nodes(3));
        assert_eq!((records.len(), validated), (0, real));
    }

    #[test]
    fn a_shared_node_takes_any_lane() {
        let request = request(vec![asked("b", 3, Some(&[&[1000], &[1000]]))]);
        let (records, _) =
            create_partitions(&request, &image(), &Defaults::default(), &shared_nodes(3));
        assert_eq!(lanes(&applied(&image(), &records), "b"), [2, 0, 1]);
    }

    #[test]
    fn refusals_are_kafkas() {
        use ErrorCode::{
            InvalidPartitions, InvalidReplicaAssignment, PolicyViolation, UnknownTopicOrPartition,
        };
        let mut defaults = Defaults::default();
        defaults.limits.partitions_per_request_max = 5;
        let table: Vec<(CreatePartitionsTopic, ErrorCode, &str)> = vec![
            (
                asked("nosuch", 4, None),
                UnknownTopicOrPartition,
                "does not host",
            ),
            (
                asked("a", 2, None),
                InvalidPartitions,
                "Topic already has 2 partition(s).",
            ),
            (
                asked("a", 1, None),
                InvalidPartitions,
                "The topic a currently has 2 partition(s); 1 would not be an increase.",
            ),
            (
                asked("a", -1, None),
                InvalidPartitions,
                "-1 would not be an increase",
            ),
            (
                asked("a", 4, Some(&[])),
                InvalidReplicaAssignment,
                "add 2 additional partition(s), but only 0 assignment(s)",
            ),
            (
                asked("a", 3, Some(&[&[]])),
                InvalidReplicaAssignment,
                "empty replica list",
            ),
            (
                asked("a", 3, Some(&[&[7]])),
                InvalidReplicaAssignment,
                "broker 7, but no such broker",
            ),
            (
                asked("a", 3, Some(&[&[1000, 1000]])),
                InvalidReplicaAssignment,
                "broker 1000 more than once",
            ),
            (
                asked("a", 3, Some(&[&[1000, 1001]])),
                InvalidReplicaAssignment,
                "2 replica(s), but this is not consistent",
            ),
            (
                asked("a", 8, None),
                PolicyViolation,
                "create 6 partitions so far, above the 5",
            ),
            (asked("a", i32::MAX, None), PolicyViolation, "above the 5"),
        ];
        for (topic, code, message) in table {
            let (records, response) = create_partitions(
                &request(vec![topic.clone()]),
                &image(),
                &defaults,
                &nodes(3),
            );
            let [result] = response.results.as_slice() else {
                panic!("one answer")
            };
            assert_eq!(
                (records.len(), result.error_code),
                (0, code.code()),
                "{topic:?}"
            );
            let text = result.error_message.as_ref().unwrap();
            assert!(text.contains(message), "{text}");
        }
    }

    #[test]
    fn a_topic_named_twice_is_answered_once() {
        let request = request(vec![
            asked("a", 4, None),
            asked("a", 5, None),
            asked("b", 2, None),
        ]);
        let (records, response) =
            create_partitions(&request, &image(), &Defaults::default(), &nodes(3));
        let codes: Vec<i16> = response
            .results
            .iter()
            .map(|result| result.error_code)
            .collect();
        assert_eq!(codes, [ErrorCode::InvalidRequest.code(), 0]);
        assert_eq!(records.len(), 1);
    }
}
