//! `corelane log`: looks into the files of partitions.
//!
//! Nothing here writes. [`place`] finds the logs below a path, [`finding_view`] says what was found, and each command has a file.

mod dump;
mod entry;
mod finding_view;
mod place;
mod quarantine;
mod read_only_disk;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Outcome;

const DUMP_EXAMPLES: &str = "\
Examples:
  corelane log dump corelane-data/logs/orders-0.1
  corelane log dump corelane-data/logs/orders-0.1/00000000000000000000.log --records
  corelane log dump corelane-data/logs/orders-0.1 --records --offset 1000 --limit 10
  corelane log dump corelane-data/logs/orders-0.1 --json | jq 'select(.type == \"damage\")'";

const VERIFY_EXAMPLES: &str = "\
Examples:
  corelane log verify                                        everything in ./corelane-data
  corelane log verify /var/lib/corelane --records            every record too
  corelane log verify corelane-data/logs/orders-0.1          one partition
  corelane log verify --json | jq 'select(.type == \"finding\")'

Exit codes: 0 nothing is damaged, 1 damage was found, 2 something could not be checked (and no damage was found).";

const LIST_EXAMPLES: &str = "\
Examples:
  corelane log quarantine list
  corelane log quarantine list /var/lib/corelane --scan --json";

/// Looks into the files of partitions: checks them, lists what is damaged, prints what they hold.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    Verify(VerifyArgs),
    Dump(DumpArgs),
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
}

/// Reads all data and checks it, with the server stopped.
///
/// Checks each segment's header page, its chain of commit blocks and the checksum of each batch, the sidecars against the
/// segments, the recorded log starts, and that no offset is missing between segments, by the rules that a start goes by.
/// Only reads, with direct I/O where the file system has it: what counts is what the disk holds. Keeps servers out meanwhile.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// Data directories, directories of partitions, or segments (*.log). [default: ./corelane-data]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Decompress the batches and check each record too.
    #[arg(long)]
    records: bool,
    /// Print a JSON object a line; its "type" is finding, log or summary.
    #[arg(long)]
    json: bool,
}

/// Prints what segment files hold: commit blocks, batches, and where and what is wrong.
///
/// It only reads, and believes nothing but the bytes: damaged files are walked to their end. Also a running server's files
/// may be read; what it writes at that moment may then look torn. Exits with 1 if anything is damaged.
#[derive(Debug, Args)]
#[command(after_help = DUMP_EXAMPLES)]
pub(crate) struct DumpArgs {
    /// A segment (*.log), or the directory of a partition for all its segments.
    #[arg(value_name = "FILE|DIRECTORY")]
    path: PathBuf,
    /// Print the records too.
    #[arg(long)]
    records: bool,
    /// Begin with the batch (with --records: the record) at this offset, or the next one there is.
    #[arg(long, value_name = "OFFSET")]
    offset: Option<i64>,
    /// End after so many batches (with --records: records).
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Print a JSON object a line; its "type" is segment, block, batch, record, damage, tail or end.
    #[arg(long)]
    json: bool,
}

/// Tells which ranges of offsets are damaged and therefore not served.
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    List(QuarantineListArgs),
}

/// Lists the damaged ranges: those on record, and with --scan those that a fresh look finds.
///
/// A server puts a range on record, in the segment's sidecar, when it finds it at its start; what it runs into while it serves is
/// in its log. Without --scan only sidecars are read, and a server may run meanwhile.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct QuarantineListArgs {
    /// Data directories, directories of partitions, or segments (*.log). [default: ./corelane-data]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read all data and list what is damaged now, too. The server must be stopped.
    #[arg(long)]
    scan: bool,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
pub(crate) fn run(command: &LogCommand) -> anyhow::Result<Outcome> {
    match command {
        LogCommand::Verify(arguments) => verify::run(arguments),
        LogCommand::Dump(arguments) => dump::run(arguments),
        LogCommand::Quarantine(QuarantineCommand::List(arguments)) => quarantine::run(arguments),
    }
}
