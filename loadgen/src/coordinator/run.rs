//! One `run`, from the plan to the report, and the cleaning up whatever happens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use anyhow::Context;
use corelane_net::client::Acks as WireAcks;

use super::conductor::{Conductor, Gathered};
use super::control::{self, Topology};
use super::crew::Crew;
use super::files::write_runs;
use super::membership::Membership;
use super::session::Session;
use crate::cli::args::{Acks, ReadBack};
use crate::cli::plan::Plan;
use crate::clock::Clock;
use crate::interrupt::Interrupt;
use crate::load::links::{Link, Parties, Role, assigned_links, consumer_links, producer_links};
use crate::report::host::Host;
use crate::report::limits::Limits;
use crate::report::progress::Progress;
use crate::report::summary::{Method, Outcome, Summary, Verdict};
use crate::report::table;
use crate::report::timeline::Timeline;
use crate::runtime::setup::{Positions, Setup};
use crate::runtime::worker::WorkerPlan;
use crate::spawn::server::SpawnedServer;
use crate::verify::ledger::settle;

/// What is read back without being asked for.
const READ_BACK_BYTES_MAX: u64 = 1 << 30;

/// Reading back may take this long for each GiB, and at least as long as a drain.
const READ_BACK_PER_GIB: Duration = Duration::from_secs(20);

/// Runs a plan as often as it says, prints the reports, writes the files, and says whether all is well.
pub fn run(plan: &Plan) -> anyhow::Result<Verdict> {
    let mut session = Session::open(plan)?;
    let mut runs = Vec::new();
    let mut last = None;
    let result = (0..plan.repeat).try_for_each(|index| {
        if index > 0 && session.is_interrupted() {
            return Ok(());
        }
        let (summary, outcome) = session.run(plan)?;
        if plan.repeat > 1 {
            println!("run {} of {}", index + 1, plan.repeat);
        }
        print!("{}", table::render(&summary));
        runs.push(summary);
        last = Some(outcome);
        anyhow::Ok(())
    });
    let complaint = session.close();
    result?;
    if let (Some(complaint), Some(summary)) = (complaint, runs.last_mut()) {
        println!("note: {complaint}");
        summary.remarks.push(complaint);
    }
    if let Some(last) = &last {
        write_runs(plan, &runs, last)?;
    }
    let verdicts = runs.iter().map(Summary::verdict);
    Ok(verdicts
        .max_by_key(|verdict| verdict.gravity())
        .unwrap_or(Verdict::Failed))
}

/// Makes one run against brokers that serve.
pub(super) fn against(
    plan: &Plan,
    bootstrap: &[String],
    interrupt: &Interrupt,
    server: &mut Option<SpawnedServer>,
    limits: Option<Limits>,
) -> anyhow::Result<(Summary, Outcome)> {
    let topology = control::prepare(bootstrap, &plan.topic, plan.consumers).with_context(|| {
        format!(
            "cannot prepare topic {} at {}",
            plan.topic.name,
            bootstrap.join(",")
        )
    })?;
    let result = load(plan, bootstrap, &topology, interrupt, server);
    let mut not_deleted = None;
    if topology.made && !plan.topic.keep {
        not_deleted = control::delete(bootstrap, &plan.topic.name).err();
    }
    let mut outcome = result?;
    outcome.limits = limits;
    let mut summary = Summary::new(plan, &outcome);
    summary.remarks.extend(
        not_deleted.map(|error| format!("topic {} was not deleted: {error}", plan.topic.name)),
    );
    Ok((summary, outcome))
}

