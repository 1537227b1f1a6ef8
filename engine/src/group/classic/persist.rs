//! A classic group as its record, and back.

use std::rc::Rc;

use bytes::Bytes;

use super::{ClassicGroup, ClassicState, Client, Member, Protocol};
use crate::group::budget::Budget;
use crate::group::record::{GroupMetadataValue, GroupRecord, MemberMetadata};
use crate::group::step::Context;
use crate::group::timers::Alarm;

impl ClassicGroup {
    /// The record of the group with these assignments.
    pub(super) fn to_record<'a>(
        &'a self,
        assignment: impl Fn(&'a Member) -> &'a [u8],
    ) -> GroupRecord {
        let protocol = self.protocol().unwrap_or_default();
        let members = self
            .members
            .values()
            .map(|member| MemberMetadata {
                member_id: member.id.to_string(),
                group_instance_id: member.instance_id.as_deref().map(str::to_owned),
                client_id: member.client.id.clone(),
                client_host: member.client.host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                subscription: member
                    .metadata(protocol)
                    .map(|bytes| bytes.to_vec())
                    .unwrap_or_default(),
                assignment: assignment(member).to_vec(),
            })
            .collect();
        GroupRecord::GroupMetadata {
            group_id: self.id.to_string(),
            value: Some(GroupMetadataValue {
                protocol_type: self.protocol_type().unwrap_or_default().to_owned(),
                generation: self.generation,
                protocol: self.protocol().map(str::to_owned),
                leader: self.leader().map(str::to_owned),
                state_timestamp_ms: self.since_ms,
                members,
            }),
        }
    }

    /// The group that a record tells of. Its members' sessions do not run until [`ClassicGroup::resume`].
    pub fn from_record(id: &Rc<str>, value: &GroupMetadataValue, budget: &Budget) -> Self {
        let mut group = Self::new(id, budget);
        group.state = if value.members.is_empty() {
            ClassicState::Empty
        } else {
            ClassicState::Stable
        };
        group.previous = group.state;
        group.since_ms = value.state_timestamp_ms;
        group.generation = value.generation;
        group.protocol = value.protocol.as_deref().map(Into::into);
        group.leader = value.leader.as_deref().map(Into::into);
        for told in &value.members {
            let client = Client {
                id: told.client_id.clone(),
                host: told.client_host.clone(),
            };
            let protocols = vec![Protocol {
                name: value.protocol.as_deref().unwrap_or_default().into(),
                metadata: Bytes::copy_from_slice(&told.subscription),
            }];
            let charge = budget.take(Member::size_bytes(
                &told.member_id,
                &client,
                &protocols,
                told.assignment.len(),
            ));
            let member = Member {
                id: told.member_id.as_str().into(),
                instance_id: told.group_instance_id.as_deref().map(Into::into),
                client,
                rebalance_timeout_ms: told.rebalance_timeout_ms,
                session_timeout_ms: told.session_timeout_ms,
                protocols,
                assignment: Bytes::copy_from_slice(&told.assignment),
                join: None,
                sync: None,
                is_new: false,
                session: Alarm::default(),
                charge,
            };
            group.add_member(member, &value.protocol_type);
        }
        group.protocol_type =
            (!value.protocol_type.is_empty()).then(|| value.protocol_type.as_str().into());
        group.read_subscriptions();
        group
    }

    /// Goes on after the group was read back: its members have a session's time to show that they live.
    pub fn resume(&mut self, context: &mut Context<'_, '_>) {
        let members: Vec<Rc<str>> = self.members.keys().cloned().collect();
        for member_id in &members {
            self.renew_session(context, member_id);
        }
        if members.len() > context.config.members_max {
            self.prepare_rebalance(context, "the group is larger than group.max.size");
        }
    }
}
