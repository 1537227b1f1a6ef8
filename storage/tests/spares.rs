//! Retired segments become spares that new segments overwrite: which are kept, who takes them, what the books say, and
//! what happens where that is impossible.

mod support;

use std::path::{Path, PathBuf};

use corelane_format::{LogId, Offset, TimestampMs};
use corelane_storage::disk::memory::{Fault, MemoryDisk, OperationKind, Survival};
use corelane_storage::{
    CompactionLimits, LaneLogsConfig, LogConfig, SparesConfig, SparesReport, Unpaced,
};
use support::keyed::*;
use support::*;

const POOL: &str = "/data/spares/0";
const SEGMENT_BYTES: u64 = 32 << 10;

fn with_pool(bytes_max: u64) -> LaneLogsConfig {
    LaneLogsConfig {
        spares: Some(SparesConfig {
            directory: PathBuf::from(POOL),
            bytes_max,
            size_bytes_min: 16 << 10,
        }),
        ..small_lane()
    }
}

fn segments_of(size_bytes: u64) -> LogConfig {
    LogConfig {
        segment_size_bytes: size_bytes,
        ..LogConfig::default()
    }
}

/// Appends so many batches of about 8 KiB.
async fn fill(log: &Log, batches: usize) {
    for index in 0..batches {
        let name = format!("b{index}");
        append_durably(log, &Batch::new(name, 1).sized(7500)).await;
    }
}

fn pool(disk: &MemoryDisk) -> Vec<(PathBuf, usize)> {
    let mut files = disk.files();
    files.retain(|(path, _)| path.starts_with(POOL));
    files
}

/// A log with several full segments, all but the last of which are retired.
async fn retire_some(logs: &Logs) -> (Log, usize) {
    logs.open_spares().await.expect("a pool");
    let (log, _) = open(logs, segments_of(SEGMENT_BYTES)).await;
    fill(&log, 14).await;
    let segments = log.segments();
    log.advance_log_start(Offset::new(14))
        .await
        .expect("deleted");
    (log, segments - 1)
}

#[test]
fn a_log_that_goes_on_overwrites_what_it_retired() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(1 << 20));
    run(&logs, async {
        let (log, retired) = retire_some(&logs).await;
        assert!(retired >= 3, "{retired}");
        let metrics = logs.metrics();
        assert_eq!(metrics.spares_kept, retired as u64);
        assert_eq!(metrics.spares, retired as u64);
        let held: usize = pool(&disk).iter().map(|(_, size)| size).sum();
        assert_eq!(metrics.spare_bytes, held as u64);
        assert_eq!(metrics.spares_taken, 0, "nothing was there to be taken");

        fill(&log, 12).await;
        let metrics = logs.metrics();
        let made = log.segments() as u64 - 1;
        assert!(made >= 3);
        assert_eq!(metrics.spares_taken, made);
        assert_eq!(metrics.spares, retired as u64 - made);
        let records = read_all(&log).await;
        assert_eq!(records.len(), 12);
        assert_eq!(
            names(&records),
            (0..12).map(|index| format!("b{index}")).collect::<Vec<_>>()
        );
    });
}

#[test]
fn without_a_pool_and_with_one_of_no_size_segments_are_deleted() {
    for config in [small_lane(), with_pool(0)] {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, config);
        run(&logs, async {
            let (log, _) = retire_some(&logs).await;
            fill(&log, 8).await;
            let metrics = logs.metrics();
            assert_eq!((metrics.spares_kept, metrics.spares_taken), (0, 0));
            assert_eq!(pool(&disk), []);
            assert_eq!(
                disk.files()
                    .iter()
                    .filter(|(path, _)| path.extension().is_some_and(|e| e == "log"))
                    .count(),
                log.segments()
            );
        });
    }
}

#[test]
fn the_pool_is_bounded() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(2 * SEGMENT_BYTES));
    run(&logs, async {
        let (_log, retired) = retire_some(&logs).await;
        assert!(retired > 2);
        assert_eq!(pool(&disk).len(), 2);
        assert!(logs.metrics().spare_bytes <= 2 * SEGMENT_BYTES);
    });
}

