//! `JoinGroup`.

use std::rc::Rc;

use bytes::Bytes;
use corelane_net::error_code::ErrorCode;
use kafka_wire::{JoinGroupRequest, JoinGroupResponse};
use kafka_wire_core::StrBytes;

use super::member::protocols_of;
use super::{ClassicGroup, ClassicState, Client, Member, PENDING_BYTES, Pending, Protocol};
use crate::group::step::{Context, ReplyId};
use crate::group::timers::{Alarm, TimerKey, TimerKind};

/// How long somebody may wait in its first `JoinGroup`: it does not know its id yet, so it cannot be told from one that is gone.
const NEW_MEMBER_WAIT_MS: u64 = 5 * 60_000;
/// From this version on, clients can be given an id before they join.
pub const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// From this version on, a leader can be told to assign nothing.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// An answer with an error.
pub fn refusal(member_id: &str, code: ErrorCode) -> JoinGroupResponse {
    let mut response = JoinGroupResponse::default();
    response.error_code = code.code();
    response.generation_id = -1;
    response.member_id = StrBytes::from(member_id);
    response
}

/// A `JoinGroup` with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    /// The request.
    pub request: &'a JoinGroupRequest,
    /// Its version.
    pub version: i16,
    /// Who sent it.
    pub client: &'a Client,
    /// How it is answered.
    pub reply: ReplyId,
}

impl Join<'_> {
    fn instance_id(&self) -> Option<&str> {
        self.request.group_instance_id.as_deref()
    }

    fn size_bytes(&self) -> usize {
        let protocols: usize = self
            .request
            .protocols
            .iter()
            .map(|protocol| protocol.name.len() + protocol.metadata.len() + 64)
            .sum();
        Member::size_bytes(&self.request.member_id, self.client, &[], 0) + protocols + 2 * 64
    }
}

impl ClassicGroup {
    /// Takes a `JoinGroup`; it is answered at once, or when the generation begins.
    pub fn join(&mut self, context: &mut Context<'_, '_>, join: Join<'_>) {
        let member_id = join.request.member_id.as_str();
        let outcome = if !self.has_place_for(context, member_id) {
            self.remove_member(context, member_id);
            // It may have been the last that the others waited for.
            self.go_on_if_all_joined(context);
            Err(("", ErrorCode::GroupMaxSizeReached))
        } else if !self.supports(&join.request.protocol_type, &join.request.protocols) {
            Err((member_id, ErrorCode::InconsistentGroupProtocol))
        } else if !context.budget.has_room(join.size_bytes()) {
            Err((member_id, ErrorCode::CoordinatorNotAvailable))
        } else if member_id.is_empty() {
            self.join_anew(context, join);
            Ok(())
        } else {
            self.join_again(context, join)
                .map_err(|code| (member_id, code))
        };
        if let Err((member_id, code)) = outcome {
            context
                .step
                .answer_join(join.reply, refusal(member_id, code));
        }
    }

    /// Whether `group.max.size` leaves room. While members join, those who have joined count: so a group that is too large
    /// loses those who come last.
    fn has_place_for(&self, context: &Context<'_, '_>, member_id: &str) -> bool {
        let members_max = context.config.members_max;
        match self.state {
            ClassicState::Empty => true,
            ClassicState::PreparingRebalance => {
                self.members.get(member_id).is_some_and(Member::is_joining)
                    || self.joining < members_max
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.members.contains_key(member_id) || self.members.len() < members_max
            }
        }
    }

    /// Somebody without an id.
    fn join_anew(&mut self, context: &mut Context<'_, '_>, join: Join<'_>) {
        let random = uuid_text((context.step.random)());
        let prefix = join.instance_id().unwrap_or(&join.client.id);
        let member_id: Rc<str> = format!("{prefix}-{random}").into();
        match join.instance_id().and_then(|id| self.instances.get(id)) {
            Some(earlier) => {
                let earlier = Rc::clone(earlier);
                self.replace_static(context, join, &earlier, &member_id);
            }
            None if join.instance_id().is_none() && join.version >= MEMBER_ID_REQUIRED_SINCE => {
                self.give_id(context, join, &member_id);
            }
            None => self.add_joining(context, join, &member_id),
        }
    }

