//! Joining, syncing, living and leaving: what Kafka answers in each state.

use corelane_net::error_code::ErrorCode;
use kafka_wire::leave_group_request::MemberIdentity;
use kafka_wire::{JoinGroupRequest, LeaveGroupRequest};

use super::world::{Member, World, assignment, join_request, protocol, static_join};

type Spoil<T> = fn(&mut T);

fn leave_request(ids: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let mut request = LeaveGroupRequest::default();
    request.group_id = "g".into();
    request.members = ids
        .iter()
        .map(|(id, instance)| {
            let mut identity = MemberIdentity::default();
            identity.member_id = (*id).into();
            identity.group_instance_id = instance.map(Into::into);
            identity
        })
        .collect();
    request
}

fn leave(world: &mut World, ids: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
    let request = leave_request(ids);
    let response = world.step_in(|shard, step, image| shard.leave(step, &request, 5, image));
    assert_eq!(response.error_code, 0);
    response
        .members
        .iter()
        .map(|member| ErrorCode::from_wire(member.error_code))
        .collect()
}

fn state(world: &World) -> String {
    world.shard.describe("g", 5, false).group_state.to_string()
}

#[test]
fn a_member_id_is_required_since_version_4_and_of_dynamic_members_only() {
    for (version, instance, required) in [
        (0, None, false),
        (3, None, false),
        (4, None, true),
        (9, None, true),
        (5, Some("i"), false),
        (9, Some("i"), false),
    ] {
        let mut world = World::new();
        let mut request = join_request("");
        request.group_instance_id = instance.map(Into::into);
        let reply = world.join_in(&request, version);
        if required {
            let response = world.joined(reply);
            assert_eq!(response.error_code, ErrorCode::MemberIdRequired.code());
            assert!(response.member_id.starts_with("client-"), "{response:?}");
            assert_eq!(response.generation_id, -1);
            assert_eq!(state(&world), "Empty");
        } else {
            assert_eq!(
                world.told(reply),
                None,
                "version {version} waits for others"
            );
            assert_eq!(state(&world), "PreparingRebalance");
        }
    }
}

