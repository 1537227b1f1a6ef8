//! A group of the new consumer protocol: the server assigns, and each member moves to its part at its own pace.
//!
//! - The group's *epoch* grows with each change of members, subscriptions or subscribed topics. The *target* is what an
//!   assignor makes of the newest epoch: what each member is to have.
//! - A member moves to its target by its heartbeats (`reconcile`): it gives up what is no longer its own, says so, and takes
//!   the target's epoch with everything that others have given up.
//! - A partition belongs to one member, from when that is told of it until it has said that it gave it up, has left, or was
//!   silent for too long.
//!
//! All state but alarms is in the records: a request appends them and then takes them over by [`ConsumerGroup::replay`],
//! as a start does. What one request changes may be in several batches, each of which is sound by itself: an epoch without
//! a target gets it with the next heartbeat. Members that speak the classic protocol live in the same group (`classic`).
//!
//! Invariants:
//! - No partition is in the assignments of two members.
//! - The epoch of the group never falls, nor does a member's while it is in the group.
//! - A heartbeat that changes nothing costs no more than finding the member.

mod admission;
mod classic;
mod convert;
mod describe;
mod fence;
mod heartbeat;
mod member;
mod offsets;
mod reconcile;
mod request;
mod standing;
mod subscription;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;

pub use classic::Joined;
pub use convert::upgrade;
pub use member::ConsumerMember;
pub use request::validate;

use super::budget::{Budget, Charge};
use super::record::{
    ConsumerRecord, CurrentAssignment, GroupEpoch, GroupRecord, MemberDetails, PatternTopics,
};
use super::step::Context;
use super::timers::Timers;
use super::topic_partitions::TopicPartitions;
use crate::metadata::TopicsStamp;

/// What a group costs besides its members and texts.
const GROUP_BYTES: usize = 768;
/// About as much as one batch of records takes.
const BATCH_SIZE_BYTES: usize = 256 << 10;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code that the client acts upon.
    pub code: ErrorCode,
    /// The reason in words.
    pub message: Option<String>,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
        }
    }
}

/// The state of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerState {
    /// It has no members, but may have offsets.
    Empty,
    /// Its epoch has no target yet.
    Assigning,
    /// Some members are on their way to their targets.
    Reconciling,
    /// All have what they are to have.
    Stable,
}

impl ConsumerState {
    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// An expression that members are subscribed by.
#[derive(Debug, Default)]
struct Pattern {
    members: usize,
    topics: PatternTopics,
    charge: Option<Charge>,
}

/// A group. Its alarms are in the queue of its shard: it goes by [`ConsumerGroup::close`] only.
#[derive(Debug)]
pub struct ConsumerGroup {
    id: Rc<str>,
    epoch: GroupEpoch,
    target_epoch: i32,
    members: BTreeMap<Rc<str>, ConsumerMember>,
    /// From instance ids to member ids.
    instances: BTreeMap<Rc<str>, Rc<str>>,
    /// Who has each partition.
    owners: HashMap<(TopicId, i32), Rc<str>>,
    /// How many members name each topic.
    named: BTreeMap<Box<str>, usize>,
    patterns: BTreeMap<Box<str>, Pattern>,
    /// Members that speak the classic protocol.
    classic_members: usize,
    /// How many of them offer each protocol.
    offered: BTreeMap<Box<str>, usize>,
    /// The topics that the subscriptions were last compared with; `None` if the subscriptions changed since.
    seen: Option<TopicsStamp>,
    _charge: Charge,
}

impl ConsumerGroup {
    /// A group without members.
    pub fn new(id: &Rc<str>, budget: &Budget) -> Self {
        Self {
            id: Rc::clone(id),
            epoch: GroupEpoch::default(),
            target_epoch: 0,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            owners: HashMap::new(),
            named: BTreeMap::new(),
            patterns: BTreeMap::new(),
            classic_members: 0,
            offered: BTreeMap::new(),
            seen: None,
            _charge: budget.take(Self::size_bytes(id)),
        }
    }

