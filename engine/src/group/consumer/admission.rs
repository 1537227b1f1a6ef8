//! Putting a member into the group, with what it tells of itself.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::ConsumerGroupHeartbeatRequest;

use super::heartbeat::JOIN_EPOCH;
use super::request::{UNSET, tell, tells_nothing};
use super::standing::Standing;
use super::{ConsumerGroup, ConsumerMember, Refusal};
use crate::group::classic::Client;
use crate::group::record::{ConsumerRecord, CurrentAssignment, GroupEpoch, MemberDetails};
use crate::group::step::Context;

impl ConsumerGroup {
    /// Takes over what the member tells of itself.
    pub(super) fn update(
        &mut self,
        context: &mut Context<'_, '_>,
        request: &ConsumerGroupHeartbeatRequest,
        client: &Client,
        member_id: &Rc<str>,
        standing: &Standing,
    ) -> Result<(), Refusal> {
        let current = match standing {
            Standing::Known => self.members.get(member_id),
            Standing::New => None,
            Standing::Replaces(earlier) => self.members.get(earlier),
        };
        if let (Standing::Known, Some(member)) = (standing, current)
            && tells_nothing(request, client, &member.details)
        {
            return Ok(());
        }
        let mut details = current.map_or_else(new_details, |member| member.details.clone());
        tell(&mut details, request, client);
        self.put_member(context, member_id, standing, details)
    }

    /// Puts a member into the group, or what it tells now.
    pub(super) fn put_member(
        &mut self,
        context: &mut Context<'_, '_>,
        member_id: &Rc<str>,
        standing: &Standing,
        details: MemberDetails,
    ) -> Result<(), Refusal> {
        let current = match standing {
            Standing::Known => self.members.get(member_id),
            Standing::New => None,
            Standing::Replaces(earlier) => self.members.get(earlier),
        };
        if *standing == Standing::Known && current.is_some_and(|member| member.details == details) {
            return Ok(());
        }
        let topics_changed = current.is_none_or(|member| member.details.topics != details.topics);
        let from = current.and_then(|member| member.details.pattern());
        let to = details.pattern();
        let pattern_changed = from != to;
        let patterns = self.change_pattern(context, from, to)?;
        let before = current.map_or(0, |member| member.details.size_bytes());
        let wanted = self.added_bytes(context, member_id, &details, standing);
        if details.size_bytes() > before && !context.budget.has_room(wanted) {
            return Err(ErrorCode::CoordinatorNotAvailable.into());
        }
        let mut records = match (standing, current) {
            (Standing::Replaces(_), Some(earlier)) => replacement(earlier, member_id),
            _ => Vec::new(),
        };
        records.push(ConsumerRecord::Member {
            member_id: member_id.to_string(),
            value: Some(details),
        });
        if let Standing::Replaces(earlier) = standing
            && let Some(earlier) = self.members.get(earlier)
        {
            records.extend(successor(earlier, member_id));
        }
        records.extend(patterns);
        if topics_changed || pattern_changed || *standing == Standing::New {
            records.push(self.next_epoch());
        }
        if *standing != Standing::Known {
            tracing::info!(group = %self.id, member = %member_id, ?standing, "a member joins");
        }
        self.record(context, records)?;
        Ok(())
    }

    /// The record by which the next epoch begins, with the topics as they were last seen.
    pub(super) fn next_epoch(&self) -> ConsumerRecord {
        ConsumerRecord::Epoch(Some(GroupEpoch {
            epoch: self.epoch.epoch.saturating_add(1),
            ..self.epoch
        }))
    }

    /// What it may take more when this member joins with these topics.
    fn added_bytes(
        &self,
        context: &Context<'_, '_>,
        member_id: &str,
        details: &MemberDetails,
        standing: &Standing,
    ) -> usize {
        let partitions: usize = if *standing == Standing::New {
            details
                .topics
                .iter()
                .chain(self.matched_topics(details))
                .filter_map(|name| context.image.topic(name))
                .map(|topic| topic.partitions.len())
                .sum()
        } else {
            0
        };
        ConsumerMember::size_bytes(member_id, details, 2 * partitions)
    }
}

/// Of a member that has told nothing.
pub(super) fn new_details() -> MemberDetails {
    MemberDetails {
        rebalance_timeout_ms: UNSET,
        ..MemberDetails::default()
    }
}

/// The records that remove a static member whose place is taken.
fn replacement(earlier: &ConsumerMember, member_id: &str) -> Vec<ConsumerRecord> {
    tracing::info!(member = member_id, earlier = %earlier.id, "a static member is back");
    removal(&earlier.id)
}

/// The records that give a new member what the earlier one had.
fn successor(earlier: &ConsumerMember, member_id: &str) -> [ConsumerRecord; 2] {
    [
        ConsumerRecord::Target {
            member_id: member_id.to_owned(),
            value: Some(earlier.target.clone()),
        },
        ConsumerRecord::Current {
            member_id: member_id.to_owned(),
            value: Some(CurrentAssignment {
                epoch: JOIN_EPOCH,
                previous_epoch: JOIN_EPOCH,
                ..earlier.current.clone()
            }),
        },
    ]
}

/// The records that remove a member.
pub(super) fn removal(member_id: &str) -> Vec<ConsumerRecord> {
    vec![
        ConsumerRecord::Current {
            member_id: member_id.to_owned(),
            value: None,
        },
        ConsumerRecord::Target {
            member_id: member_id.to_owned(),
            value: None,
        },
        ConsumerRecord::Member {
            member_id: member_id.to_owned(),
            value: None,
        },
    ]
}
