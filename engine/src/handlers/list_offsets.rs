//! ListOffsets: from timestamps to offsets.

use std::rc::Rc;

use corelane_format::ids::{LeaderEpoch, PartitionIndex, TimestampMs};
use corelane_net::error_code::ErrorCode;
use kafka_wire::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_wire::{ListOffsetsRequest, ListOffsetsResponse};

use super::errors;
use super::remote::on_partition;
use crate::lane::Lane;
use crate::partition::Partition;

/// Older versions have no leader epoch in the answer.
const LEADER_EPOCH_SINCE: i16 = 4;

/// What a request's timestamp field asks for; the negative values are Kafka's (`ListOffsetsRequest.json`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Latest,
    Earliest,
    MaxTimestamp,
    /// The end of what has moved to remote storage: nothing has, here.
    LatestTiered,
    At(TimestampMs),
}

impl Asked {
    fn parse(timestamp: i64) -> Option<Self> {
        match timestamp {
            -1 => Some(Self::Latest),
            // All data is local, so the earliest local offset (-4) is the earliest one.
            -2 | -4 => Some(Self::Earliest),
            -3 => Some(Self::MaxTimestamp),
            -5 => Some(Self::LatestTiered),
            0.. => Some(Self::At(TimestampMs::new(timestamp))),
            _ => None,
        }
    }
}

/// Timestamp and offset, or `(-1, -1)` for none.
pub(super) type Found = (i64, i64, i32);

const NOTHING: Found = (-1, -1, -1);

/// Answers the request; each partition has its own error.
pub(super) async fn handle(
    lane: Rc<Lane>,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let read_committed = request.isolation_level == 1;
    let mut pending = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let routes = lane.topic(topic.name.as_str());
        let answers: Vec<_> = topic
            .partitions
            .iter()
            .map(|asked| {
                let index = PartitionIndex::new(asked.partition_index);
                let epoch = LeaderEpoch::new(asked.current_leader_epoch);
                let timestamp = asked.timestamp;
                let answer = on_partition(&lane, routes.as_deref(), index, move |partition| {
                    find(partition, epoch, timestamp, read_committed)
                });
                (asked.partition_index, answer)
            })
            .collect();
        pending.push((topic.name, answers));
    }
    let mut response = ListOffsetsResponse::default();
    for (name, answers) in pending {
        let mut topic = ListOffsetsTopicResponse::default();
        topic.name = name;
        for (index, answer) in answers {
            let mut partition = ListOffsetsPartitionResponse::default();
            partition.partition_index = index;
            let (timestamp, offset, leader_epoch) = match answer.await {
                Ok(found) => found,
                Err(code) => {
                    partition.error_code = code.code();
                    NOTHING
                }
            };
            partition.timestamp = timestamp;
            partition.offset = offset;
            if version >= LEADER_EPOCH_SINCE {
                partition.leader_epoch = leader_epoch;
            }
            topic.partitions.push(partition);
        }
        response.topics.push(topic);
    }
    response
}

/// Finds what a timestamp asks for: the record's timestamp, its offset, the leader epoch; -1 for what there is not.
pub(super) async fn find(
    partition: Rc<Partition>,
    current_epoch: LeaderEpoch,
    timestamp: i64,
    read_committed: bool,
) -> Result<Found, ErrorCode> {
    errors::check_leader_epoch(current_epoch, partition.leader_epoch())?;
    let asked = Asked::parse(timestamp).ok_or(ErrorCode::UnsupportedVersion)?;
    let epoch = partition.leader_epoch().get();
    let end = if read_committed {
        partition.last_stable_offset()
    } else {
        partition.high_watermark()
    };
    let found = match asked {
        Asked::Latest => return Ok((-1, end.get(), epoch)),
        Asked::Earliest => return Ok((-1, partition.log.log_start_offset().get(), epoch)),
        Asked::LatestTiered => None,
        Asked::MaxTimestamp => partition
            .log
            .max_timestamp()
            .await
            .map_err(|error| errors::of_read(&error))?,
        Asked::At(timestamp) => partition
            .log
            .offset_for_timestamp(timestamp)
            .await
            .map_err(|error| errors::of_read(&error))?,
    };
    Ok(match found {
        Some((timestamp, offset)) if offset < end => (timestamp.get(), offset.get(), epoch),
        _ => NOTHING,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_special_timestamps() {
        let table = [
            (-1, Some(Asked::Latest)),
            (-2, Some(Asked::Earliest)),
            (-3, Some(Asked::MaxTimestamp)),
            (-4, Some(Asked::Earliest)),
            (-5, Some(Asked::LatestTiered)),
            (-6, None),
            (i64::MIN, None),
            (0, Some(Asked::At(TimestampMs::new(0)))),
        ];
        for (timestamp, expected) in table {
            assert_eq!(Asked::parse(timestamp), expected, "{timestamp}");
        }
    }
}
