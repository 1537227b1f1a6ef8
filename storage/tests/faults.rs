//! The n-th operation fails, every n: no false acknowledgement, ever.

mod support;

use corelane_format::{LogId, Offset};
use corelane_storage::disk::memory::{Fault, MemoryDisk, Survival};
use corelane_storage::{AppendError, LaneLogsConfig, LogConfig};
use support::history::{Played, Step, World};
use support::*;

const BATCHES: usize = 24;

fn config() -> LogConfig {
    LogConfig {
        segment_size_bytes: 12 << 10,
        ..LogConfig::default()
    }
}

/// Appends until something refuses or stalls; counts what was acknowledged.
fn history(disk: &MemoryDisk, acked: &std::cell::Cell<usize>) {
    let logs = lane(
        disk,
        LaneLogsConfig {
            tail_budget_bytes: 0,
            ..small_lane()
        },
    );
    run_until_stalled(&logs, async {
        let Ok((log, _)) = try_open(&logs, config()).await else {
            return;
        };
        for index in 0..BATCHES {
            let bytes = Batch::new(format!("b{index}"), 1).sized(1200).bytes();
            let Ok(appended) = append_bytes(&log, &bytes, 0) else {
                return;
            };
            if log.wait_readable(appended.end_offset()).await.is_err() {
                return;
            }
            acked.set(acked.get() + 1);
        }
        let _ = log.advance_log_start(Offset::new(1)).await;
        let _ = logs.shutdown().await;
    });
}

#[test]
fn no_failure_acknowledges_what_is_not_there() {
    let clean = MemoryDisk::new();
    let all = std::cell::Cell::new(0);
    history(&clean, &all);
    assert_eq!(all.get(), BATCHES);
    let operations = clean.operations();
    assert!(operations > 40, "{operations}");
    let mut fenced_early = 0;
    for operation in 0..operations {
        for fault in [
            Fault::Error(libc::EIO),
            Fault::Error(libc::ENOSPC),
            Fault::Error(libc::EROFS),
            Fault::Error(libc::EMFILE),
            Fault::Short,
            Fault::Hang,
        ] {
            let disk = MemoryDisk::new();
            disk.fail_at(operation, fault);
            let acked = std::cell::Cell::new(0);
            history(&disk, &acked);
            fenced_early += usize::from(acked.get() < BATCHES);
            for survival in [
                Survival::None,
                Survival::All,
                Survival::Torn { seed: operation },
                Survival::Subset { seed: operation },
            ] {
                let image = disk.crash(survival);
                let logs = lane(&image, small_lane());
                run(&logs, async {
                    let (log, report) = open(&logs, config()).await;
                    let context = format!("{fault:?} at {operation}, {survival:?}, {report:?}");
                    let end = log.log_end_offset().get();
                    assert!(
                        end >= acked.get() as i64,
                        "{} acknowledged: {context}",
                        acked.get()
                    );
                    assert!(report.quarantined.is_empty(), "{context}");
                    let start = log.log_start_offset().get();
                    assert!(start <= 1, "{context}");
                    let expected: Vec<String> =
                        (start..end).map(|index| format!("b{index}")).collect();
                    assert_eq!(names(&read_all(&log).await), expected, "{context}");
                });
            }
        }
    }
    assert!(fenced_early > 50, "{fenced_early} faults were felt");
}

