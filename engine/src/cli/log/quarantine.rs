//! `corelane log quarantine list`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use corelane_storage::inspect::{
    Finding, FindingKind, VerifyOptions, VerifySink, quarantined_ranges, verify_log,
};
use serde::Serialize;

use super::QuarantineListArgs;
use super::place::{Place, find};
use super::read_only_disk::ReadOnlyDisk;
use crate::cli::stdout::Stdout;
use crate::cli::table::{self, Align};
use crate::cli::{Outcome, note};

/// A damaged range; offsets and positions are half-open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Damaged {
    path: String,
    start_offset: i64,
    end_offset: i64,
    position: Option<u64>,
    until: Option<u64>,
    size_bytes: Option<u64>,
    /// Whether a sidecar has it on record.
    recorded: bool,
    /// Whether a fresh look finds it; nobody knows where none was taken.
    found_by_scan: Option<bool>,
    reason: String,
}

/// Runs the command.
pub(super) fn run(arguments: &QuarantineListArgs) -> anyhow::Result<Outcome> {
    let places = find(&arguments.paths)?;
    let _locks = if arguments.scan {
        places.lock()?
    } else {
        Vec::new()
    };
    let mut all = Vec::new();
    let mut unreadable = false;
    for place in &places.logs {
        let recorded = recorded(place)?;
        if arguments.scan {
            let found = scan(place)?;
            unreadable |= found.unreadable;
            all.extend(merge(recorded, found.damaged));
        } else {
            all.extend(recorded);
        }
    }
    let mut out = Stdout::lock();
    if arguments.json {
        out.json(&all)?;
    } else {
        out.write_all(show(&all).as_bytes())?;
        if all.is_empty() && !arguments.scan {
            note("nothing is on record; --scan reads the data itself");
        }
    }
    out.flush()?;
    Ok(if unreadable {
        Outcome::Unchecked
    } else {
        Outcome::Success
    })
}

fn recorded(place: &Place) -> anyhow::Result<Vec<Damaged>> {
    let ranges = quarantined_ranges(&ReadOnlyDisk, &place.directory, place.only);
    let ranges = futures_lite::future::block_on(ranges)
        .with_context(|| format!("cannot read {}", place.directory.display()))?;
    Ok(ranges
        .into_iter()
        .map(|range| Damaged {
            size_bytes: size_bytes(&range.path, range.position, range.until),
            path: range.path.display().to_string(),
            start_offset: range.offsets.start.get(),
            end_offset: range.offsets.end.get(),
            position: range.position,
            until: range.until,
            recorded: true,
            found_by_scan: None,
            reason: range.detail,
        })
        .collect())
}

/// What a fresh look finds.
#[derive(Default)]
struct Found {
    damaged: Vec<Damaged>,
    unreadable: bool,
}

impl VerifySink for Found {
    fn finding(&mut self, finding: Finding) {
        match (finding.kind, finding.offsets) {
            (FindingKind::DamagedRecords, Some(offsets)) => self.damaged.push(Damaged {
                size_bytes: size_bytes(&finding.path, finding.position, finding.until),
                path: finding.path.display().to_string(),
                start_offset: offsets.start.get(),
                end_offset: offsets.end.get(),
                position: finding.position,
                until: finding.until,
                recorded: false,
                found_by_scan: Some(true),
                reason: finding.detail,
            }),
            (FindingKind::Unreadable, _) => {
                note(&format!("{}: {}", finding.path.display(), finding.detail));
                self.unreadable = true;
            }
            _ => {}
        }
    }

    fn bytes_read(&mut self, _size_bytes: u64) {}
}

fn scan(place: &Place) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let check = verify_log(
        &ReadOnlyDisk,
        &place.directory,
        place.log_id,
        place.only,
        VerifyOptions::default(),
        &mut found,
    );
    futures_lite::future::block_on(check)
        .with_context(|| format!("cannot read {}", place.directory.display()))?;
    Ok(found)
}

/// One list of both: a range that is on record and found is listed once.
fn merge(recorded: Vec<Damaged>, mut found: Vec<Damaged>) -> Vec<Damaged> {
    let mut all = Vec::new();
    for mut range in recorded {
        let same = |other: &&mut Damaged| {
            other.path == range.path
                && other.start_offset < range.end_offset
                && range.start_offset < other.end_offset
        };
        let mut again = found.iter_mut().filter(same).peekable();
        if again.peek().is_some() {
            again.for_each(|other| other.recorded = true);
        } else {
            range.found_by_scan = Some(false);
            all.push(range);
        }
    }
    all.append(&mut found);
    all.sort_by(|a, b| (&a.path, a.start_offset).cmp(&(&b.path, b.start_offset)));
    all
}

fn size_bytes(path: &PathBuf, position: Option<u64>, until: Option<u64>) -> Option<u64> {
    let until = until.or_else(|| std::fs::metadata(path).ok().map(|metadata| metadata.len()))?;
    Some(until.saturating_sub(position?))
}

fn show(ranges: &[Damaged]) -> String {
    let mut table = table::table(&[
        ("segment", Align::Left),
        ("offsets", Align::Left),
        ("position", Align::Right),
        ("bytes", Align::Right),
        ("known by", Align::Left),
        ("reason", Align::Left),
    ]);
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    for range in ranges {
        let known_by = match (range.recorded, range.found_by_scan) {
            (true, Some(true)) => "record, scan",
            (false, _) => "scan",
            (true, Some(false)) => "record (sound now)",
            (true, None) => "record",
        };
        table.add_row([
            range.path.clone(),
            format!("{}..{}", range.start_offset, range.end_offset),
            number(range.position),
            number(range.size_bytes),
            known_by.to_owned(),
            range.reason.clone(),
        ]);
    }
    table::lines(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(path: &str, start_offset: i64, end_offset: i64, recorded: bool) -> Damaged {
        Damaged {
            path: path.to_owned(),
            start_offset,
            end_offset,
            position: None,
            until: None,
            size_bytes: None,
            recorded,
            found_by_scan: (!recorded).then_some(true),
            reason: String::new(),
        }
    }

    #[test]
    fn what_is_on_record_and_found_is_listed_once() {
        let merged = merge(
            vec![range("a", 0, 5, true), range("b", 0, 5, true)],
            vec![range("b", 3, 4, false), range("a", 7, 9, false)],
        );
        let told: Vec<_> = merged
            .iter()
            .map(|range| {
                let path = range.path.as_str();
                (
                    path,
                    range.start_offset,
                    range.recorded,
                    range.found_by_scan,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("a", 0, true, Some(false)),
                ("a", 7, false, Some(true)),
                ("b", 3, true, Some(true))
            ]
        );
        let text = show(&merged);
        assert!(
            text.contains("0..5") && text.contains("sound now"),
            "{text}"
        );
    }
}
