//! Rolling, retention, deleted records, truncation, deletion.

mod support;

use corelane_format::{Offset, TimestampMs};
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{AppendError, ChangeError, LaneLogsConfig, LogConfig, ReadError};
use support::*;

fn small_segments() -> LogConfig {
    LogConfig {
        segment_size_bytes: 16 << 10,
        ..LogConfig::default()
    }
}

async fn fill(log: &Log, batches: usize) {
    for index in 0..batches {
        append_durably(
            log,
            &Batch::new(format!("b{index}"), 1)
                .sized(1000)
                .at(index as i64 * 100),
        )
        .await;
    }
}

#[test]
fn segments_roll_by_size() {
    let disk = MemoryDisk::new();
    for pipelined in [false, true] {
        let logs = lane(
            &disk.crash(Survival::None),
            LaneLogsConfig {
                tail_budget_bytes: 0,
                ..small_lane()
            },
        );
        run(&logs, async {
            let (log, _) = open(&logs, small_segments()).await;
            if pipelined {
                for index in 0..100 {
                    append(&log, &Batch::new(format!("b{index}"), 1).sized(1000));
                }
                log.wait_readable(Offset::new(100)).await.expect("durable");
            } else {
                fill(&log, 100).await;
            }
            assert!(log.segments() >= 8, "{}", log.segments());
            for (path, size) in logs.disk().files() {
                assert!(size <= 16 << 10, "{} has {size}", path.display());
            }
            assert_eq!(read_all(&log).await.len(), 100);
        });
        assert!(!logs.disk().saw_overlapping_writes());
    }
}

#[test]
fn segments_roll_by_age() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let config = LogConfig {
            segment_age_ms_max: 1000,
            ..LogConfig::default()
        };
        let (log, _) = open(&logs, config).await;
        for timestamp in [0, 500, 1000, 1001, 2000, 2002] {
            append_durably(&log, &Batch::new("b", 1).at(timestamp)).await;
        }
        assert_eq!(log.segments(), 3);
    });
}

#[test]
fn a_new_segment_waits_for_the_old_one_to_be_durable() {
    let disk = MemoryDisk::new();
    let logs = lane(
        &disk,
        LaneLogsConfig {
            commit_size_bytes_max: 4096,
            ..small_lane()
        },
    );
    run(&logs, async {
        let (log, _) = open(&logs, small_segments()).await;
        append_durably(&log, &Batch::new("b", 1)).await;
        disk.hold_writes(true);
        for index in 0..40 {
            append(&log, &Batch::new(format!("b{index}"), 1).sized(1000));
        }
        for _ in 0..50 {
            // Let all but the oldest of each round complete.
            futures_lite::future::yield_now().await;
            assert!(
                disk.files().len() <= 1 || log.flushed_offset() >= Offset::new(5),
                "segment made too early"
            );
            if disk.held() > 1 {
                disk.release(1);
            }
        }
        disk.hold_writes(false);
        log.wait_readable(Offset::new(41)).await.expect("durable");
    });
}

#[test]
fn retention_by_size_and_by_time() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let config = LogConfig {
            retention_ms: None,
            retention_bytes: Some(40 << 10),
            ..small_segments()
        };
        let (log, _) = open(&logs, config).await;
        fill(&log, 100).await;
        let before = log.segments();
        let deleted = log
            .apply_retention(TimestampMs::new(0))
            .await
            .expect("applied");
        assert!(deleted > 0 && log.segments() == before - deleted);
        assert!(
            log.size_bytes() >= 40 << 10 && log.size_bytes() < 60 << 10,
            "{}",
            log.size_bytes()
        );
        assert!(log.log_start_offset() > Offset::ZERO);
        let error = log
            .read(Offset::ZERO, Offset::new(100), 1000, true)
            .await
            .expect_err("gone");
        assert!(matches!(error, ReadError::OutOfRange { .. }));

        log.set_config(LogConfig {
            retention_ms: Some(1000),
            ..small_segments()
        });
        let start = log.log_start_offset();
        log.apply_retention(TimestampMs::new(9_000))
            .await
            .expect("applied");
        assert!(log.log_start_offset() >= start);
        // Everything is too old: the log is empty, its offsets go on.
        log.apply_retention(TimestampMs::new(1_000_000))
            .await
            .expect("applied");
        assert_eq!(log.log_start_offset(), Offset::new(100));
        assert_eq!(log.log_end_offset(), Offset::new(100));
        assert_eq!(log.segments(), 1);
    });
    let logs = lane(&disk.crash(Survival::None), small_lane());
    run(&logs, async {
        let (log, report) = open(&logs, small_segments()).await;
        assert_eq!(
            (report.log_start_offset, report.log_end_offset),
            (Offset::new(100), Offset::new(100))
        );
        let next = append_durably(&log, &Batch::new("next", 1)).await;
        assert_eq!(next.base_offset, Offset::new(100));
    });
}

