//! A shard with a simulated log: answers come out when what was appended before them is durable, and a crash takes what is not.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use corelane_net::error_code::ErrorCode;
use kafka_wire::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::sync_group_request::SyncGroupRequestAssignment;
use kafka_wire::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use crate::group::classic::Client;
use crate::group::record::GroupRecord;
use crate::group::step::{GroupAnswer, Journal, Now, ReplyId, Step};
use crate::group::{Budget, GroupConfig, Shard};
use crate::metadata::MetadataImage;
use crate::metadata::test_support::image_of;

/// What a request may still be told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
}

type EncodedRecord = (Vec<u8>, Option<Vec<u8>>);

/// Keeps batches as bytes, so that each goes through its encoding.
#[derive(Default)]
pub(super) struct Log {
    pub(super) batches: Vec<Vec<EncodedRecord>>,
    pub(super) durable: usize,
    pub(super) refuses: Option<ErrorCode>,
    /// Batches that it takes before it refuses; any number if there is none.
    pub(super) takes_only: Option<usize>,
}

impl Journal for Log {
    fn append(&mut self, records: &[GroupRecord]) -> Result<(), ErrorCode> {
        if let Some(code) = self.refuses {
            return Err(code);
        }
        if let Some(left) = &mut self.takes_only {
            *left = left.checked_sub(1).ok_or(ErrorCode::NotCoordinator)?;
        }
        if !records.is_empty() {
            self.batches
                .push(records.iter().map(GroupRecord::encode).collect());
        }
        Ok(())
    }
}

pub(super) struct World {
    pub(super) shard: Shard,
    pub(super) log: Log,
    pub(super) now: Now,
    pub(super) config: GroupConfig,
    pub(super) budget: Budget,
    pub(super) image: MetadataImage,
    /// Answers that wait for the log.
    held: Vec<(usize, ReplyId, Told)>,
    told: HashMap<ReplyId, Told>,
    next_reply: u64,
    next_random: u128,
    /// Whether everything is durable at once.
    pub(super) flushes_at_once: bool,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    pub(super) fn with(config: GroupConfig) -> Self {
        let budget = Budget::new(64 << 20);
        Self {
            shard: Shard::new(Rc::new(config.clone()), budget.clone()),
            log: Log::default(),
            now: Now {
                monotonic_ms: 1_000,
                wall_ms: 1_700_000_000_000,
            },
            config,
            budget,
            image: image_of(Some(1), &[("t", &[0_usize, 0, 0, 0][..]), ("u", &[0])]),
            held: Vec::new(),
            told: HashMap::new(),
            next_reply: 0,
            next_random: 0xabcd_0000,
            flushes_at_once: true,
        }
    }

