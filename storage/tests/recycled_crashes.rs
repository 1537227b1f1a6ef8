//! Power is cut at every operation while segments are retired, kept as spares and overwritten. Behind, beneath and between
//! what a torn write leaves lie whole blocks of the file's earlier life: of another log, of this log's earlier records, of
//! the very same offsets. None of them ever decodes, nothing acknowledged is lost, and none of it passes for damage.

mod support;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use corelane_format::{LogId, Offset};
use corelane_storage::disk::memory::{MemoryDisk, OperationKind, Survival};
use corelane_storage::{LaneLogsConfig, LogConfig, SparesConfig};
use support::*;

const POOL: &str = "/data/spares/0";
const OTHER: LogId = LogId::new(9);

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Append so many batches of that many bytes at once, then wait for them.
    Append(usize, usize),
    /// Append so many batches of that many bytes, each after the one before it is durable: what such blocks say of what was
    /// flushed is nearly all of the log.
    AppendEach(usize, usize),
    /// Delete records below this part (percent) of the log.
    DeleteRecords(i64),
    /// Cut the log at this part (percent).
    Truncate(i64),
    /// Make another log with so many batches of that many bytes, and delete it.
    OtherLog(usize, usize),
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
    /// Names given so far: no two records ever share one.
    given: usize,
    /// Lanes started so far.
    starts: u64,
}

fn config() -> LogConfig {
    LogConfig {
        segment_size_bytes: 24 << 10,
        ..LogConfig::default()
    }
}

