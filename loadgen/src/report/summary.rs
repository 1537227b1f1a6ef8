//! The result of a run, as JSON holds it. Latencies are in microseconds, and are `null` where nothing was recorded.

use serde::Serialize;

use super::histogram::{LatencyHistogram, LatencySummary};
use super::host::Host;
use super::limits::Limits;
use super::measure::{Flow, Measurement};
use super::timeline::{Point, Timeline};
use crate::cli::plan::{Plan, Target};
use crate::verify::ledger::Balance;

/// Names the shape of the JSON; raised when a field changes its meaning.
pub const SCHEMA: &str = "corelane-loadgen/run/1";

/// The shape of the JSON of several runs of one plan: `schema`, and `runs`, each as [`SCHEMA`] says.
pub const RUNS_SCHEMA: &str = "corelane-loadgen/runs/1";

/// A run whose p99 schedule lag exceeds this part of its p99 latency did not offer the load it claims.
const LAG_SHARE_MAX: f64 = 0.1;

/// Whether latencies count from a schedule or from the sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// On an absolute schedule; latency counts from the intended time.
    Open,
    /// As fast as the in-flight window allows; latency counts from the sending.
    Closed,
}

/// The whole result.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Open or closed loop.
    pub mode: Mode,
    /// The run was cut short.
    pub interrupted: bool,
    /// Whether the numbers are what the settings claim.
    pub valid: bool,
    /// Why not, and what else to mind.
    pub remarks: Vec<String>,
    /// What was asked for.
    pub settings: Settings,
    /// When.
    pub window: WindowSummary,
    /// What producers measured.
    pub produced: Produced,
    /// What consumers measured.
    pub consumed: Consumed,
    /// Whether what was acknowledged came back.
    pub verification: Verification,
    /// How busy the two sides were.
    pub processors: Processors,
    /// The machine.
    pub host: Host,
    /// What it can do at best; `null` without --limits.
    pub limits: Option<Limits>,
    /// Second by second.
    pub timeline: Vec<Point>,
    /// The whole distributions, for plots.
    pub curves: Curves,
}

/// A distribution: (quantile from 0 to 1, microseconds), ascending.
pub type Curve = Vec<(f64, f64)>;

/// The distributions.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Curves {
    /// To the acknowledgment.
    pub ack: Curve,
    /// To the consumer.
    pub end_to_end: Curve,
    /// From the sending to the acknowledgment.
    pub service_time: Curve,
}

/// What was asked for, after defaults.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// The brokers; those of the spawned server.
    pub bootstrap: Vec<String>,
    /// Whether the server was started for this run.
    pub spawned: bool,
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// Its configs.
    pub topic_configs: Vec<String>,
    /// Producers.
    pub producers: u32,
    /// Consumers.
    pub consumers: u32,
    /// Connections of each to each broker.
    pub connections: u32,
    /// The group of the consumers; `null` without one.
    pub group: Option<String>,
    /// Sets of consumers, each of which reads the whole topic.
    pub fan_out: u32,
    /// Consumers that cannot keep up.
    pub slow_consumers: u32,
    /// Consumers that read from the beginning.
    pub replay_consumers: u32,
    /// Unanswered batches on each connection.
    pub in_flight: u32,
    /// Bytes of a record's value.
    pub record_size_bytes: usize,
    /// Records in a batch.
    pub batch_records: u32,
    /// Bytes of a batch.
    pub batch_size_bytes: usize,
    /// `0`, `1` or `all`.
    pub acks: &'static str,
    /// Records a second; `null` in a closed loop.
    pub rate: Option<f64>,
    /// How that is spread over time.
    pub schedule: &'static str,
    /// What records are filled with.
    pub payload: &'static str,
    /// The exponent of the keys' distribution; `null` is evenly over partitions.
    pub key_skew: Option<f64>,
    /// A server that stores nothing: these are the generator's own limits.
    pub null_server: bool,
    /// `kafka`.
    pub protocol: &'static str,
    /// The generator's cores.
    pub cores: String,
    /// The spawned server's cores.
    pub server_cores: Option<String>,
}

/// When the measured window was.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WindowSummary {
    /// Wall clock at its start, in milliseconds since 1970.
    pub started_at_unix_ms: u64,
    /// Seconds before it.
    pub warmup_s: f64,
    /// Its seconds.
    pub duration_s: f64,
    /// Seconds consumers took to catch up after it.
    pub drain_s: f64,
}

