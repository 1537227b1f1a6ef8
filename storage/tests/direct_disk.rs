//! The same log over real direct I/O.

mod support;

use std::path::{Path, PathBuf};

use corelane_format::{LogId, Offset};
use corelane_storage::disk::Disk;
use corelane_storage::disk::direct::{DirectDisk, FlushMode};
use corelane_storage::inspect::{SegmentWalk, WalkItem};
use corelane_storage::{LaneLogs, LaneLogsConfig, LogConfig};
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares};
use support::{Batch, append, append_durably, read_all};

/// A directory of its own on a real file system: on tmpfs direct I/O would be a pretence.
fn directory(name: &str) -> tempfile::TempDir {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(parent).expect("a directory for tests");
    let kind = DirectDisk::file_system(parent).expect("statfs");
    assert_ne!(
        kind,
        libc::TMPFS_MAGIC,
        "{} lies on tmpfs, which has no direct I/O",
        parent.display()
    );
    tempfile::Builder::new()
        .prefix(name)
        .tempdir_in(parent)
        .expect("a directory")
}

/// Runs `test` as a lane runs: in one latency queue, whose I/O preempts by itself.
fn on_a_lane<T: Send + 'static, F: Future<Output = T> + 'static>(
    test: impl FnOnce() -> F + Send + 'static,
) -> T {
    LocalExecutorBuilder::new(Placement::Unbound)
        .spawn(move || async move {
            let latency = Latency::Matters(std::time::Duration::from_millis(100));
            let queue = glommio::executor().create_task_queue(Shares::default(), latency, "lane");
            glommio::spawn_local_into(async move { test().await }, queue)
                .expect("a queue")
                .await
        })
        .expect("an executor")
        .join()
        .expect("no panic")
}

fn start(mode: FlushMode, config: LaneLogsConfig) -> LaneLogs<DirectDisk> {
    let logs = LaneLogs::new(DirectDisk::new(mode), config);
    let flusher = logs.clone();
    glommio::spawn_local(async move { flusher.run_flusher().await }).detach();
    logs
}

fn check_round_trip(mode: FlushMode, tail_budget_bytes: usize) {
    let home = directory("round-trip");
    let path: PathBuf = home.path().join("deep/topic-0");
    on_a_lane(move || async move {
        let config = LaneLogsConfig {
            tail_budget_bytes,
            ..LaneLogsConfig::default()
        };
        let log_config = LogConfig {
            segment_size_bytes: 4 << 20,
            message_size_bytes_max: 8 << 20,
            ..LogConfig::default()
        };
        let logs = start(mode, config.clone());
        let (log, _) = logs
            .open_log(&path, LogId::new(1), log_config.clone())
            .await
            .expect("opens");
        assert!(!path.exists(), "nothing is created before the first append");
        for index in 0..100 {
            append(
                &log,
                &Batch::new(format!("b{index}"), 2).sized((index * 9973) % 120_000),
            );
            if index % 10 == 0 {
                log.wait_readable(log.log_end_offset())
                    .await
                    .expect("durable");
            }
        }
        append_durably(&log, &Batch::new("large", 1).sized(3 << 20)).await;
        assert_eq!(read_all(&log).await.len(), 201);
        assert!(log.segments() > 2);
        log.advance_log_start(Offset::new(11))
            .await
            .expect("advanced");
        logs.shutdown().await.expect("closed");

        let logs = start(mode, config);
        let (log, report) = logs
            .open_log(&path, LogId::new(1), log_config)
            .await
            .expect("opens again");
        assert_eq!(report.log_start_offset, Offset::new(11));
        assert_eq!(report.log_end_offset, Offset::new(201));
        assert_eq!(report.torn_tail, None);
        for index in 0..50 {
            append_durably(&log, &Batch::new(format!("c{index}"), 1)).await;
        }
        assert_eq!(read_all(&log).await.len(), 240);
        logs.delete_log(&log).await.expect("deleted");
        assert!(!path.exists());
        logs.shutdown().await.expect("closed");
    });
    home.close().expect("everything is closed");
}

#[test]
fn data_sync_from_memory() {
    check_round_trip(FlushMode::DataSync, 64 << 20);
}

#[test]
fn data_sync_from_disk() {
    check_round_trip(FlushMode::DataSync, 0);
}

#[test]
fn fdatasync() {
    check_round_trip(FlushMode::Fdatasync, 0);
}

#[test]
fn an_unclean_end_is_recovered() {
    let home = directory("unclean");
    let path: PathBuf = home.path().join("topic-0");
    let again = path.clone();
    on_a_lane(move || async move {
        let logs = start(FlushMode::DataSync, LaneLogsConfig::default());
        let (log, _) = logs
            .open_log(&path, LogId::new(1), LogConfig::default())
            .await
            .expect("opens");
        for index in 0..40 {
            append_durably(&log, &Batch::new(format!("b{index}"), 1).sized(500)).await;
        }
        // No shutdown: the executor just ends.
    });
    on_a_lane(move || async move {
        let logs = start(FlushMode::DataSync, LaneLogsConfig::default());
        let (log, report) = logs
            .open_log(&again, LogId::new(1), LogConfig::default())
            .await
            .expect("opens");
        assert_eq!(report.log_end_offset, Offset::new(40));
        assert_eq!(
            report.torn_tail, None,
            "zeros written ahead are no torn tail"
        );
        assert_eq!(read_all(&log).await.len(), 40);
        append_durably(&log, &Batch::new("next", 1)).await;
        assert_eq!(log.segments(), 1);
        logs.shutdown().await.expect("closed");
    });
}

#[test]
fn a_segment_can_be_dumped() {
    let home = directory("dump");
    let path: PathBuf = home.path().join("topic-0");
    on_a_lane(move || async move {
        let logs = start(FlushMode::DataSync, LaneLogsConfig::default());
        let (log, _) = logs
            .open_log(&path, LogId::new(9), LogConfig::default())
            .await
            .expect("opens");
        for index in 0..5 {
            append_durably(&log, &Batch::new(format!("b{index}"), 3)).await;
        }
        logs.shutdown().await.expect("closed");
        let segment = path.join("00000000000000000000.log");
        let file = logs.disk().open(&segment).await.expect("opens");
        let mut walk = SegmentWalk::<DirectDisk>::new(&file)
            .await
            .expect("a segment");
        assert_eq!(walk.header().log_id, LogId::new(9));
        let mut offsets = Vec::new();
        let mut ended = false;
        while let Some(item) = walk.next().await.expect("readable") {
            match item {
                WalkItem::Block(block) => {
                    offsets.extend(block.batches.iter().map(|batch| batch.base_offset.get()));
                }
                WalkItem::End { .. } => ended = true,
                WalkItem::Gap(gap) => panic!("{gap:?}"),
            }
        }
        assert!(ended);
        assert_eq!(offsets, [0, 3, 6, 9, 12]);
    });
}

#[test]
fn directories_are_listed_and_missing_ones_are_not_found() {
    let home = directory("list");
    let path = home.path().to_path_buf();
    on_a_lane(move || async move {
        let disk = DirectDisk::default();
        disk.make_directory(&path.join("a")).await.expect("made");
        disk.make_directory(&path.join("a"))
            .await
            .expect("there already");
        let file = disk.create(&path.join("b")).await.expect("created");
        drop(file);
        let names: Vec<_> = disk
            .list(&path)
            .await
            .expect("listed")
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(names, ["a", "b"]);
        let error = disk.list(&path.join("none")).await.expect_err("absent");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        let error = disk.open(&path.join("none")).await.expect_err("absent");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    });
}
