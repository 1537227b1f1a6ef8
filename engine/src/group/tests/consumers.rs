//! Consumer groups of the new protocol: joining, moving on, leaving, silence, static members, expressions.

use std::collections::BTreeSet;

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use kafka_wire::consumer_group_heartbeat_request::TopicPartitions;
use kafka_wire::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_wire_core::Uuid;

use super::world::World;
use crate::group::GroupConfig;
use crate::group::classic::Client;
use crate::metadata::test_support::{image_of, topic_id};

pub(super) type Owned = BTreeSet<(TopicId, i32)>;
type Change = fn(&mut ConsumerGroupHeartbeatRequest);

/// A member as its client knows it.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) epoch: i32,
    pub(super) topics: Vec<String>,
    pub(super) pattern: Option<String>,
    pub(super) owned: Owned,
}

impl Consumer {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            instance_id: None,
            epoch: 0,
            topics: vec!["t".to_owned()],
            pattern: None,
            owned: Owned::new(),
        }
    }

    pub(super) fn of_instance(id: &str, instance_id: &str) -> Self {
        Self {
            instance_id: Some(instance_id.to_owned()),
            ..Self::new(id)
        }
    }

    fn matching(id: &str, pattern: &str) -> Self {
        Self {
            topics: Vec::new(),
            pattern: Some(pattern.to_owned()),
            ..Self::new(id)
        }
    }

    /// All that a client tells when it joins, or when it is not sure what the server knows.
    pub(super) fn full(&self) -> ConsumerGroupHeartbeatRequest {
        let mut request = self.bare();
        request.rebalance_timeout_ms = 60_000;
        request.subscribed_topic_names = Some(
            self.topics
                .iter()
                .map(|name| name.as_str().into())
                .collect(),
        );
        request.subscribed_topic_regex = self.pattern.as_deref().map(Into::into);
        request.topic_partitions = Some(self.told());
        request
    }

    /// What it tells when nothing changed.
    pub(super) fn bare(&self) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest::default();
        request.group_id = "g".into();
        request.member_id = self.id.as_str().into();
        request.instance_id = self.instance_id.as_deref().map(Into::into);
        request.member_epoch = self.epoch;
        request.rebalance_timeout_ms = -1;
        request
    }

    /// What it tells when it has given partitions up, or taken them.
    pub(super) fn owning(&self) -> ConsumerGroupHeartbeatRequest {
        let mut request = self.bare();
        request.topic_partitions = Some(self.told());
        request
    }

    fn told(&self) -> Vec<TopicPartitions> {
        let topics: BTreeSet<TopicId> = self.owned.iter().map(|(topic, _)| *topic).collect();
        topics
            .into_iter()
            .map(|id| {
                let mut topic = TopicPartitions::default();
                topic.topic_id = Uuid::from_bytes(id.get());
                topic.partitions = self
                    .owned
                    .iter()
                    .filter(|(topic, _)| *topic == id)
                    .map(|(_, partition)| *partition)
                    .collect();
                topic
            })
            .collect()
    }

    /// Takes over what it was told.
    pub(super) fn take(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        self.epoch = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            self.owned = assignment
                .topic_partitions
                .iter()
                .flat_map(|topic| {
                    let id = TopicId::new(topic.topic_id.to_bytes());
                    topic.partitions.iter().map(move |one| (id, *one))
                })
                .collect();
        }
    }

    pub(super) fn partitions(&self) -> Vec<i32> {
        self.owned.iter().map(|(_, partition)| *partition).collect()
    }
}