    /// Answers with an id to join with, so that a client that gives up and comes back is not taken for two.
    fn give_id(&mut self, context: &mut Context<'_, '_>, join: Join<'_>, member_id: &Rc<str>) {
        let mut alarm = Alarm::default();
        let wait_ms = u64::try_from(join.request.session_timeout_ms).unwrap_or(0);
        let due_ms = context.after_ms(wait_ms);
        let key = || TimerKey {
            group_id: Rc::clone(&self.id),
            kind: TimerKind::Pending {
                member_id: Rc::clone(member_id),
            },
        };
        context.timers.set(&mut alarm, due_ms, key);
        let charge = context.budget.take(PENDING_BYTES + 2 * member_id.len());
        self.pending.insert(
            Rc::clone(member_id),
            Pending {
                alarm,
                _charge: charge,
            },
        );
        context
            .step
            .answer_join(join.reply, refusal(member_id, ErrorCode::MemberIdRequired));
    }

    /// Somebody with an id.
    fn join_again(
        &mut self,
        context: &mut Context<'_, '_>,
        join: Join<'_>,
    ) -> Result<(), ErrorCode> {
        let member_id = join.request.member_id.as_str();
        if self.pending.contains_key(member_id) && join.instance_id().is_some() {
            // The id was given to a dynamic member, and its instance may be another's. Kafka meets it as a failure of its own.
            return Err(ErrorCode::UnknownServerError);
        }
        if let Some(mut pending) = self.pending.remove(member_id) {
            context.timers.cancel(&mut pending.alarm);
            self.add_joining(context, join, &member_id.into());
            return Ok(());
        }
        self.check_member(member_id, join.instance_id())?;
        let Some(member) = self.members.get(member_id) else {
            return Err(ErrorCode::UnknownMemberId);
        };
        let is_same = member.offers(&join.request.protocols);
        match self.state {
            ClassicState::Empty => Err(ErrorCode::UnknownMemberId),
            // It may not have got its answer: the generation stands.
            ClassicState::CompletingRebalance if is_same => {
                let response = self.joined(member_id);
                context.step.answer_join(join.reply, response);
                Ok(())
            }
            ClassicState::Stable if is_same && !self.is_leader(member_id) => {
                let response = self.joined(member_id);
                context.step.answer_join(join.reply, response);
                Ok(())
            }
            // The leader of a stable group asks for a rebalance by joining: what it assigns may have changed.
            ClassicState::PreparingRebalance
            | ClassicState::CompletingRebalance
            | ClassicState::Stable => {
                self.update_joining(context, join, &member_id.into());
                self.rebalance(context, "a member joined again");
                Ok(())
            }
        }
    }

    fn add_joining(&mut self, context: &mut Context<'_, '_>, join: Join<'_>, member_id: &Rc<str>) {
        let protocols = protocols_of(&join.request.protocols);
        let charge = context
            .budget
            .take(Member::size_bytes(member_id, join.client, &protocols, 0));
        let member = Member {
            id: Rc::clone(member_id),
            instance_id: join.instance_id().map(Into::into),
            client: join.client.clone(),
            rebalance_timeout_ms: join.request.rebalance_timeout_ms,
            session_timeout_ms: join.request.session_timeout_ms,
            protocols,
            assignment: Bytes::new(),
            join: Some(join.reply),
            sync: None,
            is_new: true,
            session: Alarm::default(),
            charge,
        };
        if self.state == ClassicState::PreparingRebalance && self.previous == ClassicState::Empty {
            self.grew = true;
        }
        self.add_member(member, &join.request.protocol_type);
        self.set_session(context, member_id, NEW_MEMBER_WAIT_MS);
        self.rebalance(context, "a member joined");
    }

    /// Takes over what a member says now, and has it wait with this request.
    fn update_joining(
        &mut self,
        context: &mut Context<'_, '_>,
        join: Join<'_>,
        member_id: &Rc<str>,
    ) {
        let Some(mut member) = self.members.remove(member_id) else {
            return;
        };
        self.uncount_offers(&member.protocols);
        member.protocols = protocols_of(&join.request.protocols);
        self.count_offers(&member.protocols);
        member.rebalance_timeout_ms = join.request.rebalance_timeout_ms;
        member.session_timeout_ms = join.request.session_timeout_ms;
        member.charge = context.budget.take(Member::size_bytes(
            &member.id,
            &member.client,
            &member.protocols,
            member.assignment.len(),
        ));
        match member.join.replace(join.reply) {
            None => self.joining += 1,
            // Its client asks again, so it waits for this one no more.
            Some(earlier) => context
                .step
                .answer_join(earlier, refusal(member_id, ErrorCode::RebalanceInProgress)),
        }
        self.members.insert(Rc::clone(member_id), member);
    }

