//! The `corelane-loadgen` binary.
#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use corelane_loadgen::cli::args::{Cli, Command};
use corelane_loadgen::cli::cores::{CoreList, allowed_in_status};
use corelane_loadgen::cli::plan::Plan;
use corelane_loadgen::coordinator::run::run;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    // The standard library seeds its hashers from the system: good enough to tell one run from another.
    let run_mark = RandomState::new().hash_one(std::process::id()) as u32;
    let plan = match Plan::new(*args, &available_cores(), run_mark) {
        Ok(plan) => plan,
        Err(error) => Cli::command()
            .error(clap::error::ErrorKind::ValueValidation, error)
            .exit(),
    };
    match run(&plan) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("corelane-loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The cores this process may run on; core 0 if the kernel does not say.
fn available_cores() -> CoreList {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    allowed_in_status(&status)
        .or_else(|| CoreList::new([0]))
        .unwrap_or_else(|| unreachable!("a list of one core"))
}
