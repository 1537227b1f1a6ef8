//! Random histories against a model: a plain list of records.

mod support;

use corelane_format::{Offset, TimestampMs};
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{LaneLogsConfig, LogConfig};
use proptest::prelude::*;
use support::*;

#[derive(Debug, Clone)]
enum Step {
    Append { count: usize, size: usize },
    AppendAndWait { count: usize, size: usize },
    Read { part: u8, size_bytes_max: usize },
    DeleteRecords { part: u8 },
    Truncate { part: u8 },
    Retention,
    Restart { cleanly: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = prop_oneof![4 => 1..200_usize, 2 => 200..6000_usize, 1 => 6000..40_000_usize];
    prop_oneof![
        6 => (1..4_usize, sizes.clone()).prop_map(|(count, size)| Step::Append { count, size }),
        6 => (1..4_usize, sizes).prop_map(|(count, size)| Step::AppendAndWait { count, size }),
        4 => (any::<u8>(), 0..60_000_usize).prop_map(|(part, size_bytes_max)| Step::Read { part, size_bytes_max }),
        1 => any::<u8>().prop_map(|part| Step::DeleteRecords { part }),
        1 => any::<u8>().prop_map(|part| Step::Truncate { part }),
        1 => Just(Step::Retention),
        2 => any::<bool>().prop_map(|cleanly| Step::Restart { cleanly }),
    ]
}

fn at(part: u8, start: i64, end: i64) -> i64 {
    start + (end - start) * i64::from(part) / 255
}

fn check(steps: &[Step], lane_config: &LaneLogsConfig, config: &LogConfig) {
    let mut disk = MemoryDisk::new();
    // One value per record; and the first offset of each one's batch.
    let mut model: Vec<(Vec<u8>, i64)> = Vec::new();
    let mut log_start = 0_i64;
    let mut rest = steps;
    loop {
        let logs = lane(&disk, lane_config.clone());
        let mut crash = true;
        let used = run(&logs, async {
            let (log, report) = open(&logs, config.clone()).await;
            assert_eq!(report.log_end_offset.get(), model.len() as i64);
            assert_eq!(report.log_start_offset.get(), log_start);
            for (index, step) in rest.iter().enumerate() {
                let end = model.len() as i64;
                match step {
                    Step::Append { count, size } | Step::AppendAndWait { count, size } => {
                        let name = format!("m{end}");
                        let appended =
                            append(&log, &Batch::new(&name, *count).sized(*size).at(end));
                        assert_eq!(appended.base_offset.get(), end);
                        for record in 0..*count {
                            model.push((Batch::value(&name, record, *size), end));
                        }
                        if matches!(step, Step::AppendAndWait { .. }) {
                            log.wait_readable(appended.end_offset())
                                .await
                                .expect("durable");
                        }
                    }
                    Step::Read {
                        part,
                        size_bytes_max,
                    } => {
                        let readable = log.readable_offset();
                        let from = at(*part, log_start, readable.get());
                        let records = read_range(&log, from, readable, *size_bytes_max)
                            .await
                            .expect("readable");
                        assert_eq!(records.len() as i64, readable.get() - from);
                        for record in records {
                            assert_eq!(
                                record.value, model[record.offset as usize].0,
                                "offset {}",
                                record.offset
                            );
                        }
                    }
                    Step::DeleteRecords { part } => {
                        let to = at(*part, log_start, log.readable_offset().get());
                        log.advance_log_start(Offset::new(to))
                            .await
                            .expect("advanced");
                        log_start = log_start.max(to);
                    }
                    Step::Truncate { part } => {
                        let to = at(*part, log_start, end);
                        log.truncate(Offset::new(to)).await.expect("truncated");
                        if to < end {
                            // Whole batches go, but never below the log start.
                            model.truncate(model[to as usize].1.max(log_start) as usize);
                        }
                    }
                    Step::Retention => {
                        log.apply_retention(TimestampMs::new(0))
                            .await
                            .expect("applied");
                        assert!(log.log_start_offset().get() >= log_start);
                        log_start = log.log_start_offset().get();
                    }
                    Step::Restart { cleanly } => {
                        log.wait_readable(log.log_end_offset())
                            .await
                            .expect("durable");
                        if *cleanly {
                            logs.shutdown().await.expect("closed");
                            crash = false;
                        }
                        return index + 1;
                    }
                }
                assert_eq!(log.log_end_offset().get(), model.len() as i64);
            }
            log.wait_readable(log.log_end_offset())
                .await
                .expect("durable");
            let records = read_all(&log).await;
            for record in records {
                assert_eq!(
                    record.value, model[record.offset as usize].0,
                    "offset {}",
                    record.offset
                );
            }
            rest.len()
        });
        assert!(!disk.saw_overlapping_writes());
        rest = &rest[used..];
        if rest.is_empty() {
            return;
        }
        disk = disk.crash(if crash { Survival::None } else { Survival::All });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_behaves_as_a_list(
        steps in prop::collection::vec(step(), 1..60),
        tail_budget_bytes in prop_oneof![Just(0_usize), Just(40_000), Just(1 << 20)],
        read_budget_bytes in prop_oneof![Just(0_usize), Just(40_000), Just(1 << 20)],
        commit_size_bytes_max in prop_oneof![Just(4096_usize), Just(16 << 10), Just(64 << 10)],
        read_size_bytes in prop_oneof![Just(4096_usize), Just(64 << 10)],
        segment_size_bytes in prop_oneof![Just(20_000_u64), Just(200_000), Just(1 << 30)],
    ) {
        let lane_config = LaneLogsConfig {
            tail_budget_bytes,
            read_budget_bytes,
            commit_size_bytes_max,
            read_size_bytes,
            ..LaneLogsConfig::default()
        };
        let config = LogConfig { segment_size_bytes, retention_bytes: Some(150_000), ..LogConfig::default() };
        check(&steps, &lane_config, &config);
    }
}
