//! A native batch, from the receive buffer to the partition's tail.

use std::rc::Rc;

use corelane_format::kafka::BatchLimits;
use corelane_format::native::NativeBatch;
use corelane_net::error_code::ErrorCode;
use corelane_net::native::message::{Produce, ProduceAnswer};
use corelane_net::native::session::Violation;
use corelane_net::native::{Frame, MESSAGE_VERSION, Message, frame_of};
use corelane_net::produce::PartitionOutcome;
use corelane_net::response::Response;
use corelane_net::server::native::NativePending;

use super::Pending;
use super::batches::kafka_from_native;
use super::target::{Place, Target};
use crate::handlers::errors;
use crate::handlers::fetch::FetchSlice;
use crate::handlers::produce::{ACKS, Appended, append_elsewhere, append_here, finish_elsewhere};
use crate::handlers::remote::PartitionAnswer;
use crate::lane::Lane;
use crate::metadata::topic_name;
use crate::metrics::LaneCounters;

/// Least bytes of a record in a native batch: its timestamp and three ends.
const RECORD_BYTES_MIN: usize = 20;

/// How an append went on.
enum Started {
    Here(Appended),
    Elsewhere(PartitionAnswer<PartitionOutcome>),
}

/// Handles one batch. What it appended stays appended even if the answer is never awaited.
pub(super) fn handle(lane: &Rc<Lane>, frame: Frame<'_>) -> Result<Pending, Violation> {
    let correlation = frame.header.correlation;
    let asked = Produce::access(frame.archive)?;
    let acks = asked.acks.to_native();
    let (node, started) = match Target::find(lane, asked.topic, asked.partition.to_native()) {
        Ok(target) => (target.node, append(lane, &target, frame.payload, acks)),
        Err(code) => (-1, Err(code)),
    };
    if acks == 0 {
        // Without an answer, ending the connection is the only way to tell that something was refused.
        return match started {
            Ok(Started::Here(_)) => Ok(NativePending::Nothing),
            Ok(Started::Elsewhere(answer)) => {
                finish_elsewhere(answer);
                Ok(NativePending::Nothing)
            }
            Err(code) => Err(Violation::Unanswered { code }),
        };
    }
    Ok(match started {
        Err(code) => NativePending::InOrder(Box::pin(async move {
            Some(answer(correlation, node, Err(code)))
        })),
        Ok(Started::Here(appended)) => NativePending::InOrder(Box::pin(async move {
            let outcome = match appended.log.wait_readable(appended.end).await {
                Ok(()) => Ok(appended.outcome),
                Err(fenced) => Err(errors::of_fence(&fenced)),
            };
            Some(answer(correlation, node, outcome))
        })),
        Ok(Started::Elsewhere(later)) => NativePending::InOrder(Box::pin(async move {
            Some(answer(correlation, node, later.await))
        })),
    })
}

fn append(
    lane: &Rc<Lane>,
    target: &Target,
    payload: &[u8],
    acks: i16,
) -> Result<Started, ErrorCode> {
    if !ACKS.contains(&acks) {
        return Err(ErrorCode::InvalidRequiredAcks);
    }
    if topic_name::is_internal(&target.routes.name) {
        // They hold the server's own state.
        return Err(ErrorCode::InvalidTopicException);
    }
    if !lane.room().takes_produces() {
        LaneCounters::add(&lane.counters.produces_refused, 1);
        return Err(errors::NO_ROOM);
    }
    let limits = BatchLimits {
        size_bytes_max: usize::MAX,
        records_max: i32::try_from(payload.len() / RECORD_BYTES_MIN).unwrap_or(i32::MAX),
    };
    let batch =
        NativeBatch::open(payload, &limits).map_err(|error| errors::of_native_batch(&error))?;
    if batch.header().attributes.is_control() {
        return Err(ErrorCode::InvalidRecord);
    }
    let records = kafka_from_native(&batch)?;
    LaneCounters::add(&lane.counters.batches_converted_in, 1);
    match &target.place {
        Place::Here(partition) => append_here(partition, &records, acks, lane.clock.now())
            .map(Started::Here)
            .map_err(|refusal| refusal.code),
        Place::Elsewhere { lane: owner } => Ok(Started::Elsewhere(append_elsewhere(
            lane,
            *owner,
            target.routes.id,
            target.index,
            &records,
            acks,
        ))),
    }
}

fn answer(
    correlation: u32,
    node: i32,
    outcome: Result<PartitionOutcome, ErrorCode>,
) -> Response<FetchSlice> {
    let outcome = outcome.unwrap_or_else(PartitionOutcome::failed);
    frame_of(
        correlation,
        &ProduceAnswer {
            version: MESSAGE_VERSION,
            error: outcome.error.code(),
            node,
            base_offset: outcome.base_offset.get(),
            log_append_time_ms: outcome.log_append_time.get(),
            log_start_offset: outcome.log_start_offset.get(),
        },
    )
}
