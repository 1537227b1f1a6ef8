//! Power is cut at every operation of a history, and what was not flushed survives in every way: not at all, wholly, in
//! parts, torn at sectors, in any order. What was acknowledged is there, once, in order; and so it is after the next
//! crash.
//!
//! The histories overlap full commits, roll, delete records and truncate, with writes completing in a seeded order.

mod support;

use std::cell::{Cell, RefCell};

use corelane_format::Offset;
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{LaneLogsConfig, LogConfig};
use support::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Append so many batches of that many bytes at once, then wait for them.
    Append(usize, usize),
    /// Delete records below this part (percent) of the log.
    DeleteRecords(i64),
    /// Cut the log at this part (percent).
    Truncate(i64),
    /// Close the lane cleanly and open it again.
    Restart,
}

/// What a client knows.
#[derive(Debug, Default, Clone)]
struct Ledger {
    /// The name of the record at each offset, as appended.
    names: Vec<String>,
    acked: usize,
    log_start: i64,
    /// A truncation or deletion that was begun and not answered.
    may_end_at: Option<usize>,
    may_start_at: i64,
}

fn config() -> LogConfig {
    LogConfig {
        segment_size_bytes: 24 << 10,
        ..LogConfig::default()
    }
}

fn lane_config() -> LaneLogsConfig {
    LaneLogsConfig {
        commit_size_bytes_max: 8 << 10,
        checkpoint_bytes: 8 << 10,
        ..small_lane()
    }
}

/// Lets held writes complete, one after the other, in an order that `seed` picks.
async fn release_in_some_order(disk: &MemoryDisk, seed: u64) {
    let mut state = seed;
    loop {
        futures_lite::future::yield_now().await;
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The power is gone: what is on its way stays there.
        if disk.stopped() {
            return;
        }
        let held = disk.held();
        if held > 0 {
            disk.release((state >> 33) as usize % held);
        }
    }
}

fn play(
    disk: &MemoryDisk,
    steps: &[Step],
    seed: u64,
    journal: bool,
    ledger: &RefCell<Ledger>,
) -> bool {
    disk.hold_writes(true);
    let mut rest = steps;
    while !rest.is_empty() {
        let logs = lane(disk, lane_config());
        let used = Cell::new(0);
        let play = async {
            if journal {
                start_journal(&logs).await;
            }
            let Ok((log, _)) = try_open(&logs, config()).await else {
                return;
            };
            for (index, step) in rest.iter().enumerate() {
                used.set(index + 1);
                let end = log.log_end_offset();
                match *step {
                    Step::Append(batches, size) => {
                        for _ in 0..batches {
                            let name = format!("n{}s{seed}", ledger.borrow().names.len());
                            append(&log, &Batch::new(&name, 1).sized(size));
                            ledger.borrow_mut().names.push(name);
                        }
                        let mut at = end.get();
                        while at < log.log_end_offset().get() {
                            at += 1;
                            if log.wait_readable(Offset::new(at)).await.is_err() {
                                return;
                            }
                            ledger.borrow_mut().acked = at as usize;
                        }
                    }
                    Step::DeleteRecords(percent) => {
                        let to = end.get() * percent / 100;
                        ledger.borrow_mut().may_start_at = to;
                        log.advance_log_start(Offset::new(to))
                            .await
                            .expect("advanced");
                        let mut ledger = ledger.borrow_mut();
                        ledger.log_start = ledger.log_start.max(to);
                    }
                    Step::Truncate(percent) => {
                        let to = (end.get() * percent / 100).max(log.log_start_offset().get());
                        ledger.borrow_mut().may_end_at = Some(to as usize);
                        log.truncate(Offset::new(to)).await.expect("truncated");
                        let mut ledger = ledger.borrow_mut();
                        ledger.may_end_at = None;
                        ledger.acked = to as usize;
                        ledger.names.truncate(to as usize);
                    }
                    Step::Restart => {
                        logs.shutdown().await.expect("closed");
                        return;
                    }
                }
            }
        };
        let both = futures_lite::future::or(
            async {
                play.await;
                true
            },
            async {
                release_in_some_order(disk, seed).await;
                std::future::pending().await
            },
        );
        if run_until_stalled(&logs, both).is_none() {
            return false;
        }
        rest = &rest[used.get()..];
    }
    true
}

