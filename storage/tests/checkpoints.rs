//! Checkpoints of the active segment: a start after a crash looks at what came since, and believes nothing else of them.

mod support;

use corelane_format::{LogId, Offset};
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{AppendError, LaneLogsConfig, LogConfig, RecoveryReport};
use std::path::Path;
use support::*;

const CHECKPOINT_BYTES: u64 = 256 << 10;

fn config() -> LaneLogsConfig {
    LaneLogsConfig {
        checkpoint_bytes: CHECKPOINT_BYTES,
        ..small_lane()
    }
}

/// A log of `count` commits of about 16 KiB, the power cut behind them.
fn written(count: usize, log_config: &LogConfig) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, config());
    run(&logs, async {
        let (log, _) = open(&logs, log_config.clone()).await;
        for index in 0..count {
            let batch = Batch::new(format!("b{index}"), 1)
                .sized(16_000)
                .at(1000 + index as i64)
                .by(5, 0, index as i32);
            append_durably(&log, &batch).await;
        }
        let grown = log.size_bytes();
        assert!(
            logs.metrics().checkpoints >= grown / CHECKPOINT_BYTES / 2,
            "{} of {grown} bytes",
            logs.metrics().checkpoints
        );
    });
    disk.crash(Survival::All)
}

fn reopened(disk: &MemoryDisk, log_config: &LogConfig, count: usize) -> RecoveryReport {
    let logs = lane(disk, config());
    run(&logs, async {
        let (log, report) = open(&logs, log_config.clone()).await;
        let expected: Vec<String> = (0..count).map(|index| format!("b{index}")).collect();
        assert_eq!(names(&read_all(&log).await), expected);
        for index in [0, 1, count / 2, count - 1] {
            let timestamp = corelane_format::TimestampMs::new(1000 + index as i64);
            let found = log.offset_for_timestamp(timestamp).await.expect("readable");
            assert_eq!(found, Some((timestamp, Offset::new(index as i64))));
        }
        let again = Batch::new("again", 1).by(5, 0, count as i32 - 1);
        assert!(matches!(
            append_bytes(&log, &again.bytes(), 1),
            Err(AppendError::DuplicateSequence { .. })
        ));
        append_durably(&log, &Batch::new("next", 1).by(5, 0, count as i32)).await;
        report
    })
}

