//! Quantities as a person writes them (`10s`, `64KiB`, `250k`), and back.

use std::time::Duration;

use thiserror::Error;

/// Why a quantity could not be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QuantityError {
    /// No digits where a number must start.
    #[error("{got:?} does not start with a number; write for instance {example}")]
    NoNumber {
        /// What was given.
        got: String,
        /// A value that would have been taken.
        example: &'static str,
    },
    /// The number is fine, what follows it is not a unit of this quantity.
    #[error("{got:?}: {unit:?} is no unit here; known are {known}")]
    UnknownUnit {
        /// What was given.
        got: String,
        /// The part taken for a unit.
        unit: String,
        /// The units there are.
        known: &'static str,
    },
    /// A duration without a unit says nothing.
    #[error("{got:?} has no unit; write for instance {got}s or {got}ms")]
    NoUnit {
        /// What was given.
        got: String,
    },
    /// Larger than can be meant.
    #[error("{got:?} is too large")]
    TooLarge {
        /// What was given.
        got: String,
    },
    /// Zero where something is needed.
    #[error("{got:?} must be more than zero")]
    Zero {
        /// What was given.
        got: String,
    },
}

/// Splits `12.5KiB` into the number and what follows it.
fn number_and_unit<'a>(
    text: &'a str,
    example: &'static str,
) -> Result<(f64, &'a str), QuantityError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = digits
        .replace('_', "")
        .parse::<f64>()
        .map_err(|_| QuantityError::NoNumber {
            got: text.to_owned(),
            example,
        })?;
    Ok((number, unit.trim()))
}

/// Beyond this many a double no longer holds every whole number.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads a duration: a number with one of `ns`, `us`, `ms`, `s`, `m`, `h`. A bare `0` is taken too.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let (number, unit) = number_and_unit(text, "10s")?;
    let ns = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" | "sec" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        "" if number == 0.0 => 0.0,
        "" => {
            return Err(QuantityError::NoUnit {
                got: text.to_owned(),
            });
        }
        unit => {
            return Err(QuantityError::UnknownUnit {
                got: text.to_owned(),
                unit: unit.to_owned(),
                known: "ns, us, ms, s, m and h",
            });
        }
    };
    let total = number * ns;
    if total > EXACT_MAX {
        return Err(QuantityError::TooLarge {
            got: text.to_owned(),
        });
    }
    Ok(Duration::from_nanos(total.round() as u64))
}

/// Reads a duration that must not be zero.
pub fn parse_positive_duration(text: &str) -> Result<Duration, QuantityError> {
    let duration = parse_duration(text)?;
    if duration.is_zero() {
        Err(QuantityError::Zero {
            got: text.to_owned(),
        })
    } else {
        Ok(duration)
    }
}

/// Reads a size in bytes: a plain number, or one with `B`, `KiB`, `MiB`, `GiB` (1024) or `kB`, `MB`, `GB` (1000).
pub fn parse_size(text: &str) -> Result<usize, QuantityError> {
    let (number, unit) = number_and_unit(text, "64KiB")?;
    let factor = match unit {
        "" | "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        unit => {
            return Err(QuantityError::UnknownUnit {
                got: text.to_owned(),
                unit: unit.to_owned(),
                known: "B, KiB, MiB, GiB, kB, MB and GB",
            });
        }
    };
    let total = number * factor;
    if total > EXACT_MAX {
        return Err(QuantityError::TooLarge {
            got: text.to_owned(),
        });
    }
    Ok(total.round() as usize)
}

/// Reads a rate per second: a plain number, or one with `k`, `M` or `G`.
pub fn parse_rate(text: &str) -> Result<f64, QuantityError> {
    let (number, unit) = number_and_unit(text, "250k")?;
    let factor = match unit.strip_suffix("/s").unwrap_or(unit) {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        unit => {
            return Err(QuantityError::UnknownUnit {
                got: text.to_owned(),
                unit: unit.to_owned(),
                known: "k, M and G (records a second)",
            });
        }
    };
    let rate = number * factor;
    if rate > 1e12 {
        return Err(QuantityError::TooLarge {
            got: text.to_owned(),
        });
    }
    if rate <= 0.0 {
        return Err(QuantityError::Zero {
            got: text.to_owned(),
        });
    }
    Ok(rate)
}

