//! OffsetForLeaderEpoch: where an epoch ended. Without replicas nothing is ever truncated: each epoch reaches the high watermark.

use std::rc::Rc;

use corelane_format::ids::{LeaderEpoch, PartitionIndex};
use corelane_net::error_code::ErrorCode;
use kafka_wire::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_wire::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::errors;
use super::remote::on_partition;
use crate::lane::Lane;
use crate::partition::Partition;

/// "No such epoch": both fields of the answer.
const UNDEFINED: (i32, i64) = (-1, -1);

/// Answers the request; each partition has its own error.
pub(super) async fn handle(
    lane: Rc<Lane>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut pending = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let routes = lane.topic(topic.topic.as_str());
        let answers: Vec<_> = topic
            .partitions
            .iter()
            .map(|asked| {
                let index = PartitionIndex::new(asked.partition);
                let current = LeaderEpoch::new(asked.current_leader_epoch);
                let epoch = asked.leader_epoch;
                let answer = on_partition(
                    &lane,
                    routes.as_deref(),
                    index,
                    move |partition| async move { end_of(&partition, current, epoch) },
                );
                (asked.partition, answer)
            })
            .collect();
        pending.push((topic.topic, answers));
    }
    let mut response = OffsetForLeaderEpochResponse::default();
    for (name, answers) in pending {
        let mut topic = OffsetForLeaderTopicResult::default();
        topic.topic = name;
        for (index, answer) in answers {
            let mut partition = EpochEndOffset::default();
            partition.partition = index;
            let (epoch, end) = match answer.await {
                Ok(found) => found,
                Err(code) => {
                    partition.error_code = code.code();
                    UNDEFINED
                }
            };
            partition.leader_epoch = epoch;
            partition.end_offset = end;
            topic.partitions.push(partition);
        }
        response.topics.push(topic);
    }
    response
}

fn end_of(
    partition: &Partition,
    current: LeaderEpoch,
    epoch: i32,
) -> Result<(i32, i64), ErrorCode> {
    errors::check_leader_epoch(current, partition.leader_epoch())?;
    let leading = partition.leader_epoch().get();
    Ok(match epoch {
        _ if epoch < 0 || epoch > leading => UNDEFINED,
        // Moving between lanes starts an epoch but never truncates, so no client has to go back in an older one.
        _ => (epoch, partition.high_watermark().get()),
    })
}
