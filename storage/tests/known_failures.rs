//! Ways in which systems of this kind have lost data, each by a test of its own. Others have theirs where they belong:
//! `docs/TESTING.md` says where.

mod support;

use std::path::PathBuf;

use corelane_format::TimestampMs;
use corelane_format::fuzzing::mutation::Random;
use corelane_storage::LogConfig;
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use support::*;

const BATCHES: i64 = 60;
const NOW: TimestampMs = TimestampMs::new(1_400);
/// What is older has expired.
const OLDEST_KEPT: i64 = 400;

fn config() -> LogConfig {
    LogConfig {
        segment_size_bytes: 8 << 10,
        retention_ms: Some(NOW.get().abs_diff(OLDEST_KEPT)),
        ..LogConfig::default()
    }
}

/// Ten milliseconds from batch to batch, but for one that is far newer.
fn timestamp(index: i64, newest: Option<i64>) -> i64 {
    if newest == Some(index) {
        5_000
    } else {
        index * 10
    }
}

fn written(newest: Option<i64>, cleanly: bool) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, config()).await;
        for index in 0..BATCHES {
            let batch = Batch::new(format!("b{index}"), 1).sized(700);
            append_durably(&log, &batch.at(timestamp(index, newest))).await;
        }
        if cleanly {
            logs.shutdown().await.expect("closed");
        }
    });
    disk.crash(Survival::All)
}

fn bases(disk: &MemoryDisk) -> Vec<i64> {
    (0..BATCHES)
        .filter(|base| exists(disk, &segment(*base)))
        .collect()
}

fn index(base: i64) -> PathBuf {
    directory().join(format!("{base:020}.index"))
}

/// Where the log begins once everything that has expired is gone, by the records themselves.
fn start_due(bases: &[i64], newest: Option<i64>) -> i64 {
    let ends = bases.iter().skip(1).copied().chain([BATCHES]);
    let kept = bases
        .iter()
        .zip(ends)
        .find(|(base, end)| (**base..*end).any(|index| timestamp(index, newest) >= OLDEST_KEPT));
    kept.map_or(BATCHES, |(base, _)| *base)
}

/// Opens what is left, lets retention go over it, and gives where the log begins then.
fn start_after_retention(disk: &MemoryDisk) -> i64 {
    let logs = lane(disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, config()).await;
        log.apply_retention(NOW).await.expect("applied");
        log.log_start_offset().get()
    })
}

/// An index that is missing, torn or rotten is rebuilt with the timestamps of the records, so that retention takes exactly what
/// has expired; and where records cannot be read any more, nobody knows how old they are: they stay.
#[test]
fn an_index_rebuilt_with_a_wrong_timestamp_would_let_retention_delete_live_data() {
    let mut random = Random::default();
    let mut shortened = 0;
    for newest in [None, Some(0), Some(5), Some(17), Some(30)] {
        for cleanly in [true, false] {
            let sound = written(newest, cleanly);
            let bases = bases(&sound);
            assert!(bases.len() > 5, "{bases:?}");
            let due = start_due(&bases, newest);
            shortened += usize::from(due > 0);
            assert_eq!(start_after_retention(&sound.crash(Survival::All)), due);
            for base in bases.iter().copied() {
                let told = format!("newest {newest:?}, cleanly {cleanly}, segment {base}");
                let Some(content) = sound.content(&index(base)) else {
                    continue;
                };
                for damage in 0..40 {
                    let disk = sound.crash(Survival::All);
                    let mut content = content.clone();
                    let at = random.below(content.len().min(300));
                    match damage {
                        0 => content.clear(),
                        1 => content.truncate(at),
                        2 => content.fill(0),
                        _ => content[at] ^= 1 << random.below(8),
                    }
                    disk.set_content(&index(base), content);
                    assert_eq!(start_after_retention(&disk), due, "{told}");
                }
            }
            // The block of the newest batch is lost, with its index and without.
            let Some(newest) = newest else { continue };
            let base = bases.iter().rev().find(|base| **base <= newest);
            let base = *base.expect("a segment");
            for forgotten in [false, true] {
                let disk = sound.crash(Survival::All);
                let mut content = disk.content(&segment(base)).expect("a segment");
                let block = block_positions(&content)[(newest - base) as usize];
                content[block + 200] ^= 1;
                disk.set_content(&segment(base), content);
                if forgotten && exists(&disk, &index(base)) {
                    disk.set_content(&index(base), Vec::new());
                }
                let start = start_after_retention(&disk);
                assert!(start <= due, "{start} of {due}, newest {newest}");
            }
        }
    }
    assert!(shortened > 4, "retention has something to do: {shortened}");
}
