//! What a member sends, in the version that both sides have. A field that a version lacks stays at its default, as the
//! generated codecs demand.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_wire::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::leave_group_request::MemberIdentity;
use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_wire::sync_group_request::SyncGroupRequestAssignment;
use kafka_wire::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
};
use kafka_wire_core::StrBytes;

use super::assignor::RANGE;
use super::member::Member;
use super::payload::{Assignment, encode_subscription};
use crate::error_code::ErrorCode;

/// Later versions of OffsetCommit and OffsetFetch name topics by id.
pub const OFFSETS_VERSION_MAX: i16 = 9;

/// The protocol's type, which all members have in common.
const CONSUMER: &str = "consumer";
/// From this version on, several coordinators are looked for at once.
const KEYS_SINCE: i16 = 4;
const REBALANCE_TIMEOUT_SINCE: i16 = 1;
/// From these versions on, a member may have a lasting name.
const JOIN_INSTANCE_SINCE: i16 = 5;
const SYNC_INSTANCE_SINCE: i16 = 3;
const HEARTBEAT_INSTANCE_SINCE: i16 = 3;
const COMMIT_INSTANCE_SINCE: i16 = 7;
const LEAVE_MEMBERS_SINCE: i16 = 3;
const SYNC_PROTOCOL_SINCE: i16 = 5;
const COMMIT_RETENTION_UNTIL: i16 = 4;
const COMMIT_EPOCH_SINCE: i16 = 6;
/// From this version on, several groups are asked for at once.
const FETCH_GROUPS_SINCE: i16 = 8;

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Whatever the member wants to find again with it.
    pub metadata: String,
}

/// Offsets by topic and partition.
pub type Offsets<T> = BTreeMap<(String, i32), T>;

/// A committed offset, as its coordinator tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read; -1 if none was committed.
    pub offset: i64,
    /// What was committed with it.
    pub metadata: String,
    /// Why it cannot be told.
    pub error: ErrorCode,
}

/// Asks who coordinates a group.
pub fn find_coordinator(group: &str, version: i16) -> FindCoordinatorRequest {
    let mut request = FindCoordinatorRequest::default();
    if version >= KEYS_SINCE {
        request.coordinator_keys = vec![group.into()];
    } else {
        request.key = group.into();
    }
    request
}

/// The broker that coordinates the group, or why there is none.
pub fn found_coordinator(response: &FindCoordinatorResponse) -> Result<i32, ErrorCode> {
    let (node, code) = match response.coordinators.first() {
        Some(found) => (found.node_id, found.error_code),
        None => (response.node_id, response.error_code),
    };
    ErrorCode::from_wire(code).into_result()?;
    Ok(node)
}

impl Member {
    /// Asks to take part in the next generation.
    pub fn join_request(&self, version: i16) -> JoinGroupRequest {
        let mut protocol = JoinGroupRequestProtocol::default();
        protocol.name = RANGE.into();
        protocol.metadata = Bytes::from(encode_subscription(&self.config.topics));
        let mut request = JoinGroupRequest::default();
        request.group_id = self.config.group.as_str().into();
        request.member_id = self.id.as_str().into();
        request.session_timeout_ms = wire_ms(self.config.session_timeout);
        if version >= REBALANCE_TIMEOUT_SINCE {
            request.rebalance_timeout_ms = wire_ms(self.config.rebalance_timeout);
        }
        if version >= JOIN_INSTANCE_SINCE {
            request.group_instance_id = self.instance_id();
        }
        request.protocol_type = CONSUMER.into();
        request.protocols = vec![protocol];
        request
    }

    /// Asks for what this member owns in the new generation; a leader tells what everybody does.
    pub fn sync_request(&self, version: i16) -> SyncGroupRequest {
        let mut request = SyncGroupRequest::default();
        request.group_id = self.config.group.as_str().into();
        request.generation_id = self.generation;
        request.member_id = self.id.as_str().into();
        if version >= SYNC_INSTANCE_SINCE {
            request.group_instance_id = self.instance_id();
        }
        if version >= SYNC_PROTOCOL_SINCE {
            request.protocol_type = Some(CONSUMER.into());
            request.protocol_name = self.protocol.as_deref().map(Into::into);
        }
        request.assignments = self
            .assignments
            .iter()
            .map(|(member, bytes)| {
                let mut assignment = SyncGroupRequestAssignment::default();
                assignment.member_id = member.as_str().into();
                assignment.assignment = Bytes::copy_from_slice(bytes);
                assignment
            })
            .collect();
        request
    }

