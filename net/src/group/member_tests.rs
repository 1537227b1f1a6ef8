//! The member against a coordinator that says what the test wants.

use std::collections::BTreeMap;

use kafka_wire::join_group_response::JoinGroupResponseMember;
use kafka_wire::{JoinGroupResponse, SyncGroupResponse};

use super::member::{Committed, Member, MemberConfig, Todo};
use super::payload::{Assignment, encode_assignment, encode_subscription};
use crate::error_code::ErrorCode;

const HEARTBEAT_MS: u64 = 3_000;
const PAUSE_MS: u64 = 100;

fn config() -> MemberConfig {
    MemberConfig::new("g", vec!["t".to_owned()])
}

fn join_answer(code: ErrorCode, member_id: &str) -> JoinGroupResponse {
    let mut response = JoinGroupResponse::default();
    response.error_code = code.code();
    response.member_id = member_id.into();
    response
}

/// The member `m` in generation 1, with `others`; the first of all leads.
fn joined(others: &[&str], leader: &str) -> JoinGroupResponse {
    let mut response = join_answer(ErrorCode::None, "m");
    response.generation_id = 1;
    response.protocol_name = Some("range".into());
    response.leader = leader.into();
    if leader == "m" {
        let members = others.iter().chain(&["m"]).map(|id| {
            let mut member = JoinGroupResponseMember::default();
            member.member_id = (*id).into();
            member.metadata = encode_subscription(&["t"]).into();
            member
        });
        response.members = members.collect();
    }
    response
}

fn synced(partitions: &[i32]) -> SyncGroupResponse {
    let assignment = Assignment::from([("t".to_owned(), partitions.to_vec())]);
    let mut response = SyncGroupResponse::default();
    response.assignment = encode_assignment(&assignment).into();
    response
}

fn sync_refused(code: ErrorCode) -> SyncGroupResponse {
    let mut response = SyncGroupResponse::default();
    response.error_code = code.code();
    response
}

/// A follower that reads partition 0 since time 0.
fn stable(config: MemberConfig) -> Member {
    let mut member = Member::new(config);
    member.coordinator_found();
    member.joined(&joined(&[], "other"), 0);
    member.synced(&synced(&[0]), 0);
    assert_eq!(member.todo(0), Todo::Begin);
    member.begun();
    assert_eq!(
        member.todo(0),
        Todo::Wait {
            until_ms: HEARTBEAT_MS
        }
    );
    member
}

#[test]
fn a_newcomer_is_named_leads_and_begins() {
    let mut member = Member::new(config());
    assert_eq!(member.todo(0), Todo::FindCoordinator);
    member.coordinator_found();
    assert_eq!(member.todo(0), Todo::Join);
    assert_eq!(member.join_request(9).member_id.as_str(), "");
    member.joined(&join_answer(ErrorCode::MemberIdRequired, "m"), 0);
    assert_eq!(member.todo(0), Todo::Join);
    assert_eq!(member.join_request(9).member_id.as_str(), "m");
    member.joined(&joined(&["a"], "m"), 5);
    assert_eq!(member.todo(5), Todo::Assign);
    assert_eq!(member.topics_of_all(), ["t"]);
    member.assign(&BTreeMap::from([("t".to_owned(), 3)]));
    assert_eq!(member.todo(5), Todo::Sync);
    let request = member.sync_request(5);
    let shares: Vec<_> = request
        .assignments
        .iter()
        .map(|one| (one.member_id.as_str(), one.assignment.clone()))
        .collect();
    let share = |partitions: &[i32]| {
        let assignment = Assignment::from([("t".to_owned(), partitions.to_vec())]);
        bytes::Bytes::from(encode_assignment(&assignment))
    };
    assert_eq!(shares, [("a", share(&[0, 1])), ("m", share(&[2]))]);
    member.synced(&synced(&[2]), 10);
    assert_eq!(member.todo(10), Todo::Begin);
    assert_eq!(member.assignment()["t"], [2]);
    member.begun();
    assert_eq!(
        member.todo(10),
        Todo::Wait {
            until_ms: 10 + HEARTBEAT_MS
        }
    );
    assert_eq!(member.todo(10 + HEARTBEAT_MS), Todo::Heartbeat);
    assert_eq!(member.heartbeat_request(4).generation_id, 1);
    member.heartbeat_sent(3_500);
    member.heartbeat_answered(ErrorCode::None, 4_000);
    assert_eq!(member.todo(4_000), Todo::Wait { until_ms: 6_500 });
}

