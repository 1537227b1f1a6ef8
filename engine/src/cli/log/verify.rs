//! `corelane log verify`.

use std::io::Write;
use std::path::PathBuf;

use corelane_engine::server::data_directory;
use corelane_storage::inspect::{
    Finding, FindingKind, LogSummary, Severity, VerifyOptions, VerifySink, verify_journals,
    verify_log,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::VerifyArgs;
use super::finding_view::{FindingView, Tally};
use super::place::{Place, Places, find};
use super::read_only_disk::ReadOnlyDisk;
use crate::cli::stdout::Stdout;
use crate::cli::table::{self, Align};
use crate::cli::{Outcome, complain};

/// Sound logs beyond these are counted and not listed for people: with 10,000 partitions nobody reads that.
const LOGS_LISTED_MAX: usize = 50;

/// Runs the command. What keeps it from looking is an outcome of its own, told apart from damage.
pub(super) fn run(arguments: &VerifyArgs) -> anyhow::Result<Outcome> {
    let prepared = find(&arguments.paths).and_then(|places| Ok((places.lock()?, places)));
    let (_locks, places) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            complain(&format!("{error:#}"));
            return Ok(Outcome::Unchecked);
        }
    };
    let mut report = Report::new(arguments.json, &places);
    report.roots(&places);
    report.journals(&places);
    let options = VerifyOptions {
        records: arguments.records,
    };
    for place in &places.logs {
        report.log(place, options);
        if report.output.is_err() {
            break;
        }
    }
    report.finish(&places)
}

/// Shows findings as they come, and keeps what the summary needs.
struct Report {
    out: Stdout,
    json: bool,
    tally: Tally,
    /// The first failure to write; nothing is written behind it.
    output: std::io::Result<()>,
    listed: Vec<(PathBuf, LogSummary, Tally)>,
    total: LogSummary,
    progress: ProgressBar,
    /// Of the log that is being checked.
    current: Tally,
}

impl Report {
    fn new(json: bool, places: &Places) -> Self {
        let size_bytes = places.logs.iter().map(|place| place.size_bytes).sum();
        // Draws on a terminal only.
        let progress = ProgressBar::new(size_bytes);
        if let Ok(style) = ProgressStyle::with_template(
            "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
        ) {
            progress.set_style(style);
        }
        Self {
            out: Stdout::lock(),
            json,
            tally: Tally::default(),
            output: Ok(()),
            listed: Vec::new(),
            total: LogSummary::default(),
            progress,
            current: Tally::default(),
        }
    }

    fn roots(&mut self, places: &Places) {
        for root in &places.roots {
            if let Err(error) = data_directory::check_identity(root) {
                self.finding(Finding {
                    kind: FindingKind::Identity,
                    path: root.join("server.json"),
                    position: None,
                    until: None,
                    offsets: None,
                    detail: error.to_string(),
                });
            }
        }
        for path in &places.deleted {
            self.finding(Finding {
                kind: FindingKind::Leftover,
                path: path.clone(),
                position: None,
                until: None,
                offsets: None,
                detail: "its partition was deleted".to_owned(),
            });
        }
    }

    fn journals(&mut self, places: &Places) {
        for root in &places.roots {
            let directory = root.join("journal");
            // No operation of this disk waits.
            let check = verify_journals(&ReadOnlyDisk, &directory, self);
            if let Err(error) = futures_lite::future::block_on(check) {
                self.finding(Finding {
                    kind: FindingKind::Unreadable,
                    path: directory,
                    position: None,
                    until: None,
                    offsets: None,
                    detail: error.to_string(),
                });
            }
        }
    }

    fn log(&mut self, place: &Place, options: VerifyOptions) {
        self.current = Tally::default();
        let check = verify_log(
            &ReadOnlyDisk,
            &place.directory,
            place.log_id,
            place.only,
            options,
            self,
        );
        // No operation of this disk waits.
        let summary = match futures_lite::future::block_on(check) {
            Ok(summary) => summary,
            Err(error) => {
                self.finding(Finding {
                    kind: FindingKind::Unreadable,
                    path: place.directory.clone(),
                    position: None,
                    until: None,
                    offsets: None,
                    detail: error.to_string(),
                });
                LogSummary::default()
            }
        };
        self.total.segments += summary.segments;
        self.total.block_bytes += summary.block_bytes;
        self.total.blocks += summary.blocks;
        self.total.batches += summary.batches;
        self.total.records += summary.records;
        self.total.sidecars += summary.sidecars;
        self.total.offsets_damaged += summary.offsets_damaged;
        if self.json {
            let damage = self.current.of(Severity::Damage);
            self.line_json(&LogLine {
                r#type: "log",
                path: place.directory.display().to_string(),
                log_id: place.log_id.map(corelane_format::ids::LogId::get),
                log_start_offset: summary.log_start_offset.get(),
                log_end_offset: summary.log_end_offset.get(),
                totals: Totals::of(&summary),
                damage,
                unchecked: self.current.of(Severity::Unchecked),
            });
        } else if self.listed.len() < LOGS_LISTED_MAX || self.current.of(Severity::Damage) > 0 {
            self.listed
                .push((place.directory.clone(), summary, self.current));
        }
    }