fn load(
    plan: &Plan,
    bootstrap: &[String],
    topology: &Topology,
    interrupt: &Interrupt,
    server: &mut Option<SpawnedServer>,
) -> anyhow::Result<Outcome> {
    let clock = Clock::start();
    let partitions = topology.leaders.len();
    let mut membership = None;
    if let Some(group) = &plan.group {
        let positions: Positions = (0..partitions).map(|_| AtomicI64::new(-1)).collect();
        let topic = &plan.topic.name;
        let joined = Membership::join(
            bootstrap,
            group,
            topic,
            plan.consumers,
            partitions,
            Arc::clone(&positions),
        );
        let joined = joined.with_context(|| format!("cannot join group {group}"))?;
        membership = Some((joined, positions));
    }
    let plans = worker_plans(plan, bootstrap, topology, clock, membership.as_ref());
    let crew = Crew::start(plans)?;
    let server_pid = server.as_ref().map(SpawnedServer::pid);
    let mut watch = || match server
        .as_mut()
        .and_then(|server| Some((server.ended()?, server.log_tail())))
    {
        Some((status, log)) => {
            anyhow::bail!("the server ended during the run ({status}); its last words:\n{log}")
        }
        None => Ok(()),
    };
    let whole = plan.warmup + plan.duration;
    let progress = Progress::start((!plan.no_dashboard).then_some(whole));
    let timeline = Timeline::new(plan.hlog.is_some());
    let conductor = Conductor::new(
        &crew, clock, interrupt, &mut watch, server_pid, timeline, progress,
    );
    match conduct(plan, bootstrap, topology, conductor) {
        Ok((gathered, method, mut notes)) => {
            crew.stop();
            if let Some((membership, _)) = membership {
                let tally = membership.leave().context("the group")?;
                notes.push(format!(
                    "{} members of group {} made {} commits; {} rebalances during the load",
                    plan.consumers,
                    plan.group.as_deref().unwrap_or_default(),
                    tally.commits,
                    tally.rebalances
                ));
            }
            Ok(outcome(bootstrap, topology, gathered, method, notes))
        }
        Err(error)
            if error
                .downcast_ref::<super::crew::CrewError>()
                .is_some_and(super::crew::CrewError::is_gone) =>
        {
            Err(crew.stop().map_or(error, anyhow::Error::from))
        }
        // Threads that do not respond are not waited for: the process is about to end.
        Err(error) => Err(error),
    }
}

fn conduct(
    plan: &Plan,
    bootstrap: &[String],
    topology: &Topology,
    mut conductor: Conductor<'_>,
) -> anyhow::Result<(Gathered, Method, Vec<String>)> {
    conductor.await_ready()?;
    conductor.load(plan.warmup, plan.duration)?;
    let mut notes = Vec::new();
    if plan.acks == Acks::None {
        notes.push("with acks=0 nothing is acknowledged, so nothing can count as lost".to_owned());
    }
    let mut method = Method::None;
    if plan.consumers > 0 {
        method = Method::Consumers;
        let ends = control::ends_now(bootstrap, &plan.topic.name)
            .context("cannot find the ends of the partitions")?;
        conductor.drain(&ends, plan.drain)?;
    } else if let Some(why_not) = why_not_read_back(plan, &conductor) {
        notes.push(why_not);
    } else {
        method = Method::ReadBack;
        let ends = control::ends_now(bootstrap, &plan.topic.name)
            .context("cannot find the ends of the partitions")?;
        let bytes = conductor.acknowledged() * plan.record_size_bytes as u64;
        let within = plan
            .drain
            .max(READ_BACK_PER_GIB.mul_f64(bytes as f64 / READ_BACK_BYTES_MAX as f64));
        conductor.read_back(&topology.ends, &ends, within)?;
    }
    let gathered = conductor.finish()?;
    if !gathered.consumed.unfinished.is_empty() {
        let count = gathered.consumed.unfinished.len();
        notes.push(format!("{count} partitions were not read to their end within --drain; what is missing there counts as lost"));
    }
    Ok((gathered, method, notes))
}

fn why_not_read_back(plan: &Plan, conductor: &Conductor<'_>) -> Option<String> {
    let bytes = conductor
        .acknowledged()
        .saturating_mul(plan.record_size_bytes as u64);
    match plan.read_back {
        ReadBack::Never => Some("loss was not looked for: --verify=never and no consumers".to_owned()),
        _ if conductor.is_interrupted() => Some("loss was not looked for: interrupted".to_owned()),
        ReadBack::Auto if bytes > READ_BACK_BYTES_MAX => Some(
            "loss was not looked for: no consumers, and more than 1 GiB to read back; --verify=always does it all the same"
                .to_owned(),
        ),
        ReadBack::Auto | ReadBack::Always => None,
    }
}