#[test]
fn a_start_after_a_crash_scans_what_came_since() {
    let log_config = LogConfig::default();
    for count in [40, 300, 700] {
        let disk = written(count, &log_config);
        let content = disk.content(&segment(0)).expect("a segment");
        let report = reopened(&disk.crash(Survival::All), &log_config, count);
        // What no checkpoint covers, the reserved space behind it, and two windows at the edges.
        let end = *block_positions(&content).last().expect("blocks") as u64;
        let reserved = content.len() as u64 - end;
        assert!(
            report.scanned_bytes <= 2 * CHECKPOINT_BYTES + reserved + (2 << 20),
            "{count}: {report:?}, the last block at {end}, {reserved} bytes reserved"
        );
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_costs_a_scan_and_nothing_else() {
    let log_config = LogConfig::default();
    let pristine = written(100, &log_config);
    let index = segment(0).with_extension("index");
    let content = pristine.content(&index).expect("a checkpoint");
    for damage in [0, 20, 60, 100, 4000] {
        let disk = pristine.crash(Survival::All);
        let mut damaged = content.clone();
        damaged[damage % content.len()] ^= 1;
        disk.set_content(&index, damaged);
        reopened(&disk, &log_config, 100);
    }
    let disk = pristine.crash(Survival::All);
    disk.set_content(&index, Vec::new());
    let report = reopened(&disk, &log_config, 100);
    assert!(report.scanned_bytes >= 1_600_000, "{report:?}");
}

#[test]
fn damage_below_a_checkpoint_is_never_cut() {
    let log_config = LogConfig::default();
    let pristine = written(100, &log_config);
    let content = pristine.content(&segment(0)).expect("a segment");
    let blocks = block_positions(&content);
    // All blocks from one below the last checkpoint on are gone, the one that the checkpoint ends with among them.
    let disk = pristine.crash(Survival::All);
    let mut damaged = content.clone();
    damaged[blocks[60]..].fill(0);
    disk.set_content(&segment(0), damaged);
    let logs = lane(&disk, config());
    run(&logs, async {
        let (log, report) = open(&logs, log_config.clone()).await;
        assert_eq!(report.torn_tail, None);
        let [lost] = &report.quarantined[..] else {
            panic!("one range: {report:?}")
        };
        assert_eq!(lost.start, Offset::new(60));
        assert!(lost.end > Offset::new(75), "{lost:?}");
        let next = append_durably(&log, &Batch::new("next", 1)).await;
        assert!(next.base_offset >= lost.end);
    });
}

#[test]
fn a_sealed_segment_without_its_own_index_is_scanned_from_its_checkpoint() {
    let log_config = LogConfig {
        segment_size_bytes: 2 << 20,
        ..LogConfig::default()
    };
    // Just over the first roll; the sealed segment's last checkpoint takes the place of its sidecar.
    let disk = MemoryDisk::new();
    let logs = lane(&disk, config());
    let count = 140;
    let index = segment(0).with_extension("index");
    let mut checkpoint = None;
    run(&logs, async {
        let (log, _) = open(&logs, log_config.clone()).await;
        for at in 0..count {
            let batch = Batch::new(format!("b{at}"), 1)
                .sized(16_000)
                .at(1000 + i64::from(at))
                .by(5, 0, at);
            append_durably(&log, &batch).await;
            if log.segments() == 1 {
                checkpoint = disk.content(&index).or_else(|| checkpoint.take());
            }
        }
        assert_eq!(log.segments(), 2);
    });
    let disk = disk.crash(Survival::All);
    disk.set_content(&index, checkpoint.expect("a checkpoint"));
    let report = reopened(&disk, &log_config, count as usize);
    assert_eq!(report.segments_scanned, 2);
    assert!(report.scanned_bytes < 2 << 20, "{report:?}");
}

#[test]
fn many_small_logs_do_not_add_up() {
    const LOGS: u64 = 40;
    let disk = MemoryDisk::new();
    let logs = lane(&disk, config());
    let path = |log: u64| Path::new("/data").join(format!("t-{log}"));
    run(&logs, async {
        let mut opened = Vec::new();
        for log in 1..=LOGS {
            let (log, _) = logs
                .open_log(&path(log), LogId::new(log), LogConfig::default())
                .await
                .expect("opens");
            opened.push(log);
        }
        // Each stays far below the limit of one log, and together they are above the lane's.
        for round in 0..10 {
            for log in &opened {
                append_durably(log, &Batch::new(format!("b{round}"), 1).sized(10_000)).await;
            }
        }
        assert!(opened.iter().all(|log| log.size_bytes() < CHECKPOINT_BYTES));
        assert!(
            logs.metrics().checkpoints >= LOGS,
            "{} checkpoints",
            logs.metrics().checkpoints
        );
    });
    for log in 1..=LOGS {
        let index = path(log).join("00000000000000000000.index");
        assert!(exists(&disk, &index), "log {log}");
    }
}

#[test]
fn a_truncation_outlives_checkpoints() {
    let log_config = LogConfig::default();
    let disk = written(100, &log_config);
    let logs = lane(&disk, config());
    run(&logs, async {
        let (log, _) = open(&logs, log_config.clone()).await;
        log.truncate(Offset::new(30)).await.expect("truncated");
        for at in 0..60 {
            append_durably(&log, &Batch::new(format!("c{at}"), 1).sized(16_000)).await;
        }
    });
    for survival in [Survival::None, Survival::All] {
        let disk = disk.crash(survival);
        let logs = lane(&disk, config());
        run(&logs, async {
            let (log, _) = open(&logs, log_config.clone()).await;
            let mut expected: Vec<String> = (0..30).map(|at| format!("b{at}")).collect();
            expected.extend((0..60).map(|at| format!("c{at}")));
            assert_eq!(names(&read_all(&log).await), expected);
        });
    }
}

/// A checkpoint is taken where a block ends and written when that block is durable: with the writes held, there is none.
#[test]
fn nothing_is_in_a_checkpoint_that_is_not_durable() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, config());
    let index = segment(0).with_extension("index");
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        append_durably(&log, &Batch::new("first", 1)).await;
        disk.hold_writes(true);
        for _ in 0..4 {
            append(&log, &Batch::new("held", 1).sized(900_000));
        }
        // The commits behind the first one that is held complete before it.
        let held = poll_until(|| disk.held() >= 3).await;
        assert!(held, "{} writes", disk.held());
        disk.release(2);
        disk.release(1);
        assert!(!poll_until(|| exists(&disk, &index)).await);
        disk.hold_writes(false);
        log.wait_flushed(log.log_end_offset())
            .await
            .expect("flushed");
        append_durably(&log, &Batch::new("last", 1)).await;
        assert!(poll_until(|| exists(&disk, &index)).await);
    });
}

/// Lets the flusher run for a while; whether `done` came about.
async fn poll_until(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..100 {
        if done() {
            return true;
        }
        futures_lite::future::yield_now().await;
    }
    done()
}
