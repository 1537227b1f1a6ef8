//! Power is cut at every operation of a compaction, and what was not flushed survives in every way. Whatever is left, no
//! key loses its last value, no deleted key comes back, every offset is served once, and the next compaction ends where an
//! undisturbed one does.

mod support;

use std::cell::Cell;
use std::fmt::Write;

use corelane_format::TimestampMs;
use corelane_storage::disk::memory::{Fault, MemoryDisk, Survival};
use corelane_storage::{Compacted, CompactionLimits, LaneLogsConfig, Unpaced};
use support::keyed::*;
use support::*;

const LIMITS: CompactionLimits = CompactionLimits {
    map_budget_bytes: 1 << 16,
};

fn lane_config() -> LaneLogsConfig {
    LaneLogsConfig {
        commit_size_bytes_max: 8 << 10,
        ..small_lane()
    }
}

/// Appends `batches` batches, each a segment of its own, with values that are replaced and deleted all the time.
async fn append_round(log: &Log, seed: u64, batches: u64) {
    let mut state = seed;
    let mut next = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for index in 0..batches {
        let mut text = String::new();
        for _ in 0..=next(4) {
            let key = next(6);
            if next(3) == 0 {
                write!(text, " k{key}").expect("text");
            } else {
                write!(text, " k{key}={seed}-{index}").expect("text");
            }
        }
        let batch =
            KeyedBatch::new(&text, index as i64).by(5, 0, log.log_end_offset().get() as i32);
        append_keyed(log, &batch).await;
    }
}

async fn try_compact(log: &Log, now: i64, segment_size_bytes: u64) -> Option<Compacted> {
    log.set_config(compacted(segment_size_bytes, 0));
    log.compact(TimestampMs::new(now), LIMITS, &mut Unpaced)
        .await
        .ok()
        .flatten()
}

async fn compact(log: &Log, now: i64, segment_size_bytes: u64) -> bool {
    try_compact(log, now, segment_size_bytes).await.is_some()
}

/// A log with several segments, some of them compacted before, so that horizons have passed.
fn prepared(seed: u64, rounds: u64) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, lane_config());
    run(&logs, async {
        let (log, _) = open(&logs, compacted(4200, 0)).await;
        for round in 0..rounds {
            append_round(&log, seed * 100 + round, 5).await;
            if round + 1 < rounds {
                compact(&log, 1000 * (round as i64 + 1), 4200).await;
                log.set_config(compacted(4200, 0));
            }
        }
        log.wait_readable(log.log_end_offset())
            .await
            .expect("durable");
    });
    disk.crash(Survival::None)
}

struct Before {
    records: Vec<Keyed>,
    end: i64,
    compacted: Vec<Keyed>,
}

const NOW: i64 = 100_000;

fn before(disk: &MemoryDisk, segment_size_bytes: u64) -> Before {
    let logs = lane(&disk.crash(Survival::None), lane_config());
    run(&logs, async {
        let (log, _) = open(&logs, compacted(4200, 0)).await;
        let records = read_keyed(&log).await;
        assert!(compact(&log, NOW, segment_size_bytes).await);
        Before {
            records,
            end: log.log_end_offset().get(),
            compacted: read_keyed(&log).await,
        }
    })
}