    fn line_json(&mut self, value: &impl Serialize) {
        if self.output.is_ok() {
            self.output = serde_json::to_writer(&mut self.out, value)
                .map_err(std::io::Error::from)
                .and_then(|()| self.out.write_all(b"\n"));
        }
    }

    fn finish(mut self, places: &Places) -> anyhow::Result<Outcome> {
        self.progress.finish_and_clear();
        let damage = self.tally.of(Severity::Damage);
        let unchecked = self.tally.of(Severity::Unchecked);
        if self.json {
            let line = SummaryLine {
                r#type: "summary",
                logs: places.logs.len(),
                totals: Totals::of(&self.total),
                damage,
                unchecked,
                notes: self.tally.of(Severity::Note),
            };
            self.line_json(&line);
        } else if self.output.is_ok() {
            let text = self.text(places.logs.len());
            self.output = self.out.write_all(text.as_bytes());
        }
        std::mem::replace(&mut self.output, Ok(()))?;
        self.out.flush()?;
        Ok(if damage > 0 {
            Outcome::Failure
        } else if unchecked > 0 {
            Outcome::Unchecked
        } else {
            Outcome::Success
        })
    }

    /// The table of logs, the verdict, and what to do.
    fn text(&self, logs: usize) -> String {
        use std::fmt::Write as _;
        let mut table = table::table(&[
            ("log", Align::Left),
            ("offsets", Align::Left),
            ("segments", Align::Right),
            ("sidecars", Align::Right),
            ("blocks", Align::Right),
            ("batches", Align::Right),
            ("records", Align::Right),
            ("bytes", Align::Right),
            ("damaged offsets", Align::Right),
            ("findings", Align::Right),
        ]);
        let mut row = |name: String, offsets: String, summary: &LogSummary, tally: &Tally| {
            let findings = tally.of(Severity::Damage) + tally.of(Severity::Unchecked);
            table.add_row([
                name,
                offsets,
                summary.segments.to_string(),
                summary.sidecars.to_string(),
                summary.blocks.to_string(),
                summary.batches.to_string(),
                summary.records.to_string(),
                summary.block_bytes.to_string(),
                summary.offsets_damaged.to_string(),
                findings.to_string(),
            ]);
        };
        for (directory, summary, tally) in &self.listed {
            let offsets = format!("{}..{}", summary.log_start_offset, summary.log_end_offset);
            row(directory.display().to_string(), offsets, summary, tally);
        }
        row(
            format!("{logs} in all"),
            String::new(),
            &self.total,
            &self.tally,
        );
        let mut text = table::lines(&table);
        // Writing to a string does not fail.
        if logs > self.listed.len() {
            let _ = writeln!(text, "and {} sound logs more", logs - self.listed.len());
        }
        let (damage, unchecked) = (
            self.tally.of(Severity::Damage),
            self.tally.of(Severity::Unchecked),
        );
        let _ = match (damage, unchecked) {
            (0, 0) => writeln!(text, "\nNothing is damaged."),
            (0, unchecked) => writeln!(text, "\n{unchecked} could not be checked."),
            (damage, unchecked) => writeln!(
                text,
                "\nDamaged in {damage} places; {unchecked} could not be checked."
            ),
        };
        if self.tally.remedies().next().is_some() {
            text.push_str("What to do:\n");
        }
        for (kind, remedy) in self.tally.remedies() {
            let _ = writeln!(text, "  {kind}: {remedy}");
        }
        text
    }
}

impl VerifySink for Report {
    fn finding(&mut self, finding: Finding) {
        self.tally.add(finding.kind);
        self.current.add(finding.kind);
        if self.json {
            self.line_json(&FindingView(&finding));
        } else if self.output.is_ok() {
            let line = format!("{}\n", FindingView(&finding));
            let (out, output) = (&mut self.out, &mut self.output);
            self.progress
                .suspend(|| *output = out.write_all(line.as_bytes()));
        }
    }

    fn bytes_read(&mut self, size_bytes: u64) {
        self.progress.inc(size_bytes);
    }
}

#[derive(Debug, Serialize)]
struct Totals {
    segments: u64,
    sidecars: u64,
    blocks: u64,
    batches: u64,
    records: u64,
    block_bytes: u64,
    offsets_damaged: u64,
}

impl Totals {
    fn of(summary: &LogSummary) -> Self {
        Self {
            segments: summary.segments,
            sidecars: summary.sidecars,
            blocks: summary.blocks,
            batches: summary.batches,
            records: summary.records,
            block_bytes: summary.block_bytes,
            offsets_damaged: summary.offsets_damaged,
        }
    }
}

#[derive(Debug, Serialize)]
struct LogLine {
    r#type: &'static str,
    path: String,
    log_id: Option<u64>,
    log_start_offset: i64,
    log_end_offset: i64,
    #[serde(flatten)]
    totals: Totals,
    damage: u64,
    unchecked: u64,
}

#[derive(Debug, Serialize)]
struct SummaryLine {
    r#type: &'static str,
    logs: usize,
    #[serde(flatten)]
    totals: Totals,
    damage: u64,
    unchecked: u64,
    notes: u64,
}