impl World {
    pub(super) fn beat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let client = Client {
            id: "client".into(),
            host: "/127.0.0.1".into(),
        };
        self.step_in(|shard, step, image| {
            shard.consumer_heartbeat(step, request, 1, &client, image)
        })
    }

    pub(super) fn beat_error(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ErrorCode {
        ErrorCode::from_wire(self.beat(request).error_code)
    }

    /// A heartbeat that tells what the member has, and what comes of it.
    pub(super) fn go_on(&mut self, member: &mut Consumer) {
        let request = if member.epoch == 0 {
            member.owned.clear();
            member.full()
        } else {
            member.owning()
        };
        let response = self.beat(&request);
        assert_eq!(response.error_code, 0, "{response:?}");
        member.take(&response);
    }

    /// Members that have all they are to have.
    pub(super) fn settled(&mut self, members: &mut [Consumer]) {
        for _ in 0..4 {
            for member in &mut *members {
                self.go_on(member);
            }
        }
        assert_eq!(self.group_state(), "Stable");
    }

    fn group_state(&mut self) -> String {
        self.described().group_state.to_string()
    }

    pub(super) fn described(
        &mut self,
    ) -> kafka_wire::consumer_group_describe_response::DescribedGroup {
        self.step_in(|shard, _, image| shard.describe_consumer_group("g", 1, false, image))
    }

    pub(super) fn leave_with(&mut self, member: &Consumer, epoch: i32) -> ErrorCode {
        let mut request = member.bare();
        request.member_epoch = epoch;
        self.beat_error(&request)
    }
}

#[test]
fn a_member_alone_gets_everything_at_once() {
    let mut world = World::new();
    let mut member = Consumer::new("a");
    world.go_on(&mut member);
    assert_eq!((member.epoch, member.partitions()), (1, vec![0, 1, 2, 3]));
    assert_eq!(world.group_state(), "Stable");
    // Nothing changes, so nothing is told and nothing recorded.
    let batches = world.log.batches.len();
    let response = world.beat(&member.bare());
    assert_eq!((response.member_epoch, response.assignment), (1, None));
    assert_eq!(response.heartbeat_interval_ms, 5_000);
    assert_eq!(world.log.batches.len(), batches);
    // Who tells everything is told everything.
    assert!(world.beat(&member.full()).assignment.is_some());
    assert_eq!(world.log.batches.len(), batches);
}

#[test]
fn nobody_gets_what_another_has_not_given_up() {
    let mut world = World::new();
    let (mut a, mut b) = (Consumer::new("a"), Consumer::new("b"));
    world.go_on(&mut a);
    world.go_on(&mut b);
    assert_eq!((b.epoch, b.partitions()), (2, vec![]));
    assert_eq!(world.group_state(), "Reconciling");
    // a hears that it is to give up two, and still has them.
    let before = a.clone();
    let response = world.beat(&a.bare());
    a.take(&response);
    assert_eq!((a.epoch, a.partitions().len()), (1, 2));
    world.go_on(&mut b);
    assert_eq!(b.partitions(), Vec::<i32>::new());
    // It says that it has them still, then that it has not.
    assert_eq!(world.beat(&before.owning()).member_epoch, 1);
    world.go_on(&mut b);
    assert_eq!(b.partitions(), Vec::<i32>::new());
    world.go_on(&mut a);
    assert_eq!((a.epoch, a.partitions().len()), (2, 2));
    world.go_on(&mut b);
    assert_eq!((b.epoch, b.partitions().len()), (2, 2));
    assert!(a.owned.is_disjoint(&b.owned));
    assert_eq!(world.group_state(), "Stable");
}

#[test]
fn what_a_leaving_member_had_goes_to_the_others() {
    let mut world = World::new();
    let mut members = [Consumer::new("a"), Consumer::new("b")];
    world.settled(&mut members);
    let [mut a, b] = members;
    assert_eq!(world.leave_with(&b, -1), ErrorCode::None);
    assert_eq!(world.group_state(), "Assigning");
    world.go_on(&mut a);
    assert_eq!(a.partitions(), [0, 1, 2, 3]);
    assert_eq!(world.beat_error(&b.bare()), ErrorCode::UnknownMemberId);
    assert_eq!(world.leave_with(&a, -1), ErrorCode::None);
    assert_eq!(world.group_state(), "Empty");
    assert_eq!(world.beat_error(&a.bare()), ErrorCode::UnknownMemberId);
    let mut fresh = Consumer::new("c");
    world.go_on(&mut fresh);
    assert!(fresh.epoch > a.epoch, "epochs go on");
}

