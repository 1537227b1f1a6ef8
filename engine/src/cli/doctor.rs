//! `corelane doctor`, and the checks that a start begins with.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use corelane_engine::config::{ServerSettings, SettingsOverrides};
use corelane_engine::doctor::{self, Check, Status, Target};

use super::Outcome;
use super::stdout::Stdout;
use super::table::{self, Align};

const EXAMPLES: &str = "\
Examples:
  corelane doctor
  corelane doctor --data-dir /var/lib/corelane --json";

/// Says what this machine lacks to run a server, and what to do about it.
///
/// Looks at the kernel, io-uring, limits, cores and the disk under the data directory, where it writes one page and removes
/// it. Exits with 1 if a server could not start.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Where the server would keep its data; it need not be there yet. [default: ./corelane-data]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// The server's settings, where they are not the default ones.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the checks and shows them.
pub(crate) fn run(arguments: &DoctorArgs) -> anyhow::Result<Outcome> {
    let overrides = SettingsOverrides {
        config: arguments.config.clone(),
        data_dir: arguments.data_dir.clone(),
        ..SettingsOverrides::default()
    };
    let checks = doctor::examine(&target(&overrides.resolve()?));
    let mut out = Stdout::lock();
    if arguments.json {
        out.json(&checks)?;
    } else {
        out.write_all(show(&checks).as_bytes())?;
    }
    out.flush()?;
    Ok(if doctor::failures(&checks).next().is_none() {
        Outcome::Success
    } else {
        Outcome::Failure
    })
}

/// Refuses to start where a start cannot work, before anything is made; logs what could be better.
///
/// # Errors
/// The first thing that is missing, and its remedy.
pub(crate) fn refuse_if_hopeless(settings: &ServerSettings) -> anyhow::Result<()> {
    let checks = doctor::examine(&target(settings));
    for check in checks.iter().filter(|check| check.status == Status::Warn) {
        tracing::warn!("{check}");
    }
    let mut failures = doctor::failures(&checks);
    let Some(first) = failures.next() else {
        return Ok(());
    };
    for check in failures {
        tracing::error!("{check}");
    }
    bail!("{first}");
}

fn target(settings: &ServerSettings) -> Target {
    Target {
        data_dir: settings.data_dir.clone(),
        cores: settings.cores.clone(),
        connections_max: settings.broker.connections_max(),
    }
}

fn show(checks: &[Check]) -> String {
    let mut table = table::table(&[
        ("check", Align::Left),
        ("status", Align::Left),
        ("found", Align::Left),
    ]);
    for check in checks {
        table.add_row([check.name, &check.status.to_string(), &check.found]);
    }
    let mut text = table::lines(&table);
    let mut remedies = checks
        .iter()
        .filter_map(|check| check.remedy.as_ref().map(|remedy| (check, remedy)))
        .peekable();
    if remedies.peek().is_some() {
        text.push_str("\nWhat to do:\n");
    }
    for (check, remedy) in remedies {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {} ({}): {remedy}", check.name, check.status);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_shown_and_remedies_stand_below() {
        let check = |name, status, remedy: Option<&str>| Check {
            name,
            status,
            found: format!("found {name}"),
            remedy: remedy.map(str::to_owned),
        };
        let text = show(&[
            check("a", Status::Ok, None),
            check("b", Status::Warn, Some("do this")),
            check("c", Status::Fail, Some("do that")),
        ]);
        for expected in ["found a", "found b", "found c"] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(
            text.ends_with("\nWhat to do:\n  b (warn): do this\n  c (fail): do that\n"),
            "{text}"
        );
        assert!(!show(&[check("a", Status::Ok, None)]).contains("What to do"));
    }
}