#[test]
fn what_the_coordinator_says_to_a_join_decides_the_next_step() {
    let table = [
        (ErrorCode::UnknownMemberId, Todo::Join, ""),
        (
            ErrorCode::RebalanceInProgress,
            Todo::Wait { until_ms: PAUSE_MS },
            "old",
        ),
        (
            ErrorCode::CoordinatorLoadInProgress,
            Todo::Wait { until_ms: PAUSE_MS },
            "old",
        ),
        (
            ErrorCode::NotCoordinator,
            Todo::Wait { until_ms: PAUSE_MS },
            "old",
        ),
        (
            ErrorCode::InconsistentGroupProtocol,
            Todo::End {
                refusal: Some(ErrorCode::InconsistentGroupProtocol),
            },
            "old",
        ),
        (
            ErrorCode::FencedInstanceId,
            Todo::End {
                refusal: Some(ErrorCode::FencedInstanceId),
            },
            "old",
        ),
    ];
    for (code, expected, member_id) in table {
        let mut member = Member::new(config());
        member.coordinator_found();
        member.joined(&join_answer(ErrorCode::MemberIdRequired, "old"), 0);
        member.joined(&join_answer(code, ""), 0);
        assert_eq!(member.todo(0), expected, "{code}");
        assert_eq!(member.member_id(), member_id, "{code}");
        if code == ErrorCode::NotCoordinator {
            assert_eq!(member.todo(PAUSE_MS), Todo::FindCoordinator);
        }
    }
}

#[test]
fn what_the_coordinator_says_to_a_sync_decides_the_next_step() {
    let table = [
        (ErrorCode::RebalanceInProgress, Todo::Join, "m"),
        (ErrorCode::IllegalGeneration, Todo::Join, "m"),
        (ErrorCode::UnknownMemberId, Todo::Join, ""),
        (
            ErrorCode::NotCoordinator,
            Todo::Wait { until_ms: PAUSE_MS },
            "m",
        ),
        (
            ErrorCode::GroupAuthorizationFailed,
            Todo::End {
                refusal: Some(ErrorCode::GroupAuthorizationFailed),
            },
            "m",
        ),
    ];
    for (code, expected, member_id) in table {
        let mut member = Member::new(config());
        member.coordinator_found();
        member.joined(&joined(&[], "other"), 0);
        assert_eq!(member.todo(0), Todo::Sync);
        assert!(member.sync_request(5).assignments.is_empty());
        member.synced(&sync_refused(code), 0);
        assert_eq!(member.todo(0), expected, "{code}");
        assert_eq!(member.member_id(), member_id, "{code}");
        assert_eq!(member.generation(), -1, "{code}");
    }
}

#[test]
fn partitions_are_given_up_before_a_member_joins_again() {
    // What a heartbeat is answered, whether a commit still makes sense, with which id it joins again.
    let table = [
        (ErrorCode::RebalanceInProgress, false, "m"),
        (ErrorCode::IllegalGeneration, true, "m"),
        (ErrorCode::UnknownMemberId, true, ""),
    ];
    for (code, lost, member_id) in table {
        let mut member = stable(config());
        member.heartbeat_answered(code, 10);
        assert_eq!(member.todo(10), Todo::Release { lost }, "{code}");
        member.released();
        assert_eq!(member.todo(10), Todo::Join, "{code}");
        assert!(member.assignment().is_empty(), "{code}");
        assert_eq!(member.join_request(9).member_id.as_str(), member_id);
    }
}