#[test]
fn the_first_rebalance_waits_for_more_and_longer_while_they_come() {
    let mut world = World::new();
    let delay_ms = world.config.initial_rebalance_delay_ms;
    let first = world.join_in(&join_request(""), 3);
    world.pass(delay_ms - 1);
    let second = world.join_in(&join_request(""), 3);
    world.pass(1);
    assert_eq!(world.told(first), None, "somebody came, so it waits on");
    world.pass(delay_ms);
    let (first, second) = (world.joined(first), world.joined(second));
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!(first.leader, first.member_id);
    assert_eq!(second.leader, first.member_id);
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    assert_eq!(first.protocol_name.as_deref(), Some("range"));
    assert_eq!(first.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(state(&world), "CompletingRebalance");
}

#[test]
fn without_a_delay_the_first_member_begins_at_once() {
    let mut world = World::new();
    let mut config = world.config.clone();
    config.initial_rebalance_delay_ms = 0;
    world = World::with(config);
    let reply = world.join_in(&join_request(""), 3);
    world.pass(0);
    assert_eq!(world.joined(reply).generation_id, 1);
}

#[test]
fn what_is_wrong_with_a_join_is_told() {
    let mut world = World::new();
    let table: &[(&str, Spoil<JoinGroupRequest>, ErrorCode)] = &[
        (
            "no group",
            |r| r.group_id = "".into(),
            ErrorCode::InvalidGroupId,
        ),
        (
            "short session",
            |r| r.session_timeout_ms = 5_999,
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            "long session",
            |r| r.session_timeout_ms = 1_800_001,
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            "a member of no group",
            |r| r.member_id = "x".into(),
            ErrorCode::UnknownMemberId,
        ),
        (
            "no protocol",
            |r| r.protocols.clear(),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "no type",
            |r| r.protocol_type = "".into(),
            ErrorCode::InconsistentGroupProtocol,
        ),
    ];
    for (what, spoil, expected) in table {
        let mut request = join_request("");
        spoil(&mut request);
        let reply = world.join(&request);
        assert_eq!(world.join_error(reply), *expected, "{what}");
    }
    assert_eq!(world.shard.groups_count(), 0, "nobody made a group");
    assert_eq!(world.budget.used_bytes(), 0);
}

#[test]
fn all_members_of_a_group_have_a_protocol_in_common() {
    let mut world = World::new();
    world.stable_group(1);
    let mut other_type = join_request("");
    other_type.protocol_type = "connect".into();
    let reply = world.join(&other_type);
    assert_eq!(
        world.join_error(reply),
        ErrorCode::InconsistentGroupProtocol
    );
    let mut other_protocol = join_request("");
    other_protocol.protocols = vec![protocol("sticky", b"")];
    let reply = world.join(&other_protocol);
    assert_eq!(
        world.join_error(reply),
        ErrorCode::InconsistentGroupProtocol
    );
}

#[test]
fn the_protocol_that_most_like_best_wins_among_those_that_all_offer() {
    let mut world = World::new();
    let offers: [&[&str]; 3] = [&["a", "range", "b"], &["range", "b"], &["b", "range"]];
    let replies: Vec<_> = offers
        .iter()
        .map(|names| {
            let mut request = join_request("");
            request.protocols = names
                .iter()
                .map(|name| protocol(name, name.as_bytes()))
                .collect();
            world.join_in(&request, 3)
        })
        .collect();
    world.pass(60_000);
    for reply in replies {
        let response = world.joined(reply);
        assert_eq!(response.protocol_name.as_deref(), Some("range"));
        for member in response.members {
            assert_eq!(&member.metadata[..], b"range");
        }
    }
}

#[test]
fn a_new_member_makes_all_join_anew_and_who_does_not_is_out() {
    let mut world = World::new();
    let members = world.stable_group(2);
    let given = world.join(&join_request(""));
    let given = world.joined(given).member_id.to_string();
    assert_eq!(
        world.heartbeat(&members[0]),
        ErrorCode::None,
        "an id alone changes nothing"
    );
    let newcomer = world.join(&join_request(&given));
    assert_eq!(world.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
    assert_eq!(state(&world), "PreparingRebalance");
    let again = world.join(&members[0].join());
    for _ in 0..12 {
        // The other one lives, but does not join.
        world.pass(4_900);
        assert_eq!(world.heartbeat(&members[1]), ErrorCode::RebalanceInProgress);
    }
    world.pass(1_300);
    let newcomer = world.joined(newcomer);
    assert_eq!((newcomer.error_code, newcomer.generation_id), (0, 2));
    assert_eq!(world.joined(again).members.len(), 2);
    assert_eq!(world.heartbeat(&members[1]), ErrorCode::UnknownMemberId);
}

#[test]
fn a_silent_member_is_out_and_the_others_rebalance() {
    let mut world = World::new();
    let members = world.stable_group(2);
    for _ in 0..3 {
        world.pass(4_000);
        world.heartbeat(&members[0]);
    }
    assert_eq!(world.heartbeat(&members[1]), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
    let reply = world.join(&members[0].join());
    assert_eq!(
        world.joined(reply).generation_id,
        2,
        "nobody else to wait for"
    );
}

#[test]
fn an_id_that_is_not_used_is_forgotten() {
    let mut world = World::new();
    let reply = world.join(&join_request(""));
    let id = world.joined(reply).member_id.to_string();
    world.pass(10_001);
    let reply = world.join(&join_request(&id));
    assert_eq!(world.join_error(reply), ErrorCode::UnknownMemberId);
    assert_eq!(
        world.shard.groups_count(),
        0,
        "a group that was never used leaves nothing"
    );
    assert_eq!((world.budget.used_bytes(), world.log.batches.len()), (0, 0));
}

#[test]
fn generations_and_members_are_checked_in_every_request() {
    let mut world = World::new();
    let members = world.stable_group(1);
    let table: [(&str, Spoil<Member>, ErrorCode); 3] = [
        (
            "stranger",
            |m| m.id = "x".into(),
            ErrorCode::UnknownMemberId,
        ),
        ("older", |m| m.generation = 0, ErrorCode::IllegalGeneration),
        ("newer", |m| m.generation = 2, ErrorCode::IllegalGeneration),
    ];
    for (what, spoil, expected) in table {
        let mut member = members[0].clone();
        spoil(&mut member);
        assert_eq!(world.heartbeat(&member), expected, "{what}");
        let reply = world.sync(&member.sync(Vec::new()));
        assert_eq!(world.sync_error(reply), expected, "{what}");
    }
    let mut request = members[0].sync(Vec::new());
    request.protocol_name = Some("sticky".into());
    let reply = world.sync(&request);
    assert_eq!(
        world.sync_error(reply),
        ErrorCode::InconsistentGroupProtocol
    );
    let mut request = members[0].heartbeat();
    request.group_id = "".into();
    let code = world.step_in(|shard, step, image| shard.heartbeat(step, &request, image));
    assert_eq!(code, ErrorCode::InvalidGroupId);
    request.group_id = "nowhere".into();
    let code = world.step_in(|shard, step, image| shard.heartbeat(step, &request, image));
    assert_eq!(code, ErrorCode::UnknownMemberId);
}

#[test]
fn assignments_go_out_when_they_are_durable() {
    let mut world = World::new();
    let first = world.join_in(&join_request(""), 3);
    let second = world.join_in(&join_request(""), 3);
    world.pass(9_000);
    let leader = Member::of(&world.joined(first), &join_request(""));
    let follower = Member::of(&world.joined(second), &join_request(""));
    world.flushes_at_once = false;
    let waiting = world.sync(&follower.sync(Vec::new()));
    let given = vec![
        assignment(&leader.id, b"one"),
        assignment(&follower.id, b"two"),
    ];
    let leading = world.sync(&leader.sync(given));
    assert_eq!(world.told(waiting), None);
    assert_eq!(world.told(leading), None);
    let end = world.log.batches.len();
    world.flush(end);
    assert_eq!(&world.synced(leading).assignment[..], b"one");
    assert_eq!(&world.synced(waiting).assignment[..], b"two");
    let again = world.sync(&follower.sync(Vec::new()));
    assert_eq!(&world.synced(again).assignment[..], b"two");
}

#[test]
fn an_assignment_that_cannot_be_recorded_makes_all_join_anew() {
    let mut world = World::new();
    let members = world.stable_group(2);
    let replies = [
        world.join(&members[0].join()),
        world.join(&members[1].join()),
    ];
    let joined: Vec<Member> = replies
        .into_iter()
        .map(|reply| Member::of(&world.joined(reply), &join_request("")))
        .collect();
    let waiting = world.sync(&joined[1].sync(Vec::new()));
    world.log.refuses = Some(ErrorCode::NotCoordinator);
    let leading = world.sync(&joined[0].sync(Vec::new()));
    assert_eq!(world.sync_error(waiting), ErrorCode::NotCoordinator);
    assert_eq!(world.sync_error(leading), ErrorCode::NotCoordinator);
    assert_eq!(state(&world), "PreparingRebalance");
    world.log.refuses = None;
    let replies = [world.join(&joined[0].join()), world.join(&joined[1].join())];
    for reply in replies {
        assert_eq!(world.joined(reply).generation_id, 3);
    }
}

#[test]
fn who_does_not_ask_for_its_assignment_is_out() {
    let mut world = World::new();
    let first = world.join_in(&join_request(""), 3);
    let second = world.join_in(&join_request(""), 3);
    world.pass(9_000);
    let leader = Member::of(&world.joined(first), &join_request(""));
    let follower = Member::of(&world.joined(second), &join_request(""));
    let reply = world.sync(&leader.sync(Vec::new()));
    assert_eq!(
        &world.synced(reply).assignment[..],
        b"",
        "the leader left it out"
    );
    for _ in 0..15 {
        world.pass(4_000);
        world.heartbeat(&leader);
        world.heartbeat(&follower);
    }
    assert_eq!(world.heartbeat(&follower), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&leader), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_rebalance_calls_back_who_waits_for_an_assignment() {
    let mut world = World::new();
    let first = world.join_in(&join_request(""), 3);
    let second = world.join_in(&join_request(""), 3);
    world.pass(9_000);
    world.joined(first);
    let follower = Member::of(&world.joined(second), &join_request(""));
    let waiting = world.sync(&follower.sync(Vec::new()));
    let newcomer = world.join_in(&join_request(""), 3);
    assert_eq!(world.sync_error(waiting), ErrorCode::RebalanceInProgress);
    let again = world.join(&follower.join());
    world.pass(60_000);
    assert_eq!(world.joined(again).generation_id, 2);
    assert_eq!(world.joined(newcomer).generation_id, 2);
}

#[test]
fn joining_again_without_a_change_gives_the_generation_that_stands() {
    let mut world = World::new();
    let members = world.stable_group(2);
    let reply = world.join(&members[1].join());
    let response = world.joined(reply);
    assert_eq!((response.generation_id, response.members.len()), (1, 0));
    assert_eq!(state(&world), "Stable");
    let mut changed = members[1].join();
    changed.protocols = vec![protocol("range", b"other")];
    let reply = world.join(&changed);
    assert_eq!(world.told(reply), None);
    assert_eq!(state(&world), "PreparingRebalance");
    let reply = world.join(&members[0].join());
    assert_eq!(world.joined(reply).generation_id, 2);
    // The leader of a stable group asks for a rebalance by joining.
    let mut world = World::new();
    let members = world.stable_group(2);
    let reply = world.join(&members[0].join());
    assert_eq!(world.told(reply), None);
    assert_eq!(state(&world), "PreparingRebalance");
}

#[test]
fn members_leave_one_by_one_or_together() {
    let mut world = World::new();
    let members = world.stable_group(3);
    let pending = world.join(&join_request(""));
    let pending = world.joined(pending).member_id.to_string();
    let outcomes = leave(
        &mut world,
        &[
            (&members[1].id, None),
            ("x", None),
            (&pending, None),
            ("", None),
            ("", Some("i")),
        ],
    );
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(
        outcomes,
        [ErrorCode::None, unknown, ErrorCode::None, unknown, unknown]
    );
    assert_eq!(world.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
    let mut single = LeaveGroupRequest::default();
    single.group_id = "g".into();
    single.member_id = members[2].id.as_str().into();
    let response = world.step_in(|shard, step, image| shard.leave(step, &single, 2, image));
    assert_eq!((response.error_code, response.members.len()), (0, 0));
    let response = world.step_in(|shard, step, image| shard.leave(step, &single, 0, image));
    assert_eq!(response.error_code, unknown.code());
    single.group_id = "nowhere".into();
    let response = world.step_in(|shard, step, image| shard.leave(step, &single, 5, image));
    assert_eq!(response.error_code, unknown.code());
}

#[test]
fn a_group_that_everybody_left_keeps_its_generation() {
    let mut world = World::new();
    let members = world.stable_group(1);
    assert_eq!(
        leave(&mut world, &[(&members[0].id, None)]),
        [ErrorCode::None]
    );
    assert_eq!(state(&world), "Empty");
    world.crash(0);
    assert_eq!(state(&world), "Empty");
    let next = world.stable_group(1);
    assert!(
        next[0].generation > members[0].generation + 1,
        "the empty one has a number too"
    );
}

#[test]
fn members_go_on_after_a_crash_until_their_sessions_end() {
    let mut world = World::new();
    let members = world.stable_group(2);
    world.crash(0);
    assert_eq!(state(&world), "Stable");
    world.pass(9_999);
    assert_eq!(world.heartbeat(&members[0]), ErrorCode::None);
    let reply = world.sync(&members[0].sync(Vec::new()));
    let own = format!("for {}", members[0].id);
    assert_eq!(&world.synced(reply).assignment[..], own.as_bytes());
    world.pass(2);
    assert_eq!(world.heartbeat(&members[1]), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_join_that_is_sent_again_takes_the_place_of_the_first() {
    let mut world = World::new();
    let members = world.stable_group(2);
    let mut changed = members[1].join();
    changed.protocols = vec![protocol("range", b"other")];
    let first = world.join(&changed);
    let second = world.join(&changed);
    assert_eq!(world.join_error(first), ErrorCode::RebalanceInProgress);
    let reply = world.join(&members[0].join());
    assert_eq!(world.joined(second).generation_id, 2);
    assert_eq!(world.joined(reply).generation_id, 2);
}

#[test]
fn a_new_member_without_an_id_is_not_waited_for_for_ever() {
    let mut world = World::new();
    let members = world.stable_group_of(vec![static_join("i", "")]);
    let newcomer = world.join_in(&join_request(""), 3);
    // The static member is alive but never joins; its rebalance timeout ends the wait.
    world.pass(9_000);
    assert_eq!(world.told(newcomer), None);
    for _ in 0..6 {
        world.heartbeat(&members[0]);
        world.pass(9_000);
    }
    assert_eq!(world.joined(newcomer).generation_id, 2);
    world.step_in(crate::group::Shard::elapse);
}
