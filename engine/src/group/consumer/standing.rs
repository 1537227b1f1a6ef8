//! Who somebody that sends heartbeats is to the group.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::ConsumerGroupHeartbeatRequest;

use super::heartbeat::{JOIN_EPOCH, LEAVE_STATIC_EPOCH};
use super::{ConsumerGroup, ConsumerMember, Refusal};
use crate::group::config::GroupConfig;
use crate::group::topic_partitions::TopicPartitions;

/// Who a member is to the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is in the group.
    Known,
    /// It is not.
    New,
    /// It takes the place of a static member that was here before, maybe under the same id.
    Replaces(Rc<str>),
}

impl ConsumerGroup {
    pub(super) fn check_size(&self, config: &GroupConfig, member_id: &str) -> Result<(), Refusal> {
        let members_max = config.consumer_members_max;
        if self.members.len() < members_max || self.members.contains_key(member_id) {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::GroupMaxSizeReached,
            format!(
                "The consumer group has reached its maximum capacity of {members_max} members."
            ),
        ))
    }

    /// Who the sender of a heartbeat is.
    pub(super) fn standing(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        member_id: &str,
        owned: Option<&TopicPartitions>,
    ) -> Result<Standing, Refusal> {
        let joins = request.member_epoch == JOIN_EPOCH;
        let Some(instance_id) = request.instance_id.as_deref() else {
            return match self.members.get(member_id) {
                Some(member) => {
                    check_epoch(member, request.member_epoch, owned)?;
                    Ok(Standing::Known)
                }
                None if joins => Ok(Standing::New),
                None => Err(self.unknown_member(member_id)),
            };
        };
        match self.instances.get(instance_id) {
            // Kafka makes no exception for a member's own id: until it has left, nobody joins as its instance.
            Some(current) if joins => {
                let is_released = self.members.get(current).is_none_or(|member| {
                    member.is_classic() || member.current.epoch == LEAVE_STATIC_EPOCH
                });
                if is_released {
                    return Ok(Standing::Replaces(Rc::clone(current)));
                }
                Err(Refusal::new(
                    ErrorCode::UnreleasedInstanceId,
                    format!(
                        "Static member {member_id} with instance id {instance_id} cannot join the group because the instance id is owned by {current} member."
                    ),
                ))
            }
            Some(current) if **current == *member_id => {
                let member = self
                    .members
                    .get(member_id)
                    .ok_or(ErrorCode::UnknownMemberId)?;
                check_epoch(member, request.member_epoch, owned)?;
                Ok(Standing::Known)
            }
            Some(current) => Err(fenced_instance(member_id, instance_id, current)),
            None if !joins => Err(unknown_instance(instance_id)),
            None if self.members.contains_key(member_id) => Ok(Standing::Known),
            None => Ok(Standing::New),
        }
    }

    pub(super) fn unknown_member(&self, member_id: &str) -> Refusal {
        Refusal::new(
            ErrorCode::UnknownMemberId,
            format!("Member {member_id} is not a member of group {}.", self.id),
        )
    }
}

fn check_epoch(
    member: &ConsumerMember,
    received: i32,
    owned: Option<&TopicPartitions>,
) -> Result<(), Refusal> {
    let current = member.current.epoch;
    if received == JOIN_EPOCH || received == current {
        return Ok(());
    }
    // The answer that told it of the new epoch may have been lost.
    let is_behind = received < current
        && received == member.current.previous_epoch
        && owned.is_some_and(|owned| owned.is_subset(&member.current.assigned));
    if is_behind {
        return Ok(());
    }
    let relation = if received > current {
        "greater"
    } else {
        "smaller"
    };
    Err(Refusal::new(
        ErrorCode::FencedMemberEpoch,
        format!(
            "The consumer group member has a {relation} member epoch ({received}) than the one known by the group coordinator ({current}). The member must abandon all its partitions and rejoin."
        ),
    ))
}

pub(super) fn fenced_instance(member_id: &str, instance_id: &str, current: &str) -> Refusal {
    Refusal::new(
        ErrorCode::FencedInstanceId,
        format!(
            "Static member {member_id} with instance id {instance_id} was fenced by member {current}."
        ),
    )
}

pub(super) fn unknown_instance(instance_id: &str) -> Refusal {
    Refusal::new(
        ErrorCode::UnknownMemberId,
        format!("Instance id {instance_id} is unknown."),
    )
}
