//! `ConsumerGroupHeartbeat`, for whatever kind of group it is.

use corelane_net::error_code::ErrorCode;
use kafka_wire::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_wire_core::StrBytes;

use super::{Entry, Group, Shard};
use crate::group::classic::Client;
use crate::group::consumer::{self, ConsumerGroup, Refusal};
use crate::group::step::{Context, Step};
use crate::metadata::MetadataImage;

/// The epoch of a member that joins.
const JOIN_EPOCH: i32 = 0;

/// An answer with an error.
fn refusal(refusal: &Refusal) -> ConsumerGroupHeartbeatResponse {
    let mut response = ConsumerGroupHeartbeatResponse::default();
    response.error_code = refusal.code.code();
    response.error_message = refusal.message.as_deref().map(StrBytes::from);
    response
}

impl Shard {
    /// Takes a `ConsumerGroupHeartbeat`.
    pub fn consumer_heartbeat(
        &mut self,
        step: &mut Step<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        version: i16,
        client: &Client,
        image: &MetadataImage,
    ) -> ConsumerGroupHeartbeatResponse {
        let group_id = request.group_id.as_str();
        let taken = consumer::validate(request, version, &self.config)
            .and_then(|()| self.admit_heartbeat(request))
            .and_then(|()| {
                let work = |entry: &mut Entry, context: &mut Context<'_, '_>| {
                    entry.consumer_heartbeat(context, request, client)
                };
                self.with_group(step, image, group_id, work)
                    .unwrap_or_else(|| Err(ErrorCode::GroupIdNotFound.into()))
            });
        self.drop_if_unused(group_id);
        taken.unwrap_or_else(|why| refusal(&why))
    }

    /// Sees to it that there is a group of this id.
    fn admit_heartbeat(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
        let group_id = request.group_id.as_str();
        let not_found = |reason| {
            Refusal::new(
                ErrorCode::GroupIdNotFound,
                format!("Group {group_id} {reason}."),
            )
        };
        if request.member_epoch != JOIN_EPOCH {
            return match self.group(group_id) {
                Some(Group::Consumer(_)) => Ok(()),
                Some(Group::Classic(_)) => Err(not_found("is not a consumer group")),
                None => Err(not_found("not found")),
            };
        }
        if self.group(group_id).is_none() {
            if !self.budget.has_room(ConsumerGroup::size_bytes(group_id)) {
                return Err(ErrorCode::CoordinatorNotAvailable.into());
            }
            self.entry(group_id);
        }
        Ok(())
    }
}

impl Entry {
    fn consumer_heartbeat(
        &mut self,
        context: &mut Context<'_, '_>,
        request: &ConsumerGroupHeartbeatRequest,
        client: &Client,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        if request.member_epoch < JOIN_EPOCH {
            return self.consumer_leave(context, request);
        }
        match &mut self.group {
            Group::Classic(_) => self.join_converted(context, request, client),
            Group::Consumer(group) => group.heartbeat(context, request, client),
        }
    }

    fn consumer_leave(
        &mut self,
        context: &mut Context<'_, '_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let Group::Consumer(group) = &mut self.group else {
            return Err(ErrorCode::GroupIdNotFound.into());
        };
        let member_id = group.leaving_member(request)?;
        if ConsumerGroup::leaves_for_a_while(request) {
            group.pause(context, &member_id)?;
        } else {
            tracing::info!(group = %group.id(), member = %member_id, "a member left");
            self.fence(context, &[member_id])?;
        }
        let mut response = ConsumerGroupHeartbeatResponse::default();
        response.member_id = Some(request.member_id.clone());
        response.member_epoch = request.member_epoch;
        Ok(response)
    }
}
