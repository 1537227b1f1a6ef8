//! The arguments as clap reads them. What they mean together is [`super::plan`]'s business.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::campaigns::{
    COMPARE_EXAMPLES, CompareArgs, FIND_MAX_EXAMPLES, FindMaxArgs, NullServerArgs, REPLAY_EXAMPLES,
    ReplayArgs, SWEEP_EXAMPLES, SweepArgs,
};
use super::cores::CoreList;
use super::quantity::{
    parse_duration, parse_positive_duration, parse_rate, parse_share, parse_size,
};
use crate::load::payload::FillerKind;

/// Measures a Kafka-compatible broker under load, and checks that it kept what it acknowledged.
#[derive(Debug, Parser)]
#[command(
    name = "corelane-loadgen",
    version,
    after_help = "Durations take a unit (500ms, 10s, 2m), sizes may (100, 64KiB, 1MB), rates may (1000, 250k, 1.5M)."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Produce and consume, measure, verify, and report.
    ///
    /// Without --rate the loop is closed: each producer sends as soon as its in-flight window has room, which finds the
    /// throughput, and the latencies are those of a system that slows down its own load. With --rate the loop is open:
    /// batches are due on a fixed schedule and their latency counts from the time they were meant to go, so a stall
    /// shows in every batch it held up.
    ///
    /// Every record carries its producer, its sequence and a checksum. The run ends with the count of records that
    /// were acknowledged and lost, duplicated, reordered or corrupt, and fails if there are any.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),

    /// Find the highest rate that meets a latency objective.
    ///
    /// Bisects between rates that meet it and rates that do not, each run --duration long, then confirms the answer with a
    /// longer run. A run meets the objective when every --slo holds, at least 98 % of the rate was taken, verification
    /// found nothing, and the generator kept to its schedule. All options of `run` apply.
    #[command(after_help = FIND_MAX_EXAMPLES)]
    FindMax(Box<FindMaxArgs>),

    /// Measure latency over throughput: one run at each of several rates.
    #[command(after_help = SWEEP_EXAMPLES)]
    Sweep(Box<SweepArgs>),

    /// Measure what readers from the beginning do to a load: the load alone, then the same while they replay.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Box<ReplayArgs>),

    /// Hold two sets of results against each other and judge.
    ///
    /// Each set is the JSON of `run`, best of `run --repeat N`; several files of a set are separated by commas. Prints
    /// medians, their ratio with a 95 % bootstrap interval, and Mann-Whitney's p.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),

    /// Serve as a broker that acknowledges without storing.
    ///
    /// What a run reaches against it is the generator's own limit: a claim about a broker should stay below two thirds
    /// of it. Prints `ready HOST:PORT` and serves until it is told to stop. `run --spawn-null` starts one by itself.
    NullServer(NullServerArgs),
}

const RUN_EXAMPLES: &str = "\
Examples:
  corelane-loadgen run --spawn
      Start a server on a temporary folder, load it as fast as it goes, report, clean up.
  corelane-loadgen run --bootstrap localhost:9092 --rate 200k --record-size 100 --duration 60s
      Latency of any Kafka-compatible broker at 200,000 records a second.
  corelane-loadgen run --bootstrap localhost:9092 --batch-records 1 --in-flight 1 --producers 1 --consumers 1
      What one unbatched, synchronous producer sees.
  corelane-loadgen run --spawn --topic-config flush.messages=100000 --json result.json --hgrm result.hgrm
      Acknowledged before the flush; results for programs and plotters.

  corelane-loadgen run --spawn --repeat 5 --limits --json result.json --html result.html --hlog result.hlog
      Five runs, this machine's limits, and everything a report can hold.
  corelane-loadgen run --spawn --consumers 2 --group readers
      Consume as members of a group, with heartbeats and commits.
  corelane-loadgen run --spawn-null
      The generator's own limit: a server that acknowledges without storing.
  corelane-loadgen run --spawn --rate 100k --schedule poisson --fan-out 3 --slow-consumers 1 --key-skew 1.1
      Arrivals as of many users, hot partitions, three sets of consumers, and one more that cannot keep up.

Exit status: 0 when the run completed, verification found nothing and the numbers are valid; 1 when it failed; 2 for
wrong arguments; 3 when nothing is wrong with the broker, but the numbers are not valid (the generator lagged behind
its schedule).";

/// The shape of the load over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Schedule {
    /// Evenly spaced.
    Constant,
    /// Independent of each other, as the requests of many users are.
    Poisson,
    /// From --ramp-from to --rate, over warm-up and measurement.
    Ramp,
    /// All load of each --burst-period within its first part, --burst-duty.
    Burst,
}

impl Schedule {
    /// As the command line writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
            Self::Ramp => "ramp",
            Self::Burst => "burst",
        }
    }
}

/// Which acknowledgment producers wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    /// None: the broker does not answer.
    #[value(name = "0")]
    None,
    /// The leader's.
    #[value(name = "1")]
    Leader,
    /// That of all in-sync replicas.
    #[value(name = "all", alias = "-1")]
    All,
}

impl Acks {
    /// As the Kafka protocol writes it.
    pub fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }

    /// As the command line writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        }
    }
}