#[test]
fn a_coordinator_that_moves_takes_no_partitions_away() {
    let mut member = stable(config());
    member.heartbeat_answered(ErrorCode::NotCoordinator, 10);
    assert_eq!(
        member.todo(10),
        Todo::Wait {
            until_ms: 10 + PAUSE_MS
        }
    );
    assert_eq!(member.todo(10 + PAUSE_MS), Todo::FindCoordinator);
    member.refused(ErrorCode::CoordinatorNotAvailable, 200);
    assert_eq!(member.todo(200 + PAUSE_MS), Todo::FindCoordinator);
    member.coordinator_found();
    assert_eq!(member.todo(HEARTBEAT_MS), Todo::Heartbeat);
    assert_eq!(member.assignment()["t"], [0]);
    // An answer that never came leaves it open whether the Sync counted.
    let mut member = Member::new(config());
    member.coordinator_found();
    member.joined(&joined(&[], "other"), 0);
    member.disconnected(0);
    member.coordinator_found();
    assert_eq!(member.todo(PAUSE_MS), Todo::Join);
}

#[test]
fn commits_tell_what_became_of_them_and_of_the_membership() {
    let table = [
        (ErrorCode::None, Committed::Done, None),
        (
            ErrorCode::CoordinatorLoadInProgress,
            Committed::Later,
            Some(Todo::Wait { until_ms: PAUSE_MS }),
        ),
        (
            ErrorCode::RebalanceInProgress,
            Committed::Lost,
            Some(Todo::Release { lost: false }),
        ),
        (
            ErrorCode::UnknownMemberId,
            Committed::Lost,
            Some(Todo::Release { lost: true }),
        ),
        (
            ErrorCode::OffsetMetadataTooLarge,
            Committed::Refused(ErrorCode::OffsetMetadataTooLarge),
            None,
        ),
    ];
    for (code, expected, todo) in table {
        let mut member = stable(config());
        assert_eq!(member.commit_answered(code, 0), expected, "{code}");
        let unchanged = Todo::Wait {
            until_ms: HEARTBEAT_MS,
        };
        assert_eq!(member.todo(0), todo.unwrap_or(unchanged), "{code}");
    }
    // While it gives up its partitions, a commit can make that a loss, and nothing more.
    let mut member = stable(config());
    member.heartbeat_answered(ErrorCode::RebalanceInProgress, 0);
    member.commit_answered(ErrorCode::UnknownMemberId, 0);
    assert_eq!(member.todo(0), Todo::Release { lost: true });
}

#[test]
fn whoever_stops_gives_up_its_partitions_first_and_then_leaves() {
    let mut member = stable(config());
    member.stop();
    assert_eq!(member.todo(0), Todo::Release { lost: false });
    member.released();
    assert_eq!(member.todo(0), Todo::Leave);
    assert_eq!(member.leave_request(5).members[0].member_id.as_str(), "m");
    member.left();
    assert_eq!(member.todo(0), Todo::End { refusal: None });

    let mut never_joined = Member::new(config());
    never_joined.stop();
    assert_eq!(never_joined.todo(0), Todo::End { refusal: None });

    // An id alone is a place in the group that others would wait for.
    let mut named = Member::new(config());
    named.coordinator_found();
    named.joined(&join_answer(ErrorCode::MemberIdRequired, "m"), 0);
    named.stop();
    assert_eq!(named.todo(0), Todo::Leave);

    let mut lasting = config();
    lasting.instance_id = Some("i".to_owned());
    let mut lasting = stable(lasting);
    lasting.stop();
    lasting.released();
    assert_eq!(lasting.todo(0), Todo::End { refusal: None });
}

#[test]
fn a_leader_gathers_its_group_when_a_topic_grows() {
    let lead = |count| {
        let mut member = Member::new(config());
        member.coordinator_found();
        member.joined(&joined(&[], "m"), 0);
        member.assign(&BTreeMap::from([("t".to_owned(), count)]));
        member.synced(&synced(&[0]), 0);
        member.begun();
        member
    };
    let counts = |count| BTreeMap::from([("t".to_owned(), count)]);
    let mut leader = lead(1);
    leader.partitions_seen(&counts(1));
    assert_eq!(
        leader.todo(0),
        Todo::Wait {
            until_ms: HEARTBEAT_MS
        }
    );
    leader.partitions_seen(&counts(2));
    assert_eq!(leader.todo(0), Todo::Release { lost: false });
    let mut follower = stable(config());
    follower.partitions_seen(&counts(2));
    assert_eq!(
        follower.todo(0),
        Todo::Wait {
            until_ms: HEARTBEAT_MS
        }
    );
}