/// How even the seconds of the window were, in records a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Whole seconds.
    pub seconds: usize,
    /// The slowest.
    pub min: u64,
    /// The middle one.
    pub median: u64,
    /// The fastest.
    pub max: u64,
    /// Standard deviation over mean.
    pub variation: f64,
}

/// What producers measured.
#[derive(Debug, Clone, Serialize)]
pub struct Produced {
    /// Records acknowledged in the window (with acks=0: sent).
    pub records: u64,
    /// The bytes of their values.
    pub bytes: u64,
    /// Over the window.
    pub records_per_second: f64,
    /// Over the window.
    pub bytes_per_second: f64,
    /// Second by second.
    pub spread: Spread,
    /// From the intended time (open loop) or the sending (closed) to the acknowledgment.
    pub ack_latency_us: LatencySummary,
    /// From the sending to the acknowledgment.
    pub service_time_us: LatencySummary,
    /// From the intended time to the sending.
    pub schedule_lag_us: LatencySummary,
    /// Records due in the window and never sent.
    pub unsent_records: u64,
    /// Records refused or in doubt, in the whole run.
    pub failed_records: u64,
    /// The errors that came with them, the first of each kind.
    pub errors: Vec<String>,
}

/// What consumers measured.
#[derive(Debug, Clone, Serialize)]
pub struct Consumed {
    /// Records received in the window.
    pub records: u64,
    /// The bytes of their values.
    pub bytes: u64,
    /// Over the window.
    pub records_per_second: f64,
    /// Over the window.
    pub bytes_per_second: f64,
    /// Second by second.
    pub spread: Spread,
    /// From the intended time (open loop) or the sending (closed) to the arrival at the consumer.
    pub end_to_end_latency_us: LatencySummary,
    /// From the end of the window to the arrival, of what arrived after it.
    pub drain_us: LatencySummary,
    /// Records a second that slow consumers read; not part of the above.
    pub slow_records_per_second: f64,
    /// Records a second that replaying consumers read; not part of the above.
    pub replayed_records_per_second: f64,
    /// Their bytes.
    pub replayed_bytes_per_second: f64,
    /// The errors consumers met, the first of each kind.
    pub errors: Vec<String>,
}

/// How the topic was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// By the run's consumers, to the end.
    Consumers,
    /// At the end of the run.
    ReadBack,
    /// Not at all.
    None,
}

/// Whether what was acknowledged came back. `null` is "not looked at", never zero.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// How the topic was read.
    pub method: Method,
    /// Nothing was lost, doubled, reordered or damaged, as far as was looked at.
    pub clean: bool,
    /// Records sent in the whole run, whatever became of them.
    pub sent: u64,
    /// Records acknowledged in the whole run.
    pub acknowledged: u64,
    /// Distinct records seen.
    pub seen: Option<u64>,
    /// Acknowledged and never seen.
    pub lost: Option<u64>,
    /// Seen again.
    pub duplicated: Option<u64>,
    /// Seen after a later one.
    pub reordered: Option<u64>,
    /// Damaged, misplaced or never sent.
    pub corrupt: Option<u64>,
    /// Others' records in the topic.
    pub foreign: Option<u64>,
    /// The first few gaps, and why anything is `null`.
    pub notes: Vec<String>,
}

/// How busy the processors were during the window.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Processors {
    /// Each load core's busy share, 0 to 1.
    pub generator_busy: Vec<f64>,
    /// CPU seconds of the spawned server.
    pub server_cpu_s: Option<f64>,
    /// The same for each record produced, in nanoseconds.
    pub server_cpu_ns_per_record: Option<f64>,
}

/// What a run leaves to be summed up.
#[derive(Debug)]
pub struct Outcome {
    /// All cores together.
    pub measurement: Measurement,
    /// The balance of the books.
    pub balance: Balance,
    /// How it was made.
    pub method: Method,
    /// What the balance does not say by itself.
    pub notes: Vec<String>,
    /// Producers' errors.
    pub produce_errors: Vec<String>,
    /// Consumers' errors.
    pub consume_errors: Vec<String>,
    /// The brokers that were used.
    pub bootstrap: Vec<String>,
    /// The topic's partitions.
    pub partitions: u32,
    /// When.
    pub window: WindowSummary,
    /// How busy.
    pub processors: Processors,
    /// The run was cut short.
    pub interrupted: bool,
    /// Second by second.
    pub timeline: Timeline,
    /// The machine.
    pub host: Host,
    /// What it can do at best.
    pub limits: Option<Limits>,
}

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it should be.
    Sound,
    /// The run was cut short, or something was lost, refused or damaged.
    Failed,
    /// Nothing is wrong with the broker, but the numbers are not what the settings claim.
    Invalid,
}

