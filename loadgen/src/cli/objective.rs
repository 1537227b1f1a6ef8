//! A latency objective, as `p99=5ms` or `e2e:p99.9=20ms`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use super::quantity::{QuantityError, parse_positive_duration, show_latency};

/// Which latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// To the acknowledgment.
    Ack,
    /// To the consumer.
    EndToEnd,
}

/// A percentile that must not exceed a limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Objective {
    /// Of which latency.
    pub kind: ObjectiveKind,
    /// Which percentile, above 0 and up to 100.
    pub percentile: f64,
    /// The limit in microseconds.
    pub limit_us: f64,
}

/// Not an objective.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ObjectiveError {
    /// Not of the form.
    #[error("{got:?} is no objective; p99=5ms is one, and e2e:p99.9=20ms")]
    Form {
        /// What was given.
        got: String,
    },
    /// No duration.
    #[error(transparent)]
    Limit(#[from] QuantityError),
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ObjectiveError::Form {
            got: text.to_owned(),
        };
        let (kind, rest) = match text.split_once(':') {
            None => (ObjectiveKind::Ack, text),
            Some(("ack", rest)) => (ObjectiveKind::Ack, rest),
            Some(("e2e", rest)) => (ObjectiveKind::EndToEnd, rest),
            Some(_) => return Err(form()),
        };
        let (percentile, limit) = rest.split_once('=').ok_or_else(form)?;
        let percentile: f64 = match percentile.strip_prefix('p') {
            Some(digits) => digits.parse().map_err(|_| form())?,
            None if percentile == "max" => 100.0,
            None => return Err(form()),
        };
        if !(percentile > 0.0 && percentile <= 100.0) {
            return Err(form());
        }
        Ok(Self {
            kind,
            percentile,
            limit_us: parse_positive_duration(limit)?.as_secs_f64() * 1e6,
        })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ObjectiveKind::Ack => "ack",
            ObjectiveKind::EndToEnd => "end-to-end",
        };
        let limit = show_latency(self.limit_us);
        write!(out, "{kind} p{} <= {limit}", self.percentile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives() {
        let table = "
            p99=5ms           | ack p99 <= 5.00 ms
            ack:p50=200us     | ack p50 <= 200 us
            e2e:p99.9=20ms    | end-to-end p99.9 <= 20.0 ms
            max=1s            | ack p100 <= 1.00 s
            p99               | is no objective
            99=5ms            | is no objective
            p0=5ms            | is no objective
            p101=5ms          | is no objective
            drain:p99=5ms     | is no objective
            p99=5             | has no unit
        ";
        for line in table.lines().filter(|line| line.contains('|')) {
            let (given, expected) = line.split_once('|').unwrap();
            let got = match given.trim().parse::<Objective>() {
                Ok(objective) => objective.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(got.contains(expected.trim()), "{given}: {got}");
        }
    }
}