/// Every operation of a history with every kind of change fails in every way, and then the power goes.
#[test]
fn no_failure_of_any_change_breaks_a_promise() {
    let steps = [
        Step::Append(0, 4, 1500),
        Step::Trickle(3, 300),
        Step::DeleteRecords(0, 40),
        Step::Truncate(1, 0),
        Step::Append(0, 6, 1500),
        Step::Retention(0),
        Step::Trickle(3, 200),
        Step::Recreate(2),
        Step::Restart,
        Step::Trickle(3, 300),
        Step::DeleteRecords(0, 100),
    ];
    let (mut felt, mut states) = (0, 0);
    for operation in 0.. {
        let mut reached = false;
        for fault in [
            Fault::Error(libc::EIO),
            Fault::Error(libc::ENOSPC),
            Fault::Error(libc::EROFS),
            Fault::Error(libc::EMFILE),
            Fault::Short,
            Fault::Hang,
        ] {
            let world = World::new(3, 8 << 10);
            let disk = MemoryDisk::new();
            disk.fail_at(operation, fault);
            let played = world.play(&disk, &steps, operation);
            reached |= disk.operations() > operation;
            felt += usize::from(!matches!(played, Played::Done));
            let ways = [
                Survival::None,
                Survival::All,
                Survival::Torn { seed: operation },
                Survival::Subset { seed: operation },
            ];
            for survival in ways {
                states += 1;
                let context = Place(operation, fault, survival);
                world.verify(&disk.crash(survival));
                drop(context);
            }
        }
        if !reached {
            break;
        }
    }
    assert!(felt > 100, "{felt} faults were felt");
    println!("{states} states, {felt} faults were felt");
}

/// Says where it was when an assertion failed.
struct Place(u64, Fault, Survival);

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?} at operation {}, {:?}", self.1, self.0, self.2);
        }
    }
}

/// The directory is there after a failed attempt, but its name is durable only once the attempt was repeated to its end.
#[test]
fn a_directory_that_was_made_but_not_synced_is_synced_before_anything_counts() {
    for operation in 0..8 {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, _) = open(&logs, config()).await;
            disk.fail_at(disk.operations() + operation, Fault::Error(libc::ENOSPC));
            let appended = append(&log, &Batch::new("a", 1));
            settle().await;
            logs.maintain();
            let _ = log.wait_readable(appended.end_offset()).await;
            if log.flushed_offset() == Offset::new(1) {
                let left = disk.crash(Survival::None);
                let logs = lane(&left, small_lane());
                run(&logs, async {
                    let (log, _) = open(&logs, config()).await;
                    assert_eq!(names(&read_all(&log).await), ["a"], "operation {operation}");
                });
            }
        });
    }
}

#[test]
fn a_write_that_never_ends_holds_up_its_own_log_alone() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (stuck, _) = open(&logs, config()).await;
        let other = logs.open_log("/data/other".as_ref(), LogId::new(8), config());
        let (other, _) = other.await.expect("opens");
        append_durably(&stuck, &Batch::new("a", 1)).await;
        append_durably(&other, &Batch::new("a", 1)).await;
        disk.fail_at(disk.operations(), Fault::Hang);
        append(&stuck, &Batch::new("b", 1).sized(1000));
        settle().await;
        for index in 0..20 {
            append_durably(&other, &Batch::new(format!("c{index}"), 1).sized(1000)).await;
        }
        assert_eq!(stuck.flushed_offset(), Offset::new(1), "never acknowledged");
        assert_eq!(
            names(&read_all(&stuck).await),
            ["a"],
            "what is durable is read"
        );
        logs.close_log(&other).await.expect("closed");
    });
}

#[test]
fn a_failed_write_fences_the_log_and_what_was_flushed_stays_readable() {
    for fault in [Fault::Error(libc::EIO), Fault::Short] {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, _) = open(&logs, LogConfig::default()).await;
            append_durably(&log, &Batch::new("a", 1)).await;
            disk.fail_at(disk.operations(), fault);
            let lost = append(&log, &Batch::new("b", 1));
            log.wait_readable(lost.end_offset())
                .await
                .expect_err("not durable");
            let error = append_bytes(&log, &Batch::new("c", 1).bytes(), 0).expect_err("fenced");
            assert!(matches!(error, AppendError::Fenced(_)), "{error}");
            assert_eq!(log.flushed_offset(), Offset::new(1));
            assert_eq!(names(&read_all(&log).await), ["a"]);
            assert_eq!(
                logs.metrics().unflushed_bytes,
                0,
                "nobody waits for bytes that never flush"
            );
            assert!(logs.shutdown().await.is_err());
        });
    }
}

