//! `DescribeProducers`: the idempotent producers that a partition remembers.

use std::rc::Rc;

use corelane_format::ids::PartitionIndex;
use corelane_net::error_code::ErrorCode;
use kafka_wire::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_wire::{DescribeProducersRequest, DescribeProducersResponse};
use kafka_wire_core::StrBytes;

use super::remote::on_partition;
use crate::lane::Lane;
use crate::partition::Partition;

/// What Kafka says where there is no transaction.
const NO_TRANSACTION: i64 = -1;

/// Answers the request.
pub(super) async fn describe(
    lane: Rc<Lane>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut response = DescribeProducersResponse::default();
    for topic in request.topics {
        let routes = lane.topic(topic.name.as_str());
        let answers: Vec<_> = topic
            .partition_indexes
            .iter()
            .map(|index| {
                let answer = on_partition(
                    &lane,
                    routes.as_deref(),
                    PartitionIndex::new(*index),
                    producers,
                );
                (*index, answer)
            })
            .collect();
        let mut result = TopicResponse::default();
        result.name = topic.name;
        for (index, answer) in answers {
            let mut partition = PartitionResponse::default();
            partition.partition_index = index;
            partition.error_message = None;
            match answer.await {
                Ok(producers) => {
                    partition.active_producers =
                        producers.into_iter().map(Remembered::into_wire).collect();
                }
                Err(code) => {
                    partition.error_code = code.code();
                    partition.error_message = Some(StrBytes::from(code.name()));
                }
            }
            result.partitions.push(partition);
        }
        response.topics.push(result);
    }
    response
}

/// One producer, as it travels between lanes.
struct Remembered {
    id: i64,
    epoch: i32,
    last_sequence: i32,
    last_used_ms: i64,
}

impl Remembered {
    fn into_wire(self) -> ProducerState {
        let mut state = ProducerState::default();
        state.producer_id = self.id;
        state.producer_epoch = self.epoch;
        state.last_sequence = self.last_sequence;
        state.last_timestamp = self.last_used_ms;
        state.coordinator_epoch = -1;
        state.current_txn_start_offset = NO_TRANSACTION;
        state
    }
}

async fn producers(partition: Rc<Partition>) -> Result<Vec<Remembered>, ErrorCode> {
    Ok(partition
        .log
        .producers()
        .iter()
        .map(|(id, epoch, last_sequence, last_used)| Remembered {
            id: id.get(),
            epoch: i32::from(epoch.get()),
            last_sequence: last_sequence.get(),
            last_used_ms: last_used.get(),
        })
        .collect())
}
