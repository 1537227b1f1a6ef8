//! Offsets: who may commit them, what is answered, and that they stay.

use corelane_net::error_code::ErrorCode;
use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_wire::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_wire::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_wire::{OffsetCommitRequest, OffsetDeleteRequest};

use super::world::{Member, World, join_request, protocol};
use crate::group::config::GroupConfig;
use crate::metadata::MetadataRecord;
use crate::metadata::test_support::{applied, topic_id};

/// A commit of offsets for a topic's partitions, by nobody.
pub(super) fn commit_request(topic: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let mut request = OffsetCommitRequest::default();
    request.group_id = "g".into();
    request.generation_id_or_member_epoch = -1;
    request.retention_time_ms = -1;
    let mut one = OffsetCommitRequestTopic::default();
    one.name = topic.into();
    one.partitions = offsets
        .iter()
        .map(|(index, offset)| {
            let mut partition = OffsetCommitRequestPartition::default();
            partition.partition_index = *index;
            partition.committed_offset = *offset;
            partition.committed_leader_epoch = 7;
            partition.committed_metadata = Some("text".into());
            partition
        })
        .collect();
    request.topics.push(one);
    request
}

pub(super) fn commit_as(
    member: &Member,
    topic: &str,
    offsets: &[(i32, i64)],
) -> OffsetCommitRequest {
    let mut request = commit_request(topic, offsets);
    request.member_id = member.id.as_str().into();
    request.generation_id_or_member_epoch = member.generation;
    request.group_instance_id = member.instance_id.as_deref().map(Into::into);
    request
}

impl World {
    pub(super) fn commit(&mut self, request: &OffsetCommitRequest) -> Vec<ErrorCode> {
        self.commit_in(request, 9)
    }

    fn commit_in(&mut self, request: &OffsetCommitRequest, version: i16) -> Vec<ErrorCode> {
        let image = self.image.clone();
        let response = self.step(|shard, step| shard.commit(step, request, version, &image));
        response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| ErrorCode::from_wire(partition.error_code))
            .collect()
    }

    /// The offset of a partition; -1 is none.
    pub(super) fn fetched(&self, topic: &str, index: i32) -> i64 {
        let mut request = OffsetFetchRequestGroup::default();
        request.group_id = "g".into();
        let mut one = OffsetFetchRequestTopics::default();
        one.name = topic.into();
        one.partition_indexes = vec![index];
        request.topics = Some(vec![one]);
        let response = self.shard.fetch_offsets(&request, &self.image);
        response.topics[0].partitions[0].committed_offset
    }

    /// All offsets of the group, as `topic-partition=offset`.
    pub(super) fn all_fetched(&self) -> Vec<String> {
        let response = self.fetched_wholly();
        response
            .topics
            .iter()
            .flat_map(|topic| {
                topic.partitions.iter().map(|one| {
                    format!(
                        "{}-{}={}",
                        topic.name, one.partition_index, one.committed_offset
                    )
                })
            })
            .collect()
    }

    fn fetched_wholly(&self) -> OffsetFetchResponseGroup {
        let mut request = OffsetFetchRequestGroup::default();
        request.group_id = "g".into();
        request.topics = None;
        self.shard.fetch_offsets(&request, &self.image)
    }
}

const OK: ErrorCode = ErrorCode::None;

#[test]
fn a_consumer_without_a_group_keeps_offsets_over_a_crash() {
    let mut world = World::new();
    assert_eq!(
        world.commit(&commit_request("t", &[(0, 5), (3, 9)])),
        [OK, OK]
    );
    assert_eq!(world.commit(&commit_request("t", &[(0, 6)])), [OK]);
    world.crash(0);
    assert_eq!(world.all_fetched(), ["t-0=6", "t-3=9"]);
    assert_eq!(world.fetched("t", 1), -1);
    assert_eq!(world.fetched("nowhere", 0), -1);
    let response = world.fetched_wholly();
    let found = &response.topics[0].partitions[0];
    assert_eq!(
        (found.committed_leader_epoch, found.metadata.as_deref()),
        (7, Some("text"))
    );
}

