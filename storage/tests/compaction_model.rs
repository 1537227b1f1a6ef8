//! Random histories of compacted logs against Kafka's contract, record by record.
//!
//! The model knows every batch with its records and its delete horizon. After each pass it drops what Kafka drops: below
//! the pass's end a record stays if it has a key, no later one below that end has its key, and it is no tombstone beyond its
//! horizon. Offsets, order, timestamps and everything at or above the end stay as they are.

mod support;

use std::collections::BTreeMap;

use corelane_format::TimestampMs;
use corelane_format::kafka::Compression;
use corelane_storage::disk::Disk;
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{CompactionLimits, LaneLogsConfig, LogConfig, Unpaced};
use proptest::prelude::*;
use support::keyed::*;
use support::*;

#[derive(Debug, Clone)]
enum Step {
    /// Keys, values (none is a tombstone) and the codec.
    Append {
        records: Vec<(u8, Option<u16>)>,
        codec: usize,
    },
    Compact {
        keys_max: usize,
        segment_size_bytes: u64,
    },
    Read {
        part: u8,
        size_bytes_max: usize,
    },
    Wait(i64),
    Restart {
        cleanly: bool,
        without_sidecars: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let record = (
        0..12_u8,
        prop_oneof![3 => (0..1000_u16).prop_map(Some), 1 => Just(None)],
    );
    prop_oneof![
        8 => (prop::collection::vec(record, 1..6), 0..5_usize).prop_map(|(records, codec)| Step::Append { records, codec }),
        4 => (1..40_usize, prop_oneof![Just(5000_u64), Just(20_000)])
            .prop_map(|(keys_max, segment_size_bytes)| Step::Compact { keys_max, segment_size_bytes }),
        2 => (any::<u8>(), prop_oneof![Just(1_usize), Just(300), Just(1 << 20)]).prop_map(|(part, size_bytes_max)| Step::Read { part, size_bytes_max }),
        2 => (0..2000_i64).prop_map(Step::Wait),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(cleanly, without_sidecars)| Step::Restart { cleanly, without_sidecars }),
    ]
}

struct ModelBatch {
    horizon: Option<i64>,
    records: Vec<Keyed>,
}

#[derive(Default)]
struct Model {
    batches: Vec<ModelBatch>,
    end: i64,
    now: i64,
}

impl Model {
    fn records(&self) -> Vec<Keyed> {
        self.batches
            .iter()
            .flat_map(|batch| batch.records.iter().cloned())
            .collect()
    }

    /// A pass that has mapped all keys below `mapped_end` and rewritten the segments that begin below it; `bases` are
    /// where segments begin.
    fn compact(&mut self, mapped_end: i64, bases: &[i64], delete_retention_ms: i64) {
        let mut last: BTreeMap<Option<String>, i64> = BTreeMap::new();
        for record in self.records() {
            if record.offset < mapped_end {
                last.insert(record.key, record.offset);
            }
        }
        let rewritten_end = bases
            .iter()
            .copied()
            .find(|base| *base >= mapped_end)
            .unwrap_or(i64::MAX);
        let now = self.now;
        for batch in &mut self.batches {
            let horizon = batch.horizon;
            batch.records.retain(|record| {
                record.offset >= mapped_end
                    || record.key.is_some()
                        && last.get(&record.key) == Some(&record.offset)
                        && (record.value.is_some() || horizon.is_none_or(|horizon| now < horizon))
            });
            let is_rewritten = batch
                .records
                .first()
                .is_some_and(|first| first.offset < rewritten_end);
            let has_tombstone = batch.records.iter().any(|record| record.value.is_none());
            if is_rewritten && has_tombstone && batch.horizon.is_none() {
                batch.horizon = Some(now + delete_retention_ms);
            }
        }
    }
}

async fn bases(disk: &MemoryDisk) -> Vec<i64> {
    let entries = disk.list(&directory()).await.unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| entry.name.strip_suffix(".log")?.parse().ok())
        .collect()
}

async fn check(log: &Log, model: &Model) {
    assert_eq!(
        shown(&read_keyed(log).await),
        shown(&model.records()),
        "the whole log"
    );
    assert_eq!(read_keyed(log).await, model.records());
    assert_eq!(log.log_end_offset().get(), model.end);
    assert_eq!(log.log_start_offset().get(), 0);
}

