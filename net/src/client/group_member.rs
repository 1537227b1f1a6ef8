//! A member of a group with its connection to the coordinator: the shell around [`crate::group::Member`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_wire::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    RequestResponsePair, SyncGroupRequest,
};
use thiserror::Error;

use super::cluster::Cluster;
use super::connection::Connection;
use super::error::{CallError, ClusterError, SendError};
use crate::error_code::ErrorCode;
use crate::group::member::{Committed, Member, MemberConfig, Todo};
use crate::group::payload::Assignment;
use crate::group::requests::{
    CommitOffset, CommittedOffset, OFFSETS_VERSION_MAX, Offsets, committed, committed_offsets,
    offset_fetch_request, worst,
};

/// What a join may take beyond the time that the others have for theirs.
const JOIN_GRACE: Duration = Duration::from_secs(10);

/// Why a member cannot go on.
#[derive(Debug, Error)]
pub enum GroupMemberError {
    /// The coordinator will not have it, or will not do what it asked.
    #[error("group {group}: {code}")]
    Refused {
        /// The group.
        group: String,
        /// The coordinator's answer.
        code: ErrorCode,
    },
    /// The broker and this client cannot talk about groups.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Begin to read [`Member::assignment`]; then [`GroupMember::begun`].
    Begin,
    /// Stop reading, commit unless `lost`, then [`GroupMember::released`].
    Release {
        /// The partitions belong to others already.
        lost: bool,
    },
    /// Do something else for so long, then call [`GroupMember::turn`] again.
    Idle(Duration),
    /// The member has left.
    End,
}

/// A member of a group, and its connection to the coordinator.
pub struct GroupMember {
    member: Member,
    /// Taken out while a call is under way: a call that is given up half-way leaves no connection behind.
    connection: Option<Connection>,
    started: Instant,
    /// The last thing that failed and may pass.
    trouble: Option<String>,
}

impl GroupMember {
    /// Somebody who wants to become a member; [`GroupMember::turn`] makes it one.
    pub fn new(config: MemberConfig) -> Self {
        Self {
            member: Member::new(config),
            connection: None,
            started: Instant::now(),
            trouble: None,
        }
    }

    /// The machine.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// What failed last and may pass, each time it is asked for the first time.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// From now on [`GroupMember::turn`] leads out of the group.
    pub fn stop(&mut self) {
        self.member.stop();
    }

    /// Reading has begun.
    pub fn begun(&mut self) {
        self.member.begun();
    }

    /// The partitions are given up.
    pub fn released(&mut self) {
        self.member.released();
    }

    /// Tells how many partitions topics have by now; a leader whose group does not know of some gathers it anew.
    pub fn partitions_seen(&mut self, partition_counts: &BTreeMap<String, i32>) {
        self.member.partitions_seen(partition_counts);
    }

    /// Does whatever the membership needs, until the caller is needed. May wait for the other members for as long as a
    /// rebalance takes. If it is dropped, the connection is made anew at the next call and nothing else is lost.
    ///
    /// # Errors
    /// The group will not have this member, or the broker knows no groups. What may pass is tried again.
    pub async fn turn(&mut self, cluster: &mut Cluster) -> Result<Turn, GroupMemberError> {
        loop {
            let now_ms = self.now_ms();
            match self.member.todo(now_ms) {
                Todo::FindCoordinator => self.find(cluster).await?,
                Todo::Join => {
                    let config = self.member.config();
                    let limit = config.rebalance_timeout.max(config.session_timeout) + JOIN_GRACE;
                    let build = |member: &Member, version| member.join_request(version);
                    if let Some(response) = self.call::<JoinGroupRequest>(limit, build).await? {
                        let now_ms = self.now_ms();
                        self.member.joined(&response, now_ms);
                    }
                }
                Todo::Assign => self.assign(cluster).await,
                Todo::Sync => {
                    let limit = self.member.config().rebalance_timeout + JOIN_GRACE;
                    let build = |member: &Member, version| member.sync_request(version);
                    if let Some(response) = self.call::<SyncGroupRequest>(limit, build).await? {
                        let now_ms = self.now_ms();
                        self.member.synced(&response, now_ms);
                    }
                }
                Todo::Heartbeat => {
                    self.member.heartbeat_sent(now_ms);
                    let limit = self.member.config().session_timeout;
                    let build = |member: &Member, version| member.heartbeat_request(version);
                    if let Some(response) = self.call::<HeartbeatRequest>(limit, build).await? {
                        let code = ErrorCode::from_wire(response.error_code);
                        let now_ms = self.now_ms();
                        self.member.heartbeat_answered(code, now_ms);
                    }
                }
                Todo::Leave => {
                    let limit = cluster.config.call_timeout;
                    let build = |member: &Member, version| member.leave_request(version);
                    // Without an answer the session's end does it.
                    self.call::<LeaveGroupRequest>(limit, build).await?;
                    self.member.left();
                }
                Todo::Begin => return Ok(Turn::Begin),
                Todo::Release { lost } => return Ok(Turn::Release { lost }),
                Todo::Wait { until_ms } => {
                    return Ok(Turn::Idle(Duration::from_millis(until_ms - now_ms)));
                }
                Todo::End { refusal: None } => return Ok(Turn::End),
                Todo::End {
                    refusal: Some(code),
                } => return Err(self.refused(code)),
            }
        }
    }

