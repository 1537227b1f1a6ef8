//! The arguments of the commands beside `run`: those that make several runs, that compare, and the null server's.

use std::time::Duration;

use clap::Args;

use super::args::RunArgs;
use super::cores::CoreList;
use super::objective::Objective;
use super::quantity::{parse_positive_duration, parse_rate, parse_share};

pub(super) const FIND_MAX_EXAMPLES: &str = "\
Examples:
  corelane-loadgen find-max --spawn --slo p99=5ms --duration 5s --html max.html
  corelane-loadgen find-max --bootstrap localhost:9092 --slo p99=5ms --slo e2e:p99.9=20ms --schedule poisson --rate 500k
      Two objectives at once, not above 500,000 records a second.

Exit status: 0 when a rate was found and confirmed, 1 otherwise, 2 for wrong arguments.";

pub(super) const SWEEP_EXAMPLES: &str = "\
Examples:
  corelane-loadgen sweep --spawn --duration 5s --json sweep.json --html sweep.html
      Ten rates up to nine tenths of what a closed loop reaches.
  corelane-loadgen sweep --bootstrap localhost:9092 --rates 10k,50k,100k,200k

Exit status: 0 when verification found nothing, 1 otherwise, 2 for wrong arguments. Rates that cannot be held are part of
the curve and marked invalid.";

pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  corelane-loadgen replay --spawn --rate 100k --duration 10s
  corelane-loadgen replay --spawn --rate 100k --replay 4 --slo-ratio 1.5
      Fails if the replay raises the acknowledgments' p99 to more than 1.5 times.

Exit status: 0 when both runs were sound, 1 otherwise, 2 for wrong arguments.";

pub(super) const COMPARE_EXAMPLES: &str = "\
Examples:
  corelane-loadgen run --spawn --repeat 5 --json before.json
  corelane-loadgen run --spawn --repeat 5 --json after.json
  corelane-loadgen compare before.json after.json --threshold 0.1

Exit status: 0 when nothing got worse, 1 when something did, 2 for wrong arguments, 3 when there are too few runs to say.";

/// The arguments of `find-max`.
#[derive(Debug, Args)]
pub struct FindMaxArgs {
    /// The load.
    #[command(flatten)]
    pub run: RunArgs,

    /// An objective, as p99=5ms or e2e:p99.9=20ms (repeatable)
    #[arg(
        long,
        value_name = "OBJECTIVE",
        required = true,
        help_heading = "Search"
    )]
    pub slo: Vec<Objective>,

    /// How near the rates that meet it and those that do not must come, as a part
    #[arg(long, value_name = "PART", default_value = "0.05", value_parser = parse_share, help_heading = "Search")]
    pub precision: f64,

    /// How long the confirming run measures [default: three times --duration]
    #[arg(long, value_name = "TIME", value_parser = parse_positive_duration, help_heading = "Search")]
    pub confirm: Option<Duration>,
}

/// The arguments of `sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The load.
    #[command(flatten)]
    pub run: RunArgs,

    /// The rates, comma-separated [default: --points of them]
    #[arg(long, value_name = "RATES", value_delimiter = ',', value_parser = parse_rate,
          conflicts_with_all = ["rate", "points"], help_heading = "Sweep")]
    pub rates: Vec<f64>,

    /// Rates, up to --rate or nine tenths of what a closed loop reaches
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Sweep")]
    pub points: u32,
}

/// The arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The load.
    #[command(flatten)]
    pub run: RunArgs,

    /// Fail if the acknowledgments' p99 rises to more than this many times
    #[arg(long, value_name = "RATIO", value_parser = parse_rate, help_heading = "Readers")]
    pub slo_ratio: Option<f64>,
}

/// The arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The first set: a file, or several separated by commas
    #[arg(value_name = "A.json")]
    pub base: String,

    /// The set that is judged
    #[arg(value_name = "B.json")]
    pub other: String,

    /// From which part on a difference counts
    #[arg(long, value_name = "PART", default_value = "0.05", value_parser = parse_share)]
    pub threshold: f64,
}

/// The arguments of `null-server`.
#[derive(Debug, Args)]
pub struct NullServerArgs {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 9092)]
    pub port: u16,

    /// Cores to run on [default: those available]
    #[arg(long, value_name = "LIST")]
    pub cores: Option<CoreList>,
}
