//! Standard output that does not mind a reader who has seen enough.
//!
//! `corelane consume TOPIC | head -1` closes the pipe while there is more to write. That is how pipelines end and no
//! failure: every write returns the error, it travels up, and [`is_closed_pipe`] tells it from a real one.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Buffered standard output. Flush it: what is left in it on drop is written, but errors are then lost.
#[derive(Debug)]
pub(crate) struct Stdout {
    writer: BufWriter<StdoutLock<'static>>,
}

impl Stdout {
    /// Takes standard output for as long as the value lives.
    pub(crate) fn lock() -> Self {
        Self {
            writer: BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()),
        }
    }

    /// Writes a value as JSON, on one line when a program reads it and indented for people.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        if io::stdout().is_terminal() {
            serde_json::to_writer_pretty(&mut self.writer, value).map_err(io::Error::from)?;
        } else {
            serde_json::to_writer(&mut self.writer, value).map_err(io::Error::from)?;
        }
        self.writer.write_all(b"\n")?;
        Ok(())
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Whether `error` says that the reader of standard output went away.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn only_a_closed_pipe_is_taken_for_one() {
        let closed: anyhow::Result<()> =
            Err(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert!(is_closed_pipe(&closed.unwrap_err()));
        let full: anyhow::Result<()> =
            Err(io::Error::from(io::ErrorKind::StorageFull)).context("cannot write");
        assert!(!is_closed_pipe(&full.unwrap_err()));
        let json = serde_json::Error::io(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_closed_pipe(&io::Error::from(json).into()));
    }
}
