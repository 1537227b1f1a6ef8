//! `corelane consume`: prints the records of a topic.

mod fetcher;
mod plan;
mod printer;
mod start;
mod supervisor;
mod template;

use clap::Args;

use super::Outcome;
use super::client::{self, ClientArgs};
use super::escape::Escaped;
use start::StartFrom;
use template::Template;

const EXAMPLES: &str = "\
Examples:
  corelane consume orders
  corelane consume orders --from latest --follow
  corelane consume orders --from -10 --partition 0 --json
  corelane consume orders --from timestamp:1767225600000 --count 100
  corelane consume orders --format '%p:%o %T %k=%s\\n'

What a format may hold:
  %t topic        %p partition     %o offset       %T timestamp in ms
  %k key          %s value         %h headers as KEY=VALUE,...
  %K its length   %S its length    %% a percent sign
  \\n \\r \\t \\0 \\\\ \\xHH               single bytes";

/// Prints the records of a topic, up to its present end.
///
/// A value a line, as it is; other formats, or a JSON object a line with everything, on request. In JSON, what
/// is no UTF-8 stands as base64, under its name with _base64 behind it. The order is that of each partition.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConsumeArgs {
    /// The topic.
    topic: String,
    /// Where to start: earliest, latest, an offset, -N for the last N records of each partition, or timestamp:MS for the
    /// first record at or after that time.
    #[arg(
        long,
        short = 'o',
        value_name = "POSITION",
        default_value = "earliest",
        allow_hyphen_values = true
    )]
    from: StartFrom,
    /// Only this partition. May be repeated.
    #[arg(long = "partition", short, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// Go on waiting for records at the end.
    #[arg(long, short)]
    follow: bool,
    /// End after so many records.
    #[arg(long, short, value_name = "N")]
    count: Option<u64>,
    /// How to print a record; see below.
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<Template>,
    /// Print a key, this, and the value: what produce reads with the same option. \t, \xHH and the like are escapes.
    #[arg(long, short = 'K', value_name = "TEXT", conflicts_with_all = ["json", "format"])]
    key_separator: Option<Escaped>,
    /// What to print for a key or value that is null.
    #[arg(
        long,
        short = 'Z',
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "json"
    )]
    null_marker: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Runs the command.
pub(crate) fn run(arguments: ConsumeArgs) -> anyhow::Result<Outcome> {
    client::run(supervisor::run(arguments))
}
