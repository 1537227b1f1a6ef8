//! The classic group that a consumer group becomes when only members of the classic protocol are left in it.

use std::rc::Rc;

use bytes::Bytes;
use corelane_net::error_code::ErrorCode;

use super::{CONSUMER, ClassicGroup, ClassicState, Client, Member, Protocol, join, sync};
use crate::group::consumer::ConsumerGroup;
use crate::group::consumer_protocol::encode_assignment;
use crate::group::record::GroupRecord;
use crate::group::step::Context;
use crate::group::timers::Alarm;

impl ClassicGroup {
    /// The group with its members of the classic protocol but for some, each with what it was to have. Its members' sessions
    /// do not run until [`ClassicGroup::resume`].
    pub fn from_consumer_group(
        context: &Context<'_, '_>,
        consumers: &ConsumerGroup,
        leaving: &[Rc<str>],
    ) -> Self {
        let mut group = Self::new(consumers.id(), context.budget);
        for (told, classic) in consumers.classic_members() {
            if leaving.contains(&told.id) {
                continue;
            }
            let client = Client {
                id: told.details.client_id.clone(),
                host: told.details.client_host.clone(),
            };
            let protocols: Vec<Protocol> = classic
                .protocols
                .iter()
                .map(|(name, metadata)| Protocol {
                    name: name.as_str().into(),
                    metadata: Bytes::copy_from_slice(metadata),
                })
                .collect();
            let version = match classic.protocols.first().map(|(_, bytes)| bytes.as_slice()) {
                Some([high, low, ..]) => i16::from_be_bytes([*high, *low]),
                _ => 0,
            };
            let assignment = encode_assignment(&told.target, version, context.image);
            let charge = context.budget.take(Member::size_bytes(
                &told.id,
                &client,
                &protocols,
                assignment.len(),
            ));
            let member = Member {
                id: Rc::clone(&told.id),
                instance_id: told.details.instance_id.as_deref().map(Into::into),
                client,
                rebalance_timeout_ms: told.details.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                protocols,
                assignment,
                join: None,
                sync: None,
                is_new: false,
                session: Alarm::default(),
                charge,
            };
            group.add_member(member, CONSUMER);
        }
        group.become_state(ClassicState::Stable, context.step.now.wall_ms);
        group.previous = ClassicState::Stable;
        group.generation = consumers.epoch();
        let protocol = group.elect_protocol().map(Into::into);
        group.protocol = protocol;
        group.read_subscriptions();
        group
    }

    /// The record of the group as it is.
    pub fn record(&self) -> GroupRecord {
        self.to_record(|member| &member.assignment)
    }

    /// Asks all members to join again, since they come from another kind of group.
    pub fn start_over(&mut self, context: &mut Context<'_, '_>) {
        self.resume(context);
        if self.state == ClassicState::Stable {
            self.prepare_rebalance(context, "it was a consumer group");
        }
    }

    /// Answers all who wait, before the group becomes another kind: they join again.
    pub fn send_away(&mut self, context: &mut Context<'_, '_>) {
        for member in self.members.values_mut() {
            if let Some(reply) = member.join.take() {
                let refusal = join::refusal(&member.id, ErrorCode::RebalanceInProgress);
                context.step.answer_join(reply, refusal);
            }
            if let Some(reply) = member.sync.take() {
                let refusal = sync::refusal(ErrorCode::RebalanceInProgress);
                context.step.answer_sync(reply, refusal);
            }
        }
        self.joining = 0;
        self.close(context.timers);
    }
}
