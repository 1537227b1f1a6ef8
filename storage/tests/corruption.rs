//! Damage at rest, anywhere: what is served is what was written, nothing acknowledged is cut off in the middle, and the log
//! beside it does not notice.
//!
//! `CORELANE_CORRUPTIONS=100000` makes more random cases than the 1,000 of each kind.

mod support;

use std::path::{Path, PathBuf};

use corelane_format::{LogId, Offset};
use corelane_storage::disk::memory::{MemoryDisk, SECTOR_BYTES, Survival};
use corelane_storage::{LaneLogsConfig, LogConfig, OpenError, ReadError};
use support::*;

const RECORDS: i64 = 60;
const LOG_START: i64 = 3;
const BESIDE: LogId = LogId::new(8);

fn beside() -> PathBuf {
    PathBuf::from("/data/beside-0")
}

fn log_config() -> LogConfig {
    LogConfig {
        segment_size_bytes: 12 << 10,
        ..LogConfig::default()
    }
}

fn lane_config() -> LaneLogsConfig {
    LaneLogsConfig {
        checkpoint_bytes: 4 << 10,
        ..small_lane()
    }
}

/// Two logs, each of several segments and with deleted records; one batch a block. Closed cleanly, or cut off from power
/// when everything was durable.
fn written(cleanly: bool) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, lane_config());
    run(&logs, async {
        let (log, _) = open(&logs, log_config()).await;
        let opened = logs.open_log(&beside(), BESIDE, log_config()).await;
        let (other, _) = opened.expect("opens");
        for index in 0..RECORDS {
            for log in [&log, &other] {
                append_durably(log, &Batch::new(format!("b{index}"), 1).sized(400)).await;
            }
        }
        log.advance_log_start(Offset::new(LOG_START))
            .await
            .expect("advanced");
        assert!(log.segments() >= 3);
        if cleanly {
            logs.shutdown().await.expect("closed");
        }
    });
    disk.crash(Survival::All)
}

/// The files of the log that is damaged.
fn files(disk: &MemoryDisk) -> Vec<PathBuf> {
    disk.files()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.starts_with(directory()))
        .collect()
}

/// Opens both logs over what `damage` made of the disk, reads everything, and goes on. `cut_max`: so many of the last
/// records nothing vouches for.
fn check(pristine: &MemoryDisk, cut_max: i64, what: &str, damage: impl FnOnce(&MemoryDisk)) {
    let disk = pristine.crash(Survival::All);
    damage(&disk);
    let logs = lane(&disk, lane_config());
    run(&logs, async {
        let opened = logs.open_log(&beside(), BESIDE, log_config()).await;
        let (other, _) = opened.expect("the log beside");
        assert_eq!(read_all(&other).await.len() as i64, RECORDS, "{what}");
        let log = match try_open(&logs, log_config()).await {
            Ok((log, _)) => log,
            // Refused as a whole, so that nothing wrong is served.
            Err(
                OpenError::LogStartCorrupt { .. }
                | OpenError::HeaderLost { .. }
                | OpenError::ForeignLog { .. },
            ) => return,
            Err(error) => panic!("{what}: {error}"),
        };
        let (start, end) = (log.log_start_offset().get(), log.log_end_offset().get());
        assert!(start <= LOG_START, "{what}: starts at {start}");
        assert!(
            (RECORDS - cut_max..=RECORDS).contains(&end),
            "{what}: ends at {end}"
        );
        for offset in start..end {
            match read_range(&log, offset, Offset::new(offset + 1), 1000).await {
                Ok(records) => {
                    let [record] = &records[..] else {
                        panic!("{what}: {} records at {offset}", records.len())
                    };
                    let expected = Batch::value(&format!("b{offset}"), 0, 400);
                    assert_eq!(record.offset, offset, "{what}");
                    assert!(
                        record.value == expected,
                        "{what}: another value at {offset}"
                    );
                }
                Err(ReadError::Corrupt { .. }) => {}
                Err(error) => panic!("{what}: {error} at {offset}"),
            }
        }
        let next = append_durably(&log, &Batch::new("next", 1)).await;
        assert_eq!(next.base_offset, Offset::new(end), "{what}");
    });
}

fn flip(disk: &MemoryDisk, path: &Path, bit: usize) {
    let mut content = disk.content(path).expect("a file");
    content[bit / 8] ^= 1 << (bit % 8);
    disk.set_content(path, content);
}

