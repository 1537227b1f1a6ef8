//! One connection of one producer: a task that sends batches when they are due, and one that reads the answers.
//!
//! Nothing is retried: a batch that is refused, or whose connection breaks before its answer, counts as failed, its
//! sequences are never used again, and the next batch goes out in its turn. A broken connection is made anew, and
//! the schedule does not wait for it.
//!
//! Lane: one load core. The books lie in [`ProducerState`], which outlives the tasks, so that what was acknowledged
//! is known even if the tasks have to be cut off.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use corelane_format::{PartitionIndex, TimestampMs};
use corelane_net::TopicKey;
use corelane_net::client::{Acks, Connection, ProduceOptions, Receiver, Sender, Sent as Request};
use corelane_net::gather::Gathered;
use corelane_net::produce::{PartitionRecords, TopicRecords, visit_response};
use glommio::Task;

use super::core::{ErrorLog, LoadCore};
use super::messages::ProducedReport;
use super::setup::Setup;
use super::window::InFlight;
use crate::cli::plan::SEND_BYTES_MAX;
use crate::clock::SECOND_NS;
use crate::load::arrivals::Arrivals;
use crate::load::links::Link;
use crate::load::payload::Stamp;
use crate::load::schedule::{Pace, Pacer, Step};
use crate::load::skew::WeightedDraw;
use crate::load::template::{BatchStamp, BatchTemplate};
use crate::report::measure::{Amount, Sent};
use crate::verify::ledger::{ProducedStream, StreamId};

/// How long to wait before a broken connection is made anew.
const RECONNECT_AFTER_NS: u64 = SECOND_NS / 10;

/// The most batches that share a system call.
const SEND_BATCHES_MAX: u32 = 16;

/// Bytes of a Produce request before and behind its records, roughly.
const REQUEST_HEAD_BYTES: usize = 160;

/// What one connection of a producer leaves behind.
pub struct ProducerState {
    link: Link,
    books: RefCell<Vec<ProducedStream>>,
    unanswered: RefCell<VecDeque<Unanswered>>,
    errors: RefCell<ErrorLog>,
    /// The connection it was started with.
    connection: Cell<Option<Connection>>,
}

/// A batch that is on its way.
#[derive(Debug, Clone, Copy)]
struct Unanswered {
    request: Request,
    timing: Sent,
    /// Its place in the books.
    book: usize,
    first_sequence: u64,
    records: u64,
}

/// How sending ended.
enum Ended {
    /// The schedule is over.
    Schedule,
    /// The connection is of no further use.
    Broken,
}

impl ProducerState {
    /// A connected producer that has sent nothing.
    pub fn new(link: Link, connection: Connection) -> Rc<Self> {
        let stream = |partition: &u32| {
            ProducedStream::new(StreamId {
                producer: link.client,
                partition: *partition,
            })
        };
        let books = RefCell::new(link.partitions.iter().map(stream).collect());
        Rc::new(Self {
            link,
            books,
            unanswered: RefCell::default(),
            errors: RefCell::default(),
            connection: Cell::new(Some(connection)),
        })
    }

    /// Adds what it leaves to `report`. Batches that are still unanswered stay in doubt.
    pub fn close(&self, core: &LoadCore, report: &mut ProducedReport) {
        self.give_up_unanswered(core);
        report.books.extend(self.books.take());
        report.errors.extend(self.errors.take().into_vec());
    }

    /// Nobody waits for the answers that have not come: what became of those batches is unknown.
    fn give_up_unanswered(&self, core: &LoadCore) {
        for batch in self.unanswered.borrow_mut().drain(..) {
            core.measurement.borrow_mut().failed(batch.records);
        }
    }

    fn note(&self, error: impl std::fmt::Display) {
        self.errors.borrow_mut().note(error);
    }
}