#[test]
fn a_silent_member_is_out_and_a_slow_one_too() {
    let mut world = World::new();
    let mut members = [Consumer::new("a"), Consumer::new("b")];
    world.settled(&mut members);
    let [mut a, b] = members;
    for _ in 0..10 {
        world.pass(5_000);
        world.go_on(&mut a);
    }
    assert_eq!(a.partitions(), [0, 1, 2, 3]);
    assert_eq!(world.beat_error(&b.bare()), ErrorCode::UnknownMemberId);
    // a lives, but does not give up what another is to have.
    let mut c = Consumer::new("c");
    world.go_on(&mut c);
    let stubborn = a.clone();
    for _ in 0..13 {
        world.pass(5_000);
        world.beat(&stubborn.bare());
        world.go_on(&mut c);
    }
    assert_eq!(
        world.beat_error(&stubborn.bare()),
        ErrorCode::UnknownMemberId
    );
    assert_eq!(c.partitions(), [0, 1, 2, 3]);
}

#[test]
fn epochs_are_checked_as_kafka_does() {
    let mut world = World::new();
    let mut members = [Consumer::new("a"), Consumer::new("b")];
    world.settled(&mut members);
    let [a, _] = members;
    let table: &[(i32, bool, bool, ErrorCode)] = &[
        (a.epoch, false, false, ErrorCode::None),
        (a.epoch + 1, false, false, ErrorCode::FencedMemberEpoch),
        // The epoch before, with what it has: the answer may have been lost.
        (a.epoch - 1, true, false, ErrorCode::None),
        (a.epoch - 1, false, false, ErrorCode::FencedMemberEpoch),
        (a.epoch - 1, true, true, ErrorCode::FencedMemberEpoch),
        (a.epoch - 2, true, false, ErrorCode::FencedMemberEpoch),
    ];
    for (epoch, tells, has_more, expected) in table {
        let mut asked = a.clone();
        asked.epoch = *epoch;
        if *has_more {
            asked.owned = (0..4).map(|one| (topic_id(0), one)).collect();
        }
        let request = if *tells { asked.owning() } else { asked.bare() };
        if *epoch > 0 {
            assert_eq!(
                world.beat_error(&request),
                *expected,
                "{epoch} {tells} {has_more}"
            );
        }
    }
    let mut stranger = Consumer::new("x");
    stranger.epoch = 1;
    assert_eq!(
        world.beat_error(&stranger.bare()),
        ErrorCode::UnknownMemberId
    );
    let mut elsewhere = a.bare();
    elsewhere.group_id = "h".into();
    assert_eq!(world.beat_error(&elsewhere), ErrorCode::GroupIdNotFound);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut world = World::new();
    let good = Consumer::of_instance("a", "i").full();
    let table: &[(Change, ErrorCode)] = &[
        (
            |request| request.member_id = "".into(),
            ErrorCode::InvalidRequest,
        ),
        (
            |request| request.group_id = "".into(),
            ErrorCode::InvalidRequest,
        ),
        (
            |request| request.instance_id = Some("".into()),
            ErrorCode::InvalidRequest,
        ),
        (
            |request| request.rack_id = Some("".into()),
            ErrorCode::InvalidRequest,
        ),
        (
            |request| request.rebalance_timeout_ms = -1,
            ErrorCode::InvalidRequest,
        ),
        (
            |request| request.topic_partitions = None,
            ErrorCode::InvalidRequest,
        ),
        (
            |request| request.topic_partitions = Some(vec![TopicPartitions::default()]),
            ErrorCode::InvalidRequest,
        ),
        (
            |request| request.subscribed_topic_names = None,
            ErrorCode::InvalidRequest,
        ),
        (
            |request| request.member_epoch = -3,
            ErrorCode::InvalidRequest,
        ),
        (
            |request| {
                request.member_epoch = -2;
                request.instance_id = None;
            },
            ErrorCode::InvalidRequest,
        ),
        (
            |request| request.server_assignor = Some("other".into()),
            ErrorCode::UnsupportedAssignor,
        ),
        (
            |request| request.subscribed_topic_regex = Some("(".into()),
            ErrorCode::InvalidRegularExpression,
        ),
    ];
    for (change, expected) in table {
        let mut request = good.clone();
        change(&mut request);
        let response = world.beat(&request);
        assert_eq!(ErrorCode::from_wire(response.error_code), *expected);
        assert!(response.error_message.is_some());
    }
    assert_eq!(world.shard.groups_count(), 0, "nothing stays of them");
    assert_eq!(world.beat_error(&good), ErrorCode::None);
}

