//! Groups that change between the classic and the consumer protocol while members are in them.

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;

use super::consumers::Consumer;
use super::world::{Member, Told, World, assignment, join_request, protocol, static_join};
use crate::group::config::MigrationPolicy;
use crate::group::consumer_protocol::{decode_assignment, encode_assignment};
use crate::group::topic_partitions::TopicPartitions;
use crate::group::{GroupConfig, Shard};
use crate::metadata::test_support::topic_id;

fn partitions(indexes: &[i32]) -> TopicPartitions {
    indexes.iter().map(|index| (topic_id(0), *index)).collect()
}

/// What a member that has joined and asked is given.
fn indexes(set: impl IntoIterator<Item = (TopicId, i32)>) -> Vec<i32> {
    set.into_iter().map(|(_, index)| index).collect()
}

/// A subscription to `t` that says what its member owns.
fn subscription(owned: &[i32]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];
    bytes.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0, owned.len() as u8]);
    for index in owned {
        bytes.extend(index.to_be_bytes());
    }
    bytes
}

impl World {
    /// Two members of a stable classic group with two partitions each.
    fn classic_pair(&mut self) -> Vec<Member> {
        let mut members = self.stable_group(2);
        let given: Vec<_> = members
            .iter()
            .zip([[0, 1], [2, 3]])
            .map(|(member, indexes)| {
                let bytes = encode_assignment(&partitions(&indexes), 1, &self.image);
                assignment(&member.id, &bytes)
            })
            .collect();
        // The leader asks for another generation, with an assignment that can be read.
        let replies: Vec<_> = members
            .iter()
            .map(|member| self.join(&member.join()))
            .collect();
        for (member, reply) in members.iter_mut().zip(replies) {
            let joined = self.joined(reply);
            member.generation = joined.generation_id;
        }
        for member in members.iter().rev() {
            let given = if member.leads {
                given.clone()
            } else {
                Vec::new()
            };
            self.sync(&member.sync(given));
        }
        assert_eq!(self.kind(), "classic");
        members
    }

    fn kind(&mut self) -> String {
        let listed =
            self.step(|shard: &mut Shard, _| shard.list(&kafka_wire::ListGroupsRequest::default()));
        listed[0].group_type.to_string()
    }

    /// The member of the classic protocol does what its heartbeat tells it. Gives what it owns afterwards.
    fn follow(&mut self, member: &mut Member, owned: &mut Vec<i32>) {
        match self.heartbeat(member) {
            ErrorCode::None => return,
            ErrorCode::RebalanceInProgress => {}
            other => panic!("{other:?}"),
        }
        let mut request = member.join();
        request.protocols = vec![protocol("range", &subscription(owned))];
        let reply = self.join(&request);
        let joined = self.joined(reply);
        assert_eq!(joined.error_code, 0, "{joined:?}");
        member.generation = joined.generation_id;
        let reply = self.sync(&member.sync(Vec::new()));
        let synced = self.synced(reply);
        assert_eq!(synced.error_code, 0);
        let given = decode_assignment(&synced.assignment, &self.image).unwrap();
        *owned = indexes(given.iter());
    }
}

#[test]
fn a_classic_group_becomes_a_consumer_group_and_its_members_keep_what_they_have() {
    let mut world = World::new();
    let mut classics = world.classic_pair();
    let mut young = Consumer::new("young");
    world.go_on(&mut young);
    assert_eq!(world.kind(), "consumer");
    assert!(young.owned.is_empty(), "the others have it all");
    let mut shares = [vec![0, 1], vec![2, 3]];
    for _ in 0..6 {
        for (member, owned) in classics.iter_mut().zip(&mut shares) {
            world.follow(member, owned);
        }
        world.go_on(&mut young);
        let mut all: Vec<i32> = shares.concat();
        all.extend(indexes(young.owned.iter().copied()));
        all.sort_unstable();
        all.dedup();
        assert_eq!(
            all.len(),
            shares.concat().len() + young.owned.len(),
            "nothing has two owners"
        );
    }
    assert_eq!(young.owned.len(), 1);
    assert_eq!(shares.concat().len(), 3);
    // It is so after a crash too.
    world.crash(0);
    assert_eq!(world.kind(), "consumer");
    for member in &classics {
        assert_eq!(world.heartbeat(member), ErrorCode::None);
    }
    // The last member of the consumer protocol leaves: those who stay rebalance as a classic group.
    let mut leave = young.bare();
    leave.member_epoch = -1;
    assert_eq!(world.beat(&leave).error_code, 0);
    assert_eq!(world.kind(), "classic");
    let replies: Vec<_> = classics
        .iter()
        .map(|member| {
            assert_eq!(world.heartbeat(member), ErrorCode::RebalanceInProgress);
            world.join(&member.join())
        })
        .collect();
    for (member, reply) in classics.iter_mut().zip(replies) {
        let joined = world.joined(reply);
        assert_eq!(joined.error_code, 0);
        assert!(joined.generation_id > member.generation, "it goes on");
        member.generation = joined.generation_id;
    }
    world.crash(0);
    assert_eq!(world.kind(), "classic");
}

