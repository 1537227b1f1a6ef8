//! Produce: from bytes in the receive buffer to the partition's tail, and the answer once they are durable.
//!
//! The request is handled while its bytes are still borrowed: every batch is validated in place and copied once, into
//! its partition's chunk. Only a batch for another lane is copied to be sent there. What waits afterwards is the
//! response, already written but for its outcomes. Nothing here is done per record.

use std::iter::Chain;
use std::rc::Rc;

use corelane_format::ids::{Offset, PartitionIndex, TimestampMs, TopicId};
use corelane_format::kafka::{
    BatchLimits, DecompressLimits, ValidatedBatch, validate_batch, validate_client_batch,
};
use corelane_net::api::RequestHeader;
use corelane_net::error_code::ErrorCode;
use corelane_net::produce::{
    PartitionOutcome, PartitionSlot, ProduceRequest, ProduceResponseWriter, ProduceTopic,
    RecordError,
};
use corelane_net::server::{CloseReason, Pending};
use corelane_net::topic::TopicRef;
use corelane_storage::AppendError;

use super::errors;
use super::fetch::FetchSlice;
use super::remote::{PartitionAnswer, local};
use crate::lane::{Lane, Route, TopicRoutes};
use crate::metadata::topic_name;
use crate::metrics::LaneCounters;
use crate::partition::{KeyError, Log, Partition, check_keys};

/// Acks that Kafka knows: none, the leader, all in-sync replicas.
pub(super) const ACKS: std::ops::RangeInclusive<i16> = ACKS_ALL..=1;
/// All in-sync replicas.
const ACKS_ALL: i16 = -1;
/// Replicas of every partition: this server.
const REPLICAS: i32 = 1;
/// Smallest records that a byte of a compressed batch can expand to: the decompression cap of 4096 over 7 bytes.
const RECORDS_PER_BYTE_MAX: usize = 4096 / 7;

/// A batch that is in its partition's tail but perhaps not durable yet.
#[derive(Clone)]
pub(super) struct Appended {
    pub(super) log: Rc<Log>,
    /// Exclusive end of the batch.
    pub(super) end: Offset,
    pub(super) outcome: PartitionOutcome,
}

/// Why a batch was not appended.
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    record_errors: Vec<RecordError>,
    message: Option<String>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            record_errors: Vec::new(),
            message: None,
        }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        let message = Some(error.to_string());
        let (code, indexes) = match error {
            KeyError::Keyless { indexes, .. } => (ErrorCode::InvalidRecord, indexes),
            KeyError::Record(_) => (ErrorCode::InvalidRecord, Vec::new()),
            KeyError::Compression(_) => (ErrorCode::CorruptMessage, Vec::new()),
        };
        let record_errors = indexes
            .into_iter()
            .map(|batch_index| RecordError {
                batch_index,
                message: Some("the record has no key".to_owned()),
            })
            .collect();
        Self {
            code,
            record_errors,
            message,
        }
    }
}

/// An outcome that is still to come.
enum Waiting {
    Here(PartitionSlot, Appended),
    Elsewhere(PartitionSlot, PartitionAnswer<PartitionOutcome>),
}

/// The outcomes that a request waits for. Most requests have one batch, which takes no vector.
#[derive(Default)]
struct WaitingList {
    first: Option<Waiting>,
    others: Vec<Waiting>,
}

impl WaitingList {
    fn push(&mut self, one: Waiting) {
        if self.first.is_none() {
            self.first = Some(one);
        } else {
            self.others.push(one);
        }
    }
}

impl IntoIterator for WaitingList {
    type Item = Waiting;
    type IntoIter = Chain<std::option::IntoIter<Waiting>, std::vec::IntoIter<Waiting>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.others)
    }
}

