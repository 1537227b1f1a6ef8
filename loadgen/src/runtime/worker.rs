//! One load core: a pinned thread that connects its producers and consumers, starts them together, hands over what
//! they measured, and cuts them off when it is told to.

use std::rc::Rc;
use std::time::Duration;

use glommio::{ExecutorJoinHandle, Task};

use super::consumer::{ConsumerState, consume};
use super::core::LoadCore;
use super::executor::{ExecutorError, spawn_pinned};
use super::messages::{Command, ConsumedReport, Inbox, Offsets, ProducedReport, ReadUntil, Report};
use super::producer::{ProducerState, produce};
use super::setup::{Setup, connect};
use crate::load::links::Link;
use crate::report::measure::{Measurement, Window};
use crate::report::processor;

/// What a load core is to do.
#[derive(Debug, Clone)]
pub struct WorkerPlan {
    /// Its place among the load cores.
    pub index: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// How long it polls before it sleeps.
    pub spin: Duration,
    /// What all have in common.
    pub setup: Setup,
    /// Its producers' connections, each with the broker's address.
    pub producers: Vec<(Link, String)>,
    /// Its consumers' connections.
    pub consumers: Vec<(Link, String)>,
    /// The connections it reads the topic back over, should it have to.
    pub readers: Vec<Link>,
    /// Where consumers begin.
    pub from: Offsets,
}

/// The way into a load core.
#[derive(Debug, Clone)]
pub struct Mailbox {
    sender: flume::Sender<Inbox>,
    receiver: flume::Receiver<Inbox>,
}

impl Mailbox {
    /// An empty one.
    pub fn new() -> Self {
        let (sender, receiver) = flume::unbounded();
        Self { sender, receiver }
    }

