//! What was appended is read back, from memory and from disk.

mod support;

use corelane_format::kafka::{Compression, SplitBatch, TimestampType, split_first_batch};
use corelane_format::{Offset, TimestampMs};
use corelane_storage::disk::memory::MemoryDisk;
use corelane_storage::{AppendError, LaneLogsConfig, LogConfig, ReadError};
use support::*;

fn check_round_trip(lane_config: LaneLogsConfig, sizes: &[usize]) {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, lane_config);
    run(&logs, async {
        let (log, report) = open(
            &logs,
            LogConfig {
                message_size_bytes_max: 8 << 20,
                ..LogConfig::default()
            },
        )
        .await;
        assert_eq!(report.segments, 0);
        assert!(disk.files().is_empty(), "an empty log has no files");
        let mut expected = Vec::new();
        for (index, size) in sizes.iter().enumerate() {
            let name = format!("b{index}");
            let count = 1 + index % 3;
            append(&log, &Batch::new(&name, count).sized(*size));
            for record in 0..count {
                expected.push(Batch::value(&name, record, *size));
            }
            if index % 4 == 0 {
                log.wait_readable(log.log_end_offset())
                    .await
                    .expect("durable");
            }
        }
        log.wait_readable(log.log_end_offset())
            .await
            .expect("durable");
        let values: Vec<Vec<u8>> = read_all(&log)
            .await
            .into_iter()
            .map(|record| record.value)
            .collect();
        assert_eq!(values, expected);
    });
    assert!(!disk.saw_overlapping_writes());
}

#[test]
fn small_batches_from_memory() {
    check_round_trip(small_lane(), &[10; 50]);
}

#[test]
fn small_batches_from_disk() {
    check_round_trip(
        LaneLogsConfig {
            tail_budget_bytes: 0,
            ..small_lane()
        },
        &[10; 50],
    );
}

#[test]
fn nothing_is_kept_in_memory() {
    let config = LaneLogsConfig {
        tail_budget_bytes: 0,
        read_budget_bytes: 0,
        ..small_lane()
    };
    check_round_trip(config, &[10, 5000, 100, 70_000, 30, 30, 200_000, 1]);
}

#[test]
fn mixed_sizes_and_tiny_commits() {
    let sizes: Vec<usize> = (0..200).map(|index| (index * 7919) % 9000).collect();
    for tail_budget_bytes in [0, 64 << 20] {
        let config = LaneLogsConfig {
            commit_size_bytes_max: 32 << 10,
            tail_budget_bytes,
            ..small_lane()
        };
        check_round_trip(config, &sizes);
    }
}

#[test]
fn a_batch_larger_than_a_commit() {
    for tail_budget_bytes in [0, 64 << 20] {
        check_round_trip(
            LaneLogsConfig {
                tail_budget_bytes,
                ..small_lane()
            },
            &[100, 3 << 20, 100, 2 << 20],
        );
    }
}

#[test]
fn bounds_of_a_read() {
    let disk = MemoryDisk::new();
    for tail_budget_bytes in [0, 64 << 20] {
        let logs = lane(
            &MemoryDisk::new(),
            LaneLogsConfig {
                tail_budget_bytes,
                ..small_lane()
            },
        );
        run(&logs, async {
            let (log, _) = open(&logs, LogConfig::default()).await;
            let size = Batch::new("b0", 10).bytes().len();
            for index in 0..10 {
                append(&log, &Batch::new(format!("b{index}"), 10));
            }
            log.wait_readable(Offset::new(100)).await.expect("durable");
            // from, end, size, at least one -> bytes in batches, next offset
            for (from, end, limit, at_least_one, batches, next) in [
                (0, 100, usize::MAX, true, 10, 100),
                (0, 100, size, true, 1, 10),
                (5, 100, size, true, 1, 10),
                (0, 100, 2 * size + 1, true, 2, 20),
                (0, 100, 1, true, 1, 10),
                (0, 100, 1, false, 0, 0),
                (30, 60, usize::MAX, true, 3, 60),
                (30, 59, usize::MAX, true, 2, 50),
                (35, 39, usize::MAX, true, 0, 35),
                (100, 100, usize::MAX, true, 0, 100),
                (100, 500, usize::MAX, true, 0, 100),
            ] {
                let read = log
                    .read(Offset::new(from), Offset::new(end), limit, at_least_one)
                    .await
                    .expect("read");
                assert_eq!(read.size_bytes, batches * size, "{from}..{end} in {limit}");
                assert_eq!(
                    read.next_offset,
                    Offset::new(next),
                    "{from}..{end} in {limit}"
                );
            }
            for from in [-1, 101] {
                let error = log
                    .read(Offset::new(from), Offset::new(200), 100, true)
                    .await
                    .expect_err("refused");
                assert!(matches!(error, ReadError::OutOfRange { .. }), "{error}");
            }
        });
    }
    drop(disk);
}

