//! What a group and all groups together may take.

use corelane_net::error_code::ErrorCode;

use super::commits::commit_request;
use super::world::{World, join_request, protocol};
use crate::group::Budget;
use crate::group::config::GroupConfig;

fn small(members_max: usize) -> World {
    World::with(GroupConfig {
        members_max,
        ..GroupConfig::default()
    })
}

#[test]
fn a_group_takes_no_more_members_than_it_may_have() {
    let mut world = small(2);
    let members = world.stable_group(2);
    let reply = world.join(&join_request(""));
    assert_eq!(world.join_error(reply), ErrorCode::GroupMaxSizeReached);
    // A member may come again.
    let reply = world.join(&members[1].join());
    assert_eq!(world.joined(reply).generation_id, 1);
    let reply = world.join(&members[0].join());
    let late = world.join_in(&join_request(""), 3);
    assert_eq!(
        world.told(late),
        None,
        "one of two places is free while members join"
    );
    let later = world.join_in(&join_request(""), 3);
    assert_eq!(world.join_error(later), ErrorCode::GroupMaxSizeReached);
    let last = world.join(&members[1].join());
    assert_eq!(world.join_error(last), ErrorCode::GroupMaxSizeReached);
    assert_eq!(world.joined(reply).generation_id, 2);
}

#[test]
fn a_group_that_is_too_large_after_a_start_loses_who_comes_last() {
    let mut world = small(3);
    let members = world.stable_group(3);
    world.config.members_max = 2;
    world.crash(0);
    assert_eq!(world.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
    let first = world.join(&members[0].join());
    let second = world.join(&members[1].join());
    let third = world.join(&members[2].join());
    assert_eq!(world.join_error(third), ErrorCode::GroupMaxSizeReached);
    assert_eq!(world.joined(first).generation_id, 2);
    assert_eq!(world.joined(second).generation_id, 2);
}

fn tight(bytes_max: usize) -> World {
    let mut world = World::new();
    world.budget = Budget::new(bytes_max);
    world.crash(0);
    world
}

#[test]
fn groups_that_are_made_and_never_used_end_at_the_budget_and_then_leave() {
    let mut world = tight(64 << 10);
    let mut refused = 0;
    for number in 0..1_000 {
        let mut request = join_request("");
        request.group_id = format!("g{number}").into();
        let reply = world.join(&request);
        match world.join_error(reply) {
            ErrorCode::MemberIdRequired => {}
            ErrorCode::CoordinatorNotAvailable => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(refused > 900, "{refused}");
    assert!(world.budget.used_bytes() <= 64 << 10);
    world.pass(10_001);
    assert_eq!(
        (world.shard.groups_count(), world.budget.used_bytes()),
        (0, 0)
    );
    assert_eq!(world.log.batches.len(), 0, "nothing was written for them");
    let reply = world.join(&join_request(""));
    assert_eq!(world.join_error(reply), ErrorCode::MemberIdRequired);
}

#[test]
fn what_members_say_and_what_offsets_bear_is_counted() {
    let mut world = tight(64 << 10);
    let mut request = join_request("");
    request.protocols = vec![protocol("range", &vec![7; 100_000])];
    let reply = world.join_in(&request, 3);
    assert_eq!(world.join_error(reply), ErrorCode::CoordinatorNotAvailable);
    let refused = (0..10_000).any(|number| {
        let mut commit = commit_request("t", &[(0, number), (1, number), (2, number)]);
        commit.group_id = format!("g{number}").into();
        world
            .commit(&commit)
            .contains(&ErrorCode::CoordinatorNotAvailable)
    });
    assert!(refused);
    // Who has a place may use it.
    let mut commit = commit_request("t", &[(0, 77), (1, 77), (2, 77)]);
    commit.group_id = "g0".into();
    assert_eq!(world.commit(&commit), [ErrorCode::None; 3]);
}

#[test]
fn an_assignment_beyond_the_budget_is_refused_and_harms_nobody() {
    let mut world = tight(32 << 10);
    let reply = world.join_in(&join_request(""), 3);
    world.pass(3_000);
    let member = super::world::Member::of(&world.joined(reply), &join_request(""));
    let given = super::world::assignment(&member.id, &vec![7; 100_000]);
    let reply = world.sync(&member.sync(vec![given]));
    assert_eq!(world.sync_error(reply), ErrorCode::CoordinatorNotAvailable);
    let reply = world.join(&member.join());
    assert_eq!(world.joined(reply).generation_id, 2);
}

#[test]
fn members_that_go_give_back_what_they_took() {
    let mut world = World::new();
    for _ in 0..50 {
        let members = world.stable_group(3);
        world.pass(20_000);
        assert_eq!(world.heartbeat(&members[0]), ErrorCode::UnknownMemberId);
    }
    let empty = world.budget.used_bytes();
    assert!(empty < 1_000, "{empty}");
    assert_eq!(world.shard.next_alarm_ms(), None);
}
