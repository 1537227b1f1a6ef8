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
        // Whatever a producer claimed, showing it does not fail.
        assert!(show(TimestampMs::new(i64::MAX)).ends_with('Z'));
    }
}
