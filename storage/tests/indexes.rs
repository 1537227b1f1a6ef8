//! Indexes of segments: loaded when a lookup needs them, let go again, rebuilt when they do not fit.

mod support;

use corelane_format::{Offset, TimestampMs};
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{LaneLogsConfig, LogConfig};
use support::*;

/// What an idle log may hold.
const IDLE_BYTES_MAX: usize = 64 << 10;
const BATCHES: usize = 200;

fn log_config() -> LogConfig {
    LogConfig {
        segment_size_bytes: 2 << 20,
        ..LogConfig::default()
    }
}

fn lane_config() -> LaneLogsConfig {
    LaneLogsConfig {
        tail_budget_bytes: 0,
        read_budget_bytes: 0,
        ..small_lane()
    }
}

/// Batches of 33 KiB in several segments, each in the index, closed cleanly.
fn written() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, lane_config());
    run(&logs, async {
        let (log, _) = open(&logs, log_config()).await;
        for index in 0..BATCHES {
            let batch = Batch::new(format!("b{index}"), 1)
                .sized(33 << 10)
                .at(1000 + index as i64 * 10);
            append_durably(&log, &batch).await;
        }
        assert!(log.segments() >= 3);
        logs.shutdown().await.expect("closed");
    });
    disk
}

async fn check_lookups(log: &Log, at: usize) {
    let offset = Offset::new(at as i64);
    let read = log.read(offset, offset.plus(1), 1000, true).await;
    let mut records = Vec::new();
    for slice in &read.expect("readable").slices {
        decode(slice.as_ref(), &mut records);
    }
    assert_eq!(names(&records), [format!("b{at}")]);
    // Exact: the first record at or after a timestamp between two.
    let timestamp = TimestampMs::new(1000 + at as i64 * 10);
    let between = TimestampMs::new(timestamp.get() - 4);
    for asked in [timestamp, between] {
        let found = log.offset_for_timestamp(asked).await.expect("readable");
        assert_eq!(found, Some((timestamp, offset)), "{asked:?}");
    }
}

#[test]
fn an_index_is_loaded_when_a_lookup_needs_it() {
    let disk = written();
    let logs = lane(&disk, lane_config());
    run(&logs, async {
        let (log, report) = open(&logs, log_config()).await;
        assert_eq!(report.segments_scanned, 1, "the last one");
        assert_eq!(logs.metrics().indexes_loaded, 0);
        assert_eq!(logs.metrics().index_bytes, 0);
        for at in [150, 3, 60, 199, 61, 2] {
            check_lookups(&log, at).await;
        }
        let metrics = logs.metrics();
        assert!(
            (1..=log.segments() as u64).contains(&metrics.indexes_loaded),
            "each once: {metrics:?}"
        );
        assert_eq!(metrics.indexes_rebuilt, 0);
        assert!(metrics.index_bytes > 0);
    });
}

#[test]
fn loaded_indexes_keep_to_their_budget() {
    let disk = written();
    let budget = 1600;
    let logs = lane(
        &disk,
        LaneLogsConfig {
            index_budget_bytes: budget,
            ..lane_config()
        },
    );
    run(&logs, async {
        let (log, _) = open(&logs, log_config()).await;
        for at in (0..BATCHES)
            .rev()
            .step_by(7)
            .chain((0..BATCHES).step_by(11))
        {
            check_lookups(&log, at).await;
            assert!(logs.metrics().index_bytes <= budget as u64);
        }
        let loaded = logs.metrics().indexes_loaded;
        assert!(
            loaded > log.segments() as u64,
            "{loaded}: some went and came again"
        );
    });
}

