//! When commits start, what overlaps, and in which order they count.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use corelane_format::{LogId, Offset};
use corelane_storage::disk::memory::MemoryDisk;
use corelane_storage::{LaneLogsConfig, LogConfig};
use support::*;

/// Lets the flusher do what it can.
async fn settle() {
    for _ in 0..20 {
        futures_lite::future::yield_now().await;
    }
}

#[test]
fn one_small_commit_at_a_time_gathers_the_rest() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        append_durably(&log, &Batch::new("first", 1)).await;
        let before = logs.metrics().commits;
        disk.hold_writes(true);
        for index in 0..50 {
            append(&log, &Batch::new(format!("b{index}"), 1));
            settle().await;
        }
        assert_eq!(
            disk.held(),
            1,
            "the first is on its way, the others wait and gather"
        );
        disk.hold_writes(false);
        log.wait_readable(Offset::new(51)).await.expect("durable");
        assert_eq!(logs.metrics().commits - before, 2);
    });
    assert!(!disk.saw_overlapping_writes());
}

#[test]
fn full_commits_overlap_up_to_the_limit() {
    let disk = MemoryDisk::new();
    let config = LaneLogsConfig {
        commit_size_bytes_max: 32 << 10,
        commits_in_flight_max: 4,
        ..small_lane()
    };
    let logs = lane(&disk, config);
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        append_durably(&log, &Batch::new("first", 1)).await;
        disk.hold_writes(true);
        for index in 0..100 {
            append(&log, &Batch::new(format!("b{index}"), 1).sized(4000));
        }
        settle().await;
        assert_eq!(disk.held(), 4);
        disk.hold_writes(false);
        log.wait_readable(log.log_end_offset())
            .await
            .expect("durable");
        assert_eq!(read_all(&log).await.len(), 101);
    });
    assert!(!disk.saw_overlapping_writes());
}

#[test]
fn the_flushed_offset_never_passes_a_gap() {
    let disk = MemoryDisk::new();
    let config = LaneLogsConfig {
        commit_size_bytes_max: 16 << 10,
        ..small_lane()
    };
    let logs = lane(&disk, config);
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        append_durably(&log, &Batch::new("first", 1)).await;
        disk.hold_writes(true);
        for index in 0..16 {
            append(&log, &Batch::new(format!("b{index}"), 1).sized(4000));
        }
        settle().await;
        assert_eq!(disk.held(), 4);
        let before = log.flushed_offset();
        for _ in 0..3 {
            // The later ones first.
            disk.release(1);
            settle().await;
            assert_eq!(
                log.flushed_offset(),
                before,
                "the first is still on its way"
            );
        }
        disk.release(0);
        settle().await;
        assert!(
            log.flushed_offset() > before.plus(8),
            "all four count at once"
        );
        disk.hold_writes(false);
        log.wait_readable(log.log_end_offset())
            .await
            .expect("durable");
    });
    assert!(!disk.saw_overlapping_writes());
}

#[test]
fn waiters_are_answered_in_order() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        let order = Rc::new(RefCell::new(Vec::new()));
        let waiter = |end: i64| {
            let (log, order) = (log.clone(), order.clone());
            async move {
                log.wait_readable(Offset::new(end)).await.expect("durable");
                order.borrow_mut().push(end);
            }
        };
        let append_all = async {
            for index in 0..3 {
                append(&log, &Batch::new(format!("b{index}"), 1));
            }
        };
        // Registered against the order of their offsets.
        let (three, one, two) = (waiter(3), waiter(1), waiter(2));
        futures_lite::future::zip(
            futures_lite::future::zip(three, one),
            futures_lite::future::zip(two, append_all),
        )
        .await;
        assert_eq!(order.borrow().len(), 3);
    });
}

#[test]
fn writes_of_many_logs_overlap_up_to_the_lanes_limit() {
    let disk = MemoryDisk::new();
    let logs = lane(
        &disk,
        LaneLogsConfig {
            writes_in_flight_max: 5,
            ..small_lane()
        },
    );
    run(&logs, async {
        let mut all = Vec::new();
        for id in 1..=12 {
            let path = format!("/data/topic-{id}");
            let (log, _) = logs
                .open_log(path.as_ref(), LogId::new(id), LogConfig::default())
                .await
                .expect("opens");
            append_durably(&log, &Batch::new("first", 1)).await;
            all.push(log);
        }
        disk.hold_writes(true);
        for log in &all {
            append(log, &Batch::new("second", 1));
        }
        settle().await;
        assert_eq!(disk.held(), 5);
        disk.hold_writes(false);
        for log in &all {
            log.wait_readable(Offset::new(2)).await.expect("durable");
        }
    });
}

#[test]
fn admission_waits_for_flushed_bytes() {
    let disk = MemoryDisk::new();
    let logs = lane(
        &disk,
        LaneLogsConfig {
            unflushed_budget_bytes: 10_000,
            ..small_lane()
        },
    );
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        logs.admit(1 << 30).await; // An idle lane admits anything.
        disk.hold_writes(true);
        append(&log, &Batch::new("b", 1).sized(9000));
        logs.admit(500).await;
        let waiting = logs.admit(5000);
        let mut waiting = std::pin::pin!(waiting);
        let polled = futures_lite::future::poll_once(waiting.as_mut()).await;
        assert!(polled.is_none(), "over the budget");
        disk.hold_writes(false);
        waiting.await;
        assert_eq!(logs.metrics().unflushed_bytes, 0);
    });
}

#[test]
fn progress_wakers_are_woken_once() {
    struct Count(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let count = std::sync::Arc::new(Count(std::sync::atomic::AtomicUsize::new(0)));
    let waker = std::task::Waker::from(count.clone());
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        log.register_progress_waker(&waker);
        log.register_progress_waker(&waker);
        append_durably(&log, &Batch::new("a", 1)).await;
        append_durably(&log, &Batch::new("b", 1)).await;
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    });
}