/// Which protocol to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Kafka's, that of every Kafka-compatible broker.
    Kafka,
    /// Corelane's own (not available yet).
    Native,
}

/// Whether the topic is read back at the end of a run without consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReadBack {
    /// When it is at most 1 GiB.
    Auto,
    /// Always, whatever it takes.
    Always,
    /// Never: loss is then not looked for.
    Never,
}

/// The arguments of `run`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct RunArgs {
    /// Brokers to start from, comma-separated [default: 127.0.0.1:9092]
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        conflicts_with_all = ["spawn", "spawn_null"],
        help_heading = "Target"
    )]
    pub bootstrap: Vec<String>,

    /// Start a server on a temporary folder, run against it, then stop it and remove the folder
    #[arg(long, help_heading = "Target")]
    pub spawn: bool,

    /// Start a server that acknowledges without storing, to find the generator's own limit: no consumers, no
    /// verification
    #[arg(long, conflicts_with = "spawn", help_heading = "Target")]
    pub spawn_null: bool,

    /// The `corelane` binary for --spawn [default: the one beside this program]
    #[arg(long, value_name = "FILE", requires = "spawn", help_heading = "Target")]
    pub server: Option<PathBuf>,

    /// Where --spawn makes its temporary folder; a real disk, if the numbers are to mean anything
    /// [default: ./target, else the current directory]
    #[arg(long, value_name = "DIR", requires = "spawn", help_heading = "Target")]
    pub spawn_dir: Option<PathBuf>,

    /// Cores of the spawned server [default: the first half of those available]
    #[arg(
        long,
        value_name = "LIST",
        conflicts_with = "bootstrap",
        help_heading = "Target"
    )]
    pub server_cores: Option<CoreList>,

    /// A further argument for the spawned server, as --server-arg=--set=num.partitions=4 (repeatable)
    #[arg(
        long,
        value_name = "ARG",
        requires = "spawn",
        allow_hyphen_values = true,
        help_heading = "Target"
    )]
    pub server_arg: Vec<String>,

    /// Which protocol to speak
    #[arg(long, value_enum, default_value = "kafka", help_heading = "Target")]
    pub protocol: Protocol,

    /// The topic; made if it is absent, and then deleted afterwards [default: a fresh name]
    #[arg(long, value_name = "NAME", help_heading = "Topic")]
    pub topic: Option<String>,

    /// Partitions of the topic [default: 4, or what the topic has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Topic")]
    pub partitions: Option<u32>,

    /// A config for the topic that is made, by Kafka's name, as flush.messages=1 (repeatable)
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Topic")]
    pub topic_config: Vec<String>,

    /// Leave the topic there afterwards
    #[arg(long, help_heading = "Topic")]
    pub keep_topic: bool,

    /// Bytes of each record's value, at least 32
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = parse_size, help_heading = "Load")]
    pub record_size: usize,

    /// Largest batch, all included; as many records go into each as fit, at least one
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = parse_size, help_heading = "Load")]
    pub batch_size: usize,

    /// Records in each batch, instead of --batch-size; 1 is unbatched
    #[arg(long, value_name = "N", conflicts_with = "batch_size",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Load")]
    pub batch_records: Option<u32>,

    /// Producers; each has partitions of its own as far as there are enough
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Load")]
    pub producers: u32,

    /// Consumers, which share the partitions; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(0..=100_000), help_heading = "Load")]
    pub consumers: u32,

    /// Records a second of all producers together, on a fixed schedule (open loop) [default: as fast as it goes]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, help_heading = "Load")]
    pub rate: Option<f64>,

    /// How the rate is spread over time
    #[arg(
        long,
        value_enum,
        default_value = "constant",
        requires_if("poisson", "rate"),
        requires_if("ramp", "rate"),
        requires_if("burst", "rate"),
        help_heading = "Load"
    )]
    pub schedule: Schedule,

    /// Records a second at the start of a ramp
    #[arg(long, value_name = "RATE", default_value = "1", value_parser = parse_rate, help_heading = "Load")]
    pub ramp_from: f64,

    /// How often bursts begin
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_positive_duration, help_heading = "Load")]
    pub burst_period: Duration,

    /// The part of the period in which all of its load comes, above 0 and up to 1
    #[arg(long, value_name = "PART", default_value = "0.1", value_parser = parse_share, help_heading = "Load")]
    pub burst_duty: f64,

    /// What records are filled with
    #[arg(long, value_enum, default_value = "random", help_heading = "Load")]
    pub payload: FillerKind,

    /// Load the partitions as keys of a Zipf distribution with this exponent would; 0 is even
    #[arg(long, value_name = "EXPONENT", value_parser = parse_exponent, help_heading = "Load")]
    pub key_skew: Option<f64>,

    /// How many keys that distribution has
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "key_skew",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "Load")]
    pub keys: u32,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_positive_duration, help_heading = "Load")]
    pub duration: Duration,

    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration, help_heading = "Load")]
    pub warmup: Duration,

    /// Which acknowledgment to wait for
    #[arg(long, value_enum, default_value = "all", help_heading = "Load")]
    pub acks: Acks,

    /// Batches each connection may have unanswered
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Load")]
    pub in_flight: u32,

    /// Connections each producer and each consumer opens to each broker that leads partitions of its own
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = "Load")]
    pub connections: u32,

    /// Consume as members of this group: joining, heartbeats and commits each second, partitions as the group assigns
    /// them
    #[arg(long, value_name = "GROUP", help_heading = "Readers")]
    pub group: Option<String>,

    /// Sets of consumers, each of which reads and verifies the whole topic
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = "Readers")]
    pub fan_out: u32,

    /// Further consumers, which share the partitions and read no faster than --slow-rate
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(0..=100_000), help_heading = "Readers")]
    pub slow_consumers: u32,

    /// Records a second of each slow consumer
    #[arg(long, value_name = "RATE", default_value = "1000", value_parser = parse_rate, help_heading = "Readers")]
    pub slow_rate: f64,

    /// Further consumers, which share the partitions and read them from the beginning again and again
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(0..=100_000), help_heading = "Readers")]
    pub replay: u32,

    /// Most bytes a consumer asks for at once
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = parse_size, help_heading = "Readers")]
    pub fetch_size: usize,

    /// Cores the generator runs on, one thread each [default: those the server does not use]
    #[arg(long, value_name = "LIST", help_heading = "Generator")]
    pub cores: Option<CoreList>,

    /// Poll this long before sleeping: sharper timing for a whole core's use; not on cores shared with the server
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration, help_heading = "Generator")]
    pub spin: Duration,

    /// Without consumers, read the topic back at the end to look for loss
    #[arg(long, value_enum, default_value = "auto", default_missing_value = "always", num_args = 0..=1,
          require_equals = true, value_name = "WHEN", help_heading = "Generator")]
    pub verify: ReadBack,

    /// How long consumers may take to catch up after the last record was sent
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration, help_heading = "Generator")]
    pub drain: Duration,

    /// Run so many times; the JSON then holds all of them, for `compare`
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = "Output")]
    pub repeat: u32,

    /// Measure this machine's limits first (loopback, durable writes; two seconds) and report them too
    #[arg(long, help_heading = "Output")]
    pub limits: bool,

    /// Show a line a second instead of a live view, on a terminal too
    #[arg(long, help_heading = "Output")]
    pub no_dashboard: bool,

    /// Write a report as one HTML page with plots
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,

    /// Write an HDR interval log, one histogram a second, in milliseconds
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub hlog: Option<PathBuf>,

    /// Write the results as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,

    /// Write the acknowledgment latencies as HDR percentiles in microseconds; with consumers the end-to-end
    /// latencies go beside it, as NAME.end-to-end.EXT
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub hgrm: Option<PathBuf>,
}