#[test]
fn an_index_that_does_not_fit_is_rebuilt() {
    let pristine = written();
    let path = segment(0).with_extension("index");
    let content = pristine.content(&path).expect("an index");
    assert!(
        content.len() > 4096,
        "its entries stand behind the first page"
    );
    let mut flipped = content.clone();
    flipped[4096 + 100] ^= 1;
    let mut short = content.clone();
    short.truncate(4096 + 16);
    let other = {
        let last = pristine
            .files()
            .into_iter()
            .map(|(path, _)| path)
            .rfind(|path| path.extension().is_some_and(|e| e == "index"));
        pristine.content(&last.expect("an index")).expect("content")
    };
    for (what, damaged) in [
        ("a flipped bit", flipped),
        ("cut short", short),
        ("another segment's", other),
        ("empty", Vec::new()),
    ] {
        let disk = pristine.crash(Survival::All);
        let logs = lane(&disk, lane_config());
        run(&logs, async {
            let (log, _) = open(&logs, log_config()).await;
            // It rots while the log is open: what was taken from it before is still true.
            disk.set_content(&path, damaged);
            for at in [3, 30, 1, 150] {
                check_lookups(&log, at).await;
            }
            assert_eq!(logs.metrics().indexes_rebuilt, 1, "{what}");
            for index in BATCHES..BATCHES + 70 {
                let batch = Batch::new(format!("b{index}"), 1)
                    .sized(33 << 10)
                    .at(1000 + index as i64 * 10);
                append_durably(&log, &batch).await;
            }
            for at in [3, 199, 230, 260] {
                check_lookups(&log, at).await;
            }
            logs.shutdown().await.expect("closed");
        });
        let logs = lane(&disk, lane_config());
        run(&logs, async {
            let (log, _) = open(&logs, log_config()).await;
            for at in [3, 30, 199, 230] {
                check_lookups(&log, at).await;
            }
        });
    }
}

#[test]
fn an_index_that_was_missing_at_the_start_is_there_at_the_next() {
    let disk = written();
    let path = segment(0).with_extension("index");
    disk.set_content(&path, Vec::new());
    let logs = lane(&disk, lane_config());
    run(&logs, async {
        let (log, report) = open(&logs, log_config()).await;
        assert_eq!(report.segments_scanned, 2);
        while disk.content(&path).is_none_or(|content| content.is_empty()) {
            futures_lite::future::yield_now().await;
        }
        check_lookups(&log, 5).await;
    });
    let logs = lane(&disk.crash(Survival::All), lane_config());
    run(&logs, async {
        let (log, report) = open(&logs, log_config()).await;
        assert_eq!(report.segments_scanned, 1);
        check_lookups(&log, 5).await;
    });
}

#[test]
fn an_idle_log_holds_little_whatever_its_size() {
    // In one segment: its index alone takes more than an idle log may hold.
    const SIZE_BYTES: usize = 150 << 20;
    let disk = MemoryDisk::new();
    let logs = lane(&disk, lane_config());
    let config = LogConfig::default();
    let count = run(&logs, async {
        let (log, _) = open(&logs, config.clone()).await;
        let batch = Batch::new("b", 1).sized(32 << 10);
        let mut count = 0;
        while log.size_bytes() < SIZE_BYTES as u64 {
            append_durably(&log, &batch).await;
            count += 1;
        }
        assert!(count * 16 > IDLE_BYTES_MAX, "{count} entries");
        assert!(
            log.resident_bytes() < IDLE_BYTES_MAX,
            "{}",
            log.resident_bytes()
        );
        logs.shutdown().await.expect("closed");
        count
    });
    let logs = lane(&disk, lane_config());
    run(&logs, async {
        let (log, _) = open(&logs, config.clone()).await;
        assert!(log.resident_bytes() < 8 << 10, "{}", log.resident_bytes());
        for at in [0, count as i64 / 2, count as i64 - 1] {
            let read = read_range(&log, at, Offset::new(at + 1), 1000).await;
            assert_eq!(names(&read.expect("readable")), ["b"]);
        }
        append_durably(&log, &Batch::new("next", 1)).await;
        assert!(
            log.resident_bytes() < IDLE_BYTES_MAX,
            "{}",
            log.resident_bytes()
        );
    });
    drop(logs);
    // A start after a crash holds what no checkpoint covered.
    let logs = lane(&disk.crash(Survival::All), lane_config());
    run(&logs, async {
        let (log, _) = open(&logs, config.clone()).await;
        assert_eq!(log.log_end_offset(), Offset::new(count as i64 + 1));
        assert!(
            log.resident_bytes() < IDLE_BYTES_MAX,
            "{}",
            log.resident_bytes()
        );
    });
}
