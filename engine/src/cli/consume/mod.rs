//! `corelane consume`: prints the records of a topic.

mod alone;
mod fetcher;
mod in_group;
mod plan;
mod printer;
mod reader;
mod start;
mod template;

use std::time::Duration;

use clap::Args;
use corelane_engine::config::units::parse_duration_ms;

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
  corelane consume orders --group reports --follow
  corelane consume orders --group reports --count 100 --from latest
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
///
/// With --group the partitions are shared with the group's other members, and reading goes on where the group stopped:
/// records that were written out are committed, so that after a crash some may come again and none is left out. --from
/// then says where to start in a partition where the group never was. End it with Ctrl-C or SIGTERM.
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
    /// The same as --from earliest.
    #[arg(long, conflicts_with = "from")]
    from_beginning: bool,
    /// Read as a member of this group.
    #[arg(long, short, value_name = "NAME")]
    group: Option<String>,
    /// A lasting name for this member: who comes back with it in time gets the same partitions, without a rebalance.
    #[arg(long, value_name = "NAME", requires = "group")]
    group_instance_id: Option<String>,
    /// After so long without a sign of life the others get this member's partitions.
    #[arg(long, value_name = "TIME", requires = "group", default_value = "45s", value_parser = duration)]
    session_timeout: Duration,
    /// How often what was written out is committed; it is at the end, too.
    #[arg(long, value_name = "TIME", requires = "group", default_value = "5s", value_parser = duration)]
    commit_interval: Duration,
    /// Only this partition. May be repeated.
    #[arg(long = "partition", short, value_name = "N", conflicts_with = "group", value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// Go on waiting for records at the end.
    #[arg(long, short)]
    follow: bool,
    /// End after so many records.
    #[arg(long, short, value_name = "N", visible_alias = "max-messages")]
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
    if arguments.group.is_some() {
        in_group::run(arguments)
    } else {
        client::run(alone::run(arguments))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let ms = parse_duration_ms(text).map_err(|error| error.to_string())?;
    if ms == 0 {
        return Err("it must be more than nothing".to_owned());
    }
    Ok(Duration::from_millis(ms))
}
