//! What the coordinator and the load cores tell each other. Nothing is shared between them but these messages.

use std::sync::Arc;

use crate::report::measure::{Measurement, Window};
use crate::verify::ledger::{ConsumedPartition, ProducedStream};

/// Offsets of the topic's partitions, by partition.
pub type Offsets = Arc<[i64]>;

/// From the coordinator to a load core.
#[derive(Debug, Clone)]
pub enum Command {
    /// Everybody is connected: begin.
    Start {
        /// When the first batch is due.
        start_ns: u64,
        /// The measured part.
        window: Window,
    },
    /// Hand over what was measured since the last time.
    Measure,
    /// Send no more.
    Cease,
    /// Wait for no more answers.
    AbandonProducers,
    /// Wait for no more records.
    AbandonConsumers,
    /// Nothing more will be produced: consume up to these offsets, or until the deadline.
    Drain(ReadUntil),
    /// Read the topic from `from` on.
    ReadBack {
        /// Where to begin.
        from: Offsets,
        /// Where to end.
        until: ReadUntil,
    },
    /// The run is over.
    Stop,
}

/// What a load core finds in its inbox.
#[derive(Debug)]
pub enum Inbox {
    /// The coordinator said something.
    Told(Command),
    /// One of its own producers is done.
    ProducerDone,
    /// One of its own consumers is done.
    ConsumerDone,
}

/// Where reading ends.
#[derive(Debug, Clone)]
pub struct ReadUntil {
    /// The exclusive end of each partition.
    pub ends: Offsets,
    /// When to give up, on the run's clock.
    pub deadline_ns: u64,
}

/// From a load core to the coordinator.
#[derive(Debug)]
pub enum Report {
    /// All connections are there.
    Ready {
        /// The core's place among the load cores.
        worker: usize,
        /// The thread's number, for its processor time.
        thread: Option<u32>,
    },
    /// This core cannot take part.
    Failed {
        /// Why.
        error: String,
    },
    /// The answer to [`Command::Measure`].
    Measured(Box<Measurement>),
    /// This core's producers are done and everything they sent is answered, or will not be.
    Produced(ProducedReport),
    /// This core's consumers are done.
    Consumed(ConsumedReport),
}

/// What one core's producers leave.
#[derive(Debug, Default)]
pub struct ProducedReport {
    /// Their books.
    pub books: Vec<ProducedStream>,
    /// The first error of each kind.
    pub errors: Vec<String>,
}

/// What one core's consumers leave.
#[derive(Debug, Default)]
pub struct ConsumedReport {
    /// Their books.
    pub books: Vec<ConsumedPartition>,
    /// The first error of each kind.
    pub errors: Vec<String>,
    /// When the last record arrived.
    pub last_arrival_ns: u64,
    /// Partitions that were not read to their end.
    pub unfinished: Vec<u32>,
}
