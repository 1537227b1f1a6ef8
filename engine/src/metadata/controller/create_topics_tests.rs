//! What `CreateTopics` creates, answers and refuses.

use corelane_net::error_code::ErrorCode;
use kafka_wire::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_wire::create_topics_response::CreatableTopicResult;
use kafka_wire::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_wire_core::{ApiVersion, KafkaEncode, StrBytes};
use proptest::prelude::*;

use super::create_topics::create_topics;
use super::{Decision, Defaults};
use crate::metadata::image::MetadataImage;
use crate::metadata::test_support::{applied, counting_ids, image_of, nodes, shared_nodes};

fn topic(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    let mut topic = CreatableTopic::default();
    topic.name = StrBytes::from(name);
    topic.num_partitions = partitions;
    topic.replication_factor = factor;
    topic
}

fn with_configs(mut topic: CreatableTopic, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    topic.configs = configs
        .iter()
        .map(|(name, value)| {
            let mut config = CreatableTopicConfig::default();
            config.name = StrBytes::from(*name);
            config.value = value.map(StrBytes::from);
            config
        })
        .collect();
    topic
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let mut topic = topic(name, -1, -1);
    topic.assignments = assignments
        .iter()
        .map(|(index, brokers)| {
            let mut assignment = CreatableReplicaAssignment::default();
            assignment.partition_index = *index;
            assignment.broker_ids = brokers.to_vec();
            assignment
        })
        .collect();
    topic
}

fn request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    let mut request = CreateTopicsRequest::default();
    request.topics = topics;
    request
}

fn image() -> MetadataImage {
    image_of(Some(3), &[("taken", &[0]), ("dot.ted", &[1])])
}