#[test]
fn neighbours_in_a_block_share_a_slice() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        for index in 0..20 {
            append(&log, &Batch::new(format!("b{index}"), 1));
        }
        log.wait_readable(Offset::new(20)).await.expect("durable");
        let read = log
            .read(Offset::ZERO, Offset::new(20), usize::MAX, true)
            .await
            .expect("read");
        assert_eq!(read.slices.len(), 1, "all twenty were one commit");
    });
}

#[test]
fn log_append_time_is_stamped() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let config = LogConfig {
            timestamp_type: TimestampType::LogAppendTime,
            ..LogConfig::default()
        };
        let (log, _) = open(&logs, config).await;
        let appended = append_bytes(&log, &Batch::new("b", 2).bytes(), 123_456).expect("appended");
        assert_eq!(appended.log_append_time, Some(TimestampMs::new(123_456)));
        log.wait_readable(Offset::new(2)).await.expect("durable");
        let read = log
            .read(Offset::ZERO, Offset::new(2), 1000, true)
            .await
            .expect("read");
        let Ok(SplitBatch::Whole { batch, .. }) = split_first_batch(read.slices[0].as_ref()) else {
            panic!()
        };
        batch.verify_crc().expect("a new checksum");
        assert_eq!(batch.header().max_timestamp, TimestampMs::new(123_456));
        assert_eq!(
            batch.header().attributes.timestamp_type(),
            TimestampType::LogAppendTime
        );
    });
}

#[test]
fn readable_before_the_flush_where_the_topic_says_so() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(
            &logs,
            LogConfig {
                flush_messages: 5,
                ..LogConfig::default()
            },
        )
        .await;
        disk.hold_writes(true);
        for index in 0..6 {
            append(&log, &Batch::new(format!("b{index}"), 1));
        }
        assert_eq!(log.flushed_offset(), Offset::ZERO);
        assert_eq!(
            log.readable_offset(),
            Offset::new(4),
            "five less one may be seen before they are durable"
        );
        let records = read_range(&log, 0, log.readable_offset(), 1000)
            .await
            .expect("readable");
        assert_eq!(names(&records), ["b0", "b1", "b2", "b3"]);
        disk.hold_writes(false);
        log.wait_flushed(Offset::new(6)).await.expect("durable");
        assert_eq!(log.readable_offset(), Offset::new(6));
    });
}

#[test]
fn refusals_change_nothing() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(
            &logs,
            LogConfig {
                message_size_bytes_max: 500,
                ..LogConfig::default()
            },
        )
        .await;
        let error =
            append_bytes(&log, &Batch::new("big", 1).sized(600).bytes(), 0).expect_err("refused");
        assert!(
            matches!(error, AppendError::TooLarge { limit: 500, .. }),
            "{error}"
        );
        assert_eq!(log.log_end_offset(), Offset::ZERO);
        assert_eq!(logs.metrics().unflushed_bytes, 0);
    });
}

#[test]
fn compressed_batches_are_kept_as_they_came() {
    let disk = MemoryDisk::new();
    let logs = lane(
        &disk,
        LaneLogsConfig {
            tail_budget_bytes: 0,
            ..small_lane()
        },
    );
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        for codec in Compression::ALL {
            append_durably(
                &log,
                &Batch::new(codec.name(), 20).sized(100).compressed(codec),
            )
            .await;
        }
        assert_eq!(
            names(&read_all(&log).await),
            ["none", "gzip", "snappy", "lz4", "zstd"]
        );
    });
}

#[test]
fn sequential_reading_reads_ahead() {
    let disk = MemoryDisk::new();
    let logs = lane(
        &disk,
        LaneLogsConfig {
            tail_budget_bytes: 0,
            commit_size_bytes_max: 16 << 10,
            ..small_lane()
        },
    );
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        for index in 0..200 {
            append(&log, &Batch::new(format!("b{index}"), 1).sized(1000));
        }
        log.wait_readable(Offset::new(200)).await.expect("durable");
        assert_eq!(read_all(&log).await.len(), 200);
        let reads = logs.metrics().disk_reads;
        assert!(reads <= 30, "{reads} reads for 13 blocks");
        let held = logs.metrics().read_cache_bytes;
        assert!(held > 0);
        // Again: all of it is still in memory.
        assert_eq!(read_all(&log).await.len(), 200);
        assert_eq!(logs.metrics().disk_reads, reads);
    });
}
