//! Static members: they come back under new ids and keep what they own.

use corelane_net::error_code::ErrorCode;

use super::world::{Member, World, join_request, protocol, static_join};

#[test]
fn a_static_member_that_comes_back_keeps_its_assignment_and_nobody_rebalances() {
    let mut world = World::new();
    let members = world.stable_group_of(vec![static_join("i", ""), static_join("j", "")]);
    let follower = &members[1];
    let instance = follower.instance_id.clone().unwrap();
    let reply = world.join(&static_join(&instance, ""));
    let response = world.joined(reply);
    assert_eq!((response.error_code, response.generation_id), (0, 1));
    assert_ne!(*response.member_id, follower.id);
    assert!(response.member_id.starts_with(&format!("{instance}-")));
    assert!(!response.skip_assignment);
    let back = Member::of(&response, &static_join(&instance, ""));
    let reply = world.sync(&back.sync(Vec::new()));
    let before = format!("for {}", follower.id);
    assert_eq!(&world.synced(reply).assignment[..], before.as_bytes());
    assert_eq!(world.heartbeat(&members[0]), ErrorCode::None);
    assert_eq!(world.heartbeat(follower), ErrorCode::FencedInstanceId);
    assert_eq!(world.heartbeat(&back), ErrorCode::None);
    world.crash(0);
    assert_eq!(
        world.heartbeat(&back),
        ErrorCode::None,
        "its new id was durable"
    );
}

#[test]
fn a_static_leader_that_comes_back_is_told_to_assign_nothing() {
    let mut world = World::new();
    let members = world.stable_group_of(vec![static_join("i", ""), static_join("j", "")]);
    let leader = &members[0];
    let instance = leader.instance_id.clone().unwrap();
    let reply = world.join_in(&static_join(&instance, ""), 9);
    let response = world.joined(reply);
    assert!(response.skip_assignment);
    assert_eq!(response.leader, response.member_id);
    assert_eq!(response.members.len(), 2);
    let second = response.member_id.to_string();
    // Before version 9 it could not be told so, and is told that its earlier self leads.
    let reply = world.join_in(&static_join(&instance, ""), 8);
    let response = world.joined(reply);
    assert!(!response.skip_assignment && response.members.is_empty());
    assert_eq!(*response.leader, second);
}

#[test]
fn a_static_member_that_says_something_else_makes_all_join_anew_only_if_the_protocol_changes() {
    let mut world = World::new();
    let mut both = static_join("i", "");
    both.protocols.push(protocol("sticky", b""));
    let mut other = static_join("j", "");
    other.protocols.push(protocol("sticky", b""));
    world.stable_group_of(vec![both.clone(), other]);
    let mut changed = both.clone();
    changed.protocols[0].metadata = b"other".as_slice().into();
    let reply = world.join(&changed);
    assert_eq!(
        world.joined(reply).generation_id,
        1,
        "the same protocol is agreed on"
    );
    let mut only_sticky = both;
    only_sticky.protocols.remove(0);
    let reply = world.join(&only_sticky);
    assert_eq!(
        world.told(reply),
        None,
        "range is not offered by all any more"
    );
}

#[test]
fn the_earlier_self_of_a_static_member_is_fenced_wherever_it_waits() {
    let mut world = World::new();
    let members = world.stable_group_of(vec![static_join("i", ""), static_join("j", "")]);
    // One waits in a JoinGroup when the next one comes.
    let mut changed = members[1].join();
    changed.protocols = vec![protocol("range", b"other")];
    let instance = members[1].instance_id.clone().unwrap();
    let waiting = world.join(&changed);
    let back = world.join(&static_join(&instance, ""));
    let fenced = world.joined(waiting);
    assert_eq!(fenced.error_code, ErrorCode::FencedInstanceId.code());
    let leading = world.join(&members[0].join());
    let back = Member::of(&world.joined(back), &static_join(&instance, ""));
    world.joined(leading);
    // One waits in a SyncGroup when the next one comes.
    let waiting = world.sync(&back.sync(Vec::new()));
    world.join(&static_join(&instance, ""));
    assert_eq!(world.sync_error(waiting), ErrorCode::FencedInstanceId);
}

#[test]
fn an_instance_is_checked_against_its_member() {
    let mut world = World::new();
    let members = world.stable_group_of(vec![static_join("i", "")]);
    let mut stranger = members[0].clone();
    stranger.id = "x".into();
    assert_eq!(world.heartbeat(&stranger), ErrorCode::FencedInstanceId);
    stranger.instance_id = Some("k".into());
    assert_eq!(world.heartbeat(&stranger), ErrorCode::UnknownMemberId);
    let reply = world.join(&static_join("i", "x"));
    assert_eq!(world.join_error(reply), ErrorCode::FencedInstanceId);
}

#[test]
fn a_static_member_stays_through_a_rebalance_that_it_misses() {
    let mut world = World::new();
    let members = world.stable_group_of(vec![static_join("i", ""), static_join("j", "")]);
    let newcomer = world.join_in(&join_request(""), 3);
    let leader = world.join(&members[0].join());
    for _ in 0..7 {
        world.pass(9_000);
        world.heartbeat(&members[1]);
    }
    assert_eq!(world.joined(leader).members.len(), 3);
    assert_eq!(world.joined(newcomer).generation_id, 2);
    assert_eq!(
        world.heartbeat(&members[1]),
        ErrorCode::IllegalGeneration,
        "it is a member still"
    );
}

#[test]
fn a_new_id_that_cannot_be_recorded_leaves_the_earlier_one_in_force() {
    let mut world = World::new();
    let members = world.stable_group_of(vec![static_join("i", "")]);
    world.log.refuses = Some(ErrorCode::NotCoordinator);
    let reply = world.join(&static_join("i", ""));
    assert_eq!(world.join_error(reply), ErrorCode::NotCoordinator);
    world.log.refuses = None;
    assert_eq!(world.heartbeat(&members[0]), ErrorCode::None);
    world.pass(10_001);
    assert_eq!(
        world.heartbeat(&members[0]),
        ErrorCode::UnknownMemberId,
        "its session counts"
    );
}

#[test]
fn an_id_that_was_given_to_a_dynamic_member_is_not_taken_for_an_instance() {
    let mut world = World::new();
    let members = world.stable_group_of(vec![static_join("i", "")]);
    let reply = world.join(&join_request(""));
    let given = world.joined(reply).member_id.to_string();
    let reply = world.join(&static_join("i", &given));
    assert_eq!(world.join_error(reply), ErrorCode::UnknownServerError);
    assert_eq!(
        world.heartbeat(&members[0]),
        ErrorCode::None,
        "the instance is whose it was"
    );
    let reply = world.join(&join_request(&given));
    assert_eq!(world.told(reply), None, "the id still holds");
}
