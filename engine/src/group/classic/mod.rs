//! A classic group: its members agree on a protocol, one of them assigns, all move from generation to generation together.
//!
//! ```text
//!            a member joins            all have joined, or their time is over
//!   Empty ───────────────► Preparing ─────────────────────────────► Completing
//!     ▲                    ▲   │  rebalance                 rebalance   │
//!     │    nobody is left  │   └──◄───────────┐  ┌──────────────────────┤
//!     └────────────────────┘                  │  │                      │ the leader's assignment
//!                                             │  │                      ▼ is in the log
//!                                             └──┴─────────────────── Stable
//! ```
//!
//! What each request does in each state is Kafka's, down to the error; `join`, `rebalance`, `sync`, `heartbeat` and
//! `offsets` have a request each.

mod convert;
mod heartbeat;
mod join;
mod member;
mod offsets;
mod persist;
mod rebalance;
mod subscription;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::describe_groups_response::DescribedGroupMember;
use kafka_wire::join_group_request::JoinGroupRequestProtocol;
use kafka_wire_core::StrBytes;

pub use join::{Join, MEMBER_ID_REQUIRED_SINCE, refusal as join_refusal};
pub use member::{Client, Member, Protocol};
pub use offsets::{Committer, ExpiryBase};
pub use sync::refusal as sync_refusal;

use super::budget::Charge;
use super::step::Context;
use super::timers::{Alarm, TimerKey, TimerKind, Timers};

/// What a group costs besides its members and texts.
const GROUP_BYTES: usize = 768;
/// What an id costs that was given and not used yet, besides its text.
const PENDING_BYTES: usize = 256;

/// The protocol type of consumers; only their subscriptions are read.
pub const CONSUMER: &str = "consumer";

/// The state of a classic group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicState {
    /// It has no members, but may have offsets.
    Empty,
    /// Its members are joining.
    PreparingRebalance,
    /// Its members have joined and wait for the leader's assignment.
    CompletingRebalance,
    /// Its members have their assignments.
    Stable,
}

impl ClassicState {
    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// An id that was given to somebody who has not joined with it yet.
#[derive(Debug)]
struct Pending {
    alarm: Alarm,
    _charge: Charge,
}

/// A classic group. Its alarms are in the queue of its shard: it goes by [`ClassicGroup::close`] only.
#[derive(Debug)]
pub struct ClassicGroup {
    id: Rc<str>,
    state: ClassicState,
    previous: ClassicState,
    /// When the state changed last, by the wall clock.
    since_ms: Option<i64>,
    generation: i32,
    protocol_type: Option<Box<str>>,
    protocol: Option<Box<str>>,
    leader: Option<Rc<str>>,
    members: BTreeMap<Rc<str>, Member>,
    /// From instance ids to member ids.
    instances: BTreeMap<Rc<str>, Rc<str>>,
    pending: BTreeMap<Rc<str>, Pending>,
    /// Members that have not asked for their assignments in this generation.
    unsynced: BTreeSet<Rc<str>>,
    /// How many members offer each protocol.
    offered: BTreeMap<Box<str>, usize>,
    /// Members whose `JoinGroup` waits.
    joining: usize,
    /// Somebody joined while the first rebalance waits for more.
    grew: bool,
    /// What the members are subscribed to, where that is known.
    subscribed: Option<BTreeSet<Box<str>>>,
    join_alarm: Alarm,
    /// While the first rebalance waits for more: the wait under way, and what is left after it.
    initial_wait_ms: Option<(u64, u64)>,
    sync_alarm: Alarm,
    _charge: Charge,
}

impl ClassicGroup {
    /// A group without members.
    pub fn new(id: &Rc<str>, budget: &super::Budget) -> Self {
        Self {
            id: Rc::clone(id),
            state: ClassicState::Empty,
            previous: ClassicState::Empty,
            since_ms: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            offered: BTreeMap::new(),
            joining: 0,
            grew: false,
            subscribed: None,
            join_alarm: Alarm::default(),
            initial_wait_ms: None,
            sync_alarm: Alarm::default(),
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

    /// Its state.
    pub fn state(&self) -> ClassicState {
        self.state
    }

    /// Its generation.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// What its members are.
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// What its members agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Its members, by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The member that assigns.
    pub fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    /// Whether it is of no use but for its offsets: nobody is in it, and nobody is about to be.
    pub fn is_vacant(&self) -> bool {
        self.state == ClassicState::Empty && self.pending.is_empty()
    }

    /// Takes back all alarms, before the group goes.
    pub fn close(&mut self, timers: &mut Timers) {
        timers.cancel(&mut self.join_alarm);
        timers.cancel(&mut self.sync_alarm);
        for pending in self.pending.values_mut() {
            timers.cancel(&mut pending.alarm);
        }
        for member in self.members.values_mut() {
            timers.cancel(&mut member.session);
        }
    }

    fn become_state(&mut self, state: ClassicState, wall_ms: i64) {
        self.previous = self.state;
        self.state = state;
        self.since_ms = Some(wall_ms);
    }

    /// Whether the id is a member's, and the instance's if one is named.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.instances.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *member_id => {
                    return Err(ErrorCode::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader() == Some(member_id)
    }

    /// Whether a member that offers these can be in the group: all others offer one of them too.
    fn supports(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        if self.state == ClassicState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type() == Some(protocol_type)
            && protocols.iter().any(|protocol| {
                self.offered
                    .get(protocol.name.as_str())
                    .copied()
                    .unwrap_or(0)
                    == self.members.len()
            })
    }

    fn count_offers(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            *self.offered.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    fn uncount_offers(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            if let Some(count) = self.offered.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.offered.remove(&protocol.name);
                }
            }
        }
    }

