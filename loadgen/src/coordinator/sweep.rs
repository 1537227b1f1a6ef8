//! `sweep`: latency over throughput, one run at each of several rates.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::files::{write_json, write_text};
use super::find_max::closed_loop_rate;
use super::session::Session;
use crate::cli::plan::Plan;
use crate::cli::quantity::{show_count, show_latency};
use crate::report::html::{Page, percentiles};
use crate::report::plot::{Axis, Plot, Series};
use crate::report::summary::Summary;

/// The highest rate that is tried of itself, as a part of what a closed loop reaches.
const TOP_SHARE: f64 = 0.9;

#[derive(Debug, Serialize)]
struct Sweep {
    schema: &'static str,
    runs: Vec<Summary>,
}

/// Runs at each rate, prints the table, writes the files, and says whether verification found nothing.
/// Without `rates` there are `points`, evenly up to the plan's rate or what a closed loop suggests.
pub fn sweep(plan: &Plan, rates: &[f64], points: u32) -> anyhow::Result<bool> {
    let mut session = Session::open(plan)?;
    let mut runs = Vec::new();
    let result = run_all(plan, rates, points, &mut session, &mut runs);
    let complaint = session.close();
    result?;
    println!("{}", table(&runs));
    if let Some(complaint) = complaint {
        println!("note: {complaint}");
    }
    let clean = runs.iter().all(|run| run.verification.clean);
    let sweep = Sweep {
        schema: "corelane-loadgen/sweep/1",
        runs,
    };
    if let Some(path) = &plan.json {
        write_json(path, &sweep)?;
    }
    if let Some(path) = &plan.html {
        write_text(path, &page(&sweep.runs))?;
    }
    Ok(clean)
}

fn run_all(
    plan: &Plan,
    rates: &[f64],
    points: u32,
    session: &mut Session,
    runs: &mut Vec<Summary>,
) -> anyhow::Result<()> {
    let rates = match (rates, plan.rate) {
        ([], Some(top)) => evenly(top, points),
        ([], None) => evenly(closed_loop_rate(plan, session)? * TOP_SHARE, points),
        (rates, _) => rates.to_vec(),
    };
    for rate in rates {
        if session.is_interrupted() {
            break;
        }
        eprintln!("{} records/s", show_count(rate));
        runs.push(session.run(&plan.at_rate(Some(rate)))?.0);
    }
    Ok(())
}

fn evenly(top: f64, points: u32) -> Vec<f64> {
    (1..=points)
        .map(|point| top * f64::from(point) / f64::from(points))
        .collect()
}

fn table(runs: &[Summary]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header([
        "offered/s",
        "taken/s",
        "ack p50",
        "ack p99",
        "ack p99.9",
        "end to end p50",
        "end to end p99",
        "",
    ]);
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let show = |us: Option<f64>| us.map_or_else(|| "-".to_owned(), show_latency);
    for run in runs {
        let (ack, end_to_end) = (
            &run.produced.ack_latency_us,
            &run.consumed.end_to_end_latency_us,
        );
        table.add_row([
            run.settings.rate.map_or_else(String::new, show_count),
            show_count(run.produced.records_per_second),
            show(ack.p50),
            show(ack.p99),
            show(ack.p999),
            show(end_to_end.p50),
            show(end_to_end.p99),
            match (run.verification.clean, run.valid) {
                (false, _) => "FAILED".to_owned(),
                (true, false) => "invalid".to_owned(),
                (true, true) => String::new(),
            },
        ]);
    }
    table
}

fn page(runs: &[Summary]) -> String {
    let mut page = Page::new("corelane-loadgen sweep");
    page.preformatted(&table(runs).to_string());
    let line = |name: &str, value: &dyn Fn(&Summary) -> Option<f64>| Series {
        name: name.to_owned(),
        points: runs
            .iter()
            .filter_map(|run| Some((run.produced.records_per_second, value(run)?)))
            .collect(),
    };
    page.plot(&Plot {
        title: "Latency over throughput".to_owned(),
        x: Axis::Rate,
        y: Axis::Latency,
        series: vec![
            line("acknowledged p50", &|run| run.produced.ack_latency_us.p50),
            line("acknowledged p99", &|run| run.produced.ack_latency_us.p99),
            line("acknowledged p99.9", &|run| {
                run.produced.ack_latency_us.p999
            }),
            line("end to end p99", &|run| {
                run.consumed.end_to_end_latency_us.p99
            }),
        ],
    });
    let name = |run: &Summary| run.settings.rate.map_or_else(String::new, show_count);
    let names: Vec<String> = runs.iter().map(name).collect();
    let curves: Vec<_> = names
        .iter()
        .zip(runs)
        .map(|(name, run)| (name.as_str(), &run.curves))
        .collect();
    page.plot(&percentiles(&curves));
    page.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_evenly_up_to_the_top() {
        assert_eq!(evenly(100.0, 4), [25.0, 50.0, 75.0, 100.0]);
        assert_eq!(evenly(100.0, 1), [100.0]);
    }
}