    /// A static member is back under a new id: it takes the place of its earlier self, which is fenced.
    fn replace_static(
        &mut self,
        context: &mut Context<'_, '_>,
        join: Join<'_>,
        earlier_id: &Rc<str>,
        member_id: &Rc<str>,
    ) {
        let leader_before = self.leader.clone();
        let before = self.rename_static(context, join, earlier_id, member_id);
        if self.state == ClassicState::Stable && self.elect_protocol() == self.protocol() {
            // Nothing changes for the others, so they go on; the new id has to be known after a crash.
            let record = self.to_record(|member| &member.assignment);
            if let Err(code) = context.step.journal.append(&[record]) {
                self.rename_back(context, earlier_id, member_id, before);
                self.renew_session(context, earlier_id);
                context.step.answer_join(join.reply, refusal("", code));
                return;
            }
            let mut response = self.joined(member_id);
            if join.version >= SKIP_ASSIGNMENT_SINCE {
                response.skip_assignment = self.is_leader(member_id);
            } else {
                // A leader that cannot be told to skip its assignment is told that another one leads.
                response.members.clear();
                response.leader = StrBytes::from(leader_before.as_deref().unwrap_or_default());
            }
            context.step.answer_join(join.reply, response);
            return;
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.join = Some(join.reply);
            self.joining += 1;
        }
        self.rebalance(context, "a static member is back");
    }

    /// Puts a static member under its new id, with what it says now. Gives what it was before.
    fn rename_static(
        &mut self,
        context: &mut Context<'_, '_>,
        join: Join<'_>,
        earlier_id: &Rc<str>,
        member_id: &Rc<str>,
    ) -> Option<Before> {
        let mut member = self.members.remove(earlier_id)?;
        if let Some(reply) = member.join.take() {
            self.joining -= 1;
            context
                .step
                .answer_join(reply, refusal(earlier_id, ErrorCode::FencedInstanceId));
        }
        if let Some(reply) = member.sync.take() {
            context
                .step
                .answer_sync(reply, super::sync::refusal(ErrorCode::FencedInstanceId));
        }
        self.note_synced(context, earlier_id);
        context.timers.cancel(&mut member.session);
        self.uncount_offers(&member.protocols);
        let request = join.request;
        let before = Before {
            client: std::mem::replace(&mut member.client, join.client.clone()),
            protocols: std::mem::replace(&mut member.protocols, protocols_of(&request.protocols)),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
        };
        self.count_offers(&member.protocols);
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        member.charge = context.budget.take(Member::size_bytes(
            member_id,
            &member.client,
            &member.protocols,
            member.assignment.len(),
        ));
        self.put_renamed(member, earlier_id, member_id);
        self.renew_session(context, member_id);
        Some(before)
    }

    fn rename_back(
        &mut self,
        context: &mut Context<'_, '_>,
        earlier_id: &Rc<str>,
        member_id: &Rc<str>,
        before: Option<Before>,
    ) {
        let (Some(mut member), Some(before)) = (self.members.remove(member_id), before) else {
            return;
        };
        // The alarm's place in the queue bears the other id.
        context.timers.cancel(&mut member.session);
        self.uncount_offers(&member.protocols);
        self.count_offers(&before.protocols);
        member.client = before.client;
        member.protocols = before.protocols;
        member.rebalance_timeout_ms = before.rebalance_timeout_ms;
        member.session_timeout_ms = before.session_timeout_ms;
        self.put_renamed(member, member_id, earlier_id);
    }

    fn put_renamed(&mut self, mut member: Member, from: &Rc<str>, to: &Rc<str>) {
        member.id = Rc::clone(to);
        if self.is_leader(from) {
            self.leader = Some(Rc::clone(to));
        }
        if let Some(instance_id) = &member.instance_id {
            self.instances.insert(Rc::clone(instance_id), Rc::clone(to));
        }
        self.members.insert(Rc::clone(to), member);
    }
}

/// What a static member said before it came back.
struct Before {
    client: Client,
    protocols: Vec<Protocol>,
    rebalance_timeout_ms: i32,
    session_timeout_ms: i32,
}

/// Kafka's text form of a random number.
fn uuid_text(random: u128) -> String {
    let hex = format!("{random:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