    /// What a group with this id is charged with, members not counted.
    pub fn size_bytes(id: &str) -> usize {
        GROUP_BYTES + id.len()
    }

    /// Its id.
    pub fn id(&self) -> &Rc<str> {
        &self.id
    }

    /// Its epoch.
    pub fn epoch(&self) -> i32 {
        self.epoch.epoch
    }

    /// The epoch that its targets are for.
    pub fn target_epoch(&self) -> i32 {
        self.target_epoch
    }

    /// Its members, by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &ConsumerMember> {
        self.members.values()
    }

    /// A member.
    pub fn member(&self, member_id: &str) -> Option<&ConsumerMember> {
        self.members.get(member_id)
    }

    /// Whether nobody is in it.
    pub fn is_vacant(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether no record tells of it.
    pub fn is_unrecorded(&self) -> bool {
        self.members.is_empty() && self.epoch == GroupEpoch::default()
    }

    /// Its state. Looks at members until one is on its way.
    pub fn state(&self) -> ConsumerState {
        if self.members.is_empty() {
            ConsumerState::Empty
        } else if self.epoch.epoch > self.target_epoch {
            ConsumerState::Assigning
        } else if self
            .members
            .values()
            .all(|member| member.is_at(self.target_epoch))
        {
            ConsumerState::Stable
        } else {
            ConsumerState::Reconciling
        }
    }

    /// Takes over a record, in order. Members' records may come in any order between them: compaction keeps the last of each.
    pub fn replay(&mut self, record: &ConsumerRecord, budget: &Budget) {
        match record {
            ConsumerRecord::Epoch(value) => self.epoch = value.unwrap_or_default(),
            ConsumerRecord::TargetEpoch(value) => self.target_epoch = value.unwrap_or_default(),
            ConsumerRecord::Member {
                member_id,
                value: Some(details),
            } => self.put_details(member_id, details, budget),
            ConsumerRecord::Member {
                member_id,
                value: None,
            } => self.forget_member(member_id),
            ConsumerRecord::Target { member_id, value } => match value {
                Some(target) => {
                    let member = self.member_or_new(member_id, budget);
                    member.target.clone_from(target);
                    member.recharge(budget);
                }
                None => {
                    if let Some(member) = self.members.get_mut(member_id.as_str()) {
                        member.target = TopicPartitions::default();
                        member.recharge(budget);
                    }
                }
            },
            ConsumerRecord::Current { member_id, value } => match value {
                Some(current) => self.put_current(member_id, current, budget),
                None => {
                    if self.members.contains_key(member_id.as_str()) {
                        self.put_current(member_id, &CurrentAssignment::default(), budget);
                    }
                }
            },
            ConsumerRecord::Pattern { pattern, value } => {
                self.put_pattern_topics(pattern, value.as_ref(), budget);
            }
        }
    }

    fn member_or_new(&mut self, member_id: &str, budget: &Budget) -> &mut ConsumerMember {
        if !self.members.contains_key(member_id) {
            let id: Rc<str> = member_id.into();
            self.members
                .insert(Rc::clone(&id), ConsumerMember::new(id, budget));
        }
        match self.members.get_mut(member_id) {
            Some(member) => member,
            None => unreachable!("it was put there above"),
        }
    }

    fn put_details(&mut self, member_id: &str, details: &MemberDetails, budget: &Budget) {
        let member = self.member_or_new(member_id, budget);
        let id = Rc::clone(&member.id);
        let before = std::mem::replace(&mut member.details, details.clone());
        member.recharge(budget);
        self.uncount(&before, member_id);
        self.count(details, &id);
    }

    fn put_current(&mut self, member_id: &str, current: &CurrentAssignment, budget: &Budget) {
        let member = self.member_or_new(member_id, budget);
        let id = Rc::clone(&member.id);
        let before = std::mem::replace(&mut member.current, current.clone());
        member.recharge(budget);
        self.release(&before, &id);
        for one in current.assigned.iter().chain(current.revoking.iter()) {
            self.owners.insert(one, Rc::clone(&id));
        }
    }

    fn release(&mut self, current: &CurrentAssignment, member_id: &str) {
        for one in current.assigned.iter().chain(current.revoking.iter()) {
            if self.owners.get(&one).is_some_and(|id| **id == *member_id) {
                self.owners.remove(&one);
            }
        }
    }

    fn forget_member(&mut self, member_id: &str) {
        if let Some(member) = self.members.remove(member_id) {
            self.release(&member.current, member_id);
            self.uncount(&member.details, member_id);
        }
    }

    /// Whether no other member has the partition.
    fn is_free_for(&self, member_id: &str, topic: TopicId, partition: i32) -> bool {
        self.owners
            .get(&(topic, partition))
            .is_none_or(|owner| **owner == *member_id)
    }

    /// Appends records as one batch and takes them over.
    fn record(
        &mut self,
        context: &mut Context<'_, '_>,
        records: Vec<ConsumerRecord>,
    ) -> Result<(), ErrorCode> {
        if records.is_empty() {
            return Ok(());
        }
        let group_id = self.id.to_string();
        let records: Vec<GroupRecord> = records
            .into_iter()
            .map(|record| GroupRecord::Consumer {
                group_id: group_id.clone(),
                record,
            })
            .collect();
        context.step.journal.append(&records)?;
        for record in &records {
            if let GroupRecord::Consumer { record, .. } = record {
                if let ConsumerRecord::Member {
                    member_id,
                    value: None,
                } = record
                    && let Some(member) = self.members.get_mut(member_id.as_str())
                {
                    member.close(context.timers);
                }
                self.replay(record, context.budget);
            }
        }
        Ok(())
    }

    /// As [`ConsumerGroup::record`], in as many batches as it takes: a crash may keep the first ones only.
    fn record_apart(
        &mut self,
        context: &mut Context<'_, '_>,
        records: Vec<ConsumerRecord>,
    ) -> Result<(), ErrorCode> {
        let mut batch = Vec::new();
        let mut size_bytes = 0;
        for record in records {
            let added = record.size_bytes();
            if size_bytes + added > BATCH_SIZE_BYTES && !batch.is_empty() {
                self.record(context, std::mem::take(&mut batch))?;
                size_bytes = 0;
            }
            size_bytes += added;
            batch.push(record);
        }
        self.record(context, batch)
    }

    /// The records that take the group back with all its members; its offsets stay.
    pub fn tombstones(&self) -> Vec<ConsumerRecord> {
        let ids = || self.members.keys().map(ToString::to_string);
        let mut records = Vec::new();
        records.extend(ids().map(|member_id| ConsumerRecord::Current {
            member_id,
            value: None,
        }));
        records.extend(ids().map(|member_id| ConsumerRecord::Target {
            member_id,
            value: None,
        }));
        records.push(ConsumerRecord::TargetEpoch(None));
        records.extend(ids().map(|member_id| ConsumerRecord::Member {
            member_id,
            value: None,
        }));
        records.extend(self.patterns.keys().map(|pattern| ConsumerRecord::Pattern {
            pattern: pattern.to_string(),
            value: None,
        }));
        records.push(ConsumerRecord::Epoch(None));
        records
    }

    /// Takes back all alarms, before the group goes.
    pub fn close(&mut self, timers: &mut Timers) {
        for member in self.members.values_mut() {
            member.close(timers);
        }
    }

    /// Goes on after the group was read back: its members have a session's time to show that they live.
    pub fn resume(&mut self, context: &mut Context<'_, '_>) {
        let ids: Vec<Rc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            self.renew_session(context, &id);
            self.watch_revocation(context, &id);
        }
    }
}