    /// One step; gives what it gave, and how far the log has to be durable before anybody hears of it.
    pub(super) fn step<T>(&mut self, work: impl FnOnce(&mut Shard, &mut Step<'_>) -> T) -> T {
        self.step_in(|shard, step, _| work(shard, step))
    }

    /// As [`World::step`], with the topics.
    pub(super) fn step_in<T>(
        &mut self,
        work: impl FnOnce(&mut Shard, &mut Step<'_>, &MetadataImage) -> T,
    ) -> T {
        let next_random = &mut self.next_random;
        let mut random = || {
            *next_random += 1;
            *next_random
        };
        let mut step = Step::new(self.now, &mut self.log, &mut random);
        let outcome = work(&mut self.shard, &mut step, &self.image);
        let answers = step.answers;
        let end = self.log.batches.len();
        for (reply, answer) in answers {
            assert!(
                self.held.iter().all(|(_, held, _)| *held != reply)
                    && !self.told.contains_key(&reply),
                "{reply:?} is answered twice"
            );
            let told = match answer {
                GroupAnswer::Join(response) => Told::Join(response),
                GroupAnswer::Sync(response) => Told::Sync(response),
            };
            self.held.push((end, reply, told));
        }
        self.flush(if self.flushes_at_once { end } else { 0 });
        outcome
    }

    /// Makes the log durable up to `end` batches and lets answers out.
    pub(super) fn flush(&mut self, end: usize) {
        self.log.durable = self.log.durable.max(end);
        let durable = self.log.durable;
        let (out, held) = self.held.drain(..).partition(|(end, _, _)| *end <= durable);
        self.held = held;
        let out: Vec<(usize, ReplyId, Told)> = out;
        for (_, reply, told) in out {
            self.told.insert(reply, told);
        }
    }

    /// Loses what is not durable but for `survive` batches, and starts anew from the log.
    pub(super) fn crash(&mut self, survive: usize) {
        let end = (self.log.durable + survive).min(self.log.batches.len());
        self.log.batches.truncate(end);
        self.log.durable = end;
        self.held.clear();
        self.told.clear();
        self.shard = Shard::new(Rc::new(self.config.clone()), self.budget.clone());
        for batch in &self.log.batches {
            for (key, value) in batch {
                let record = GroupRecord::decode(Some(key), value.as_deref()).unwrap();
                self.shard.replay(&record.unwrap());
            }
        }
        self.step_in(Shard::resume);
    }

    /// Lets time pass, alarm by alarm.
    pub(super) fn pass(&mut self, ms: u64) {
        let until = self.now.monotonic_ms + ms;
        while let Some(due_ms) = self.shard.next_alarm_ms().filter(|due| *due <= until) {
            self.set_time(due_ms.max(self.now.monotonic_ms));
            self.step_in(Shard::elapse);
        }
        self.set_time(until);
    }

    fn set_time(&mut self, monotonic_ms: u64) {
        self.now.wall_ms += i64::try_from(monotonic_ms - self.now.monotonic_ms).unwrap();
        self.now.monotonic_ms = monotonic_ms;
    }

    pub(super) fn reply(&mut self) -> ReplyId {
        self.next_reply += 1;
        ReplyId(self.next_reply)
    }

    pub(super) fn told(&mut self, reply: ReplyId) -> Option<Told> {
        self.told.remove(&reply)
    }

    /// Sends a JoinGroup of the newest version.
    pub(super) fn join(&mut self, request: &JoinGroupRequest) -> ReplyId {
        self.join_in(request, 9)
    }

    pub(super) fn join_in(&mut self, request: &JoinGroupRequest, version: i16) -> ReplyId {
        let reply = self.reply();
        let client = Client {
            id: "client".into(),
            host: "/127.0.0.1".into(),
        };
        self.step_in(|shard, step, image| {
            shard.join(step, request, version, &client, image, reply);
        });
        reply
    }

    /// The answer to a JoinGroup, which must be there.
    pub(super) fn joined(&mut self, reply: ReplyId) -> JoinGroupResponse {
        match self.told(reply) {
            Some(Told::Join(response)) => response,
            other => panic!("{reply:?} was told {other:?}"),
        }
    }

    pub(super) fn join_error(&mut self, reply: ReplyId) -> ErrorCode {
        ErrorCode::from_wire(self.joined(reply).error_code)
    }

    pub(super) fn sync(&mut self, request: &SyncGroupRequest) -> ReplyId {
        let reply = self.reply();
        self.step_in(|shard, step, image| shard.sync(step, request, image, reply));
        reply
    }

    /// The answer to a SyncGroup, which must be there.
    pub(super) fn synced(&mut self, reply: ReplyId) -> SyncGroupResponse {
        match self.told(reply) {
            Some(Told::Sync(response)) => response,
            other => panic!("{reply:?} was told {other:?}"),
        }
    }

    pub(super) fn sync_error(&mut self, reply: ReplyId) -> ErrorCode {
        ErrorCode::from_wire(self.synced(reply).error_code)
    }

    pub(super) fn heartbeat(&mut self, member: &Member) -> ErrorCode {
        let request = member.heartbeat();
        self.step_in(|shard, step, image| shard.heartbeat(step, &request, image))
    }

    /// A stable group of `count` members, which join together. The first one leads.
    pub(super) fn stable_group(&mut self, count: usize) -> Vec<Member> {
        self.stable_group_of((0..count).map(|_| join_request("")).collect())
    }

    pub(super) fn stable_group_of(&mut self, requests: Vec<JoinGroupRequest>) -> Vec<Member> {
        let replies: Vec<ReplyId> = requests
            .iter()
            .map(|request| {
                let first = self.join(request);
                match self.told.get(&first) {
                    Some(Told::Join(given)) => {
                        let mut again = request.clone();
                        again.member_id = given.member_id.clone();
                        self.join(&again)
                    }
                    _ => first,
                }
            })
            .collect();
        self.pass(self.config.initial_rebalance_delay_ms * (count_of(&replies) + 1));
        let mut members: Vec<Member> = replies
            .into_iter()
            .zip(requests)
            .map(|(reply, request)| Member::of(&self.joined(reply), &request))
            .collect();
        members.sort_by_key(|member| !member.leads);
        let assignments: Vec<_> = members
            .iter()
            .map(|member| assignment(&member.id, format!("for {}", member.id).as_bytes()))
            .collect();
        let mut syncs = Vec::new();
        for member in members.iter().rev() {
            let given = if member.leads {
                assignments.clone()
            } else {
                Vec::new()
            };
            syncs.push(self.sync(&member.sync(given)));
        }
        for reply in syncs {
            assert_eq!(self.sync_error(reply), ErrorCode::None);
        }
        members
    }
}

fn count_of<T>(items: &[T]) -> u64 {
    items.len() as u64
}

/// What a client knows of its membership.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) generation: i32,
    pub(super) leads: bool,
}

impl Member {
    pub(super) fn of(response: &JoinGroupResponse, request: &JoinGroupRequest) -> Self {
        assert_eq!(response.error_code, 0, "{response:?}");
        Self {
            id: response.member_id.to_string(),
            instance_id: request.group_instance_id.as_deref().map(str::to_owned),
            generation: response.generation_id,
            leads: response.member_id == response.leader,
        }
    }

