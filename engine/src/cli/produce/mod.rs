//! `corelane produce`: a record for each line of input.

mod backlog;
mod deliver;
mod input;
mod line;
mod line_set;
mod partitioner;
mod summary;
mod verdict;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use corelane_engine::config::units::parse_size_bytes;
use corelane_format::kafka::Compression;

use super::Outcome;
use super::client::{self, ClientArgs};
use super::escape::Escaped;
use super::key_value::KeyValue;
use input::Source;
use line::LineFormat;

const EXAMPLES: &str = "\
Examples:
  echo hello | corelane produce orders
  corelane produce orders --file orders.csv --compression zstd
  printf 'k1:v1\\nk2:v2\\n' | corelane produce orders --key-separator :
  corelane consume orders --key-separator '\\t' --null-marker NULL \\
    | corelane produce copy --key-separator '\\t' --null-marker NULL";

/// Most that a batch of records may take: far below the largest request that a server reads by default.
const BATCH_SIZE_BYTES_MAX: u64 = 64 << 20;

/// Sends a record for each line of standard input, or of a file.
///
/// A record counts as delivered when the server has acknowledged it: once it is durable, with the server's defaults. With
/// --acks all (the default) a record is never stored twice, whatever has to be sent again. If a line could not be
/// delivered, the command says which and exits with 1.
///
/// Records with a key go to the partition that Kafka's Java client would choose; records without take turns.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProduceArgs {
    /// The topic. A server that creates topics by itself creates it.
    topic: String,
    /// Read this file instead of standard input.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Lines are a key, this, and a value; every line must have it. \t, \xHH and the like are escapes.
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = separator)]
    key_separator: Option<Escaped>,
    /// The key of every record.
    #[arg(long, short, value_name = "KEY", conflicts_with = "key_separator")]
    key: Option<String>,
    /// A key or value with exactly this text is null (a value that is null deletes its key from a compacted topic).
    #[arg(long, short = 'Z', value_name = "TEXT")]
    null_marker: Option<String>,
    /// A header of every record. May be repeated, with the same key too.
    #[arg(long = "header", short = 'H', value_name = "KEY=VALUE")]
    headers: Vec<KeyValue>,
    /// Send every record to this partition.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Compress batches: none, gzip, snappy, lz4 or zstd.
    #[arg(long, short = 'z', value_name = "CODEC", default_value = "none")]
    compression: Compression,
    /// Who must have a record before it counts as delivered.
    #[arg(long, value_enum, default_value_t = Acks::All)]
    acks: Acks,
    /// Largest batch before compression; lines that wait for a batch's answer make up the next one.
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = batch_size_bytes)]
    batch_size: usize,
    #[command(flatten)]
    client: ClientArgs,
}

/// Who must have a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Acks {
    /// Nobody: sent is delivered.
    #[value(name = "0")]
    None,
    /// The partition's leader.
    #[value(name = "1")]
    Leader,
    /// Every replica that is in sync.
    #[value(name = "all", alias = "-1")]
    All,
}

impl From<Acks> for corelane_net::client::Acks {
    fn from(acks: Acks) -> Self {
        match acks {
            Acks::None => Self::None,
            Acks::Leader => Self::Leader,
            Acks::All => Self::All,
        }
    }
}

fn separator(text: &str) -> Result<Escaped, String> {
    match text.parse::<Escaped>() {
        Ok(Escaped(bytes)) if bytes.is_empty() => Err("the separator must not be empty".to_owned()),
        outcome => outcome.map_err(|error| error.to_string()),
    }
}

fn batch_size_bytes(text: &str) -> Result<usize, String> {
    match parse_size_bytes(text) {
        Ok(0) => Err("must be more than 0".to_owned()),
        Ok(size) if size > BATCH_SIZE_BYTES_MAX => Err("must be at most 64MiB".to_owned()),
        Ok(size) => Ok(size as usize),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs the command.
pub(crate) fn run(arguments: ProduceArgs) -> anyhow::Result<Outcome> {
    let source = arguments.file.clone().map_or(Source::Stdin, Source::File);
    let format = LineFormat {
        key_separator: arguments.key_separator.clone().map(|Escaped(bytes)| bytes),
        key: arguments.key.clone().map(String::into_bytes),
        null_marker: arguments.null_marker.clone().map(String::into_bytes),
    };
    // A file that is not there is found out before a server is asked for anything.
    let input = input::start(&source, format)?;
    client::run(deliver::run(arguments, input))
}