#[test]
fn silence_of_the_last_consumer_makes_the_group_classic_again() {
    let mut world = World::new();
    let mut classics = world.classic_pair();
    let mut young = Consumer::new("young");
    world.go_on(&mut young);
    let mut shares = [vec![0, 1], vec![2, 3]];
    for _ in 0..16 {
        world.pass(3_000);
        if world.kind() == "classic" {
            break;
        }
        for (member, owned) in classics.iter_mut().zip(&mut shares) {
            world.follow(member, owned);
        }
    }
    assert_eq!(world.kind(), "classic");
}

#[test]
fn members_that_wait_are_sent_to_join_again() {
    let mut world = World::new();
    let members = world.classic_pair();
    let waits = world.join(&members[0].join());
    let mut young = Consumer::new("young");
    world.go_on(&mut young);
    match world.told(waits) {
        Some(Told::Join(response)) => assert_eq!(
            ErrorCode::from_wire(response.error_code),
            ErrorCode::RebalanceInProgress
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.kind(), "consumer");
}

#[test]
fn the_policy_decides() {
    for (policy, upgrades) in [
        (MigrationPolicy::Bidirectional, true),
        (MigrationPolicy::Upgrade, true),
        (MigrationPolicy::Downgrade, false),
        (MigrationPolicy::Disabled, false),
    ] {
        let mut world = World::with(GroupConfig {
            migration: policy,
            ..GroupConfig::default()
        });
        world.classic_pair();
        let response = world.beat(&Consumer::new("young").full());
        let expected = if upgrades {
            ErrorCode::None
        } else {
            ErrorCode::GroupIdNotFound
        };
        assert_eq!(
            ErrorCode::from_wire(response.error_code),
            expected,
            "{policy:?}"
        );
        if upgrades {
            let mut leave = Consumer::new("young").bare();
            leave.member_epoch = -1;
            assert_eq!(world.beat(&leave).error_code, 0);
            let kind = if policy == MigrationPolicy::Upgrade {
                "consumer"
            } else {
                "classic"
            };
            assert_eq!(world.kind(), kind, "{policy:?}");
        }
        // Into a consumer group that is not empty.
        let mut world = World::with(GroupConfig {
            migration: policy,
            ..GroupConfig::default()
        });
        world.go_on(&mut Consumer::new("a"));
        let reply = world.join(&join_request("b"));
        let expected = if policy == MigrationPolicy::Disabled {
            ErrorCode::InconsistentGroupProtocol
        } else {
            ErrorCode::None
        };
        assert_eq!(world.join_error(reply), expected, "{policy:?}");
    }
}

#[test]
fn a_group_of_other_clients_stays_classic() {
    let mut world = World::new();
    let mut request = join_request("");
    request.protocol_type = "connect".into();
    let first = world.join(&request);
    request.member_id = world.joined(first).member_id;
    let waits = world.join(&request);
    world.pass(10_000);
    assert_eq!(world.join_error(waits), ErrorCode::None);
    let response = world.beat(&Consumer::new("a").full());
    assert_eq!(
        ErrorCode::from_wire(response.error_code),
        ErrorCode::GroupIdNotFound
    );
}

#[test]
fn an_empty_group_is_whatever_comes_next_and_keeps_its_offsets() {
    let mut world = World::new();
    let committed = world.commit(&super::commits::commit_request("t", &[(0, 5)]));
    assert_eq!(committed, [ErrorCode::None]);
    assert_eq!(world.kind(), "classic");
    let mut member = Consumer::new("a");
    world.go_on(&mut member);
    assert_eq!(
        (world.kind(), world.fetched("t", 0)),
        ("consumer".to_owned(), 5)
    );
    world.crash(0);
    let mut leave = member.bare();
    leave.member_epoch = -1;
    assert_eq!(world.beat(&leave).error_code, 0);
    world.stable_group(1);
    assert_eq!(
        (world.kind(), world.fetched("t", 0)),
        ("classic".to_owned(), 5)
    );
    world.crash(0);
    assert_eq!(
        (world.kind(), world.fetched("t", 0)),
        ("classic".to_owned(), 5)
    );
}

#[test]
fn a_classic_static_member_takes_the_place_of_the_last_consumer() {
    let mut world = World::new();
    let mut first = Consumer::new("a");
    first.instance_id = Some("i".to_owned());
    world.go_on(&mut first);
    let reply = world.join(&static_join("i", ""));
    assert_eq!(world.kind(), "classic");
    world.pass(60_000);
    let joined = world.joined(reply);
    assert_eq!(joined.error_code, 0);
    assert_eq!(joined.leader, joined.member_id);
}

#[test]
fn a_heartbeat_that_is_refused_leaves_a_classic_group_as_it_was() {
    let mut world = World::with(GroupConfig {
        consumer_members_max: 2,
        ..GroupConfig::default()
    });
    let members = world.classic_pair();
    let waits = world.join(&members[0].join());
    let (batches, bytes) = (world.log.batches.len(), world.budget.used_bytes());
    let full = world.beat(&Consumer::new("young").full());
    assert_eq!(
        ErrorCode::from_wire(full.error_code),
        ErrorCode::GroupMaxSizeReached
    );
    let mut joins = Consumer::new("young");
    joins.pattern = Some("(".to_owned());
    // In the place of one of the two, so that it is refused for its expression.
    joins.id.clone_from(&members[1].id);
    let garbage = world.beat(&joins.full());
    assert_eq!(
        ErrorCode::from_wire(garbage.error_code),
        ErrorCode::InvalidRegularExpression
    );
    world.log.refuses = Some(ErrorCode::NotCoordinator);
    joins.pattern = None;
    let unwritten = world.beat(&joins.full());
    assert_eq!(
        ErrorCode::from_wire(unwritten.error_code),
        ErrorCode::NotCoordinator
    );
    world.log.refuses = None;
    assert_eq!(world.kind(), "classic");
    assert_eq!(world.told(waits), None, "nobody is sent away");
    assert_eq!(
        (world.log.batches.len(), world.budget.used_bytes()),
        (batches, bytes)
    );
    let other = world.join(&members[1].join());
    assert_eq!(world.joined(waits).error_code, 0);
    assert_eq!(world.joined(other).error_code, 0);
}

#[test]
fn a_group_whose_upgrade_is_recorded_in_part_is_what_the_records_say() {
    let mut world = World::new();
    let mut classics = world.classic_pair();
    let mut young = Consumer::new("young");
    world.log.takes_only = Some(1);
    let response = world.beat(&young.full());
    assert_eq!(
        ErrorCode::from_wire(response.error_code),
        ErrorCode::NotCoordinator
    );
    world.log.takes_only = None;
    let told = |world: &mut World| {
        let group = world.shard.consumer_group("g").expect("it was converted");
        (group.epoch(), group.target_epoch(), group.members().len())
    };
    let before = told(&mut world);
    assert_eq!(before.2, 3, "the conversion and the member are one");
    world.crash(0);
    assert_eq!(told(&mut world), before);
    let mut shares = [vec![0, 1], vec![2, 3]];
    for _ in 0..6 {
        world.go_on(&mut young);
        for (member, owned) in classics.iter_mut().zip(&mut shares) {
            world.follow(member, owned);
        }
    }
    assert_eq!((young.owned.len(), shares.concat().len()), (1, 3));
}

#[test]
fn a_downgrade_that_could_not_be_recorded_comes_with_the_next_join() {
    let mut world = World::new();
    let mut first = Consumer::new("a");
    first.instance_id = Some("i".to_owned());
    world.go_on(&mut first);
    world.log.takes_only = Some(1);
    let reply = world.join(&static_join("i", ""));
    assert_eq!(world.join_error(reply), ErrorCode::NotCoordinator);
    world.log.takes_only = None;
    world.crash(0);
    assert_eq!(world.kind(), "consumer", "of classic members only");
    let reply = world.join(&static_join("i", ""));
    assert_eq!(world.kind(), "classic");
    world.pass(60_000);
    let joined = world.joined(reply);
    assert_eq!(joined.error_code, 0);
    assert_eq!(joined.leader, joined.member_id);
}
