//! Reading one partition of this lane.

use corelane_format::ids::Offset;
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchPartition, IsolationLevel, PartitionData};
use corelane_storage::{FenceReason, LogSlice};

use crate::fetch_session::Watermarks;
use crate::handlers::errors;
use crate::partition::Partition;

/// What one pass found of one partition.
#[derive(Clone, Debug)]
pub(super) struct Found<S> {
    pub(super) error: ErrorCode,
    pub(super) watermarks: Watermarks,
    pub(super) slices: Vec<S>,
    pub(super) size_bytes: usize,
    /// The client has everything that it may see.
    pub(super) is_at_end: bool,
    /// The log takes no more writes; known, so that only the change to it ends a wait.
    pub(super) fenced: bool,
}

impl<S> Found<S> {
    pub(super) fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            watermarks: Watermarks::UNKNOWN,
            slices: Vec::new(),
            size_bytes: 0,
            is_at_end: false,
            fenced: false,
        }
    }

    pub(super) fn map<T>(self, slices: impl FnOnce(Vec<S>) -> Vec<T>) -> Found<T> {
        Found {
            error: self.error,
            watermarks: self.watermarks,
            slices: slices(self.slices),
            size_bytes: self.size_bytes,
            is_at_end: self.is_at_end,
            fenced: self.fenced,
        }
    }
}

/// How much may still be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) left_bytes: usize,
    /// Nothing was found yet, so the first batch may exceed the limits: a consumer always gets on.
    pub(super) at_least_one: bool,
}

impl Budget {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            left_bytes: limit_bytes,
            at_least_one: true,
        }
    }

    pub(super) fn spend(&mut self, size_bytes: usize) {
        if size_bytes > 0 {
            self.at_least_one = false;
            self.left_bytes = self.left_bytes.saturating_sub(size_bytes);
        }
    }
}

/// A partition of the response, but for its records.
pub(super) fn partition_data(
    asked: &FetchPartition,
    error: ErrorCode,
    watermarks: Watermarks,
    isolation: IsolationLevel,
) -> PartitionData {
    let mut data = PartitionData::readable(
        asked.index,
        watermarks.high_watermark,
        watermarks.log_start_offset,
    );
    data.error = error;
    data.last_stable_offset = watermarks.last_stable_offset;
    if isolation == IsolationLevel::ReadCommitted && error == ErrorCode::None {
        data.aborted_transactions = Some(Vec::new());
    }
    data
}

/// Reads one partition of this lane.
pub(super) async fn read(
    partition: &Partition,
    asked: FetchPartition,
    isolation: IsolationLevel,
    budget: Budget,
) -> Found<LogSlice> {
    if let Err(code) =
        errors::check_leader_epoch(asked.current_leader_epoch, partition.leader_epoch())
    {
        return Found::failed(code);
    }
    let watermarks = Watermarks {
        high_watermark: partition.high_watermark(),
        last_stable_offset: partition.last_stable_offset(),
        log_start_offset: partition.log.log_start_offset(),
    };
    let end: Offset = match isolation {
        IsolationLevel::ReadUncommitted => watermarks.high_watermark,
        IsolationLevel::ReadCommitted => watermarks.last_stable_offset,
    };
    let fenced = partition.log.fenced();
    match fenced.as_ref().map(|fence| &fence.reason) {
        Some(FenceReason::Deleted) => return Found::failed(ErrorCode::UnknownTopicOrPartition),
        Some(FenceReason::Closed) => return Found::failed(ErrorCode::NotLeaderOrFollower),
        // What was flushed is still served.
        Some(FenceReason::Io { .. }) | None => {}
    }
    let from = asked.fetch_offset;
    let mut found = Found {
        error: ErrorCode::None,
        watermarks,
        slices: Vec::new(),
        size_bytes: 0,
        is_at_end: from >= end,
        fenced: fenced.is_some(),
    };
    if from < watermarks.log_start_offset || from > partition.log.log_end_offset() {
        found.error = ErrorCode::OffsetOutOfRange;
        return found;
    }
    let limit = usize::try_from(asked.max_bytes)
        .unwrap_or(0)
        .min(budget.left_bytes);
    if found.is_at_end || (limit == 0 && !budget.at_least_one) {
        return found;
    }
    match partition
        .log
        .read(from, end, limit, budget.at_least_one)
        .await
    {
        Ok(read) => {
            found.size_bytes = read.size_bytes;
            found.slices = read.slices;
        }
        Err(error) => {
            tracing::warn!(topic = %partition.topic, partition = %partition.index, %error, "fetch failed");
            found = Found::failed(errors::of_read(&error));
        }
    }
    found
}
