//! Signs of life, leaving, and silence.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::HeartbeatRequest;
use kafka_wire::leave_group_request::MemberIdentity;

use super::{ClassicGroup, ClassicState};
use crate::group::step::Context;
use crate::group::timers::{Elapsed, TimerKind};

impl ClassicGroup {
    /// Takes a heartbeat.
    pub fn heartbeat(
        &mut self,
        context: &mut Context<'_, '_>,
        request: &HeartbeatRequest,
    ) -> ErrorCode {
        if let Err(code) =
            self.check_member(&request.member_id, request.group_instance_id.as_deref())
        {
            return code;
        }
        if request.generation_id != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        match self.state {
            ClassicState::Empty => ErrorCode::UnknownMemberId,
            ClassicState::PreparingRebalance => {
                self.renew_session(context, &request.member_id);
                ErrorCode::RebalanceInProgress
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.renew_session(context, &request.member_id);
                ErrorCode::None
            }
        }
    }

    /// Lets members go. Gives the outcome for each, in order.
    pub fn leave(
        &mut self,
        context: &mut Context<'_, '_>,
        leaving: &[MemberIdentity],
    ) -> Vec<ErrorCode> {
        let outcomes: Vec<ErrorCode> = leaving
            .iter()
            .map(|identity| self.leave_one(context, identity))
            .collect();
        if outcomes.contains(&ErrorCode::None) {
            match self.state {
                ClassicState::Stable | ClassicState::CompletingRebalance => {
                    self.prepare_rebalance(context, "members left");
                }
                ClassicState::PreparingRebalance => self.go_on_if_all_joined(context),
                ClassicState::Empty => {}
            }
        }
        outcomes
    }

    fn leave_one(&mut self, context: &mut Context<'_, '_>, identity: &MemberIdentity) -> ErrorCode {
        let member_id = identity.member_id.as_str();
        let instance_id = identity.group_instance_id.as_deref();
        // An administrator names the instance only.
        let member_id: Rc<str> = if member_id.is_empty() {
            match instance_id.and_then(|id| self.instances.get(id)) {
                Some(current) => Rc::clone(current),
                None => return ErrorCode::UnknownMemberId,
            }
        } else if self.pending.contains_key(member_id) {
            member_id.into()
        } else {
            match self.check_member(member_id, instance_id) {
                Ok(()) => member_id.into(),
                Err(code) => return code,
            }
        };
        let reason = identity.reason.as_deref().unwrap_or("not provided");
        tracing::info!(group = %self.id, member = %member_id, reason, "a member left");
        self.remove_member(context, &member_id);
        ErrorCode::None
    }

    /// One of its alarms came up.
    pub fn elapsed(&mut self, context: &mut Context<'_, '_>, elapsed: &Elapsed) {
        let now_ms = context.step.now.monotonic_ms;
        let timers = &mut *context.timers;
        match &elapsed.key.kind {
            // Of members of a consumer group.
            TimerKind::Revocation { .. }
            | TimerKind::MemberJoin { .. }
            | TimerKind::MemberSync { .. } => {}
            TimerKind::Join => {
                if timers.is_due(&mut self.join_alarm, elapsed, now_ms) {
                    self.join_elapsed(context);
                }
            }
            TimerKind::Sync => {
                if timers.is_due(&mut self.sync_alarm, elapsed, now_ms) {
                    self.sync_elapsed(context);
                }
            }
            TimerKind::Pending { member_id } => {
                if let Some(pending) = self.pending.get_mut(member_id)
                    && timers.is_due(&mut pending.alarm, elapsed, now_ms)
                {
                    self.remove_member(context, member_id);
                    self.go_on_if_all_joined(context);
                }
            }
            TimerKind::Session { member_id } => {
                if let Some(member) = self.members.get_mut(member_id)
                    && timers.is_due(&mut member.session, elapsed, now_ms)
                {
                    // Who waits for the others is alive as far as anybody knows; its session starts anew with the answer.
                    let waits = member.join.is_some() || member.sync.is_some();
                    if member.is_new || !waits {
                        self.session_elapsed(context, member_id);
                    }
                }
            }
        }
    }

    fn session_elapsed(&mut self, context: &mut Context<'_, '_>, member_id: &str) {
        tracing::info!(group = %self.id, member = member_id, "a member was silent for too long");
        self.remove_member(context, member_id);
        match self.state {
            ClassicState::Stable | ClassicState::CompletingRebalance => {
                self.prepare_rebalance(context, "a member was silent for too long");
            }
            ClassicState::PreparingRebalance => self.go_on_if_all_joined(context),
            ClassicState::Empty => {}
        }
    }
}