fn verify(image: &MemoryDisk, ledger: &Ledger, journal: bool, context: &str) {
    let logs = lane(image, lane_config());
    let mut expected = run(&logs, async {
        if journal {
            let report = start_journal(&logs).await;
            assert!(
                report.lost.is_empty() && report.damaged.is_empty(),
                "{report:?} {context}"
            );
        }
        let (log, report) = open(&logs, config()).await;
        let context = format!("{context}\n{report:?}\n{ledger:?}");
        assert!(report.quarantined.is_empty(), "{context}");
        let (start, end) = (log.log_start_offset().get(), log.log_end_offset().get());
        let end_min = ledger.may_end_at.unwrap_or(ledger.acked).min(ledger.acked);
        assert!(
            end as usize >= end_min,
            "{end} is below what was acknowledged: {context}"
        );
        assert!(end as usize <= ledger.names.len(), "{context}");
        assert!(
            start >= ledger.log_start && start <= ledger.log_start.max(ledger.may_start_at),
            "{context}"
        );
        let got = names(&read_all(&log).await);
        assert_eq!(got, ledger.names[start as usize..end as usize], "{context}");
        // Life goes on, and the next crash finds all of it.
        let mut expected = got;
        for name in ["after", "later"] {
            append_durably(&log, &Batch::new(name, 1).sized(3000)).await;
            expected.push(name.to_owned());
        }
        expected
    });
    assert!(!image.saw_overlapping_writes());
    let logs = lane(&image.crash(Survival::None), lane_config());
    run(&logs, async {
        if journal {
            start_journal(&logs).await;
        }
        let (log, report) = open(&logs, config()).await;
        assert!(report.quarantined.is_empty(), "{context}");
        assert_eq!(
            names(&read_all(&log).await),
            expected,
            "second opening, {context}"
        );
        expected.clear();
    });
}

/// Cuts the power at every operation, without a journal and with one.
fn explore(steps: &[Step], seed: u64, survivals: u64) -> u64 {
    explore_with(steps, seed, survivals, false) + explore_with(steps, seed, survivals, true)
}

fn explore_with(steps: &[Step], seed: u64, survivals: u64, journal: bool) -> u64 {
    let mut states = 0;
    for operation in 0.. {
        let disk = MemoryDisk::new();
        disk.stop_at(operation);
        let ledger = RefCell::new(Ledger::default());
        let finished = play(&disk, steps, seed, journal, &ledger);
        assert!(!disk.saw_overlapping_writes());
        let ledger = ledger.into_inner();
        let mut modes = vec![Survival::None, Survival::All];
        for round in 0..survivals {
            let seed = seed ^ (operation << 8) ^ round;
            modes.extend([Survival::Subset { seed }, Survival::Torn { seed }]);
        }
        for survival in modes {
            states += 1;
            let context = format!(
                "{steps:?} seed {seed} cut at {operation}, {survival:?}, journal {journal}"
            );
            verify(&disk.crash(survival), &ledger, journal, &context);
        }
        if finished {
            break;
        }
    }
    states
}

#[test]
fn first_appends() {
    assert!(
        explore(
            &[
                Step::Append(1, 100),
                Step::Append(1, 100),
                Step::Append(2, 5000)
            ],
            1,
            12
        ) > 100
    );
}

#[test]
fn overlapping_commits_and_rolls() {
    for seed in 0..4 {
        explore(
            &[
                Step::Append(3, 300),
                Step::Append(30, 2500),
                Step::Append(2, 100),
                Step::Append(12, 3000),
            ],
            seed,
            4,
        );
    }
}

#[test]
fn restarts_and_deleted_records() {
    let steps = [
        Step::Append(20, 2000),
        Step::DeleteRecords(60),
        Step::Restart,
        Step::Append(10, 2000),
        Step::DeleteRecords(100),
        Step::Append(3, 200),
        Step::Restart,
        Step::Append(1, 200),
    ];
    for seed in 0..2 {
        explore(&steps, seed, 2);
    }
}

#[test]
fn truncations() {
    let steps = [
        Step::Append(20, 2000),
        Step::Truncate(50),
        Step::Append(10, 1500),
        Step::Truncate(95),
        Step::Restart,
        Step::Append(5, 1500),
        Step::Truncate(0),
        Step::Append(2, 100),
    ];
    for seed in 0..2 {
        explore(&steps, seed, 2);
    }
}

#[test]
fn many_small_commits() {
    let steps = [Step::Append(1, 100); 30];
    explore(&steps, 3, 3);
}
