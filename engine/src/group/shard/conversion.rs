//! A group that becomes one of another kind, and what members do that may make it so.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::leave_group_request::MemberIdentity;

use super::{Entry, Group, of_group};
use crate::group::classic::{ClassicGroup, ClassicState, Join, join_refusal};
use crate::group::consumer::{self, ConsumerGroup, Joined, Refusal};
use crate::group::step::Context;
use crate::group::timers::Elapsed;

impl Entry {
    /// Makes it a consumer group: an empty one at once, one with members if the policy allows it.
    pub(super) fn become_consumer(&mut self, context: &mut Context<'_, '_>) -> Result<(), Refusal> {
        let Group::Classic(classic) = &mut self.group else {
            return Ok(());
        };
        let id = Rc::clone(classic.id());
        let is_empty = classic.state() == ClassicState::Empty;
        let records = if is_empty {
            Vec::new()
        } else {
            of_group(&id, consumer::upgrade(classic, context)?)
        };
        let mut batch = Vec::new();
        if !self.group.is_unrecorded() {
            batch = self.group.tombstones(&id);
        }
        batch.extend(records);
        context.step.journal.append(&batch)?;
        if let Group::Classic(classic) = &mut self.group {
            if !is_empty {
                tracing::info!(group = %id, "a classic group becomes a consumer group");
            }
            classic.send_away(context);
        }
        let mut group = ConsumerGroup::new(&id, context.budget);
        for record in &batch {
            if let crate::group::GroupRecord::Consumer { record, .. } = record {
                group.replay(record, context.budget);
            }
        }
        group.resume(context);
        self.group = Group::Consumer(Box::new(group));
        Ok(())
    }

    /// Makes an empty consumer group a classic one.
    fn become_classic(&mut self, context: &mut Context<'_, '_>) -> Result<(), ErrorCode> {
        let Group::Consumer(group) = &self.group else {
            return Ok(());
        };
        let id = Rc::clone(group.id());
        if !group.is_unrecorded() {
            context.step.journal.append(&self.group.tombstones(&id))?;
        }
        self.group = Group::Classic(Box::new(ClassicGroup::new(&id, context.budget)));
        Ok(())
    }

    /// Makes a consumer group a classic one, without some of its members. Those who stay join again.
    fn downgrade(
        &mut self,
        context: &mut Context<'_, '_>,
        leaving: &[Rc<str>],
    ) -> Result<(), ErrorCode> {
        let Group::Consumer(group) = &mut self.group else {
            return Ok(());
        };
        let id = Rc::clone(group.id());
        let classic = ClassicGroup::from_consumer_group(context, group, leaving);
        let mut records = of_group(&id, group.tombstones());
        records.push(classic.record());
        context.step.journal.append(&records)?;
        tracing::info!(group = %id, "a consumer group becomes a classic group");
        group.close(context.timers);
        let mut classic = Box::new(classic);
        classic.start_over(context);
        self.group = Group::Classic(classic);
        Ok(())
    }

    /// Removes members of a consumer group.
    pub(super) fn fence(
        &mut self,
        context: &mut Context<'_, '_>,
        member_ids: &[Rc<str>],
    ) -> Result<(), ErrorCode> {
        let Group::Consumer(group) = &mut self.group else {
            return Ok(());
        };
        if member_ids.is_empty() {
            Ok(())
        } else if group.is_to_downgrade_without(member_ids, context.config) {
            self.downgrade(context, member_ids)
        } else {
            group.fence(context, member_ids)
        }
    }

    /// Takes a `JoinGroup`.
    pub(super) fn join(&mut self, context: &mut Context<'_, '_>, join: Join<'_>) {
        if let Err(code) = self.join_or_refuse(context, join) {
            let refusal = join_refusal(&join.request.member_id, code);
            context.step.answer_join(join.reply, refusal);
        }
    }

    fn join_or_refuse(
        &mut self,
        context: &mut Context<'_, '_>,
        join: Join<'_>,
    ) -> Result<(), ErrorCode> {
        if self.group.is_vacant() {
            self.become_classic(context)?;
        }
        let group = match &mut self.group {
            Group::Classic(group) => {
                group.join(context, join);
                return Ok(());
            }
            Group::Consumer(group) => group,
        };
        match group.join(context, join).map_err(|refusal| refusal.code)? {
            Joined::Answer(response) => context.step.answer_join(join.reply, response),
            Joined::Downgrade(member_id) => {
                self.downgrade(context, &[])?;
                let mut request = join.request.clone();
                request.member_id = (&*member_id).into();
                if let Group::Classic(group) = &mut self.group {
                    let request = &request;
                    group.join(context, Join { request, ..join });
                }
            }
        }
        Ok(())
    }

    /// Takes a `LeaveGroup` to a consumer group. Gives the outcome for each, in order.
    pub(super) fn leave(
        &mut self,
        context: &mut Context<'_, '_>,
        leaving: &[MemberIdentity],
    ) -> Vec<ErrorCode> {
        let Group::Consumer(group) = &self.group else {
            return Vec::new();
        };
        let found = group.leaving_members(leaving);
        let mut member_ids: Vec<Rc<str>> = found.iter().flatten().cloned().collect();
        member_ids.sort_unstable();
        member_ids.dedup();
        let fenced = self.fence(context, &member_ids);
        found
            .into_iter()
            .map(|one| match (one, fenced) {
                (Err(code), _) | (Ok(_), Err(code)) => code,
                (Ok(_), Ok(())) => ErrorCode::None,
            })
            .collect()
    }

    /// One of its alarms came up.
    pub(super) fn elapsed(&mut self, context: &mut Context<'_, '_>, elapsed: &Elapsed) {
        let out = match &mut self.group {
            Group::Classic(group) => {
                group.elapsed(context, elapsed);
                return;
            }
            Group::Consumer(group) => group.elapsed(context, elapsed),
        };
        let Some(member_id) = out else { return };
        if let Err(code) = self.fence(context, &[Rc::clone(&member_id)]) {
            tracing::warn!(member = %member_id, %code, "a member that is out could not be removed yet");
            if let Group::Consumer(group) = &mut self.group {
                group.spare(context, &member_id);
            }
        }
    }
}