fn worker_plans(
    plan: &Plan,
    bootstrap: &[String],
    topology: &Topology,
    clock: Clock,
    membership: Option<&(Membership, Positions)>,
) -> Vec<WorkerPlan> {
    let setup = Setup {
        clock,
        run: plan.run,
        bootstrap: bootstrap.to_vec(),
        topic: topology.topic.clone(),
        record_size_bytes: plan.record_size_bytes,
        batch_records: plan.batch_records,
        rate: plan.rate,
        shape: plan.shape,
        payload: plan.payload,
        acks: match plan.acks {
            Acks::None => WireAcks::None,
            Acks::Leader => WireAcks::Leader,
            Acks::All => WireAcks::All,
        },
        in_flight: plan.in_flight,
        fetch_size_bytes: plan.fetch_size_bytes,
        positions: membership.map(|(_, positions)| Arc::clone(positions)),
    };
    let workers = plan.cores.count();
    let parties = Parties {
        producers: plan.producers,
        consumers: plan.consumers,
        connections: plan.connections,
        workers,
        keys: plan.keys,
    };
    let partitions = topology.leaders.len() as u32;
    let readers = Parties {
        producers: 0,
        consumers: partitions.min(workers as u32),
        connections: 1,
        workers,
        keys: None,
    };
    let producers = producer_links(&parties, &topology.leaders);
    let mut consumers = Vec::new();
    let mut add = |count: u32, role: Role| {
        let parties = Parties {
            consumers: count,
            ..parties
        };
        let links = match membership {
            Some((membership, _)) if role == (Role::Verify { set: 0 }) => {
                assigned_links(&parties, &topology.leaders, role, &membership.assignments)
            }
            _ => consumer_links(&parties, &topology.leaders, role),
        };
        consumers.extend(links);
    };
    for set in 0..plan.fan_out {
        add(plan.consumers, Role::Verify { set });
    }
    let records_per_second = plan.slow_rate;
    add(plan.slow_consumers, Role::Slow { records_per_second });
    add(plan.replay, Role::Replay);
    let readers = consumer_links(&readers, &topology.leaders, Role::Verify { set: 0 });
    let own = |links: &[Link], worker: usize| -> Vec<Link> {
        links
            .iter()
            .filter(|link| link.worker == worker)
            .cloned()
            .collect()
    };
    let with_address = |links: Vec<Link>| {
        links
            .into_iter()
            .map(|link| (link.clone(), topology.address(link.broker)))
            .collect::<Vec<_>>()
    };
    let plans = plan
        .cores
        .as_slice()
        .iter()
        .enumerate()
        .map(|(index, core)| WorkerPlan {
            index,
            core: *core,
            spin: plan.spin,
            setup: setup.clone(),
            producers: with_address(own(&producers, index)),
            consumers: with_address(own(&consumers, index)),
            readers: own(&readers, index),
            from: topology.ends.clone(),
        });
    plans.collect()
}

fn outcome(
    bootstrap: &[String],
    topology: &Topology,
    gathered: Gathered,
    method: Method,
    notes: Vec<String>,
) -> Outcome {
    let consumed = (method != Method::None).then_some(gathered.consumed.books.as_slice());
    let distinct = |errors: Vec<String>| {
        errors
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    Outcome {
        balance: settle(&gathered.produced.books, consumed),
        measurement: gathered.measurement,
        method,
        notes,
        produce_errors: distinct(gathered.produced.errors),
        consume_errors: distinct(gathered.consumed.errors),
        bootstrap: bootstrap.to_vec(),
        partitions: topology.leaders.len() as u32,
        window: gathered.window,
        processors: gathered.processors,
        interrupted: gathered.interrupted,
        timeline: gathered.timeline,
        host: Host::look(),
        limits: None,
    }
}
