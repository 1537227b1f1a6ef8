//! How fast recovery reads, beside the disk's own direct reads in the same run; and how long a start after a crash takes
//! with checkpoints.
//!
//! ```sh
//! cargo run --profile fast -p corelane-storage --example recovery_scan -- DIRECTORY [GIB]
//! ```
//! DIRECTORY is made, and removed again at the end; it must not exist. One log of GIB (default 2) is written twice and
//! left as a crash leaves it: once in a single segment without checkpoints, all of which a start must scan, and once as
//! the server writes it.

use std::collections::VecDeque;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use corelane_format::kafka::{BatchBuilder, BatchLimits, validate_batch};
use corelane_format::{FilePosition, LeaderEpoch, LogId, TimestampMs};
use corelane_storage::disk::direct::{DirectDisk, FlushMode};
use corelane_storage::disk::{Disk, DiskFile};
use corelane_storage::{LaneLogs, LaneLogsConfig, LogConfig, RecoveryReport};
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 5;
const READ_BYTES: u64 = 1 << 20;
const READS: usize = 6;
const RECORD_BYTES: usize = 64 << 10;

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: recovery_scan DIRECTORY [GIB]";
    let directory = PathBuf::from(arguments.next().ok_or(usage)?);
    let gib: u64 = match arguments.next() {
        Some(text) => text.parse().map_err(|_| usage)?,
        None => 2,
    };
    std::fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let home = directory.clone();
    let ended = LocalExecutorBuilder::new(Placement::Unbound)
        .spawn(move || async move {
            let latency = Latency::Matters(Duration::from_millis(10));
            let queue = glommio::executor().create_task_queue(Shares::default(), latency, "lane");
            let measured = glommio::spawn_local_into(
                async move {
                    let measured = measure(&home, gib << 30).await;
                    measured.map_err(|error| error.to_string())
                },
                queue,
            );
            match measured {
                Ok(measured) => measured.await,
                Err(error) => Err(error.to_string()),
            }
        })
        .map_err(|error| error.to_string())?
        .join()
        .map_err(|error| error.to_string());
    std::fs::remove_dir_all(&directory).map_err(|error| error.to_string())?;
    ended?
}

async fn measure(home: &Path, size_bytes: u64) -> Result<(), Failure> {
    let whole = LaneLogsConfig {
        checkpoint_bytes: u64::MAX,
        ..LaneLogsConfig::default()
    };
    let one_segment = LogConfig {
        segment_size_bytes: size_bytes * 2,
        ..LogConfig::default()
    };
    let single = home.join("single");
    write(&single, &whole, &one_segment, size_bytes).await?;
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let raw = read_raw(&single.join(format!("{:020}.log", 0))).await?;
        let (took, report) = open(&single, &one_segment).await?;
        let scan = rate(report.scanned_bytes, took);
        ratios.push(scan / raw);
        println!(
            "round {round}: direct reads {raw:.2} GB/s, recovery {scan:.2} GB/s, {:.2} of it",
            scan / raw
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "recovery reads at {:.2} of the disk's direct read rate (median)",
        ratios[ROUNDS / 2]
    );

    let usual = home.join("usual");
    write(
        &usual,
        &LaneLogsConfig::default(),
        &LogConfig::default(),
        size_bytes,
    )
    .await?;
    let (took, report) = open(&usual, &LogConfig::default()).await?;
    println!(
        "after a crash, {:.1} GiB in {} segments: ready in {:.0} ms, {} MiB scanned",
        size_bytes as f64 / (1_u64 << 30) as f64,
        report.segments,
        took.as_secs_f64() * 1e3,
        report.scanned_bytes >> 20
    );
    Ok(())
}

fn rate(size_bytes: u64, took: Duration) -> f64 {
    size_bytes as f64 / 1e9 / took.as_secs_f64()
}

/// Writes a log and leaves it open, as a crash would.
async fn write(
    directory: &Path,
    config: &LaneLogsConfig,
    log_config: &LogConfig,
    size_bytes: u64,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let mut builder = BatchBuilder::new();
    let mut value = vec![0_u8; RECORD_BYTES];
    let mut state = 1_u64;
    for byte in &mut value {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    builder.append(TimestampMs::new(1), None, Some(&value), &[])?;
    builder.finish_into(&mut bytes)?;
    let batch = validate_batch(&bytes, &BatchLimits::NONE)?;

    let logs = LaneLogs::new(DirectDisk::new(FlushMode::DataSync), config.clone());
    let flusher = logs.clone();
    let flusher = glommio::spawn_local(async move { flusher.run_flusher().await });
    let (log, _) = logs
        .open_log(directory, LogId::new(1), log_config.clone())
        .await?;
    while log.size_bytes() < size_bytes {
        logs.admit(bytes.len()).await;
        log.append(&batch, LeaderEpoch::new(0), TimestampMs::new(1))?;
    }
    log.wait_flushed(log.log_end_offset()).await?;
    flusher.cancel().await;
    Ok(())
}

async fn open(
    directory: &Path,
    log_config: &LogConfig,
) -> Result<(Duration, RecoveryReport), Failure> {
    let disk = DirectDisk::new(FlushMode::DataSync);
    let logs = LaneLogs::new(disk, LaneLogsConfig::default());
    let begun = Instant::now();
    let opened = logs.open_log(directory, LogId::new(1), log_config.clone());
    let (_log, report) = opened.await?;
    Ok((begun.elapsed(), report))
}

/// Reads a file from end to end as recovery might at best: several large reads under way, and nothing done with them.
async fn read_raw(path: &Path) -> Result<f64, Failure> {
    let file = DirectDisk::new(FlushMode::DataSync).open(path).await?;
    let size = file.size().await?;
    let begun = Instant::now();
    let mut reads: VecDeque<Pin<Box<dyn Future<Output = std::io::Result<usize>> + '_>>> =
        VecDeque::new();
    let (mut asked, mut got) = (0, 0);
    while got < size {
        while reads.len() < READS && asked < size {
            let (position, file) = (FilePosition::new(asked), &file);
            let mut read: Pin<Box<dyn Future<Output = std::io::Result<usize>>>> =
                Box::pin(async move {
                    let read = file.read_at(position, READ_BYTES as usize).await?;
                    Ok(read.as_ref().len())
                });
            // Polled once, so that it is under way.
            if let Some(done) = futures_lite::future::poll_once(read.as_mut()).await {
                read = Box::pin(std::future::ready(done));
            }
            reads.push_back(read);
            asked += READ_BYTES;
        }
        let Some(read) = reads.pop_front() else { break };
        got += read.await? as u64;
    }
    Ok(rate(size, begun.elapsed()))
}
