//! OffsetCommit, OffsetFetch and OffsetDelete.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_wire::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_wire::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_wire::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};

use super::on_shard;
use crate::lane::Lane;

/// From this version on, several groups are asked at once.
const BATCHED_FETCH_SINCE: i16 = 8;
/// From this version on, a response has an error of its own beside its partitions'.
const TOP_LEVEL_ERROR_SINCE: i16 = 2;

/// Answers OffsetCommit: when the offsets are durable.
pub(super) async fn commit(
    lane: Rc<Lane>,
    request: OffsetCommitRequest,
    version: i16,
) -> OffsetCommitResponse {
    let group_id = request.group_id.clone();
    let asked: Vec<_> = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic.partitions.iter().map(|one| one.partition_index);
            (topic.name.clone(), partitions.collect::<Vec<_>>())
        })
        .collect();
    let committed = on_shard(&lane, &group_id, move |shard, step, image| {
        shard.commit(step, &request, version, image)
    });
    committed.await.unwrap_or_else(|code| {
        let mut response = OffsetCommitResponse::default();
        for (name, partitions) in asked {
            let mut topic = OffsetCommitResponseTopic::default();
            topic.name = name;
            topic.partitions = partitions
                .into_iter()
                .map(|index| {
                    let mut partition = OffsetCommitResponsePartition::default();
                    partition.partition_index = index;
                    partition.error_code = code.code();
                    partition
                })
                .collect();
            response.topics.push(topic);
        }
        response
    })
}

/// Answers OffsetFetch. Offsets that are answered are durable.
pub(super) async fn fetch(
    lane: Rc<Lane>,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse::default();
    if version >= BATCHED_FETCH_SINCE {
        for group in request.groups {
            response.groups.push(fetch_group(&lane, group).await);
        }
        return response;
    }
    let mut only = OffsetFetchRequestGroup::default();
    only.group_id = request.group_id;
    only.member_epoch = -1;
    only.topics = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| {
                let mut asked = OffsetFetchRequestTopics::default();
                asked.name = topic.name;
                asked.partition_indexes = topic.partition_indexes;
                asked
            })
            .collect()
    });
    let asked = only.topics.clone();
    let group = fetch_group(&lane, only).await;
    if version >= TOP_LEVEL_ERROR_SINCE {
        response.error_code = group.error_code;
    } else if group.error_code != 0 {
        response.topics = failed(asked.unwrap_or_default(), group.error_code);
        return response;
    }
    response.topics = group
        .topics
        .into_iter()
        .map(|topic| {
            let mut answered = OffsetFetchResponseTopic::default();
            answered.name = topic.name;
            answered.partitions = topic
                .partitions
                .into_iter()
                .map(|found| {
                    let mut partition = OffsetFetchResponsePartition::default();
                    partition.partition_index = found.partition_index;
                    partition.committed_offset = found.committed_offset;
                    partition.committed_leader_epoch = found.committed_leader_epoch;
                    partition.metadata = found.metadata;
                    partition.error_code = found.error_code;
                    partition
                })
                .collect();
            answered
        })
        .collect();
    response
}

async fn fetch_group(lane: &Rc<Lane>, group: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let group_id = group.group_id.clone();
    let fetched = on_shard(lane, &group_id, move |shard, _, image| {
        shard.fetch_offsets(&group, image)
    });
    fetched.await.unwrap_or_else(|code| {
        let mut response = OffsetFetchResponseGroup::default();
        response.group_id = group_id.clone();
        response.error_code = code.code();
        response
    })
}

/// The oldest clients look for errors at the partitions only.
fn failed(asked: Vec<OffsetFetchRequestTopics>, error_code: i16) -> Vec<OffsetFetchResponseTopic> {
    asked
        .into_iter()
        .map(|topic| {
            let mut answered = OffsetFetchResponseTopic::default();
            answered.name = topic.name;
            answered.partitions = topic
                .partition_indexes
                .into_iter()
                .map(|index| {
                    let mut partition = OffsetFetchResponsePartition::default();
                    partition.partition_index = index;
                    partition.committed_offset = -1;
                    partition.committed_leader_epoch = -1;
                    partition.metadata = Some("".into());
                    partition.error_code = error_code;
                    partition
                })
                .collect();
            answered
        })
        .collect()
}

/// Answers OffsetDelete.
pub(super) async fn delete(lane: Rc<Lane>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group_id = request.group_id.clone();
    let deleted = on_shard(&lane, &group_id, move |shard, step, image| {
        shard.delete_offsets(step, &request, image)
    });
    deleted.await.unwrap_or_else(|code: ErrorCode| {
        let mut response = OffsetDeleteResponse::default();
        response.error_code = code.code();
        response
    })
}
