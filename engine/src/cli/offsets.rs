//! First and last offsets of partitions, asked of each partition's leader.

use std::collections::BTreeMap;

use anyhow::Context;
use corelane_net::ErrorCode;
use corelane_net::client::TopicMetadata;
use kafka_wire::ListOffsetsRequest;
use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use super::client::{self, Client, REQUEST_TIMEOUT_MS};

/// Stands for the end of a partition where a timestamp is asked for.
pub(crate) const LATEST: i64 = -1;
/// Stands for the start of a partition where a timestamp is asked for.
pub(crate) const EARLIEST: i64 = -2;

/// From this version on a request says how long a server may take.
const TIMEOUT_SINCE: i16 = 10;

/// The offset that belongs to `timestamp` in each of these partitions of `topic`, by partition: [`EARLIEST`], [`LATEST`],
/// or the first record at or after a time. -1 where there is no such record.
pub(crate) async fn look_up(
    client: &mut Client,
    topic: &TopicMetadata,
    partitions: &[i32],
    timestamp: i64,
) -> anyhow::Result<BTreeMap<i32, i64>> {
    let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for index in partitions {
        let leader = client
            .cluster
            .leader(&topic.name, *index)
            .context("cannot look up offsets")?;
        by_leader.entry(leader).or_default().push(*index);
    }
    let mut offsets = BTreeMap::new();
    for (leader, partitions) in by_leader {
        let version = client
            .cluster
            .common_version::<ListOffsetsRequest>()
            .await?;
        let request = request(&topic.name, &partitions, timestamp, version);
        let response = client
            .cluster
            .call(leader, &request)
            .await
            .context("cannot look up offsets")?;
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let error = ErrorCode::from_wire(partition.error_code);
            if !error.is_none() {
                let what = format!(
                    "look up offsets of {}-{}",
                    topic.name, partition.partition_index
                );
                return Err(client::refused(&what, error, None));
            }
            offsets.insert(partition.partition_index, partition.offset);
        }
    }
    Ok(offsets)
}

fn request(topic: &str, partitions: &[i32], timestamp: i64, version: i16) -> ListOffsetsRequest {
    let mut asked = ListOffsetsTopic::default();
    asked.name = topic.into();
    asked.partitions = partitions
        .iter()
        .map(|index| {
            let mut partition = ListOffsetsPartition::default();
            partition.partition_index = *index;
            partition.current_leader_epoch = -1;
            partition.timestamp = timestamp;
            partition
        })
        .collect();
    let mut request = ListOffsetsRequest::default();
    request.replica_id = -1;
    request.topics.push(asked);
    if version >= TIMEOUT_SINCE {
        request.timeout_ms = REQUEST_TIMEOUT_MS;
    }
    request
}
