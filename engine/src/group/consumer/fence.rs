//! Leaving, and silence.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::ConsumerGroupHeartbeatRequest;

use super::admission::removal;
use super::heartbeat::LEAVE_STATIC_EPOCH;
use super::standing::{fenced_instance, unknown_instance};
use super::{ConsumerGroup, Refusal};
use crate::group::config::GroupConfig;
use crate::group::record::{ConsumerRecord, CurrentAssignment, MemberState};
use crate::group::step::Context;
use crate::group::timers::{Elapsed, TimerKind};
use crate::group::topic_partitions::TopicPartitions;

impl ConsumerGroup {
    /// The member that a request to leave names.
    ///
    /// # Errors
    /// It is not in the group, or is not the one that its instance is now.
    pub fn leaving_member(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Rc<str>, Refusal> {
        let member_id = request.member_id.as_str();
        let Some(instance_id) = request.instance_id.as_deref() else {
            let known = self.members.get_key_value(member_id);
            return known
                .map(|(id, _)| Rc::clone(id))
                .ok_or_else(|| self.unknown_member(member_id));
        };
        match self.instances.get(instance_id) {
            None => Err(unknown_instance(instance_id)),
            Some(current) if **current != *member_id => {
                Err(fenced_instance(member_id, instance_id, current))
            }
            Some(current) => Ok(Rc::clone(current)),
        }
    }

    /// Whether a request to leave is one for a while only: the member keeps its partitions until it is back, or its session ends.
    pub fn leaves_for_a_while(request: &ConsumerGroupHeartbeatRequest) -> bool {
        request.instance_id.is_some() && request.member_epoch == LEAVE_STATIC_EPOCH
    }

    /// Lets a static member go for a while.
    pub fn pause(
        &mut self,
        context: &mut Context<'_, '_>,
        member_id: &Rc<str>,
    ) -> Result<(), ErrorCode> {
        let Some(member) = self.members.get_mut(member_id) else {
            return Err(ErrorCode::UnknownMemberId);
        };
        tracing::info!(group = %self.id, member = %member_id, "a static member left for a while");
        let record = ConsumerRecord::Current {
            member_id: member_id.to_string(),
            value: Some(CurrentAssignment {
                epoch: LEAVE_STATIC_EPOCH,
                revoking: TopicPartitions::default(),
                ..member.current.clone()
            }),
        };
        context.timers.cancel(&mut member.revocation);
        self.record(context, vec![record])
    }

    /// Removes members. The next heartbeat gives their partitions to others.
    pub fn fence(
        &mut self,
        context: &mut Context<'_, '_>,
        member_ids: &[Rc<str>],
    ) -> Result<(), ErrorCode> {
        let mut records = Vec::new();
        for member_id in member_ids {
            records.extend(removal(member_id));
        }
        let leaving = |pattern: &str| {
            member_ids
                .iter()
                .filter_map(|id| self.members.get(id))
                .filter(|member| member.details.pattern() == Some(pattern))
                .count()
        };
        let unused = self
            .patterns
            .iter()
            .filter(|(pattern, known)| known.members == leaving(pattern))
            .map(|(pattern, _)| ConsumerRecord::Pattern {
                pattern: pattern.to_string(),
                value: None,
            });
        records.extend(unused);
        records.push(self.next_epoch());
        self.record(context, records)
    }

    /// Whether the group becomes a classic one when these members are gone: only members that speak the classic protocol stay.
    pub fn is_to_downgrade_without(&self, member_ids: &[Rc<str>], config: &GroupConfig) -> bool {
        let mut stay = self.members.len();
        let mut classic = self.classic_members;
        let mut consumers_leave = false;
        for member in member_ids.iter().filter_map(|id| self.members.get(id)) {
            stay -= 1;
            if member.is_classic() {
                classic -= 1;
            } else {
                consumers_leave = true;
            }
        }
        consumers_leave
            && stay > 0
            && classic == stay
            && config.migration.allows_downgrade()
            && stay <= config.members_max
    }

    /// Whether only members that speak the classic protocol are in it, though it may become a classic group.
    pub fn is_to_downgrade(&self, config: &GroupConfig) -> bool {
        let members = self.members.len();
        members > 0
            && self.classic_members == members
            && config.migration.allows_downgrade()
            && members <= config.members_max
    }

    /// One of its alarms came up. Gives the member that is out, if one is.
    pub fn elapsed(&mut self, context: &mut Context<'_, '_>, elapsed: &Elapsed) -> Option<Rc<str>> {
        let now_ms = context.step.now.monotonic_ms;
        let (member_id, reason) = match &elapsed.key.kind {
            TimerKind::Session { member_id } => (member_id, "it was silent for too long"),
            TimerKind::Revocation { member_id } => {
                (member_id, "it did not give its partitions up in time")
            }
            TimerKind::MemberJoin { member_id } => (member_id, "it did not join again in time"),
            TimerKind::MemberSync { member_id } => {
                (member_id, "it did not ask for its assignment in time")
            }
            TimerKind::Pending { .. } | TimerKind::Join | TimerKind::Sync => return None,
        };
        let member = self.members.get_mut(member_id)?;
        let alarm = match &elapsed.key.kind {
            TimerKind::Revocation { .. } => &mut member.revocation,
            TimerKind::MemberJoin { .. } => &mut member.join,
            TimerKind::MemberSync { .. } => &mut member.sync,
            _ => &mut member.session,
        };
        if !context.timers.is_due(alarm, elapsed, now_ms) {
            return None;
        }
        if matches!(elapsed.key.kind, TimerKind::Revocation { .. })
            && member.current.state != MemberState::Unrevoked
        {
            return None;
        }
        tracing::info!(group = %self.id, member = %member_id, reason, "a member is out");
        Some(Rc::clone(member_id))
    }

    /// A member that is out could not be removed: it has another session's time, and then it is tried again.
    pub fn spare(&mut self, context: &mut Context<'_, '_>, member_id: &Rc<str>) {
        self.renew_session(context, member_id);
    }
}
