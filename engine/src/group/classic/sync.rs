//! `SyncGroup`: the leader's assignment goes to all members.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use corelane_net::error_code::ErrorCode;
use kafka_wire::{SyncGroupRequest, SyncGroupResponse};
use kafka_wire_core::StrBytes;

use super::{ClassicGroup, ClassicState, Member};
use crate::group::step::{Context, ReplyId};

/// An answer with an error.
pub fn refusal(code: ErrorCode) -> SyncGroupResponse {
    let mut response = SyncGroupResponse::default();
    response.error_code = code.code();
    response
}

impl ClassicGroup {
    /// Takes a `SyncGroup`; it is answered when the leader's assignment is in the log.
    pub fn sync(
        &mut self,
        context: &mut Context<'_, '_>,
        request: &SyncGroupRequest,
        reply: ReplyId,
    ) {
        if let Err(code) = self.check_sync(request) {
            context.step.answer_sync(reply, refusal(code));
            return;
        }
        let member_id = request.member_id.as_str();
        match self.state {
            ClassicState::Empty => {
                context
                    .step
                    .answer_sync(reply, refusal(ErrorCode::UnknownMemberId));
            }
            ClassicState::PreparingRebalance => {
                context
                    .step
                    .answer_sync(reply, refusal(ErrorCode::RebalanceInProgress));
            }
            ClassicState::CompletingRebalance => {
                if let Some(member) = self.members.get_mut(member_id)
                    && let Some(earlier) = member.sync.replace(reply)
                {
                    // Its client asks again, so it waits for this one no more.
                    context
                        .step
                        .answer_sync(earlier, refusal(ErrorCode::RebalanceInProgress));
                }
                self.note_synced(context, member_id);
                if self.is_leader(member_id) {
                    self.assign(context, request);
                }
            }
            ClassicState::Stable => {
                self.note_synced(context, member_id);
                self.renew_session(context, member_id);
                let response = self
                    .members
                    .get(member_id)
                    .map(|member| self.assigned(member));
                context
                    .step
                    .answer_sync(reply, response.unwrap_or_default());
            }
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |claimed: Option<&StrBytes>, own: Option<&str>| {
            claimed.is_some_and(|claimed| Some(claimed.as_str()) != own)
        };
        if differs(request.protocol_type.as_ref(), self.protocol_type())
            || differs(request.protocol_name.as_ref(), self.protocol())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    pub(super) fn note_synced(&mut self, context: &mut Context<'_, '_>, member_id: &str) {
        self.unsynced.remove(member_id);
        if self.unsynced.is_empty() {
            context.timers.cancel(&mut self.sync_alarm);
        }
    }

    /// Records the leader's assignment and gives it out. Members that it leaves out get nothing.
    fn assign(&mut self, context: &mut Context<'_, '_>, request: &SyncGroupRequest) {
        let given: HashMap<&str, &Bytes> = request
            .assignments
            .iter()
            .map(|one| (one.member_id.as_str(), &one.assignment))
            .collect();
        let assignment_of = |member: &Member| given.get(&*member.id).map_or(&[][..], |bytes| bytes);
        let added: usize = self
            .members
            .values()
            .map(|member| assignment_of(member).len())
            .sum();
        let recorded = if context.budget.has_room(added) {
            let record = self.to_record(assignment_of);
            context.step.journal.append(&[record])
        } else {
            Err(ErrorCode::CoordinatorNotAvailable)
        };
        if let Err(code) = recorded {
            tracing::warn!(group = %self.id, %code, "an assignment could not be recorded");
            self.fail_syncs(context, code);
            self.prepare_rebalance(context, "its assignment could not be recorded");
            return;
        }
        let members: Vec<Rc<str>> = self.members.keys().cloned().collect();
        for member_id in members {
            if let Some(member) = self.members.get_mut(&member_id) {
                member.assignment = given
                    .get(&*member_id)
                    .map_or_else(Bytes::new, |bytes| Bytes::copy_from_slice(bytes));
                member.charge = context.budget.take(Member::size_bytes(
                    &member.id,
                    &member.client,
                    &member.protocols,
                    member.assignment.len(),
                ));
                if let Some(reply) = member.sync.take() {
                    let response = self
                        .members
                        .get(&member_id)
                        .map(|member| self.assigned(member));
                    context
                        .step
                        .answer_sync(reply, response.unwrap_or_default());
                    self.renew_session(context, &member_id);
                }
            }
        }
        self.become_state(ClassicState::Stable, context.step.now.wall_ms);
    }

    fn assigned(&self, member: &Member) -> SyncGroupResponse {
        let mut response = SyncGroupResponse::default();
        response.protocol_type = self.protocol_type().map(StrBytes::from);
        response.protocol_name = self.protocol().map(StrBytes::from);
        response.assignment = member.assignment.clone();
        response
    }

    /// Takes all assignments back and answers whoever waits for one.
    pub(super) fn fail_syncs(&mut self, context: &mut Context<'_, '_>, code: ErrorCode) {
        let mut renewed = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(reply) = member.sync.take() {
                context.step.answer_sync(reply, refusal(code));
                renewed.push(Rc::clone(&member.id));
            }
        }
        // While they waited their sessions did not count.
        for member_id in renewed {
            self.renew_session(context, &member_id);
        }
    }
}
