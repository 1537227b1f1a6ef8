//! When offsets and groups go by themselves.

use super::commits::{commit_as, commit_request};
use super::world::{World, join_request};
use crate::group::Shard;
use crate::group::config::GroupConfig;

const MINUTE_MS: u64 = 60_000;

fn world() -> World {
    World::with(GroupConfig {
        offsets_retention_ms: 10 * 60_000,
        ..GroupConfig::default()
    })
}

fn expire(world: &mut World) {
    world.step(|shard, step| assert_eq!(shard.expire(step, None), None));
}

#[test]
fn offsets_of_nobody_expire_by_their_commits() {
    let mut world = world();
    world.commit(&commit_request("t", &[(0, 5)]));
    world.pass(6 * MINUTE_MS);
    world.commit(&commit_request("t", &[(1, 6)]));
    world.pass(4 * MINUTE_MS - 1);
    expire(&mut world);
    assert_eq!(world.all_fetched(), ["t-0=5", "t-1=6"]);
    world.pass(1);
    expire(&mut world);
    assert_eq!(world.all_fetched(), ["t-1=6"]);
    world.crash(0);
    assert_eq!(world.all_fetched(), ["t-1=6"]);
    world.pass(6 * MINUTE_MS);
    expire(&mut world);
    assert_eq!(world.shard.groups_count(), 0);
}

#[test]
fn offsets_of_a_group_with_members_stay_while_the_topic_is_subscribed() {
    let mut world = world();
    let members = world.stable_group(1);
    world.commit(&commit_as(&members[0], "t", &[(0, 5)]));
    world.commit(&commit_as(&members[0], "u", &[(0, 7)]));
    for _ in 0..75 {
        world.pass(8_000);
        world.heartbeat(&members[0]);
    }
    expire(&mut world);
    assert_eq!(
        world.all_fetched(),
        ["t-0=5"],
        "nobody is subscribed to the other"
    );
}

#[test]
fn the_time_of_an_abandoned_groups_offsets_runs_since_it_was_abandoned() {
    let mut world = world();
    let members = world.stable_group(1);
    world.commit(&commit_as(&members[0], "t", &[(0, 5)]));
    for _ in 0..100 {
        world.pass(8_000);
        world.heartbeat(&members[0]);
    }
    world.pass(10 * MINUTE_MS);
    expire(&mut world);
    assert_eq!(
        world.all_fetched(),
        ["t-0=5"],
        "it is empty for 9 minutes and 50 seconds"
    );
    world.crash(0);
    world.pass(10_000);
    expire(&mut world);
    assert_eq!(world.shard.groups_count(), 0);
}

#[test]
fn a_client_that_asks_for_a_time_of_its_own_gets_it() {
    let mut world = world();
    let mut short = commit_request("t", &[(0, 5)]);
    short.retention_time_ms = 1_000;
    world.commit(&short);
    let mut long = commit_request("t", &[(1, 6)]);
    long.retention_time_ms = 3_600_000;
    world.commit(&long);
    world.crash(0);
    world.pass(1_000);
    expire(&mut world);
    assert_eq!(world.all_fetched(), ["t-1=6"]);
    world.pass(20 * MINUTE_MS);
    expire(&mut world);
    assert_eq!(world.all_fetched(), ["t-1=6"]);
}

#[test]
fn a_group_about_to_be_joined_is_not_removed() {
    let mut world = world();
    let members = world.stable_group(1);
    world.pass(10_001);
    world.heartbeat(&members[0]);
    let reply = world.join(&join_request(""));
    let id = world.joined(reply).member_id.to_string();
    expire(&mut world);
    let reply = world.join(&join_request(&id));
    world.pass(3_000);
    assert_eq!(world.joined(reply).error_code, 0);
}

#[test]
fn many_groups_are_gone_through_in_parts() {
    let mut world = world();
    for number in 0..450 {
        let mut commit = commit_request("t", &[(0, 5)]);
        commit.group_id = format!("g{number}").into();
        world.commit(&commit);
    }
    world.pass(10 * MINUTE_MS);
    let mut after = None;
    let mut parts = 0;
    loop {
        after = world.step(|shard: &mut Shard, step| shard.expire(step, after.as_ref()));
        parts += 1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((parts, world.shard.groups_count()), (3, 0));
}