    /// Shows that the member is alive.
    pub fn heartbeat_request(&self, version: i16) -> HeartbeatRequest {
        let mut request = HeartbeatRequest::default();
        request.group_id = self.config.group.as_str().into();
        request.generation_id = self.generation;
        request.member_id = self.id.as_str().into();
        if version >= HEARTBEAT_INSTANCE_SINCE {
            request.group_instance_id = self.instance_id();
        }
        request
    }

    /// Says good-bye, so that nobody waits for the session to end.
    pub fn leave_request(&self, version: i16) -> LeaveGroupRequest {
        let mut request = LeaveGroupRequest::default();
        request.group_id = self.config.group.as_str().into();
        if version >= LEAVE_MEMBERS_SINCE {
            let mut member = MemberIdentity::default();
            member.member_id = self.id.as_str().into();
            request.members = vec![member];
        } else {
            request.member_id = self.id.as_str().into();
        }
        request
    }

    /// Commits offsets as this member. Up to version [`OFFSETS_VERSION_MAX`].
    pub fn commit_request(
        &self,
        offsets: &Offsets<CommitOffset>,
        version: i16,
    ) -> OffsetCommitRequest {
        let mut request = commit_request(&self.config.group, offsets, version);
        request.generation_id_or_member_epoch = self.generation;
        request.member_id = self.id.as_str().into();
        if version >= COMMIT_INSTANCE_SINCE {
            request.group_instance_id = self.instance_id();
        }
        request
    }

    fn instance_id(&self) -> Option<StrBytes> {
        self.config.instance_id.as_deref().map(StrBytes::from)
    }
}

/// Commits offsets of a group as nobody, which a group with members refuses. Up to version [`OFFSETS_VERSION_MAX`].
pub fn commit_request(
    group: &str,
    offsets: &Offsets<CommitOffset>,
    version: i16,
) -> OffsetCommitRequest {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for ((name, index), commit) in offsets {
        let mut partition = OffsetCommitRequestPartition::default();
        partition.partition_index = *index;
        partition.committed_offset = commit.offset;
        if version >= COMMIT_EPOCH_SINCE {
            partition.committed_leader_epoch = -1;
        }
        partition.committed_metadata = Some(commit.metadata.as_str().into());
        match topics.last_mut() {
            Some(topic) if topic.name.as_str() == name => topic.partitions.push(partition),
            _ => {
                let mut topic = OffsetCommitRequestTopic::default();
                topic.name = name.as_str().into();
                topic.partitions = vec![partition];
                topics.push(topic);
            }
        }
    }
    let mut request = OffsetCommitRequest::default();
    request.group_id = group.into();
    request.generation_id_or_member_epoch = -1;
    if version <= COMMIT_RETENTION_UNTIL {
        request.retention_time_ms = -1;
    }
    request.topics = topics;
    request
}

/// What became of each partition.
pub fn committed(response: &OffsetCommitResponse) -> Offsets<ErrorCode> {
    let mut codes = Offsets::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let code = ErrorCode::from_wire(partition.error_code);
            codes.insert((topic.name.to_string(), partition.partition_index), code);
        }
    }
    codes
}

/// The code that matters most to a member that committed several partitions: one that will not pass, else any.
pub fn worst(codes: &Offsets<ErrorCode>) -> ErrorCode {
    let rank = |code: &ErrorCode| (!code.is_none(), !code.is_retriable());
    let worst = codes.values().copied().max_by_key(rank);
    worst.unwrap_or(ErrorCode::None)
}

/// Asks for committed offsets: of these partitions, or of all that there are. Up to version [`OFFSETS_VERSION_MAX`];
/// asking for all needs version 2.
pub fn offset_fetch_request(
    group: &str,
    partitions: Option<&Assignment>,
    version: i16,
) -> OffsetFetchRequest {
    let mut request = OffsetFetchRequest::default();
    if version >= FETCH_GROUPS_SINCE {
        let mut asked = OffsetFetchRequestGroup::default();
        asked.group_id = group.into();
        if version >= OFFSETS_VERSION_MAX {
            asked.member_epoch = -1;
        }
        asked.topics = partitions.map(|partitions| {
            partitions
                .iter()
                .map(|(name, indexes)| {
                    let mut topic = OffsetFetchRequestTopics::default();
                    topic.name = name.as_str().into();
                    topic.partition_indexes.clone_from(indexes);
                    topic
                })
                .collect()
        });
        request.groups = vec![asked];
        return request;
    }
    request.group_id = group.into();
    request.topics = partitions.map(|partitions| {
        partitions
            .iter()
            .map(|(name, indexes)| {
                let mut topic = OffsetFetchRequestTopic::default();
                topic.name = name.as_str().into();
                topic.partition_indexes.clone_from(indexes);
                topic
            })
            .collect()
    });
    request
}

