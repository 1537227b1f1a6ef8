//! Batches once.

use std::rc::Rc;
use std::time::Duration;

use corelane_format::ids::{Offset, PartitionIndex, TopicId};
use corelane_net::error_code::ErrorCode;
use corelane_net::native::message::{Fetch, FetchAnswer};
use corelane_net::native::session::Violation;
use corelane_net::native::{Frame, MESSAGE_VERSION, Message, frame_with};
use corelane_net::response::Response;
use corelane_net::server::native::NativePending;

use super::Pending;
use super::read::{Batches, read_or_wait};
use super::target::{Place, Target};
use crate::handlers::fetch::FetchSlice;
use crate::handlers::remote::local;
use crate::lane::Lane;

/// The most bytes that one answer carries, but for the first batch.
const ANSWER_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Answers `Fetch`.
pub(super) fn handle(lane: &Rc<Lane>, frame: Frame<'_>) -> Result<Pending, Violation> {
    let correlation = frame.header.correlation;
    let asked = Fetch::read(frame.archive)?;
    let target = match Target::find(lane, asked.topic, asked.partition) {
        Ok(target) => target,
        Err(code) => return Ok(NativePending::Ready(answer(correlation, -1, Err(code)))),
    };
    let lane = Rc::clone(lane);
    Ok(NativePending::WhenReady(Box::pin(async move {
        let node = target.node;
        let found = read(&lane, target, &asked).await;
        Some(answer(correlation, node, found))
    })))
}

async fn read(
    lane: &Rc<Lane>,
    target: Target,
    asked: &Fetch,
) -> Result<Batches<FetchSlice>, ErrorCode> {
    let from = Offset::new(asked.offset);
    let bytes_max = asked.bytes_max.min(ANSWER_BYTES_MAX) as usize;
    let wait = Duration::from_millis(u64::from(asked.wait_ms_max)).min(WAIT_MAX);
    match target.place {
        Place::Here(partition) => read_or_wait(lane, &partition, from, bytes_max, wait).await,
        Place::Elsewhere { lane: owner } => {
            let topic = target.routes.id;
            let index = target.index;
            read_elsewhere(lane, owner, (topic, index), from, bytes_max, wait).await
        }
    }
}

/// Reads on the lane that owns the partition.
pub(super) async fn read_elsewhere(
    lane: &Rc<Lane>,
    owner: usize,
    (topic, index): (TopicId, PartitionIndex),
    from: Offset,
    bytes_max: usize,
    wait: Duration,
) -> Result<Batches<FetchSlice>, ErrorCode> {
    let answer = lane.mesh.call(owner, move |lane: Rc<Lane>| async move {
        let partition = local(&lane, topic, index).ok_or(ErrorCode::NotLeaderOrFollower)?;
        let found = read_or_wait(&lane, &partition, from, bytes_max, wait).await?;
        Ok(found.to_copies())
    });
    answer
        .await
        .unwrap_or(Err(ErrorCode::BrokerNotAvailable))
        .map(Batches::from)
}

fn answer(
    correlation: u32,
    node: i32,
    found: Result<Batches<FetchSlice>, ErrorCode>,
) -> Response<FetchSlice> {
    let mut answer = FetchAnswer {
        version: MESSAGE_VERSION,
        error: 0,
        node,
        next_offset: -1,
        log_start_offset: -1,
        high_watermark: -1,
    };
    match found {
        Ok(found) => {
            answer.next_offset = found.next_offset.get();
            answer.log_start_offset = found.bounds.log_start_offset.get();
            answer.high_watermark = found.bounds.high_watermark.get();
            frame_with(correlation, &answer, found.slices)
        }
        Err(code) => {
            answer.error = code.code();
            frame_with(correlation, &answer, [])
        }
    }
}