fn verify(image: &MemoryDisk, before: &Before, segment_size_bytes: u64, context: &str) {
    let logs = lane(image, lane_config());
    let left = run(&logs, async {
        let (log, report) = open(&logs, compacted(4200, 0)).await;
        let context = format!("{context}\n{report:?}");
        assert!(
            report.quarantined.is_empty() && report.torn_tail.is_none(),
            "{context}"
        );
        assert_eq!(log.log_end_offset().get(), before.end, "{context}");
        let records = read_keyed(&log).await;
        assert!(
            records.iter().all(|record| before.records.contains(record)),
            "nothing new: {context}"
        );
        assert!(
            before
                .compacted
                .iter()
                .all(|record| records.contains(record)),
            "nothing is gone that compaction keeps: {context}\n{}",
            shown(&records)
        );
        assert_eq!(view(&records), view(&before.records), "{context}");
        let producers = log.producers();
        let last = producers.iter().next().map(|(_, _, last, _)| last.get());
        assert_eq!(last, Some(before.end as i32 - 1), "{context}");
        // What is left can be compacted again, with what came since.
        append_keyed(
            &log,
            &KeyedBatch::new("k0=after", 9).by(5, 0, before.end as i32),
        )
        .await;
        append_keyed(&log, &KeyedBatch::new("z=1", 9)).await;
        let done = try_compact(&log, NOW, segment_size_bytes).await;
        let done = done.expect("a compaction that was cut off is made again");
        let again = read_keyed(&log).await;
        assert_no_key_twice(&again, done.first_dirty, &context);
        let mut expected = view(&before.records);
        expected.insert("k0".into(), "after".into());
        expected.insert("z".into(), "1".into());
        assert_eq!(view(&again), expected, "{context}");
        again
    });
    let logs = lane(&image.crash(Survival::None), lane_config());
    run(&logs, async {
        let (log, report) = open(&logs, compacted(4200, 0)).await;
        assert!(report.quarantined.is_empty(), "{context}");
        assert_eq!(read_keyed(&log).await, left, "second opening, {context}");
    });
}

/// Cuts the power at every operation of one compaction.
fn explore(seed: u64, rounds: u64, segment_size_bytes: u64) -> u64 {
    let prepared = prepared(seed, rounds);
    let before = before(&prepared, segment_size_bytes);
    let mut states = 0;
    for operation in 0.. {
        let disk = prepared.crash(Survival::None);
        let logs = lane(&disk, lane_config());
        let finished = Cell::new(false);
        let play = async {
            let (log, _) = open(&logs, compacted(4200, 0)).await;
            disk.stop_at(disk.operations() + operation);
            finished.set(compact(&log, NOW, segment_size_bytes).await);
        };
        run_until_stalled(&logs, play);
        let mut modes = vec![Survival::None, Survival::All];
        for round in 0..3 {
            let seed = seed ^ (operation << 8) ^ round;
            modes.extend([Survival::Subset { seed }, Survival::Torn { seed }]);
        }
        for survival in modes {
            states += 1;
            let context = format!("seed {seed} rounds {rounds} cut at {operation}, {survival:?}");
            verify(&disk.crash(survival), &before, segment_size_bytes, &context);
        }
        if finished.get() {
            break;
        }
    }
    states
}

#[test]
fn a_first_compaction_one_segment_at_a_time() {
    for seed in 0..3 {
        assert!(explore(seed, 1, 4200) > 100);
    }
}

#[test]
fn tombstones_go_while_segments_are_merged() {
    for seed in 10..13 {
        explore(seed, 3, 16 << 10);
    }
}

#[test]
fn everything_becomes_one_segment() {
    for seed in 20..22 {
        explore(seed, 2, 1 << 20);
    }
}

#[test]
fn a_failed_operation_loses_nothing() {
    const SEGMENT_BYTES: u64 = 16 << 10;
    let prepared = prepared(30, 2);
    let before = before(&prepared, SEGMENT_BYTES);
    // EIO and ENOSPC.
    for fault in [Fault::Error(5), Fault::Error(28), Fault::Short] {
        for operation in 0.. {
            let disk = prepared.crash(Survival::None);
            let logs = lane(&disk, lane_config());
            let was_reached = run(&logs, async {
                let (log, _) = open(&logs, compacted(4200, 0)).await;
                let at = disk.operations() + operation;
                disk.fail_at(at, fault);
                let finished = compact(&log, NOW, SEGMENT_BYTES).await;
                let was_reached = disk.operations() > at;
                assert!(finished || was_reached);
                disk.heal();
                // Whoever reads meanwhile sees one state or the other.
                let records = read_keyed(&log).await;
                let context = format!("{fault:?} at {operation}");
                assert_eq!(view(&records), view(&before.records), "{context}");
                was_reached
            });
            for survival in [Survival::None, Survival::All] {
                let context = format!("{fault:?} at {operation}, {survival:?}");
                verify(&disk.crash(survival), &before, SEGMENT_BYTES, &context);
            }
            if !was_reached {
                assert!(operation > 20, "operations of a compaction");
                break;
            }
        }
    }
}