/// Produces from `start_ns` until `end_ns`, and waits for the answers.
pub async fn produce(
    core: Rc<LoadCore>,
    setup: Rc<Setup>,
    state: Rc<ProducerState>,
    start_ns: u64,
    end_ns: u64,
) {
    let mut pacer = Pacer::new(pace(&setup, &state.link), start_ns, end_ns);
    let mut templates = templates(&setup, &state.link);
    loop {
        let connection = match state.connection.take() {
            Some(connection) => connection,
            None => match setup.reconnect(state.link.partitions[0]).await {
                Ok(connection) => connection,
                Err(error) => {
                    state.note(error);
                    let now_ns = core.clock.now_ns();
                    if now_ns >= end_ns || core.has_ceased() {
                        break;
                    }
                    core.alarm.until(now_ns + RECONNECT_AFTER_NS).await;
                    continue;
                }
            },
        };
        let (sender, receiver) = connection.split();
        let in_flight = Rc::new(InFlight::new(setup.in_flight));
        let answers = glommio::spawn_local(receive_answers(
            Rc::clone(&core),
            Rc::clone(&setup),
            Rc::clone(&state),
            Rc::clone(&in_flight),
            receiver,
        ));
        let mut batches = Batches::new(&core, &setup, &state, &in_flight, sender);
        let ended = match batches.send_all(&mut pacer, &mut templates).await {
            Ok(ended) => ended,
            Err(error) => {
                state.note(error);
                Ended::Broken
            }
        };
        if matches!(ended, Ended::Schedule) {
            in_flight.empty().await;
        }
        stop(answers).await;
        state.give_up_unanswered(&core);
        if matches!(ended, Ended::Schedule) {
            break;
        }
        core.alarm
            .until(core.clock.now_ns() + RECONNECT_AFTER_NS)
            .await;
    }
    let now_ns = core.clock.now_ns();
    let mut measurement = core.measurement.borrow_mut();
    if !core.has_ceased() {
        for intended_ns in pacer.unsent() {
            measurement.unsent(intended_ns, now_ns, u64::from(setup.batch_records));
        }
    }
}

/// One for each batch that may share a system call.
fn templates(setup: &Setup, link: &Link) -> Vec<BatchTemplate> {
    let seed = seed(link);
    let template = BatchTemplate::new(
        setup.batch_records,
        setup.record_size_bytes,
        seed,
        setup.payload,
    );
    let fit = (SEND_BYTES_MAX / template.size_bytes()) as u32;
    let count = fit.clamp(1, SEND_BATCHES_MAX).min(setup.in_flight);
    vec![template; count as usize]
}

fn pace(setup: &Setup, link: &Link) -> Pace {
    match setup.rate {
        Some(rate) => {
            let batches_per_second = rate * link.share / f64::from(setup.batch_records);
            // Another schedule in each run, and for each connection.
            let seed = seed(link) ^ u64::from(setup.run).rotate_left(16);
            Pace::Open(Arrivals::new(
                setup.shape,
                batches_per_second,
                link.phase,
                seed,
            ))
        }
        None => Pace::Closed,
    }
}

fn seed(link: &Link) -> u64 {
    u64::from(link.client) << 32 | u64::from(link.partitions[0])
}

async fn stop(task: Task<()>) {
    // What it had to say lies in the state.
    let _ = task.cancel().await;
}

/// The sending side of one connection.
struct Batches<'a> {
    core: &'a LoadCore,
    setup: &'a Setup,
    state: &'a ProducerState,
    in_flight: &'a InFlight,
    sender: Sender,
    topic: TopicKey,
    /// The partition whose turn it is, as its place in the books.
    turn: usize,
    /// Whose turn it is where partitions are not loaded alike.
    draw: Option<WeightedDraw>,
}

impl<'a> Batches<'a> {
    fn new(
        core: &'a LoadCore,
        setup: &'a Setup,
        state: &'a ProducerState,
        in_flight: &'a InFlight,
        sender: Sender,
    ) -> Self {
        let by_id = setup.has_topic_id() && sender.produce_version(true).is_ok();
        Self {
            core,
            setup,
            state,
            in_flight,
            sender,
            topic: setup.topic_key(by_id),
            turn: 0,
            draw: (!state.link.weights.is_empty())
                .then(|| WeightedDraw::new(&state.link.weights, seed(&state.link))),
        }
    }

    /// Sends what is due until the schedule ends. Batches that are due at the same moment share one system call; no
    /// batch waits for another.
    async fn send_all(
        &mut self,
        pacer: &mut Pacer,
        templates: &mut [BatchTemplate],
    ) -> anyhow::Result<Ended> {
        loop {
            // A producer that always has work must let the reactor run.
            self.core.turns.pause().await;
            if self.in_flight.is_closed() {
                return Ok(Ended::Broken);
            }
            if self.core.has_ceased() {
                return Ok(Ended::Schedule);
            }
            let mut message = Gathered::with_capacity(REQUEST_HEAD_BYTES);
            let mut batches = 0;
            let mut next = None;
            for template in &mut *templates {
                let now_ns = self.core.clock.now_ns();
                match pacer.step(now_ns, self.in_flight.has_room()) {
                    Step::Send {
                        intended_ns,
                        held_back,
                    } => {
                        let timing = Sent {
                            intended_ns,
                            sent_ns: now_ns,
                            held_back,
                        };
                        self.add(&mut message, timing, template)?;
                        batches += 1;
                    }
                    step => {
                        next = Some(step);
                        break;
                    }
                }
            }
            if batches > 0 {
                self.sender.send(&message).await?;
                if self.setup.acks == Acks::None {
                    let now_ns = self.core.clock.now_ns();
                    for _ in 0..batches {
                        self.core
                            .measurement
                            .borrow_mut()
                            .sent_for_good(now_ns, self.setup.amount_of_batch());
                    }
                }
            }
            match next {
                Some(Step::Done) => return Ok(Ended::Schedule),
                Some(Step::Wait { until_ns }) => self.core.alarm.until(until_ns).await,
                Some(Step::Blocked) => self.in_flight.room().await,
                Some(Step::Send { .. }) | None => {}
            }
        }
    }

