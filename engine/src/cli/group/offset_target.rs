//! Where a reset takes an offset.

use corelane_engine::config::units::parse_duration_ms;
use corelane_engine::utc;

const MS_PER_DAY: u64 = 86_400_000;
/// The units behind the `T` of an ISO 8601 duration.
const ISO_TIME_UNITS: [(char, u64); 3] = [('H', 3_600_000), ('M', 60_000), ('S', 1_000)];

/// What the new offset is worked out from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OffsetTarget {
    /// The first record that is there.
    Earliest,
    /// The end.
    Latest,
    /// What is committed; the end where nothing is.
    Current,
    /// This offset.
    Offset(i64),
    /// So many records further, or back.
    Shift(i64),
    /// The first record at or after this time, in milliseconds since the epoch; the end where there is none.
    Time(i64),
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The first offset that can be read.
    pub(super) earliest: i64,
    /// The offset after the last that can be read.
    pub(super) latest: i64,
    /// The group's offset, if it has one.
    pub(super) committed: Option<i64>,
    /// The first offset at or after the wanted time, if there is one.
    pub(super) at_time: Option<i64>,
}

/// Works out the new offset, which always lies within the partition; `None` for a shift of nothing.
///
/// ```text
/// target      new offset
/// earliest    earliest
/// latest      latest
/// current     committed, else latest
/// offset      it, moved into earliest..=latest
/// shift       committed + n, moved into earliest..=latest; none without a committed offset
/// time        the first record at or after it, else latest
/// ```
pub(super) fn decide(target: OffsetTarget, known: Known) -> Option<i64> {
    let inside = |offset: i64| offset.min(known.latest).max(known.earliest);
    match target {
        OffsetTarget::Earliest => Some(known.earliest),
        OffsetTarget::Latest => Some(known.latest),
        OffsetTarget::Current => Some(known.committed.map_or(known.latest, inside)),
        OffsetTarget::Offset(offset) => Some(inside(offset)),
        OffsetTarget::Shift(by) => known
            .committed
            .map(|committed| inside(committed.saturating_add(by))),
        OffsetTarget::Time(_) => Some(known.at_time.unwrap_or(known.latest)),
    }
}

/// A point in time as `--to-datetime` takes it, in milliseconds since the epoch.
pub(super) fn parse_datetime(text: &str) -> Result<i64, String> {
    utc::parse(text).map(corelane_format::ids::TimestampMs::get).ok_or_else(|| {
        "expected a date and time as 2026-11-21T07:33:01.250, in UTC unless it ends in an offset as +02:00".to_owned()
    })
}

/// A time span as `--by-duration` takes it, in milliseconds: `90m`, `7d`, or ISO 8601's `P1DT12H30M`.
pub(super) fn parse_span(text: &str) -> Result<i64, String> {
    let ms = match text.strip_prefix('P') {
        Some(iso) => parse_iso_span(iso)
            .ok_or_else(|| format!("{text:?} is no ISO 8601 duration as P7D or PT1H30M"))?,
        None => parse_duration_ms(text).map_err(|error| error.to_string())?,
    };
    i64::try_from(ms).map_err(|_| format!("{text:?} is too long"))
}

fn parse_iso_span(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) if !time.is_empty() => (date, time),
        Some(_) => return None,
        None => (text, ""),
    };
    let mut total_ms: u64 = 0;
    if !date.is_empty() {
        let days: u64 = date.strip_suffix('D')?.parse().ok()?;
        total_ms = days.checked_mul(MS_PER_DAY)?;
    } else if time.is_empty() {
        return None;
    }
    let mut rest = time;
    for (unit, unit_ms) in ISO_TIME_UNITS {
        if let Some((number, after)) = rest.split_once(unit) {
            let number: u64 = number.parse().ok()?;
            total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
            rest = after;
        }
    }
    rest.is_empty().then_some(total_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_offset_is_what_the_table_says() {
        let with = |committed, at_time| Known {
            earliest: 10,
            latest: 20,
            committed,
            at_time,
        };
        let table = [
            (OffsetTarget::Earliest, None, None, Some(10)),
            (OffsetTarget::Latest, Some(12), None, Some(20)),
            (OffsetTarget::Current, Some(12), None, Some(12)),
            (OffsetTarget::Current, Some(5), None, Some(10)),
            (OffsetTarget::Current, None, None, Some(20)),
            (OffsetTarget::Offset(9), None, None, Some(10)),
            (OffsetTarget::Offset(15), None, None, Some(15)),
            (OffsetTarget::Offset(20), None, None, Some(20)),
            (OffsetTarget::Offset(i64::MAX), None, None, Some(20)),
            (OffsetTarget::Shift(-1), Some(12), None, Some(11)),
            (OffsetTarget::Shift(-5), Some(12), None, Some(10)),
            (OffsetTarget::Shift(i64::MAX), Some(12), None, Some(20)),
            (OffsetTarget::Shift(0), Some(25), None, Some(20)),
            (OffsetTarget::Shift(1), None, None, None),
            (OffsetTarget::Time(7), None, Some(13), Some(13)),
            (OffsetTarget::Time(7), None, None, Some(20)),
        ];
        for (target, committed, at_time, expected) in table {
            assert_eq!(
                decide(target, with(committed, at_time)),
                expected,
                "{target:?} {committed:?}"
            );
        }
    }

    #[test]
    fn spans_are_read_in_both_notations() {
        let table = [
            ("90m", Some(5_400_000)),
            ("7d", Some(604_800_000)),
            ("PT1H30M", Some(5_400_000)),
            ("P7D", Some(604_800_000)),
            ("P1DT1S", Some(86_401_000)),
            ("PT2H3S", Some(7_203_000)),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("P1H", None),
            ("PT1M1H", None),
            ("PT-1H", None),
            ("P1W", None),
            ("", None),
            ("P999999999999999999D", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_span(text).ok(), expected, "{text:?}");
        }
    }
}
