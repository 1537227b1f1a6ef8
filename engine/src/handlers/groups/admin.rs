//! ListGroups, DescribeGroups and DeleteGroups.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::delete_groups_response::DeletableGroupResult;
use kafka_wire::describe_groups_response::DescribedGroup;
use kafka_wire::list_groups_response::ListedGroup;
use kafka_wire::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ListGroupsRequest, ListGroupsResponse,
};

use super::on_shard;
use crate::lane::Lane;

/// Answers ListGroups for this node: its lane's groups, or all lanes' where one node is all of them.
pub(super) async fn list(lane: Rc<Lane>, request: ListGroupsRequest) -> ListGroupsResponse {
    let shared = lane.cluster.advertised.len() < lane.cluster.lanes;
    let lanes = if shared {
        0..lane.cluster.lanes
    } else {
        lane.index..lane.index + 1
    };
    let mut response = ListGroupsResponse::default();
    let answers: Vec<_> = lanes
        .map(|index| {
            let request = request.clone();
            lane.mesh.call(index, move |lane: Rc<Lane>| async move {
                list_of_lane(&lane, &request).await
            })
        })
        .collect();
    for answer in answers {
        match answer
            .await
            .unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
        {
            Ok(groups) => response.groups.extend(groups),
            Err(code) => response.error_code = code.code(),
        }
    }
    if response.error_code != 0 {
        response.groups.clear();
    }
    response
}

async fn list_of_lane(
    lane: &Rc<Lane>,
    request: &ListGroupsRequest,
) -> Result<Vec<ListedGroup>, ErrorCode> {
    let mut groups = Vec::new();
    for partition in lane.groups().partitions() {
        lane.turns.pass().await;
        let listed = lane
            .groups()
            .run(partition, |shard, _| shard.list(request))
            .await?;
        groups.extend(listed);
    }
    Ok(groups)
}

/// Answers DescribeGroups.
pub(super) async fn describe(
    lane: Rc<Lane>,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let with_operations = request.include_authorized_operations;
    let mut response = DescribeGroupsResponse::default();
    for group_id in request.groups {
        let id = group_id.clone();
        let described = on_shard(&lane, &group_id, move |shard, _, _| {
            shard.describe(&id, version, with_operations)
        });
        response.groups.push(described.await.unwrap_or_else(|code| {
            let mut failed = DescribedGroup::default();
            failed.group_id = group_id.clone();
            failed.authorized_operations = i32::MIN;
            failed.error_code = code.code();
            failed
        }));
    }
    response
}

/// Answers DeleteGroups; groups that are answered without error stay deleted.
pub(super) async fn delete(lane: Rc<Lane>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut response = DeleteGroupsResponse::default();
    for group_id in request.groups_names {
        let id = group_id.clone();
        let deleted = on_shard(&lane, &group_id, move |shard, step, _| {
            shard.delete_group(step, &id)
        })
        .await;
        let mut result = DeletableGroupResult::default();
        result.group_id = group_id;
        result.error_code = match deleted {
            Ok(Ok(())) => 0,
            Ok(Err(code)) | Err(code) => code.code(),
        };
        response.results.push(result);
    }
    response
}
