//! Small commits that ride in the lane's journal: shared writes, settling, and what a start after a crash puts back.

mod support;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use corelane_format::{LogId, Offset};
use corelane_storage::disk::Disk;
use corelane_storage::disk::memory::{Fault, MemoryDisk, Survival};
use corelane_storage::{
    JournalConfig, LaneLogsConfig, LogConfig, PartitionLog, ReplayReport, remove_journals,
    replay_journals,
};
use support::*;

const JOURNALS: &str = "/data/journal";

fn log_directory(id: u64) -> PathBuf {
    PathBuf::from(format!("/data/topic-{id}"))
}

async fn replay(logs: &Logs) -> ReplayReport {
    let journals = Path::new(JOURNALS);
    let deleted = LogId::new(13);
    replay_journals(logs, journals, |log_id| {
        (log_id != deleted).then(|| log_directory(log_id.get()))
    })
    .await
    .expect("replayed")
}

async fn start(logs: &Logs, config: JournalConfig) {
    logs.open_journal(Path::new(JOURNALS), 0, config)
        .await
        .expect("the journal opens");
}

async fn open_all(logs: &Logs, ids: &[u64]) -> Vec<Log> {
    let mut opened = Vec::new();
    for id in ids {
        let directory = log_directory(*id);
        let log = logs.open_log(&directory, LogId::new(*id), LogConfig::default());
        opened.push(log.await.expect("opens").0);
    }
    opened
}

/// Logs with their first commit in a segment, which cannot ride.
async fn started(logs: &Logs, ids: &[u64]) -> Vec<Log> {
    start(logs, JOURNAL).await;
    let opened = open_all(logs, ids).await;
    for log in &opened {
        append_durably(log, &Batch::new("first", 1)).await;
    }
    opened
}

/// One small batch to each log at once, then all of them durable.
async fn round(logs: &[Log], name: &str) {
    let ends: Vec<Offset> = logs
        .iter()
        .map(|log| append(log, &Batch::new(name, 1).sized(100)).end_offset())
        .collect();
    for (log, end) in logs.iter().zip(ends) {
        log.wait_flushed(end).await.expect("flushed");
    }
}

async fn names_of<D: Disk>(log: &Rc<PartitionLog<D>>) -> Vec<String> {
    names(&read_all(log).await)
}

#[test]
fn many_logs_share_one_write_and_are_read_before_they_are_settled() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let ids: Vec<u64> = (20..60).collect();
        let opened = started(&logs, &ids).await;
        let before = logs.metrics();
        round(&opened, "a").await;
        let metrics = logs.metrics();
        // The first log's commit starts at once; the others wait for it and go together.
        assert!(metrics.journal_blocks <= 2, "{metrics:?}");
        assert_eq!(metrics.commits, before.commits);
        assert_eq!(metrics.journal_entries, 40);
        for log in &opened {
            assert!(log.settled_offset() < log.flushed_offset());
            assert_eq!(names_of(log).await, ["first", "a"]);
        }
    });
}

#[test]
fn what_rode_comes_back_after_a_crash_once_and_in_order() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    let ids = [20, 21, 22];
    run(&logs, async {
        let opened = started(&logs, &ids).await;
        for name in ["a", "b", "c"] {
            round(&opened, name).await;
        }
        // One of them settles in between, and goes on riding.
        append_durably(&opened[1], &Batch::new("large", 1).sized(100_000)).await;
        round(&opened, "d").await;
    });
    let mut disk = disk.crash(Survival::None);
    for life in 0..3 {
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let report = replay(&logs).await;
            assert!(
                report.damaged.is_empty() && report.lost.is_empty(),
                "{report:?}"
            );
            // The second time everything is there.
            let expected = if life == 0 { 3 } else { 0 };
            assert_eq!(report.logs_restored, expected, "{report:?}");
            let opened = open_all(&logs, &ids).await;
            for (index, log) in opened.iter().enumerate() {
                let large = (index == 1).then_some("large");
                let expected: Vec<_> = ["first", "a", "b", "c"]
                    .into_iter()
                    .chain(large)
                    .chain(["d"])
                    .collect();
                assert_eq!(names_of(log).await, expected, "life {life}, log {index}");
                assert_eq!(log.settled_offset(), log.log_end_offset());
            }
        });
        disk = disk.crash(Survival::None);
    }
}