/// Handles one request. What it appended stays appended even if the answer is never awaited.
pub(super) fn handle(
    lane: &Rc<Lane>,
    header: &RequestHeader<'_>,
    body: &[u8],
) -> Pending<FetchSlice> {
    let request = match ProduceRequest::parse(body, header.api_version) {
        Ok(request) => request,
        Err(error) => return Pending::Close(errors::malformed(header, error)),
    };
    let refused = refusal(&request, header);
    let now = lane.clock.now();
    let mut writer = ProduceResponseWriter::new(
        header.correlation_id,
        header.api_version,
        request.topics_count(),
    );
    let mut waiting = WaitingList::default();
    let mut any_failed = false;
    for topic in request.topics() {
        writer.topic(topic.topic, topic.partitions_count);
        let routes = routes_of(lane, &topic);
        for partition in topic.partitions() {
            let result = match refused {
                Some(code) => Err(code.into()),
                None => append(
                    lane,
                    &topic,
                    routes.as_deref(),
                    partition.index,
                    partition.records,
                    request.acks,
                    now,
                ),
            };
            match result {
                Ok(Started::Here(appended)) => {
                    let slot = writer.partition(partition.index, appended.outcome);
                    waiting.push(Waiting::Here(slot, appended));
                }
                Ok(Started::Elsewhere(answer)) => {
                    let slot = writer.partition(
                        partition.index,
                        PartitionOutcome::failed(ErrorCode::UnknownServerError),
                    );
                    waiting.push(Waiting::Elsewhere(slot, answer));
                }
                Err(refusal) => {
                    any_failed = true;
                    writer.partition_with(
                        partition.index,
                        PartitionOutcome::failed(refusal.code),
                        &refusal.record_errors,
                        refusal.message.as_deref(),
                        None,
                    );
                }
            }
        }
    }
    if request.acks == 0 {
        // Without a response, closing is the only way to tell that something was refused; Kafka does so too.
        return if any_failed {
            Pending::Close(CloseReason::Service(
                "a produce request without acks was refused".into(),
            ))
        } else {
            keep_running(waiting);
            Pending::NoResponse
        };
    }
    Pending::Later(Box::pin(async move {
        for one in waiting {
            match one {
                Waiting::Here(slot, appended) => {
                    if let Err(fenced) = appended.log.wait_readable(appended.end).await {
                        writer.set(slot, PartitionOutcome::failed(errors::of_fence(&fenced)));
                    }
                }
                Waiting::Elsewhere(slot, answer) => {
                    writer.set(slot, answer.await.unwrap_or_else(PartitionOutcome::failed));
                }
            }
        }
        Ok(writer.finish(0, &[]))
    }))
}

/// What is wrong with the request as a whole, if anything.
fn refusal(request: &ProduceRequest<'_>, header: &RequestHeader<'_>) -> Option<ErrorCode> {
    if header.api_version < corelane_net::api::PRODUCE_VERSION_SERVED_MIN {
        return Some(ErrorCode::UnsupportedVersion);
    }
    if !ACKS.contains(&request.acks) {
        return Some(ErrorCode::InvalidRequiredAcks);
    }
    // Transactions are not served yet, and no producer can have begun one.
    request
        .transactional_id
        .map(|_| ErrorCode::TransactionalIdAuthorizationFailed)
}

fn routes_of(lane: &Lane, topic: &ProduceTopic<'_>) -> Option<Rc<TopicRoutes>> {
    match topic.topic {
        TopicRef::Name(name) => lane.topic(name),
        TopicRef::Id(id) => lane.topic_by_id(id),
    }
}

/// How an append went on.
enum Started {
    Here(Appended),
    Elsewhere(PartitionAnswer<PartitionOutcome>),
}

