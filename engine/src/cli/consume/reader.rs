//! Reads partitions through a fetcher for each leader, prints what they get, and starts them anew when leaders move or
//! vanish.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use corelane_format::ids::Offset;
use corelane_format::kafka::stored_batches;
use glommio::Task;
use glommio::timer::sleep;

use super::ConsumeArgs;
use super::fetcher::{self, Failure, Fetched};
use super::plan::Position;
use super::printer::Printer;
use crate::cli::batch_records::{UnreadableBatch, visit_records};
use crate::cli::client::{self, Client};
use crate::cli::note;
use crate::cli::record_view::RecordView;
use crate::cli::stdout::Stdout;

/// Answers that may wait for the printer.
const ANSWERS_MAX: usize = 1;
/// Pause before a failed leader is looked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long reading may fail before the command gives up.
const FAILING_MAX: Duration = Duration::from_mins(1);
/// After so long without a failure the next one is a new one.
const RECOVERED_AFTER: Duration = Duration::from_secs(2);

/// Reads and prints.
pub(super) struct Reader {
    pub(super) arguments: ConsumeArgs,
    pub(super) client: Client,
    printer: Printer<Stdout>,
    answers: flume::Sender<Fetched>,
    answered: flume::Receiver<Fetched>,
    /// Dropping them ends them.
    fetchers: Vec<Task<()>>,
    /// Partitions that wait for a fetcher.
    waiting: Vec<Position>,
    /// Every partition, up to where it was printed.
    reading: BTreeMap<i32, Position>,
    failing: Option<Failing>,
}

/// A time of failures, which ends when there was none for a while.
#[derive(Debug)]
struct Failing {
    since: Instant,
    last: Instant,
    reason: String,
}

impl Reader {
    /// Reads nothing yet.
    pub(super) fn new(arguments: ConsumeArgs, client: Client) -> Self {
        let (answers, answered) = flume::bounded(ANSWERS_MAX);
        Self {
            printer: Printer::new(&arguments, Stdout::lock()),
            arguments,
            client,
            answers,
            answered,
            fetchers: Vec::new(),
            waiting: Vec::new(),
            reading: BTreeMap::new(),
            failing: None,
        }
    }

    /// From now on reads these partitions, and none of those before.
    pub(super) fn read(&mut self, positions: Vec<Position>) {
        self.fetchers.clear();
        // What is on its way from the fetchers before would be taken for these partitions'.
        (self.answers, self.answered) = flume::bounded(ANSWERS_MAX);
        self.reading = positions
            .iter()
            .map(|position| (position.partition, *position))
            .collect();
        self.waiting = positions;
    }