    /// Adds a member; whoever calls this has seen that it fits.
    fn add_member(&mut self, member: Member, protocol_type: &str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.into());
        }
        if self.leader.is_none() {
            self.leader = Some(Rc::clone(&member.id));
        }
        if let Some(instance_id) = &member.instance_id {
            self.instances
                .insert(Rc::clone(instance_id), Rc::clone(&member.id));
        }
        if member.is_joining() {
            self.joining += 1;
        }
        self.count_offers(&member.protocols);
        self.members.insert(Rc::clone(&member.id), member);
    }

    /// Takes a member, or an id that was given, out of the group. What it waited for is answered `UNKNOWN_MEMBER_ID`, so that
    /// it joins anew if it still lives.
    fn remove_member(&mut self, context: &mut Context<'_, '_>, member_id: &str) {
        if let Some(mut pending) = self.pending.remove(member_id) {
            context.timers.cancel(&mut pending.alarm);
        }
        self.unsynced.remove(member_id);
        let Some(mut member) = self.members.remove(member_id) else {
            return;
        };
        context.timers.cancel(&mut member.session);
        self.uncount_offers(&member.protocols);
        if let Some(reply) = member.join.take() {
            self.joining -= 1;
            context
                .step
                .answer_join(reply, join::refusal("", ErrorCode::UnknownMemberId));
        }
        if let Some(reply) = member.sync.take() {
            context
                .step
                .answer_sync(reply, sync::refusal(ErrorCode::UnknownMemberId));
        }
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Starts a member's session anew.
    fn renew_session(&mut self, context: &mut Context<'_, '_>, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            let wait_ms = u64::try_from(member.session_timeout_ms).unwrap_or(0);
            self.set_session(context, member_id, wait_ms);
        }
    }

    fn set_session(&mut self, context: &mut Context<'_, '_>, member_id: &str, wait_ms: u64) {
        let due_ms = context.after_ms(wait_ms);
        if let Some(member) = self.members.get_mut(member_id) {
            let key = || TimerKey {
                group_id: Rc::clone(&self.id),
                kind: TimerKind::Session {
                    member_id: Rc::clone(&member.id),
                },
            };
            context.timers.set(&mut member.session, due_ms, key);
        }
    }

    /// The longest time that any member may take to join again.
    fn rebalance_timeout_ms(&self) -> u64 {
        self.members
            .values()
            .map(|member| member.rebalance_timeout_ms)
            .max()
            .and_then(|ms| u64::try_from(ms).ok())
            .unwrap_or(0)
    }

    /// The protocol that most members like best among those that all offer. Of equals, the leader's.
    fn elect_protocol(&self) -> Option<&str> {
        let all = self.members.len();
        let common = |name: &str| self.offered.get(name) == Some(&all);
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let best = member
                .protocols
                .iter()
                .map(|protocol| &*protocol.name)
                .find(|name| common(name));
            if let Some(best) = best {
                *votes.entry(best).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        leader
            .into_iter()
            .flat_map(|leader| &leader.protocols)
            .map(|protocol| &*protocol.name)
            .find(|name| votes.get(name) == Some(&most))
            .or_else(|| {
                votes
                    .iter()
                    .find_map(|(name, count)| (*count == most).then_some(*name))
            })
    }

    /// Its members as DescribeGroups tells them: what they say and own only where the group is stable.
    pub fn described_members(&self) -> Vec<DescribedGroupMember> {
        self.members
            .values()
            .map(|member| {
                let mut described = DescribedGroupMember::default();
                described.member_id = StrBytes::from(&*member.id);
                described.group_instance_id = member.instance_id.as_deref().map(StrBytes::from);
                described.client_id = StrBytes::from(member.client.id.as_str());
                described.client_host = StrBytes::from(member.client.host.as_str());
                if self.state == ClassicState::Stable {
                    described.member_metadata = self
                        .protocol()
                        .and_then(|protocol| member.metadata(protocol).cloned())
                        .unwrap_or_default();
                    described.member_assignment = member.assignment.clone();
                }
                described
            })
            .collect()
    }
}
