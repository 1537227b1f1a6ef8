//! What became of the lines.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::line_set::LineSet;
use crate::cli::Outcome;
use crate::cli::stdout::Stdout;

/// What was delivered, what was not, and why.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    topic: String,
    /// Whether deliveries were acknowledged.
    acknowledged: bool,
    partitions: BTreeMap<i32, Delivered>,
    /// Lines that were read and not delivered.
    lost: LineSet,
    /// The first reason that anything was not delivered, or not read.
    reason: Option<String>,
}

/// What one partition has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Delivered {
    records: u64,
    /// First and last offset, inclusive, as far as the server said.
    offsets: Option<(i64, i64)>,
}

#[derive(Serialize)]
struct Json<'a> {
    topic: &'a str,
    records: u64,
    acknowledged: bool,
    partitions: Vec<JsonPartition>,
    /// Lines that were not delivered, as inclusive ranges.
    undelivered_lines: Vec<(u64, u64)>,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonPartition {
    partition: i32,
    records: u64,
    first_offset: Option<i64>,
    last_offset: Option<i64>,
}

impl Summary {
    /// Nothing yet, of records for `topic`.
    pub(crate) fn new(topic: String, acknowledged: bool) -> Self {
        Self {
            topic,
            acknowledged,
            ..Self::default()
        }
    }

    /// A batch was delivered, at `base_offset` if that is known.
    pub(crate) fn delivered(&mut self, partition: i32, records: usize, base_offset: Option<i64>) {
        let delivered = self.partitions.entry(partition).or_default();
        delivered.records += records as u64;
        if let Some(first) = base_offset {
            let last = first.saturating_add(records as i64).saturating_sub(1);
            let (low, high) = delivered.offsets.unwrap_or((first, last));
            delivered.offsets = Some((low.min(first), high.max(last)));
        }
    }

    /// These lines were not delivered, for this reason.
    pub(crate) fn lost(&mut self, lines: Vec<u64>, reason: &str) {
        if !lines.is_empty() {
            self.lost.extend(lines);
            self.failed(reason);
        }
    }

    /// Something went wrong besides, or instead.
    pub(crate) fn failed(&mut self, reason: &str) {
        self.reason.get_or_insert_with(|| reason.to_owned());
    }

    /// Prints all this, and gives the verdict.
    pub(crate) fn report(self, json: bool) -> anyhow::Result<Outcome> {
        let records = self
            .partitions
            .values()
            .map(|delivered| delivered.records)
            .sum();
        let mut out = Stdout::lock();
        if json {
            out.json(&Json {
                topic: &self.topic,
                records,
                acknowledged: self.acknowledged,
                partitions: self
                    .partitions
                    .iter()
                    .map(|(partition, delivered)| JsonPartition {
                        partition: *partition,
                        records: delivered.records,
                        first_offset: delivered.offsets.map(|(first, _)| first),
                        last_offset: delivered.offsets.map(|(_, last)| last),
                    })
                    .collect(),
                undelivered_lines: self.lost.ranges(),
                error: self.reason.as_deref(),
            })?;
        } else {
            let verb = if self.acknowledged {
                "delivered"
            } else {
                "sent, unacknowledged,"
            };
            let noun = if records == 1 { "record" } else { "records" };
            writeln!(out, "{verb} {records} {noun} to {}", self.topic)?;
        }
        out.flush()?;
        drop(out);
        Ok(match self.complaint() {
            None => Outcome::Success,
            Some(complaint) => {
                crate::cli::complain(&complaint);
                Outcome::Failure
            }
        })
    }

    fn complaint(&self) -> Option<String> {
        let reason = self.reason.as_deref()?;
        Some(if self.lost.is_empty() {
            reason.to_owned()
        } else {
            format!("{} not delivered: {reason}", self.lost)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_span_what_was_delivered() {
        let mut summary = Summary::new("t".to_owned(), true);
        summary.delivered(1, 3, Some(10));
        summary.delivered(1, 2, None);
        summary.delivered(1, 2, Some(15));
        summary.delivered(0, 1, None);
        let expected = BTreeMap::from([
            (
                0,
                Delivered {
                    records: 1,
                    offsets: None,
                },
            ),
            (
                1,
                Delivered {
                    records: 7,
                    offsets: Some((10, 16)),
                },
            ),
        ]);
        assert_eq!(summary.partitions, expected);
        assert_eq!(summary.complaint(), None);
    }

    #[test]
    fn the_first_reason_is_told_with_every_line() {
        let mut summary = Summary::new("t".to_owned(), true);
        summary.lost(vec![4, 5], "too large");
        summary.lost(vec![9], "another");
        summary.lost(Vec::new(), "nothing");
        assert_eq!(
            summary.complaint().as_deref(),
            Some("lines 4-5, 9 not delivered: too large")
        );
        let mut summary = Summary::new("t".to_owned(), true);
        summary.failed("cannot read line 3");
        assert_eq!(summary.complaint().as_deref(), Some("cannot read line 3"));
    }
}