fn decide(request: &CreateTopicsRequest, defaults: &Defaults) -> Decision<CreateTopicsResponse> {
    create_topics(request, &image(), defaults, &nodes(3), &mut counting_ids())
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
fn topics_are_created_with_what_was_asked_and_the_servers_defaults() {
    let mut defaults = Defaults::default();
    defaults.broker.set("num.partitions", "2").unwrap();
    let request = request(vec![
        topic("asked", 4, 1),
        with_configs(
            topic("defaults", -1, -1),
            &[("retention.ms", Some("5")), ("retention.ms", Some("6"))],
        ),
        assigned("manual", &[(1, &[1002]), (0, &[1000])]),
    ]);
    let (records, response) = decide(&request, &defaults);
    let after = applied(&image(), &records);
    assert_eq!(lanes(&after, "asked"), [2, 0, 1, 2]);
    assert_eq!(lanes(&after, "defaults").len(), 2);
    assert_eq!(lanes(&after, "manual"), [0, 2]);
    assert_eq!(
        after.topic("defaults").unwrap().configs["retention.ms"],
        "6"
    );
    for (result, partitions) in response.topics.iter().zip([4, 2, 2]) {
        assert_eq!(
            (result.error_code, result.error_message.as_ref()),
            (0, None)
        );
        assert_eq!(
            (result.num_partitions, result.replication_factor),
            (partitions, 1)
        );
        let id = after.topic(&result.name).unwrap().id;
        assert_eq!(result.topic_id.to_bytes(), id.get());
    }
}

#[test]
fn the_answer_holds_every_setting_with_its_source() {
    let mut defaults = Defaults::default();
    defaults.broker.set("log.segment.bytes", "2097152").unwrap();
    let (_, response) = decide(
        &request(vec![with_configs(
            topic("t", 1, 1),
            &[("retention.ms", Some("5"))],
        )]),
        &defaults,
    );
    let configs = response.topics[0].configs.as_ref().unwrap();
    let find = |name: &str| {
        let config = configs
            .iter()
            .find(|config| config.name.as_str() == name)
            .unwrap();
        (
            config.value.as_deref().unwrap(),
            config.config_source,
            config.read_only,
            config.is_sensitive,
        )
    };
    assert_eq!(find("retention.ms"), ("5", 1, false, false));
    assert_eq!(find("segment.bytes"), ("2097152", 4, false, false));
    assert_eq!(find("flush.messages"), ("1", 5, false, false));
    assert!(configs.is_sorted_by(|a, b| a.name < b.name));
    assert!(
        !configs
            .iter()
            .any(|config| config.name.starts_with("internal."))
    );
}

#[test]
fn every_version_can_carry_the_answers() {
    let (_, response) = decide(
        &request(vec![topic("t", 2, 1), topic("taken", 1, 1)]),
        &Defaults::default(),
    );
    for version in 2..=7 {
        response.encoded_len(ApiVersion::new(version)).unwrap();
    }
}

#[test]
fn validate_only_answers_alike_and_changes_nothing() {
    let mut request = request(vec![topic("t", 2, 1), topic("taken", 1, 1)]);
    let (_, real) = decide(&request, &Defaults::default());
    request.validate_only = true;
    let (records, validated) = decide(&request, &Defaults::default());
    assert_eq!((records.len(), validated), (0, real));
}

#[test]
fn one_shared_node_stands_for_every_lane() {
    let request = request(vec![assigned(
        "t",
        &[(0, &[1000]), (1, &[1000]), (2, &[1000])],
    )]);
    let (records, _) = create_topics(
        &request,
        &image_of(Some(3), &[]),
        &Defaults::default(),
        &shared_nodes(3),
        &mut counting_ids(),
    );
    assert_eq!(
        lanes(&applied(&image_of(Some(3), &[]), &records), "t"),
        [0, 1, 2]
    );
}

#[test]
fn refusals_are_kafkas() {
    use ErrorCode::{
        InvalidConfig, InvalidPartitions, InvalidReplicaAssignment, InvalidReplicationFactor,
        InvalidRequest, InvalidTopicException, PolicyViolation, TopicAlreadyExists,
    };
    let both = |mut topic: CreatableTopic, partitions, factor| {
        topic.num_partitions = partitions;
        topic.replication_factor = factor;
        topic
    };
    let longest = "x".repeat(250);
    let table: Vec<(CreatableTopic, ErrorCode, &str)> = vec![
        (
            topic("taken", 1, 1),
            TopicAlreadyExists,
            "Topic 'taken' already exists.",
        ),
        (
            topic("", 1, 1),
            InvalidTopicException,
            "the empty string is not allowed",
        ),
        (
            topic("..", 1, 1),
            InvalidTopicException,
            "'..' is not allowed",
        ),
        (
            topic(&longest, 1, 1),
            InvalidTopicException,
            "is invalid: the length of",
        ),
        (
            topic("a b", 1, 1),
            InvalidTopicException,
            "ASCII alphanumerics",
        ),
        (
            topic("dot_ted", 1, 1),
            InvalidTopicException,
            "Topic 'dot_ted' collides with existing topic: dot.ted",
        ),
        (
            topic("__cluster_metadata", 1, 1),
            InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (topic("t", 1, 0), InvalidReplicationFactor, "larger than 0"),
        (topic("t", 1, -2), InvalidReplicationFactor, "larger than 0"),
        (
            topic("t", 1, 3),
            InvalidReplicationFactor,
            "replication factor of 3 cannot be reached because only 1",
        ),
        (
            topic("t", 0, 1),
            InvalidPartitions,
            "invalid non-positive value",
        ),
        (
            topic("t", -2, 1),
            InvalidPartitions,
            "invalid non-positive value",
        ),
        (
            topic("t", i32::MAX, 1),
            PolicyViolation,
            "partitions_per_request_max",
        ),
        (
            topic("t", 11, 1),
            PolicyViolation,
            "above the 10 that one request may create",
        ),
        (
            topic("t", 9, 1),
            PolicyViolation,
            "There would be 11 partitions, above the 10",
        ),
        (
            with_configs(topic("t", 1, 1), &[("x", Some("1"))]),
            InvalidConfig,
            "Unknown topic config name: x",
        ),
        (
            with_configs(topic("t", 1, 1), &[("retention.ms", None)]),
            InvalidConfig,
            "Null value not supported for topic configs: retention.ms",
        ),
        (
            with_configs(topic("t", 1, 1), &[("retention.ms", Some("-2"))]),
            InvalidConfig,
            "Value must be at least -1",
        ),
        (
            with_configs(topic("t", 0, 9), &[("x", Some("1"))]),
            InvalidConfig,
            "Unknown topic config name: x",
        ),
        (
            both(assigned("t", &[(0, &[1000])]), 1, -1),
            InvalidRequest,
            "numPartitions was not set to -1",
        ),
        (
            both(assigned("t", &[(0, &[1000])]), -1, 1),
            InvalidRequest,
            "replication factor was not set to -1",
        ),
        (
            assigned("t", &[(0, &[1000]), (0, &[1001])]),
            InvalidReplicaAssignment,
            "multiple manual partition assignments for partition 0",
        ),
        (
            assigned("t", &[(1, &[1000])]),
            InvalidReplicaAssignment,
            "consecutive 0-based integer sequence",
        ),
        (
            assigned("t", &[(0, &[1000]), (-1, &[1000])]),
            InvalidReplicaAssignment,
            "consecutive 0-based",
        ),
        (
            assigned("t", &[(0, &[])]),
            InvalidReplicaAssignment,
            "empty replica list",
        ),
        (
            assigned("t", &[(0, &[9])]),
            InvalidReplicaAssignment,
            "broker 9, but no such broker is registered",
        ),
        (
            assigned("t", &[(0, &[1000, 1000])]),
            InvalidReplicaAssignment,
            "broker 1000 more than once",
        ),
        (
            assigned("t", &[(0, &[1000, 1001])]),
            InvalidReplicaAssignment,
            "2 replicas, but all brokers (1000 to 1002) are one server",
        ),
        (
            assigned("t", &[(0, &[1000]), (1, &[1000, 1001])]),
            InvalidReplicaAssignment,
            "not consistent",
        ),
    ];
    let mut defaults = Defaults::default();
    defaults.limits.partitions_per_request_max = 10;
    defaults.limits.partitions_max = 10;
    for (topic, code, message) in table {
        let (records, response) = decide(&request(vec![topic.clone()]), &defaults);
        let [result] = response.topics.as_slice() else {
            panic!("one answer")
        };
        let text = result
            .error_message
            .as_ref()
            .map(StrBytes::as_str)
            .unwrap_or_default();
        assert_eq!(
            (records.len(), result.error_code),
            (0, code.code()),
            "{topic:?}: {text}"
        );
        assert!(text.contains(message), "{text}");
        assert_eq!((result.num_partitions, result.replication_factor), (-1, -1));
    }
}

#[test]
fn one_refused_topic_does_not_stop_the_others_and_limits_count_the_whole_request() {
    let mut defaults = Defaults::default();
    defaults.limits.partitions_per_request_max = 5;
    let request = request(vec![
        topic("taken", 1, 1),
        topic("a", 3, 1),
        topic("b", 3, 1),
        topic("c", 2, 1),
        topic("twice", 1, 1),
        topic("twice", 2, 1),
    ]);
    let (records, response) = decide(&request, &defaults);
    let codes: Vec<(&str, i16)> = response
        .topics
        .iter()
        .map(|result| (result.name.as_str(), result.error_code))
        .collect();
    let policy = ErrorCode::PolicyViolation.code();
    assert_eq!(
        codes,
        [
            ("taken", 36),
            ("a", 0),
            ("b", policy),
            ("c", 0),
            ("twice", 42)
        ]
    );
    assert_eq!(applied(&image(), &records).topics_total(), 4);
}

proptest! {
    /// Whatever is asked, the records follow from the image, and the answer can be sent.
    #[test]
    fn any_request_gets_an_answer_and_records_that_apply(
        topics in proptest::collection::vec(
            ("[a-c._/]{0,3}", -2..6_i32, -2..3_i16, proptest::collection::vec((-1..3_i32, 999..1005_i32), 0..3)),
            0..8,
        ),
        versions in 2..8_i16,
    ) {
        let topics: Vec<CreatableTopic> = topics
            .into_iter()
            .map(|(name, partitions, factor, assignments)| {
                let brokers: Vec<(i32, [i32; 1])> =
                    assignments.iter().map(|(index, broker)| (*index, [*broker])).collect();
                let borrowed: Vec<(i32, &[i32])> =
                    brokers.iter().map(|(index, broker)| (*index, broker.as_slice())).collect();
                let mut made = assigned(&name, &borrowed);
                made.num_partitions = partitions;
                made.replication_factor = factor;
                made
            })
            .collect();
        let (records, response) = decide(&request(topics), &Defaults::default());
        let after = applied(&image(), &records);
        let created: Vec<&CreatableTopicResult> =
            response.topics.iter().filter(|result| result.error_code == 0).collect();
        prop_assert_eq!(after.topics_total(), image().topics_total() + created.len());
        for result in created {
            let made = after.topic(&result.name).unwrap();
            prop_assert_eq!(made.partitions.len(), result.num_partitions as usize);
            prop_assert!(made.partitions.iter().all(|partition| partition.lane < 3));
        }
        response.encoded_len(ApiVersion::new(versions)).unwrap();
    }
}
