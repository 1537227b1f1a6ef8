//! Where reading starts: what `--from` may say.

use std::str::FromStr;

use thiserror::Error;

/// A position that is looked up in each partition for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartFrom {
    /// The oldest record that is still there.
    Earliest,
    /// The end: what is produced from now on.
    Latest,
    /// This offset.
    Offset(i64),
    /// So many records before the end.
    Last(i64),
    /// The first record at or after this time.
    Timestamp(i64),
}

/// A text that is no position.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{got:?} is no position; write earliest, latest, an offset, -N for the last N records, or timestamp:MS"
)]
pub(crate) struct StartFromError {
    got: String,
}

impl FromStr for StartFrom {
    type Err = StartFromError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| {
            digits
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| digits.parse::<i64>().ok())
                .flatten()
        };
        let position = match text {
            "earliest" | "beginning" => Some(Self::Earliest),
            "latest" | "end" => Some(Self::Latest),
            _ => match (text.strip_prefix("timestamp:"), text.strip_prefix('-')) {
                (Some(ms), _) => number(ms).map(Self::Timestamp),
                (None, Some(count)) => number(count).map(Self::Last),
                (None, None) => number(text).map(Self::Offset),
            },
        };
        position.ok_or_else(|| StartFromError {
            got: text.to_owned(),
        })
    }
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first offset that can be read.
    pub(crate) earliest: i64,
    /// The offset after the last that can be read.
    pub(crate) latest: i64,
    /// The first offset at or after the wanted time, where one was wanted and is there.
    pub(crate) at_timestamp: Option<i64>,
}

/// Where to start in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Here.
    At(i64),
    /// At the earliest offset, given here, because the wanted one is gone.
    AfterGap(i64),
    /// Nowhere: the wanted offset is beyond the end.
    BeyondEnd,
}

/// Decides where to start.
///
/// ```text
/// from          wanted                                    start
/// earliest                                                earliest
/// latest                                                  latest
/// offset        < earliest                                earliest, with a gap
///               within, or the end itself                 there
///               > latest                                  nowhere
/// last n        more than there are                       earliest
///               else                                      latest - n
/// timestamp     a record at or after it                   there
///               none                                      latest
/// ```
pub(crate) fn decide(from: StartFrom, bounds: Bounds) -> Start {
    let Bounds {
        earliest,
        latest,
        at_timestamp,
    } = bounds;
    match from {
        StartFrom::Earliest => Start::At(earliest),
        StartFrom::Latest => Start::At(latest),
        StartFrom::Offset(offset) if offset < earliest => Start::AfterGap(earliest),
        StartFrom::Offset(offset) if offset > latest => Start::BeyondEnd,
        StartFrom::Offset(offset) => Start::At(offset),
        StartFrom::Last(count) => Start::At(latest.saturating_sub(count).max(earliest)),
        StartFrom::Timestamp(_) => Start::At(at_timestamp.unwrap_or(latest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read() {
        let table = [
            ("earliest", Some(StartFrom::Earliest)),
            ("latest", Some(StartFrom::Latest)),
            ("0", Some(StartFrom::Offset(0))),
            ("42", Some(StartFrom::Offset(42))),
            ("-10", Some(StartFrom::Last(10))),
            (
                "timestamp:1767225600000",
                Some(StartFrom::Timestamp(1_767_225_600_000)),
            ),
            ("timestamp:", None),
            ("timestamp:-1", None),
            ("timestamp:now", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("+1", None),
            ("1.5", None),
            ("first", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_start_is_where_the_table_says() {
        let with = |at_timestamp| Bounds {
            earliest: 10,
            latest: 20,
            at_timestamp,
        };
        let table = [
            (StartFrom::Earliest, None, Start::At(10)),
            (StartFrom::Latest, None, Start::At(20)),
            (StartFrom::Offset(9), None, Start::AfterGap(10)),
            (StartFrom::Offset(10), None, Start::At(10)),
            (StartFrom::Offset(20), None, Start::At(20)),
            (StartFrom::Offset(21), None, Start::BeyondEnd),
            (StartFrom::Last(0), None, Start::At(20)),
            (StartFrom::Last(3), None, Start::At(17)),
            (StartFrom::Last(11), None, Start::At(10)),
            (StartFrom::Last(i64::MAX), None, Start::At(10)),
            (StartFrom::Timestamp(5), Some(13), Start::At(13)),
            (StartFrom::Timestamp(5), None, Start::At(20)),
        ];
        for (from, at_timestamp, expected) in table {
            assert_eq!(decide(from, with(at_timestamp)), expected, "{from:?}");
        }
    }
}
