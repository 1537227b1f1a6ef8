//! Two sets of runs held against each other, from their JSON: which metrics got better or worse, and a verdict.
//!
//! A metric is *worse* when the whole 95 % interval of the ratio of medians lies beyond the threshold, and with five or
//! more runs on both sides also Mann-Whitney's p is below 0.05. With fewer than three runs on a side nothing is judged:
//! one run says nothing of its own noise.
//!
//! Pure.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::Value;

use super::statistics::{Ratio, mann_whitney_p, median, ratio_of_medians};
use crate::cli::quantity::{show_count, show_latency};

/// Fewer runs than this on a side are not judged.
const RUNS_MIN: usize = 3;

/// From so many runs on each side on, the test has a say: with fewer it cannot reach significance.
const TEST_RUNS_MIN: usize = 5;

/// The level of the test.
const SIGNIFICANCE: f64 = 0.05;

/// How a metric's numbers are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    PerSecond,
    Microseconds,
    Nanoseconds,
}

/// One number of a run's JSON.
struct Metric {
    name: &'static str,
    pointer: &'static str,
    unit: Unit,
}

const METRICS: [Metric; 10] = [
    metric("produced", "/produced/records_per_second", Unit::PerSecond),
    metric("consumed", "/consumed/records_per_second", Unit::PerSecond),
    metric(
        "ack p50",
        "/produced/ack_latency_us/p50",
        Unit::Microseconds,
    ),
    metric(
        "ack p99",
        "/produced/ack_latency_us/p99",
        Unit::Microseconds,
    ),
    metric(
        "ack p99.9",
        "/produced/ack_latency_us/p999",
        Unit::Microseconds,
    ),
    metric(
        "end-to-end p50",
        "/consumed/end_to_end_latency_us/p50",
        Unit::Microseconds,
    ),
    metric(
        "end-to-end p99",
        "/consumed/end_to_end_latency_us/p99",
        Unit::Microseconds,
    ),
    metric(
        "end-to-end p99.9",
        "/consumed/end_to_end_latency_us/p999",
        Unit::Microseconds,
    ),
    metric(
        "service time p99",
        "/produced/service_time_us/p99",
        Unit::Microseconds,
    ),
    metric(
        "server CPU a record",
        "/processors/server_cpu_ns_per_record",
        Unit::Nanoseconds,
    ),
];

const fn metric(name: &'static str, pointer: &'static str, unit: Unit) -> Metric {
    Metric {
        name,
        pointer,
        unit,
    }
}

/// What became of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Better than the threshold.
    Better,
    /// Worse than the threshold.
    Worse,
    /// Not beyond the threshold with confidence.
    Same,
    /// Too few runs to say.
    Unknown,
}

/// One metric of both sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    name: &'static str,
    unit: Unit,
    medians: (f64, f64),
    ratio: Ratio,
    p: f64,
    change: Change,
}

/// The whole comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    runs: (usize, usize),
    lines: Vec<Line>,
    remarks: Vec<String>,
}

/// Why two sets cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComparisonError {
    /// Not the JSON of a run, or of several.
    #[error("this is not the JSON of corelane-loadgen run: its schema is {got}")]
    Schema {
        /// What it says it is.
        got: String,
    },
    /// The two have no metric in common.
    #[error("the two have no metric in common")]
    Nothing,
}

/// The runs in one JSON document: one, or what `run --repeat` wrote.
pub fn runs_in(document: Value) -> Result<Vec<Value>, ComparisonError> {
    let schema = document["schema"].as_str().unwrap_or_default().to_owned();
    match (schema.as_str(), document) {
        (super::summary::SCHEMA, run) => Ok(vec![run]),
        (super::summary::RUNS_SCHEMA, Value::Object(mut object)) => match object.remove("runs") {
            Some(Value::Array(runs)) => Ok(runs),
            _ => Err(ComparisonError::Schema { got: schema }),
        },
        _ => Err(ComparisonError::Schema { got: schema }),
    }
}

