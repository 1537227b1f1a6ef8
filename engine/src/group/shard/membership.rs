//! Joining, syncing, living and leaving, for whatever kind of group it is.

use corelane_net::error_code::ErrorCode;
use kafka_wire::leave_group_request::MemberIdentity;
use kafka_wire::leave_group_response::MemberResponse;
use kafka_wire::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest,
};

use super::{Group, Shard};
use crate::group::classic::{ClassicGroup, Client, Join, join_refusal, sync_refusal};
use crate::group::step::{ReplyId, Step};
use crate::metadata::MetadataImage;

/// From this version on, several members leave at once.
const BATCHED_LEAVE_SINCE: i16 = 3;

impl Shard {
    /// Takes a `JoinGroup`. The answer comes in this step or in a later one.
    pub fn join(
        &mut self,
        step: &mut Step<'_>,
        request: &JoinGroupRequest,
        version: i16,
        client: &Client,
        image: &MetadataImage,
        reply: ReplyId,
    ) {
        let group_id = request.group_id.as_str();
        let member_id = request.member_id.as_str();
        if let Err(code) = self.admit_join(request) {
            step.answer_join(reply, join_refusal(member_id, code));
            return;
        }
        self.entry(group_id);
        let join = Join {
            request,
            version,
            client,
            reply,
        };
        self.with_group(step, image, group_id, |entry, context| {
            entry.join(context, join);
        });
        self.drop_if_unused(group_id);
    }

    fn admit_join(&self, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        let group_id = request.group_id.as_str();
        if group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let timeouts = self.config.session_timeout_ms_min..=self.config.session_timeout_ms_max;
        if !timeouts.contains(&request.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if self.groups.contains_key(group_id) {
            return Ok(());
        }
        if !request.member_id.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        if !self.budget.has_room(ClassicGroup::size_bytes(group_id)) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        Ok(())
    }

    /// Takes a `SyncGroup`. The answer comes in this step or in a later one.
    pub fn sync(
        &mut self,
        step: &mut Step<'_>,
        request: &SyncGroupRequest,
        image: &MetadataImage,
        reply: ReplyId,
    ) {
        let group_id = request.group_id.as_str();
        if group_id.is_empty() {
            step.answer_sync(reply, sync_refusal(ErrorCode::InvalidGroupId));
            return;
        }
        let found = self.with_group(step, image, group_id, |entry, context| {
            match &mut entry.group {
                Group::Classic(group) => group.sync(context, request, reply),
                Group::Consumer(group) => {
                    let response = group.sync(context, request).unwrap_or_else(sync_refusal);
                    context.step.answer_sync(reply, response);
                }
            }
        });
        if found.is_none() {
            step.answer_sync(reply, sync_refusal(ErrorCode::UnknownMemberId));
        }
    }

    /// Takes a `Heartbeat`.
    pub fn heartbeat(
        &mut self,
        step: &mut Step<'_>,
        request: &HeartbeatRequest,
        image: &MetadataImage,
    ) -> ErrorCode {
        if request.group_id.is_empty() {
            return ErrorCode::InvalidGroupId;
        }
        self.with_group(
            step,
            image,
            &request.group_id,
            |entry, context| match &mut entry.group {
                Group::Classic(group) => group.heartbeat(context, request),
                Group::Consumer(group) => group.classic_heartbeat(context, request),
            },
        )
        .unwrap_or(ErrorCode::UnknownMemberId)
    }

    /// Takes a `LeaveGroup`.
    pub fn leave(
        &mut self,
        step: &mut Step<'_>,
        request: &LeaveGroupRequest,
        version: i16,
        image: &MetadataImage,
    ) -> LeaveGroupResponse {
        let mut response = LeaveGroupResponse::default();
        if request.group_id.is_empty() {
            response.error_code = ErrorCode::InvalidGroupId.code();
            return response;
        }
        let leaving = if version >= BATCHED_LEAVE_SINCE {
            request.members.clone()
        } else {
            let mut only = MemberIdentity::default();
            only.member_id = request.member_id.clone();
            vec![only]
        };
        let outcomes =
            self.with_group(
                step,
                image,
                &request.group_id,
                |entry, context| match &mut entry.group {
                    Group::Classic(group) => group.leave(context, &leaving),
                    Group::Consumer(_) => entry.leave(context, &leaving),
                },
            );
        self.drop_if_unused(&request.group_id);
        let Some(outcomes) = outcomes else {
            response.error_code = ErrorCode::UnknownMemberId.code();
            return response;
        };
        if version < BATCHED_LEAVE_SINCE {
            response.error_code = outcomes.first().copied().unwrap_or(ErrorCode::None).code();
            return response;
        }
        response.members = leaving
            .into_iter()
            .zip(outcomes)
            .map(|(identity, code)| {
                let mut member = MemberResponse::default();
                member.member_id = identity.member_id;
                member.group_instance_id = identity.group_instance_id;
                member.error_code = code.code();
                member
            })
            .collect();
        response
    }
}