/// Reads a part of something: a number above 0 and up to 1.
pub fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        Ok(_) | Err(_) => Err("a part is a number above 0 and up to 1".to_owned()),
    }
}

/// A count for reading: `1.23 M`.
pub fn show_count(count: f64) -> String {
    match count {
        c if c >= 1e9 => format!("{:.2} G", c / 1e9),
        c if c >= 1e6 => format!("{:.2} M", c / 1e6),
        c if c >= 1e4 => format!("{:.1} k", c / 1e3),
        c if c >= 100.0 || c.fract() == 0.0 => format!("{c:.0}"),
        c => format!("{c:.1}"),
    }
}

/// A number of bytes for reading, in thousands: `163.2 MB`.
pub fn show_bytes(bytes: f64) -> String {
    match bytes {
        b if b >= 1e9 => format!("{:.2} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.1} kB", b / 1e3),
        b => format!("{b:.0} B"),
    }
}

/// A latency in microseconds for reading, with the unit that suits it.
pub fn show_latency(us: f64) -> String {
    match us {
        t if t >= 1e6 => format!("{:.2} s", t / 1e6),
        t if t >= 1e4 => format!("{:.1} ms", t / 1e3),
        t if t >= 1e3 => format!("{:.2} ms", t / 1e3),
        t => format!("{t:.0} us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = "
            10s     | 10s
            1.5s    | 1.5s
            500ms   | 500ms
            200us   | 200µs
            7ns     | 7ns
            2m      | 120s
            1h      | 3600s
            0       | 0ns
            0s      | 0ns
            10      | \"10\" has no unit; write for instance 10s or 10ms
            ten     | \"ten\" does not start with a number; write for instance 10s
            -1s     | \"-1s\" does not start with a number; write for instance 10s
            1 day   | \"1 day\": \"day\" is no unit here; known are ns, us, ms, s, m and h
            1.2.3s  | \"1.2.3s\" does not start with a number; write for instance 10s
            9999999h| \"9999999h\" is too large
        ";
        check(table, |text| parse_duration(text).map(|d| format!("{d:?}")));
    }

    #[test]
    fn sizes() {
        let table = "
            100     | 100
            100B    | 100
            64KiB   | 65536
            64 KiB  | 65536
            1.5MiB  | 1572864
            1GiB    | 1073741824
            64kB    | 64000
            64KB    | 64000
            2MB     | 2000000
            1_000   | 1000
            64K     | \"64K\": \"K\" is no unit here; known are B, KiB, MiB, GiB, kB, MB and GB
            KiB     | \"KiB\" does not start with a number; write for instance 64KiB
            99999999GiB | \"99999999GiB\" is too large
        ";
        check(table, |text| parse_size(text).map(|size| size.to_string()));
    }

    #[test]
    fn rates() {
        let table = "
            1000    | 1000
            250k    | 250000
            1.5M    | 1500000
            0.5     | 0.5
            2M/s    | 2000000
            0       | \"0\" must be more than zero
            9999G   | \"9999G\" is too large
            5x      | \"5x\": \"x\" is no unit here; known are k, M and G (records a second)
        ";
        check(table, |text| parse_rate(text).map(|rate| rate.to_string()));
    }

    #[test]
    fn shown_for_reading() {
        assert_eq!(show_count(1_234_567.0), "1.23 M");
        assert_eq!(show_count(999.0), "999");
        assert_eq!(show_count(0.5), "0.5");
        assert_eq!(show_bytes(163_200_000.0), "163.2 MB");
        assert_eq!(show_latency(184.4), "184 us");
        assert_eq!(show_latency(1840.0), "1.84 ms");
    }

    fn check(table: &str, read: impl Fn(&str) -> Result<String, QuantityError>) {
        for line in table.lines().filter(|line| line.contains('|')) {
            let (given, expected) = line.split_once('|').unwrap();
            let got = read(given.trim()).unwrap_or_else(|error| error.to_string());
            assert_eq!(got, expected.trim(), "for {:?}", given.trim());
        }
    }
}
