//! One connection of one consumer: fetches with long polls, and checks every record.
//!
//! The next fetch goes out as soon as the headers of the last one's batches are read, so that the broker works while
//! the records are checked. Positions move by what was fetched; where a broker has deleted records below them they
//! jump to its first one, and what was skipped counts as lost.
//!
//! Lane: one load core. The books lie in [`ConsumerState`], which outlives the task.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use corelane_format::{Offset, PartitionIndex};
use corelane_net::ErrorCode;
use corelane_net::client::{Connection, Receiver, Sender, Sent as Request};
use corelane_net::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchedPartition,
};

use super::core::{ErrorLog, LoadCore};
use super::messages::ConsumedReport;
use super::setup::{Positions, Setup};
use crate::clock::SECOND_NS;
use crate::load::links::{Link, Role};
use crate::report::measure::Amount;
use crate::verify::inspect::{Inspector, next_offset};

/// How long a broker may wait for records.
const LONG_POLL_MS: i32 = 250;

/// How long to wait after an error before trying again.
const RETRY_AFTER_NS: u64 = SECOND_NS / 20;

/// Most bytes a slow consumer asks for at once, so that it is slow all the time and not by fits and starts.
const SLOW_FETCH_SIZE_BYTES: usize = 64 * 1024;

/// What one connection of a consumer leaves behind.
pub struct ConsumerState {
    link: Link,
    /// Whether arrival times are measured: not when the topic is merely read back.
    timed: bool,
    /// In the order of the link's partitions, which ascends.
    inspectors: RefCell<Vec<Inspector>>,
    errors: RefCell<ErrorLog>,
    last_arrival_ns: Cell<u64>,
    connection: Cell<Option<Connection>>,
}

impl ConsumerState {
    /// A consumer that begins at the given offsets. Without a connection it makes its own.
    pub fn new(
        link: Link,
        run: u32,
        from: &[i64],
        timed: bool,
        connection: Option<Connection>,
    ) -> Rc<Self> {
        let inspectors = link.partitions.iter().map(|partition| {
            let position = match link.role {
                Role::Replay => 0,
                _ => from.get(*partition as usize).copied().unwrap_or(0),
            };
            let set = match link.role {
                Role::Verify { set } => set,
                _ => 0,
            };
            Inspector::new(run, *partition, Offset::new(position)).of_set(set)
        });
        let inspectors = RefCell::new(inspectors.collect());
        Rc::new(Self {
            link,
            timed,
            inspectors,
            errors: RefCell::default(),
            last_arrival_ns: Cell::new(0),
            connection: Cell::new(connection),
        })
    }

    /// Adds what it leaves to `report`.
    pub fn close(&self, core: &LoadCore, report: &mut ConsumedReport) {
        report.errors.extend(self.errors.take().into_vec());
        if !self.verifies() {
            return;
        }
        for inspector in self.inspectors.take() {
            let partition = inspector.partition();
            if core
                .end_of(partition)
                .is_none_or(|end| inspector.position().get() < end)
            {
                report.unfinished.push(partition);
            }
            report.books.push(inspector.into_book());
        }
        report.last_arrival_ns = report.last_arrival_ns.max(self.last_arrival_ns.get());
    }

    /// Whether what it reads is verified, and what it does not read is missed.
    fn verifies(&self) -> bool {
        matches!(self.link.role, Role::Verify { .. })
    }

    /// Counts what a consumer read that does not verify, and remembers how far it is.
    fn pass_over(
        &self,
        core: &LoadCore,
        slot: usize,
        position: Offset,
        advanced: u64,
        bytes: usize,
    ) {
        self.inspectors.borrow_mut()[slot].move_to(position);
        let amount = Amount {
            records: advanced,
            bytes: bytes as u64,
        };
        let is_replay = self.link.role == Role::Replay;
        core.measurement
            .borrow_mut()
            .received_late(core.clock.now_ns(), amount, is_replay);
    }

    /// Tells how far it is.
    fn tell(&self, positions: &Positions) {
        for inspector in &*self.inspectors.borrow() {
            if let Some(position) = positions.get(inspector.partition() as usize) {
                position.store(inspector.position().get(), Ordering::Relaxed);
            }
        }
    }

    fn note(&self, error: impl std::fmt::Display) {
        self.errors.borrow_mut().note(error);
    }

