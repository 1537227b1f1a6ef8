//! Group requests that are wrong, stale or too large, over real connections: Kafka's error to the number, bounded memory,
//! and a group beside them that goes on.

mod support;

use bytes::Bytes;
use kafka_wire::{
    ConsumerGroupHeartbeatRequest, DeleteTopicsRequest, FindCoordinatorRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest, leave_group_request::MemberIdentity,
};
use support::{
    admin::create_topic,
    groups::{
        COORDINATOR_NOT_AVAILABLE, MEMBER_ID_REQUIRED, commit, commit_request, connect,
        fetch_offset, heartbeat_request, join, join_request, sync, sync_request,
    },
    server::{Listen, Server, is_kafka},
    wire::Connection,
};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const OFFSET_METADATA_TOO_LARGE: i16 = 12;
const ILLEGAL_GENERATION: i16 = 22;
const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
const INVALID_GROUP_ID: i16 = 24;
const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_SESSION_TIMEOUT: i16 = 26;
const INVALID_REQUEST: i16 = 42;
const GROUP_ID_NOT_FOUND: i16 = 69;
const FENCED_INSTANCE_ID: i16 = 82;
const FENCED_MEMBER_EPOCH: i16 = 110;
const UNSUPPORTED_ASSIGNOR: i16 = 112;

/// A server may grow by this much, and its groups by far less.
const GROWTH_MAX_BYTES: u64 = 64 << 20;
const SETTINGS: &[&str] = &[
    "group.initial.rebalance.delay.ms=0",
    "lane_group_bytes=1048576",
];

/// A server, and a member of a group that nothing may disturb.
struct Bystander {
    server: Server,
    connection: Connection,
    membership: JoinGroupResponse,
    committed: i64,
}

impl Bystander {
    fn start(name: &str) -> Self {
        let settings = if is_kafka() { &SETTINGS[..1] } else { SETTINGS };
        let server = Server::start_with(name, Listen::Shared, 1, settings);
        create_topic(server.bootstrap(), "t", 1, &[]);
        let mut connection = connect(&server, "good");
        let membership = join(&mut connection, &join_request("good", ""));
        assert_eq!(membership.error_code, 0);
        assert_eq!(sync(&mut connection, "good", &membership).error_code, 0);
        let mut bystander = Self {
            server,
            connection,
            membership,
            committed: 0,
        };
        bystander.assert_undisturbed("at the start");
        bystander
    }

    fn assert_undisturbed(&mut self, when: &str) {
        self.server.assert_alive();
        let beat = heartbeat_request("good", &self.membership);
        let answer = self.connection.exchange(&beat, 4);
        assert_eq!(answer.error_code, 0, "{when}: heartbeat");
        self.committed += 1;
        let (connection, by) = (&mut self.connection, Some(&self.membership));
        let code = commit(connection, "good", "t", self.committed, by);
        assert_eq!(code, 0, "{when}: commit");
        assert_eq!(fetch_offset(connection, "good", "t"), self.committed);
    }

    /// Also after a crash.
    fn finish(mut self) {
        self.assert_undisturbed("at the end");
        self.server.kill_9();
        self.server.start_again();
        self.connection = connect(&self.server, "good");
        let found = fetch_offset(&mut self.connection, "good", "t");
        assert_eq!(found, self.committed, "after a crash");
        self.assert_undisturbed("after a crash");
    }
}

fn member(id: &str) -> JoinGroupResponse {
    let mut member = JoinGroupResponse::default();
    member.member_id = id.into();
    member.generation_id = 1;
    member
}

