//! `replay`: a load alone, then the same load while others read its topic from the beginning; both are reported.

use crate::cli::plan::Plan;
use crate::cli::quantity::show_latency;
use crate::report::summary::{Summary, Verdict};
use crate::report::table;

use super::files::write_runs;
use super::session::Session;

/// Consumers that replay, unless it was said.
const REPLAY_DEFAULT: u32 = 1;

/// Runs both, prints both and the ratio of their p99s, writes the files, and says whether all is well. With
/// `ratio_max` the ratio must not exceed it.
pub fn replay(plan: &Plan, ratio_max: Option<f64>) -> anyhow::Result<Verdict> {
    let mut session = Session::open(plan)?;
    let result = run_both(plan, &mut session);
    let complaint = session.close();
    let (runs, last) = result?;
    if let Some(complaint) = complaint {
        println!("note: {complaint}");
    }
    write_runs(plan, &runs, &last)?;
    let mut worst = runs
        .iter()
        .map(Summary::verdict)
        .max_by_key(|verdict| verdict.gravity())
        .unwrap_or(Verdict::Failed);
    let p99 = |run: Option<&Summary>| run?.produced.ack_latency_us.p99;
    if let (Some(alone), Some(beside)) = (p99(runs.first()), p99(runs.last())) {
        let ratio = beside / alone;
        println!(
            "ack p99 {} alone, {} during the replay: {ratio:.2} times",
            show_latency(alone),
            show_latency(beside)
        );
        if ratio_max.is_some_and(|most| ratio > most) {
            println!("that is more than --slo-ratio allows");
            worst = Verdict::Failed;
        }
    }
    Ok(worst)
}

fn run_both(
    plan: &Plan,
    session: &mut Session,
) -> anyhow::Result<(Vec<Summary>, crate::report::summary::Outcome)> {
    let mut alone = plan.clone();
    alone.replay = 0;
    // The second run goes on where this one ended: what is replayed is what it wrote, and what follows.
    alone.topic.keep = true;
    let (first, _) = session.run(&alone)?;
    println!("the load alone");
    print!("{}", table::render(&first));
    let mut beside = plan.clone();
    beside.replay = plan.replay.max(REPLAY_DEFAULT);
    beside.topic.configs.clear();
    let (second, outcome) = session.run_in_the_same_topic(&beside)?;
    println!("the same during a replay");
    print!("{}", table::render(&second));
    Ok((vec![first, second], outcome))
}
