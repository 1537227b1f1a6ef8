//! `ConsumerGroupHeartbeat`: joining, telling what changed, and moving on.

use std::rc::Rc;

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use kafka_wire::consumer_group_heartbeat_request::TopicPartitions as RequestPartitions;
use kafka_wire::consumer_group_heartbeat_response::{
    Assignment, TopicPartitions as WirePartitions,
};
use kafka_wire::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_wire_core::{StrBytes, Uuid};

use super::reconcile::{Target, reconcile};
use super::{ConsumerGroup, ConsumerMember, Refusal};
use crate::group::classic::Client;
use crate::group::config::GroupConfig;
use crate::group::record::{
    ConsumerRecord, CurrentAssignment, GroupEpoch, MemberDetails, MemberState,
};
use crate::group::step::Context;
use crate::group::timers::{TimerKey, TimerKind};
use crate::group::topic_partitions::TopicPartitions;

/// Joins, or joins again.
pub(super) const JOIN_EPOCH: i32 = 0;
/// Leaves for good.
pub(super) const LEAVE_EPOCH: i32 = -1;
/// A static member leaves for a while.
pub(super) const LEAVE_STATIC_EPOCH: i32 = -2;
/// From this version on, members choose their ids.
const OWN_ID_SINCE: i16 = 1;
/// "Not told."
const UNSET: i32 = -1;

/// Checks what needs no group.
///
/// # Errors
/// `INVALID_REQUEST`, or `UNSUPPORTED_ASSIGNOR`.
pub fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    config: &GroupConfig,
) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let is_empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(StrBytes::is_empty);
    let epoch = request.member_epoch;
    let names_itself = version >= OWN_ID_SINCE || epoch > JOIN_EPOCH || epoch == LEAVE_EPOCH;
    if names_itself && request.member_id.is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if request.group_id.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if is_empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if epoch == JOIN_EPOCH {
        if request.rebalance_timeout_ms == UNSET {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request
            .topic_partitions
            .as_ref()
            .is_none_or(|owned| !owned.is_empty())
        {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    } else if epoch == LEAVE_STATIC_EPOCH && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    } else if epoch < LEAVE_STATIC_EPOCH {
        return invalid("MemberEpoch is invalid.");
    }
    match request.server_assignor.as_deref() {
        Some(name)
            if !config
                .consumer_assignors
                .iter()
                .any(|one| one.name() == name) =>
        {
            let known: Vec<&str> = config
                .consumer_assignors
                .iter()
                .map(|one| one.name())
                .collect();
            Err(Refusal::new(
                ErrorCode::UnsupportedAssignor,
                format!(
                    "ServerAssignor {name} is not supported. Supported assignors: {}.",
                    known.join(", ")
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// Who a member is to the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is in the group.
    Known,
    /// It is not.
    New,
    /// It takes the place of a static member that was here before.
    Replaces(Rc<str>),
}

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

    fn standing(
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
            Some(current) if **current == *member_id => {
                let member = self
                    .members
                    .get(member_id)
                    .ok_or(ErrorCode::UnknownMemberId)?;
                check_epoch(member, request.member_epoch, owned)?;
                Ok(Standing::Known)
            }
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

    /// Takes over what the member tells of itself.
    fn update(
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

pub(super) fn new_details() -> MemberDetails {
    MemberDetails {
        rebalance_timeout_ms: UNSET,
        ..MemberDetails::default()
    }
}

fn tells_nothing(
    request: &ConsumerGroupHeartbeatRequest,
    client: &Client,
    details: &MemberDetails,
) -> bool {
    request.subscribed_topic_names.is_none()
        && request.subscribed_topic_regex.is_none()
        && request.server_assignor.is_none()
        && request.rack_id.is_none()
        && request.rebalance_timeout_ms == UNSET
        && request.instance_id.as_deref() == details.instance_id.as_deref()
        && client.id == details.client_id
        && client.host == details.client_host
        && details.classic.is_none()
}

/// Takes over what a request tells; what it does not tell stays.
fn tell(details: &mut MemberDetails, request: &ConsumerGroupHeartbeatRequest, client: &Client) {
    let text = |told: &Option<StrBytes>| told.as_deref().map(str::to_owned);
    if let Some(names) = &request.subscribed_topic_names {
        details.topics = names.iter().map(ToString::to_string).collect();
        details.topics.sort_unstable();
        details.topics.dedup();
    }
    let told = [
        (&mut details.instance_id, &request.instance_id),
        (&mut details.rack_id, &request.rack_id),
        (&mut details.pattern, &request.subscribed_topic_regex),
        (&mut details.server_assignor, &request.server_assignor),
    ];
    for (own, told) in told {
        if told.is_some() {
            *own = text(told);
        }
    }
    if request.rebalance_timeout_ms != UNSET {
        details.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    details.client_id.clone_from(&client.id);
    details.client_host.clone_from(&client.host);
    details.classic = None;
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

fn partitions_of(told: &[RequestPartitions]) -> TopicPartitions {
    told.iter()
        .flat_map(|topic| {
            let id = TopicId::new(topic.topic_id.to_bytes());
            topic
                .partitions
                .iter()
                .map(move |partition| (id, *partition))
        })
        .collect()
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
