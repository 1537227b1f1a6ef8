//! `KEY=VALUE` as options take it.

use std::str::FromStr;

use thiserror::Error;

/// A name and what it is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyValue {
    /// Never empty.
    pub(crate) key: String,
    /// May be empty, and may itself hold `=`.
    pub(crate) value: String,
}

/// A text that is no `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected KEY=VALUE, got {got:?}")]
pub(crate) struct KeyValueError {
    got: String,
}

impl FromStr for KeyValue {
    type Err = KeyValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(Self {
                key: key.trim().to_owned(),
                value: value.to_owned(),
            }),
            _ => Err(KeyValueError {
                got: text.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_divides() {
        let table = [
            ("a=b", Some(("a", "b"))),
            ("a=", Some(("a", ""))),
            ("a=b=c", Some(("a", "b=c"))),
            (" a = b", Some(("a", " b"))),
            ("a", None),
            ("=b", None),
            (" =b", None),
            ("", None),
        ];
        for (text, expected) in table {
            let got = text.parse::<KeyValue>().ok();
            let expected = expected.map(|(key, value)| KeyValue {
                key: key.to_owned(),
                value: value.to_owned(),
            });
            assert_eq!(got, expected, "{text:?}");
        }
    }
}
