//! DeleteRecords: moves the log start offset forward, durably.

use std::rc::Rc;

use corelane_format::ids::{Offset, PartitionIndex};
use corelane_net::error_code::ErrorCode;
use kafka_wire::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_wire::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::errors;
use super::remote::on_partition;
use crate::lane::Lane;
use crate::partition::Partition;

/// Asks to delete everything up to the high watermark.
const UP_TO_HIGH_WATERMARK: i64 = -1;

/// Answers the request. A partition answered without error is deleted up to its low watermark, durably.
pub(super) async fn handle(lane: Rc<Lane>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut pending = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let routes = lane.topic(topic.name.as_str());
        let answers: Vec<_> = topic
            .partitions
            .iter()
            .map(|asked| {
                let index = PartitionIndex::new(asked.partition_index);
                let to = asked.offset;
                let answer = on_partition(&lane, routes.as_deref(), index, move |partition| {
                    delete(partition, to)
                });
                (asked.partition_index, answer)
            })
            .collect();
        pending.push((topic.name, answers));
    }
    let mut response = DeleteRecordsResponse::default();
    for (name, answers) in pending {
        let mut topic = DeleteRecordsTopicResult::default();
        topic.name = name;
        for (index, answer) in answers {
            let mut partition = DeleteRecordsPartitionResult::default();
            partition.partition_index = index;
            match answer.await {
                Ok(low_watermark) => partition.low_watermark = low_watermark,
                Err(code) => {
                    partition.low_watermark = -1;
                    partition.error_code = code.code();
                }
            }
            topic.partitions.push(partition);
        }
        response.topics.push(topic);
    }
    response
}

async fn delete(partition: Rc<Partition>, to: i64) -> Result<i64, ErrorCode> {
    if !partition.limits.get().deletes_records {
        return Err(ErrorCode::PolicyViolation);
    }
    let high_watermark = partition.high_watermark();
    let to = if to == UP_TO_HIGH_WATERMARK {
        high_watermark
    } else {
        Offset::new(to)
    };
    if to.get() < 0 || to > high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    partition.log.advance_log_start(to).await.map_err(|error| {
        tracing::error!(topic = %partition.topic, partition = %partition.index, %error, "cannot delete records");
        errors::storage()
    })?;
    Ok(partition.log.log_start_offset().get())
}
