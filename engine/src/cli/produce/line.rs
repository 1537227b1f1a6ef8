//! From a line of input to a record.

use thiserror::Error;

/// How a line is read. Each line is one record; its end is not part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineFormat {
    /// What divides the key from the value, if lines hold keys.
    pub(crate) key_separator: Option<Vec<u8>>,
    /// The key of every record, if lines hold none.
    pub(crate) key: Option<Vec<u8>>,
    /// A key or value with exactly this text is null.
    pub(crate) null_marker: Option<Vec<u8>>,
}

/// One record to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InputRecord {
    /// The line it stood on, counted from 1.
    pub(crate) line: u64,
    /// When it was read.
    pub(crate) timestamp_ms: i64,
    /// Its key, or null.
    pub(crate) key: Option<Vec<u8>>,
    /// Its value, or null.
    pub(crate) value: Option<Vec<u8>>,
}

impl InputRecord {
    /// Bytes of payload, and a little for what surrounds them.
    pub(crate) fn size_bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 16;
        OVERHEAD_BYTES
            + self.key.as_ref().map_or(0, Vec::len)
            + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// A line that is no record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum LineError {
    /// Without the separator it is not known where the key ends.
    #[error("line {line} has no key: {separator:?} does not occur in it")]
    NoSeparator {
        /// Counted from 1.
        line: u64,
        /// The separator as text.
        separator: String,
    },
}

impl LineFormat {
    /// Reads `line`, given without its end.
    pub(crate) fn parse(
        &self,
        line: u64,
        text: &[u8],
        timestamp_ms: i64,
    ) -> Result<InputRecord, LineError> {
        let (key, value) = match &self.key_separator {
            Some(separator) => {
                let at = find(text, separator).ok_or_else(|| LineError::NoSeparator {
                    line,
                    separator: String::from_utf8_lossy(separator).into_owned(),
                })?;
                (
                    self.field(&text[..at]),
                    self.field(&text[at + separator.len()..]),
                )
            }
            None => (self.key.clone(), self.field(text)),
        };
        Ok(InputRecord {
            line,
            timestamp_ms,
            key,
            value,
        })
    }

    fn field(&self, text: &[u8]) -> Option<Vec<u8>> {
        (self.null_marker.as_deref() != Some(text)).then(|| text.to_vec())
    }
}

/// Where `needle`, which is not empty, first occurs.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `None` stands for a line that is refused, `-` for null.
    fn check(format: &LineFormat, table: &[(&str, Option<(&str, &str)>)]) {
        for (text, expected) in table {
            let got = format.parse(7, text.as_bytes(), 1).ok().map(|record| {
                let show = |field: Option<Vec<u8>>| {
                    field.map_or("-".to_owned(), |bytes| String::from_utf8(bytes).unwrap())
                };
                (show(record.key), show(record.value))
            });
            let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(got, expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_is_a_value() {
        check(
            &LineFormat::default(),
            &[("a:b", Some(("-", "a:b"))), ("", Some(("-", "")))],
        );
    }

    #[test]
    fn the_first_separator_ends_the_key() {
        let format = LineFormat {
            key_separator: Some(b"::".to_vec()),
            ..LineFormat::default()
        };
        check(
            &format,
            &[
                ("k::v", Some(("k", "v"))),
                ("k::v::w", Some(("k", "v::w"))),
                ("k:::v", Some(("k", ":v"))),
                ("::v", Some(("", "v"))),
                ("k::", Some(("k", ""))),
                ("k:v", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn the_marker_stands_for_null() {
        let format = LineFormat {
            key_separator: Some(b"=".to_vec()),
            null_marker: Some(b"NULL".to_vec()),
            key: None,
        };
        check(
            &format,
            &[
                ("NULL=NULL", Some(("-", "-"))),
                ("k=NULL", Some(("k", "-"))),
                ("NULL=v", Some(("-", "v"))),
                ("NULLs=null", Some(("NULLs", "null"))),
            ],
        );
        let empty = LineFormat {
            null_marker: Some(Vec::new()),
            ..LineFormat::default()
        };
        check(&empty, &[("", Some(("-", "-"))), ("v", Some(("-", "v")))]);
    }

    #[test]
    fn one_key_serves_all_lines() {
        let format = LineFormat {
            key: Some(b"k".to_vec()),
            ..LineFormat::default()
        };
        check(
            &format,
            &[("a", Some(("k", "a"))), ("b=c", Some(("k", "b=c")))],
        );
    }

    #[test]
    fn a_refusal_names_the_line() {
        let format = LineFormat {
            key_separator: Some(b"\t".to_vec()),
            ..LineFormat::default()
        };
        let error = format.parse(12, b"no tab", 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 12 has no key: \"\\t\" does not occur in it"
        );
    }
}
