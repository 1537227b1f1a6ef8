//! Files that say anything at all, with checksums that are right: a check, a replay, a start, reads, lookups and changes answer
//! with what is left or with an error, and never panic, overflow, stall or take memory that a number in a file asks for.
//!
//! Rot alone is caught by the checksums (`corruption` proves that); this is about what stands behind them. Seeded:
//! `CORELANE_FUZZ_CASES` says how many cases (default 2,000); a failure prints the case, the file and its bytes.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use corelane_format::fuzzing::mutation::Random;
use corelane_format::kafka::{BatchLimits, validate_batch};
use corelane_format::{LeaderEpoch, Offset, TimestampMs};
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::fuzzing::repair;
use corelane_storage::inspect::{
    Finding, VerifyOptions, VerifySink, quarantined_ranges, verify_journals, verify_log,
};
use corelane_storage::{CompactionLimits, LaneLogsConfig, LogConfig, Unpaced, replay_journals};
use support::keyed::*;
use support::*;

const CASES_DEFAULT: u64 = 2_000;

fn config() -> LogConfig {
    compacted(12 << 10, 1000)
}

fn lane_config() -> LaneLogsConfig {
    LaneLogsConfig {
        checkpoint_bytes: 4 << 10,
        ..small_lane()
    }
}

fn journals() -> PathBuf {
    PathBuf::from("/data/journal")
}

async fn compact(log: &Log) {
    let limits = CompactionLimits {
        map_budget_bytes: 1 << 20,
    };
    let now = TimestampMs::new(1_000_000);
    let _ = log.compact(now, limits, &mut Unpaced).await;
}

/// A log with everything that a log can have: segments, indexes, a checkpoint, a log start, a cleaner's offset, producers,
/// entries in a journal.
fn written(cleanly: bool) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, lane_config());
    run(&logs, async {
        start_journal(&logs).await;
        let (log, _) = open(&logs, config()).await;
        for index in 0..240 {
            let filler = "x".repeat(150 + index * 7 % 90);
            let text = format!("k{}={index} p{}={filler}", index % 7, index % 3);
            let batch = KeyedBatch::new(&text, index as i64 * 10);
            let batch = batch.by(index as i64 % 3, 0, (index / 3 * 2) as i32);
            append_keyed(&log, &batch).await;
            if index == 200 {
                log.advance_log_start(Offset::new(5)).await.expect("moved");
                compact(&log).await;
            }
        }
        if cleanly {
            logs.shutdown().await.expect("closed");
        }
    });
    disk.crash(Survival::All)
}

/// The same with the mark of a truncation that was stopped.
fn cut(whole: &MemoryDisk) -> MemoryDisk {
    for operation in 0.. {
        let disk = whole.crash(Survival::All);
        let logs = lane(&disk, lane_config());
        run_until_stalled(&logs, async {
            start_journal(&logs).await;
            let (log, _) = open(&logs, config()).await;
            disk.stop_at(disk.operations() + operation);
            let _ = log.truncate(Offset::new(400)).await;
        });
        let left = disk.crash(Survival::All);
        if exists(&left, &directory().join("cut")) {
            return left;
        }
    }
    unreachable!("a truncation leaves its mark")
}

struct Ignored;

impl VerifySink for Ignored {
    fn finding(&mut self, finding: Finding) {
        assert!(!finding.detail.is_empty());
    }

    fn bytes_read(&mut self, _: u64) {}
}

/// Everything that is done with a log's files.
fn use_it(disk: &MemoryDisk) {
    let logs = lane(disk, lane_config());
    run(&logs, async {
        let options = VerifyOptions { records: true };
        let directory = directory();
        let _ = verify_log(disk, &directory, Some(LOG), None, options, &mut Ignored).await;
        let _ = verify_journals(disk, &journals(), &mut Ignored).await;
        let _ = quarantined_ranges(disk, &directory, None).await;
    });
    for _ in 0..2 {
        let logs = lane(disk, lane_config());
        run(&logs, async {
            let locate = |log_id| (log_id == LOG).then(directory);
            if replay_journals(&logs, &journals(), locate).await.is_err() {
                return;
            }
            if logs.open_journal(&journals(), 0, JOURNAL).await.is_err() {
                return;
            }
            let Ok((log, _)) = try_open(&logs, config()).await else {
                return;
            };
            use_log(&log).await;
            let _ = logs.shutdown().await;
        });
    }
}

