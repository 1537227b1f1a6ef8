//! `--watch`: the same look again and again.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use corelane_engine::clock::{Clock, SystemClock};
use corelane_engine::config::units::parse_duration_ms;
use corelane_engine::utc;
use glommio::timer::sleep;
use serde::Serialize;

use super::snapshot::{self, Snapshot};
use super::{Outcome, list};
use crate::cli::client::{self, Client, ClientArgs};
use crate::cli::note;
use crate::cli::stdout::Stdout;

/// Brokers need not be asked more often than anybody can read.
const INTERVAL_MS_MIN: u64 = 100;

/// Which groups to look at, and how often.
#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// The groups' names.
    #[arg(required_unless_present = "all", value_name = "GROUP")]
    names: Vec<String>,
    /// All groups.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Look again every 2 s, or every TIME, until interrupted. With --json every look is a line.
    #[arg(long, short, value_name = "TIME", num_args = 0..=1, require_equals = true,
          default_missing_value = "2s", value_parser = interval)]
    watch: Option<Duration>,
    #[command(flatten)]
    client: ClientArgs,
}

fn interval(text: &str) -> Result<Duration, String> {
    let ms = parse_duration_ms(text).map_err(|error| error.to_string())?;
    if ms < INTERVAL_MS_MIN {
        return Err(format!("at least {INTERVAL_MS_MIN}ms is needed"));
    }
    Ok(Duration::from_millis(ms))
}

/// Looks at the groups, and shows each with `show`, or what `pick` makes of them in JSON.
pub(super) async fn run<T: Serialize>(
    arguments: WatchArgs,
    show: impl Fn(&Snapshot) -> String,
    pick: impl Fn(Snapshot) -> T,
) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&arguments.client).await?;
    let Some(interval) = arguments.watch else {
        let (snapshots, failures) = look(&mut client, &arguments).await?;
        print(snapshots, &arguments, &show, &pick, false)?;
        return Ok(client::report_all(&failures));
    };
    let mut is_first = true;
    let mut told = String::new();
    loop {
        match look(&mut client, &arguments).await {
            Ok((_, failures)) if is_first && !failures.is_empty() => {
                return Ok(client::report_all(&failures));
            }
            Ok((snapshots, failures)) => {
                print(snapshots, &arguments, &show, &pick, !is_first)?;
                let mut reasons = failures.iter().map(|failure| format!("{failure:#}"));
                tell_news(&mut told, reasons.next().unwrap_or_default());
                is_first = false;
            }
            Err(error) if is_first => return Err(error),
            // It may come back; whoever watches wants to see that, too.
            Err(error) => tell_news(&mut told, format!("{error:#}")),
        }
        sleep(interval).await;
    }
}

/// Says the same thing once.
fn tell_news(told: &mut String, reason: String) {
    if *told != reason && !reason.is_empty() {
        note(&format!("{reason}; trying again"));
    }
    *told = reason;
}

async fn look(
    client: &mut Client,
    arguments: &WatchArgs,
) -> anyhow::Result<(Vec<Snapshot>, Vec<anyhow::Error>)> {
    let names = if arguments.all {
        let groups = list::all(client, &[], &[]).await?;
        groups.into_iter().map(|group| group.group).collect()
    } else {
        arguments.names.clone()
    };
    let (mut snapshots, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        match snapshot::take(client, name).await {
            Ok(snapshot) => snapshots.push(snapshot),
            Err(error) => failures.push(error),
        }
    }
    Ok((snapshots, failures))
}

fn print<T: Serialize>(
    snapshots: Vec<Snapshot>,
    arguments: &WatchArgs,
    show: impl Fn(&Snapshot) -> String,
    pick: impl Fn(Snapshot) -> T,
    is_next: bool,
) -> anyhow::Result<()> {
    let mut out = Stdout::lock();
    if arguments.client.json {
        if arguments.watch.is_some() {
            let line = serde_json::to_vec(&snapshots.into_iter().map(pick).collect::<Vec<_>>())?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        } else {
            out.json(&snapshots.into_iter().map(pick).collect::<Vec<_>>())?;
        }
    } else {
        if arguments.watch.is_some() {
            if io::stdout().is_terminal() {
                // To the corner, and nothing below it.
                out.write_all(b"\x1b[H\x1b[2J")?;
            } else if is_next {
                writeln!(out)?;
            }
            writeln!(out, "at {}", utc::show(SystemClock.now()))?;
        }
        for (index, snapshot) in snapshots.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            out.write_all(show(snapshot).as_bytes())?;
        }
        if snapshots.is_empty() && arguments.all {
            note("there are no groups");
        }
    }
    out.flush()?;
    Ok(())
}