#[test]
fn a_ring_of_a_start_with_other_lanes_is_replayed_and_removed() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let journals = Path::new(JOURNALS);
        logs.open_journal(journals, 5, JOURNAL)
            .await
            .expect("opens");
        let opened = open_all(&logs, &[20]).await;
        append_durably(&opened[0], &Batch::new("first", 1)).await;
        round(&opened, "a").await;
    });
    let disk = disk.crash(Survival::None);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        assert_eq!(replay(&logs).await.batches_restored, 1);
        remove_journals(&disk, Path::new(JOURNALS), 2)
            .await
            .expect("removed");
        assert!(!exists(&disk, &Path::new(JOURNALS).join("5-0.journal")));
        let opened = open_all(&logs, &[20]).await;
        assert_eq!(names_of(&opened[0]).await, ["first", "a"]);
    });
}

#[test]
fn a_deleted_log_and_a_truncated_one_do_not_come_back() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let opened = started(&logs, &[13, 20]).await;
        round(&opened, "a").await;
        round(&opened, "b").await;
        logs.delete_log(&opened[0]).await.expect("deleted");
        opened[1].truncate(Offset::new(2)).await.expect("cut");
        append_durably(&opened[1], &Batch::new("other", 1)).await;
    });
    let disk = disk.crash(Survival::None);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let report = replay(&logs).await;
        assert_eq!(report.logs_deleted, 1, "{report:?}");
        assert_eq!(report.entries_void, 2, "{report:?}");
        let opened = open_all(&logs, &[20]).await;
        assert_eq!(names_of(&opened[0]).await, ["first", "a", "other"]);
    });
}

#[test]
fn a_damaged_block_is_reported_and_only_what_it_alone_held_is_lost() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let opened = started(&logs, &[20, 21]).await;
        round(&opened[..1], "a").await;
        round(&opened[1..], "x").await;
        round(&opened[..1], "b").await;
        round(&opened[1..], "y").await;
    });
    let disk = disk.crash(Survival::None);
    let path = Path::new(JOURNALS).join("0-0.journal");
    let mut content = disk.content(&path).expect("a journal");
    // The first block: record "a" of log 20.
    content[4096 + 200] ^= 1;
    disk.set_content(&path, content);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let report = replay(&logs).await;
        assert!(!report.damaged.is_empty(), "{report:?}");
        assert_eq!(
            report.lost,
            vec![(LogId::new(20), Offset::new(1)..Offset::new(2))]
        );
        let opened = open_all(&logs, &[20, 21]).await;
        assert_eq!(names_of(&opened[1]).await, ["first", "x", "y"]);
        let damaged = &opened[0];
        assert!(
            damaged
                .read(Offset::new(1), Offset::new(3), 1000, true)
                .await
                .is_err()
        );
        let rest = read_range(damaged, 2, Offset::new(3), 1000)
            .await
            .expect("readable");
        assert_eq!(names(&rest), ["b"]);
        append_durably(damaged, &Batch::new("on", 1)).await;
    });
}

#[test]
fn a_log_that_cannot_be_opened_keeps_what_the_journal_has_of_it() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let opened = started(&logs, &[20, 21]).await;
        opened[0]
            .advance_log_start(Offset::new(1))
            .await
            .expect("advanced");
        round(&opened, "a").await;
    });
    let disk = disk.crash(Survival::None);
    let log_start = log_directory(20).join("log-start");
    let good = disk.content(&log_start).expect("a log start");
    let mut bad = good.clone();
    bad[20] ^= 1;
    disk.set_content(&log_start, bad);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let report = replay(&logs).await;
        assert_eq!(report.held, vec![LogId::new(20)]);
        start(&logs, JOURNAL).await;
        let opened = open_all(&logs, &[21]).await;
        assert_eq!(names_of(&opened[0]).await, ["first", "a"]);
        // The ring goes round meanwhile.
        for _ in 0..40 {
            append_durably(&opened[0], &Batch::new("more", 1).sized(2000)).await;
        }
    });
    let disk = disk.crash(Survival::None);
    disk.set_content(&log_start, good);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let report = replay(&logs).await;
        assert!(report.held.is_empty(), "{report:?}");
        let opened = open_all(&logs, &[20]).await;
        assert_eq!(names_of(&opened[0]).await, ["a"]);
        let held: Vec<_> = disk
            .files()
            .into_iter()
            .filter(|(path, _)| path.to_string_lossy().contains("held"))
            .collect();
        assert_eq!(held, vec![]);
    });
}