#[test]
fn a_commit_is_a_members_or_an_empty_groups() {
    let mut world = World::new();
    let members = world.stable_group(2);
    let by_nobody = commit_request("t", &[(0, 5)]);
    assert_eq!(world.commit(&by_nobody), [ErrorCode::UnknownMemberId]);
    let mut by_member = commit_as(&members[0], "t", &[(0, 5)]);
    assert_eq!(world.commit(&by_member), [OK]);
    by_member.generation_id_or_member_epoch = 0;
    assert_eq!(world.commit(&by_member), [ErrorCode::IllegalGeneration]);
    by_member.member_id = "x".into();
    assert_eq!(world.commit(&by_member), [ErrorCode::UnknownMemberId]);
    by_member.group_instance_id = Some("i".into());
    assert_eq!(world.commit(&by_member), [ErrorCode::UnknownMemberId]);
    assert_eq!(world.fetched("t", 0), 5);
}

#[test]
fn members_may_commit_while_they_are_called_back_but_not_before_they_know_what_is_theirs() {
    let mut world = World::new();
    let members = world.stable_group(2);
    let reply = world.join(&members[0].join());
    let commit = commit_as(&members[1], "t", &[(0, 5)]);
    assert_eq!(world.commit(&commit), [OK]);
    let other = world.join(&members[1].join());
    let mut joined = Member::of(&world.joined(reply), &join_request(""));
    world.joined(other);
    let commit = commit_as(&joined, "t", &[(0, 6)]);
    assert_eq!(world.commit(&commit), [ErrorCode::RebalanceInProgress]);
    joined.generation = 1;
    let commit = commit_as(&joined, "t", &[(0, 6)]);
    assert_eq!(world.commit(&commit), [ErrorCode::IllegalGeneration]);
    assert_eq!(world.fetched("t", 0), 5);
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut world = World::new();
    let members = world.stable_group(1);
    for offset in 0..5 {
        world.pass(9_000);
        let commit = commit_as(&members[0], "t", &[(0, offset)]);
        assert_eq!(world.commit(&commit), [OK]);
    }
}

#[test]
fn a_member_of_a_group_that_is_gone_is_told_so_since_version_9() {
    let mut world = World::new();
    let mut commit = commit_request("t", &[(0, 5)]);
    commit.member_id = "x".into();
    commit.generation_id_or_member_epoch = 3;
    assert_eq!(world.commit_in(&commit, 9), [ErrorCode::GroupIdNotFound]);
    assert_eq!(world.commit_in(&commit, 8), [ErrorCode::IllegalGeneration]);
    assert_eq!(world.shard.groups_count(), 0);
}

#[test]
fn topics_and_partitions_that_do_not_exist_are_named_whatever_the_group_says() {
    let mut world = World::new();
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(world.commit(&commit_request("gone", &[(0, 5)])), [unknown]);
    assert_eq!(world.shard.groups_count(), 0);
    let mixed = commit_request("t", &[(3, 5), (4, 5), (-1, 5)]);
    assert_eq!(world.commit(&mixed), [OK, unknown, unknown]);
    world.stable_group(1);
    assert_eq!(
        world.commit(&mixed),
        [ErrorCode::UnknownMemberId, unknown, unknown]
    );
    assert_eq!(world.commit(&commit_request("gone", &[(0, 5)])), [unknown]);
}

#[test]
fn a_text_beyond_the_limit_is_refused_alone() {
    let config = GroupConfig {
        offset_metadata_length_max: 3,
        ..GroupConfig::default()
    };
    let mut world = World::with(config);
    let mut request = commit_request("t", &[(0, 5), (1, 6), (2, 7)]);
    let partitions = &mut request.topics[0].partitions;
    partitions[0].committed_metadata = Some("äöü".into());
    partitions[1].committed_metadata = Some("four".into());
    partitions[2].committed_metadata = None;
    assert_eq!(
        world.commit(&request),
        [OK, ErrorCode::OffsetMetadataTooLarge, OK]
    );
    assert_eq!(world.all_fetched(), ["t-0=5", "t-2=7"]);
    let only_long = commit_request("t", &[(0, 8)]);
    assert_eq!(
        world.commit(&only_long),
        [ErrorCode::OffsetMetadataTooLarge]
    );
}