#[test]
fn the_size_of_a_group_is_bounded() {
    let mut world = World::with(GroupConfig {
        consumer_members_max: 1,
        ..GroupConfig::default()
    });
    let mut a = Consumer::new("a");
    world.go_on(&mut a);
    assert_eq!(
        world.beat_error(&Consumer::new("b").full()),
        ErrorCode::GroupMaxSizeReached
    );
    world.go_on(&mut a);
}

#[test]
fn expressions_follow_the_topics_that_there_are() {
    let mut world = World::new();
    let mut member = Consumer::matching("a", "t.*");
    world.go_on(&mut member);
    assert_eq!(member.owned.len(), 4);
    let epoch = member.epoch;
    world.image = image_of(
        Some(1),
        &[
            ("t", &[0_usize, 0, 0, 0][..]),
            ("u", &[0]),
            ("t2", &[0, 0]),
            ("at", &[0]),
        ],
    );
    world.go_on(&mut member);
    assert_eq!((member.epoch, member.owned.len()), (epoch + 1, 6));
    let described = world.described();
    assert_eq!(
        described.members[0].subscribed_topic_regex.as_deref(),
        Some("t.*")
    );
    // Another expression, then none.
    member.pattern = Some("u".to_owned());
    let response = world.beat(&member.full());
    member.take(&response);
    world.go_on(&mut member);
    world.go_on(&mut member);
    assert_eq!(member.owned, Owned::from([(topic_id(1), 0)]));
    world.crash(0);
    let response = world.beat(&member.full());
    assert_eq!(response.member_epoch, member.epoch, "read back as it was");
    member.pattern = Some(String::new());
    let response = world.beat(&member.full());
    member.take(&response);
    world.go_on(&mut member);
    assert_eq!(member.owned.len(), 0);
}

#[test]
fn more_partitions_and_deleted_topics_begin_a_new_epoch() {
    let mut world = World::new();
    let mut member = Consumer::new("a");
    world.go_on(&mut member);
    world.image = image_of(Some(1), &[("t", &[0_usize; 6][..])]);
    let response = world.beat(&member.bare());
    member.take(&response);
    assert_eq!((member.epoch, member.owned.len()), (2, 6));
    world.image = image_of(Some(1), &[("other", &[0_usize, 0][..])]);
    world.go_on(&mut member);
    world.go_on(&mut member);
    assert_eq!(member.owned.len(), 0);
    assert_eq!(world.group_state(), "Stable");
}

#[test]
fn a_crash_takes_nothing_back_that_anybody_was_told() {
    let mut world = World::new();
    let mut members = [
        Consumer::new("a"),
        Consumer::of_instance("b", "i"),
        Consumer::matching("c", "t"),
    ];
    world.settled(&mut members);
    let before = world.described();
    world.crash(0);
    assert_eq!(world.described(), before);
    for member in &members {
        let response = world.beat(&member.bare());
        assert_eq!(
            (
                response.error_code,
                response.member_epoch,
                response.assignment
            ),
            (0, member.epoch, None)
        );
    }
    // Sessions run again.
    world.pass(50_000);
    assert_eq!(world.group_state(), "Empty");
}

