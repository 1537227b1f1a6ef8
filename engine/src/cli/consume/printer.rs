//! Prints records until there were enough of them.

use std::io::{self, Write};

use super::ConsumeArgs;
use super::template::Template;
use crate::cli::record_view::RecordView;

/// How records are printed.
#[derive(Debug)]
enum Style {
    Template { template: Template, null: Vec<u8> },
    JsonLines,
}

/// Prints records.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    style: Style,
    /// How many more are wanted, if there is a limit.
    wanted: Option<u64>,
}

impl<W: Write> Printer<W> {
    /// Prints to `out` as the arguments say.
    pub(crate) fn new(arguments: &ConsumeArgs, out: W) -> Self {
        let style = if arguments.client.json {
            Style::JsonLines
        } else {
            let template = match (&arguments.format, &arguments.key_separator) {
                (Some(template), _) => template.clone(),
                (None, Some(separator)) => Template::keys_and_values(&separator.0),
                (None, None) => Template::values(),
            };
            Style::Template {
                template,
                null: arguments.null_marker.clone().into_bytes(),
            }
        };
        Self {
            out,
            style,
            wanted: arguments.count,
        }
    }

    /// Whether another record is wanted.
    pub(crate) fn wants_more(&self) -> bool {
        self.wanted != Some(0)
    }

    /// Prints a record, which must be wanted.
    pub(crate) fn print(&mut self, record: &RecordView<'_>) -> io::Result<()> {
        if let Some(wanted) = &mut self.wanted {
            *wanted -= 1;
        }
        match &self.style {
            Style::Template { template, null } => template.write(&mut self.out, record, null),
            Style::JsonLines => {
                serde_json::to_writer(&mut self.out, record)?;
                self.out.write_all(b"\n")
            }
        }
    }

    /// Writes out what was printed.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::record_view::sample;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: ConsumeArgs,
    }

    #[test]
    fn options_choose_the_style_and_the_count_ends_it() {
        let batch = sample::batch(Some(b"k"), None, &[]);
        let table: [(&[&str], &str); 6] = [
            (&[], "\n\n"),
            (&["--null-marker", "NULL"], "NULL\nNULL\n"),
            (&["--key-separator", "\\t", "-Z", "-"], "k\t-\nk\t-\n"),
            (&["--format", "%o "], "41 41 "),
            (&["--count", "1", "--format", "%k"], "k"),
            (&["--count", "0"], ""),
        ];
        for (options, expected) in table {
            let words = ["consume", "t"].iter().chain(options);
            let line = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
            let mut printer = Printer::new(&line.arguments, Vec::new());
            for _ in 0..2 {
                if printer.wants_more() {
                    printer.print(&sample::view(&batch)).unwrap();
                }
            }
            assert_eq!(
                String::from_utf8(printer.out).unwrap(),
                expected,
                "{options:?}"
            );
        }
    }

    #[test]
    fn json_is_an_object_a_line() {
        let batch = sample::batch(Some(b"k"), Some(b"two\nlines"), &[]);
        let line = Line::try_parse_from(["consume", "t", "--json"])
            .unwrap_or_else(|error| panic!("{error}"));
        let mut printer = Printer::new(&line.arguments, Vec::new());
        printer.print(&sample::view(&batch)).unwrap();
        printer.print(&sample::view(&batch)).unwrap();
        let text = String::from_utf8(printer.out).unwrap();
        assert_eq!(text.lines().count(), 2);
        for object in text.lines() {
            let object: serde_json::Value = serde_json::from_str(object).unwrap();
            assert_eq!(object["value"], "two\nlines");
        }
    }
}
