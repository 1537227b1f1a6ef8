//! Reading native batches of one partition, here or on the lane that owns it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use corelane_format::ids::Offset;
use corelane_net::error_code::ErrorCode;
use corelane_storage::FenceReason;

use super::batches::native_from_kafka;
use crate::handlers::errors;
use crate::handlers::fetch::FetchSlice;
use crate::lane::Lane;
use crate::lane::deadline::Deadline;
use crate::metrics::LaneCounters;
use crate::partition::Partition;

/// Where a partition begins and ends for readers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) log_start_offset: Offset,
    pub(super) high_watermark: Offset,
}

impl Bounds {
    /// As they are now.
    ///
    /// # Errors
    /// The partition is gone.
    pub(super) fn of(partition: &Partition) -> Result<Self, ErrorCode> {
        match partition.log.fenced().map(|fence| fence.reason) {
            Some(FenceReason::Deleted) => return Err(ErrorCode::UnknownTopicId),
            Some(FenceReason::Closed) => return Err(ErrorCode::NotLeaderOrFollower),
            // What was flushed is still served.
            Some(FenceReason::Io { .. }) | None => {}
        }
        Ok(Self {
            log_start_offset: partition.log.log_start_offset(),
            high_watermark: partition.high_watermark(),
        })
    }
}

/// Native batches and where to go on.
pub(super) struct Batches<S> {
    pub(super) slices: Vec<S>,
    pub(super) size_bytes: usize,
    pub(super) next_offset: Offset,
    pub(super) bounds: Bounds,
}

impl Batches<FetchSlice> {
    /// A copy that can leave its lane.
    pub(super) fn to_copies(&self) -> Batches<Bytes> {
        let copies = self.slices.iter();
        Batches {
            slices: copies
                .map(|slice| Bytes::copy_from_slice(slice.as_ref()))
                .collect(),
            size_bytes: self.size_bytes,
            next_offset: self.next_offset,
            bounds: self.bounds,
        }
    }
}

impl From<Batches<Bytes>> for Batches<FetchSlice> {
    fn from(copies: Batches<Bytes>) -> Self {
        Self {
            slices: copies
                .slices
                .into_iter()
                .map(|copy| FetchSlice::Forwarded(Rc::new(copy)))
                .collect(),
            size_bytes: copies.size_bytes,
            next_offset: copies.next_offset,
            bounds: copies.bounds,
        }
    }
}

/// Reads from `from` on at most `bytes_max`, but for the first batch; nothing if there is nothing yet.
///
/// # Errors
/// The offset is out of range, the records are damaged, or the partition is gone.
pub(super) async fn read_here(
    lane: &Lane,
    partition: &Partition,
    from: Offset,
    bytes_max: usize,
) -> Result<Batches<FetchSlice>, ErrorCode> {
    let bounds = Bounds::of(partition)?;
    if from < bounds.log_start_offset || from > partition.log.log_end_offset() {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let mut found = Batches {
        slices: Vec::new(),
        size_bytes: 0,
        next_offset: from,
        bounds,
    };
    if from >= bounds.high_watermark {
        return Ok(found);
    }
    let read = partition
        .log
        .read(from, bounds.high_watermark, bytes_max, true)
        .await
        .map_err(|error| {
            tracing::warn!(topic = %partition.topic, partition = %partition.index, %error, "native read failed");
            errors::of_read(&error)
        })?;
    let converted = native_from_kafka(read.slices.iter().map(AsRef::as_ref), from, bytes_max)?;
    LaneCounters::add(&lane.counters.batches_converted_out, converted.batches);
    found.size_bytes = converted.bytes.len();
    found.next_offset = converted.next_offset.max(from);
    found.slices = vec![FetchSlice::Forwarded(Rc::new(Bytes::from(converted.bytes)))];
    Ok(found)
}

/// Waits until something beyond `seen` may be read, the partition is fenced, or the time is up.
pub(super) async fn wait_beyond(partition: &Rc<Partition>, seen: Offset, wait: Option<Duration>) {
    let mut deadline = wait.map(Deadline::after);
    let mut waiter = partition.log.progress_waiter();
    poll_fn(|context| {
        waiter.register(context.waker());
        // After registering, so that no change is missed between the two.
        if partition.high_watermark() > seen || partition.log.fenced().is_some() {
            return Poll::Ready(());
        }
        let is_over = deadline
            .as_mut()
            .is_some_and(|deadline| deadline.poll_over(context));
        if is_over {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Reads as [`read_here`] does, after a wait of at most `wait` if there is nothing yet.
pub(super) async fn read_or_wait(
    lane: &Lane,
    partition: &Rc<Partition>,
    from: Offset,
    bytes_max: usize,
    wait: Duration,
) -> Result<Batches<FetchSlice>, ErrorCode> {
    let found = read_here(lane, partition, from, bytes_max).await?;
    if found.size_bytes > 0 || found.next_offset > from || wait.is_zero() {
        return Ok(found);
    }
    wait_beyond(partition, from, Some(wait)).await;
    read_here(lane, partition, from, bytes_max).await
}
