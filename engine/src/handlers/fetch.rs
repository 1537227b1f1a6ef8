//! Fetch: reads what is there, waits for more if that is too little, and answers with stored slices.
//!
//! A fetch is a sequence of passes: each pass reads every partition from its fetch offset, in the request's order,
//! within the request's limits. If the pass found `min_bytes`, an error, or the time is up, it is the answer; otherwise the
//! fetch waits until one of its partitions advances beyond what the pass saw. Partitions of other lanes are read there
//! and copied over. Sessions are not kept: session id 0 tells clients to send full fetches.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::errors;
use super::remote::local;
use crate::lane::deadline::Deadline;
use crate::lane::{Lane, LaneDisk, Route};
use crate::partition::Partition;
use bytes::Bytes;
use corelane_format::ids::{Offset, TopicId};
use corelane_net::api::RequestHeader;
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{
    FetchPartition, FetchRequest, FetchResponseHeader, FetchResponseWriter, IsolationLevel,
    PartitionData,
};
use corelane_net::response::Response;
use corelane_net::server::{CloseReason, Pending};
use corelane_net::topic::TopicRef;
use corelane_storage::{FenceReason, LogSlice, ProgressWaiter};

/// Longest wait that a request may ask for.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Handles one request.
pub(super) fn handle(
    lane: &Rc<Lane>,
    header: &RequestHeader<'_>,
    body: &[u8],
) -> Pending<FetchSlice> {
    let request = match FetchRequest::parse(body, header.api_version) {
        Ok(request) => request,
        Err(error) => return Pending::Close(errors::malformed(header, error)),
    };
    let (version, correlation_id) = (header.api_version, header.correlation_id);
    let Some(isolation) = IsolationLevel::from_wire(request.isolation_level) else {
        return Pending::Close(CloseReason::Service(format!(
            "a fetch with isolation level {}",
            request.isolation_level
        )));
    };
    if request.replica_id >= 0 {
        // Followers have a listener of their own; a client that claims to be one would move the high watermark.
        return Pending::Ready(refuse(version, correlation_id, ErrorCode::InvalidRequest));
    }
    if request.session_id != 0 && request.session_epoch > 0 {
        return Pending::Ready(refuse(
            version,
            correlation_id,
            ErrorCode::FetchSessionIdNotFound,
        ));
    }
    let lane = Rc::clone(lane);
    Pending::Later(Box::pin(async move {
        let fetch = Fetch::new(&lane, request, isolation);
        Ok(fetch.run(version, correlation_id).await)
    }))
}

fn refuse(version: i16, correlation_id: i32, error: ErrorCode) -> Response<FetchSlice> {
    FetchResponseWriter::new(&FetchResponseHeader {
        version,
        correlation_id,
        throttle_time_ms: 0,
        error,
        session_id: 0,
        topics_count: 0,
    })
    .finish(&[])
}

/// Stored bytes of this lane, or a copy of another lane's.
#[derive(Clone, Debug)]
pub enum FetchSlice {
    /// From this lane's log.
    Stored(LogSlice),
    /// From another lane's.
    Forwarded(Bytes),
}

impl AsRef<[u8]> for FetchSlice {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Stored(slice) => slice.as_ref(),
            Self::Forwarded(bytes) => bytes,
        }
    }
}

/// What one pass found of one partition.
#[derive(Clone, Debug)]
struct Found<S> {
    error: ErrorCode,
    high_watermark: Offset,
    last_stable_offset: Offset,
    log_start_offset: Offset,
    slices: Vec<S>,
    size_bytes: usize,
    /// The log takes no more writes; known, so that only the change to it ends a wait.
    fenced: bool,
}

impl<S> Found<S> {
    fn failed(error: ErrorCode) -> Self {
        let none = Offset::new(-1);
        Self {
            error,
            high_watermark: none,
            last_stable_offset: none,
            log_start_offset: none,
            slices: Vec::new(),
            size_bytes: 0,
            fenced: false,
        }
    }

    fn map<T>(self, slices: impl FnOnce(Vec<S>) -> Vec<T>) -> Found<T> {
        Found {
            error: self.error,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
            log_start_offset: self.log_start_offset,
            slices: slices(self.slices),
            size_bytes: self.size_bytes,
            fenced: self.fenced,
        }
    }
}

/// What a pass knew of a partition, to tell when there is more.
#[derive(Clone, Copy, Debug)]
struct Seen {
    high_watermark: Offset,
    fenced: bool,
}

impl Seen {
    fn of<S>(found: &Found<S>) -> Self {
        Self {
            high_watermark: found.high_watermark,
            fenced: found.fenced,
        }
    }
}

/// A wait for a partition of this lane to change; leaves nothing behind when dropped.
struct Watch {
    partition: Rc<Partition>,
    seen: Seen,
    waiter: ProgressWaiter<LaneDisk>,
}

