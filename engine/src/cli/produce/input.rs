//! Reads lines off the executor: standard input blocks, and may do so for ever.
//!
//! A thread turns lines into records and hands them over in chunks. What has been read is handed over before the thread
//! waits for more, so a line typed at a terminal is sent at once, while a file arrives in large chunks.

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use super::line::{InputRecord, LineFormat};

/// Longest line taken; a batch that holds it must fit into a request.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Size from which a chunk is handed over although more is at hand.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait to be taken before the thread stops reading.
const CHUNKS_MAX: usize = 32;
const READ_BUFFER_BYTES: usize = 256 << 10;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdin,
    File(PathBuf),
}

/// Some records, in the order of their lines.
pub(crate) type Chunk = Vec<InputRecord>;

/// Starts to read. The channel ends after the last line or after the first error.
///
/// # Errors
/// The file cannot be opened, or no thread can be started.
pub(crate) fn start(
    source: &Source,
    format: LineFormat,
) -> anyhow::Result<flume::Receiver<anyhow::Result<Chunk>>> {
    let (reader, name): (Box<dyn Read + Send>, _) = match source {
        Source::Stdin => (Box::new(io::stdin()), "standard input".to_owned()),
        Source::File(path) => {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).with_context(|| format!("cannot open {name}"))?;
            (Box::new(file), name)
        }
    };
    let (chunks, receiver) = flume::bounded(CHUNKS_MAX);
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, reader);
            let send = |chunk| chunks.send(Ok(chunk)).is_ok();
            if let Err(error) = read_records(&mut reader, &format, now_ms, LINE_BYTES_MAX, send) {
                // Nobody listens once the command has failed for another reason.
                let _ = chunks.send(Err(error.context(format!("cannot go on reading {name}"))));
            }
        })?;
    Ok(receiver)
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|age| i64::try_from(age.as_millis()).ok())
        .unwrap_or(0)
}

/// Hands every line of `reader` to `send`, in chunks, until that returns `false`.
fn read_records<R: Read>(
    reader: &mut BufReader<R>,
    format: &LineFormat,
    now_ms: impl Fn() -> i64,
    line_bytes_max: usize,
    mut send: impl FnMut(Chunk) -> bool,
) -> anyhow::Result<()> {
    let mut chunk = Vec::new();
    let mut chunk_bytes = 0;
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let limit = line_bytes_max as u64 + 1;
        let outcome = reader.by_ref().take(limit).read_until(b'\n', &mut text);
        let ended = match outcome {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => {
                send(std::mem::take(&mut chunk));
                return Err(error).with_context(|| format!("after line {}", line - 1));
            }
        };
        if !ended {
            if text.last() == Some(&b'\n') {
                text.pop();
            } else if text.len() > line_bytes_max {
                send(chunk);
                bail!("line {line} is longer than {line_bytes_max} bytes");
            }
            let record = match format.parse(line, &text, now_ms()) {
                Ok(record) => record,
                Err(error) => {
                    send(chunk);
                    return Err(error.into());
                }
            };
            chunk_bytes += record.size_bytes();
            chunk.push(record);
        }
        let more_at_hand = reader.buffer().contains(&b'\n');
        if !chunk.is_empty() && (ended || chunk_bytes >= CHUNK_BYTES || !more_at_hand) {
            chunk_bytes = 0;
            if !send(std::mem::take(&mut chunk)) {
                return Ok(());
            }
        }
        if ended {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the pieces one by one, as a pipe does.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn read(pieces: &[&'static [u8]], format: &LineFormat) -> (Vec<Vec<String>>, Option<String>) {
        let mut chunks = Vec::new();
        let mut reader = BufReader::new(Pieces(pieces.to_vec()));
        let outcome = read_records(
            &mut reader,
            format,
            || 7,
            10,
            |chunk| {
                let show = |record: &InputRecord| {
                    let value = record.value.as_deref().unwrap_or(b"NULL");
                    format!("{}:{}", record.line, value.escape_ascii())
                };
                chunks.push(chunk.iter().map(show).collect());
                true
            },
        );
        (chunks, outcome.err().map(|error| format!("{error:#}")))
    }

    #[test]
    fn every_line_is_a_record_and_what_is_at_hand_goes_together() {
        type Pieces = &'static [&'static [u8]];
        type Chunks = &'static [&'static [&'static str]];
        let table: [(Pieces, Chunks); 6] = [
            (&[b""], &[]),
            (&[b"a\nb\n"], &[&["1:a", "2:b"]]),
            (&[b"a\n", b"b\n"], &[&["1:a"], &["2:b"]]),
            (&[b"a\nb", b"c\nd"], &[&["1:a"], &["2:bc"], &["3:d"]]),
            (&[b"\n\n"], &[&["1:", "2:"]]),
            (&[b"a\r\n\xFF\n"], &[&["1:a\\r", "2:\\xff"]]),
        ];
        for (pieces, expected) in table {
            let (chunks, error) = read(pieces, &LineFormat::default());
            assert_eq!(chunks, expected, "{pieces:?}");
            assert_eq!(error, None);
        }
    }

    #[test]
    fn what_came_before_a_bad_line_is_handed_over() {
        let format = LineFormat {
            key_separator: Some(b":".to_vec()),
            ..LineFormat::default()
        };
        let (chunks, error) = read(&[b"k:a\nk:b\nbad\nk:c\n"], &format);
        assert_eq!(chunks, [["1:a", "2:b"]]);
        assert_eq!(
            error.unwrap(),
            "line 3 has no key: \":\" does not occur in it"
        );
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        let (chunks, error) = read(&[b"0123456789\n", b"0123456789"], &LineFormat::default());
        assert_eq!(chunks, [["1:0123456789"], ["2:0123456789"]]);
        assert_eq!(error, None);
        let (chunks, error) = read(&[b"a\n0123456789x\n"], &LineFormat::default());
        assert_eq!(chunks.concat(), ["1:a"]);
        assert_eq!(error.unwrap(), "line 2 is longer than 10 bytes");
    }

    #[test]
    fn reading_ends_when_nobody_takes_the_chunks() {
        let mut reader = BufReader::new(Pieces(vec![b"a\n", b"b\n"]));
        let mut chunks = 0;
        read_records(
            &mut reader,
            &LineFormat::default(),
            || 7,
            10,
            |_| {
                chunks += 1;
                false
            },
        )
        .unwrap();
        assert_eq!(chunks, 1);
    }
}
