//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

use std::rc::Rc;

use corelane_format::ids::PartitionIndex;
use corelane_net::error_code::ErrorCode;
use kafka_wire::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::{on_shard, owner_of};
use crate::group::classic::{Client, join_refusal, sync_refusal};
use crate::group::step::{GroupAnswer, ReplyId};
use crate::group::{Shard, Step};
use crate::lane::Lane;
use crate::metadata::MetadataImage;

/// From this version on, the protocol's name may be null in a JoinGroup response.
const NULLABLE_PROTOCOL_SINCE: i16 = 7;
/// From this version on, a SyncGroup names the protocol and its type.
const SYNC_PROTOCOL_SINCE: i16 = 5;

/// Has the coordinator take a request that may have to wait for others.
async fn ask(
    lane: &Rc<Lane>,
    group_id: &str,
    work: impl FnOnce(&mut Shard, &mut Step<'_>, &MetadataImage, ReplyId) + Send + 'static,
) -> Result<GroupAnswer, ErrorCode> {
    let (partition, owner): (PartitionIndex, usize) = owner_of(lane, group_id)?;
    if owner == lane.index {
        return ask_here(lane, partition, work).await;
    }
    lane.mesh
        .call(owner, move |lane: Rc<Lane>| async move {
            ask_here(&lane, partition, work).await
        })
        .await
        .unwrap_or(Err(ErrorCode::NotCoordinator))
}

async fn ask_here(
    lane: &Rc<Lane>,
    partition: PartitionIndex,
    work: impl FnOnce(&mut Shard, &mut Step<'_>, &MetadataImage, ReplyId),
) -> Result<GroupAnswer, ErrorCode> {
    lane.groups()
        .ask(partition, |shard, step, reply| {
            work(shard, step, &lane.image(), reply);
        })
        .await
}

/// Answers JoinGroup: when the generation begins, or with a reason not to wait for it.
pub(super) async fn join(
    lane: Rc<Lane>,
    mut request: JoinGroupRequest,
    version: i16,
    client: Client,
) -> JoinGroupResponse {
    if version == 0 {
        // There was one timeout for both.
        request.rebalance_timeout_ms = request.session_timeout_ms;
    }
    let group_id = request.group_id.clone();
    let member_id = request.member_id.clone();
    let answer = ask(&lane, &group_id, move |shard, step, image, reply| {
        shard.join(step, &request, version, &client, image, reply);
    })
    .await;
    let mut response = match answer {
        Ok(GroupAnswer::Join(response)) => response,
        Ok(GroupAnswer::Sync(_)) => join_refusal(&member_id, ErrorCode::UnknownServerError),
        Err(code) => join_refusal(&member_id, code),
    };
    if version < NULLABLE_PROTOCOL_SINCE {
        response.protocol_name.get_or_insert_default();
    }
    response
}

/// Answers SyncGroup: when the leader's assignment is durable.
pub(super) async fn sync(
    lane: Rc<Lane>,
    request: SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    if version >= SYNC_PROTOCOL_SINCE
        && (request.protocol_type.is_none() || request.protocol_name.is_none())
    {
        return sync_refusal(ErrorCode::InconsistentGroupProtocol);
    }
    let group_id = request.group_id.clone();
    let answer = ask(&lane, &group_id, move |shard, step, image, reply| {
        shard.sync(step, &request, image, reply);
    })
    .await;
    match answer {
        Ok(GroupAnswer::Sync(response)) => response,
        Ok(GroupAnswer::Join(_)) => sync_refusal(ErrorCode::UnknownServerError),
        Err(code) => sync_refusal(code),
    }
}

/// Answers Heartbeat.
pub(super) async fn heartbeat(lane: Rc<Lane>, request: HeartbeatRequest) -> HeartbeatResponse {
    let group_id = request.group_id.clone();
    let code = on_shard(&lane, &group_id, move |shard, step, image| {
        shard.heartbeat(step, &request, image)
    })
    .await
    .unwrap_or_else(|code| match code {
        // Nothing is known against the member, and its session does not run yet.
        ErrorCode::CoordinatorLoadInProgress => ErrorCode::None,
        other => other,
    });
    let mut response = HeartbeatResponse::default();
    response.error_code = code.code();
    response
}

/// Answers LeaveGroup.
pub(super) async fn leave(
    lane: Rc<Lane>,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let group_id = request.group_id.clone();
    let left = on_shard(&lane, &group_id, move |shard, step, image| {
        shard.leave(step, &request, version, image)
    });
    left.await.unwrap_or_else(|code| {
        let mut response = LeaveGroupResponse::default();
        response.error_code = code.code();
        response
    })
}