    /// Where each partition that is read stands: everything before was printed.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.reading.values().copied()
    }

    /// Whether everything was read, or enough printed. Where records are followed there is always more to read.
    pub(super) fn is_done(&self) -> bool {
        let is_read = |position: &Position| position.is_done();
        !self.printer.wants_more() || (!self.arguments.follow && self.reading.values().all(is_read))
    }

    /// Writes out what was printed.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.printer.flush()
    }

    /// Has every partition read by a fetcher. Some may have no leader, or one that does not answer: then this waits a moment
    /// and gives `false`.
    pub(super) async fn start(&mut self) -> anyhow::Result<bool> {
        if self.is_done() || self.waiting.is_empty() {
            return Ok(true);
        }
        self.start_fetchers().await?;
        if self.waiting.is_empty() {
            return Ok(true);
        }
        self.pause_and_refresh().await?;
        Ok(false)
    }

    /// What the fetchers have got, for [`Reader::take`]. Nothing is lost if a wait for it is given up.
    pub(super) fn answered(&self) -> flume::Receiver<Fetched> {
        self.answered.clone()
    }

    /// Prints what a fetcher has got, or looks after what it could not get.
    pub(super) async fn take(&mut self, fetched: Fetched) -> anyhow::Result<()> {
        match fetched {
            Fetched::Batches {
                partition,
                from,
                bytes,
            } => {
                let position = self.reading.get(&partition).copied();
                if let Some(position) = position.filter(|position| !position.is_done()) {
                    let end = position.end.map_or(Offset::new(i64::MAX), Offset::new);
                    let next = self.print(partition, from, end, &bytes)?.get();
                    self.reading
                        .insert(partition, Position { next, ..position });
                }
            }
            // Whoever watches sees everything there is before there is a wait for more.
            Fetched::Pause => {
                self.failing
                    .take_if(|failing| failing.last.elapsed() > RECOVERED_AFTER);
                self.printer.flush()?;
            }
            Fetched::Failed { positions, failure } => {
                self.failed(&failure)?;
                self.waiting.extend(positions);
                self.pause_and_refresh().await?;
            }
        }
        Ok(())
    }

    /// Starts a fetcher for every leader of a waiting partition; those without a leader go on waiting.
    async fn start_fetchers(&mut self) -> anyhow::Result<()> {
        let mut by_leader: BTreeMap<i32, Vec<Position>> = BTreeMap::new();
        let mut leaderless = Vec::new();
        for position in self
            .waiting
            .drain(..)
            .filter(|position| !position.is_done())
        {
            match self
                .client
                .cluster
                .leader(&self.arguments.topic, position.partition)
            {
                Ok(leader) => by_leader.entry(leader).or_default().push(position),
                Err(_) => leaderless.push(position),
            }
        }
        let mut failure = (!leaderless.is_empty()).then(|| "a partition has no leader".to_owned());
        self.waiting = leaderless;
        for (leader, positions) in by_leader {
            match self.client.cluster.open(leader).await {
                Ok(connection) => {
                    let topic = self.arguments.topic.clone();
                    let fetcher = fetcher::run(connection, topic, positions, self.answers.clone());
                    self.fetchers.push(glommio::spawn_local(fetcher));
                }
                Err(error) => {
                    failure = Some(error.to_string());
                    self.waiting.extend(positions);
                }
            }
        }
        failure.map_or(Ok(()), |reason| self.failed(&Failure::Lost(reason)))
    }

    async fn pause_and_refresh(&mut self) -> anyhow::Result<()> {
        self.printer.flush()?;
        sleep(RETRY_PAUSE).await;
        if let Err(error) = self.client.cluster.refresh(&[&self.arguments.topic]).await {
            self.failed(&Failure::Lost(error.to_string()))?;
        }
        Ok(())
    }

    /// Tells of the first of a row of failures; an error if they do not pass.
    fn failed(&mut self, failure: &Failure) -> anyhow::Result<()> {
        let reason = match failure {
            Failure::Refused(code) => {
                let refused =
                    client::refused(&format!("read topic {}", self.arguments.topic), *code, None);
                if !code.is_retriable() {
                    self.printer.flush()?;
                    return Err(refused);
                }
                refused.to_string()
            }
            Failure::Lost(reason) => format!("lost the connection to a leader: {reason}"),
        };
        let now = Instant::now();
        match &mut self.failing {
            Some(failing) if failing.since.elapsed() > FAILING_MAX => {
                self.printer.flush()?;
                bail!(
                    "{} for {} s; is the server running?",
                    failing.reason,
                    FAILING_MAX.as_secs()
                )
            }
            Some(failing) => failing.last = now,
            None => {
                note(&format!("{reason}; trying again"));
                self.failing = Some(Failing {
                    since: now,
                    last: now,
                    reason,
                });
            }
        }
        Ok(())
    }

    /// Prints the records of `bytes` from `from` up to `end`, exclusive, as far as they are wanted. Returns the offset after
    /// the last batch, or after the last record that was wanted.
    fn print(
        &mut self,
        partition: i32,
        from: Offset,
        end: Offset,
        bytes: &[u8],
    ) -> anyhow::Result<Offset> {
        let mut next = from;
        for batch in stored_batches(bytes) {
            if !self.printer.wants_more() {
                break;
            }
            let batch = batch.map_err(|error| {
                anyhow!(
                    "{}-{partition} at offset {next} is damaged: {error}",
                    self.arguments.topic
                )
            })?;
            let after = batch
                .header()
                .last_offset()
                .checked_plus(1)
                .unwrap_or(next)
                .max(next);
            if batch.header().attributes.is_control() {
                next = after;
                continue;
            }
            let mut is_cut = false;
            visit_records::<PrintError>(&batch, from, |record| {
                if record.offset >= end || !self.printer.wants_more() {
                    is_cut = true;
                    return Ok(false);
                }
                self.printer.print(&RecordView {
                    topic: Some(&self.arguments.topic),
                    partition: Some(partition),
                    ..record
                })?;
                next = record.offset.checked_plus(1).unwrap_or(next);
                Ok(true)
            })
            .map_err(|error| match error {
                PrintError::Unreadable(error) => anyhow::Error::new(error)
                    .context(format!("cannot read {}-{partition}", self.arguments.topic)),
                PrintError::Output(error) => error.into(),
            })?;
            if is_cut {
                // Whatever lies between the last record and the end is read.
                return Ok(if self.printer.wants_more() { end } else { next });
            }
            next = after;
        }
        Ok(next)
    }
}

/// Why a record was not printed.
#[derive(Debug)]
enum PrintError {
    Unreadable(UnreadableBatch),
    Output(std::io::Error),
}

impl From<UnreadableBatch> for PrintError {
    fn from(error: UnreadableBatch) -> Self {
        Self::Unreadable(error)
    }
}

impl From<std::io::Error> for PrintError {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}