impl Verdict {
    /// The worst of several runs has the most.
    pub fn gravity(self) -> u8 {
        match self {
            Self::Sound => 0,
            Self::Invalid => 1,
            Self::Failed => 2,
        }
    }

    /// As the process ends with it.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Sound => 0,
            Self::Failed => 1,
            Self::Invalid => 3,
        }
    }
}

impl Summary {
    /// Sums up a run.
    pub fn new(plan: &Plan, outcome: &Outcome) -> Self {
        let measured = &outcome.measurement;
        let mode = if plan.rate.is_some() {
            Mode::Open
        } else {
            Mode::Closed
        };
        let seconds = outcome.window.duration_s.max(f64::MIN_POSITIVE);
        let produced = Produced {
            records: measured.produced.in_window.records,
            bytes: measured.produced.in_window.bytes,
            records_per_second: measured.produced.in_window.records as f64 / seconds,
            bytes_per_second: measured.produced.in_window.bytes as f64 / seconds,
            spread: spread(&measured.produced),
            ack_latency_us: measured.ack_latency.summary(),
            service_time_us: measured.service_time.summary(),
            schedule_lag_us: measured.schedule_lag.summary(),
            unsent_records: measured.unsent_records,
            failed_records: measured.failed_records,
            errors: outcome.produce_errors.clone(),
        };
        let consumed = Consumed {
            records: measured.consumed.in_window.records,
            bytes: measured.consumed.in_window.bytes,
            records_per_second: measured.consumed.in_window.records as f64 / seconds,
            bytes_per_second: measured.consumed.in_window.bytes as f64 / seconds,
            spread: spread(&measured.consumed),
            end_to_end_latency_us: measured.end_to_end.summary(),
            drain_us: measured.drain.summary(),
            slow_records_per_second: measured.slow.in_window.records as f64 / seconds,
            replayed_records_per_second: measured.replayed.in_window.records as f64 / seconds,
            replayed_bytes_per_second: measured.replayed.in_window.bytes as f64 / seconds,
            errors: outcome.consume_errors.clone(),
        };
        let faults = faults(mode, outcome);
        let mut remarks = faults.clone();
        if matches!(&plan.target, Target::Spawn(spawn) if spawn.null) {
            remarks.push(
                "the server stores nothing: this is the generator's own limit; claims about a broker should stay below two thirds of it"
                    .to_owned(),
            );
        }
        let shared = plan.shared_cores();
        if !shared.is_empty() {
            remarks.push(format!(
                "server and generator share core {}: they slow each other down",
                list(&shared)
            ));
        }
        Self {
            schema: SCHEMA,
            mode,
            interrupted: outcome.interrupted,
            valid: faults.is_empty(),
            remarks,
            settings: settings(plan, outcome),
            window: outcome.window.clone(),
            produced,
            consumed,
            verification: verification(outcome),
            processors: outcome.processors.clone(),
            host: outcome.host.clone(),
            limits: outcome.limits.clone(),
            timeline: outcome.timeline.points().to_vec(),
            curves: Curves {
                ack: measured.ack_latency.curve(),
                end_to_end: measured.end_to_end.curve(),
                service_time: measured.service_time.curve(),
            },
        }
    }

    /// What the run comes to.
    pub fn verdict(&self) -> Verdict {
        match (self.succeeded(), self.valid) {
            (false, _) => Verdict::Failed,
            (true, false) => Verdict::Invalid,
            (true, true) => Verdict::Sound,
        }
    }

    /// Whether the run did what it was asked to, and nothing was lost.
    pub fn succeeded(&self) -> bool {
        !self.interrupted
            && self.verification.clean
            && self.produced.failed_records == 0
            && self.consumed.errors.is_empty()
    }
}

