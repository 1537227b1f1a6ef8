//! What this machine can do at best, measured in a second or two beside the run: the numbers that results are read
//! against. Tools made for it (fio, sockperf, iperf3) measure better; these are always at hand.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::histogram::{LatencyHistogram, LatencySummary};

/// How long each is measured.
const FOR: Duration = Duration::from_millis(500);

/// The block of the durable write.
const BLOCK_BYTES: usize = 4_096;

/// The file that is overwritten.
const FILE_BYTES: usize = 16 * 1024 * 1024;

/// The messages of the ping-pong.
const PING_BYTES: usize = 64;

/// The buffers of the stream.
const STREAM_BYTES: usize = 128 * 1024;

/// The limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    /// There and back over TCP on loopback, 64 bytes, two threads, not pinned.
    pub loopback_round_trip_us: LatencySummary,
    /// One TCP stream on loopback.
    pub loopback_bytes_per_second: f64,
    /// One synchronous write of 4 KiB (`O_DSYNC`) over a file that was written before, in the folder of the spawned
    /// server's data or the current one.
    pub durable_write_us: LatencySummary,
}

impl Limits {
    /// Measures them, durable writes in `folder` or where a spawned server would keep its data.
    pub fn measure(folder: Option<&Path>) -> std::io::Result<Self> {
        let default = if Path::new("target").is_dir() {
            Path::new("target")
        } else {
            Path::new(".")
        };
        Ok(Self {
            loopback_round_trip_us: round_trips(FOR)?.summary(),
            loopback_bytes_per_second: stream(FOR)?,
            durable_write_us: durable_writes(folder.unwrap_or(default), FOR)?.summary(),
        })
    }
}

/// Connected sockets over loopback.
fn connected() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn round_trips(lasts: Duration) -> std::io::Result<LatencyHistogram> {
    let (mut near, mut far) = connected()?;
    // It ends when the near end is closed.
    let echo = thread::spawn(move || {
        let mut message = [0; PING_BYTES];
        while far.read_exact(&mut message).is_ok() && far.write_all(&message).is_ok() {}
    });
    let mut histogram = LatencyHistogram::default();
    let started = Instant::now();
    let mut message = [0; PING_BYTES];
    while started.elapsed() < lasts {
        let sent = Instant::now();
        near.write_all(&message)?;
        near.read_exact(&mut message)?;
        histogram.record(sent.elapsed().as_nanos() as u64, 1);
    }
    drop(near);
    // An echo that panicked has nothing to add.
    let _ = echo.join();
    Ok(histogram)
}

fn stream(lasts: Duration) -> std::io::Result<f64> {
    let (mut near, mut far) = connected()?;
    let sender = thread::spawn(move || {
        let bytes = vec![0; STREAM_BYTES];
        while far.write_all(&bytes).is_ok() {}
    });
    let mut buffer = vec![0; STREAM_BYTES];
    let mut received = 0;
    let started = Instant::now();
    while started.elapsed() < lasts {
        received += near.read(&mut buffer)?;
    }
    let rate = received as f64 / started.elapsed().as_secs_f64();
    drop(near);
    // The sender ends when the near end is closed.
    let _ = sender.join();
    Ok(rate)
}

fn durable_writes(folder: &Path, lasts: Duration) -> std::io::Result<LatencyHistogram> {
    std::fs::create_dir_all(folder)?;
    let file = tempfile::Builder::new()
        .prefix("corelane-loadgen-limits-")
        .tempfile_in(folder)?;
    file.as_file().write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.as_file().sync_all()?;
    let durable: File = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DSYNC)
        .open(file.path())?;
    let mut histogram = LatencyHistogram::default();
    let block = [1; BLOCK_BYTES];
    let started = Instant::now();
    let mut offset = 0;
    while started.elapsed() < lasts {
        let begun = Instant::now();
        durable.write_all_at(&block, offset as u64)?;
        histogram.record(begun.elapsed().as_nanos() as u64, 1);
        offset = (offset + BLOCK_BYTES) % FILE_BYTES;
    }
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_can_be_measured() {
        let brief = Duration::from_millis(5);
        assert!(round_trips(brief).unwrap().count() > 0);
        assert!(stream(brief).unwrap() > 0.0);
        let folder = tempfile::tempdir().unwrap();
        assert!(durable_writes(folder.path(), brief).unwrap().count() > 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