    /// Commits offsets for this membership; durable when it is [`Committed::Done`].
    pub async fn commit(
        &mut self,
        cluster: &mut Cluster,
        offsets: &Offsets<CommitOffset>,
    ) -> Result<Committed, GroupMemberError> {
        if offsets.is_empty() {
            return Ok(Committed::Done);
        }
        if self.connection.is_none() {
            self.find(cluster).await?;
        }
        let limit = cluster.config.call_timeout;
        let build = |member: &Member, version| member.commit_request(offsets, version);
        let Some(response) = self.call::<OffsetCommitRequest>(limit, build).await? else {
            return Ok(Committed::Later);
        };
        let code = worst(&committed(&response));
        let now_ms = self.now_ms();
        Ok(self.member.commit_answered(code, now_ms))
    }

    /// The committed offsets of partitions; `None` if the coordinator cannot tell them now.
    pub async fn committed(
        &mut self,
        cluster: &mut Cluster,
        partitions: &Assignment,
    ) -> Result<Option<Offsets<CommittedOffset>>, GroupMemberError> {
        if self.connection.is_none() {
            self.find(cluster).await?;
        }
        let limit = cluster.config.call_timeout;
        let build = |member: &Member, version| {
            offset_fetch_request(&member.config().group, Some(partitions), version)
        };
        let Some(response) = self.call::<OffsetFetchRequest>(limit, build).await? else {
            return Ok(None);
        };
        let told = committed_offsets(&response).and_then(|offsets| {
            let failed = offsets.values().find(|offset| !offset.error.is_none());
            failed.map_or(Ok(()), |offset| Err(offset.error))?;
            Ok(offsets)
        });
        match told {
            Ok(offsets) => Ok(Some(offsets)),
            Err(code) if code.is_retriable() => {
                self.trouble = Some(format!("the committed offsets cannot be read: {code}"));
                let now_ms = self.now_ms();
                self.member.disconnected(now_ms);
                self.connection = None;
                Ok(None)
            }
            Err(code) => Err(self.refused(code)),
        }
    }

    fn refused(&self, code: ErrorCode) -> GroupMemberError {
        GroupMemberError::Refused {
            group: self.member.config().group.clone(),
            code,
        }
    }

    async fn find(&mut self, cluster: &mut Cluster) -> Result<(), GroupMemberError> {
        let group = self.member.config().group.clone();
        let found = async {
            let broker = cluster.coordinator(&group).await?;
            cluster.open(broker).await
        };
        match found.await {
            Ok(connection) => {
                self.connection = Some(connection);
                self.member.coordinator_found();
            }
            Err(ClusterError::Broker { code, .. }) => {
                self.trouble = Some(format!("the coordinator is not known: {code}"));
                let now_ms = self.now_ms();
                self.member.refused(code, now_ms);
            }
            Err(ClusterError::Call(error @ CallError::Send(SendError::NoCommonVersion { .. }))) => {
                return Err(error.into());
            }
            Err(error) => self.lost(&error),
        }
        Ok(())
    }

    /// What is not known of topics is given to nobody now; [`Member::partitions_seen`] makes up for it.
    async fn assign(&mut self, cluster: &mut Cluster) {
        let topics = self.member.topics_of_all();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        if let Err(error) = cluster.refresh(&names).await {
            self.lost(&error);
            return;
        }
        self.member.assign(&partition_counts(cluster, &names));
    }

    /// Makes a call to the coordinator; `None` if it did not answer, which the machine knows then.
    async fn call<R: RequestResponsePair>(
        &mut self,
        limit: Duration,
        build: impl FnOnce(&Member, i16) -> R,
    ) -> Result<Option<R::Response>, GroupMemberError> {
        let Some(mut connection) = self.connection.take() else {
            let now_ms = self.now_ms();
            self.member.disconnected(now_ms);
            return Ok(None);
        };
        let version = connection
            .ranges()
            .common_up_to::<R>(OFFSETS_VERSION_MAX)
            .map_err(CallError::from)?;
        let request = build(&self.member, version);
        match connection.call_in(&request, version, limit).await {
            Ok(response) => {
                self.connection = Some(connection);
                Ok(Some(response))
            }
            Err(error) if connection.is_broken() => {
                self.lost(&error);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn lost(&mut self, error: &dyn std::error::Error) {
        self.trouble = Some(error.to_string());
        self.connection = None;
        let now_ms = self.now_ms();
        self.member.disconnected(now_ms);
    }
}

/// How many partitions each of these topics has, as the last refresh told; those that are not there are left out.
pub(super) fn partition_counts(cluster: &Cluster, topics: &[&str]) -> BTreeMap<String, i32> {
    let known = topics.iter().filter_map(|name| cluster.topic(name));
    known
        .filter(|topic| topic.error.is_none())
        .map(|topic| {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            (topic.name.clone(), count)
        })
        .collect()
}
