//! ConsumerGroupHeartbeat and ConsumerGroupDescribe.

use std::rc::Rc;

use kafka_wire::consumer_group_describe_response::DescribedGroup;
use kafka_wire::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
};

use super::on_shard;
use crate::group::classic::Client;
use crate::lane::Lane;

/// Answers ConsumerGroupHeartbeat: when what it changed is durable.
pub(super) async fn heartbeat(
    lane: Rc<Lane>,
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
    client: Client,
) -> ConsumerGroupHeartbeatResponse {
    let group_id = request.group_id.clone();
    let taken = on_shard(&lane, &group_id, move |shard, step, image| {
        shard.consumer_heartbeat(step, &request, version, &client, image)
    });
    taken.await.unwrap_or_else(|code| {
        let mut response = ConsumerGroupHeartbeatResponse::default();
        response.error_code = code.code();
        response
    })
}

/// Answers ConsumerGroupDescribe.
pub(super) async fn describe(
    lane: Rc<Lane>,
    request: ConsumerGroupDescribeRequest,
    version: i16,
) -> ConsumerGroupDescribeResponse {
    let with_operations = request.include_authorized_operations;
    let mut response = ConsumerGroupDescribeResponse::default();
    for group_id in request.group_ids {
        let id = group_id.clone();
        let described = on_shard(&lane, &group_id, move |shard, _, image| {
            shard.describe_consumer_group(&id, version, with_operations, image)
        });
        response.groups.push(described.await.unwrap_or_else(|code| {
            let mut failed = DescribedGroup::default();
            failed.group_id = group_id.clone();
            failed.error_code = code.code();
            failed
        }));
    }
    response
}