    /// Tells the core. It does not matter whether it is still there: it is missed by whoever waits for its report.
    pub fn tell(&self, command: Command) {
        let _ = self.sender.send(Inbox::Told(command));
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

/// Starts a load core's thread. `wakes` is the backstop's channel.
pub fn start(
    plan: WorkerPlan,
    mailbox: Mailbox,
    wakes: flume::Receiver<()>,
    reports: flume::Sender<Report>,
) -> Result<ExecutorJoinHandle<()>, ExecutorError> {
    spawn_pinned(plan.core, plan.spin, move || async move {
        glommio::spawn_local(async move { while wakes.recv_async().await.is_ok() {} }).detach();
        let worker = Worker::connect(plan, mailbox, reports.clone()).await;
        match worker {
            Ok(mut worker) => worker.run().await,
            // The coordinator may have gone already; then nobody cares.
            Err(error) => drop(reports.send(Report::Failed {
                error: format!("{error:#}"),
            })),
        }
    })
}

struct Worker {
    plan: WorkerPlan,
    setup: Rc<Setup>,
    core: Option<Rc<LoadCore>>,
    mailbox: Mailbox,
    reports: flume::Sender<Report>,
    producers: Vec<Rc<ProducerState>>,
    consumers: Vec<Rc<ConsumerState>>,
    /// Dropping a task ends it.
    producer_tasks: Vec<Task<()>>,
    consumer_tasks: Vec<Task<()>>,
    driver: Option<Task<()>>,
    producing: usize,
    consuming: usize,
}

impl Worker {
    async fn connect(
        plan: WorkerPlan,
        mailbox: Mailbox,
        reports: flume::Sender<Report>,
    ) -> anyhow::Result<Self> {
        let setup = Rc::new(plan.setup.clone());
        let (mut producers, mut consumers) = (Vec::new(), Vec::new());
        for (link, address) in &plan.producers {
            producers.push(ProducerState::new(link.clone(), connect(address).await?));
        }
        for (link, address) in &plan.consumers {
            let connection = Some(connect(address).await?);
            consumers.push(ConsumerState::new(
                link.clone(),
                setup.run,
                &plan.from,
                true,
                connection,
            ));
        }
        Ok(Self {
            plan,
            setup,
            core: None,
            mailbox,
            reports,
            producers,
            consumers,
            producer_tasks: Vec::new(),
            consumer_tasks: Vec::new(),
            driver: None,
            producing: 0,
            consuming: 0,
        })
    }

    async fn run(&mut self) {
        self.report(Report::Ready {
            worker: self.plan.index,
            thread: processor::this_thread(),
        });
        let inbox = self.mailbox.receiver.clone();
        while let Ok(message) = inbox.recv_async().await {
            match message {
                Inbox::Told(Command::Stop) => break,
                Inbox::Told(command) => self.obey(command),
                Inbox::ProducerDone => {
                    self.producing = self.producing.saturating_sub(1);
                    if self.producing == 0 {
                        self.report_produced();
                    }
                }
                Inbox::ConsumerDone => {
                    self.consuming = self.consuming.saturating_sub(1);
                    if self.consuming == 0 {
                        self.report_consumed();
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        if let Command::Start { start_ns, window } = command {
            self.start(start_ns, window);
            return;
        }
        let Some(core) = self.core.clone() else {
            return;
        };
        match command {
            Command::Measure => {
                let measured = core.measurement.borrow_mut().take();
                self.report(Report::Measured(Box::new(measured)));
            }
            Command::Cease => core.cease(),
            Command::AbandonProducers if self.producing > 0 => {
                self.producer_tasks.clear();
                self.producing = 0;
                self.report_produced();
            }
            Command::AbandonConsumers if self.consuming > 0 => {
                self.consumer_tasks.clear();
                self.consuming = 0;
                self.report_consumed();
            }
            Command::Drain(until) => {
                core.read_until(until);
                if self.consumers.is_empty() {
                    self.report_consumed();
                }
            }
            Command::ReadBack { from, until } => self.read_back(&core, &from, until),
            _ => {}
        }
    }

    fn start(&mut self, start_ns: u64, window: Window) {
        let core = Rc::new(LoadCore::new(self.setup.clock, Measurement::new(window)));
        self.core = Some(Rc::clone(&core));
        self.driver = Some(glommio::spawn_local({
            let core = Rc::clone(&core);
            async move { core.alarm.drive().await }
        }));
        for state in &self.producers {
            let (core, setup, state) = (Rc::clone(&core), Rc::clone(&self.setup), Rc::clone(state));
            let done = self.mailbox.sender.clone();
            self.producer_tasks.push(glommio::spawn_local(async move {
                produce(core, setup, state, start_ns, window.end_ns).await;
                let _ = done.send(Inbox::ProducerDone);
            }));
        }
        self.producing = self.producers.len();
        if self.producing == 0 {
            self.report_produced();
        }
        self.start_consumers(&core);
    }

    fn start_consumers(&mut self, core: &Rc<LoadCore>) {
        for state in &self.consumers {
            let (core, setup, state) = (Rc::clone(core), Rc::clone(&self.setup), Rc::clone(state));
            let done = self.mailbox.sender.clone();
            self.consumer_tasks.push(glommio::spawn_local(async move {
                consume(core, setup, state).await;
                let _ = done.send(Inbox::ConsumerDone);
            }));
        }
        self.consuming = self.consumers.len();
    }

    fn read_back(&mut self, core: &Rc<LoadCore>, from: &Offsets, until: ReadUntil) {
        core.read_until(until);
        let readers = self.plan.readers.iter().cloned();
        self.consumers = readers
            .map(|link| ConsumerState::new(link, self.setup.run, from, false, None))
            .collect();
        self.consumer_tasks.clear();
        self.start_consumers(core);
        if self.consumers.is_empty() {
            self.report_consumed();
        }
    }

    fn report_produced(&mut self) {
        let Some(core) = &self.core else { return };
        let mut report = ProducedReport::default();
        for state in self.producers.drain(..) {
            state.close(core, &mut report);
        }
        self.report(Report::Produced(report));
    }

    fn report_consumed(&mut self) {
        let Some(core) = &self.core else { return };
        let mut report = ConsumedReport::default();
        for state in self.consumers.drain(..) {
            state.close(core, &mut report);
        }
        self.report(Report::Consumed(report));
    }

    fn report(&self, report: Report) {
        // Without a coordinator there is nobody to report to.
        let _ = self.reports.send(report);
    }
}
