//! From one generation to the next.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::JoinGroupResponse;
use kafka_wire::join_group_response::JoinGroupResponseMember;
use kafka_wire_core::StrBytes;

use super::{ClassicGroup, ClassicState};
use crate::group::step::Context;
use crate::group::timers::{TimerKey, TimerKind};

impl ClassicGroup {
    /// Something changed: starts a rebalance, or, in one that is under way, sees whether it can go on.
    pub(super) fn rebalance(&mut self, context: &mut Context<'_, '_>, reason: &str) {
        if self.state == ClassicState::PreparingRebalance {
            self.go_on_if_all_joined(context);
        } else {
            self.prepare_rebalance(context, reason);
        }
    }

    /// Ends the wait for members if all are there. The first rebalance of a group waits in any case.
    pub(super) fn go_on_if_all_joined(&mut self, context: &mut Context<'_, '_>) {
        if self.state == ClassicState::PreparingRebalance
            && self.previous != ClassicState::Empty
            && self.has_all_joined()
        {
            self.complete_join(context);
        }
    }

    fn has_all_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending.is_empty()
    }

    /// Asks all members to join anew.
    pub(super) fn prepare_rebalance(&mut self, context: &mut Context<'_, '_>, reason: &str) {
        tracing::debug!(group = %self.id, generation = self.generation, reason, "rebalancing");
        if self.state == ClassicState::CompletingRebalance {
            self.fail_syncs(context, ErrorCode::RebalanceInProgress);
        }
        context.timers.cancel(&mut self.sync_alarm);
        let is_first = self.state == ClassicState::Empty;
        self.become_state(ClassicState::PreparingRebalance, context.step.now.wall_ms);
        if is_first {
            // Members of a new group come one after the other; a short wait spares them a rebalance each.
            let delay_ms = context.config.initial_rebalance_delay_ms;
            let left_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms);
            self.initial_wait_ms = Some((delay_ms, left_ms));
            self.set_join_alarm(context, delay_ms);
        } else if self.has_all_joined() {
            self.complete_join(context);
        } else {
            self.initial_wait_ms = None;
            let wait_ms = self.rebalance_timeout_ms();
            self.set_join_alarm(context, wait_ms);
        }
    }

    fn set_join_alarm(&mut self, context: &mut Context<'_, '_>, wait_ms: u64) {
        let due_ms = context.after_ms(wait_ms);
        let id = &self.id;
        let key = || TimerKey {
            group_id: Rc::clone(id),
            kind: TimerKind::Join,
        };
        // The new wait may be over before the old one.
        context.timers.cancel(&mut self.join_alarm);
        context.timers.set(&mut self.join_alarm, due_ms, key);
    }

    /// The members have had their time to join.
    pub(super) fn join_elapsed(&mut self, context: &mut Context<'_, '_>) {
        if self.state != ClassicState::PreparingRebalance {
            return;
        }
        match self.initial_wait_ms {
            Some((waited_ms, left_ms)) if self.grew && left_ms > 0 => {
                self.grew = false;
                let wait_ms = context.config.initial_rebalance_delay_ms.min(left_ms);
                self.initial_wait_ms = Some((wait_ms, left_ms.saturating_sub(waited_ms)));
                self.set_join_alarm(context, wait_ms);
            }
            _ => self.complete_join(context),
        }
    }

    /// Starts the next generation with those who have joined. Static members stay without joining: that is what they are for.
    fn complete_join(&mut self, context: &mut Context<'_, '_>) {
        context.timers.cancel(&mut self.join_alarm);
        self.initial_wait_ms = None;
        self.grew = false;
        let absent: Vec<Rc<str>> = self
            .members
            .values()
            .filter(|member| !member.is_joining() && member.instance_id.is_none())
            .map(|member| Rc::clone(&member.id))
            .collect();
        for member_id in absent {
            tracing::info!(group = %self.id, member = %member_id, "removed a member that did not join again");
            self.remove_member(context, &member_id);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            // Only static members are left, and none has joined: they have until their sessions end.
            let wait_ms = self.rebalance_timeout_ms();
            self.set_join_alarm(context, wait_ms);
            return;
        }
        self.generation = self.generation.saturating_add(1);
        self.unsynced.clear();
        let protocol = self.elect_protocol().map(Into::into);
        self.protocol = protocol;
        self.read_subscriptions();
        let wall_ms = context.step.now.wall_ms;
        if self.members.is_empty() {
            self.leader = None;
            self.become_state(ClassicState::Empty, wall_ms);
            let record = self.to_record(|_| &[]);
            if let Err(code) = context.step.journal.append(&[record]) {
                // Costs nothing but a detour after a crash: the members of the last generation are then missed again.
                tracing::warn!(group = %self.id, %code, "an empty group could not be recorded");
            }
            return;
        }
        self.become_state(ClassicState::CompletingRebalance, wall_ms);
        tracing::info!(
            group = %self.id, generation = self.generation, members = self.members.len(), "a generation begins"
        );
        let members: Vec<Rc<str>> = self.members.keys().cloned().collect();
        for member_id in members {
            let response = self.joined(&member_id);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
                if let Some(reply) = member.join.take() {
                    self.joining -= 1;
                    context.step.answer_join(reply, response);
                }
            }
            self.renew_session(context, &member_id);
            self.unsynced.insert(member_id);
        }
        let due_ms = context.after_ms(self.rebalance_timeout_ms());
        let id = &self.id;
        let key = || TimerKey {
            group_id: Rc::clone(id),
            kind: TimerKind::Sync,
        };
        context.timers.cancel(&mut self.sync_alarm);
        context.timers.set(&mut self.sync_alarm, due_ms, key);
    }

    /// Sees to it that the leader has joined. `false` if nobody has.
    fn elect_leader(&mut self) -> bool {
        let has_joined = |id: &Rc<str>| self.members.get(id).is_some_and(super::Member::is_joining);
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.values().find(|member| member.is_joining());
        match joined {
            Some(member) => {
                self.leader = Some(Rc::clone(&member.id));
                true
            }
            None => false,
        }
    }

    /// What a member is told when it has joined the generation.
    pub(super) fn joined(&self, member_id: &str) -> JoinGroupResponse {
        let mut response = JoinGroupResponse::default();
        response.generation_id = self.generation;
        response.protocol_type = self.protocol_type().map(StrBytes::from);
        response.protocol_name = self.protocol().map(StrBytes::from);
        response.leader = StrBytes::from(self.leader().unwrap_or_default());
        response.member_id = StrBytes::from(member_id);
        if self.is_leader(member_id) {
            response.members = self.members_for_leader();
        }
        response
    }

    pub(super) fn members_for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol().unwrap_or_default();
        self.members
            .values()
            .map(|member| {
                let mut told = JoinGroupResponseMember::default();
                told.member_id = StrBytes::from(&*member.id);
                told.group_instance_id = member.instance_id.as_deref().map(StrBytes::from);
                told.metadata = member.metadata(protocol).cloned().unwrap_or_default();
                told
            })
            .collect()
    }

    /// The members have had their time to ask for their assignments: who has not is out.
    pub(super) fn sync_elapsed(&mut self, context: &mut Context<'_, '_>) {
        if !matches!(
            self.state,
            ClassicState::CompletingRebalance | ClassicState::Stable
        ) || self.unsynced.is_empty()
        {
            return;
        }
        let late: Vec<Rc<str>> = self.unsynced.iter().cloned().collect();
        for member_id in late {
            tracing::info!(group = %self.id, member = %member_id, "removed a member that did not ask for its assignment");
            self.remove_member(context, &member_id);
        }
        self.prepare_rebalance(context, "members did not ask for their assignments");
    }
}