/// `start`: each start draws other generations, as a server's does.
fn lane_config(start: u64) -> LaneLogsConfig {
    LaneLogsConfig {
        commit_size_bytes_max: 8 << 10,
        spares: Some(SparesConfig {
            directory: PathBuf::from(POOL),
            bytes_max: 96 << 10,
            size_bytes_min: 12 << 10,
        }),
        seed: start,
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

async fn append_named(log: &Log, batches: usize, size: usize, ledger: &RefCell<Ledger>) {
    let mut at = log.log_end_offset().get();
    for _ in 0..batches {
        let name = format!("n{}", ledger.borrow().given);
        append(log, &Batch::new(&name, 1).sized(size));
        let mut ledger = ledger.borrow_mut();
        ledger.names.push(name);
        ledger.given += 1;
    }
    while at < log.log_end_offset().get() {
        at += 1;
        if log.wait_readable(Offset::new(at)).await.is_err() {
            return;
        }
        ledger.borrow_mut().acked = at as usize;
    }
}

async fn take_step(logs: &Logs, log: &Log, step: Step, ledger: &RefCell<Ledger>) {
    let end = log.log_end_offset();
    match step {
        Step::Append(batches, size) => append_named(log, batches, size, ledger).await,
        Step::AppendEach(batches, size) => {
            for _ in 0..batches {
                append_named(log, 1, size, ledger).await;
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
        Step::OtherLog(batches, size) => {
            let opened = logs.open_log(Path::new("/data/other-0"), OTHER, config());
            let (other, _) = opened.await.expect("opens");
            for index in 0..batches {
                append_durably(&other, &Batch::new(format!("other{index}"), 1).sized(size)).await;
            }
            logs.delete_log(&other).await.expect("deleted");
        }
        Step::Restart => logs.shutdown().await.expect("closed"),
    }
}

/// Plays the steps; `false`: the power went.
fn play(disk: &MemoryDisk, steps: &[Step], seed: u64, ledger: &RefCell<Ledger>) -> bool {
    disk.hold_writes(true);
    let mut rest = steps;
    while !rest.is_empty() {
        ledger.borrow_mut().starts += 1;
        let logs = lane(disk, lane_config(ledger.borrow().starts));
        let used = Cell::new(0);
        let play = async {
            logs.open_spares().await.expect("a pool");
            let (log, _) = open(&logs, config()).await;
            for (index, step) in rest.iter().enumerate() {
                used.set(index + 1);
                take_step(&logs, &log, *step, ledger).await;
                if matches!(step, Step::Restart) {
                    return;
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
    disk.hold_writes(false);
    true
}

/// `quiet`: nothing was under way when the power went, so whatever lies behind the tail is old.
fn verify(image: &MemoryDisk, ledger: &Ledger, quiet: bool, context: &str) {
    let logs = lane(image, lane_config(ledger.starts + 1));
    let expected = run(&logs, async {
        logs.open_spares().await.expect("a pool");
        logs.purge_trash(Path::new("/data")).await.expect("purged");
        let (log, report) = open(&logs, config()).await;
        let context = format!("{context}\n{report:?}\n{ledger:?}\n{:?}", image.files());
        assert!(report.quarantined.is_empty(), "{context}");
        assert!(!quiet || report.torn_tail.is_none(), "{context}");
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
        // Life goes on, over more spares, and the next crash finds all of it.
        let mut expected = got;
        for index in 0..8 {
            let name = format!("after{index}");
            append_durably(&log, &Batch::new(&name, 1).sized(6000)).await;
            expected.push(name);
        }
        expected
    });
    assert!(!image.saw_overlapping_writes());
    let logs = lane(&image.crash(Survival::None), lane_config(ledger.starts + 2));
    run(&logs, async {
        let report = logs.open_spares().await.expect("a pool");
        assert!(report.taken_over_bytes <= 96 << 10);
        let (log, report) = open(&logs, config()).await;
        let context = format!("{context}\n{report:?}\n{:?}", image.files());
        assert!(report.quarantined.is_empty(), "{context}");
        assert_eq!(
            names(&read_all(&log).await),
            expected,
            "second opening, {context}"
        );
    });
}

/// Plays `before` on a disk of its own and leaves everything durable; then cuts the power at every operation of `steps`.
/// Returns how many states were looked at, and how many spares the steps took.
fn explore(before: &[Step], steps: &[Step], seed: u64, survivals: u64) -> (u64, u64) {
    let origin = MemoryDisk::new();
    let prepared = RefCell::new(Ledger::default());
    assert!(play(&origin, before, seed, &prepared));
    let (origin, prepared) = (origin.crash(Survival::All), prepared.into_inner());
    let mut states = 0;
    for operation in 0.. {
        let disk = origin.crash(Survival::All);
        disk.stop_at(operation);
        let ledger = RefCell::new(prepared.clone());
        let finished = play(&disk, steps, seed, &ledger);
        assert!(!disk.saw_overlapping_writes());
        let ledger = ledger.into_inner();
        let mut modes = vec![Survival::None, Survival::All];
        for round in 0..survivals {
            let seed = seed ^ (operation << 8) ^ round;
            modes.extend([Survival::Subset { seed }, Survival::Torn { seed }]);
        }
        for survival in modes {
            states += 1;
            let context =
                format!("{before:?} {steps:?} seed {seed} cut at {operation}, {survival:?}");
            verify(&disk.crash(survival), &ledger, finished, &context);
        }
        if finished {
            return (states, spares_taken(&disk));
        }
    }
    unreachable!("some operation is the last");
}

/// Segments that were made over spares: nothing else is opened right after a rename.
fn spares_taken(disk: &MemoryDisk) -> u64 {
    disk.trace()
        .windows(2)
        .filter(|pair| pair == &[OperationKind::Rename, OperationKind::Open])
        .count() as u64
}

#[test]
fn over_blocks_of_another_log() {
    let before = [Step::Append(10, 2500), Step::OtherLog(40, 2500)];
    let steps = [
        Step::Append(2, 300),
        Step::Append(24, 2500),
        Step::Append(3, 100),
    ];
    for seed in 0..2 {
        let (states, taken) = explore(&before, &steps, seed, 2);
        assert!(states > 200 && taken >= 2, "{states} {taken}");
    }
}

#[test]
fn over_earlier_blocks_of_the_same_log() {
    let before = [Step::AppendEach(40, 2500), Step::DeleteRecords(100)];
    let steps = [
        Step::Append(26, 2500),
        Step::Append(1, 100),
        Step::Append(4, 700),
    ];
    for seed in 0..2 {
        let (states, taken) = explore(&before, &steps, seed, 2);
        assert!(states > 200 && taken >= 2, "{states} {taken}");
    }
}

#[test]
fn over_blocks_of_the_same_offsets_at_the_same_places() {
    let before = [
        Step::Append(10, 2500),
        Step::AppendEach(30, 2500),
        Step::Truncate(25),
    ];
    let steps = [Step::Append(30, 2500), Step::Append(1, 2500)];
    for seed in 0..2 {
        let (states, taken) = explore(&before, &steps, seed, 2);
        assert!(states > 200 && taken >= 2, "{states} {taken}");
    }
}

#[test]
fn while_segments_come_and_go() {
    let steps = [
        Step::Append(20, 2500),
        Step::DeleteRecords(90),
        Step::Append(12, 2500),
        Step::OtherLog(20, 2500),
        Step::Append(12, 2500),
        Step::Restart,
        Step::Truncate(60),
        Step::Append(12, 2500),
        Step::DeleteRecords(100),
        Step::Append(12, 2500),
    ];
    let (states, taken) = explore(&[], &steps, 1, 2);
    assert!(states > 1000 && taken >= 5, "{states} {taken}");
}
