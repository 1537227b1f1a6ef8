//! A group that becomes one of another kind, and what members do that may make it so.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::leave_group_request::MemberIdentity;
use kafka_wire::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::{Entry, Group, of_group};
use crate::group::classic::{ClassicGroup, ClassicState, Client, Join, join_refusal};
use crate::group::consumer::{self, ConsumerGroup, Joined, Refusal};
use crate::group::record::GroupRecord;
use crate::group::step::{Context, Journal, Step};
use crate::group::timers::Elapsed;

/// Keeps batches back until it is known whether anything comes of them.
struct HeldJournal {
    batches: Vec<Vec<GroupRecord>>,
    /// The first batch takes what comes next, so that both are there after a crash, or none.
    is_first_open: bool,
}

impl HeldJournal {
    fn new(first: Vec<GroupRecord>) -> Self {
        Self {
            batches: vec![first],
            is_first_open: true,
        }
    }

    /// Hands the batches on, in order. Gives those that were taken, and why the next one was not.
    fn append_to(
        mut self,
        journal: &mut dyn Journal,
    ) -> (Vec<Vec<GroupRecord>>, Result<(), ErrorCode>) {
        for (taken, batch) in self.batches.iter().enumerate() {
            if let Err(code) = journal.append(batch) {
                self.batches.truncate(taken);
                return (self.batches, Err(code));
            }
        }
        (self.batches, Ok(()))
    }
}

impl Journal for HeldJournal {
    fn append(&mut self, records: &[GroupRecord]) -> Result<(), ErrorCode> {
        match self.batches.first_mut() {
            Some(first) if self.is_first_open => first.extend_from_slice(records),
            _ => self.batches.push(records.to_vec()),
        }
        self.is_first_open = false;
        Ok(())
    }
}

/// The consumer group that these batches tell of. Its alarms are not set.
fn consumer_group_of<'a>(
    id: &Rc<str>,
    batches: impl IntoIterator<Item = &'a Vec<GroupRecord>>,
    context: &Context<'_, '_>,
) -> ConsumerGroup {
    let mut group = ConsumerGroup::new(id, context.budget);
    for record in batches.into_iter().flatten() {
        if let GroupRecord::Consumer { record, .. } = record {
            group.replay(record, context.budget);
        }
    }
    group
}

impl Entry {
    /// Takes the heartbeat of somebody who joins a classic group: it becomes a consumer group with that member in it, an empty
    /// one at once, one with members if the policy allows it.
    ///
    /// # Errors
    /// The group is what it was: Kafka converts it only if the heartbeat is taken. If only a part could be recorded it is what
    /// the records say.
    pub(super) fn join_converted(
        &mut self,
        context: &mut Context<'_, '_>,
        request: &ConsumerGroupHeartbeatRequest,
        client: &Client,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let Group::Classic(classic) = &self.group else {
            return Err(ErrorCode::UnknownServerError.into());
        };
        let id = Rc::clone(classic.id());
        let is_empty = classic.state() == ClassicState::Empty;
        let mut records = if self.group.is_unrecorded() {
            Vec::new()
        } else {
            self.group.tombstones(&id)
        };
        if !is_empty {
            records.extend(of_group(&id, consumer::upgrade(classic, context)?));
        }
        let mut group = consumer_group_of(&id, [&records], context);
        let mut held = HeldJournal::new(records);
        let joined = {
            let mut step = Step::new(context.step.now, &mut held, &mut *context.step.random);
            let mut context = Context {
                step: &mut step,
                timers: &mut *context.timers,
                config: context.config,
                budget: context.budget,
                image: context.image,
            };
            group.resume(&mut context);
            group.heartbeat(&mut context, request, client)
        };
        let response = match joined {
            Ok(response) => response,
            Err(refusal) => {
                group.close(context.timers);
                return Err(refusal);
            }
        };
        let (batches, appended) = held.append_to(context.step.journal);
        if appended.is_err() {
            group.close(context.timers);
            if batches.is_empty() {
                return appended.map(|()| response).map_err(Refusal::from);
            }
            group = consumer_group_of(&id, &batches, context);
            group.resume(context);
        }
        if let Group::Classic(classic) = &mut self.group {
            if !is_empty {
                tracing::info!(group = %id, "a classic group becomes a consumer group");
            }
            classic.send_away(context);
        }
        self.group = Group::Consumer(Box::new(group));
        appended?;
        Ok(response)
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
        } else if let Group::Consumer(group) = &self.group
            && group.is_to_downgrade(context.config)
        {
            // A downgrade could not be recorded, or a crash came between.
            self.downgrade(context, &[])?;
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
