//! What follows a truncation is never taken for what it cut off: its mark is gone before anything is acknowledged.

mod support;

use std::path::PathBuf;

use corelane_format::Offset;
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{LaneLogsConfig, LogConfig};
use support::*;

fn small_segments() -> LogConfig {
    LogConfig {
        segment_size_bytes: 16 << 10,
        ..LogConfig::default()
    }
}

/// 40 durable batches of one record in several segments.
async fn fill(log: &Log) {
    for index in 0..40 {
        append_durably(log, &Batch::new(format!("b{index}"), 1).sized(1000)).await;
    }
}

fn mark() -> PathBuf {
    directory().join("cut")
}

/// The header pages of all segments from `base` on are lost.
fn rot_headers(disk: &MemoryDisk, base: i64) -> usize {
    let mut damaged = 0;
    for base in base..60 {
        if let Some(mut content) = disk.content(&segment(base)) {
            content[..4096].fill(0xA5);
            disk.set_content(&segment(base), content);
            damaged += 1;
        }
    }
    damaged
}

/// `b0` to the one before `cut`, then `more`.
fn expected(cut: usize, more: &[&str]) -> Vec<String> {
    let kept = (0..cut).map(|index| format!("b{index}"));
    kept.chain(more.iter().map(|name| (*name).to_owned()))
        .collect()
}

#[test]
fn what_follows_a_truncation_outlives_a_crash_and_a_damaged_header_page() {
    for cut in [0, 10, 25, 39] {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, _) = open(&logs, small_segments()).await;
            fill(&log).await;
            log.truncate(Offset::new(cut)).await.expect("truncated");
            append_durably(&log, &Batch::new("new", 1)).await;
        });
        // Of the names only what was synced is left: the mark must not come back.
        let left = disk.crash(Survival::None);
        assert!(!exists(&left, &mark()), "cut at {cut}");
        assert_eq!(rot_headers(&left, cut), 1);
        let logs = lane(&left, small_lane());
        run(&logs, async {
            let (log, report) = open(&logs, small_segments()).await;
            assert_eq!(report.quarantined, [], "cut at {cut}");
            let found = names(&read_all(&log).await);
            assert_eq!(found, expected(cut as usize, &["new"]));
        });
    }
}

#[test]
fn what_follows_an_interrupted_truncation_outlives_a_damaged_header_page() {
    const CUT: i64 = 10;
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, small_segments()).await;
        fill(&log).await;
    });
    let (mut cut_off, mut untouched, mut marked) = (0, 0, 0);
    for operation in 0.. {
        let mut finished = false;
        for survival in [
            Survival::None,
            Survival::All,
            Survival::Torn { seed: operation },
        ] {
            let image = disk.crash(Survival::All);
            let logs = lane(&image, small_lane());
            let truncated = run_until_stalled(&logs, async {
                let (log, _) = open(&logs, small_segments()).await;
                image.stop_at(image.operations() + operation);
                log.truncate(Offset::new(CUT)).await.expect("truncated");
            });
            finished |= truncated.is_some();
            let left = image.crash(survival);
            marked += usize::from(exists(&left, &mark()));
            let logs = lane(&left, small_lane());
            let end = run(&logs, async {
                let (log, report) = open(&logs, small_segments()).await;
                append_durably(&log, &Batch::new("new", 1)).await;
                report.log_end_offset.get()
            });
            assert!(
                end == CUT || end == 40 && truncated.is_none(),
                "all or nothing is cut: {end}"
            );
            cut_off += usize::from(end == CUT);
            untouched += usize::from(end == 40);
            let left = left.crash(Survival::None);
            assert!(!exists(&left, &mark()), "operation {operation}");
            if end == CUT {
                assert_eq!(rot_headers(&left, CUT), 1, "operation {operation}");
            }
            let logs = lane(&left, small_lane());
            run(&logs, async {
                let (log, _) = open(&logs, small_segments()).await;
                let found = names(&read_all(&log).await);
                assert_eq!(found, expected(end as usize, &["new"]));
            });
        }
        if finished {
            break;
        }
    }
    assert!(
        cut_off > 3 && untouched > 3 && marked > 3,
        "{cut_off} {untouched} {marked}"
    );
}

/// The history of a segment stands in its header page alone; entries of the journal belong to one.
#[test]
fn what_rides_after_a_truncation_outlives_a_damaged_header_page() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, LaneLogsConfig::default());
    run(&logs, async {
        start_journal(&logs).await;
        let (log, _) = open(&logs, LogConfig::default()).await;
        for index in 0..40 {
            append_durably(&log, &Batch::new(format!("b{index}"), 1)).await;
        }
        log.truncate(Offset::new(30)).await.expect("truncated");
        // The first block of the new segment, which says who it is.
        append_durably(&log, &Batch::new("settled", 1).sized(100_000)).await;
        for name in ["x", "y"] {
            append_durably(&log, &Batch::new(name, 1)).await;
        }
        assert_eq!(log.settled_offset(), Offset::new(31), "two ride");
        log.wait_readable(Offset::new(33)).await.expect("durable");
    });
    let left = disk.crash(Survival::None);
    assert_eq!(rot_headers(&left, 30), 1);
    let logs = lane(&left, LaneLogsConfig::default());
    run(&logs, async {
        start_journal(&logs).await;
        let (log, _) = open(&logs, LogConfig::default()).await;
        let found = names(&read_all(&log).await);
        assert_eq!(found, expected(30, &["settled", "x", "y"]));
    });
}
