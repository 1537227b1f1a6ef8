//! `ConsumerGroupHeartbeat`: a member shows that it lives, and moves on.

use std::rc::Rc;

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use kafka_wire::consumer_group_heartbeat_response::{
    Assignment, TopicPartitions as WirePartitions,
};
use kafka_wire::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_wire_core::{StrBytes, Uuid};

use super::reconcile::{Target, reconcile};
use super::request::{UNSET, partitions_of};
use super::{ConsumerGroup, Refusal};
use crate::group::classic::Client;
use crate::group::record::{ConsumerRecord, MemberState};
use crate::group::step::Context;
use crate::group::timers::{TimerKey, TimerKind};
use crate::group::topic_partitions::TopicPartitions;

/// Joins, or joins again.
pub(super) const JOIN_EPOCH: i32 = 0;
/// Leaves for good.
pub(super) const LEAVE_EPOCH: i32 = -1;
/// A static member leaves for a while.
pub(super) const LEAVE_STATIC_EPOCH: i32 = -2;
impl ConsumerGroup {
    /// Takes a heartbeat of somebody who joins or stays.
    ///
    /// # Errors
    /// Nothing changed, or what changed is sound without the rest.
    pub fn heartbeat(
        &mut self,
        context: &mut Context<'_, '_>,
        request: &ConsumerGroupHeartbeatRequest,
        client: &Client,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let member_id: Rc<str> = if request.member_id.is_empty() {
            let random = (context.step.random)();
            TopicId::new(random.to_be_bytes()).to_string().into()
        } else {
            request.member_id.as_str().into()
        };
        self.check_size(context.config, &member_id)?;
        let owned = request.topic_partitions.as_deref().map(partitions_of);
        let standing = self.standing(request, &member_id, owned.as_ref())?;
        self.update(context, request, client, &member_id, &standing)?;
        self.renew_session(context, &member_id);
        self.refresh(context)?;
        let is_changed = self.advance(context, &member_id, owned.as_ref())?;
        let member = self
            .members
            .get(&member_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        let mut response = ConsumerGroupHeartbeatResponse::default();
        response.member_id = Some(StrBytes::from(&*member.id));
        response.member_epoch = member.current.epoch;
        response.heartbeat_interval_ms = context.heartbeat_interval_ms(&self.id);
        let tells_all = request.rebalance_timeout_ms != UNSET
            && (request.subscribed_topic_names.is_some()
                || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        if request.member_epoch == JOIN_EPOCH || tells_all || is_changed {
            response.assignment = Some(assignment_of(&member.current.assigned));
        }
        Ok(response)
    }

    /// Moves a member on, as far as it can go. Whether what is assigned to it changed.
    pub(super) fn advance(
        &mut self,
        context: &mut Context<'_, '_>,
        member_id: &Rc<str>,
        owned: Option<&TopicPartitions>,
    ) -> Result<bool, Refusal> {
        let Some(member) = self.members.get(member_id) else {
            return Ok(false);
        };
        if member.is_at(self.target_epoch) {
            return Ok(false);
        }
        if member.current.state == MemberState::Unknown
            && owned.is_none_or(|owned| !owned.is_empty())
        {
            return Err(Refusal::new(
                ErrorCode::FencedMemberEpoch,
                "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.",
            ));
        }
        let target = Target {
            epoch: self.target_epoch,
            partitions: &member.target,
        };
        let next = reconcile(&member.current, target, owned, |topic, partition| {
            self.is_free_for(member_id, topic, partition)
        });
        let Some(next) = next else {
            return Ok(false);
        };
        let is_changed = next.assigned != member.current.assigned;
        let record = ConsumerRecord::Current {
            member_id: member_id.to_string(),
            value: Some(next),
        };
        self.record(context, vec![record])?;
        self.watch_revocation(context, member_id);
        Ok(is_changed)
    }

    /// Starts a member's session anew.
    pub(super) fn renew_session(&mut self, context: &mut Context<'_, '_>, member_id: &str) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        let timeout_ms = match &member.details.classic {
            Some(classic) => classic.session_timeout_ms,
            None => context.session_timeout_ms(&self.id),
        };
        let due_ms = context.after_ms(u64::try_from(timeout_ms).unwrap_or(0));
        let key = || TimerKey {
            group_id: Rc::clone(&self.id),
            kind: TimerKind::Session {
                member_id: Rc::clone(&member.id),
            },
        };
        context.timers.set(&mut member.session, due_ms, key);
    }

    /// Gives a member that has to give partitions up its time to do so.
    pub(super) fn watch_revocation(&mut self, context: &mut Context<'_, '_>, member_id: &str) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        context.timers.cancel(&mut member.revocation);
        if member.is_classic() || member.current.state != MemberState::Unrevoked {
            return;
        }
        let timeout_ms = u64::try_from(member.details.rebalance_timeout_ms).unwrap_or(0);
        let due_ms = context.after_ms(timeout_ms);
        let key = || TimerKey {
            group_id: Rc::clone(&self.id),
            kind: TimerKind::Revocation {
                member_id: Rc::clone(&member.id),
            },
        };
        context.timers.set(&mut member.revocation, due_ms, key);
    }
}

fn assignment_of(partitions: &TopicPartitions) -> Assignment {
    let mut assignment = Assignment::default();
    assignment.topic_partitions = partitions
        .topics()
        .map(|(id, indexes)| {
            let mut topic = WirePartitions::default();
            topic.topic_id = Uuid::from_bytes(id.get());
            topic.partitions = indexes.iter().copied().collect();
            topic
        })
        .collect();
    assignment
}