fn append(
    lane: &Rc<Lane>,
    topic: &ProduceTopic<'_>,
    routes: Option<&TopicRoutes>,
    index: PartitionIndex,
    records: Option<&[u8]>,
    acks: i16,
    now: TimestampMs,
) -> Result<Started, Refusal> {
    let unknown = match topic.topic {
        TopicRef::Name(_) => ErrorCode::UnknownTopicOrPartition,
        TopicRef::Id(_) => ErrorCode::UnknownTopicId,
    };
    let routes = routes.ok_or(unknown)?;
    if topic_name::is_internal(&routes.name) {
        // They hold the server's own state.
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let route = routes
        .partition(index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let records = records
        .filter(|records| !records.is_empty())
        .ok_or(ErrorCode::InvalidRecord)?;
    if !lane.room().takes_produces() {
        LaneCounters::add(&lane.counters.produces_refused, 1);
        return Err(errors::NO_ROOM.into());
    }
    match route {
        Route::Local(partition) => append_here(partition, records, acks, now).map(Started::Here),
        Route::Unavailable => Err(errors::storage().into()),
        Route::Remote { lane: owner } => {
            if routes.needs_keys {
                // Here, where there is a place for what is wrong with which record; the owner finds all the rest.
                if let Ok(batch) = validate_batch(records, &BatchLimits::NONE) {
                    check_batch_keys(&batch)?;
                }
            }
            Ok(Started::Elsewhere(append_elsewhere(
                lane, *owner, routes.id, index, records, acks,
            )))
        }
    }
}

/// Validates one batch and copies it into the partition's tail.
pub(super) fn append_here(
    partition: &Partition,
    records: &[u8],
    acks: i16,
    now: TimestampMs,
) -> Result<Appended, Refusal> {
    if acks == ACKS_ALL && partition.limits.get().insync_replicas_min > REPLICAS {
        return Err(ErrorCode::NotEnoughReplicas.into());
    }
    let limits = BatchLimits {
        size_bytes_max: partition.limits.get().message_size_bytes_max,
        // A compressed batch may claim as many records as it could expand to, and no more: each takes an offset.
        records_max: i32::try_from(records.len().saturating_mul(RECORDS_PER_BYTE_MAX))
            .unwrap_or(i32::MAX),
    };
    let batch =
        validate_batch(records, &limits).map_err(|error| errors::of_batch(&error, records))?;
    validate_client_batch(&batch).map_err(|error| errors::of_batch(&error, records))?;
    if batch.header().attributes.is_transactional() {
        return Err(ErrorCode::InvalidTxnState.into());
    }
    partition
        .limits
        .get()
        .check_timestamps(batch.header(), now)?;
    if partition.limits.get().needs_keys {
        check_batch_keys(&batch)?;
    }
    let log_start_offset = partition.log.log_start_offset();
    match partition.log.append(&batch, partition.leader_epoch(), now) {
        Ok(appended) => Ok(Appended {
            log: Rc::clone(&partition.log),
            end: appended.last_offset.plus(1),
            outcome: PartitionOutcome {
                error: ErrorCode::None,
                base_offset: appended.base_offset,
                log_append_time: appended.log_append_time.unwrap_or(TimestampMs::new(-1)),
                log_start_offset,
            },
        }),
        // The producer did not hear of the first answer: it gets the same one, no sooner than the batch is durable.
        Err(AppendError::DuplicateSequence {
            base_offset,
            last_offset,
            ..
        }) => Ok(Appended {
            log: Rc::clone(&partition.log),
            end: last_offset.plus(1),
            outcome: PartitionOutcome {
                error: ErrorCode::None,
                base_offset,
                log_append_time: TimestampMs::new(-1),
                log_start_offset,
            },
        }),
        Err(error) => {
            tracing::debug!(topic = %partition.topic, partition = %partition.index, %error, "append refused");
            Err(errors::of_append(&error).into())
        }
    }
}

/// Refuses records without a key, and records that cannot be read.
fn check_batch_keys(batch: &ValidatedBatch<'_>) -> Result<(), Refusal> {
    check_keys(batch, DecompressLimits::default()).map_err(Refusal::from)
}

/// Sends a copy of the batch to the lane that owns the partition; it is under way when this returns, so that batches of
/// one connection arrive there in order.
pub(super) fn append_elsewhere(
    lane: &Rc<Lane>,
    owner: usize,
    topic: TopicId,
    index: PartitionIndex,
    records: &[u8],
    acks: i16,
) -> PartitionAnswer<PartitionOutcome> {
    let forwarded = lane.forward(records.len());
    let records = records.to_vec();
    let answer = lane.mesh.call(owner, move |lane: Rc<Lane>| {
        // Appended here and now, not in the future: work is started in the order of arrival.
        let appended = match local(&lane, topic, index) {
            Some(partition) => append_here(&partition, &records, acks, lane.clock.now())
                .map_err(|refusal| refusal.code),
            None => Err(ErrorCode::NotLeaderOrFollower),
        };
        async move {
            let appended = appended?;
            appended
                .log
                .wait_readable(appended.end)
                .await
                .map_err(|fenced| errors::of_fence(&fenced))?;
            Ok(appended.outcome)
        }
    });
    Box::pin(async move {
        let outcome = answer.await.unwrap_or(Err(ErrorCode::BrokerNotAvailable));
        drop(forwarded);
        outcome
    })
}

/// Lets forwarded appends of a request without acks finish, so that their bytes stay counted while they are under way.
fn keep_running(waiting: WaitingList) {
    for one in waiting {
        if let Waiting::Elsewhere(_, answer) = one {
            finish_elsewhere(answer);
        }
    }
}

/// Lets one such append finish.
pub(super) fn finish_elsewhere(answer: PartitionAnswer<PartitionOutcome>) {
    glommio::spawn_local(async move {
        let _ = answer.await;
    })
    .detach();
}
