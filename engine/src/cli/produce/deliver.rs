//! Takes records from the input to their partitions' leaders, in rounds.
//!
//! A round sends one request to every leader that has something to get, and waits for all answers; what is read meanwhile
//! makes up the next round. What failed for a reason that may pass is sent again as it was, until the time for it is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use corelane_format::ids::{PartitionIndex, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use corelane_format::kafka::{BatchBuilder, BuildError};
use corelane_net::ErrorCode;
use corelane_net::client::{self as net, Connection, ProduceOptions, SendError};
use corelane_net::produce::{PartitionRecords, TopicRecords};
use corelane_net::topic::TopicRef;
use glommio::timer::sleep;
use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::{InitProducerIdRequest, MetadataRequest};

use super::backlog::Backlog;
use super::input::Chunk;
use super::partitioner::Partitioner;
use super::summary::Summary;
use super::verdict::{Verdict, verdict};
use super::{Acks, ProduceArgs};
use crate::cli::client::{self, Client, REQUEST_TIMEOUT_MS};
use crate::cli::key_value::KeyValue;
use crate::cli::{Outcome, note};

/// Bytes of records that may wait here before reading stops.
const BACKLOG_BYTES_MAX: usize = 64 << 20;
/// Bytes after which a request takes no further batch.
const REQUEST_BYTES_MAX: usize = 16 << 20;
/// How long a batch is tried again before it is given up.
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(1);
/// How long to wait for an answer: more than the server may wait for replicas.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Pause before something is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// A lost leader is told of once, and not for each of its partitions.
const NOTE_PAUSE: Duration = Duration::from_secs(5);
/// How long a topic that is not there may take to be created by itself.
const CREATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs `corelane produce`.
pub(super) async fn run(
    arguments: ProduceArgs,
    input: flume::Receiver<anyhow::Result<Chunk>>,
) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&arguments.client).await?;
    let partitions = find_topic(&mut client, &arguments.topic).await?;
    let fixed = arguments.partition.map(i32::unsigned_abs);
    if let Some(partition) = fixed
        && partition >= partitions
    {
        bail!(
            "topic {} has no partition {partition}; it has partitions 0 to {}",
            arguments.topic,
            partitions - 1
        );
    }
    let producer = if arguments.acks == Acks::All {
        idempotent_producer(&mut client).await?
    } else {
        None
    };
    let json = arguments.client.json;
    let mut delivery = Delivery {
        partitioner: Partitioner::new(partitions, fixed),
        partitions: (0..partitions)
            .map(|_| Partition {
                backlog: Backlog::new(),
                failing_since: None,
            })
            .collect(),
        connections: BTreeMap::new(),
        builder: BatchBuilder::new(),
        producer,
        summary: Summary::new(arguments.topic.clone(), arguments.acks != Acks::None),
        client,
        arguments,
        noted_at: None,
    };
    delivery.deliver_all(&input).await;
    delivery.summary.report(json)
}

/// The number of partitions of a topic, which is created first where servers do that by themselves.
async fn find_topic(client: &mut Client, name: &str) -> anyhow::Result<u32> {
    let mut topic = MetadataRequestTopic::default();
    topic.name = Some(name.into());
    let mut request = MetadataRequest::default();
    request.topics = Some(vec![topic]);
    request.allow_auto_topic_creation = true;
    let deadline = Instant::now() + CREATION_TIMEOUT;
    loop {
        let response = client.call(|_| request.clone()).await?;
        let code = response.topics.first().map_or(0, |topic| topic.error_code);
        match ErrorCode::from_wire(code) {
            ErrorCode::None => break,
            error if error.is_retriable() && Instant::now() < deadline => sleep(RETRY_PAUSE).await,
            error => {
                return Err(client::refused(
                    &format!("produce to topic {name}"),
                    error,
                    None,
                ));
            }
        }
    }
    let topic = client.topic(name).await?;
    match u32::try_from(topic.partitions.len()) {
        Ok(count @ 1..) => Ok(count),
        _ => bail!("topic {name} has no partitions that could take records"),
    }
}

/// An identity with which the server recognises what it has stored already. None from a server that gives out none.
async fn idempotent_producer(
    client: &mut Client,
) -> anyhow::Result<Option<(ProducerId, ProducerEpoch)>> {
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    request.transaction_timeout_ms = REQUEST_TIMEOUT_MS;
    request.producer_id = -1;
    request.producer_epoch = -1;
    let deadline = Instant::now() + DELIVERY_TIMEOUT;
    loop {
        let response = match client.cluster.call_any(&request).await {
            Err(net::ClusterError::Call(net::CallError::Send(SendError::NoCommonVersion {
                ..
            }))) => {
                return Ok(None);
            }
            response => response?,
        };
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => {
                let id = ProducerId::new(response.producer_id);
                return Ok(Some((id, ProducerEpoch::new(response.producer_epoch))));
            }
            error if error.is_retriable() && Instant::now() < deadline => sleep(RETRY_PAUSE).await,
            error => return Err(client::refused("get a producer id", error, None)),
        }
    }
}

