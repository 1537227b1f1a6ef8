//! One `run`, from the plan to the report, and the cleaning up whatever happens.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use corelane_net::client::Acks as WireAcks;

use super::conductor::{Conductor, Gathered};
use super::control::{self, Topology};
use super::crew::Crew;
use crate::cli::args::{Acks, ReadBack};
use crate::cli::plan::{Plan, Target};
use crate::clock::Clock;
use crate::interrupt::Interrupt;
use crate::load::links::{Link, Parties, consumer_links, producer_links};
use crate::report::summary::{Method, Outcome, Summary};
use crate::report::table;
use crate::runtime::setup::Setup;
use crate::runtime::worker::WorkerPlan;
use crate::spawn::server::SpawnedServer;
use crate::verify::ledger::settle;

/// What is read back without being asked for.
const READ_BACK_BYTES_MAX: u64 = 1 << 30;

/// Reading back may take this long for each GiB, and at least as long as a drain.
const READ_BACK_PER_GIB: Duration = Duration::from_secs(20);

/// Runs a plan, prints the report, writes the files, and says whether all is well.
pub fn run(plan: &Plan) -> anyhow::Result<bool> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let (summary, outcome) = match &plan.target {
        Target::Brokers(bootstrap) => against(plan, bootstrap, &interrupt, &mut None)?,
        Target::Spawn(spawn) => {
            let server = SpawnedServer::start(spawn, &|| interrupt.asked())?;
            let bootstrap = server.bootstrap().to_vec();
            let mut server = Some(server);
            let result = against(plan, &bootstrap, &interrupt, &mut server);
            let complaint = server.and_then(SpawnedServer::stop);
            let (mut summary, outcome) = result?;
            summary.remarks.extend(complaint);
            (summary, outcome)
        }
    };
    print!("{}", table::render(&summary));
    write_files(plan, &summary, &outcome)?;
    Ok(summary.succeeded())
}

fn against(
    plan: &Plan,
    bootstrap: &[String],
    interrupt: &Interrupt,
    server: &mut Option<SpawnedServer>,
) -> anyhow::Result<(Summary, Outcome)> {
    let topology = control::prepare(bootstrap, &plan.topic, plan.consumers).with_context(|| {
        format!(
            "cannot prepare topic {} at {}",
            plan.topic.name,
            bootstrap.join(",")
        )
    })?;
    let result = load(plan, bootstrap, &topology, interrupt, server);
    // The folder of a server of our own goes anyway.
    let mut not_deleted = None;
    if topology.made && !plan.topic.keep && server.is_none() {
        not_deleted = control::delete(bootstrap, &plan.topic.name).err();
    }
    let outcome = result?;
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
    let crew = Crew::start(worker_plans(plan, bootstrap, topology, clock))?;
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
    let conductor = Conductor::new(&crew, clock, interrupt, &mut watch, server_pid);
    match conduct(plan, bootstrap, topology, conductor) {
        Ok((gathered, method, notes)) => {
            crew.stop();
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
) -> Vec<WorkerPlan> {
    let setup = Setup {
        clock,
        run: plan.run,
        bootstrap: bootstrap.to_vec(),
        topic: topology.topic.clone(),
        record_size_bytes: plan.record_size_bytes,
        batch_records: plan.batch_records,
        rate: plan.rate,
        acks: match plan.acks {
            Acks::None => WireAcks::None,
            Acks::Leader => WireAcks::Leader,
            Acks::All => WireAcks::All,
        },
        in_flight: plan.in_flight,
        fetch_size_bytes: plan.fetch_size_bytes,
    };
    let workers = plan.cores.count();
    let parties = Parties {
        producers: plan.producers,
        consumers: plan.consumers,
        connections: plan.connections,
        workers,
    };
    let partitions = topology.leaders.len() as u32;
    let readers = Parties {
        producers: 0,
        consumers: partitions.min(workers as u32),
        connections: 1,
        workers,
    };
    let producers = producer_links(&parties, &topology.leaders);
    let consumers = consumer_links(&parties, &topology.leaders);
    let readers = consumer_links(&readers, &topology.leaders);
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
    }
}

fn write_files(plan: &Plan, summary: &Summary, outcome: &Outcome) -> anyhow::Result<()> {
    if let Some(path) = &plan.json {
        let write = |out: &mut BufWriter<File>| -> std::io::Result<()> {
            serde_json::to_writer_pretty(&mut *out, summary)?;
            writeln!(out)
        };
        write_file(path, write)?;
    }
    if let Some(path) = &plan.hgrm {
        write_file(path, |out| {
            outcome.measurement.ack_latency.write_percentiles(out)
        })?;
        if plan.consumers > 0 {
            write_file(&end_to_end_path(path), |out| {
                outcome.measurement.end_to_end.write_percentiles(out)
            })?;
        }
    }
    Ok(())
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let written = File::create(path).map(BufWriter::new).and_then(|mut out| {
        write(&mut out)?;
        out.flush()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// `results/run.hgrm` becomes `results/run.end-to-end.hgrm`.
fn end_to_end_path(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".end-to-end");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_to_end_percentiles_lie_beside_the_others() {
        for (given, expected) in [
            ("a/run.hgrm", "a/run.end-to-end.hgrm"),
            ("run", "run.end-to-end"),
        ] {
            assert_eq!(end_to_end_path(Path::new(given)), Path::new(expected));
        }
    }
}