impl Watch {
    fn new(partition: &Rc<Partition>, seen: Seen) -> Self {
        Self {
            partition: Rc::clone(partition),
            seen,
            waiter: partition.log.progress_waiter(),
        }
    }

    /// Whether there is more than was seen; if not, the task is woken when there is.
    fn poll_changed(&mut self, context: &Context<'_>) -> bool {
        self.waiter.register(context.waker());
        // After registering, so that no change is missed between the two.
        self.partition.high_watermark() > self.seen.high_watermark
            || self.partition.log.fenced().is_some() != self.seen.fenced
    }
}

/// How much may still be read.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left_bytes: usize,
    /// Nothing was found yet, so the first batch may exceed the limits: a consumer always gets on.
    at_least_one: bool,
}

/// Where a requested partition is.
enum Target {
    Here(Rc<Partition>),
    Elsewhere { lane: usize, topic: TopicId },
    Nowhere(ErrorCode),
}

struct Fetch {
    lane: Rc<Lane>,
    request: FetchRequest,
    isolation: IsolationLevel,
    /// In the request's order, topics flattened.
    targets: Vec<Target>,
    deadline: Instant,
}

impl Fetch {
    fn new(lane: &Rc<Lane>, request: FetchRequest, isolation: IsolationLevel) -> Self {
        let wait =
            Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
        let targets = request
            .topics
            .iter()
            .flat_map(|topic| {
                let (routes, unknown) = match topic.topic.as_topic() {
                    TopicRef::Name(name) => (lane.topic(name), ErrorCode::UnknownTopicOrPartition),
                    TopicRef::Id(id) => (lane.topic_by_id(id), ErrorCode::UnknownTopicId),
                };
                topic.partitions.iter().map(move |asked| {
                    let Some(routes) = &routes else {
                        return Target::Nowhere(unknown);
                    };
                    match routes.partition(asked.index) {
                        Some(Route::Local(partition)) => Target::Here(Rc::clone(partition)),
                        Some(Route::Unavailable) => Target::Nowhere(errors::storage()),
                        Some(Route::Remote { lane }) => Target::Elsewhere {
                            lane: *lane,
                            topic: routes.id,
                        },
                        None => Target::Nowhere(ErrorCode::UnknownTopicOrPartition),
                    }
                })
            })
            .collect();
        Self {
            lane: Rc::clone(lane),
            request,
            isolation,
            targets,
            deadline: Instant::now() + wait,
        }
    }

    fn asked(&self) -> impl Iterator<Item = &FetchPartition> {
        self.request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
    }

    async fn run(self, version: i16, correlation_id: i32) -> Response<FetchSlice> {
        let wanted = usize::try_from(self.request.min_bytes).unwrap_or(0);
        loop {
            let found = self.pass().await;
            let size_bytes: usize = found.iter().map(|one| one.size_bytes).sum();
            let failed = found.iter().any(|one| one.error != ErrorCode::None);
            if size_bytes >= wanted || failed || found.is_empty() || Instant::now() >= self.deadline
            {
                return self.answer(version, correlation_id, found);
            }
            self.wait(&found).await;
        }
    }

    /// Reads every partition once.
    async fn pass(&self) -> Vec<Found<FetchSlice>> {
        let limit = usize::try_from(self.request.max_bytes).unwrap_or(0);
        let mut budget = Budget {
            left_bytes: limit.min(self.lane.cluster.fetch_size_bytes_max),
            at_least_one: true,
        };
        let mut all = Vec::with_capacity(self.targets.len());
        for (target, asked) in self.targets.iter().zip(self.asked()) {
            let found = match target {
                Target::Here(partition) => read(partition, *asked, self.isolation, budget)
                    .await
                    .map(|slices| slices.into_iter().map(FetchSlice::Stored).collect()),
                Target::Elsewhere { lane, topic } => {
                    self.read_elsewhere(*lane, *topic, *asked, budget).await
                }
                Target::Nowhere(error) => Found::failed(*error),
            };
            if found.size_bytes > 0 {
                budget.at_least_one = false;
                budget.left_bytes = budget.left_bytes.saturating_sub(found.size_bytes);
            }
            all.push(found);
        }
        all
    }

    async fn read_elsewhere(
        &self,
        owner: usize,
        topic: TopicId,
        asked: FetchPartition,
        budget: Budget,
    ) -> Found<FetchSlice> {
        let isolation = self.isolation;
        let answer = self
            .lane
            .mesh
            .call(owner, move |lane: Rc<Lane>| async move {
                let Some(partition) = local(&lane, topic, asked.index) else {
                    return Found::failed(ErrorCode::NotLeaderOrFollower);
                };
                read(&partition, asked, isolation, budget)
                    .await
                    .map(|slices| {
                        slices
                            .iter()
                            .map(|slice| Bytes::copy_from_slice(slice.as_ref()))
                            .collect()
                    })
            });
        match answer.await {
            Ok(found) => {
                found.map(|slices| slices.into_iter().map(FetchSlice::Forwarded).collect())
            }
            Err(_) => Found::failed(ErrorCode::BrokerNotAvailable),
        }
    }

