//! Members of a consumer group that speak the classic protocol: each rebalances by itself, by JoinGroup and SyncGroup, and
//! is told to by its heartbeats.

use std::rc::Rc;

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use kafka_wire::leave_group_request::MemberIdentity;
use kafka_wire::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_wire_core::StrBytes;

use super::admission::new_details;
use super::standing::Standing;
use super::{ConsumerGroup, ConsumerMember, Refusal};
use crate::group::classic::{CONSUMER, Join, MEMBER_ID_REQUIRED_SINCE, join_refusal};
use crate::group::config::MigrationPolicy;
use crate::group::consumer_protocol::{Subscription, encode_assignment};
use crate::group::record::{ClassicDetails, MemberDetails, MemberState};
use crate::group::step::Context;
use crate::group::timers::{TimerKey, TimerKind};
use crate::metadata::MetadataImage;

/// What came of a `JoinGroup`.
#[derive(Debug)]
pub enum Joined {
    /// The answer.
    Answer(JoinGroupResponse),
    /// The member is in the group, under this id, and nobody is left that speaks the consumer protocol: the group is to
    /// become a classic one, which then answers.
    Downgrade(Rc<str>),
}

impl ConsumerGroup {
    /// Takes a `JoinGroup`.
    ///
    /// # Errors
    /// As [`ConsumerGroup::heartbeat`].
    pub fn join(
        &mut self,
        context: &mut Context<'_, '_>,
        join: Join<'_>,
    ) -> Result<Joined, Refusal> {
        let request = join.request;
        if context.config.migration == MigrationPolicy::Disabled {
            return Err(ErrorCode::InconsistentGroupProtocol.into());
        }
        let is_unknown = request.member_id.is_empty();
        let member_id: Rc<str> = if is_unknown {
            let random = (context.step.random)();
            TopicId::new(random.to_be_bytes()).to_string().into()
        } else {
            request.member_id.as_str().into()
        };
        self.check_size(context.config, &member_id)?;
        if !self.supports(request) {
            return Err(ErrorCode::InconsistentGroupProtocol.into());
        }
        let instance_id = request.group_instance_id.as_deref();
        if is_unknown && instance_id.is_none() && join.version >= MEMBER_ID_REQUIRED_SINCE {
            // Any id is taken, so this one need not be kept.
            let refusal = join_refusal(&member_id, ErrorCode::MemberIdRequired);
            return Ok(Joined::Answer(refusal));
        }
        let standing = self.classic_standing(&member_id, instance_id, is_unknown)?;
        let metadata = request
            .protocols
            .first()
            .map(|protocol| &*protocol.metadata);
        let subscription = Subscription::decode(metadata.unwrap_or_default())
            .map_err(|_| ErrorCode::UnknownServerError)?;
        let earlier = match &standing {
            Standing::Known => self.members.get(&member_id),
            Standing::New => None,
            Standing::Replaces(earlier) => self.members.get(earlier),
        };
        let takes_the_last_place = matches!(standing, Standing::Replaces(_))
            && earlier.is_some_and(|member| !member.is_classic())
            && self.classic_members + 1 == self.members.len()
            && context.config.migration.allows_downgrade()
            && self.members.len() <= context.config.members_max;
        let mut details = earlier.map_or_else(new_details, |member| member.details.clone());
        tell(&mut details, join, &subscription);
        self.put_member(context, &member_id, &standing, details)?;
        if takes_the_last_place {
            return Ok(Joined::Downgrade(member_id));
        }
        if let Some(member) = self.members.get_mut(&member_id) {
            context.timers.cancel(&mut member.join);
        }
        self.renew_session(context, &member_id);
        self.refresh(context)?;
        let owned = subscription.owned_partitions(context.image);
        self.advance(context, &member_id, Some(&owned))?;
        self.await_sync(context, &member_id);
        let member = self
            .members
            .get(&member_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        let mut response = JoinGroupResponse::default();
        response.generation_id = member.current.epoch;
        response.protocol_type = Some(StrBytes::from(CONSUMER));
        response.protocol_name = member.protocol().map(StrBytes::from);
        response.member_id = StrBytes::from(&*member_id);
        Ok(Joined::Answer(response))
    }

    fn classic_standing(
        &self,
        member_id: &Rc<str>,
        instance_id: Option<&str>,
        is_unknown: bool,
    ) -> Result<Standing, Refusal> {
        let Some(instance_id) = instance_id else {
            return Ok(if self.members.contains_key(member_id) {
                Standing::Known
            } else {
                Standing::New
            });
        };
        match self.instances.get(instance_id) {
            Some(current) if current == member_id => Ok(Standing::Known),
            Some(current) if is_unknown => Ok(Standing::Replaces(Rc::clone(current))),
            Some(_) => Err(ErrorCode::FencedInstanceId.into()),
            None if is_unknown => Ok(Standing::New),
            None => Err(ErrorCode::UnknownMemberId.into()),
        }
    }

    /// Whether a member that offers these can be in the group: all others of the classic protocol offer one of them too.
    fn supports(&self, request: &JoinGroupRequest) -> bool {
        request.protocol_type.as_str() == CONSUMER
            && request.protocols.iter().any(|protocol| {
                let offered = self.offered.get(protocol.name.as_str()).copied();
                self.members.is_empty() || offered.unwrap_or(0) == self.classic_members
            })
    }

    /// Takes a `SyncGroup`: every member has its assignment already.
    ///
    /// # Errors
    /// The member is none, or has to join again.
    pub fn sync(
        &mut self,
        context: &mut Context<'_, '_>,
        request: &SyncGroupRequest,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let member_id = self.classic_member(
            &request.member_id,
            request.group_instance_id.as_deref(),
            request.generation_id,
        )?;
        let member = self
            .members
            .get(&member_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        let differs = |told: Option<&StrBytes>, own: Option<&str>| {
            told.is_some_and(|told| Some(told.as_str()) != own)
        };
        if differs(request.protocol_type.as_ref(), Some(CONSUMER))
            || differs(request.protocol_name.as_ref(), member.protocol())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.target_epoch > member.current.epoch
            && member.current.state != MemberState::Unrevoked
        {
            self.await_join(context, &member_id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let mut response = SyncGroupResponse::default();
        response.protocol_type.clone_from(&request.protocol_type);
        response.protocol_name.clone_from(&request.protocol_name);
        response.assignment = assignment_of(member, context.image);
        if let Some(member) = self.members.get_mut(&member_id) {
            context.timers.cancel(&mut member.sync);
        }
        self.renew_session(context, &member_id);
        Ok(response)
    }

    /// Takes a `Heartbeat`.
    pub fn classic_heartbeat(
        &mut self,
        context: &mut Context<'_, '_>,
        request: &HeartbeatRequest,
    ) -> ErrorCode {
        let checked = self.classic_member(
            &request.member_id,
            request.group_instance_id.as_deref(),
            request.generation_id,
        );
        let member_id = match checked {
            Ok(member_id) => member_id,
            Err(code) => return code,
        };
        self.renew_session(context, &member_id);
        let Some(member) = self.members.get(&member_id) else {
            return ErrorCode::UnknownMemberId;
        };
        let is_to_join = member.current.epoch < self.target_epoch
            || match member.current.state {
                MemberState::Unrevoked => true,
                MemberState::Unreleased => !self.waits_for_others(member),
                MemberState::Stable | MemberState::Unknown => false,
            };
        if is_to_join {
            self.await_join(context, &member_id);
            return ErrorCode::RebalanceInProgress;
        }
        ErrorCode::None
    }

    fn waits_for_others(&self, member: &ConsumerMember) -> bool {
        member
            .target
            .iter()
            .any(|(topic, partition)| !self.is_free_for(&member.id, topic, partition))
    }

    /// The members that a `LeaveGroup` names, or why not.
    pub fn leaving_members(&self, leaving: &[MemberIdentity]) -> Vec<Result<Rc<str>, ErrorCode>> {
        leaving
            .iter()
            .map(|identity| {
                let member_id = identity.member_id.as_str();
                let Some(instance_id) = identity.group_instance_id.as_deref() else {
                    let known = self.members.get_key_value(member_id);
                    return known
                        .map(|(id, _)| Rc::clone(id))
                        .ok_or(ErrorCode::UnknownMemberId);
                };
                let current = self
                    .instances
                    .get(instance_id)
                    .ok_or(ErrorCode::UnknownMemberId)?;
                if member_id.is_empty() || **current == *member_id {
                    Ok(Rc::clone(current))
                } else {
                    Err(ErrorCode::FencedInstanceId)
                }
            })
            .collect()
    }

    /// The member of the classic protocol that a request names.
    fn classic_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<Rc<str>, ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.instances.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *member_id => {
                    return Err(ErrorCode::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        let member = self
            .members
            .get(member_id)
            .filter(|member| member.is_classic());
        let member = member.ok_or(ErrorCode::UnknownMemberId)?;
        if member.current.epoch != generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(Rc::clone(&member.id))
    }

    /// Gives a member that was told to join again its time to do so.
    fn await_join(&mut self, context: &mut Context<'_, '_>, member_id: &str) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if member.join.due_ms().is_some() {
            return;
        }
        let due_ms = context.after_ms(member.rebalance_timeout_ms());
        let key = || TimerKey {
            group_id: Rc::clone(&self.id),
            kind: TimerKind::MemberJoin {
                member_id: Rc::clone(&member.id),
            },
        };
        context.timers.set(&mut member.join, due_ms, key);
    }

    /// Gives a member that has joined its time to ask for its assignment.
    fn await_sync(&mut self, context: &mut Context<'_, '_>, member_id: &str) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        let due_ms = context.after_ms(member.rebalance_timeout_ms());
        let key = || TimerKey {
            group_id: Rc::clone(&self.id),
            kind: TimerKind::MemberSync {
                member_id: Rc::clone(&member.id),
            },
        };
        context.timers.cancel(&mut member.sync);
        context.timers.set(&mut member.sync, due_ms, key);
    }
}

impl ConsumerMember {
    /// The protocol that a member of the classic protocol is told: its first.
    fn protocol(&self) -> Option<&str> {
        let classic = self.details.classic.as_ref()?;
        classic.protocols.first().map(|(name, _)| name.as_str())
    }

    fn rebalance_timeout_ms(&self) -> u64 {
        u64::try_from(self.details.rebalance_timeout_ms).unwrap_or(0)
    }
}

fn assignment_of(member: &ConsumerMember, image: &MetadataImage) -> bytes::Bytes {
    let classic = member.details.classic.as_ref();
    let metadata = classic.and_then(|classic| classic.protocols.first());
    let version = metadata.map_or(0, |(_, bytes)| version_of(bytes));
    encode_assignment(&member.current.assigned, version, image)
}

/// The version that a subscription's bytes begin with.
pub(super) fn version_of(metadata: &[u8]) -> i16 {
    match metadata {
        [high, low, ..] => i16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

fn tell(details: &mut MemberDetails, join: Join<'_>, subscription: &Subscription) {
    let request = join.request;
    if let Some(instance_id) = request.group_instance_id.as_deref() {
        details.instance_id = Some(instance_id.to_owned());
    }
    if subscription.rack_id.is_some() {
        details.rack_id.clone_from(&subscription.rack_id);
    }
    details.rebalance_timeout_ms = request.rebalance_timeout_ms;
    details.server_assignor = None;
    details.topics.clone_from(&subscription.topics);
    details.pattern = Some(String::new());
    details.client_id.clone_from(&join.client.id);
    details.client_host.clone_from(&join.client.host);
    details.classic = Some(ClassicDetails {
        session_timeout_ms: request.session_timeout_ms,
        protocols: request
            .protocols
            .iter()
            .map(|protocol| (protocol.name.to_string(), protocol.metadata.to_vec()))
            .collect(),
    });
}