async fn use_log(log: &Log) {
    let (start, end) = (log.log_start_offset(), log.readable_offset());
    for from in [
        start.get(),
        start.get().saturating_add(100),
        end.get().saturating_sub(3),
    ] {
        let mut at = Offset::new(from);
        for _ in 0..200 {
            match log.read(at, end, 8 << 10, true).await {
                Ok(read) if read.next_offset > at => at = read.next_offset,
                _ => break,
            }
        }
    }
    for timestamp in [i64::MIN, -1, 0, 700, 2000, i64::MAX] {
        let _ = log.offset_for_timestamp(TimestampMs::new(timestamp)).await;
    }
    let _ = log.max_timestamp().await;
    let _ = log.size_bytes();
    let batch = KeyedBatch::new("k1=new", 5000).bytes();
    let batch = validate_batch(&batch, &BatchLimits::NONE).expect("a batch");
    if let Ok(appended) = log.append(&batch, LeaderEpoch::new(3), TimestampMs::new(5000)) {
        let _ = log.wait_readable(appended.end_offset()).await;
    }
    compact(log).await;
    for now in [0, 10_000, i64::MAX] {
        let _ = log.apply_retention(TimestampMs::new(now)).await;
    }
    let start = log.log_start_offset().get();
    let _ = log
        .advance_log_start(Offset::new(start.saturating_add(1)))
        .await;
    let end = log.log_end_offset().get();
    let _ = log.truncate(Offset::new(end.saturating_sub(2))).await;
}

/// Numbers at which sums and sizes go wrong.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7F,
    0x1000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 40,
    i64::MAX as u64 - 1,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Puts numbers where there are others, and makes the checksums right.
fn rot(random: &mut Random, path: &Path, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_segment = name.ends_with("log") && name.len() > 10;
    let blocks = if is_segment {
        block_positions(bytes)
    } else if path.starts_with(journals()) {
        (4096..bytes.len())
            .step_by(4096)
            .filter(|at| bytes[*at..].starts_with(b"CLjb"))
            .collect()
    } else {
        Vec::new()
    };
    // The header, or a block of it.
    let part = random.below(blocks.len() + 1);
    let start = part.checked_sub(1).map_or(0, |block| blocks[block]);
    let reach = if random.below(4) == 0 { 4096 } else { 200 };
    for _ in 0..=random.below(3) {
        let at = (start + random.below(reach)).min(bytes.len() - 1);
        let width = [1, 2, 4, 8][random.below(4)].min(bytes.len() - at);
        let at = if random.below(3) > 0 { at & !3 } else { at };
        let number = match random.below(3) {
            0 => NUMBERS[random.below(NUMBERS.len())],
            1 => NUMBERS[random.below(NUMBERS.len())].wrapping_sub(random.below(5) as u64),
            _ => random.next(),
        };
        bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
    }
    if random.below(40) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    if random.below(4) == 0 {
        // What is read before a checksum is must be harmless too.
        return;
    }
    let _ = match (&*name, start) {
        ("cut", _) => repair::cut(bytes),
        ("log-start", _) => repair::sealed(bytes, *b"CLls", 1),
        ("cleaner-offset", _) => repair::sealed(bytes, *b"CLco", 1),
        (_, 0) if is_segment => repair::segment_header(bytes),
        (_, start) if is_segment => repair::commit_block(bytes.get_mut(start..).unwrap_or(&mut [])),
        (name, _) if name.ends_with("index") => repair::sealed(bytes, *b"CLix", 2),
        (_, 0) => repair::journal_header(bytes),
        (_, start) => repair::journal_block(bytes, start),
    };
}

#[test]
fn whatever_a_file_says_is_survived() {
    let cases: u64 = std::env::var("CORELANE_FUZZ_CASES").map_or(CASES_DEFAULT, |text| {
        text.parse().expect("CORELANE_FUZZ_CASES is a number")
    });
    let clean = written(true);
    let disks = [cut(&clean), clean, written(false)];
    let mut kinds = std::collections::BTreeSet::new();
    for disk in &disks {
        use_it(&disk.crash(Survival::All));
        kinds.extend(disk.files().into_iter().map(|(path, _)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.split('.').next_back().unwrap_or_default().to_owned()
        }));
    }
    for kind in ["log", "index", "log-start", "cut", "cleaner-offset"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    let mut random = Random::default();
    for case in 0..cases {
        let disk = disks[random.below(disks.len())].crash(Survival::All);
        let files = disk.files();
        let (path, _) = &files[random.below(files.len())];
        let mut content = disk.content(path).expect("a file");
        rot(&mut random, path, &mut content);
        disk.set_content(path, content.clone());
        let survived = catch_unwind(AssertUnwindSafe(|| use_it(&disk))).is_ok();
        content.truncate(8192);
        assert!(survived, "case {case}, {}: {content:02x?}", path.display());
    }
}
