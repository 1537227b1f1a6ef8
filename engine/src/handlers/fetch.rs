//! Fetch: reads what is there, waits for more if that is too little, and answers with stored slices.
//!
//! A fetch is a sequence of passes: each pass reads every partition from its fetch offset, in the request's order,
//! within the request's limits. If the pass found `min_bytes`, an error, or the time is up, it is the answer; otherwise the
//! fetch waits until one of its partitions advances beyond what the pass saw. Partitions of other lanes are read there
//! and copied over. Sessions are not kept: session id 0 tells clients to send full fetches.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::errors;
use super::remote::local;
use crate::lane::deadline::Deadline;
use crate::lane::{Lane, Route};
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
use corelane_storage::LogSlice;

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
        }
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
                Target::Here(partition) => {
                    let found = read(partition, *asked, self.isolation, budget).await;
                    Found {
                        slices: found.slices.into_iter().map(FetchSlice::Stored).collect(),
                        error: found.error,
                        high_watermark: found.high_watermark,
                        last_stable_offset: found.last_stable_offset,
                        log_start_offset: found.log_start_offset,
                        size_bytes: found.size_bytes,
                    }
                }
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
                let found = read(&partition, asked, isolation, budget).await;
                Found {
                    slices: found
                        .slices
                        .iter()
                        .map(|slice| Bytes::copy_from_slice(slice.as_ref()))
                        .collect(),
                    error: found.error,
                    high_watermark: found.high_watermark,
                    last_stable_offset: found.last_stable_offset,
                    log_start_offset: found.log_start_offset,
                    size_bytes: found.size_bytes,
                }
            });
        match answer.await {
            Ok(found) => Found {
                slices: found
                    .slices
                    .into_iter()
                    .map(FetchSlice::Forwarded)
                    .collect(),
                error: found.error,
                high_watermark: found.high_watermark,
                last_stable_offset: found.last_stable_offset,
                log_start_offset: found.log_start_offset,
                size_bytes: found.size_bytes,
            },
            Err(_) => Found::failed(ErrorCode::BrokerNotAvailable),
        }
    }

    /// Waits until a partition has more than the pass found, or the deadline.
    async fn wait(&self, found: &[Found<FetchSlice>]) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut deadline = Deadline::after(left);
        let mut elsewhere: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        let mut here: Vec<(&Partition, Offset)> = Vec::new();
        for ((target, asked), seen) in self.targets.iter().zip(self.asked()).zip(found) {
            match target {
                Target::Here(partition) => here.push((partition, seen.high_watermark)),
                Target::Elsewhere { lane, topic } => elsewhere.push(Box::pin(
                    self.advance_elsewhere(*lane, *topic, *asked, seen.high_watermark, left),
                )),
                Target::Nowhere(_) => {}
            }
        }
        poll_fn(|context| {
            let mut advanced = deadline.poll_over(context);
            for (partition, seen) in &here {
                partition.log.register_progress_waker(context.waker());
                // After registering, so that no advance is missed between the two.
                advanced |= partition.high_watermark() > *seen || partition.log.fenced().is_some();
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

    fn advance_elsewhere(
        &self,
        owner: usize,
        topic: TopicId,
        asked: FetchPartition,
        seen: Offset,
        left: Duration,
    ) -> impl Future<Output = ()> + use<> {
        let answer = self
            .lane
            .mesh
            .call(owner, move |lane: Rc<Lane>| async move {
                let Some(partition) = local(&lane, topic, asked.index) else {
                    return;
                };
                let mut deadline = Deadline::after(left);
                poll_fn(|context| {
                    partition.log.register_progress_waker(context.waker());
                    let over = deadline.poll_over(context);
                    if over || partition.high_watermark() > seen || partition.log.fenced().is_some()
                    {
                        return Poll::Ready(());
                    }
                    Poll::Pending
                })
                .await;
            });
        async move {
            // A lane that ended is found out by the next pass.
            let _ = answer.await;
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
    let mut found = Found {
        error: ErrorCode::None,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        slices: Vec::new(),
        size_bytes: 0,
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
