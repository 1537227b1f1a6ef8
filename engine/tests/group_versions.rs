//! Every group API in every version that is advertised: each is read, obeyed and answered in its own layout.

mod support;

use kafka_wire::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
    DescribeGroupsRequest, FindCoordinatorRequest, LeaveGroupRequest, ListGroupsRequest,
    OffsetDeleteRequest, OffsetFetchRequest,
    leave_group_request::MemberIdentity,
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    },
};
use support::{
    admin::create_topic,
    groups::{
        MEMBER_ID_REQUIRED, commit, commit_request, connect, heartbeat_request, join_request,
        sync_request,
    },
    server::{Listen, Server},
    wire::Connection,
};

const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_REQUEST: i16 = 42;
const GROUP_ID_NOT_FOUND: i16 = 69;

struct Versions {
    connection: Connection,
}

impl Versions {
    fn membership(&mut self) {
        for version in 0..=9 {
            let group = format!("join-{version}");
            let mut request = join_request(&group, "");
            if version == 0 {
                request.rebalance_timeout_ms = -1;
            }
            let mut joined = self.connection.exchange(&request, version);
            if version >= 4 {
                assert_eq!(joined.error_code, MEMBER_ID_REQUIRED, "JoinGroup {version}");
                request.member_id = joined.member_id;
                joined = self.connection.exchange(&request, version);
            }
            assert_eq!(
                (joined.error_code, joined.generation_id),
                (0, 1),
                "JoinGroup {version}"
            );
            assert_eq!(joined.protocol_name.as_deref(), Some("range"));
            assert_eq!(joined.members.len(), 1);
            let sync_version = version.min(5);
            joined.protocol_type = (sync_version >= 5).then(|| "consumer".into());
            joined.protocol_name = (sync_version >= 5).then(|| "range".into());
            let synced = self
                .connection
                .exchange(&sync_request(&group, &joined), sync_version);
            assert_eq!(synced.error_code, 0, "SyncGroup {sync_version}");
            assert_eq!(synced.assignment, format!("for {}", joined.member_id));
            for version in 0..=4 {
                let answer = self
                    .connection
                    .exchange(&heartbeat_request(&group, &joined), version);
                assert_eq!(answer.error_code, 0, "Heartbeat {version}");
            }
            let leave_version = version.min(5);
            let mut leave = LeaveGroupRequest::default();
            leave.group_id = group.as_str().into();
            if leave_version < 3 {
                leave.member_id = joined.member_id;
                let answer = self.connection.exchange(&leave, leave_version);
                assert_eq!(answer.error_code, 0, "LeaveGroup {leave_version}");
            } else {
                let mut member = MemberIdentity::default();
                member.member_id = joined.member_id;
                leave.members = vec![member.clone(), member];
                let answer = self.connection.exchange(&leave, leave_version);
                let codes: Vec<i16> = answer.members.iter().map(|one| one.error_code).collect();
                assert_eq!(codes, [0, UNKNOWN_MEMBER_ID], "LeaveGroup {leave_version}");
            }
        }
    }

    fn offsets(&mut self) {
        for version in 2..=9 {
            let mut request = commit_request("offsets", "t", i64::from(version), None);
            if version > 4 {
                request.retention_time_ms = -1;
            }
            let answer = self.connection.exchange(&request, version);
            assert_eq!(
                answer.topics[0].partitions[0].error_code, 0,
                "OffsetCommit {version}"
            );
        }
        for version in 1..=9 {
            let mut request = OffsetFetchRequest::default();
            if version < 8 {
                let mut topic = OffsetFetchRequestTopic::default();
                topic.name = "t".into();
                topic.partition_indexes = vec![0, 5];
                request.group_id = "offsets".into();
                request.topics = Some(vec![topic]);
                let answer = self.connection.exchange(&request, version);
                assert_eq!(answer.error_code, 0, "OffsetFetch {version}");
                let found: Vec<i64> = answer.topics[0]
                    .partitions
                    .iter()
                    .map(|one| one.committed_offset)
                    .collect();
                assert_eq!(found, [9, -1], "OffsetFetch {version}");
                if version >= 2 {
                    request.topics = None;
                    let all = self.connection.exchange(&request, version);
                    assert_eq!(
                        all.topics[0].partitions[0].committed_offset, 9,
                        "OffsetFetch {version} of all"
                    );
                }
            } else {
                let groups = ["offsets", "nowhere"].map(|group| {
                    let mut topic = OffsetFetchRequestTopics::default();
                    topic.name = "t".into();
                    topic.partition_indexes = vec![0];
                    let mut asked = OffsetFetchRequestGroup::default();
                    asked.group_id = group.into();
                    asked.member_epoch = -1;
                    asked.topics = Some(vec![topic]);
                    asked
                });
                request.groups = groups.to_vec();
                let answer = self.connection.exchange(&request, version);
                let found: Vec<i64> = answer
                    .groups
                    .iter()
                    .map(|group| group.topics[0].partitions[0].committed_offset)
                    .collect();
                assert_eq!(found, [9, -1], "OffsetFetch {version}");
            }
        }
        let mut partition = OffsetDeleteRequestPartition::default();
        partition.partition_index = 0;
        let mut topic = OffsetDeleteRequestTopic::default();
        topic.name = "t".into();
        topic.partitions = vec![partition];
        let mut request = OffsetDeleteRequest::default();
        request.group_id = "offsets".into();
        request.topics = vec![topic];
        let answer = self.connection.exchange(&request, 0);
        assert_eq!(
            (answer.error_code, answer.topics[0].partitions[0].error_code),
            (0, 0)
        );
    }

