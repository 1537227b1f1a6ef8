//! The result for reading: a few lines and two tables.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::histogram::LatencySummary;
use super::summary::{Method, Mode, Spread, Summary, Verification};
use crate::cli::quantity::{show_bytes, show_count, show_latency};

/// The whole report.
pub fn render(summary: &Summary) -> String {
    let mut text = heading(summary);
    text.push('\n');
    let _ = writeln!(text, "{}", throughput(summary));
    let _ = writeln!(text, "{}", latency(summary));
    let _ = writeln!(text, "{}", verification(&summary.verification));
    for line in other_readers(summary) {
        let _ = writeln!(text, "{line}");
    }
    for line in processors(summary) {
        let _ = writeln!(text, "{line}");
    }
    for error in summary
        .produced
        .errors
        .iter()
        .chain(&summary.consumed.errors)
    {
        let _ = writeln!(text, "error: {error}");
    }
    for remark in &summary.remarks {
        let _ = writeln!(
            text,
            "{}: {remark}",
            if summary.valid { "note" } else { "INVALID" }
        );
    }
    text
}

fn heading(summary: &Summary) -> String {
    let settings = &summary.settings;
    let pace = match (summary.mode, settings.rate) {
        (Mode::Open, Some(rate)) => format!(
            "open loop, {} records/s offered, {}",
            show_count(rate),
            settings.schedule
        ),
        _ => "closed loop (latencies are those of a load that waits for the server)".to_owned(),
    };
    format!(
        "{pace}\n{} B records, {} a batch ({}), {} producers, {} consumers, {} partitions, {} in flight, acks={}, {:.1} s\n",
        settings.record_size_bytes,
        settings.batch_records,
        show_bytes(settings.batch_size_bytes as f64),
        settings.producers,
        settings.consumers,
        settings.partitions,
        settings.in_flight,
        settings.acks,
        summary.window.duration_s,
    )
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn throughput(summary: &Summary) -> Table {
    let mut table = table(&[
        "throughput",
        "records/s",
        "bytes/s",
        "slowest s",
        "median s",
        "fastest s",
        "variation",
    ]);
    let mut row = |name: &str, records: f64, bytes: f64, spread: &Spread| {
        let second = |records: u64| {
            if spread.seconds == 0 {
                "-".to_owned()
            } else {
                show_count(records as f64)
            }
        };
        table.add_row([
            name.to_owned(),
            show_count(records),
            show_bytes(bytes),
            second(spread.min),
            second(spread.median),
            second(spread.max),
            format!("{:.1} %", spread.variation * 100.0),
        ]);
    };
    let produced = &summary.produced;
    row(
        "produced",
        produced.records_per_second,
        produced.bytes_per_second,
        &produced.spread,
    );
    if summary.settings.consumers > 0 {
        let consumed = &summary.consumed;
        row(
            "consumed",
            consumed.records_per_second,
            consumed.bytes_per_second,
            &consumed.spread,
        );
    }
    table
}

fn latency(summary: &Summary) -> Table {
    let mut table = table(&["latency", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    let mut row = |name: &str, latency: &LatencySummary| {
        let cells = [
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p999,
            latency.p9999,
            latency.max,
        ];
        let shown = cells.map(|us| us.map_or_else(|| "-".to_owned(), show_latency));
        table.add_row(std::iter::once(name.to_owned()).chain(shown));
    };
    let produced = &summary.produced;
    row("acknowledged", &produced.ack_latency_us);
    if summary.settings.consumers > 0 {
        row("end to end", &summary.consumed.end_to_end_latency_us);
        row("drain", &summary.consumed.drain_us);
    }
    if summary.mode == Mode::Open {
        row("service time", &produced.service_time_us);
        row("schedule lag", &produced.schedule_lag_us);
    }
    table
}

fn verification(verification: &Verification) -> String {
    let count =
        |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let mut text = format!("verified: {} acknowledged", verification.acknowledged);
    if verification.method == Method::None {
        text.push_str("; not read back, so loss was not looked for");
    } else {
        let _ = write!(
            text,
            ", {} lost, {} duplicated, {} reordered, {} corrupt{}",
            count(verification.lost),
            count(verification.duplicated),
            count(verification.reordered),
            count(verification.corrupt),
            if verification.clean {
                ""
            } else {
                "  <-- FAILED"
            },
        );
    }
    for note in &verification.notes {
        let _ = write!(text, "\n  {note}");
    }
    text
}

fn other_readers(summary: &Summary) -> Vec<String> {
    let (settings, consumed) = (&summary.settings, &summary.consumed);
    let mut lines = Vec::new();
    if settings.fan_out > 1 && settings.consumers > 0 {
        lines.push(format!(
            "fan-out: {} sets of consumers; consumed is what all of them read",
            settings.fan_out
        ));
    }
    if settings.slow_consumers > 0 {
        lines.push(format!(
            "slow consumers: {} read {} records/s",
            settings.slow_consumers,
            show_count(consumed.slow_records_per_second)
        ));
    }
    if settings.replay_consumers > 0 {
        lines.push(format!(
            "replay: {} consumers read {} records/s, {}/s, from the beginning",
            settings.replay_consumers,
            show_count(consumed.replayed_records_per_second),
            show_bytes(consumed.replayed_bytes_per_second)
        ));
    }
    lines
}

fn processors(summary: &Summary) -> Vec<String> {
    let processors = &summary.processors;
    let mut lines = Vec::new();
    if let (Some(total_s), Some(each_ns)) =
        (processors.server_cpu_s, processors.server_cpu_ns_per_record)
    {
        let share = total_s / summary.window.duration_s.max(f64::MIN_POSITIVE);
        lines.push(format!(
            "server: {share:.2} cores busy, {each_ns:.0} ns a record"
        ));
    }
    if !processors.generator_busy.is_empty() {
        let shares: Vec<String> = processors
            .generator_busy
            .iter()
            .map(|share| format!("{share:.2}"))
            .collect();
        lines.push(format!(
            "generator: cores {} busy {}",
            summary.settings.cores,
            shares.join(", ")
        ));
    }
    lines
}
