//! Backslashes in what is typed on a command line: `\t` and the like for bytes that a shell makes hard to write.

use std::str::Chars;

use thiserror::Error;

/// A backslash that stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum EscapeError {
    /// The letter after it is not known.
    #[error("\\{0} is no escape; known are \\n \\r \\t \\0 \\\\ and \\xHH")]
    Unknown(char),
    /// `\x` without two hexadecimal digits.
    #[error("\\x needs two hexadecimal digits")]
    Hexadecimal,
    /// Nothing follows it.
    #[error("a backslash at the end stands for nothing; write it twice to print it")]
    Unfinished,
}

/// Bytes given as text with escapes; for clap to parse an option into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Escaped(pub(crate) Vec<u8>);

impl std::str::FromStr for Escaped {
    type Err = EscapeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            if character == '\\' {
                bytes.push(after_backslash(&mut rest)?);
            } else {
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(Self(bytes))
    }
}

/// Reads what follows a backslash: the byte that the two stand for.
pub(crate) fn after_backslash(rest: &mut Chars<'_>) -> Result<u8, EscapeError> {
    match rest.next().ok_or(EscapeError::Unfinished)? {
        'n' => Ok(b'\n'),
        'r' => Ok(b'\r'),
        't' => Ok(b'\t'),
        '0' => Ok(0),
        '\\' => Ok(b'\\'),
        'x' => {
            let mut digit = || rest.next().and_then(|digit| digit.to_digit(16));
            match (digit(), digit()) {
                (Some(high), Some(low)) => Ok((high * 16 + low) as u8),
                _ => Err(EscapeError::Hexadecimal),
            }
        }
        other => Err(EscapeError::Unknown(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes_and_mistakes_are_named() {
        let table: [(&str, Result<&[u8], EscapeError>); 10] = [
            (": ", Ok(b": ")),
            ("\\t", Ok(b"\t")),
            ("a\\0b", Ok(b"a\0b")),
            ("\\xFf\\\\", Ok(b"\xFF\\")),
            ("ü", Ok("ü".as_bytes())),
            ("", Ok(b"")),
            ("\\", Err(EscapeError::Unfinished)),
            ("\\q", Err(EscapeError::Unknown('q'))),
            ("\\x4", Err(EscapeError::Hexadecimal)),
            ("\\xg0", Err(EscapeError::Hexadecimal)),
        ];
        for (text, expected) in table {
            assert_eq!(
                text.parse(),
                expected.map(|bytes| Escaped(bytes.to_vec())),
                "{text}"
            );
        }
    }
}