#[test]
fn deleted_records_stay_deleted() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, small_segments()).await;
        fill(&log, 60).await;
        let before = log.segments();
        log.advance_log_start(Offset::new(33))
            .await
            .expect("advanced");
        assert!(log.segments() < before);
        assert_eq!(log.log_start_offset(), Offset::new(33));
        log.advance_log_start(Offset::new(20))
            .await
            .expect("never back");
        assert_eq!(log.log_start_offset(), Offset::new(33));
        let error = log
            .advance_log_start(Offset::new(61))
            .await
            .expect_err("beyond the end");
        assert!(matches!(error, ChangeError::OutOfRange { .. }));
        assert_eq!(read_all(&log).await.len(), 27);
    });
    // Durable on return, without any shutdown.
    let disk = disk.crash(Survival::None);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, small_segments()).await;
        assert_eq!(log.log_start_offset(), Offset::new(33));
        assert_eq!(read_all(&log).await.len(), 27);
        log.advance_log_start(Offset::new(60))
            .await
            .expect("everything");
    });
    let logs = lane(&disk.crash(Survival::None), small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, small_segments()).await;
        assert_eq!(
            (log.log_start_offset(), log.log_end_offset()),
            (Offset::new(60), Offset::new(60))
        );
        let next = append_durably(&log, &Batch::new("next", 1)).await;
        assert_eq!(next.base_offset, Offset::new(60));
    });
}

#[test]
fn a_truncation_is_durable_and_final() {
    for to in [0, 1, 7, 15, 16, 31, 59] {
        for tail_budget_bytes in [0, 64 << 20] {
            let disk = MemoryDisk::new();
            let logs = lane(
                &disk,
                LaneLogsConfig {
                    tail_budget_bytes,
                    ..small_lane()
                },
            );
            run(&logs, async {
                let (log, _) = open(&logs, small_segments()).await;
                // Several batches in one block, so that the cut goes through blocks.
                for round in 0..20 {
                    for index in 0..3 {
                        append(
                            &log,
                            &Batch::new(format!("b{}", round * 3 + index), 1).sized(700),
                        );
                    }
                    log.wait_readable(log.log_end_offset())
                        .await
                        .expect("durable");
                }
                log.truncate(Offset::new(to)).await.expect("truncated");
                assert_eq!(log.log_end_offset(), Offset::new(to));
                assert_eq!(read_all(&log).await.len() as i64, to);
            });
            let disk = disk.crash(Survival::None);
            let logs = lane(&disk, small_lane());
            run(&logs, async {
                let (log, report) = open(&logs, small_segments()).await;
                assert_eq!(report.log_end_offset, Offset::new(to));
                append_durably(&log, &Batch::new("new", 2)).await;
                let records = read_all(&log).await;
                assert_eq!(records.len() as i64, to + 2);
                assert_eq!(records[to as usize].name(), "new");
            });
            let logs = lane(&disk.crash(Survival::None), small_lane());
            run(&logs, async {
                let (log, _) = open(&logs, small_segments()).await;
                let mut expected: Vec<String> = (0..to).map(|index| format!("b{index}")).collect();
                expected.push("new".to_owned());
                assert_eq!(names(&read_all(&log).await), expected);
            });
        }
    }
}

#[test]
fn a_truncation_takes_whole_batches() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        append_durably(&log, &Batch::new("a", 10)).await;
        append_durably(&log, &Batch::new("b", 10)).await;
        log.truncate(Offset::new(15)).await.expect("truncated");
        assert_eq!(log.log_end_offset(), Offset::new(10));
    });
}

#[test]
fn a_deleted_log_leaves_nothing() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, small_segments()).await;
        fill(&log, 40).await;
        logs.delete_log(&log).await.expect("deleted");
        assert!(disk.files().is_empty(), "{:?}", disk.files());
        let error = append_bytes(&log, &Batch::new("b", 1).bytes(), 0).expect_err("deleted");
        assert!(matches!(error, AppendError::Fenced(_)));
        // Its directory may be used again, by another log.
        let (log, _) = logs
            .open_log(
                &directory(),
                corelane_format::LogId::new(8),
                small_segments(),
            )
            .await
            .expect("opens");
        append_durably(&log, &Batch::new("b", 1)).await;
        assert_eq!(log.log_end_offset(), Offset::new(1));
    });
}

#[test]
fn a_deletion_that_was_answered_outlives_a_crash() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, small_segments()).await;
        fill(&log, 40).await;
        logs.delete_log(&log).await.expect("deleted");
    });
    let left = disk.crash(Survival::None);
    let names: Vec<_> = left.files().into_iter().map(|(path, _)| path).collect();
    assert!(
        names.iter().all(|path| !path.starts_with(directory())),
        "{names:?}"
    );
}

