//! Reading as a member of a group: the partitions that the group gives it, from where the group stopped.
//!
//! What is committed was written to standard output before, so a crash repeats records and skips none. Partitions are
//! given up, with a last commit, before anybody else gets them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use corelane_engine::lane::deadline::Deadline;
use corelane_net::ErrorCode;
use corelane_net::client::{GroupMember, GroupMemberError, Turn};
use corelane_net::group::MemberConfig;
use corelane_net::group::member::Committed;
use corelane_net::group::requests::{CommitOffset, Offsets};
use futures_lite::future;
use glommio::timer::sleep;

use super::fetcher::Fetched;
use super::reader::Reader;
use super::{ConsumeArgs, plan};
use crate::cli::client::{self, Client, refused};
use crate::cli::signals::SignalThread;
use crate::cli::{Outcome, note};

/// A member's heartbeats come at least so often.
const HEARTBEAT_INTERVAL_MAX: Duration = Duration::from_secs(3);
/// Heartbeats in the time after which a member counts as gone.
const HEARTBEATS_PER_SESSION: u32 = 3;
/// How often a leader looks whether its topic has grown.
const METADATA_AGE_MAX: Duration = Duration::from_secs(30);
/// Pause before something is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often a last commit is tried.
const LAST_COMMIT_TRIES: u32 = 10;
/// How long a command that failed may take to leave its group.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs `corelane consume --group`.
pub(super) fn run(arguments: ConsumeArgs) -> anyhow::Result<Outcome> {
    let signals = SignalThread::start().context("cannot watch for signals")?;
    let (stop, stopped) = flume::bounded(1);
    signals.on_first(move || {
        // A full channel has said it already.
        let _ = stop.try_send(());
    });
    client::run(async move {
        let mut client = Client::connect(&arguments.client).await?;
        client.topic(&arguments.topic).await?;
        let mut consumer = Consumer::new(arguments, client, stopped);
        let outcome = consumer.run().await;
        if outcome.is_err() {
            consumer.leave_quietly().await;
        }
        outcome?;
        Ok(Outcome::Success)
    })
}

struct Consumer {
    member: GroupMember,
    reader: Reader,
    /// What the coordinator has, as far as this member put it there or read it.
    committed: Offsets<CommitOffset>,
    commit_due: Instant,
    metadata_due: Instant,
    stopped: flume::Receiver<()>,
    is_stopping: bool,
}

/// What ended a wait.
enum Woken {
    Answer(Fetched),
    Time,
    Stop,
}