    pub(super) fn heartbeat(&self) -> HeartbeatRequest {
        let mut request = HeartbeatRequest::default();
        request.group_id = "g".into();
        request.member_id = self.id.as_str().into();
        request.generation_id = self.generation;
        request.group_instance_id = self.instance_id.as_deref().map(Into::into);
        request
    }

    pub(super) fn sync(&self, assignments: Vec<SyncGroupRequestAssignment>) -> SyncGroupRequest {
        let mut request = SyncGroupRequest::default();
        request.group_id = "g".into();
        request.member_id = self.id.as_str().into();
        request.generation_id = self.generation;
        request.group_instance_id = self.instance_id.as_deref().map(Into::into);
        request.protocol_type = Some("consumer".into());
        request.protocol_name = Some("range".into());
        request.assignments = assignments;
        request
    }

    pub(super) fn join(&self) -> JoinGroupRequest {
        let mut request = join_request(&self.id);
        request.group_instance_id = self.instance_id.as_deref().map(Into::into);
        request
    }
}

pub(super) fn assignment(member_id: &str, bytes: &[u8]) -> SyncGroupRequestAssignment {
    let mut assignment = SyncGroupRequestAssignment::default();
    assignment.member_id = member_id.into();
    assignment.assignment = Bytes::copy_from_slice(bytes);
    assignment
}

pub(super) fn protocol(name: &str, metadata: &[u8]) -> JoinGroupRequestProtocol {
    let mut protocol = JoinGroupRequestProtocol::default();
    protocol.name = name.into();
    protocol.metadata = Bytes::copy_from_slice(metadata);
    protocol
}

/// A consumer of the topic `t`, in the first version of its metadata.
pub(super) const SUBSCRIPTION: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];

/// A consumer that joins the group `g`.
pub(super) fn join_request(member_id: &str) -> JoinGroupRequest {
    let mut request = JoinGroupRequest::default();
    request.group_id = "g".into();
    request.member_id = member_id.into();
    request.session_timeout_ms = 10_000;
    request.rebalance_timeout_ms = 60_000;
    request.protocol_type = "consumer".into();
    request.protocols = vec![protocol("range", SUBSCRIPTION)];
    request
}

/// As [`join_request`], of a static member.
pub(super) fn static_join(instance_id: &str, member_id: &str) -> JoinGroupRequest {
    let mut request = join_request(member_id);
    request.group_instance_id = Some(instance_id.into());
    request
}