#[test]
fn a_commit_that_cannot_be_recorded_changes_nothing() {
    let mut world = World::new();
    world.commit(&commit_request("t", &[(0, 5)]));
    world.log.refuses = Some(ErrorCode::UnknownServerError);
    let refused = world.commit(&commit_request("t", &[(0, 6), (1, 6)]));
    assert_eq!(refused, [ErrorCode::UnknownServerError; 2]);
    assert_eq!(world.all_fetched(), ["t-0=5"]);
}

fn delete_request(topic: &str, partitions: &[i32]) -> OffsetDeleteRequest {
    let mut request = OffsetDeleteRequest::default();
    request.group_id = "g".into();
    let mut one = OffsetDeleteRequestTopic::default();
    one.name = topic.into();
    one.partitions = partitions
        .iter()
        .map(|index| {
            let mut partition = OffsetDeleteRequestPartition::default();
            partition.partition_index = *index;
            partition
        })
        .collect();
    request.topics.push(one);
    request
}

fn delete(world: &mut World, request: &OffsetDeleteRequest) -> Result<Vec<ErrorCode>, ErrorCode> {
    let image = world.image.clone();
    let response = world.step(|shard, step| shard.delete_offsets(step, request, &image));
    ErrorCode::from_wire(response.error_code).into_result()?;
    Ok(response.topics[0]
        .partitions
        .iter()
        .map(|one| ErrorCode::from_wire(one.error_code))
        .collect())
}

#[test]
fn offsets_are_deleted_where_nobody_is_subscribed() {
    let mut world = World::new();
    assert_eq!(
        delete(&mut world, &delete_request("t", &[0])),
        Err(ErrorCode::GroupIdNotFound)
    );
    world.commit(&commit_request("t", &[(0, 5), (1, 6)]));
    world.commit(&commit_request("u", &[(0, 7)]));
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(
        delete(&mut world, &delete_request("t", &[1, 2, 9])),
        Ok(vec![OK, OK, unknown])
    );
    assert_eq!(world.all_fetched(), ["t-0=5", "u-0=7"]);
    world.stable_group(1);
    let subscribed = ErrorCode::GroupSubscribedToTopic;
    assert_eq!(
        delete(&mut world, &delete_request("t", &[0])),
        Ok(vec![subscribed])
    );
    assert_eq!(delete(&mut world, &delete_request("u", &[0])), Ok(vec![OK]));
    world.crash(0);
    assert_eq!(world.all_fetched(), ["t-0=5"]);
    let mut nobodys = delete_request("t", &[0]);
    nobodys.group_id = "".into();
    assert_eq!(delete(&mut world, &nobodys), Err(ErrorCode::InvalidGroupId));
}

#[test]
fn offsets_of_members_that_are_no_consumers_are_not_deleted_under_them() {
    let mut world = World::new();
    let mut worker = join_request("");
    worker.protocol_type = "connect".into();
    worker.protocols = vec![protocol("range", b"opaque")];
    world.join_in(&worker, 3);
    world.pass(9_000);
    assert_eq!(
        delete(&mut world, &delete_request("t", &[0])),
        Err(ErrorCode::NonEmptyGroup)
    );
}

#[test]
fn offsets_go_with_their_topic_even_if_nobody_sees_to_it() {
    let mut world = World::new();
    world.commit(&commit_request("t", &[(0, 5)]));
    world.commit(&commit_request("u", &[(0, 7)]));
    world.step(|shard, step| shard.remove_topics(step, &["t".to_owned()]));
    assert_eq!(world.all_fetched(), ["u-0=7"]);
    world.crash(0);
    assert_eq!(world.all_fetched(), ["u-0=7"]);
    // Deleted and made anew between two starts: the name is the same, the topic is not.
    let remove = MetadataRecord::RemoveTopic {
        topic_id: topic_id(1),
    };
    let create = MetadataRecord::Topic {
        id: topic_id(77),
        name: "u".into(),
    };
    world.image = applied(&world.image, &[remove, create]);
    assert_eq!(world.fetched("u", 0), -1, "served to nobody");
    world.crash(0);
    assert_eq!(world.shard.groups_count(), 0);
    world.crash(0);
    assert_eq!(
        (world.shard.groups_count(), world.budget.used_bytes()),
        (0, 0)
    );
}