#[test]
fn the_ring_goes_round_and_never_loses_what_is_not_settled() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    let ids: Vec<u64> = (20..28).collect();
    let rounds = 200;
    run(&logs, async {
        let opened = started(&logs, &ids).await;
        for round_index in 0..rounds {
            round(&opened, &format!("r{round_index}")).await;
        }
        let metrics = logs.metrics();
        assert!(metrics.settles > 8, "{metrics:?}");
        assert!(
            metrics.journal_bytes > 3 * JOURNAL.files as u64 * JOURNAL.file_size_bytes,
            "it went round: {metrics:?}"
        );
    });
    assert!(!disk.saw_overlapping_writes());
    let disk = disk.crash(Survival::None);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let report = replay(&logs).await;
        assert!(
            report.damaged.is_empty() && report.lost.is_empty(),
            "{report:?}"
        );
        for log in open_all(&logs, &ids).await {
            assert_eq!(names_of(&log).await.len(), rounds + 1);
        }
    });
}

#[test]
fn a_full_ring_sends_commits_to_their_segments() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let opened = started(&logs, &[20, 21]).await;
        // What cannot be settled fills the ring: its log is gone from the lane without being closed.
        let mut abandoned = open_all(&logs, &[30, 31, 32, 33]).await;
        for log in &abandoned {
            append_durably(log, &Batch::new("first", 1)).await;
        }
        while let Some(log) = abandoned.pop() {
            for _ in 0..8 {
                append_durably(&log, &Batch::new("stuck", 1).sized(3000)).await;
            }
        }
        let before = logs.metrics();
        for _ in 0..20 {
            append_durably(&opened[0], &Batch::new("more", 1).sized(3000)).await;
        }
        let after = logs.metrics();
        assert!(after.commits > before.commits, "{before:?} {after:?}");
        assert_eq!(names_of(&opened[0]).await.len(), 2);
    });
    let disk = disk.crash(Survival::None);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        replay(&logs).await;
        for (log, records) in open_all(&logs, &[20, 30, 33]).await.iter().zip([21, 9, 9]) {
            assert_eq!(read_all(log).await.len(), records);
        }
    });
}

#[test]
fn a_failed_journal_write_acknowledges_nothing_and_the_data_goes_to_segments() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let opened = started(&logs, &[20, 21]).await;
        round(&opened, "a").await;
        disk.fail_at(disk.operations(), Fault::Error(libc::EIO));
        round(&opened, "b").await;
        let blocks = logs.metrics().journal_blocks;
        round(&opened, "c").await;
        assert_eq!(
            logs.metrics().journal_blocks,
            blocks,
            "it is not used any more"
        );
        for log in &opened {
            assert_eq!(log.settled_offset(), log.log_end_offset());
            assert!(log.fenced().is_none());
        }
    });
    let disk = disk.crash(Survival::None);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        assert!(replay(&logs).await.lost.is_empty());
        for log in open_all(&logs, &[20, 21]).await {
            assert_eq!(names_of(&log).await, ["first", "a", "b", "c"]);
        }
    });
}

#[test]
fn blocks_of_any_size_follow_each_other_without_a_gap() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    // About where a block needs one page more.
    let sizes = (3600..4000).step_by(9);
    run(&logs, async {
        let opened = started(&logs, &[20]).await;
        for size in sizes.clone() {
            append_durably(&opened[0], &Batch::new("odd", 1).sized(size)).await;
            let crashed = lane(&disk.crash(Survival::None), small_lane());
            let report = run(&crashed, replay(&crashed));
            assert_eq!(report.damaged, vec![], "after one of {size} bytes");
        }
    });
}

#[test]
fn idle_logs_are_settled_and_a_clean_end_leaves_nothing_to_replay() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let opened = started(&logs, &[20, 21]).await;
        round(&opened, "a").await;
        // The first look finds it busy, the second idle.
        logs.maintain();
        logs.maintain();
        let end = opened[0].log_end_offset();
        while opened[0].settled_offset() < end {
            futures_lite::future::yield_now().await;
        }
        round(&opened[1..], "b").await;
        logs.shutdown().await.expect("closed");
    });
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let report = replay(&logs).await;
        assert_eq!((report.blocks, report.read_bytes), (0, 0), "{report:?}");
        let opened = open_all(&logs, &[20, 21]).await;
        assert_eq!(names_of(&opened[1]).await, ["first", "a", "b"]);
    });
}

#[test]
fn a_lane_without_a_journal_commits_to_segments_alone() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, LaneLogsConfig::default());
    run(&logs, async {
        let opened = open_all(&logs, &[20]).await;
        append_durably(&opened[0], &Batch::new("first", 1)).await;
        append_durably(&opened[0], &Batch::new("a", 1)).await;
        assert_eq!(logs.metrics().commits, 2);
        assert_eq!(opened[0].settled_offset(), opened[0].log_end_offset());
    });
}