    /// The place of a partition in the link.
    fn slot(&self, partition: PartitionIndex) -> anyhow::Result<usize> {
        let asked = self
            .link
            .partitions
            .binary_search(&(partition.get() as u32));
        asked.map_err(|_| {
            anyhow::anyhow!("the broker sent partition {partition}, which was not asked for")
        })
    }

    fn inspect(
        &self,
        core: &LoadCore,
        partition: &FetchedPartition,
        body: &[u8],
        now_ns: u64,
    ) -> anyhow::Result<()> {
        let records = &body[partition.records.clone()];
        if records.is_empty() {
            return Ok(());
        }
        let slot = self.slot(partition.data.index)?;
        let mut inspectors = self.inspectors.borrow_mut();
        let mut measurement = core.measurement.borrow_mut();
        let amount = inspectors[slot].inspect(records, |intended_ns, count| {
            if self.timed {
                measurement.received_end_to_end(intended_ns, now_ns, count);
            }
        })?;
        if amount.records > 0 {
            measurement.received(now_ns, amount);
            self.last_arrival_ns.set(now_ns);
        }
        Ok(())
    }
}

/// Consumes until the ends that the coordinator sets, or until it gives up.
pub async fn consume(core: Rc<LoadCore>, setup: Rc<Setup>, state: Rc<ConsumerState>) {
    loop {
        let connection = match state.connection.take() {
            Some(connection) => Ok(connection),
            None => setup
                .reconnect(state.link.partitions[0])
                .await
                .map_err(anyhow::Error::from),
        };
        let error = match connection {
            Ok(connection) => match Session::new(&core, &setup, &state, connection).run().await {
                Ok(()) => return,
                Err(error) => error,
            },
            Err(error) => error,
        };
        state.note(error);
        if core.has_given_up() || (!state.verifies() && core.is_draining()) {
            return;
        }
        core.alarm.until(core.clock.now_ns() + RETRY_AFTER_NS).await;
    }
}

/// Fetches over one connection.
struct Session<'a> {
    core: &'a LoadCore,
    state: &'a ConsumerState,
    sender: Sender,
    receiver: Receiver,
    request: FetchRequest,
    wants: Wants,
    positions: Option<&'a Positions>,
}

/// What the next fetch asks for.
struct Wants {
    partitions: Vec<Want>,
    /// Which partition comes first in the next request. A broker fills its answer in the request's order, and nobody
    /// is to starve.
    first: usize,
    size_bytes: i32,
}

/// Where the next fetch of one partition begins.
struct Want {
    index: PartitionIndex,
    offset: Offset,
    /// What follows cannot be read as batches, so there is no way on.
    dead: bool,
}

impl<'a> Session<'a> {
    fn new(
        core: &'a LoadCore,
        setup: &'a Setup,
        state: &'a ConsumerState,
        connection: Connection,
    ) -> Self {
        let (sender, receiver) = connection.split();
        let by_id = setup.has_topic_id() && sender.fetch_version(true).is_ok();
        let size_bytes = match state.link.role {
            Role::Slow { .. } => setup.fetch_size_bytes.min(SLOW_FETCH_SIZE_BYTES),
            _ => setup.fetch_size_bytes,
        };
        let size_bytes = i32::try_from(size_bytes).unwrap_or(i32::MAX);
        let partitions = state.inspectors.borrow().iter().map(Want::new).collect();
        let request = FetchRequest {
            max_wait_ms: LONG_POLL_MS,
            min_bytes: 1,
            max_bytes: size_bytes,
            topics: vec![FetchTopic {
                topic: setup.topic_key(by_id),
                partitions: Vec::new(),
            }],
            ..FetchRequest::default()
        };
        Self {
            core,
            state,
            sender,
            receiver,
            request,
            wants: Wants {
                partitions,
                first: 0,
                size_bytes,
            },
            positions: setup.positions.as_ref(),
        }
    }

    async fn run(self) -> anyhow::Result<()> {
        if self.state.verifies() {
            self.run_verifying().await
        } else {
            self.run_passing_over().await
        }
    }

