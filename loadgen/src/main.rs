//! The `corelane-loadgen` binary.
#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use corelane_loadgen::cli::args::{Cli, Command, RunArgs};
use corelane_loadgen::cli::campaigns::{CompareArgs, NullServerArgs, ReplayArgs, SweepArgs};
use corelane_loadgen::cli::cores::{CoreList, allowed_in_status};
use corelane_loadgen::cli::plan::{Plan, PlanError};
use corelane_loadgen::coordinator::find_max::{FindMax, find_max};
use corelane_loadgen::coordinator::replay::replay;
use corelane_loadgen::coordinator::run::run;
use corelane_loadgen::coordinator::sweep::sweep;
use corelane_loadgen::null::affinity::keep_to;
use corelane_loadgen::null::broker::Behaviour;
use corelane_loadgen::null::server::NullServer;
use corelane_loadgen::report::comparison::{Comparison, runs_in};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => with_plan(*args, |plan| {
            or_exit(plan.check_schedule());
            Ok(run(plan)?.exit_status())
        }),
        Command::FindMax(args) => {
            let args = *args;
            let what = FindMax {
                objectives: args.slo,
                precision: args.precision,
                confirm: args.confirm,
            };
            with_plan(args.run, |plan| Ok(u8::from(!find_max(plan, &what)?)))
        }
        Command::Sweep(args) => {
            let SweepArgs { run, rates, points } = *args;
            with_plan(run, |plan| Ok(u8::from(!sweep(plan, &rates, points)?)))
        }
        Command::Replay(args) => {
            let ReplayArgs { run, slo_ratio } = *args;
            with_plan(run, |plan| {
                or_exit(plan.check_schedule());
                Ok(replay(plan, slo_ratio)?.exit_status())
            })
        }
        Command::Compare(args) => match compare(&args) {
            Ok(status) => ExitCode::from(status),
            Err(error) => failed(&error),
        },
        Command::NullServer(args) => match serve_null(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
    }
}

/// Makes the plan and does with it what is to be done; that tells the exit status.
fn with_plan(args: RunArgs, act: impl FnOnce(&Plan) -> anyhow::Result<u8>) -> ExitCode {
    // The standard library seeds its hashers from the system: good enough to tell one run from another.
    let run_mark = RandomState::new().hash_one(std::process::id()) as u32;
    let plan = or_exit(Plan::new(args, &available_cores(), run_mark));
    match act(&plan) {
        Ok(status) => ExitCode::from(status),
        Err(error) => failed(&error),
    }
}

/// Arguments that do not go together end the program as clap ends it.
fn or_exit<T>(result: Result<T, PlanError>) -> T {
    result.unwrap_or_else(|error| {
        Cli::command()
            .error(clap::error::ErrorKind::ValueValidation, error)
            .exit()
    })
}

/// Compares the files and tells the exit status.
fn compare(args: &CompareArgs) -> anyhow::Result<u8> {
    let read = |paths: &str| -> anyhow::Result<Vec<serde_json::Value>> {
        let mut runs = Vec::new();
        for path in paths.split(',') {
            let read = || -> anyhow::Result<Vec<serde_json::Value>> {
                Ok(runs_in(serde_json::from_str(&std::fs::read_to_string(
                    path,
                )?)?)?)
            };
            runs.extend(read().with_context(|| path.to_owned())?);
        }
        Ok(runs)
    };
    let comparison = Comparison::new(&read(&args.base)?, &read(&args.other)?, args.threshold)?;
    print!("{}", comparison.render());
    Ok(comparison.exit_status())
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("corelane-loadgen: {error:#}");
    ExitCode::FAILURE
}

/// Serves until a signal.
fn serve_null(args: &NullServerArgs) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?;
    if let Some(cores) = &args.cores {
        keep_to(cores).with_context(|| format!("cannot run on cores {cores}"))?;
    }
    let server = NullServer::start(args.port, Behaviour::default())
        .with_context(|| format!("cannot listen on port {}", args.port))?;
    println!("ready {}", server.address());
    signals.forever().next();
    Ok(())
}

/// The cores this process may run on; core 0 if the kernel does not say.
fn available_cores() -> CoreList {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    allowed_in_status(&status)
        .or_else(|| CoreList::new([0]))
        .unwrap_or_else(|| unreachable!("a list of one core"))
}