/// Reads the exponent of a Zipf distribution.
fn parse_exponent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(exponent) if (0.0..=10.0).contains(&exponent) => Ok(exponent),
        Ok(_) | Err(_) => Err("an exponent is a number from 0 to 10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// Each line: arguments, and a part of what clap says, or `ok`.
    #[test]
    fn arguments() {
        let table = "
            --spawn                                       | ok
            --bootstrap a:1,b:2 --topic t --rate 250k     | ok
            --verify=never --consumers 0                  | ok
            --verify --duration 1s                        | ok
            --acks 0                                      | ok
            --acks all                                    | ok
            --server-arg=--set=x=y --spawn                | ok
            --cores 0,2-5 --batch-records 1               | ok
            --spawn-null --server-cores 0                 | ok
            --rate 1k --schedule burst --burst-duty 0.5   | ok
            --key-skew 1.2 --keys 100 --fan-out 3         | ok
            --keys 100                                    | required arguments were not provided
            --burst-duty 1.5                              | above 0 and up to 1
            --key-skew -1                                 | unexpected argument
            --key-skew=-1                                 | from 0 to 10
            --spawn --spawn-null                          | cannot be used with
            --acks 2                                      | possible values: 0, 1, all
            --spawn --bootstrap a:1                       | cannot be used with
            --batch-records 1 --batch-size 64KiB          | cannot be used with
            --server ./x                                  | required arguments were not provided
            --duration 10                                 | has no unit
            --duration 0s                                 | must be more than zero
            --record-size 10K                             | is no unit here
            --producers 0                                 | is not in 1..=100000
            --cores 5-2                                   | ends before it starts
            --rate 0                                      | must be more than zero
            --rate fast                                   | does not start with a number
            --protocol amqp                               | possible values: kafka, native
        ";
        for line in table.lines().filter(|line| line.contains('|')) {
            let (given, expected) = line.split_once('|').unwrap();
            let arguments = ["corelane-loadgen", "run"]
                .into_iter()
                .chain(given.split_whitespace());
            match (Cli::try_parse_from(arguments), expected.trim()) {
                (Ok(_), "ok") => {}
                (Ok(_), expected) => panic!("{given} was taken, expected {expected:?}"),
                (Err(error), expected) => {
                    let message = error.to_string();
                    assert!(
                        expected != "ok" && message.contains(expected),
                        "{given}: {message}"
                    );
                }
            }
        }
    }
}