impl Comparison {
    /// Holds `other` against `base`. A change counts from `threshold` on, as 0.05.
    pub fn new(base: &[Value], other: &[Value], threshold: f64) -> Result<Self, ComparisonError> {
        let mut remarks = Vec::new();
        for (name, runs) in [("A", base), ("B", other)] {
            let unsound = runs.iter().filter(|run| run["valid"] != true).count();
            if unsound > 0 {
                remarks.push(format!("{unsound} of the runs of {name} are not valid"));
            }
            let unclean = |run: &&Value| run["verification"]["clean"] != true;
            let unclean = runs.iter().filter(unclean).count();
            if unclean > 0 {
                remarks.push(format!(
                    "{unclean} of the runs of {name} failed verification"
                ));
            }
        }
        let settings = [
            "record_size_bytes",
            "batch_records",
            "producers",
            "consumers",
            "partitions",
            "in_flight",
            "acks",
            "rate",
            "schedule",
        ];
        for setting in settings {
            let of = |runs: &[Value]| runs.first().map(|run| run["settings"][setting].clone());
            let (in_base, in_other) = (of(base), of(other));
            if in_base != in_other {
                let show = |value: Option<Value>| value.unwrap_or_default().to_string();
                let (a, b) = (show(in_base), show(in_other));
                remarks.push(format!("{setting} differs: {a} in A, {b} in B"));
            }
        }
        let lines: Vec<Line> = METRICS
            .iter()
            .filter_map(|metric| line(metric, base, other, threshold))
            .collect();
        if lines.is_empty() {
            return Err(ComparisonError::Nothing);
        }
        Ok(Self {
            runs: (base.len(), other.len()),
            lines,
            remarks,
        })
    }

    /// Whether anything got worse.
    pub fn is_worse(&self) -> bool {
        self.has(Change::Worse)
    }

    /// Whether there were too few runs to say.
    pub fn is_unknown(&self) -> bool {
        self.has(Change::Unknown)
    }

    fn has(&self, change: Change) -> bool {
        self.lines.iter().any(|line| line.change == change)
    }

    /// As the process ends: 0 nothing got worse, 1 something did, 3 too few runs to say.
    pub fn exit_status(&self) -> u8 {
        match (self.is_worse(), self.is_unknown()) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        }
    }

    /// The table and the verdict.
    pub fn render(&self) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_header([
            "metric",
            "median A",
            "median B",
            "B / A",
            "95 % interval",
            "p",
            "",
        ]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for line in &self.lines {
            let Ratio { ratio, low, high } = line.ratio;
            table.add_row([
                line.name.to_owned(),
                line.unit.show(line.medians.0),
                line.unit.show(line.medians.1),
                format!("{ratio:.3}"),
                format!("{low:.3} to {high:.3}"),
                format!("{:.3}", line.p),
                line.change.name().to_owned(),
            ]);
        }
        let mut text = format!("{} runs of A, {} of B\n{table}\n", self.runs.0, self.runs.1);
        for remark in &self.remarks {
            let _ = writeln!(text, "note: {remark}");
        }
        let named = |change: Change| -> Vec<&str> {
            let lines = self.lines.iter().filter(|line| line.change == change);
            lines.map(|line| line.name).collect()
        };
        let verdict = if self.is_worse() {
            format!("WORSE: {}", named(Change::Worse).join(", "))
        } else if self.is_unknown() {
            format!(
                "too few runs to judge: at least {RUNS_MIN} of each are needed (run --repeat N)"
            )
        } else if self.has(Change::Better) {
            format!("better: {}", named(Change::Better).join(", "))
        } else {
            "no difference beyond the threshold".to_owned()
        };
        let _ = writeln!(text, "{verdict}");
        text
    }
}

