//! Offsets by time, and producer ids.

use std::rc::Rc;

use corelane_format::ids::{LeaderEpoch, ProducerId};
use corelane_net::error_code::ErrorCode;
use corelane_net::native::message::{
    InitProducer, InitProducerAnswer, ListOffsets, ListOffsetsAnswer,
};
use corelane_net::native::session::Violation;
use corelane_net::native::{Frame, MESSAGE_VERSION, Message, frame_of};
use corelane_net::server::native::NativePending;

use super::Pending;
use super::target::Target;
use crate::handlers::list_offsets::find;
use crate::handlers::remote::on_partition;
use crate::lane::Lane;

/// Answers `ListOffsets`.
pub(super) fn list_offsets(lane: &Rc<Lane>, frame: Frame<'_>) -> Result<Pending, Violation> {
    let correlation = frame.header.correlation;
    let asked = ListOffsets::read(frame.archive)?;
    let answer = move |node, found: Result<(i64, i64, i32), ErrorCode>| {
        let (timestamp_ms, offset, _) = *found.as_ref().unwrap_or(&(-1, -1, -1));
        frame_of(
            correlation,
            &ListOffsetsAnswer {
                version: MESSAGE_VERSION,
                error: found.err().map_or(0, ErrorCode::code),
                node,
                offset,
                timestamp_ms,
            },
        )
    };
    let target = match Target::find(lane, asked.topic, asked.partition) {
        Ok(target) => target,
        Err(code) => return Ok(NativePending::Ready(answer(-1, Err(code)))),
    };
    let found = on_partition(lane, Some(&target.routes), target.index, move |partition| {
        find(partition, LeaderEpoch::UNKNOWN, asked.timestamp_ms, false)
    });
    let node = target.node;
    Ok(NativePending::WhenReady(Box::pin(async move {
        Some(answer(node, found.await))
    })))
}

/// Answers `InitProducer`.
pub(super) fn init_producer(lane: &Rc<Lane>, frame: Frame<'_>) -> Result<Pending, Violation> {
    InitProducer::access(frame.archive)?;
    let correlation = frame.header.correlation;
    let lane = Rc::clone(lane);
    Ok(NativePending::WhenReady(Box::pin(async move {
        let given = lane.next_producer_id().await;
        if let Err(error) = &given {
            tracing::error!(%error, "cannot reserve producer ids");
        }
        let answer = InitProducerAnswer {
            version: MESSAGE_VERSION,
            error: match &given {
                Ok(_) => 0,
                Err(_) => ErrorCode::CoordinatorNotAvailable.code(),
            },
            producer_epoch: if given.is_ok() { 0 } else { -1 },
            producer_id: given.map_or(-1, ProducerId::get),
        };
        Some(frame_of(correlation, &answer))
    })))
}
