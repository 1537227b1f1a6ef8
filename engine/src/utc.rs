//! Timestamps as people read them: ISO 8601 in UTC, to the millisecond.

use corelane_format::ids::TimestampMs;

const MS_PER_DAY: i64 = 86_400_000;

/// `2026-11-21T07:33:01.250Z`, or `-` for "no timestamp".
pub fn show(timestamp: TimestampMs) -> String {
    let ms = timestamp.get();
    if ms < 0 {
        return "-".to_owned();
    }
    let (year, month, day) = civil_date(ms / MS_PER_DAY);
    let ms = ms % MS_PER_DAY;
    let (seconds, ms) = (ms / 1000, ms % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Reads `2026-11-21T07:33:01.250Z` and shorter forms: without milliseconds, seconds, or the time of day. Without `Z` or
/// an offset as `+02:00` it is UTC. `None` for anything else, for dates that no calendar has, and before 1970.
pub fn parse(text: &str) -> Option<TimestampMs> {
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let mut parts = date.splitn(3, '-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    let days = days_since_epoch(year, month, day)?;
    let (time, offset_minutes) = split_offset(time)?;
    let mut ms = 0;
    if !time.is_empty() {
        let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let mut parts = clock.split(':');
        let hours = digits(parts.next()?, 2).filter(|hours| *hours < 24)?;
        let minutes = digits(parts.next()?, 2).filter(|minutes| *minutes < 60)?;
        let seconds = match parts.next() {
            Some(seconds) => digits(seconds, 2).filter(|seconds| *seconds < 60)?,
            None => 0,
        };
        if parts.next().is_some() || !(1..=3).contains(&fraction.len()) {
            return None;
        }
        let scale = [100, 10, 1][fraction.len() - 1];
        let fraction = digits(fraction, fraction.len())? * scale;
        ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + fraction;
    } else if text.contains('T') {
        return None;
    }
    let ms = days * MS_PER_DAY + ms - offset_minutes * 60_000;
    (ms >= 0).then(|| TimestampMs::new(ms))
}

/// The time of day, and how many minutes it is ahead of UTC.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else {
        return Some((time, 0));
    };
    let (time, offset) = time.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let hours = digits(hours, 2).filter(|hours| *hours < 24)?;
    let minutes = digits(minutes, 2).filter(|minutes| *minutes < 60)?;
    Some((time, sign * (hours * 60 + minutes)))
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// The inverse of [`civil_date`]; `None` if the month has no such day.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    if year < 1970 || !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    // Years are counted from March here as well.
    let (year_from_march, month_from_march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year_from_march / 400;
    let year_of_era = year_from_march % 400;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (civil_date(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of a number of days since 1970-01-01, not negative.
///
/// Years are counted from March, so that the leap day is a year's last; 400 years are always 146,097 days.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // since 0000-03-01
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let table = [
            (-1, "-"),
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_767_225_599_000, "2025-12-31T23:59:59.000Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (ms, expected) in table {
            assert_eq!(show(TimestampMs::new(ms)), expected);
        }
        for (ms, text) in table.into_iter().filter(|(ms, _)| *ms >= 0) {
            assert_eq!(parse(text), Some(TimestampMs::new(ms)), "{text}");
        }
        // Whatever a producer claimed, showing it does not fail.
        assert!(show(TimestampMs::new(i64::MAX)).ends_with('Z'));
    }

    #[test]
    fn shorter_forms_and_offsets_are_read_and_nothing_else() {
        let midnight = 1_767_225_600_000;
        let table = [
            ("2026-01-01", Some(midnight)),
            ("2026-01-01T00:00", Some(midnight)),
            ("2026-01-01T00:00:00", Some(midnight)),
            ("2026-01-01T00:00:00.5", Some(midnight + 500)),
            ("2026-01-01T02:00+02:00", Some(midnight)),
            ("2025-12-31T22:30:00.000-01:30", Some(midnight)),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-00-01", None),
            ("2026-01-32", None),
            ("2026-1-1", None),
            ("1969-12-31", None),
            ("1970-01-01T00:00+01:00", None),
            ("2026-01-01T", None),
            ("2026-01-01T24:00", None),
            ("2026-01-01T00:60", None),
            ("2026-01-01T00:00:60", None),
            ("2026-01-01T00:00:00.1234", None),
            ("2026-01-01T00:00:00.", None),
            ("2026-01-01 00:00", None),
            ("noon", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).map(TimestampMs::get), expected, "{text:?}");
        }
    }
}
