//! Sizes and durations with units: `64KiB`, `10s`. A plain number is bytes, or milliseconds.

use thiserror::Error;

/// Why a text is no size or duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// There is no number in front.
    #[error("a number is needed, as in {example}")]
    NoNumber {
        /// A text of the right kind.
        example: &'static str,
    },
    /// The unit is not known.
    #[error("{got} is no unit of {quantity}; use {known}")]
    UnknownUnit {
        /// The unit as given, cut.
        got: String,
        /// What the unit should be of.
        quantity: &'static str,
        /// The units that are known.
        known: &'static str,
    },
    /// The result does not fit into 63 bits.
    #[error("{number}{unit} is too large")]
    TooLarge {
        /// The number as given, cut.
        number: String,
        /// The unit.
        unit: String,
    },
}

const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
];

const DURATIONS: &[(&str, u64)] = &[
    ("", 1),
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Parses a size in bytes: `65536`, `64KiB`, `64 kib`, `1GB`. Units are powers of 1024 with an `i`, of 1000 without.
///
/// # Errors
/// The text is no size, or does not fit into 63 bits.
pub fn parse_size_bytes(text: &str) -> Result<u64, UnitError> {
    parse(
        text,
        SIZES,
        "64KiB",
        "size",
        "B, KiB, MiB, GiB, TiB, KB, MB, GB or TB",
    )
}

/// Parses a duration in milliseconds: `1500`, `10s`, `5min`, `7d`.
///
/// # Errors
/// The text is no duration, or does not fit into 63 bits.
pub fn parse_duration_ms(text: &str) -> Result<u64, UnitError> {
    parse(text, DURATIONS, "10s", "time", "ms, s, min, h or d")
}

/// Rewrites a setting's value into the plain number that its definition takes, where its name says that it is a size
/// (`...bytes`) or a duration (`...ms`) and the value carries a unit. Everything else is passed through.
///
/// # Errors
/// There is a number with something behind it that is no unit.
pub fn without_unit(name: &str, text: &str) -> Result<String, UnitError> {
    let text = text.trim();
    let has_unit = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_alphabetic());
    if !has_unit {
        return Ok(text.to_owned());
    }
    let suffix = name.rsplit(['.', '_']).next();
    if suffix == Some("bytes") {
        parse_size_bytes(text).map(|size| size.to_string())
    } else if suffix == Some("ms") {
        parse_duration_ms(text).map(|duration| duration.to_string())
    } else {
        Ok(text.to_owned())
    }
}

fn parse(
    text: &str,
    units: &[(&str, u64)],
    example: &'static str,
    quantity: &'static str,
    known: &'static str,
) -> Result<u64, UnitError> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    if number.is_empty() {
        return Err(UnitError::NoNumber { example });
    }
    let factor = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, factor)| *factor);
    let Some(factor) = factor else {
        return Err(UnitError::UnknownUnit {
            got: super::definition::echo(unit),
            quantity,
            known,
        });
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|product| i64::try_from(*product).is_ok())
        .ok_or_else(|| UnitError::TooLarge {
            number: super::definition::echo(number),
            unit: unit.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_and_durations_carry_their_units() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("1MiB", 1_048_576),
            ("2GiB", 2 << 30),
            ("1TiB", 1 << 40),
            ("3kB", 3_000),
            ("5B", 5),
        ] {
            assert_eq!(parse_size_bytes(text), Ok(bytes), "{text}");
        }
        for (text, ms) in [
            ("1500", 1_500),
            ("250ms", 250),
            ("10s", 10_000),
            ("2m", 120_000),
            ("2min", 120_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_what_would_be_one() {
        for (text, message) in [
            ("", "a number is needed, as in 64KiB"),
            ("KiB", "a number is needed, as in 64KiB"),
            ("-1", "a number is needed, as in 64KiB"),
            (
                "10s",
                "s is no unit of size; use B, KiB, MiB, GiB, TiB, KB, MB, GB or TB",
            ),
            (
                "1.5GiB",
                ".5GiB is no unit of size; use B, KiB, MiB, GiB, TiB, KB, MB, GB or TB",
            ),
            ("9999999TiB", "9999999TiB is too large"),
            ("99999999999999999999", "99999999999999999999 is too large"),
        ] {
            assert_eq!(
                parse_size_bytes(text).map_err(|e| e.to_string()),
                Err(message.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn only_settings_that_are_sizes_or_durations_take_units() {
        for (name, text, expected) in [
            ("log.segment.bytes", "1MiB", "1048576"),
            ("log.retention.ms", "1h", "3600000"),
            ("log.retention.ms", "-1", "-1"),
            ("log.retention.hours", "24", "24"),
            ("num.partitions", "3KiB", "3KiB"),
            ("log.cleanup.policy", "compact", "compact"),
        ] {
            assert_eq!(
                without_unit(name, text),
                Ok(expected.to_owned()),
                "{name}={text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,40}") {
            let _ = parse_size_bytes(&text);
            let _ = parse_duration_ms(&text);
            let _ = without_unit("x.bytes", &text);
        }
    }
}