    /// Waits until a partition has more than the pass found, or the deadline.
    async fn wait(&self, found: &[Found<FetchSlice>]) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut deadline = Deadline::after(left);
        let mut elsewhere: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        let mut here: Vec<Watch> = Vec::new();
        for ((target, asked), seen) in self.targets.iter().zip(self.asked()).zip(found) {
            let seen = Seen::of(seen);
            match target {
                Target::Here(partition) => here.push(Watch::new(partition, seen)),
                Target::Elsewhere { lane, topic } => elsewhere.push(Box::pin(
                    self.advance_elsewhere(*lane, *topic, *asked, seen, left),
                )),
                Target::Nowhere(_) => {}
            }
        }
        poll_fn(|context| {
            let mut advanced = deadline.poll_over(context);
            for watch in &mut here {
                advanced |= watch.poll_changed(context);
            }
            for one in &mut elsewhere {
                advanced |= one.as_mut().poll(context).is_ready();
            }
            if advanced {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Watches a partition of another lane. The watch over there ends with this future.
    fn advance_elsewhere(
        &self,
        owner: usize,
        topic: TopicId,
        asked: FetchPartition,
        seen: Seen,
        left: Duration,
    ) -> impl Future<Output = ()> + use<> {
        let (alive, gone) = flume::bounded::<()>(0);
        let answer = self
            .lane
            .mesh
            .call(owner, move |lane: Rc<Lane>| async move {
                let Some(partition) = local(&lane, topic, asked.index) else {
                    return;
                };
                let mut watch = Watch::new(&partition, seen);
                let mut deadline = Deadline::after(left);
                let mut abandoned = gone.into_recv_async();
                poll_fn(|context| {
                    let over = deadline.poll_over(context)
                        | watch.poll_changed(context)
                        | Pin::new(&mut abandoned).poll(context).is_ready();
                    if over { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            });
        async move {
            // A lane that ended is found out by the next pass.
            let _ = answer.await;
            drop(alive);
        }
    }

    fn answer(
        self,
        version: i16,
        correlation_id: i32,
        found: Vec<Found<FetchSlice>>,
    ) -> Response<FetchSlice> {
        let mut writer = FetchResponseWriter::new(&FetchResponseHeader {
            version,
            correlation_id,
            throttle_time_ms: 0,
            error: ErrorCode::None,
            session_id: 0,
            topics_count: self.request.topics.len(),
        });
        let mut found = found.into_iter();
        for topic in &self.request.topics {
            writer.topic(topic.topic.as_topic(), topic.partitions.len());
            for (asked, one) in topic.partitions.iter().zip(&mut found) {
                let mut data =
                    PartitionData::readable(asked.index, one.high_watermark, one.log_start_offset);
                data.error = one.error;
                data.last_stable_offset = one.last_stable_offset;
                if self.isolation == IsolationLevel::ReadCommitted && one.error == ErrorCode::None {
                    data.aborted_transactions = Some(Vec::new());
                }
                writer.partition(&data, one.slices);
            }
        }
        writer.finish(&[])
    }
}

/// Reads one partition of this lane.
async fn read(
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
    let high_watermark = partition.high_watermark();
    let last_stable_offset = partition.last_stable_offset();
    let log_start_offset = partition.log.log_start_offset();
    let end = match isolation {
        IsolationLevel::ReadUncommitted => high_watermark,
        IsolationLevel::ReadCommitted => last_stable_offset,
    };
    let fenced = partition.log.fenced();
    match fenced.as_ref().map(|fence| &fence.reason) {
        Some(FenceReason::Deleted) => return Found::failed(ErrorCode::UnknownTopicOrPartition),
        Some(FenceReason::Closed) => return Found::failed(ErrorCode::NotLeaderOrFollower),
        // What was flushed is still served.
        Some(FenceReason::Io { .. }) | None => {}
    }
    let mut found = Found {
        error: ErrorCode::None,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        slices: Vec::new(),
        size_bytes: 0,
        fenced: fenced.is_some(),
    };
    let from = asked.fetch_offset;
    if from < log_start_offset || from > partition.log.log_end_offset() {
        found.error = ErrorCode::OffsetOutOfRange;
        return found;
    }
    let limit = usize::try_from(asked.max_bytes)
        .unwrap_or(0)
        .min(budget.left_bytes);
    if from >= end || (limit == 0 && !budget.at_least_one) {
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
