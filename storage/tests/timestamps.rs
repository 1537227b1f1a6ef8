//! Lookups by timestamp are exact to the record.

mod support;

use corelane_format::kafka::{Compression, TimestampType};
use corelane_format::{Offset, TimestampMs};
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{LaneLogsConfig, LogConfig};
use support::*;

async fn check(log: &Log, timestamp: i64, expected: Option<(i64, i64)>) {
    let found = log
        .offset_for_timestamp(TimestampMs::new(timestamp))
        .await
        .expect("readable");
    let found = found.map(|(timestamp, offset)| (timestamp.get(), offset.get()));
    assert_eq!(found, expected, "timestamp {timestamp}");
}

#[test]
fn exact_to_the_record_in_every_codec() {
    for codec in Compression::ALL {
        for (tail_budget_bytes, segment_size_bytes) in [(64 << 20, 1 << 30), (0, 12 << 10)] {
            let config = LogConfig {
                segment_size_bytes,
                ..LogConfig::default()
            };
            let disk = MemoryDisk::new();
            let logs = lane(
                &disk,
                LaneLogsConfig {
                    tail_budget_bytes,
                    ..small_lane()
                },
            );
            // Batches of ten records at 1000, 1001, ..; the next batch 100 later.
            let fill = async |log: &Log| {
                for index in 0..30 {
                    let batch = Batch::new("b", 10)
                        .sized(300)
                        .at(1000 + index * 100)
                        .compressed(codec);
                    append_durably(log, &batch).await;
                }
            };
            let check_all = async |log: &Log| {
                check(log, 0, Some((1000, 0))).await;
                check(log, 1000, Some((1000, 0))).await;
                check(log, 1004, Some((1004, 4))).await;
                check(log, 1009, Some((1009, 9))).await;
                check(log, 1010, Some((1100, 10))).await;
                check(log, 2505, Some((2505, 155))).await;
                check(log, 3909, Some((3909, 299))).await;
                check(log, 3910, None).await;
                let newest = log.max_timestamp().await.expect("readable");
                assert_eq!(newest, Some((TimestampMs::new(3909), Offset::new(299))));
            };
            run(&logs, async {
                let (log, _) = open(&logs, config.clone()).await;
                check(&log, 0, None).await;
                assert_eq!(log.max_timestamp().await.expect("readable"), None);
                fill(&log).await;
                check_all(&log).await;
                log.advance_log_start(Offset::new(155))
                    .await
                    .expect("advanced");
                check(&log, 1000, Some((2505, 155))).await;
            });
            let logs = lane(&disk.crash(Survival::None), small_lane());
            run(&logs, async {
                let (log, _) = open(&logs, config.clone()).await;
                check(&log, 3000, Some((3000, 200))).await;
                check(&log, 3909, Some((3909, 299))).await;
            });
        }
    }
}

#[test]
fn timestamps_that_go_back_and_forth() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(
            &logs,
            LogConfig {
                segment_size_bytes: 10 << 10,
                ..LogConfig::default()
            },
        )
        .await;
        let mut all: Vec<i64> = Vec::new();
        for index in 0_i64..60 {
            let timestamp = (index * 7919) % 1000;
            append_durably(&log, &Batch::new("b", 1).sized(500).at(timestamp)).await;
            all.push(timestamp);
        }
        for timestamp in (0..1001).step_by(13) {
            let expected = all
                .iter()
                .position(|known| *known >= timestamp)
                .map(|offset| (all[offset], offset as i64));
            check(&log, timestamp, expected).await;
        }
        let largest = all.iter().copied().max().expect("some");
        let first = all
            .iter()
            .position(|timestamp| *timestamp == largest)
            .expect("there");
        let newest = log.max_timestamp().await.expect("readable");
        assert_eq!(
            newest,
            Some((TimestampMs::new(largest), Offset::new(first as i64)))
        );
    });
}

#[test]
fn log_append_time() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let config = LogConfig {
            timestamp_type: TimestampType::LogAppendTime,
            ..LogConfig::default()
        };
        let (log, _) = open(&logs, config).await;
        for now in [5000, 6000] {
            // The producer's clock is far ahead; it does not count.
            append_bytes(&log, &Batch::new("b", 3).at(9_000_000).bytes(), now).expect("appended");
            log.wait_readable(log.log_end_offset())
                .await
                .expect("durable");
        }
        check(&log, 5500, Some((6000, 3))).await;
        check(&log, 6001, None).await;
    });
}
