//! Listing, describing and deleting groups.

use corelane_net::error_code::ErrorCode;
use kafka_wire::ListGroupsRequest;

use super::commits::commit_request;
use super::world::{SUBSCRIPTION, World, join_request};
use crate::group::{Shard, Step};

fn listed(world: &World, states: &[&str], types: &[&str]) -> Vec<String> {
    let mut request = ListGroupsRequest::default();
    request.states_filter = states.iter().map(|one| (*one).into()).collect();
    request.types_filter = types.iter().map(|one| (*one).into()).collect();
    let groups = world.shard.list(&request);
    groups
        .iter()
        .map(|group| {
            format!(
                "{} {:?} {} {}",
                group.group_id, &*group.protocol_type, group.group_state, group.group_type
            )
        })
        .collect()
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut world = World::new();
    let mut other = commit_request("t", &[(0, 1)]);
    other.group_id = "simple".into();
    world.commit(&other);
    world.stable_group(1);
    let (stable, simple) = ("g \"consumer\" Stable classic", "simple \"\" Empty classic");
    assert_eq!(listed(&world, &[], &[]), [stable, simple]);
    assert_eq!(listed(&world, &["stable"], &[]), [stable]);
    assert_eq!(listed(&world, &["Empty", "Dead"], &["Classic"]), [simple]);
    assert_eq!(listed(&world, &[], &["consumer"]), Vec::<String>::new());
}

#[test]
fn a_stable_group_is_described_with_what_its_members_own() {
    let mut world = World::new();
    let members = world.stable_group(2);
    let described = world.shard.describe("g", 6, true);
    assert_eq!(
        (described.error_code, &*described.group_state),
        (0, "Stable")
    );
    assert_eq!(
        (&*described.protocol_type, &*described.protocol_data),
        ("consumer", "range")
    );
    assert_eq!(described.authorized_operations, 3400);
    assert_eq!(described.members.len(), 2);
    for member in &described.members {
        assert_eq!(
            (&*member.client_id, &*member.client_host),
            ("client", "/127.0.0.1")
        );
        assert_eq!(&member.member_metadata[..], SUBSCRIPTION);
        let own = format!("for {}", member.member_id);
        assert_eq!(&member.member_assignment[..], own.as_bytes());
    }
    world.join(&members[0].join());
    let described = world.shard.describe("g", 6, false);
    assert_eq!(&*described.group_state, "PreparingRebalance");
    assert_eq!(
        (&*described.protocol_type, &*described.protocol_data),
        ("consumer", "")
    );
    assert_eq!(described.authorized_operations, i32::MIN);
    assert!(
        described
            .members
            .iter()
            .all(|one| one.member_assignment.is_empty())
    );
}

#[test]
fn a_group_that_does_not_exist_is_dead_and_since_version_6_an_error() {
    let world = World::new();
    let described = world.shard.describe("g", 5, false);
    assert_eq!((described.error_code, &*described.group_state), (0, "Dead"));
    let described = world.shard.describe("g", 6, false);
    assert_eq!(described.error_code, ErrorCode::GroupIdNotFound.code());
    assert_eq!(&*described.group_state, "Dead");
    assert_eq!(
        described.error_message.as_deref(),
        Some("Group g not found.")
    );
}

#[test]
fn only_a_group_without_members_is_deleted_and_then_it_stays_so() {
    let mut world = World::new();
    let delete = |shard: &mut Shard, step: &mut Step<'_>| shard.delete_group(step, "g");
    assert_eq!(world.step(delete), Err(ErrorCode::GroupIdNotFound));
    let members = world.stable_group(1);
    assert_eq!(world.step(delete), Err(ErrorCode::NonEmptyGroup));
    world.pass(10_001);
    assert_eq!(world.heartbeat(&members[0]), ErrorCode::UnknownMemberId);
    world.commit(&commit_request("t", &[(0, 5)]));
    // An id that was given is no member.
    world.join(&join_request(""));
    assert_eq!(world.step(delete), Ok(()));
    assert_eq!(
        (world.shard.groups_count(), world.shard.next_alarm_ms()),
        (0, None)
    );
    world.crash(0);
    assert_eq!(
        (world.shard.groups_count(), world.budget.used_bytes()),
        (0, 0)
    );
}