#[test]
fn a_log_that_fills_no_segment_takes_none() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(1 << 20));
    run(&logs, async {
        retire_some(&logs).await;
        let spares = logs.metrics().spares;
        let (other, _) = logs
            .open_log(
                Path::new("/data/other-0"),
                LogId::new(9),
                segments_of(SEGMENT_BYTES),
            )
            .await
            .expect("opens");
        append_durably(&other, &Batch::new("first", 1).at(0)).await;
        other.set_config(LogConfig {
            segment_age_ms_max: 10,
            ..segments_of(SEGMENT_BYTES)
        });
        append_durably(&other, &Batch::new("second", 1).at(1000)).await;
        assert_eq!(other.segments(), 2);
        assert_eq!(logs.metrics().spares, spares);
    });
}

#[test]
fn a_larger_spare_is_cut_to_the_topics_size() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(1 << 20));
    run(&logs, async {
        let (log, _) = retire_some(&logs).await;
        let before: Vec<PathBuf> = disk.files().into_iter().map(|(path, _)| path).collect();
        log.set_config(segments_of(24 << 10));
        fill(&log, 8).await;
        assert!(logs.metrics().spares_taken > 0);
        for (path, size) in disk.files() {
            if path.starts_with(directory()) && !before.contains(&path) {
                assert!(size <= 24 << 10, "{} has {size}", path.display());
            }
        }
        assert_eq!(read_all(&log).await.len(), 8);
    });
}

#[test]
fn a_sealed_segment_gives_back_what_it_does_not_use() {
    const LARGE: u64 = 4 << 20;
    let disk = MemoryDisk::new();
    let logs = lane(
        &disk,
        LaneLogsConfig {
            spares: Some(SparesConfig {
                directory: PathBuf::from(POOL),
                bytes_max: 4 * LARGE,
                size_bytes_min: 16 << 10,
            }),
            ..small_lane()
        },
    );
    run(&logs, async {
        logs.open_spares().await.expect("a pool");
        let (log, _) = open(&logs, segments_of(LARGE)).await;
        fill_large(&log, 10).await;
        log.advance_log_start(Offset::new(10))
            .await
            .expect("deleted");
        fill_large(&log, 5).await;
        let taken = logs.metrics().spares_taken;
        let last = log.log_end_offset();
        // A segment over a large spare gets one small batch, and then the next segment comes.
        log.set_config(LogConfig {
            segment_age_ms_max: 10,
            ..segments_of(LARGE)
        });
        append_durably(&log, &Batch::new("late", 1).at(1_000_000)).await;
        let size = |disk: &MemoryDisk| disk.content(&segment(last.get())).map(|bytes| bytes.len());
        assert_eq!(size(&disk), Some(LARGE as usize));
        assert_eq!(logs.metrics().spares_taken, taken + 1);
        append_durably(&log, &Batch::new("later", 1).at(2_000_000)).await;
        log.wait_flushed(last.plus(2)).await.expect("flushed");
        settle().await;
        assert_eq!(size(&disk), Some(8192));
    });
}

async fn settle() {
    for _ in 0..20 {
        futures_lite::future::yield_now().await;
    }
}

async fn fill_large(log: &Log, batches: usize) {
    for index in 0..batches {
        append_durably(log, &Batch::new(format!("c{index}"), 1).sized(1_000_000)).await;
    }
}

#[test]
fn a_deleted_log_leaves_its_segments_to_others() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(3 * SEGMENT_BYTES));
    run(&logs, async {
        logs.open_spares().await.expect("a pool");
        let (log, _) = open(&logs, segments_of(SEGMENT_BYTES)).await;
        fill(&log, 14).await;
        logs.delete_log(&log).await.expect("deleted");
        assert_eq!(pool(&disk).len(), 3);
        assert!(
            disk.files().iter().all(|(path, _)| path.starts_with(POOL)),
            "{:?}",
            disk.files()
        );

        let (other, _) = logs
            .open_log(
                Path::new("/data/other-0"),
                LogId::new(9),
                segments_of(SEGMENT_BYTES),
            )
            .await
            .expect("opens");
        fill(&other, 14).await;
        assert_eq!(logs.metrics().spares_taken, 3);
        assert_eq!(read_all(&other).await.len(), 14);
    });
}

