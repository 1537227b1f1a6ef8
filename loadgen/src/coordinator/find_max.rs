//! `find-max`: searches for the highest rate that meets the objectives, then confirms it.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::files::{write_json, write_text};
use super::session::Session;
use crate::cli::objective::{Objective, ObjectiveKind};
use crate::cli::plan::Plan;
use crate::cli::quantity::{show_count, show_latency};
use crate::load::search::Search;
use crate::report::html::{Page, add_run, percentiles};
use crate::report::measure::Measurement;
use crate::report::summary::Summary;

/// The part of the rate that must have been taken.
const TAKEN_MIN: f64 = 0.98;

/// The confirming run measures so many times longer than the steps, unless it was said.
const CONFIRM_TIMES: u32 = 3;

/// How often a rate that was not confirmed is lowered by the precision and tried again.
const CONFIRM_TRIES: u32 = 4;

/// A closed loop does not reach quite what an open one may; the search begins below this many times of it.
const ABOVE_CLOSED: f64 = 1.1;

/// What to search for.
#[derive(Debug, Clone, PartialEq)]
pub struct FindMax {
    /// All must hold.
    pub objectives: Vec<Objective>,
    /// How near the answer must be.
    pub precision: f64,
    /// How long the confirming run measures.
    pub confirm: Option<Duration>,
}

/// One run of the search.
#[derive(Debug, Serialize)]
struct Step {
    rate: f64,
    confirming: bool,
    met: bool,
    /// Why not.
    misses: Vec<String>,
    run: Summary,
}

#[derive(Debug, Serialize)]
struct Found {
    schema: &'static str,
    objectives: Vec<Objective>,
    records_per_second: Option<f64>,
    confirmed: bool,
    steps: Vec<Step>,
}

/// Searches, prints, writes the files, and says whether a rate was found and confirmed.
pub fn find_max(plan: &Plan, what: &FindMax) -> anyhow::Result<bool> {
    let mut session = Session::open(plan)?;
    let mut steps = Vec::new();
    let result = search(plan, what, &mut session, &mut steps);
    let complaint = session.close();
    let confirmed = result?;
    if let Some(complaint) = complaint {
        println!("note: {complaint}");
    }
    let objectives: Vec<String> = what.objectives.iter().map(ToString::to_string).collect();
    let objectives = objectives.join(", ");
    match confirmed {
        Some(rate) => println!(
            "{} records/s meet {objectives}; confirmed",
            show_count(rate)
        ),
        None => println!("no rate was confirmed to meet {objectives}"),
    }
    let found = Found {
        schema: "corelane-loadgen/find-max/1",
        objectives: what.objectives.clone(),
        records_per_second: confirmed,
        confirmed: confirmed.is_some(),
        steps,
    };
    if let Some(path) = &plan.json {
        write_json(path, &found)?;
    }
    if let Some(path) = &plan.html {
        write_text(path, &page(&found))?;
    }
    Ok(confirmed.is_some())
}

fn search(
    plan: &Plan,
    what: &FindMax,
    session: &mut Session,
    steps: &mut Vec<Step>,
) -> anyhow::Result<Option<f64>> {
    let ceiling = match plan.rate {
        Some(rate) => rate,
        None => closed_loop_rate(plan, session)? * ABOVE_CLOSED,
    };
    let mut search = Search::new(ceiling, what.precision);
    while let Some(rate) = search.next_rate() {
        let met = step(plan, what, session, steps, rate, false)?;
        if session.is_interrupted() {
            return Ok(None);
        }
        search.record(rate, met);
    }
    let Some(mut rate) = search.best() else {
        return Ok(None);
    };
    let mut longer = plan.clone();
    longer.duration = what.confirm.unwrap_or(plan.duration * CONFIRM_TIMES);
    for _ in 0..CONFIRM_TRIES {
        let met = step(&longer, what, session, steps, rate, true)?;
        if session.is_interrupted() {
            return Ok(None);
        }
        if met {
            return Ok(Some(rate));
        }
        rate /= 1.0 + what.precision;
    }
    Ok(None)
}

/// What a closed loop reaches.
pub fn closed_loop_rate(plan: &Plan, session: &mut Session) -> anyhow::Result<f64> {
    eprintln!("a closed loop first, to see what there is to be had");
    let (summary, _) = session.run(&plan.at_rate(None))?;
    let rate = summary.produced.records_per_second;
    if rate <= 0.0 {
        anyhow::bail!(
            "a closed loop produced nothing: {}",
            summary.produced.errors.join("; ")
        );
    }
    eprintln!("a closed loop reaches {} records/s", show_count(rate));
    Ok(rate)
}

fn step(
    plan: &Plan,
    what: &FindMax,
    session: &mut Session,
    steps: &mut Vec<Step>,
    rate: f64,
    confirming: bool,
) -> anyhow::Result<bool> {
    let (run, outcome) = session.run(&plan.at_rate(Some(rate)))?;
    let misses = misses(&what.objectives, rate, &run, &outcome.measurement);
    let met = misses.is_empty();
    println!(
        "{}{:>9} records/s: {}",
        if confirming { "confirming " } else { "" },
        show_count(rate),
        if met {
            "met".to_owned()
        } else {
            format!("missed, {}", misses.join("; "))
        }
    );
    steps.push(Step {
        rate,
        confirming,
        met,
        misses,
        run,
    });
    Ok(met)
}

/// Why a run at `rate` does not meet the objectives; empty if it does.
fn misses(
    objectives: &[Objective],
    rate: f64,
    run: &Summary,
    measured: &Measurement,
) -> Vec<String> {
    let mut misses = Vec::new();
    for objective in objectives {
        let histogram = match objective.kind {
            ObjectiveKind::Ack => &measured.ack_latency,
            ObjectiveKind::EndToEnd => &measured.end_to_end,
        };
        match histogram.percentile_us(objective.percentile) {
            Some(us) if us <= objective.limit_us => {}
            Some(us) => misses.push(format!("{objective} was {}", show_latency(us))),
            None => misses.push(format!("{objective} was not measured")),
        }
    }
    let taken = run.produced.records_per_second;
    if taken < rate * TAKEN_MIN {
        misses.push(format!("only {} records/s were taken", show_count(taken)));
    }
    if !run.verification.clean {
        misses.push("verification failed".to_owned());
    }
    if !run.valid {
        misses.push("the run is not valid".to_owned());
    }
    misses
}

fn page(found: &Found) -> String {
    let mut page = Page::new("corelane-loadgen find-max");
    let mut lines = String::new();
    for step in &found.steps {
        let _ = writeln!(
            lines,
            "{}{:>9} records/s  {}",
            if step.confirming { "confirming " } else { "" },
            show_count(step.rate),
            if step.met {
                "met".to_owned()
            } else {
                step.misses.join("; ")
            },
        );
    }
    page.preformatted(&lines);
    let names: Vec<String> = found
        .steps
        .iter()
        .map(|step| show_count(step.rate))
        .collect();
    let curves: Vec<_> = names
        .iter()
        .zip(&found.steps)
        .map(|(name, step)| (name.as_str(), &step.run.curves))
        .collect();
    page.plot(&percentiles(&curves));
    if let Some(last) = found.steps.last() {
        page.heading("The last run");
        add_run(&mut page, &last.run);
    }
    page.finish()
}