/// What each group request of that member is answered: heartbeat, synchronisation, commit, leave.
fn answers(connection: &mut Connection, group: &str, by: &JoinGroupResponse) -> [i16; 4] {
    let beat = connection.exchange(&heartbeat_request(group, by), 4);
    let mut request = SyncGroupRequest::default();
    request.group_id = group.into();
    request.generation_id = by.generation_id;
    request.member_id = by.member_id.clone();
    request.protocol_type = Some("consumer".into());
    request.protocol_name = Some("range".into());
    let synced = connection.exchange(&request, 5);
    let committed = commit(connection, group, "t", 99, Some(by));
    let mut identity = MemberIdentity::default();
    identity.member_id = by.member_id.clone();
    let mut request = LeaveGroupRequest::default();
    request.group_id = group.into();
    request.members = vec![identity];
    let left = connection.exchange(&request, 5);
    // Of a group that does not exist the answer as a whole says so.
    let left = left
        .members
        .first()
        .map_or(left.error_code, |one| one.error_code);
    [beat.error_code, synced.error_code, committed, left]
}

#[test]
fn unknown_members_and_stale_generations_are_told_so() {
    let mut bystander = Bystander::start("bad-groups-members");
    let mut connection = connect(&bystander.server, "good");
    assert_eq!(
        answers(&mut connection, "good", &member("nobody")),
        [UNKNOWN_MEMBER_ID; 4]
    );
    let nowhere = [
        UNKNOWN_MEMBER_ID,
        UNKNOWN_MEMBER_ID,
        GROUP_ID_NOT_FOUND,
        UNKNOWN_MEMBER_ID,
    ];
    assert_eq!(
        answers(&mut connection, "nowhere", &member("nobody")),
        nowhere
    );
    let joined = connection.exchange(&join_request("good", "nobody"), 9);
    assert_eq!(joined.error_code, UNKNOWN_MEMBER_ID);
    bystander.assert_undisturbed("after unknown members");

    let current = bystander.membership.generation_id;
    for generation in [current - 1, current + 1, i32::MAX] {
        let mut stale = bystander.membership.clone();
        stale.generation_id = generation;
        let beat = connection.exchange(&heartbeat_request("good", &stale), 4);
        let synced = connection.exchange(&sync_request("good", &stale), 5);
        let committed = commit(&mut connection, "good", "t", 99, Some(&stale));
        assert_eq!(
            [beat.error_code, synced.error_code, committed],
            [ILLEGAL_GENERATION; 3],
            "generation {generation}"
        );
    }
    // Who is no member may not commit while there are some.
    assert_eq!(
        commit(&mut connection, "good", "t", 99, None),
        UNKNOWN_MEMBER_ID
    );
    bystander.assert_undisturbed("after stale generations");

    let mut request = join_request("static", "");
    request.group_instance_id = Some("instance".into());
    let first = connection.exchange(&request, 9);
    let second = connection.exchange(&request, 9);
    assert_eq!((first.error_code, second.error_code), (0, 0));
    let mut fenced = heartbeat_request("static", &first);
    fenced.group_instance_id = Some("instance".into());
    fenced.generation_id = second.generation_id;
    let beat = connection.exchange(&fenced, 4);
    assert_eq!(beat.error_code, FENCED_INSTANCE_ID);
    bystander.finish();
}

#[test]
fn wrong_protocols_are_inconsistent() {
    type Spoil = fn(&mut JoinGroupRequest);
    let mut bystander = Bystander::start("bad-groups-protocols");
    let mut connection = connect(&bystander.server, "good");
    let table: [(&str, Spoil, i16); 8] = [
        (
            "another type",
            |r| r.protocol_type = "connect".into(),
            INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            "no type",
            |r| r.protocol_type = "".into(),
            INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            "no protocol",
            |r| r.protocols.clear(),
            INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            "no protocol of the group's",
            |r| r.protocols[0].name = "of-mine".into(),
            INCONSISTENT_GROUP_PROTOCOL,
        ),
        ("no group", |r| r.group_id = "".into(), INVALID_GROUP_ID),
        (
            "a short session",
            |r| r.session_timeout_ms = 5_999,
            INVALID_SESSION_TIMEOUT,
        ),
        (
            "a long session",
            |r| r.session_timeout_ms = i32::MAX,
            INVALID_SESSION_TIMEOUT,
        ),
        (
            "a session that never was",
            |r| r.session_timeout_ms = -1,
            INVALID_SESSION_TIMEOUT,
        ),
    ];
    for (what, spoil, expected) in table {
        let mut request = join_request("good", "");
        spoil(&mut request);
        // Before version 4 the first request is the one that joins.
        let answer = connection.exchange(&request, 3);
        assert_eq!(answer.error_code, expected, "{what}");
        bystander.assert_undisturbed(what);
    }
    for (kind, name) in [("connect", "range"), ("consumer", "of-mine")] {
        let mut request = sync_request("good", &bystander.membership);
        request.protocol_type = Some(kind.into());
        request.protocol_name = Some(name.into());
        let answer = connection.exchange(&request, 5);
        assert_eq!(answer.error_code, INCONSISTENT_GROUP_PROTOCOL, "{kind}");
    }
    bystander.finish();
}

