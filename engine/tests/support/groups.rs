//! A member of a group over raw connections: what it says and what it is told, without a client's own retries.

use std::{
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_wire::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse,
    join_group_request::JoinGroupRequestProtocol,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    sync_group_request::SyncGroupRequestAssignment,
};

use super::{server::Server, wire::Connection};

/// Only ends a test that would hang.
const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const LOAD_IN_PROGRESS: i16 = 14;
pub(crate) const COORDINATOR_NOT_AVAILABLE: i16 = 15;
pub(crate) const NOT_COORDINATOR: i16 = 16;
pub(crate) const MEMBER_ID_REQUIRED: i16 = 79;

/// A connection to the node that coordinates the group.
pub(crate) fn connect(server: &Server, group: &str) -> Connection {
    let mut request = FindCoordinatorRequest::default();
    request.coordinator_keys = vec![group.into()];
    let start = Instant::now();
    loop {
        let mut any = Connection::open(server.address());
        let response = any.exchange(&request, 6);
        let found = &response.coordinators[0];
        if found.error_code == 0 {
            return Connection::open(&format!("{}:{}", found.host, found.port));
        }
        assert_eq!(found.error_code, COORDINATOR_NOT_AVAILABLE);
        assert!(start.elapsed() < DEADLINE, "no coordinator: {found:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asks again while the groups are being loaded.
pub(crate) fn when_loaded<T>(mut ask: impl FnMut() -> T, code: impl Fn(&T) -> i16) -> T {
    let start = Instant::now();
    loop {
        let answer = ask();
        if ![LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR].contains(&code(&answer))
        {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "the groups are not loaded");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn join_request(group: &str, member_id: &str) -> JoinGroupRequest {
    let mut protocol = JoinGroupRequestProtocol::default();
    protocol.name = "range".into();
    protocol.metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
    let mut request = JoinGroupRequest::default();
    request.group_id = group.into();
    request.member_id = member_id.into();
    request.session_timeout_ms = 30_000;
    request.rebalance_timeout_ms = 30_000;
    request.protocol_type = "consumer".into();
    request.protocols = vec![protocol];
    request
}

/// Joins in version 9, with an id that is asked for first.
pub(crate) fn join(connection: &mut Connection, request: &JoinGroupRequest) -> JoinGroupResponse {
    let response = when_loaded(
        || connection.exchange(request, 9),
        |response| response.error_code,
    );
    if response.error_code != MEMBER_ID_REQUIRED {
        return response;
    }
    let mut again = request.clone();
    again.member_id = response.member_id;
    connection.exchange(&again, 9)
}

pub(crate) fn sync_request(group: &str, joined: &JoinGroupResponse) -> SyncGroupRequest {
    let mut request = SyncGroupRequest::default();
    request.group_id = group.into();
    request.generation_id = joined.generation_id;
    request.member_id = joined.member_id.clone();
    request.protocol_type.clone_from(&joined.protocol_type);
    request.protocol_name.clone_from(&joined.protocol_name);
    request.assignments = joined
        .members
        .iter()
        .map(|member| {
            let mut assignment = SyncGroupRequestAssignment::default();
            assignment.member_id = member.member_id.clone();
            assignment.assignment = format!("for {}", member.member_id).into_bytes().into();
            assignment
        })
        .collect();
    request
}

pub(crate) fn sync(
    connection: &mut Connection,
    group: &str,
    joined: &JoinGroupResponse,
) -> SyncGroupResponse {
    connection.exchange(&sync_request(group, joined), 5)
}

pub(crate) fn heartbeat_request(group: &str, joined: &JoinGroupResponse) -> HeartbeatRequest {
    let mut request = HeartbeatRequest::default();
    request.group_id = group.into();
    request.generation_id = joined.generation_id;
    request.member_id = joined.member_id.clone();
    request
}

/// A commit for partition 0 of a topic; by nobody without a membership.
pub(crate) fn commit_request(
    group: &str,
    topic: &str,
    offset: i64,
    by: Option<&JoinGroupResponse>,
) -> OffsetCommitRequest {
    let mut partition = OffsetCommitRequestPartition::default();
    partition.committed_offset = offset;
    partition.committed_leader_epoch = -1;
    partition.committed_metadata = Some("".into());
    let mut one = OffsetCommitRequestTopic::default();
    one.name = topic.into();
    one.partitions = vec![partition];
    let mut request = OffsetCommitRequest::default();
    request.group_id = group.into();
    request.retention_time_ms = -1;
    request.generation_id_or_member_epoch = by.map_or(-1, |by| by.generation_id);
    request.member_id = by.map(|by| by.member_id.clone()).unwrap_or_default();
    request.topics = vec![one];
    request
}

pub(crate) fn commit(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    offset: i64,
    by: Option<&JoinGroupResponse>,
) -> i16 {
    let request = commit_request(group, topic, offset, by);
    when_loaded(
        || connection.exchange(&request, 9).topics[0].partitions[0].error_code,
        |code| *code,
    )
}

/// The offset of partition 0 of a topic; -1 is none.
pub(crate) fn fetch_offset(connection: &mut Connection, group: &str, topic: &str) -> i64 {
    let mut one = OffsetFetchRequestTopics::default();
    one.name = topic.into();
    one.partition_indexes = vec![0];
    let mut asked = OffsetFetchRequestGroup::default();
    asked.group_id = group.into();
    asked.member_epoch = -1;
    asked.topics = Some(vec![one]);
    let mut request = OffsetFetchRequest::default();
    request.groups = vec![asked];
    let response = when_loaded(
        || connection.exchange(&request, 9),
        |response| response.groups[0].error_code,
    );
    assert_eq!(response.groups[0].error_code, 0);
    response.groups[0].topics[0].partitions[0].committed_offset
}