    /// Reads without verifying: slowly, or from the beginning again and again, until the consumers that count drain.
    async fn run_passing_over(mut self) -> anyhow::Result<()> {
        let (core, state) = (self.core, self.state);
        let started_ns = core.clock.now_ns();
        let mut response = FetchResponse::default();
        let mut read = 0;
        while !core.is_draining() {
            self.wants.write(&mut self.request.topics[0].partitions);
            let asked = self.sender.send_fetch(&self.request).await?;
            let incoming = self.receiver.receive().await?;
            let body = incoming.body_of(&asked)?;
            response.parse_into(body, asked.version)?;
            response.error().into_result()?;
            for partition in &response.partitions {
                let slot = state.slot(partition.data.index)?;
                let want = &mut self.wants.partitions[slot];
                let before = want.offset;
                if partition.data.error == ErrorCode::OffsetOutOfRange {
                    want.offset = partition.data.log_start_offset;
                    continue;
                }
                want.advance(partition, body)?;
                let advanced = (want.offset.get() - before.get()).unsigned_abs();
                if state.link.role == Role::Replay && want.offset >= partition.data.high_watermark {
                    want.offset = partition.data.log_start_offset;
                }
                state.pass_over(core, slot, want.offset, advanced, partition.records.len());
                read += advanced;
            }
            if let Role::Slow { records_per_second } = state.link.role {
                let due_ns = started_ns + (read as f64 / records_per_second * 1e9) as u64;
                while core.clock.now_ns() < due_ns && !core.is_draining() {
                    let look_ns = core.clock.now_ns() + RETRY_AFTER_NS;
                    core.alarm.until(due_ns.min(look_ns)).await;
                }
            }
            core.turns.pause().await;
        }
        Ok(())
    }

    async fn run_verifying(mut self) -> anyhow::Result<()> {
        let positions = self
            .positions
            .filter(|_| self.state.link.role == Role::Verify { set: 0 });
        let Self {
            core,
            state,
            sender,
            receiver,
            request,
            wants,
            ..
        } = &mut self;
        let mut response = FetchResponse::default();
        wants.write(&mut request.topics[0].partitions);
        let mut asked: Request = sender.send_fetch(request).await?;
        loop {
            let incoming = receiver.receive().await?;
            let now_ns = core.clock.now_ns();
            let body = incoming.body_of(&asked)?;
            response.parse_into(body, asked.version)?;
            response.error().into_result()?;
            let mut failed = false;
            for partition in &response.partitions {
                let want = &mut wants.partitions[state.slot(partition.data.index)?];
                if let Err(error) = want.advance(partition, body) {
                    state.note(error);
                    failed = true;
                }
            }
            let finished = wants.are_met(core);
            if failed {
                core.alarm.until(core.clock.now_ns() + RETRY_AFTER_NS).await;
            }
            if !finished {
                wants.write(&mut request.topics[0].partitions);
                asked = sender.send_fetch(request).await?;
            }
            for partition in &response.partitions {
                state.inspect(core, partition, body, now_ns)?;
            }
            if let Some(positions) = positions {
                state.tell(positions);
            }
            if finished || core.has_given_up() {
                return Ok(());
            }
            core.turns.pause().await;
        }
    }
}

impl Wants {
    fn write(&mut self, out: &mut Vec<FetchPartition>) {
        out.clear();
        let (before, after) = self.partitions.split_at(self.first);
        let alive = after.iter().chain(before).filter(|want| !want.dead);
        out.extend(alive.map(|want| FetchPartition::new(want.index, want.offset, self.size_bytes)));
        self.first = (self.first + 1) % self.partitions.len().max(1);
    }

    /// Whether every partition was fetched to its end, as far as the ends are known.
    fn are_met(&self, core: &LoadCore) -> bool {
        self.partitions.iter().all(|want| {
            let end = core.end_of(want.index.get() as u32);
            end.is_some_and(|end| want.dead || want.offset.get() >= end)
        })
    }
}

impl Want {
    fn new(inspector: &Inspector) -> Self {
        let index = PartitionIndex::new(inspector.partition() as i32);
        Self {
            index,
            offset: inspector.position(),
            dead: false,
        }
    }

    /// Moves behind what a fetch brought.
    fn advance(&mut self, partition: &FetchedPartition, body: &[u8]) -> anyhow::Result<()> {
        let index = self.index;
        match partition.data.error {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange if partition.data.log_start_offset > self.offset => {
                self.offset = partition.data.log_start_offset;
                anyhow::bail!(
                    "partition {index}: records before offset {} were deleted unread",
                    self.offset
                );
            }
            error => anyhow::bail!("partition {index}: {error}"),
        }
        match next_offset(&body[partition.records.clone()], self.offset) {
            Ok(next) => self.offset = next,
            Err(error) => {
                self.dead = true;
                anyhow::bail!(
                    "partition {index} cannot be read beyond offset {}: {error}",
                    self.offset
                );
            }
        }
        Ok(())
    }
}