fn line(metric: &Metric, base: &[Value], other: &[Value], threshold: f64) -> Option<Line> {
    let values = |runs: &[Value]| -> Vec<f64> {
        runs.iter()
            .filter_map(|run| run.pointer(metric.pointer)?.as_f64())
            .collect()
    };
    let (base, other) = (values(base), values(other));
    let ratio = ratio_of_medians(&base, &other)?;
    let p = mann_whitney_p(&base, &other);
    let runs = base.len().min(other.len());
    let significant = runs < TEST_RUNS_MIN || p < SIGNIFICANCE;
    let change = if runs < RUNS_MIN {
        Change::Unknown
    } else if !significant {
        Change::Same
    } else if ratio.low > 1.0 + threshold {
        metric.unit.more()
    } else if ratio.high < 1.0 / (1.0 + threshold) {
        metric.unit.less()
    } else {
        Change::Same
    };
    Some(Line {
        name: metric.name,
        unit: metric.unit,
        medians: (median(&base)?, median(&other)?),
        ratio,
        p,
        change,
    })
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", show_count(value)),
            Self::Microseconds => show_latency(value),
            Self::Nanoseconds => format!("{value:.0} ns"),
        }
    }

    fn more(self) -> Change {
        match self {
            Self::PerSecond => Change::Better,
            Self::Microseconds | Self::Nanoseconds => Change::Worse,
        }
    }

    fn less(self) -> Change {
        match self {
            Self::PerSecond => Change::Worse,
            Self::Microseconds | Self::Nanoseconds => Change::Better,
        }
    }
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Same => "same",
            Self::Unknown => "?",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn runs(throughputs: &[f64], p99: f64) -> Vec<Value> {
        let run = |(index, throughput): (usize, &f64)| {
            json!({
                "schema": super::super::summary::SCHEMA,
                "valid": true,
                "verification": {"clean": true},
                "settings": {"acks": "all"},
                "produced": {
                    "records_per_second": throughput,
                    "ack_latency_us": {"p99": p99 + index as f64},
                },
            })
        };
        throughputs.iter().enumerate().map(run).collect()
    }

    const BASE: [f64; 5] = [100.0, 101.0, 99.0, 102.0, 98.0];

    fn compare(throughputs: &[f64], p99: f64) -> Comparison {
        Comparison::new(&runs(&BASE, 500.0), &runs(throughputs, p99), 0.05).unwrap()
    }

    #[test]
    fn verdicts() {
        let slower = compare(&[80.0, 81.0, 79.0, 82.0, 78.0], 500.0);
        assert_eq!(slower.exit_status(), 1);
        assert!(
            slower.render().contains("WORSE: produced"),
            "{}",
            slower.render()
        );
        let later = compare(&BASE, 600.0);
        assert_eq!(later.exit_status(), 1);
        assert!(later.render().contains("WORSE: ack p99"));
        let faster = compare(&[130.0, 131.0, 129.0, 132.0, 128.0], 500.0);
        assert_eq!(faster.exit_status(), 0);
        assert!(faster.render().contains("better: produced"));
        let alike = compare(&[99.0, 100.0, 101.5, 97.5, 102.5], 500.5);
        assert_eq!(alike.exit_status(), 0);
        assert!(alike.render().contains("no difference"));
        // Noise as large as the difference: the interval reaches into the threshold.
        let noisy = compare(&[60.0, 140.0, 90.0, 110.0, 85.0], 500.0);
        assert_eq!(noisy.exit_status(), 0);
        let few = compare(&[10.0, 11.0], 500.0);
        assert_eq!(few.exit_status(), 3);
        assert!(few.render().contains("too few runs"));
    }

    #[test]
    fn what_does_not_match_is_said() {
        let mut other = runs(&BASE, 500.0);
        other[0]["settings"]["acks"] = json!("0");
        other[1]["valid"] = json!(false);
        other[2]["verification"]["clean"] = json!(false);
        let shown = Comparison::new(&runs(&BASE, 500.0), &other, 0.05)
            .unwrap()
            .render();
        for part in [
            "acks differs",
            "1 of the runs of B are not valid",
            "failed verification",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
    }

    #[test]
    fn documents_hold_one_run_or_several() {
        let one = runs(&BASE, 1.0).remove(0);
        assert_eq!(runs_in(one.clone()).unwrap().len(), 1);
        let several = json!({"schema": super::super::summary::RUNS_SCHEMA, "runs": [one, 2]});
        assert_eq!(runs_in(several).unwrap().len(), 2);
        let error = runs_in(json!({"schema": "else"})).unwrap_err().to_string();
        assert!(error.contains("else"), "{error}");
        let empty = Comparison::new(&[], &[], 0.05);
        assert_eq!(empty, Err(ComparisonError::Nothing));
    }
}