    fn consumer_groups(&mut self) {
        for version in 0..=1 {
            let group = format!("consumer-{version}");
            let mut request = ConsumerGroupHeartbeatRequest::default();
            request.group_id = group.as_str().into();
            request.rebalance_timeout_ms = 60_000;
            request.subscribed_topic_names = Some(vec!["t".into()]);
            request.topic_partitions = Some(Vec::new());
            if version >= 1 {
                let nameless = self.connection.exchange(&request, version);
                assert_eq!(nameless.error_code, INVALID_REQUEST);
                request.member_id = "me".into();
                request.subscribed_topic_regex = Some("t".into());
            }
            let joined = self.connection.exchange(&request, version);
            assert_eq!(
                (joined.error_code, joined.member_epoch),
                (0, 1),
                "{joined:?}"
            );
            let given = joined.assignment.expect("who joins is told its part");
            assert_eq!(given.topic_partitions[0].partitions, [0]);
            let mut idle = ConsumerGroupHeartbeatRequest::default();
            idle.group_id = group.as_str().into();
            idle.member_id = joined.member_id.clone().unwrap_or_default();
            idle.member_epoch = joined.member_epoch;
            idle.rebalance_timeout_ms = -1;
            let stays = self.connection.exchange(&idle, version);
            assert_eq!((stays.error_code, stays.assignment), (0, None));
            for version in 0..=1 {
                let mut describe = ConsumerGroupDescribeRequest::default();
                describe.group_ids =
                    vec![group.as_str().into(), "offsets".into(), "nowhere".into()];
                describe.include_authorized_operations = true;
                let answer = self.connection.exchange(&describe, version);
                let codes: Vec<i16> = answer.groups.iter().map(|one| one.error_code).collect();
                assert_eq!(codes, [0, GROUP_ID_NOT_FOUND, GROUP_ID_NOT_FOUND]);
                let described = &answer.groups[0];
                assert_eq!(&*described.group_state, "Stable");
                assert_eq!(
                    described.members[0].member_type,
                    [-1, 1][usize::from(version >= 1)]
                );
            }
            let mut describe = DescribeGroupsRequest::default();
            describe.groups = vec![group.as_str().into()];
            let answer = self.connection.exchange(&describe, 6);
            assert_eq!(answer.groups[0].error_code, GROUP_ID_NOT_FOUND);
            let mut list = ListGroupsRequest::default();
            list.types_filter = vec!["Consumer".into()];
            let listed = self.connection.exchange(&list, 5);
            assert_eq!(&*listed.groups[0].group_type, "consumer");
            idle.member_epoch = -1;
            let left = self.connection.exchange(&idle, version);
            assert_eq!((left.error_code, left.member_epoch), (0, -1));
        }
    }

    fn administration(&mut self) {
        for version in 0..=2 {
            let group = format!("delete-{version}");
            assert_eq!(commit(&mut self.connection, &group, "t", 1, None), 0);
            let mut request = DeleteGroupsRequest::default();
            request.groups_names = vec![group.as_str().into(), "nowhere".into()];
            let answer = self.connection.exchange(&request, version);
            let codes: Vec<i16> = answer.results.iter().map(|one| one.error_code).collect();
            assert_eq!(codes, [0, GROUP_ID_NOT_FOUND], "DeleteGroups {version}");
        }
        assert_eq!(commit(&mut self.connection, "listed", "t", 1, None), 0);
        for version in 0..=5 {
            let mut request = ListGroupsRequest::default();
            if version >= 4 {
                request.states_filter = vec!["Empty".into()];
            }
            if version >= 5 {
                request.types_filter = vec!["classic".into()];
            }
            let answer = self.connection.exchange(&request, version);
            assert_eq!(answer.error_code, 0, "ListGroups {version}");
            let listed = answer
                .groups
                .iter()
                .find(|group| &*group.group_id == "listed");
            let listed = listed.unwrap_or_else(|| panic!("ListGroups {version}"));
            assert_eq!(
                &*listed.group_state,
                if version >= 4 { "Empty" } else { "" }
            );
            assert_eq!(
                &*listed.group_type,
                if version >= 5 { "classic" } else { "" }
            );
        }
        for version in 0..=6 {
            let mut request = DescribeGroupsRequest::default();
            request.groups = vec!["listed".into(), "nowhere".into()];
            request.include_authorized_operations = version >= 3;
            let answer = self.connection.exchange(&request, version);
            let states: Vec<&str> = answer
                .groups
                .iter()
                .map(|group| &*group.group_state)
                .collect();
            assert_eq!(states, ["Empty", "Dead"], "DescribeGroups {version}");
            let expected = if version >= 6 { GROUP_ID_NOT_FOUND } else { 0 };
            assert_eq!(
                answer.groups[1].error_code, expected,
                "DescribeGroups {version}"
            );
        }
        for version in 0..=6 {
            let mut request = FindCoordinatorRequest::default();
            if version < 4 {
                request.key = "g".into();
                let answer = self.connection.exchange(&request, version);
                assert_eq!(answer.error_code, 0, "FindCoordinator {version}");
                assert!(answer.port > 0);
            } else {
                request.coordinator_keys = vec!["g".into(), "h".into()];
                let answer = self.connection.exchange(&request, version);
                assert!(
                    answer
                        .coordinators
                        .iter()
                        .all(|one| one.error_code == 0 && one.port > 0)
                );
            }
        }
    }
}

#[test]
fn every_version_is_answered() {
    let settings = ["group.initial.rebalance.delay.ms=0"];
    let server = Server::start_with("group-versions", Listen::Shared, 2, &settings);
    create_topic(server.bootstrap(), "t", 1, &[]);
    let mut versions = Versions {
        connection: connect(&server, "g"),
    };
    versions.membership();
    versions.offsets();
    versions.consumer_groups();
    versions.administration();
}