#[test]
fn a_file_that_is_being_read_is_deleted_and_not_reused() {
    // The read stands still while the file is opened, or while it is read.
    for (steps, kind) in [(0, OperationKind::Open), (1, OperationKind::Read)] {
        let disk = MemoryDisk::new();
        let config = LaneLogsConfig {
            tail_budget_bytes: 0,
            read_budget_bytes: 0,
            ..with_pool(1 << 20)
        };
        let logs = lane(&disk, config);
        run(&logs, async {
            logs.open_spares().await.expect("a pool");
            let (log, _) = open(&logs, segments_of(SEGMENT_BYTES)).await;
            fill(&log, 14).await;
            let retired = log.segments() - 1;
            disk.fail_at(disk.operations() + steps, Fault::Hang);
            let mut reading = std::pin::pin!(log.read(Offset::ZERO, Offset::new(14), 1, true));
            let polled = futures_lite::future::poll_once(reading.as_mut()).await;
            assert!(polled.is_none());
            assert_eq!(disk.trace().last(), Some(&kind));
            log.advance_log_start(Offset::new(14))
                .await
                .expect("deleted");
            assert_eq!(pool(&disk).len(), retired - 1, "{kind:?}");
            assert!(!exists(&disk, &segment(0)));
        });
    }
}

#[test]
fn the_next_start_takes_spares_over_as_far_as_they_fit() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(4 * SEGMENT_BYTES));
    run(&logs, async {
        retire_some(&logs).await;
        logs.shutdown().await.expect("closed");
    });
    let kept = pool(&disk).len();
    assert!(kept >= 3);
    let largest = pool(&disk)
        .iter()
        .map(|(_, size)| *size)
        .max()
        .expect("a spare") as u64;
    for (bytes_max, left) in [(largest, 1), (0, 0)] {
        let image = disk.crash(Survival::None);
        let logs = lane(&image, with_pool(bytes_max));
        run(&logs, async {
            let report = logs.open_spares().await.expect("a pool");
            assert_eq!((report.taken_over, report.removed), (left, kept - left));
            assert_eq!(report.taken_over_bytes, logs.metrics().spare_bytes);
        });
        assert_eq!(pool(&image).len(), left);
    }
    let logs = lane(&disk.crash(Survival::None), with_pool(4 * SEGMENT_BYTES));
    run(&logs, async {
        let report = logs.open_spares().await.expect("a pool");
        assert_eq!(report.taken_over, kept);
        let (log, _) = open(&logs, segments_of(SEGMENT_BYTES)).await;
        fill(&log, 12).await;
        assert_eq!(logs.metrics().spares_taken, log.segments() as u64 - 1);
        assert_eq!(read_all(&log).await.len(), 12);
    });
}

#[test]
fn what_is_not_a_spare_is_left_alone() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(1 << 20));
    run(&logs, async {
        assert_eq!(
            logs.open_spares().await.expect("a pool"),
            SparesReport::default()
        );
        let path = Path::new(POOL).join("notes.txt");
        corelane_storage::disk::Disk::create(&disk, &path)
            .await
            .expect("made");
        let logs = lane(&disk, with_pool(0));
        logs.open_spares().await.expect("looked at");
        assert!(exists(&disk, &path));
    });
}

#[test]
fn a_full_disk_gets_the_spares_back_before_a_producer_is_refused() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(1 << 20));
    run(&logs, async {
        let (log, retired) = retire_some(&logs).await;
        drop(log);
        // A batch that needs more room than the spare which its segment takes.
        let play = |image: &MemoryDisk| {
            let logs = lane(image, with_pool(1 << 20));
            run(&logs, async {
                logs.open_spares().await.expect("a pool");
                let (log, _) = open(&logs, segments_of(SEGMENT_BYTES)).await;
                append_durably(&log, &Batch::new("large", 1).sized(100_000)).await;
                assert_eq!(read_all(&log).await.len(), 1);
                logs.metrics()
            })
        };
        let rehearsed = disk.crash(Survival::All);
        assert_eq!(play(&rehearsed).spares_released, 0);
        let reservation = rehearsed
            .trace()
            .iter()
            .position(|kind| *kind == OperationKind::Reserve)
            .expect("space is reserved");
        let full = disk.crash(Survival::All);
        full.fail_at(reservation as u64, Fault::Error(libc::ENOSPC));
        let metrics = play(&full);
        assert_eq!(metrics.spares_taken, 1);
        assert_eq!(metrics.spares_released, retired as u64 - 1);
        assert_eq!(pool(&full), []);
    });
}