/// A stretch of a file's bytes.
fn each_bit_of(pristine: &MemoryDisk, cut_max: i64, path: &Path, bytes: std::ops::Range<usize>) {
    for bit in bytes.start * 8..bytes.end * 8 {
        let what = format!("bit {bit} of {}", path.display());
        check(pristine, cut_max, &what, |disk| flip(disk, path, bit));
    }
}

#[test]
fn every_bit_of_every_segment_header() {
    let pristine = written(false);
    for path in files(&pristine) {
        if path.extension().is_some_and(|extension| extension == "log") {
            each_bit_of(&pristine, 0, &path, 0..44);
            each_bit_of(&pristine, 0, &path, 2048..2092);
        }
    }
}

#[test]
fn every_bit_of_a_commit_block_header_in_each_segment() {
    for cleanly in [false, true] {
        let pristine = written(cleanly);
        for path in files(&pristine) {
            if path.extension().is_some_and(|extension| extension == "log") {
                let content = pristine.content(&path).expect("a segment");
                let blocks = block_positions(&content);
                let at = blocks[blocks.len() / 2];
                each_bit_of(&pristine, 0, &path, at..at + 60);
            }
        }
    }
}

#[test]
fn every_bit_of_a_sidecar_and_of_the_log_start() {
    let pristine = written(true);
    let files = files(&pristine);
    let is_index = |path: &&PathBuf| path.extension().is_some_and(|e| e == "index");
    let index = files.iter().rfind(is_index).expect("an index");
    each_bit_of(&pristine, 0, index, 0..160);
    each_bit_of(&pristine, 0, index, 4096..4112);
    let start = directory().join("log-start");
    for bit in 0..36 * 8 {
        let disk = pristine.crash(Survival::All);
        flip(&disk, &start, bit);
        let logs = lane(&disk, lane_config());
        run(&logs, async {
            let error = try_open(&logs, log_config()).await.expect_err("refused");
            assert!(
                matches!(error, OpenError::LogStartCorrupt { .. }),
                "bit {bit}: {error}"
            );
            let opened = logs.open_log(&beside(), BESIDE, log_config()).await;
            assert!(opened.is_ok(), "the log beside is up");
        });
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

fn cases() -> usize {
    std::env::var("CORELANE_CORRUPTIONS")
        .ok()
        .map_or(1000, |text| text.parse().expect("a number"))
}

#[test]
fn random_flips() {
    let images = [(written(true), 0), (written(false), 1)];
    for case in 0..cases() {
        let mut dice = Dice(case as u64);
        let (pristine, cut_max) = &images[case % 2];
        let files = files(pristine);
        let path = &files[dice.below(files.len())];
        let size = pristine.content(path).expect("a file").len();
        let bit = dice.below(size * 8);
        let what = format!("case {case}: bit {bit} of {}", path.display());
        check(pristine, *cut_max, &what, |disk| flip(disk, path, bit));
    }
}

/// A sector that holds what belongs elsewhere, or what stood there earlier.
#[test]
fn stale_and_misdirected_sectors() {
    let images = [(written(true), 0), (written(false), 1)];
    for case in 0..cases() {
        let mut dice = Dice(case as u64 ^ 0xABCD_0000);
        let (pristine, cut_max) = &images[case % 2];
        // A sector tears one or two of the last blocks, which are shorter.
        let cut_max = cut_max * 2;
        let files = files(pristine);
        let path = &files[dice.below(files.len())];
        let mut content = pristine.content(path).expect("a file");
        let sectors = content.len() / SECTOR_BYTES;
        let to = dice.below(sectors) * SECTOR_BYTES;
        let source = match dice.below(4) {
            0 => vec![0; SECTOR_BYTES],
            1 => pristine.content(path).expect("a file"),
            2 => pristine
                .content(&files[dice.below(files.len())])
                .expect("a file"),
            _ => {
                let name = path.file_name().expect("a name");
                // The same file of the log beside.
                pristine
                    .content(&beside().join(name))
                    .unwrap_or_else(|| vec![0xFF; SECTOR_BYTES])
            }
        };
        let from = dice.below(source.len() / SECTOR_BYTES) * SECTOR_BYTES;
        content[to..to + SECTOR_BYTES].copy_from_slice(&source[from..from + SECTOR_BYTES]);
        let what = format!(
            "case {case}: sector at {to} of {} from {from}",
            path.display()
        );
        check(pristine, cut_max, &what, |disk| {
            disk.set_content(path, content);
        });
    }
}