#[test]
fn an_interrupted_deletion_is_finished_by_the_purge() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, small_segments()).await;
        fill(&log, 40).await;
    });
    let start = disk.operations();
    let mut deleted = 0;
    for operation in start.. {
        let image = disk.crash(Survival::All);
        let logs = lane(&image, small_lane());
        let finished = run_until_stalled(&logs, async {
            let (log, _) = open(&logs, small_segments()).await;
            image.stop_at(image.operations() + operation - start);
            logs.delete_log(&log).await.expect("deleted");
        });
        let left = image.crash(Survival::All);
        let logs = lane(&left, small_lane());
        run(&logs, async {
            logs.purge_trash("/data".as_ref()).await.expect("purged");
            let (log, _) = open(&logs, small_segments()).await;
            match read_all(&log).await.len() {
                40 => {}
                0 => {
                    deleted += 1;
                    assert!(left.files().is_empty(), "{:?}", left.files());
                }
                some => panic!("{some} of 40 records are left"),
            }
        });
        if finished.is_some() {
            break;
        }
    }
    assert!(deleted > 2);
}

#[test]
fn space_is_reserved_in_steps() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        append_durably(&log, &Batch::new("b", 1)).await;
        let (_, size) = disk.files()[0].clone();
        assert!(size <= 256 << 10, "a small log is cheap, not {size} bytes");
        for index in 0..20 {
            append(&log, &Batch::new(format!("b{index}"), 1).sized(100_000));
        }
        log.wait_readable(Offset::new(21)).await.expect("durable");
        let (_, size) = disk.files()[0].clone();
        assert!((2 << 20..=8 << 20).contains(&size), "{size}");
        logs.shutdown().await.expect("closed");
        let (_, size) = disk
            .files()
            .into_iter()
            .find(|(path, _)| *path == segment(0))
            .expect("a segment");
        assert!(size < 2_100_000, "unused space was given back: {size}");
    });
}

#[test]
fn a_deleted_log_does_not_come_back_by_its_own_commits() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, small_segments()).await;
        append_durably(&log, &Batch::new("a", 1).sized(1000)).await;
        disk.hold_writes(true);
        for index in 0..40 {
            append(&log, &Batch::new(format!("b{index}"), 1).sized(1000));
        }
        futures_lite::future::yield_now().await;
        logs.delete_log(&log).await.expect("deleted");
        disk.hold_writes(false);
        for _ in 0..20 {
            futures_lite::future::yield_now().await;
        }
        assert!(disk.files().is_empty(), "{:?}", disk.files());
        log.wait_readable(log.log_end_offset())
            .await
            .expect_err("never");
    });
}

#[test]
fn a_failed_truncation_fences_the_log() {
    use corelane_storage::disk::memory::Fault;
    let count = |fail_at: Option<u64>| {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, _) = open(&logs, small_segments()).await;
            fill(&log, 40).await;
            let before = disk.operations();
            if let Some(at) = fail_at {
                disk.fail_at(before + at, Fault::Error(libc::EIO));
            }
            match log.truncate(Offset::new(10)).await {
                Ok(()) => assert!(log.fenced().is_none()),
                Err(ChangeError::Io { .. }) => assert!(log.fenced().is_some()),
                Err(error) => panic!("{error}"),
            }
            disk.operations() - before
        })
    };
    for at in 0..count(None) {
        count(Some(at));
    }
}

#[test]
fn retention_under_load_leaves_what_is_not_flushed() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let config = LogConfig {
            retention_bytes: Some(1),
            ..small_segments()
        };
        let (log, _) = open(&logs, config).await;
        append_durably(&log, &Batch::new("first", 1)).await;
        disk.hold_writes(true);
        for index in 0..40 {
            append(&log, &Batch::new(format!("b{index}"), 1).sized(3000));
        }
        futures_lite::future::yield_now().await;
        let now = TimestampMs::new(0);
        assert_eq!(log.apply_retention(now).await.expect("retention"), 0);
        disk.hold_writes(false);
        log.wait_readable(log.log_end_offset())
            .await
            .expect("not fenced");
        assert!(log.apply_retention(now).await.expect("retention") > 0);
        assert!(log.fenced().is_none());
    });
}

#[test]
fn the_last_segment_on_disk_outlives_one_that_is_not_created_yet() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let config = LogConfig {
            retention_bytes: Some(1),
            ..small_segments()
        };
        let (log, _) = open(&logs, config).await;
        fill(&log, 1).await;
        // A new segment in memory alone.
        while log.segments() == 1 {
            log.wait_readable(log.log_end_offset())
                .await
                .expect("durable");
            append(&log, &Batch::new("b", 1).sized(3000));
        }
        let now = TimestampMs::new(0);
        assert_eq!(log.apply_retention(now).await.expect("retention"), 0);
        assert!(
            disk.files()
                .iter()
                .any(|(path, _)| path.extension().is_some_and(|e| e == "log"))
        );
    });
}
