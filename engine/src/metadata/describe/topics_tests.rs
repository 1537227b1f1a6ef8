//! What `Metadata` tells.

use corelane_net::error_code::ErrorCode;
use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::{MetadataRequest, MetadataResponse};
use kafka_wire_core::{ApiVersion, KafkaEncode, StrBytes, Uuid};

use super::topics::*;
use crate::metadata::image::MetadataImage;
use crate::metadata::test_support::{image_of, nodes, shared_nodes, topic_id};

fn entry(name: Option<&str>, id: Option<usize>) -> MetadataRequestTopic {
    let mut entry = MetadataRequestTopic::default();
    entry.name = name.map(StrBytes::from);
    entry.topic_id = id.map_or(Uuid::ZERO, |number| {
        Uuid::from_bytes(topic_id(number).get())
    });
    entry
}

fn request(topics: Option<Vec<MetadataRequestTopic>>) -> MetadataRequest {
    let mut request = MetadataRequest::default();
    request.topics = topics;
    request
}

fn image() -> MetadataImage {
    image_of(
        Some(2),
        &[("b", &[1, 0]), ("a", &[0]), ("__consumer_offsets", &[1])],
    )
}

fn answers(response: &MetadataResponse) -> Vec<(Option<&str>, i16)> {
    response
        .topics
        .iter()
        .map(|topic| (topic.name.as_deref(), topic.error_code))
        .collect()
}

#[test]
fn all_topics_are_told_in_the_order_of_their_names() {
    type Case<'a> = (
        Option<Vec<MetadataRequestTopic>>,
        i16,
        &'a [(Option<&'a str>, i16)],
    );
    let all = [
        (Some("__consumer_offsets"), 0),
        (Some("a"), 0),
        (Some("b"), 0),
    ];
    let table: [Case<'_>; 4] = [
        (None, 13, &all),
        (None, 1, &all),
        (Some(vec![]), 0, &all),
        (Some(vec![]), 1, &[]),
    ];
    for (topics, version, expected) in table {
        let answer = describe_topics(&request(topics), version, &image(), &nodes(2));
        assert_eq!(answers(&answer.response), expected, "v{version}");
        assert_eq!(answer.missing, [""; 0]);
        answer
            .response
            .encoded_len(ApiVersion::new(version))
            .unwrap();
    }
}

#[test]
fn per_core_each_partition_is_led_by_its_lanes_node_and_shared_by_the_only_one() {
    let leaders = |response: &MetadataResponse| -> Vec<i32> {
        response.topics[0]
            .partitions
            .iter()
            .map(|partition| partition.leader_id)
            .collect()
    };
    let asked = request(Some(vec![entry(Some("b"), None)]));
    let per_core = describe_topics(&asked, 13, &image(), &nodes(2)).response;
    assert_eq!(leaders(&per_core), [1001, 1000]);
    let brokers: Vec<(i32, i32)> = per_core
        .brokers
        .iter()
        .map(|b| (b.node_id, b.port))
        .collect();
    assert_eq!(brokers, [(1000, 9092), (1001, 9093)]);
    assert_eq!(
        (per_core.controller_id, per_core.cluster_id.as_deref()),
        (1000, Some("test-cluster"))
    );
    assert_eq!(per_core.brokers[0].rack.as_deref(), Some("r1"));
    let partition = &per_core.topics[0].partitions[0];
    assert_eq!(
        (&partition.replica_nodes, &partition.isr_nodes),
        (&vec![1001], &vec![1001])
    );
    assert_eq!(
        (partition.leader_epoch, partition.offline_replicas.len()),
        (0, 0)
    );

    let shared = describe_topics(&asked, 13, &image(), &shared_nodes(2)).response;
    assert_eq!(
        (leaders(&shared), shared.brokers.len()),
        (vec![1000, 1000], 1)
    );
}

#[test]
fn topics_are_told_by_name_and_by_id_with_their_errors() {
    type Case<'a> = (
        Vec<MetadataRequestTopic>,
        i16,
        Vec<(Option<&'a str>, i16)>,
        &'a [&'a str],
    );
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let table: Vec<Case<'_>> = vec![
        (
            vec![entry(Some("a"), None), entry(Some("a"), None)],
            9,
            vec![(Some("a"), 0)],
            &[],
        ),
        (
            vec![entry(Some("x"), None), entry(Some("a"), None)],
            9,
            vec![(Some("x"), unknown), (Some("a"), 0)],
            &["x"],
        ),
        (
            vec![entry(Some("no/name"), None)],
            9,
            vec![(Some("no/name"), ErrorCode::InvalidTopicException.code())],
            &[],
        ),
        (
            vec![entry(None, Some(0)), entry(None, Some(0))],
            12,
            vec![(Some("b"), 0)],
            &[],
        ),
        (
            vec![entry(None, Some(9))],
            12,
            vec![(None, ErrorCode::UnknownTopicId.code())],
            &[],
        ),
        (
            vec![entry(Some("a"), None), entry(None, Some(0))],
            13,
            vec![(Some("b"), 0)],
            &[],
        ),
        (
            vec![entry(Some("a"), Some(1))],
            10,
            vec![(Some("a"), ErrorCode::InvalidRequest.code())],
            &[],
        ),
        (
            vec![entry(None, None)],
            11,
            vec![(Some(""), ErrorCode::InvalidRequest.code())],
            &[],
        ),
    ];
    for (topics, version, expected, missing) in table {
        let answer = describe_topics(&request(Some(topics)), version, &image(), &nodes(2));
        assert_eq!(answers(&answer.response), expected, "v{version}");
        assert_eq!(answer.missing, missing);
        answer
            .response
            .encoded_len(ApiVersion::new(version))
            .unwrap();
    }
}

#[test]
fn a_client_that_wants_no_topics_created_misses_none() {
    let mut asked = request(Some(vec![entry(Some("x"), None)]));
    asked.allow_auto_topic_creation = false;
    let mut answer = describe_topics(&asked, 9, &image(), &nodes(2));
    assert_eq!(answer.missing, [""; 0]);
    note_refusals(
        &mut answer.response,
        &[("x".to_owned(), ErrorCode::PolicyViolation)],
    );
    assert_eq!(
        answers(&answer.response),
        [(Some("x"), ErrorCode::PolicyViolation.code())]
    );
}

#[test]
fn permitted_operations_are_told_only_where_asked_and_where_the_version_has_them() {
    let mut asked = request(None);
    asked.include_topic_authorized_operations = true;
    asked.include_cluster_authorized_operations = true;
    for (version, topic, cluster) in [
        (7, i32::MIN, i32::MIN),
        (8, 3576, 8096),
        (10, 3576, 8096),
        (11, 3576, i32::MIN),
        (13, 3576, i32::MIN),
    ] {
        let response = describe_topics(&asked, version, &image(), &nodes(2)).response;
        let got = (
            response.topics[0].topic_authorized_operations,
            response.cluster_authorized_operations,
        );
        assert_eq!(got, (topic, cluster), "v{version}");
        response.encoded_len(ApiVersion::new(version)).unwrap();
    }
}

#[test]
fn internal_topics_are_marked() {
    let response = describe_topics(&request(None), 9, &image(), &nodes(2)).response;
    let marks: Vec<bool> = response
        .topics
        .iter()
        .map(|topic| topic.is_internal)
        .collect();
    assert_eq!(marks, [true, false, false]);
}
