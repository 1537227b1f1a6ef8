//! What a log gains when its new segments overwrite retired ones, on the disk of a directory.
//!
//! `cargo run --profile fast -p corelane-storage --example recycled_segments [ROUNDS] [DIRECTORY]`. In each round every load
//! runs once with the pool of spares and once without, in turn, on a fresh log that has filled and retired segments
//! before. Quote the ratio of one run, not the numbers.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use corelane_format::kafka::{BatchBuilder, BatchLimits, validate_batch};
use corelane_format::{LeaderEpoch, LogId, TimestampMs};
use corelane_storage::disk::direct::{DirectDisk, FlushMode};
use corelane_storage::{LaneLogs, LaneLogsConfig, LogConfig, PartitionLog, SparesConfig};
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is appended.
#[derive(Debug, Clone, Copy)]
struct Load {
    name: &'static str,
    batch_bytes: usize,
    /// Batches that may be on their way at once.
    in_flight: i64,
    segment_bytes: u64,
    measured_bytes: u64,
}

const LOADS: [Load; 3] = [
    Load {
        name: "1 MiB batches, 4 in flight: MB/s",
        batch_bytes: 1_000_000,
        in_flight: 4,
        segment_bytes: 128 << 20,
        measured_bytes: 1 << 30,
    },
    Load {
        name: "one 128 KiB batch at a time: p50, us",
        batch_bytes: 128 << 10,
        in_flight: 1,
        segment_bytes: 32 << 20,
        measured_bytes: 128 << 20,
    },
    Load {
        name: "one 4 KiB batch at a time: p50, us",
        batch_bytes: 4000,
        in_flight: 1,
        segment_bytes: 4 << 20,
        measured_bytes: 12 << 20,
    },
];

/// Segments that are filled and retired before the measurement.
const PRIMED_SEGMENTS: u64 = 4;

/// What one run found: throughput of loads with several batches in flight, latency of the others.
struct Measured {
    value: f64,
    spares_taken: u64,
    segments_created: u64,
}

fn batch(size_bytes: usize) -> Outcome<Vec<u8>> {
    let mut builder = BatchBuilder::new();
    builder.append(
        TimestampMs::new(1),
        None,
        Some(&vec![0x5A; size_bytes]),
        &[],
    )?;
    let mut bytes = Vec::new();
    builder.finish_into(&mut bytes)?;
    Ok(bytes)
}

/// Appends `bytes` and retires each segment as soon as the next one is there; the time from each append to its flush.
async fn append(
    log: &PartitionLog<DirectDisk>,
    bytes: &[u8],
    load: &Load,
    size_bytes: u64,
) -> Outcome<Vec<Duration>> {
    let batch = validate_batch(bytes, &BatchLimits::NONE)?;
    let mut times = Vec::new();
    for _ in 0..size_bytes / load.batch_bytes as u64 {
        let began = Instant::now();
        let appended = log.append(&batch, LeaderEpoch::new(0), TimestampMs::new(1))?;
        let due = appended.end_offset().plus(1 - load.in_flight);
        log.wait_flushed(due).await?;
        times.push(began.elapsed());
        if log.segments() > 2 {
            log.advance_log_start(log.flushed_offset()).await?;
        }
    }
    log.wait_flushed(log.log_end_offset()).await?;
    Ok(times)
}

async fn measure(directory: PathBuf, load: Load, with_spares: bool) -> Outcome<Measured> {
    let pool = load.segment_bytes * (PRIMED_SEGMENTS + 2);
    let config = LaneLogsConfig {
        spares: Some(SparesConfig {
            directory: directory.join("spares"),
            bytes_max: if with_spares { pool } else { 0 },
            size_bytes_min: 1 << 20,
        }),
        ..LaneLogsConfig::default()
    };
    let logs = LaneLogs::new(DirectDisk::new(FlushMode::DataSync), config);
    logs.open_spares().await?;
    let flusher = logs.clone();
    let flushing = glommio::spawn_local(async move { flusher.run_flusher().await });
    let log_config = LogConfig {
        segment_size_bytes: load.segment_bytes,
        ..LogConfig::default()
    };
    let path = directory.join("log-0");
    let (log, _) = logs.open_log(&path, LogId::new(1), log_config).await?;
    let bytes = batch(load.batch_bytes)?;
    append(&log, &bytes, &load, PRIMED_SEGMENTS * load.segment_bytes).await?;
    log.advance_log_start(log.flushed_offset()).await?;

    let before = logs.metrics();
    let began = Instant::now();
    let mut times = append(&log, &bytes, &load, load.measured_bytes).await?;
    let elapsed = began.elapsed();
    let after = logs.metrics();
    logs.shutdown().await?;
    flushing.await;
    times.sort_unstable();
    let value = if load.in_flight > 1 {
        load.measured_bytes as f64 / 1e6 / elapsed.as_secs_f64()
    } else {
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    Ok(Measured {
        value,
        spares_taken: after.spares_taken - before.spares_taken,
        segments_created: after.segments_created - before.segments_created,
    })
}

/// Runs as a lane runs: in one latency queue, whose I/O preempts by itself.
fn on_a_lane(parent: &Path, load: Load, with_spares: bool) -> Outcome<Measured> {
    let folder = tempfile::Builder::new()
        .prefix("recycled-segments-")
        .tempdir_in(parent)?;
    let directory = folder.path().to_path_buf();
    let thread = LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move {
        let latency = Latency::Matters(Duration::from_millis(100));
        let queue = glommio::executor().create_task_queue(Shares::default(), latency, "lane");
        let run = async move {
            let measured = measure(directory, load, with_spares).await;
            measured.map_err(|error| error.to_string())
        };
        match glommio::spawn_local_into(run, queue) {
            Ok(task) => task.await,
            Err(error) => Err(error.to_string()),
        }
    });
    let joined = thread.map_err(|error| error.to_string())?.join();
    Ok(joined.map_err(|error| error.to_string())??)
}

/// Median, and the lowest and highest.
fn spread(values: &mut [f64]) -> (f64, String) {
    values.sort_by(f64::total_cmp);
    let median = values[values.len() / 2];
    let (low, high) = (values[0], values[values.len() - 1]);
    (median, format!("{median:.0} ({low:.0}..{high:.0})"))
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let parent = arguments
        .next()
        .map_or_else(|| PathBuf::from("target/tmp"), PathBuf::from);
    std::fs::create_dir_all(&parent)?;
    println!("| load | over spares | made anew | ratio | segments over spares |");
    println!("|---|---|---|---|---|");
    for load in LOADS {
        let (mut over, mut anew) = (Vec::new(), Vec::new());
        let (mut taken, mut created) = (0, 0);
        for round in 0..rounds.max(1) {
            // Whoever comes second finds the disk as the first has left it: they take turns.
            for with_spares in [round % 2 == 0, round % 2 != 0] {
                let measured = on_a_lane(&parent, load, with_spares)?;
                if with_spares {
                    over.push(measured.value);
                    taken += measured.spares_taken;
                    created += measured.segments_created;
                } else {
                    anew.push(measured.value);
                }
            }
        }
        let ((over, over_text), (anew, anew_text)) = (spread(&mut over), spread(&mut anew));
        println!(
            "| {} | {over_text} | {anew_text} | {:.2} x | {taken} of {created} |",
            load.name,
            over / anew
        );
    }
    Ok(())
}