fn play(steps: &[Step], lane_config: &LaneLogsConfig, config: &LogConfig, retention_ms: i64) {
    let mut disk = MemoryDisk::new();
    let mut model = Model::default();
    let mut rest = steps;
    loop {
        let logs = lane(&disk, lane_config.clone());
        let mut survival = Survival::None;
        let mut drop_sidecars = false;
        let used = run(&logs, async {
            let (log, report) = open(&logs, config.clone()).await;
            assert!(report.quarantined.is_empty() && report.torn_tail.is_none());
            check(&log, &model).await;
            for (index, step) in rest.iter().enumerate() {
                model.now += 1;
                match step {
                    Step::Append { records, codec } => {
                        let mut batch =
                            KeyedBatch::new("", model.now).compressed(Compression::ALL[*codec]);
                        for (key, value) in records {
                            // Key 0 stands for none.
                            let key = (*key > 0).then(|| format!("k{key}"));
                            let value = value.map(|value| format!("{value}"));
                            batch.records.push((key, value));
                        }
                        append_keyed(&log, &batch).await;
                        let stored = (0..).zip(&batch.records).map(|(at, (key, value))| Keyed {
                            offset: model.end + at,
                            key: key.clone(),
                            value: value.clone(),
                            timestamp: model.now + at,
                        });
                        let records: Vec<Keyed> = stored.collect();
                        model.end += records.len() as i64;
                        model.batches.push(ModelBatch {
                            horizon: None,
                            records,
                        });
                    }
                    Step::Compact {
                        keys_max,
                        segment_size_bytes,
                    } => {
                        log.set_config(LogConfig {
                            segment_size_bytes: *segment_size_bytes,
                            ..config.clone()
                        });
                        let limits = CompactionLimits {
                            map_budget_bytes: keys_max * 24,
                        };
                        let before = bases(&disk).await;
                        let report = log
                            .compact(TimestampMs::new(model.now), limits, &mut Unpaced)
                            .await
                            .expect("compacted");
                        log.set_config(config.clone());
                        if let Some(report) = report {
                            let mapped_end = report.first_dirty.get();
                            assert!(mapped_end <= *before.last().expect("an active segment"));
                            let count = model.records().len();
                            model.compact(mapped_end, &before, retention_ms);
                            assert_eq!(
                                report.records_dropped as usize,
                                count - model.records().len()
                            );
                        }
                        check(&log, &model).await;
                    }
                    Step::Read {
                        part,
                        size_bytes_max,
                    } => {
                        let from = model.end * i64::from(*part) / 255;
                        let got = read_keyed_from(&log, from, *size_bytes_max)
                            .await
                            .expect("readable");
                        let mut expected = model.records();
                        expected.retain(|record| record.offset >= from);
                        assert_eq!(got, expected, "from {from}");
                    }
                    Step::Wait(ms) => model.now += ms,
                    Step::Restart {
                        cleanly,
                        without_sidecars,
                    } => {
                        drop_sidecars = *without_sidecars;
                        if *cleanly {
                            logs.shutdown().await.expect("closed");
                            survival = Survival::All;
                        }
                        return index + 1;
                    }
                }
            }
            check(&log, &model).await;
            rest.len()
        });
        assert!(!disk.saw_overlapping_writes());
        rest = &rest[used..];
        if rest.is_empty() {
            return;
        }
        disk = disk.crash(survival);
        if drop_sidecars {
            let logs = lane(&disk, lane_config.clone());
            run(&logs, async {
                for (path, _) in disk.files() {
                    if path
                        .extension()
                        .is_some_and(|extension| extension == "index")
                    {
                        disk.delete(&path).await.expect("deleted");
                    }
                }
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_holds_what_kafka_would_hold(
        steps in prop::collection::vec(step(), 1..60),
        tail_budget_bytes in prop_oneof![Just(0_usize), Just(1 << 20)],
        read_budget_bytes in prop_oneof![Just(0_usize), Just(40_000), Just(1 << 20)],
        commit_size_bytes_max in prop_oneof![Just(4096_usize), Just(64 << 10)],
        read_size_bytes in prop_oneof![Just(4096_usize), Just(64 << 10)],
        segment_size_bytes in prop_oneof![Just(4200_u64), Just(4800), Just(9000)],
        retention_ms in prop_oneof![Just(0_i64), Just(1000)],
    ) {
        let lane_config = LaneLogsConfig { tail_budget_bytes, read_budget_bytes, commit_size_bytes_max, read_size_bytes, ..LaneLogsConfig::default() };
        play(&steps, &lane_config, &compacted(segment_size_bytes, retention_ms as u64), retention_ms);
    }
}