fn consumer(group: &str) -> ConsumerGroupHeartbeatRequest {
    let mut request = ConsumerGroupHeartbeatRequest::default();
    request.group_id = group.into();
    request.member_id = "member".into();
    request.rebalance_timeout_ms = 60_000;
    request.subscribed_topic_names = Some(vec!["t".into()]);
    request.topic_partitions = Some(Vec::new());
    request
}

#[test]
fn consumer_groups_check_members_epochs_and_protocols() {
    let mut bystander = Bystander::start("bad-groups-consumers");
    let mut connection = connect(&bystander.server, "new");
    let joined = connection.exchange(&consumer("new"), 1);
    assert_eq!((joined.error_code, joined.member_epoch), (0, 1));
    let cases: [(&str, i32, &str, i16); 4] = [
        ("new", 1, "nobody", UNKNOWN_MEMBER_ID),
        ("new", 7, "member", FENCED_MEMBER_EPOCH),
        ("new", -3, "member", INVALID_REQUEST),
        ("nowhere", 1, "member", GROUP_ID_NOT_FOUND),
    ];
    for (group, epoch, id, expected) in cases {
        let mut request = ConsumerGroupHeartbeatRequest::default();
        request.group_id = group.into();
        request.member_id = id.into();
        request.member_epoch = epoch;
        request.rebalance_timeout_ms = -1;
        let answer = connection.exchange(&request, 1);
        assert_eq!(answer.error_code, expected, "{group} {epoch} {id}");
    }
    let mut assignor = consumer("other");
    assignor.server_assignor = Some("of-mine".into());
    let answer = connection.exchange(&assignor, 1);
    assert_eq!(answer.error_code, UNSUPPORTED_ASSIGNOR);
    // A classic member of another type finds a group that is none of its own, and neither is the other's.
    let mut foreign = join_request("new", "");
    foreign.protocol_type = "connect".into();
    let answer = connection.exchange(&foreign, 3);
    assert_eq!(answer.error_code, INCONSISTENT_GROUP_PROTOCOL);
    let mut workers = join_request("workers", "");
    workers.protocol_type = "connect".into();
    assert_eq!(connection.exchange(&workers, 3).error_code, 0);
    let answer = connection.exchange(&consumer("workers"), 1);
    assert_eq!(answer.error_code, GROUP_ID_NOT_FOUND);
    bystander.assert_undisturbed("after consumers of the new protocol");
    bystander.finish();
}

#[test]
fn oversized_metadata_and_assignments_are_refused_and_take_no_memory() {
    let mut bystander = Bystander::start("bad-groups-sizes");
    let mut connection = connect(&bystander.server, "good");
    let before = bystander.server.resident_bytes();
    // A text that is kept with an offset: 4096 characters, whatever they are.
    for (length, expected) in [(4_096, 0), (4_097, OFFSET_METADATA_TOO_LARGE)] {
        let mut request = commit_request("good", "t", 50, Some(&bystander.membership));
        let text = "ä".repeat(length);
        request.topics[0].partitions[0].committed_metadata = Some(text.into());
        let answer = connection.exchange(&request, 9);
        assert_eq!(answer.topics[0].partitions[0].error_code, expected);
    }
    bystander.committed = 50;
    bystander.assert_undisturbed("after long texts");
    if is_kafka() {
        return bystander.finish();
    }
    let large = Bytes::from(vec![7; 2 << 20]);
    for round in 0..20 {
        let mut request = join_request(&format!("large-{round}"), "");
        request.protocols[0].metadata = large.clone();
        let answer = connection.exchange(&request, 3);
        assert_eq!(answer.error_code, COORDINATOR_NOT_AVAILABLE);
    }
    bystander.assert_undisturbed("after large metadata");
    let leader = connection.exchange(&join_request("assigned", ""), 3);
    assert_eq!(leader.error_code, 0);
    let mut request = sync_request("assigned", &leader);
    request.assignments[0].assignment = large;
    (request.protocol_type, request.protocol_name) = (None, None);
    let answer = connection.exchange(&request, 4);
    assert_eq!(answer.error_code, COORDINATOR_NOT_AVAILABLE);
    bystander.assert_undisturbed("after a large assignment");
    let growth = bystander.server.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX_BYTES, "memory grew by {growth} bytes");
    bystander.finish();
}