struct Partition {
    backlog: Backlog,
    /// Since when its batch in flight has failed each time.
    failing_since: Option<Instant>,
}

struct Delivery {
    arguments: ProduceArgs,
    client: Client,
    /// One connection to each leader, kept from round to round.
    connections: BTreeMap<i32, Connection>,
    partitioner: Partitioner,
    partitions: Vec<Partition>,
    builder: BatchBuilder,
    producer: Option<(ProducerId, ProducerEpoch)>,
    summary: Summary,
    /// When a failure that may pass was last told of.
    noted_at: Option<Instant>,
}

/// What one partition's batch came to.
enum Answer {
    Answered {
        error: ErrorCode,
        message: Option<String>,
        base_offset: i64,
    },
    /// The request was sent, and no answer is wanted.
    Unasked,
    /// Whether the server has it is not known.
    Unknown(String),
}

impl Delivery {
    async fn deliver_all(&mut self, input: &flume::Receiver<anyhow::Result<Chunk>>) {
        let mut ended = false;
        loop {
            if !ended
                && self
                    .partitions
                    .iter()
                    .all(|partition| partition.backlog.is_empty())
            {
                ended = !self.take(input.recv_async().await.ok());
            }
            while !ended && self.waiting_bytes() < BACKLOG_BYTES_MAX {
                match input.try_recv() {
                    Ok(chunk) => ended = !self.take(Some(chunk)),
                    Err(flume::TryRecvError::Empty) => break,
                    Err(flume::TryRecvError::Disconnected) => ended = true,
                }
            }
            if self
                .partitions
                .iter()
                .all(|partition| partition.backlog.is_empty())
            {
                if ended {
                    return;
                }
                continue;
            }
            if !self.round().await {
                return;
            }
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.partitions
            .iter()
            .map(|partition| partition.backlog.size_bytes())
            .sum()
    }

    /// Takes a chunk from the input. Returns whether more may come.
    fn take(&mut self, chunk: Option<anyhow::Result<Chunk>>) -> bool {
        match chunk {
            Some(Ok(records)) => {
                for record in records {
                    let partition = self.partitioner.choose(record.key.as_deref());
                    self.partitions[partition as usize].backlog.push(record);
                }
                true
            }
            Some(Err(error)) => {
                self.summary.failed(&format!("{error:#}"));
                false
            }
            None => false,
        }
    }

    /// Sends what can be sent and deals with the answers. Returns whether there is sense in going on.
    async fn round(&mut self) -> bool {
        let mut requests: BTreeMap<i32, Vec<(i32, Vec<u8>)>> = BTreeMap::new();
        let mut request_bytes: BTreeMap<i32, usize> = BTreeMap::new();
        let mut answers = Vec::new();
        for index in 0..self.partitions.len() {
            let partition = index as i32;
            let Ok(leader) = self.client.cluster.leader(&self.arguments.topic, partition) else {
                if !self.partitions[index].backlog.is_empty() {
                    let reason = format!("{}-{partition} has no leader", self.arguments.topic);
                    answers.push((partition, Answer::Unknown(reason)));
                }
                continue;
            };
            let size_bytes = request_bytes.entry(leader).or_default();
            if self.partitions[index].backlog.is_empty() || *size_bytes > REQUEST_BYTES_MAX {
                continue;
            }
            match self.build(index) {
                Ok(batch) => {
                    *size_bytes += batch.len();
                    requests.entry(leader).or_default().push((partition, batch));
                }
                Err(error) => {
                    self.give_up(&format!("cannot build a batch: {error}"));
                    return false;
                }
            }
        }
        answers.extend(self.exchange_all(requests).await);
        let mut pause = false;
        for (partition, answer) in answers {
            match self.settle(partition, answer) {
                Settled::Done => {}
                Settled::Again => pause = true,
                Settled::Hopeless(reason) => {
                    self.give_up(&reason);
                    return false;
                }
            }
        }
        if pause {
            sleep(RETRY_PAUSE).await;
            if let Err(error) = self.client.cluster.refresh(&[&self.arguments.topic]).await {
                tracing::debug!(%error, "the cluster does not answer");
            }
        }
        true
    }

    /// The bytes of a partition's next batch, or once more of the one that is in flight.
    fn build(&mut self, index: usize) -> Result<Vec<u8>, BuildError> {
        let backlog = &mut self.partitions[index].backlog;
        let sequence = backlog.next_sequence();
        let headers: Vec<(&[u8], Option<&[u8]>)> = self
            .arguments
            .headers
            .iter()
            .map(|KeyValue { key, value }| (key.as_bytes(), Some(value.as_bytes())))
            .collect();
        self.builder.clear();
        self.builder.compression(self.arguments.compression);
        if let Some((id, epoch)) = self.producer {
            self.builder.producer(id, epoch, Sequence::new(sequence));
        }
        if backlog.is_ready() {
            backlog.take_batch(self.arguments.batch_size);
        }
        for record in backlog.in_flight() {
            let timestamp = TimestampMs::new(record.timestamp_ms);
            self.builder.append(
                timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                &headers,
            )?;
        }
        let mut batch = Vec::new();
        self.builder.finish_into(&mut batch)?;
        Ok(batch)
    }

    /// Sends each leader its request, all at the same time.
    async fn exchange_all(
        &mut self,
        requests: BTreeMap<i32, Vec<(i32, Vec<u8>)>>,
    ) -> Vec<(i32, Answer)> {
        let mut answers = Vec::new();
        let mut exchanges = Vec::new();
        for (leader, batches) in requests {
            let connection = match self.connections.remove(&leader) {
                Some(connection) if !connection.is_broken() => Ok(connection),
                _ => self.client.cluster.open(leader).await,
            };
            match connection {
                Ok(connection) => {
                    let topic = self.arguments.topic.clone();
                    let exchange = exchange(connection, topic, self.arguments.acks, batches);
                    exchanges.push((leader, glommio::spawn_local(exchange)));
                }
                Err(error) => {
                    let unknown = |(partition, _)| (partition, Answer::Unknown(error.to_string()));
                    answers.extend(batches.into_iter().map(unknown));
                }
            }
        }
        for (leader, exchange) in exchanges {
            let (connection, answered) = exchange.await;
            self.connections.insert(leader, connection);
            answers.extend(answered);
        }
        answers
    }

    fn settle(&mut self, partition: i32, answer: Answer) -> Settled {
        let state = &mut self.partitions[partition as usize];
        let (reason, patience) = match answer {
            Answer::Unasked => {
                let records = state.backlog.acknowledge();
                self.summary.delivered(partition, records, None);
                return Settled::Done;
            }
            Answer::Unknown(reason) => (reason, true),
            Answer::Answered {
                error,
                message,
                base_offset,
            } => {
                let action = format!("produce to {}-{partition}", self.arguments.topic);
                let reason = || client::refused(&action, error, message.as_deref()).to_string();
                match verdict(error) {
                    Verdict::Delivered => {
                        state.failing_since = None;
                        let records = state.backlog.acknowledge();
                        let base_offset = Some(base_offset).filter(|offset| *offset >= 0);
                        self.summary.delivered(partition, records, base_offset);
                        return Settled::Done;
                    }
                    Verdict::RecordsRefused => {
                        state.failing_since = None;
                        if !state.backlog.split() {
                            let lines = state.backlog.skip();
                            self.summary.lost(lines, &reason());
                        }
                        return Settled::Done;
                    }
                    Verdict::Again => (reason(), true),
                    Verdict::Hopeless => (reason(), false),
                }
            }
        };
        let since = *state.failing_since.get_or_insert_with(Instant::now);
        if !patience || since.elapsed() >= DELIVERY_TIMEOUT {
            return Settled::Hopeless(reason);
        }
        if self.noted_at.is_none_or(|at| at.elapsed() >= NOTE_PAUSE) {
            note(&format!("{reason}; trying again"));
            self.noted_at = Some(Instant::now());
        }
        Settled::Again
    }

    fn give_up(&mut self, reason: &str) {
        for partition in &mut self.partitions {
            let lines = partition.backlog.give_up();
            self.summary.lost(lines, reason);
        }
        self.summary.failed(reason);
    }
}

enum Settled {
    Done,
    Again,
    Hopeless(String),
}

/// Sends one request and waits for its answer; gives the connection back.
async fn exchange(
    mut connection: Connection,
    topic: String,
    acks: Acks,
    batches: Vec<(i32, Vec<u8>)>,
) -> (Connection, Vec<(i32, Answer)>) {
    let options = ProduceOptions {
        acks: acks.into(),
        timeout_ms: REQUEST_TIMEOUT_MS,
        transactional_id: None,
    };
    let records: Vec<PartitionRecords<&[u8]>> = batches
        .iter()
        .map(|(partition, batch)| PartitionRecords {
            index: PartitionIndex::new(*partition),
            records: batch.as_slice(),
        })
        .collect();
    let topics = [TopicRecords {
        topic: TopicRef::Name(&topic),
        partitions: &records,
    }];
    let mut answers: BTreeMap<i32, Answer> = BTreeMap::new();
    let missing = match connection.produce(&options, &topics, ANSWER_TIMEOUT).await {
        Ok(Some(response)) => {
            for (_, answered) in response.partitions {
                let blamed = answered
                    .record_errors
                    .into_iter()
                    .find_map(|record| record.message);
                let answer = Answer::Answered {
                    error: answered.outcome.error,
                    message: answered.error_message.or(blamed),
                    base_offset: answered.outcome.base_offset.get(),
                };
                answers.insert(answered.index.get(), answer);
            }
            Some("the server did not answer for all partitions".to_owned())
        }
        Ok(None) => None,
        Err(error) => Some(format!("lost the connection to a leader: {error}")),
    };
    let answers = batches
        .iter()
        .map(|(partition, _)| {
            let answer = answers.remove(partition).unwrap_or_else(|| match &missing {
                Some(reason) => Answer::Unknown(reason.clone()),
                None => Answer::Unasked,
            });
            (*partition, answer)
        })
        .collect();
    (connection, answers)
}