#[test]
fn a_late_success_behind_a_failure_is_not_acknowledged() {
    let disk = MemoryDisk::new();
    let logs = lane(
        &disk,
        LaneLogsConfig {
            commit_size_bytes_max: 16 << 10,
            ..small_lane()
        },
    );
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        append_durably(&log, &Batch::new("a", 1)).await;
        disk.fail_at(disk.operations(), Fault::Error(libc::EIO));
        for index in 0..16 {
            append(&log, &Batch::new(format!("b{index}"), 1).sized(4000));
        }
        log.wait_readable(Offset::new(17))
            .await
            .expect_err("fenced");
        for _ in 0..20 {
            futures_lite::future::yield_now().await;
        }
        assert_eq!(log.flushed_offset(), Offset::new(1));
    });
}

#[test]
fn without_space_appends_are_refused_and_it_goes_on_by_itself() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        append_durably(&log, &Batch::new("a", 1)).await;
        disk.fail_writes(Fault::Error(libc::ENOSPC));
        // Does not fit the reservation: waits for room.
        let waiting = append(&log, &Batch::new("b", 1).sized(400_000));
        for _ in 0..20 {
            futures_lite::future::yield_now().await;
        }
        let error = append_bytes(&log, &Batch::new("c", 1).bytes(), 1000).expect_err("no space");
        assert!(matches!(error, AppendError::NoSpace { .. }), "{error}");
        assert_eq!(names(&read_all(&log).await), ["a"], "reading goes on");
        disk.heal();
        // The next refusal, a second later, makes it look again.
        let _ = append_bytes(&log, &Batch::new("c", 1).bytes(), 5000);
        log.wait_readable(waiting.end_offset())
            .await
            .expect("durable");
        append_durably(&log, &Batch::new("d", 1)).await;
        assert_eq!(names(&read_all(&log).await), ["a", "b", "d"]);
    });
}

async fn settle() {
    for _ in 0..20 {
        futures_lite::future::yield_now().await;
    }
}

#[test]
fn closing_a_log_that_meets_a_full_disk_fails_and_ends() {
    for stuck_before in [true, false] {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, _) = open(&logs, LogConfig::default()).await;
            append_durably(&log, &Batch::new("a", 1)).await;
            disk.fail_writes(Fault::Error(libc::ENOSPC));
            append(&log, &Batch::new("b", 1).sized(400_000));
            if stuck_before {
                settle().await;
            }
            assert!(logs.shutdown().await.is_err());
            assert_eq!(log.flushed_offset(), Offset::new(1));
        });
    }
}

#[test]
fn closing_looks_for_space_once_more() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        disk.fail_writes(Fault::Error(libc::ENOSPC));
        append(&log, &Batch::new("a", 1));
        settle().await;
        disk.heal();
        logs.shutdown().await.expect("clean");
        assert_eq!(log.flushed_offset(), Offset::new(1));
    });
}

#[test]
fn a_passing_shortage_before_the_write_does_not_fence() {
    for error in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSPC] {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, _) = open(&logs, LogConfig::default()).await;
            disk.fail_at(disk.operations(), Fault::Error(error));
            let waiting = append(&log, &Batch::new("a", 1));
            settle().await;
            assert!(append_bytes(&log, &Batch::new("b", 1).bytes(), 1000).is_err());
            disk.heal();
            logs.maintain();
            log.wait_readable(waiting.end_offset())
                .await
                .expect("durable");
            append_durably(&log, &Batch::new("c", 1)).await;
            assert_eq!(names(&read_all(&log).await), ["a", "c"]);
        });
    }
}

#[test]
fn retention_waits_for_no_full_disk_and_still_makes_room() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let config = LogConfig {
            retention_ms: Some(1000),
            ..config()
        };
        let (log, _) = open(&logs, config).await;
        for index in 0..BATCHES {
            append_durably(&log, &Batch::new(format!("b{index}"), 1).sized(1200)).await;
        }
        let before = log.segments();
        disk.fail_writes(Fault::Error(libc::ENOSPC));
        append(&log, &Batch::new("waits", 1).sized(11_000));
        settle().await;
        let now = corelane_format::TimestampMs::new(1_000_000);
        let deleted = log.apply_retention(now).await.expect("no wait");
        assert_eq!(deleted, before - 1, "all but the last one on disk");
        disk.heal();
        logs.maintain();
        log.wait_readable(log.log_end_offset())
            .await
            .expect("durable");
    });
}