#[test]
fn thousands_of_groups_that_nobody_uses_cost_bounded_memory() {
    const GROUPS: usize = 5_000;
    let mut bystander = Bystander::start("bad-groups-many");
    let mut connection = connect(&bystander.server, "good");
    let before = bystander.server.resident_bytes();
    let (mut taken, mut refused) = (0, 0);
    for number in 0..GROUPS {
        // Long names are what a peer could spend memory with.
        let group = format!("{number}-{}", "g".repeat(2_000));
        if number % 50 == 0 {
            let mut find = FindCoordinatorRequest::default();
            find.coordinator_keys = (0..50).map(|i| format!("{i}{group}").into()).collect();
            let found = connection.exchange(&find, 6);
            assert!(found.coordinators.iter().all(|one| one.error_code == 0));
            bystander.assert_undisturbed("among groups that nobody uses");
        }
        match connection.exchange(&join_request(&group, ""), 9).error_code {
            MEMBER_ID_REQUIRED => taken += 1,
            COORDINATOR_NOT_AVAILABLE => refused += 1,
            other => panic!("group {number}: {other}"),
        }
    }
    assert!(
        is_kafka() || (taken > 0 && refused > 0),
        "{taken} taken, {refused} refused: the bound was not met"
    );
    let growth = bystander.server.resident_bytes().saturating_sub(before);
    assert!(
        is_kafka() || growth < GROWTH_MAX_BYTES,
        "memory grew by {growth} bytes"
    );
    bystander.finish();
}

#[test]
fn commits_for_topics_that_are_gone_are_refused_and_leave_nothing() {
    let mut bystander = Bystander::start("bad-groups-topics");
    let mut connection = connect(&bystander.server, "good");
    create_topic(bystander.server.bootstrap(), "gone", 1, &[]);
    assert_eq!(commit(&mut connection, "lonely", "gone", 5, None), 0);
    let mut delete = DeleteTopicsRequest::default();
    delete.topic_names = vec!["gone".into()];
    delete.timeout_ms = 30_000;
    let answer = connection.exchange(&delete, 5);
    assert_eq!(answer.responses[0].error_code, 0);
    for by in [None, Some(&bystander.membership)] {
        let group = if by.is_some() { "good" } else { "lonely" };
        let code = commit(&mut connection, group, "gone", 6, by);
        assert_eq!(code, UNKNOWN_TOPIC_OR_PARTITION, "{group}");
        assert_eq!(fetch_offset(&mut connection, group, "gone"), -1, "{group}");
        let mut request = commit_request(group, "t", 6, by);
        request.topics[0].partitions[0].partition_index = 1;
        let answer = connection.exchange(&request, 9);
        let code = answer.topics[0].partitions[0].error_code;
        assert_eq!(code, UNKNOWN_TOPIC_OR_PARTITION, "partition 1 for {group}");
    }
    // Who makes the topic anew begins anew.
    create_topic(bystander.server.bootstrap(), "gone", 1, &[]);
    assert_eq!(fetch_offset(&mut connection, "lonely", "gone"), -1);
    bystander.assert_undisturbed("after commits for topics that are gone");
    bystander.finish();
}
