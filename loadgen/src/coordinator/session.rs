//! One target, for one run or many: brokers that are there, or a server of our own that lives as long as the session.

use anyhow::Context;

use super::control;
use super::run;
use crate::cli::plan::{Plan, Target};
use crate::interrupt::Interrupt;
use crate::report::limits::Limits;
use crate::report::summary::{Outcome, Summary};
use crate::spawn::server::SpawnedServer;

/// A target that runs can be made against.
pub struct Session {
    interrupt: Interrupt,
    bootstrap: Vec<String>,
    server: Option<SpawnedServer>,
    limits: Option<Limits>,
    runs: u32,
}

impl Session {
    /// Starts the server, if the plan asks for one, and measures the machine's limits, if it asks for those.
    pub fn open(plan: &Plan) -> anyhow::Result<Self> {
        let interrupt = Interrupt::listen().context("cannot listen for signals")?;
        let folder = match &plan.target {
            Target::Spawn(spawn) => spawn.directory.as_deref(),
            Target::Brokers(_) => None,
        };
        let limits = plan
            .limits
            .then(|| Limits::measure(folder))
            .transpose()
            .context("cannot measure the machine's limits")?;
        let (bootstrap, server) = match &plan.target {
            Target::Brokers(bootstrap) => (bootstrap.clone(), None),
            Target::Spawn(spawn) => {
                let server = SpawnedServer::start(spawn, &|| interrupt.asked())?;
                (server.bootstrap().to_vec(), Some(server))
            }
        };
        Ok(Self {
            interrupt,
            bootstrap,
            server,
            limits,
            runs: 0,
        })
    }

    /// Makes a run. Each has a mark of its own, and a topic of its own unless one was named.
    pub fn run(&mut self, plan: &Plan) -> anyhow::Result<(Summary, Outcome)> {
        let plan = plan.numbered(self.runs);
        self.runs += 1;
        let (bootstrap, interrupt) = (&self.bootstrap, &self.interrupt);
        let limits = self.limits.clone();
        run::against(&plan, bootstrap, interrupt, &mut self.server, limits)
    }

    /// Makes a run in the topic of the run before, which kept it, and deletes it unless the plan keeps it.
    pub fn run_in_the_same_topic(&mut self, plan: &Plan) -> anyhow::Result<(Summary, Outcome)> {
        let mut same = plan.numbered(self.runs);
        same.topic.name = plan.numbered(self.runs.saturating_sub(1)).topic.name;
        self.runs += 1;
        let result = run::against(
            &same,
            &self.bootstrap,
            &self.interrupt,
            &mut self.server,
            self.limits.clone(),
        );
        if !plan.topic.keep && plan.has_generated_topic() {
            control::delete(&self.bootstrap, &same.topic.name)
                .with_context(|| format!("topic {} was not deleted", same.topic.name))?;
        }
        result
    }

    /// Whether the user wants to end.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.asked()
    }

    /// Stops the server and says what was not as it should be with it.
    pub fn close(self) -> Option<String> {
        self.server.and_then(SpawnedServer::stop)
    }
}