    /// Stamps a batch and adds it to what is sent next.
    fn add<'t>(
        &mut self,
        message: &mut Gathered<&'t [u8]>,
        timing: Sent,
        template: &'t mut BatchTemplate,
    ) -> anyhow::Result<()> {
        let book = match &mut self.draw {
            Some(draw) => draw.draw(),
            None => self.turn,
        };
        self.turn = (self.turn + 1) % self.state.link.partitions.len();
        let records_count = u64::from(template.records());
        let partition = self.state.link.partitions[book];
        let first_sequence = self.state.books.borrow_mut()[book].take(records_count);
        let records = template.stamp(&BatchStamp {
            first: Stamp {
                run: self.setup.run,
                producer: self.state.link.client,
                partition,
                sequence: first_sequence,
                intended_ns: timing.intended_ns,
            },
            timestamp: wall_clock(),
        });
        let partitions = [PartitionRecords {
            index: PartitionIndex::new(partition as i32),
            records,
        }];
        let topics = [TopicRecords {
            topic: self.topic.as_topic(),
            partitions: &partitions,
        }];
        let options = ProduceOptions {
            acks: self.setup.acks,
            ..ProduceOptions::default()
        };
        let request = self.sender.encode_produce(message, &options, &topics)?;
        if self.setup.acks != Acks::None {
            // Before sending: the answer may be here when the sending task goes on.
            let batch = Unanswered {
                request,
                timing,
                book,
                first_sequence,
                records: records_count,
            };
            self.state.unanswered.borrow_mut().push_back(batch);
            self.in_flight.enter();
        }
        self.core
            .measurement
            .borrow_mut()
            .sent(&timing, records_count);
        Ok(())
    }
}

impl Setup {
    /// What one batch amounts to.
    pub fn amount_of_batch(&self) -> Amount {
        let records = u64::from(self.batch_records);
        Amount {
            records,
            bytes: records * self.record_size_bytes as u64,
        }
    }
}

/// Reads answers until the connection breaks or the task is cancelled.
async fn receive_answers(
    core: Rc<LoadCore>,
    setup: Rc<Setup>,
    state: Rc<ProducerState>,
    in_flight: Rc<InFlight>,
    mut receiver: Receiver,
) {
    loop {
        if let Err(error) = receive_answer(&core, &setup, &state, &mut receiver).await {
            if !in_flight.is_empty() {
                state.note(error);
            }
            in_flight.close();
            return;
        }
        in_flight.leave();
        core.turns.pause().await;
    }
}

async fn receive_answer(
    core: &LoadCore,
    setup: &Setup,
    state: &ProducerState,
    receiver: &mut Receiver,
) -> anyhow::Result<()> {
    let incoming = receiver.receive().await?;
    let now_ns = core.clock.now_ns();
    let Some(batch) = state.unanswered.borrow_mut().pop_front() else {
        anyhow::bail!("the broker answered a request that was never sent");
    };
    let mut refused = None;
    let body = incoming.body_of(&batch.request)?;
    let mut partitions = 0;
    visit_response(body, batch.request.version, |_, partition| {
        partitions += 1;
        if !partition.outcome.error.is_none() {
            let message = partition
                .error_message
                .map(|message| format!(": {message}"))
                .unwrap_or_default();
            refused = Some(format!("{}{message}", partition.outcome.error));
        }
    })?;
    if partitions != 1 {
        refused = Some(format!(
            "the broker answered for {partitions} partitions where one was sent"
        ));
    }
    let amount = setup.amount_of_batch();
    if let Some(refused) = refused {
        state.note(refused);
        core.measurement.borrow_mut().failed(amount.records);
    } else {
        state.books.borrow_mut()[batch.book].acknowledge(batch.first_sequence, amount.records)?;
        core.measurement
            .borrow_mut()
            .acknowledged(&batch.timing, now_ns, amount);
    }
    Ok(())
}

/// The time Kafka wants in a batch.
fn wall_clock() -> TimestampMs {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    TimestampMs::new(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}