#[test]
fn offsets_are_for_members_in_their_epochs() {
    let mut world = World::new();
    let mut member = Consumer::new("a");
    world.go_on(&mut member);
    let commit = |world: &mut World, id: &str, epoch: i32, version: i16| {
        let mut request = super::commits::commit_request("t", &[(0, 7)]);
        request.member_id = id.into();
        request.generation_id_or_member_epoch = epoch;
        let response =
            world.step_in(|shard, step, image| shard.commit(step, &request, version, image));
        ErrorCode::from_wire(response.topics[0].partitions[0].error_code)
    };
    let table = [
        ("a", member.epoch, 9, ErrorCode::None),
        ("a", member.epoch, 8, ErrorCode::UnsupportedVersion),
        ("a", member.epoch - 1, 9, ErrorCode::StaleMemberEpoch),
        ("a", member.epoch + 1, 9, ErrorCode::StaleMemberEpoch),
        ("b", member.epoch, 9, ErrorCode::UnknownMemberId),
        ("", -1, 9, ErrorCode::UnknownMemberId),
    ];
    for (id, epoch, version, expected) in table {
        assert_eq!(
            commit(&mut world, id, epoch, version),
            expected,
            "{id} {epoch} {version}"
        );
    }
    let fetch = |world: &mut World, id: Option<&str>, epoch: i32| {
        let mut request = kafka_wire::offset_fetch_request::OffsetFetchRequestGroup::default();
        request.group_id = "g".into();
        request.member_id = id.map(Into::into);
        request.member_epoch = epoch;
        request.topics = None;
        let response = world.step_in(|shard, _, image| shard.fetch_offsets(&request, image));
        (
            ErrorCode::from_wire(response.error_code),
            response.topics.len(),
        )
    };
    let table = [
        (None, -1, (ErrorCode::None, 1)),
        (Some("a"), member.epoch, (ErrorCode::None, 1)),
        (
            Some("a"),
            member.epoch + 1,
            (ErrorCode::StaleMemberEpoch, 0),
        ),
        (Some("b"), member.epoch, (ErrorCode::UnknownMemberId, 0)),
    ];
    for (id, epoch, expected) in table {
        assert_eq!(fetch(&mut world, id, epoch), expected, "{id:?} {epoch}");
    }
    assert_eq!(world.leave_with(&member, -1), ErrorCode::None);
    assert_eq!(commit(&mut world, "", -1, 9), ErrorCode::None);
}

#[test]
fn a_member_that_cannot_be_recorded_is_not_there() {
    let mut world = World::new();
    world.log.refuses = Some(ErrorCode::NotCoordinator);
    let mut member = Consumer::new("a");
    assert_eq!(world.beat_error(&member.full()), ErrorCode::NotCoordinator);
    assert_eq!(world.shard.groups_count(), 0);
    world.log.refuses = None;
    world.go_on(&mut member);
    // One that is out and cannot be removed is tried again.
    world.log.refuses = Some(ErrorCode::NotCoordinator);
    world.pass(50_000);
    assert_eq!(world.group_state(), "Stable");
    world.log.refuses = None;
    world.pass(50_000);
    assert_eq!(world.group_state(), "Empty");
}

#[test]
fn groups_and_members_beyond_the_budget_are_refused_and_give_back_what_they_took() {
    let mut world = World::new();
    let mut members = Vec::new();
    for at in 0..100 {
        let mut member = Consumer::new(&format!("m{at}"));
        member.topics.push("x".repeat(200));
        world.go_on(&mut member);
        members.push(member);
    }
    assert!(world.budget.used_bytes() > 100 * 1_000);
    let charge = world.budget.take(64 << 20);
    assert_eq!(
        world.beat_error(&Consumer::new("late").full()),
        ErrorCode::CoordinatorNotAvailable
    );
    let mut elsewhere = Consumer::new("late").full();
    elsewhere.group_id = "h".into();
    assert_eq!(
        world.beat_error(&elsewhere),
        ErrorCode::CoordinatorNotAvailable
    );
    drop(charge);
    for member in &members {
        assert_eq!(world.leave_with(member, -1), ErrorCode::None);
    }
    let deleted = world.step(|shard, step| shard.delete_group(step, "g"));
    assert_eq!(deleted, Ok(()));
    assert_eq!(world.budget.used_bytes(), 0);
    assert_eq!(world.shard.next_alarm_ms(), None);
    world.crash(0);
    assert_eq!(world.shard.groups_count(), 0);
}
