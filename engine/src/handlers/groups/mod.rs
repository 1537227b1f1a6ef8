//! The APIs of consumer groups: to the lane that coordinates the group, and back.

mod admin;
mod consumers;
mod membership;
mod offsets;

use std::rc::Rc;

use corelane_format::ids::PartitionIndex;
use corelane_net::api;
use corelane_net::error_code::ErrorCode;

use super::answer::{Answer, answer};
use super::service::Owned;
use crate::group::partitioner::partition_of;
use crate::group::{OFFSETS_TOPIC, Shard, Step};
use crate::lane::Lane;
use crate::metadata::MetadataImage;

/// Whether an API is one of groups.
pub(super) const fn serves(api_key: i16) -> bool {
    matches!(
        api_key,
        api::OFFSET_COMMIT
            | api::OFFSET_FETCH
            | api::JOIN_GROUP
            | api::HEARTBEAT
            | api::LEAVE_GROUP
            | api::SYNC_GROUP
            | api::DESCRIBE_GROUPS
            | api::LIST_GROUPS
            | api::DELETE_GROUPS
            | api::OFFSET_DELETE
            | api::CONSUMER_GROUP_HEARTBEAT
            | api::CONSUMER_GROUP_DESCRIBE
    )
}

/// Answers a request of one of these APIs.
pub(super) async fn dispatch(lane: Rc<Lane>, mut request: Owned) -> Answer {
    let version = request.version;
    match request.api_key {
        api::JOIN_GROUP => {
            let client = std::mem::take(&mut request.client);
            answer(request, |asked| {
                membership::join(lane, asked, version, client)
            })
            .await
        }
        api::SYNC_GROUP => answer(request, |asked| membership::sync(lane, asked, version)).await,
        api::HEARTBEAT => answer(request, |asked| membership::heartbeat(lane, asked)).await,
        api::LEAVE_GROUP => answer(request, |asked| membership::leave(lane, asked, version)).await,
        api::OFFSET_COMMIT => answer(request, |asked| offsets::commit(lane, asked, version)).await,
        api::OFFSET_FETCH => answer(request, |asked| offsets::fetch(lane, asked, version)).await,
        api::OFFSET_DELETE => answer(request, |asked| offsets::delete(lane, asked)).await,
        api::DESCRIBE_GROUPS => {
            answer(request, |asked| admin::describe(lane, asked, version)).await
        }
        api::CONSUMER_GROUP_HEARTBEAT => {
            let client = std::mem::take(&mut request.client);
            answer(request, |asked| {
                consumers::heartbeat(lane, asked, version, client)
            })
            .await
        }
        api::CONSUMER_GROUP_DESCRIBE => {
            answer(request, |asked| consumers::describe(lane, asked, version)).await
        }
        api::LIST_GROUPS => answer(request, |asked| admin::list(lane, asked)).await,
        _ => answer(request, |asked| admin::delete(lane, asked)).await,
    }
}

/// The partition of `__consumer_offsets` that has a group's state, and the lane that owns it.
///
/// # Errors
/// `NOT_COORDINATOR` while there is no such topic: FindCoordinator creates it.
pub(super) fn owner_of(lane: &Lane, group_id: &str) -> Result<(PartitionIndex, usize), ErrorCode> {
    let image = lane.image();
    let topic = image
        .topic(OFFSETS_TOPIC)
        .ok_or(ErrorCode::NotCoordinator)?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let index = PartitionIndex::new(partition_of(group_id, count));
    let meta = topic.partition(index).ok_or(ErrorCode::NotCoordinator)?;
    Ok((index, meta.lane))
}

/// Has the coordinator of a group work on its shard, on whatever lane that is. On return all that was recorded is durable.
async fn on_shard<T: Send + 'static>(
    lane: &Rc<Lane>,
    group_id: &str,
    work: impl FnOnce(&mut Shard, &mut Step<'_>, &MetadataImage) -> T + Send + 'static,
) -> Result<T, ErrorCode> {
    let (partition, owner) = owner_of(lane, group_id)?;
    if owner == lane.index {
        return run(lane, partition, work).await;
    }
    lane.mesh
        .call(owner, move |lane: Rc<Lane>| async move {
            run(&lane, partition, work).await
        })
        .await
        .unwrap_or(Err(ErrorCode::NotCoordinator))
}

async fn run<T>(
    lane: &Rc<Lane>,
    partition: PartitionIndex,
    work: impl FnOnce(&mut Shard, &mut Step<'_>, &MetadataImage) -> T,
) -> Result<T, ErrorCode> {
    lane.groups()
        .run(partition, |shard, step| work(shard, step, &lane.image()))
        .await
}