/// The committed offsets that a response tells, of the one group it was asked for.
pub fn committed_offsets(
    response: &OffsetFetchResponse,
) -> Result<Offsets<CommittedOffset>, ErrorCode> {
    let mut offsets = Offsets::new();
    let mut tell = |topic: &str, index, offset, metadata: Option<&str>, code| {
        let committed = CommittedOffset {
            offset,
            metadata: metadata.unwrap_or_default().to_owned(),
            error: ErrorCode::from_wire(code),
        };
        offsets.insert((topic.to_owned(), index), committed);
    };
    if let Some(group) = response.groups.first() {
        ErrorCode::from_wire(group.error_code).into_result()?;
        for topic in &group.topics {
            for one in &topic.partitions {
                let (index, offset) = (one.partition_index, one.committed_offset);
                tell(
                    &topic.name,
                    index,
                    offset,
                    one.metadata.as_deref(),
                    one.error_code,
                );
            }
        }
        return Ok(offsets);
    }
    ErrorCode::from_wire(response.error_code).into_result()?;
    for topic in &response.topics {
        for one in &topic.partitions {
            let (index, offset) = (one.partition_index, one.committed_offset);
            tell(
                &topic.name,
                index,
                offset,
                one.metadata.as_deref(),
                one.error_code,
            );
        }
    }
    Ok(offsets)
}

/// What became of a good-bye.
pub fn left(response: &LeaveGroupResponse) -> ErrorCode {
    let of_member = response.members.first().map(|member| member.error_code);
    let code = match response.error_code {
        0 => of_member.unwrap_or(0),
        code => code,
    };
    ErrorCode::from_wire(code)
}

fn wire_ms(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_wire::KafkaRequest;
    use kafka_wire_core::{ApiVersion, KafkaEncode};

    use super::*;
    use crate::api::supported_api;
    use crate::group::MemberConfig;

    fn encode<R: KafkaRequest + KafkaEncode>(build: impl Fn(i16) -> R) {
        let api = supported_api(R::API_KEY.value()).unwrap();
        for version in api.version_min..=api.version_max {
            build(version)
                .encode_into(&mut BytesMut::new(), ApiVersion::new(version))
                .unwrap_or_else(|error| panic!("{} {version}: {error}", api.name));
        }
    }

    #[test]
    fn every_version_can_be_said() {
        for instance_id in [None, Some("lasting".to_owned())] {
            let mut config = MemberConfig::new("g", vec!["t".to_owned()]);
            config.instance_id = instance_id;
            let mut member = Member::new(config);
            member.assignments = vec![("m".to_owned(), vec![0, 0])];
            member.protocol = Some(RANGE.to_owned());
            let commit = CommitOffset {
                offset: 5,
                metadata: String::new(),
            };
            let offsets = Offsets::from([
                (("t".to_owned(), 0), commit.clone()),
                (("u".to_owned(), 0), commit.clone()),
                (("u".to_owned(), 1), commit),
            ]);
            let all = Assignment::from([("t".to_owned(), vec![0])]);
            encode(|version| find_coordinator("g", version));
            encode(|version| member.join_request(version));
            encode(|version| member.sync_request(version));
            encode(|version| member.heartbeat_request(version));
            encode(|version| member.leave_request(version));
            encode(|version| member.commit_request(&offsets, version));
            encode(|version| offset_fetch_request("g", Some(&all), version));
            encode(|version| {
                let all = (version < 2).then_some(&all);
                offset_fetch_request("g", all, version)
            });
            let request = member.commit_request(&offsets, OFFSETS_VERSION_MAX);
            let topics: Vec<_> = request
                .topics
                .iter()
                .map(|topic| (topic.name.as_str(), topic.partitions.len()))
                .collect();
            assert_eq!(topics, [("t", 1), ("u", 2)]);
        }
    }

    #[test]
    fn what_will_not_pass_matters_more_than_what_may() {
        let codes = |codes: &[ErrorCode]| {
            let one = |(index, code): (i32, &ErrorCode)| (("t".to_owned(), index), *code);
            (0..).zip(codes).map(one).collect::<Offsets<ErrorCode>>()
        };
        let (later, never) = (ErrorCode::NotCoordinator, ErrorCode::UnknownMemberId);
        let table: [(&[ErrorCode], ErrorCode); 4] = [
            (&[], ErrorCode::None),
            (&[ErrorCode::None, later], later),
            (&[never, later, ErrorCode::None], never),
            (&[later, never], never),
        ];
        for (given, expected) in table {
            assert_eq!(worst(&codes(given)), expected, "{given:?}");
        }
    }
}
