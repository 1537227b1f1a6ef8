//! How `consume` prints a record: a template in kcat's notation.

use std::io::{self, Write};
use std::str::FromStr;

use thiserror::Error;

use crate::cli::escape::{self, EscapeError};
use crate::cli::record_view::RecordView;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Headers,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum TemplateError {
    /// A letter that stands for nothing.
    #[error("%{0} stands for nothing; known are %t %p %o %T %k %K %s %S %h and %%")]
    UnknownField(char),
    /// A `%` at the end.
    #[error("a % at the end stands for nothing; write %% to print it")]
    Unfinished,
    /// A backslash that means nothing.
    #[error(transparent)]
    Escape(#[from] EscapeError),
}

impl Template {
    /// Value, then the end of the line.
    pub(crate) fn values() -> Self {
        Self {
            parts: vec![Part::Value, Part::Text(b"\n".to_vec())],
        }
    }

    /// Key, separator, value, then the end of the line: what `produce --key-separator` reads.
    pub(crate) fn keys_and_values(separator: &[u8]) -> Self {
        Self {
            parts: vec![
                Part::Key,
                Part::Text(separator.to_vec()),
                Part::Value,
                Part::Text(b"\n".to_vec()),
            ],
        }
    }

    /// Writes `record`; `null` stands for a null key or value.
    pub(crate) fn write(
        &self,
        out: &mut impl Write,
        record: &RecordView<'_>,
        null: &[u8],
    ) -> io::Result<()> {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.write_all(text)?,
                Part::Topic => out.write_all(record.topic.unwrap_or_default().as_bytes())?,
                Part::Partition => write!(out, "{}", record.partition.unwrap_or(-1))?,
                Part::Offset => write!(out, "{}", record.offset)?,
                Part::Timestamp => write!(out, "{}", record.timestamp)?,
                Part::Key => out.write_all(record.key.unwrap_or(null))?,
                Part::KeyLength => write_length(out, record.key)?,
                Part::Value => out.write_all(record.value.unwrap_or(null))?,
                Part::ValueLength => write_length(out, record.value)?,
                Part::Headers => {
                    for (index, header) in record.headers.iter().enumerate() {
                        if index > 0 {
                            out.write_all(b",")?;
                        }
                        out.write_all(header.key)?;
                        out.write_all(b"=")?;
                        out.write_all(header.value.unwrap_or(null))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The length, or -1 for null.
fn write_length(out: &mut impl Write, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes {
        Some(bytes) => write!(out, "{}", bytes.len()),
        None => out.write_all(b"-1"),
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            if character == '%' {
                let field = match rest.next().ok_or(TemplateError::Unfinished)? {
                    '%' => {
                        plain.push(b'%');
                        continue;
                    }
                    't' => Part::Topic,
                    'p' => Part::Partition,
                    'o' => Part::Offset,
                    'T' => Part::Timestamp,
                    'k' => Part::Key,
                    'K' => Part::KeyLength,
                    's' => Part::Value,
                    'S' => Part::ValueLength,
                    'h' => Part::Headers,
                    other => return Err(TemplateError::UnknownField(other)),
                };
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(field);
            } else if character == '\\' {
                plain.push(escape::after_backslash(&mut rest)?);
            } else {
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::record_view::sample;

    fn print(template: &Template, batch: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        template
            .write(&mut out, &sample::view(batch), b"NULL")
            .unwrap();
        out
    }

    #[test]
    fn every_field_prints() {
        let batch = sample::batch(
            Some(b"k1"),
            Some(b"value"),
            &[(b"a", Some(b"1")), (b"b", None)],
        );
        let table = [
            ("%t[%p]@%o %T", "orders[3]@41 1767225600000"),
            ("%k(%K)=%s(%S)\\n", "k1(2)=value(5)\n"),
            ("{%h}", "{a=1,b=NULL}"),
            ("100%% ü\\t\\x41\\\\", "100% ü\tA\\"),
            ("", ""),
        ];
        for (template, expected) in table {
            let got = print(&template.parse().unwrap(), &batch);
            assert_eq!(String::from_utf8(got).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn nulls_are_shown_by_the_marker_and_bytes_as_they_are() {
        let nulls = sample::batch(None, None, &[]);
        assert_eq!(
            print(&"%k %K %s %S".parse().unwrap(), &nulls),
            b"NULL -1 NULL -1"
        );
        let binary = sample::batch(Some(b"a"), Some(&[0xFF, 0x00]), &[]);
        assert_eq!(
            print(&Template::keys_and_values(b"\t"), &binary),
            b"a\t\xFF\x00\n"
        );
        assert_eq!(print(&Template::values(), &binary), b"\xFF\x00\n");
    }

    #[test]
    fn mistakes_are_named() {
        let table = [
            ("%q", TemplateError::UnknownField('q')),
            ("100%", TemplateError::Unfinished),
            ("\\q", TemplateError::Escape(EscapeError::Unknown('q'))),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Template>(), Err(expected), "{text}");
        }
    }
}