#[test]
fn a_new_segment_that_no_spare_fits_gets_their_space() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(1 << 20));
    run(&logs, async {
        let (_log, retired) = retire_some(&logs).await;
        let (other, _) = logs
            .open_log(
                Path::new("/data/other-0"),
                LogId::new(9),
                segments_of(SEGMENT_BYTES),
            )
            .await
            .expect("opens");
        let before = disk.operations() as usize;
        // Make the directory, sync its parent, create, reserve.
        disk.fail_at(before as u64 + 3, Fault::Error(libc::ENOSPC));
        append_durably(&other, &Batch::new("b", 1)).await;
        assert_eq!(disk.trace()[before + 3], OperationKind::Reserve);
        assert_eq!(logs.metrics().spares_released, retired as u64);
    });
}

#[test]
fn spares_are_released_on_request() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, with_pool(1 << 20));
    run(&logs, async {
        let (log, retired) = retire_some(&logs).await;
        let held = logs.metrics().spare_bytes;
        assert_eq!(logs.release_spares().await, held);
        let metrics = logs.metrics();
        assert_eq!(
            (metrics.spares, metrics.spare_bytes, metrics.spares_released),
            (0, 0, retired as u64)
        );
        assert_eq!(pool(&disk), []);
        assert_eq!(pool(&disk.crash(Survival::None)), [], "durably");
        fill(&log, 8).await;
        log.apply_retention(TimestampMs::new(0))
            .await
            .expect("applied");
        assert_eq!(logs.metrics().spares_taken, 0);
    });
}

/// Compacts a log of six segments, all but the last into one, while `held` of them are being read; returns its lane's
/// spares.
fn compact_six(held: &[i64]) -> usize {
    let disk = MemoryDisk::new();
    let config = LaneLogsConfig {
        tail_budget_bytes: 0,
        read_budget_bytes: 0,
        ..with_pool(1 << 20)
    };
    let logs = lane(&disk, config);
    run(&logs, async {
        logs.open_spares().await.expect("a pool");
        let (log, _) = open(&logs, compacted(SEGMENT_BYTES, 0)).await;
        for index in 0..18 {
            let text = format!("k={}", format!("{index}-").repeat(3000));
            append_keyed(&log, &KeyedBatch::new(&text, 1)).await;
        }
        assert_eq!(log.segments(), 6);
        let mut reads = Vec::new();
        for base in held {
            // Its index is in memory from here on.
            read_keyed_from(&log, *base, 1).await.expect("readable");
            disk.fail_at(disk.operations(), Fault::Hang);
            let mut read = Box::pin(log.read(Offset::new(*base), Offset::new(18), 1, true));
            assert!(
                futures_lite::future::poll_once(read.as_mut())
                    .await
                    .is_none()
            );
            reads.push(read);
        }
        log.set_config(compacted(16 * SEGMENT_BYTES, 0));
        let limits = CompactionLimits {
            map_budget_bytes: 1 << 16,
        };
        let done = log.compact(TimestampMs::new(9), limits, &mut Unpaced).await;
        assert_eq!(
            done.expect("compacted").map(|done| done.segments_replaced),
            Some(5)
        );
        let records = read_keyed(&log).await;
        assert!(records.len() <= 4, "{}", records.len());
        let metrics = logs.metrics();
        assert_eq!(metrics.spares, metrics.spares_kept);
        // A new segment goes over one of them, and nothing of it is read.
        log.set_config(compacted(SEGMENT_BYTES, 0));
        for index in 0..4 {
            let text = format!("after{index}={}", "x".repeat(9000));
            append_keyed(&log, &KeyedBatch::new(&text, 1)).await;
        }
        assert!(logs.metrics().spares_taken > 0);
        assert_eq!(read_keyed(&log).await.len(), records.len() + 4);
        metrics.spares_kept as usize
    })
}

#[test]
fn segments_that_compaction_replaced_become_spares() {
    // The first one's name is taken over at once, and its file goes with it.
    assert_eq!(compact_six(&[]), 4);
}

#[test]
fn a_replaced_segment_that_is_being_read_is_deleted() {
    assert_eq!(compact_six(&[6]), 3);
}
