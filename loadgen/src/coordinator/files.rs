//! The files a run leaves: JSON, a page, percentile files, an interval log.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::cli::plan::Plan;
use crate::report::html;
use crate::report::summary::{Outcome, RUNS_SCHEMA, Summary};

/// Several runs of the same plan, as JSON holds them.
#[derive(Serialize)]
struct Runs<'a> {
    schema: &'static str,
    runs: &'a [Summary],
}

/// Writes what the plan asks for about one run or several. Percentiles and the log are those of the last one.
pub fn write_runs(plan: &Plan, runs: &[Summary], last: &Outcome) -> anyhow::Result<()> {
    if let Some(path) = &plan.json {
        match runs {
            [run] => write_json(path, run)?,
            runs => write_json(
                path,
                &Runs {
                    schema: RUNS_SCHEMA,
                    runs,
                },
            )?,
        }
    }
    if let Some(path) = &plan.html {
        write_text(path, &html::of_runs(runs))?;
    }
    if let Some(path) = &plan.hgrm {
        write_file(path, |out| {
            last.measurement.ack_latency.write_percentiles(out)
        })?;
        if plan.consumers > 0 {
            write_file(&end_to_end_path(path), |out| {
                last.measurement.end_to_end.write_percentiles(out)
            })?;
        }
    }
    if let Some(path) = &plan.hlog
        && let Some(log) = last.timeline.interval_log()
    {
        let log = log.context("cannot write the interval log")?;
        write_file(path, |out| out.write_all(&log))?;
    }
    Ok(())
}

/// Writes a value as JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    write_file(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        writeln!(out)
    })
}

/// Writes a text.
pub fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    write_file(path, |out| out.write_all(text.as_bytes()))
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let written = File::create(path).map(BufWriter::new).and_then(|mut out| {
        write(&mut out)?;
        out.flush()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// `results/run.hgrm` becomes `results/run.end-to-end.hgrm`.
fn end_to_end_path(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".end-to-end");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_to_end_percentiles_lie_beside_the_others() {
        for (given, expected) in [
            ("a/run.hgrm", "a/run.end-to-end.hgrm"),
            ("run", "run.end-to-end"),
        ] {
            assert_eq!(end_to_end_path(Path::new(given)), Path::new(expected));
        }
    }
}
