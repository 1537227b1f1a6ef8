//! `corelane log`: looks into the files of a partition.

mod dump;
mod entry;
mod read_only_disk;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Outcome;

const EXAMPLES: &str = "\
Examples:
  corelane log dump corelane-data/logs/orders-0.1
  corelane log dump corelane-data/logs/orders-0.1/00000000000000000000.log --records
  corelane log dump corelane-data/logs/orders-0.1 --json | jq 'select(.type == \"damage\")'";

/// Looks into the files of a partition.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    Dump(DumpArgs),
}

/// Prints what a segment file holds: commit blocks, batches, and where and what is wrong.
///
/// It only reads, and believes nothing but the bytes: damaged files are walked to their end. Also a running server's files
/// may be read; what it writes at that moment may then look torn. Exits with 1 if anything is not sound.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DumpArgs {
    /// A segment (*.log), or the directory of a partition for all its segments.
    #[arg(value_name = "FILE|DIRECTORY")]
    path: PathBuf,
    /// Print the records too.
    #[arg(long)]
    records: bool,
    /// Print a JSON object a line; its "type" is segment, block, batch, record, damage or end.
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
pub(crate) fn run(command: &LogCommand) -> anyhow::Result<Outcome> {
    match command {
        LogCommand::Dump(arguments) => dump::run(arguments),
    }
}