impl Consumer {
    fn new(arguments: ConsumeArgs, client: Client, stopped: flume::Receiver<()>) -> Self {
        let group = arguments.group.clone().unwrap_or_default();
        let mut config = MemberConfig::new(group, vec![arguments.topic.clone()]);
        config.instance_id.clone_from(&arguments.group_instance_id);
        config.session_timeout = arguments.session_timeout;
        config.heartbeat_interval =
            HEARTBEAT_INTERVAL_MAX.min(arguments.session_timeout / HEARTBEATS_PER_SESSION);
        let now = Instant::now();
        Self {
            member: GroupMember::new(config),
            commit_due: now + arguments.commit_interval,
            metadata_due: now + METADATA_AGE_MAX,
            reader: Reader::new(arguments, client),
            committed: Offsets::new(),
            stopped,
            is_stopping: false,
        }
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            let stopped = self.stopped.clone();
            let turn = self.member.turn(&mut self.reader.client.cluster);
            // A join may take as long as the slowest of the others.
            let turn = if self.is_stopping {
                Some(turn.await)
            } else {
                future::or(async { Some(turn.await) }, async {
                    let _ = stopped.recv_async().await;
                    None
                })
                .await
            };
            if let Some(trouble) = self.member.take_trouble() {
                note(&format!("{trouble}; trying again"));
            }
            match turn.transpose().map_err(refusal)? {
                None => self.stop(),
                Some(Turn::Begin) => self.begin().await?,
                Some(Turn::Release { lost }) => self.release(lost).await?,
                Some(Turn::Idle(wait)) => self.read_for(wait).await?,
                Some(Turn::End) => return Ok(()),
            }
        }
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        self.member.stop();
    }

    /// Begins to read what this generation gives to this member.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let assignment = self.member.member().assignment().clone();
        let cluster = &mut self.reader.client.cluster;
        let committed = self.member.committed(cluster, &assignment).await;
        let Some(committed) = committed.map_err(refusal)? else {
            sleep(RETRY_PAUSE).await;
            return Ok(());
        };
        let Reader {
            arguments, client, ..
        } = &mut self.reader;
        let topic = client.topic(&arguments.topic).await?;
        let partitions = assignment.get(&topic.name).cloned().unwrap_or_default();
        let resumed = committed
            .iter()
            .filter(|((name, _), committed)| *name == topic.name && committed.offset >= 0)
            .map(|((_, partition), committed)| (*partition, committed.offset))
            .collect();
        let positions = plan::make(client, arguments, &topic, &partitions, &resumed).await?;
        self.committed = resumed
            .iter()
            .map(|(partition, offset)| ((topic.name.clone(), *partition), at(*offset)))
            .collect();
        self.reader.read(positions);
        self.member.begun();
        Ok(())
    }

    /// Gives up what this member reads, with a last commit if there still is one.
    async fn release(&mut self, lost: bool) -> anyhow::Result<()> {
        let positions = self.positions();
        self.reader.read(Vec::new());
        self.reader.flush()?;
        if !lost {
            for _ in 0..LAST_COMMIT_TRIES {
                if self.commit(&positions).await? != Committed::Later {
                    break;
                }
                sleep(RETRY_PAUSE).await;
            }
        }
        if self.committed != positions && !positions.is_empty() {
            note(
                "this member's place was lost; what it read since its last commit is read again by others",
            );
        }
        self.committed.clear();
        self.member.released();
        Ok(())
    }

    /// Reads and commits until the membership needs something.
    async fn read_for(&mut self, wait: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + wait;
        loop {
            if !self.reader.start().await? {
                return Ok(());
            }
            if self.reader.is_done() && self.owns() && !self.is_stopping {
                self.stop();
                return Ok(());
            }
            let now = Instant::now();
            if now >= self.commit_due {
                self.commit_due = now + self.reader.arguments.commit_interval;
                let positions = self.positions();
                self.reader.flush()?;
                self.commit(&positions).await?;
                return Ok(());
            }
            if now >= self.metadata_due {
                self.metadata_due = now + METADATA_AGE_MAX;
                self.look_for_partitions().await;
                return Ok(());
            }
            if now >= until {
                return Ok(());
            }
            let wake = until.min(self.commit_due).min(self.metadata_due) - now;
            match self.wait(wake).await {
                Woken::Answer(fetched) => self.reader.take(fetched).await?,
                Woken::Time => {}
                Woken::Stop => {
                    self.stop();
                    return Ok(());
                }
            }
        }
    }

    /// Whether this member knows what it owns, if only that it is nothing.
    fn owns(&self) -> bool {
        self.member.member().generation() >= 0
    }

    async fn wait(&self, wake: Duration) -> Woken {
        let answered = self.reader.answered();
        if self.stopped.try_recv().is_ok() {
            return Woken::Stop;
        }
        if let Ok(fetched) = answered.try_recv() {
            return Woken::Answer(fetched);
        }
        let mut deadline = Deadline::after(wake);
        let mut answer = pin!(answered.recv_async());
        let mut stop = pin!(self.stopped.recv_async());
        poll_fn(|context| {
            if !self.is_stopping && stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woken::Stop);
            }
            if let Poll::Ready(Ok(fetched)) = answer.as_mut().poll(context) {
                return Poll::Ready(Woken::Answer(fetched));
            }
            if deadline.poll_over(context) {
                return Poll::Ready(Woken::Time);
            }
            Poll::Pending
        })
        .await
    }

    /// Where every partition stands that this member reads.
    fn positions(&self) -> Offsets<CommitOffset> {
        let topic = &self.reader.arguments.topic;
        let positions = self.reader.positions();
        positions
            .map(|position| ((topic.clone(), position.partition), at(position.next)))
            .collect()
    }

    /// Commits what is new of `positions`, which must have been written out.
    async fn commit(&mut self, positions: &Offsets<CommitOffset>) -> anyhow::Result<Committed> {
        let news: Offsets<CommitOffset> = positions
            .iter()
            .filter(|(key, commit)| self.committed.get(*key) != Some(*commit))
            .map(|(key, commit)| (key.clone(), commit.clone()))
            .collect();
        let cluster = &mut self.reader.client.cluster;
        let outcome = self.member.commit(cluster, &news).await.map_err(refusal)?;
        match outcome {
            Committed::Done => self.committed.extend(news),
            Committed::Later | Committed::Lost => {}
            Committed::Refused(code) => {
                let group = &self.member.member().config().group;
                let what = format!("commit offsets for group {group}");
                return Err(refused(&what, code, None));
            }
        }
        Ok(outcome)
    }

    /// A topic that has grown is shared out anew, by the member that does so for all.
    async fn look_for_partitions(&mut self) {
        if !self.member.member().is_leader() {
            return;
        }
        let Reader {
            arguments, client, ..
        } = &mut self.reader;
        // Without an answer the next look will do.
        if let Ok(topic) = client.topic(&arguments.topic).await {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            self.member.partitions_seen(&[(topic.name, count)].into());
        }
    }

    /// Leaves the group after a failure, without a commit: nobody knows what of it was seen.
    async fn leave_quietly(&mut self) {
        self.stop();
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            let turn = self.member.turn(&mut self.reader.client.cluster);
            let over = async {
                sleep(deadline.saturating_duration_since(Instant::now())).await;
                Ok(Turn::End)
            };
            match future::or(turn, over).await {
                Ok(Turn::Release { .. }) => self.member.released(),
                Ok(Turn::Begin) => self.member.begun(),
                Ok(Turn::Idle(wait)) => sleep(wait.min(RETRY_PAUSE)).await,
                Ok(Turn::End) | Err(_) => return,
            }
        }
    }
}

fn at(offset: i64) -> CommitOffset {
    CommitOffset {
        offset,
        metadata: String::new(),
    }
}

/// What a refusal means, and what can be done about it.
fn refusal(error: GroupMemberError) -> anyhow::Error {
    let GroupMemberError::Refused { group, code } = error else {
        return error.into();
    };
    let remedy = match code {
        ErrorCode::InconsistentGroupProtocol => {
            "its members share partitions in a way that this command does not know; use another group"
        }
        ErrorCode::InvalidSessionTimeout => {
            "the server allows sessions between group.min.session.timeout.ms and group.max.session.timeout.ms"
        }
        ErrorCode::GroupMaxSizeReached => "it has as many members as group.max.size allows",
        ErrorCode::FencedInstanceId => {
            "another member has taken this --group-instance-id; each needs its own"
        }
        _ => return refused(&format!("read as a member of group {group}"), code, None),
    };
    anyhow!("cannot read as a member of group {group}: {code}; {remedy}")
}