/// Why the numbers are not what the settings claim.
fn faults(mode: Mode, outcome: &Outcome) -> Vec<String> {
    let measured = &outcome.measurement;
    let mut faults = Vec::new();
    if outcome.interrupted {
        faults.push("the run was interrupted; the window is shorter than asked for".to_owned());
    }
    if mode == Mode::Open {
        // With acks=0 nothing is acknowledged.
        let acknowledged = measured.ack_latency.count() > 0;
        let latency = if acknowledged {
            &measured.ack_latency
        } else {
            &measured.end_to_end
        };
        faults.extend(lag_fault(measured, latency));
        if measured.unsent_records > 0 {
            faults.push(format!(
                "{} records were due and never sent",
                measured.unsent_records
            ));
        }
    }
    if measured.failed_records > 0 {
        faults.push(format!(
            "{} records were refused or are in doubt",
            measured.failed_records
        ));
    }
    if measured.produced.in_window.records == 0 {
        faults.push("nothing was produced within the window".to_owned());
    }
    faults
}

fn lag_fault(measured: &Measurement, latency: &LatencyHistogram) -> Option<String> {
    let (lag, latency) = (
        measured.schedule_lag.percentile_us(99.0)?,
        latency.percentile_us(99.0)?,
    );
    if lag <= latency * LAG_SHARE_MAX {
        return None;
    }
    let held_back = measured.held_back_batches as f64 / (measured.window_batches as f64).max(1.0);
    let cause = if measured.unsent_records > 0 {
        "the broker takes less than the rate, or --in-flight is too small".to_owned()
    } else if held_back > 0.01 {
        format!(
            "{:.0} % of the batches found the in-flight window full: the broker is slow at times, or --in-flight is too small",
            held_back * 100.0
        )
    } else {
        "the generator itself was late: give it more --cores, larger batches, or --spin".to_owned()
    };
    Some(format!(
        "schedule lag p99 of {lag:.0} us exceeds a tenth of the latency p99 of {latency:.0} us; {cause}"
    ))
}

fn settings(plan: &Plan, outcome: &Outcome) -> Settings {
    Settings {
        bootstrap: outcome.bootstrap.clone(),
        spawned: matches!(plan.target, Target::Spawn(_)),
        topic: plan.topic.name.clone(),
        partitions: outcome.partitions,
        topic_configs: plan
            .topic
            .configs
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect(),
        producers: plan.producers,
        consumers: plan.consumers,
        connections: plan.connections,
        group: plan.group.clone(),
        fan_out: plan.fan_out,
        slow_consumers: plan.slow_consumers,
        replay_consumers: plan.replay,
        in_flight: plan.in_flight,
        record_size_bytes: plan.record_size_bytes,
        batch_records: plan.batch_records,
        batch_size_bytes: plan.batch_size_bytes,
        acks: plan.acks.name(),
        rate: plan.rate,
        schedule: plan.schedule.name(),
        payload: plan.payload.name(),
        key_skew: plan.keys.map(|keys| keys.skew),
        null_server: matches!(&plan.target, Target::Spawn(spawn) if spawn.null),
        protocol: "kafka",
        cores: plan.cores.to_string(),
        server_cores: match &plan.target {
            Target::Spawn(spawn) => Some(spawn.cores.to_string()),
            Target::Brokers(_) => None,
        },
    }
}

fn verification(outcome: &Outcome) -> Verification {
    let balance = &outcome.balance;
    let gaps = balance.missing.iter().map(|gap| {
        let (producer, partition) = (gap.stream.producer, gap.stream.partition);
        format!(
            "partition {partition}, producer {producer}: {} to {} are missing",
            gap.first,
            gap.end - 1
        )
    });
    Verification {
        method: outcome.method,
        clean: balance.is_clean(),
        sent: balance.sent,
        acknowledged: balance.acknowledged,
        seen: balance.seen,
        lost: balance.lost,
        duplicated: balance.duplicated,
        reordered: balance.reordered,
        corrupt: balance.corrupt,
        foreign: balance.foreign,
        notes: outcome.notes.iter().cloned().chain(gaps).collect(),
    }
}

fn spread(flow: &Flow) -> Spread {
    let mut seconds = flow.per_second.clone();
    seconds.sort_unstable();
    let (Some(&min), Some(&max)) = (seconds.first(), seconds.last()) else {
        return Spread::default();
    };
    let count = seconds.len() as f64;
    let mean = seconds.iter().sum::<u64>() as f64 / count;
    let variance = seconds
        .iter()
        .map(|second| (*second as f64 - mean).powi(2))
        .sum::<f64>()
        / count;
    let variation = if mean > 0.0 {
        variance.sqrt() / mean
    } else {
        0.0
    };
    Spread {
        seconds: seconds.len(),
        min,
        median: seconds[seconds.len() / 2],
        max,
        variation,
    }
}

fn list(cores: &[usize]) -> String {
    cores
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
