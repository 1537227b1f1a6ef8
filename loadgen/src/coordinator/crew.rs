//! The load cores as the coordinator sees them: a set of threads that take commands and report.

use std::time::Duration;

use glommio::ExecutorJoinHandle;
use thiserror::Error;

use crate::runtime::backstop::Backstop;
use crate::runtime::executor::ExecutorError;
use crate::runtime::messages::{Command, Report};
use crate::runtime::worker::{self, Mailbox, WorkerPlan};

/// Why the load cores cannot go on.
#[derive(Debug, Error)]
pub enum CrewError {
    /// A thread could not be started.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// Nor the one that wakes them.
    #[error("cannot start a thread: {0}")]
    Backstop(#[from] std::io::Error),
    /// A core gave up.
    #[error("{0}")]
    Failed(String),
    /// All of them ended.
    #[error("the load cores ended unexpectedly")]
    Gone,
}

impl CrewError {
    /// Whether the threads have ended, and joining them tells why.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }
}

/// The running load cores.
#[derive(Debug)]
pub struct Crew {
    mailboxes: Vec<Mailbox>,
    reports: flume::Receiver<Report>,
    threads: Vec<ExecutorJoinHandle<()>>,
    _backstop: Backstop,
}

impl Crew {
    /// Starts a thread for each plan.
    pub fn start(plans: Vec<WorkerPlan>) -> Result<Self, CrewError> {
        let (report, reports) = flume::unbounded();
        let (mut mailboxes, mut wakers, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for plan in plans {
            let mailbox = Mailbox::new();
            let (waker, wakes) = flume::bounded(1);
            threads.push(worker::start(plan, mailbox.clone(), wakes, report.clone())?);
            mailboxes.push(mailbox);
            wakers.push(waker);
        }
        Ok(Self {
            mailboxes,
            reports,
            threads,
            _backstop: Backstop::start(wakers)?,
        })
    }

    /// How many cores there are.
    pub fn count(&self) -> usize {
        self.mailboxes.len()
    }

    /// Tells every core.
    pub fn tell(&self, command: &Command) {
        for mailbox in &self.mailboxes {
            mailbox.tell(command.clone());
        }
    }

    /// The next report, if one comes in time.
    pub fn next(&self, within: Duration) -> Result<Option<Report>, CrewError> {
        match self.reports.recv_timeout(within) {
            Ok(Report::Failed { error }) => Err(CrewError::Failed(error)),
            Ok(report) => Ok(Some(report)),
            Err(flume::RecvTimeoutError::Timeout) => Ok(None),
            Err(flume::RecvTimeoutError::Disconnected) => Err(CrewError::Gone),
        }
    }

    /// Ends all threads, waits for them, and says what they died of, if they did.
    pub fn stop(self) -> Option<ExecutorError> {
        self.tell(&Command::Stop);
        let ends: Vec<_> = self
            .threads
            .into_iter()
            .map(ExecutorJoinHandle::join)
            .collect();
        ends.into_iter()
            .find_map(Result::err)
            .map(ExecutorError::from)
    }
}
