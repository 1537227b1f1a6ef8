//! `corelane doctor`.

use std::path::PathBuf;

use clap::Args;
use corelane_engine::config::ServerSettings;

use super::Outcome;

const EXAMPLES: &str = "\
Examples:
  corelane doctor
  corelane doctor --data-dir /var/lib/corelane --json";

/// Says what this machine lacks to run a server, and what to do about it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Where the server would keep its data; nothing is left behind there.
    #[arg(long, value_name = "DIRECTORY", default_value = "./corelane-data")]
    data_dir: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the checks.
pub(crate) fn run(arguments: &DoctorArgs) -> anyhow::Result<Outcome> {
    let _ = arguments;
    Ok(Outcome::Success)
}

/// Refuses to start where a start cannot work.
pub(crate) fn refuse_if_hopeless(settings: &ServerSettings) -> anyhow::Result<()> {
    let _ = settings;
    Ok(())
}
