//! Compaction on request: what stays, what readers see, what is left alone, what survives a restart.

mod support;

use corelane_format::kafka::{BatchBuilder, Compression};
use corelane_format::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{
    AppendError, Compacted, CompactionConfig, CompactionLimits, CompactionPace, LogConfig,
    ReadError, Unpaced,
};
use support::keyed::*;
use support::*;

const LIMITS: CompactionLimits = CompactionLimits {
    map_budget_bytes: 1 << 20,
};

/// Every batch begins a segment.
fn tiny(delete_retention_ms: u64) -> LogConfig {
    compacted(4200, delete_retention_ms)
}

async fn compact(log: &Log, now: i64) -> Option<Compacted> {
    log.compact(TimestampMs::new(now), LIMITS, &mut Unpaced)
        .await
        .expect("compacted")
}

#[test]
fn the_latest_of_each_key_stays_with_its_offset() {
    for codec in Compression::ALL {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, _) = open(&logs, tiny(1000)).await;
            for (text, at) in [
                ("a=1 b=1 c=1", 10),
                ("a=2 =lost b", 20),
                ("a=3 d=1", 30),
                ("c=2", 40),
                ("b=9 c=9", 50),
            ] {
                append_keyed(&log, &KeyedBatch::new(text, at).compressed(codec)).await;
            }
            assert_eq!(log.segments(), 5);
            let report = compact(&log, 100).await.expect("something to do");
            // The active segment is left alone, though it has newer values.
            assert_eq!(
                shown(&read_keyed(&log).await),
                "5:b 6:a=3 7:d=1 8:c=2 9:b=9 10:c=9",
                "{codec}"
            );
            assert_eq!((report.records_dropped, report.first_dirty.get()), (5, 9));
            let read = read_keyed(&log).await;
            assert_eq!(
                read.iter()
                    .map(|record| record.timestamp)
                    .collect::<Vec<_>>(),
                [22, 30, 31, 40, 50, 51]
            );
            assert_eq!(compact(&log, 100).await, None, "nothing is dirty");
            logs.shutdown().await.expect("closed");
        });
        assert!(!disk.saw_overlapping_writes());
        let logs = lane(&disk.crash(Survival::None), small_lane());
        run(&logs, async {
            let (log, report) = open(&logs, tiny(1000)).await;
            assert!(report.quarantined.is_empty());
            assert_eq!(
                shown(&read_keyed(&log).await),
                "5:b 6:a=3 7:d=1 8:c=2 9:b=9 10:c=9"
            );
            assert_eq!(compact(&log, 100).await, None, "the checkpoint was kept");
        });
    }
}

#[test]
fn every_offset_in_a_hole_gives_the_next_record() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(0)).await;
        for index in 0..30 {
            append_keyed(
                &log,
                &KeyedBatch::new(&format!("k={index} l={index}"), index),
            )
            .await;
        }
        compact(&log, 100).await.expect("something to do");
        let all = read_keyed(&log).await;
        assert_eq!(shown(&all), "56:k=28 57:l=28 58:k=29 59:l=29");
        for from in 0..60 {
            for size in [1, 100, 1 << 20] {
                let expected: Vec<_> = all
                    .iter()
                    .filter(|record| record.offset >= from)
                    .cloned()
                    .collect();
                assert_eq!(
                    read_keyed_from(&log, from, size).await.expect("readable"),
                    expected
                );
            }
        }
        // Timestamps are found across the hole too.
        for (timestamp, expected) in [(0, 56), (28, 56), (29, 57), (30, 59)] {
            let found = log
                .offset_for_timestamp(TimestampMs::new(timestamp))
                .await
                .expect("readable");
            assert_eq!(
                found.map(|(_, offset)| offset.get()),
                Some(expected),
                "timestamp {timestamp}"
            );
        }
        let newest = log.max_timestamp().await.expect("readable");
        assert_eq!(newest.map(|(_, offset)| offset.get()), Some(59));
        assert_eq!(log.log_start_offset(), Offset::ZERO);
    });
}

#[test]
fn a_segment_that_loses_everything_is_an_empty_range() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    let config = LogConfig {
        retention_ms: Some(50),
        ..tiny(0)
    };
    run(&logs, async {
        let (log, _) = open(&logs, config.clone()).await;
        append_keyed(&log, &KeyedBatch::new("a=1", 10)).await;
        append_keyed(&log, &KeyedBatch::new("a=2", 20)).await;
        append_keyed(&log, &KeyedBatch::new("b=1", 100)).await;
        compact(&log, 60).await.expect("something to do");
        assert_eq!(shown(&read_keyed(&log).await), "1:a=2 2:b=1");
        assert_eq!(
            log.apply_retention(TimestampMs::new(60)).await.ok(),
            Some(1)
        );
        assert_eq!(
            log.log_start_offset().get(),
            1,
            "an empty one goes with the first look"
        );
        assert_eq!(
            log.apply_retention(TimestampMs::new(71)).await.ok(),
            Some(1)
        );
        assert_eq!(shown(&read_keyed(&log).await), "2:b=1");
    });
}

#[test]
fn small_neighbours_become_one_segment() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(1000)).await;
        for index in 0..20 {
            append_keyed(
                &log,
                &KeyedBatch::new(&format!("k{index}=1 same={index}"), index),
            )
            .await;
        }
        log.set_config(compacted(1 << 20, 1000));
        let report = compact(&log, 100).await.expect("something to do");
        assert_eq!((report.segments_replaced, report.segments_written), (19, 1));
        assert_eq!(log.segments(), 2);
        let before = read_keyed(&log).await;
        assert_eq!(before.len(), 22);
        drop(log);
        let logs = lane(&disk.crash(Survival::None), small_lane());
        run(&logs, async {
            let (log, report) = open(&logs, compacted(1 << 20, 1000)).await;
            assert_eq!((report.segments, report.segments_scanned), (2, 1));
            assert_eq!(read_keyed(&log).await, before);
        });
    });
}

#[test]
fn tombstones_stay_until_their_horizon() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(1000)).await;
        append_keyed(&log, &KeyedBatch::new("a=1 b=1", 10)).await;
        append_keyed(&log, &KeyedBatch::new("a b=2", 20)).await;
        append_keyed(&log, &KeyedBatch::new("x=1", 30)).await;
        let dirty = async |at: i64| {
            append_keyed(&log, &KeyedBatch::new(&format!("x={at}"), at)).await;
        };
        // First seen at 5000: it may go from 6000 on.
        compact(&log, 5000).await.expect("something to do");
        assert_eq!(shown(&read_keyed(&log).await), "2:a 3:b=2 4:x=1");
        dirty(40).await;
        compact(&log, 5999).await.expect("something to do");
        assert_eq!(shown(&read_keyed(&log).await), "2:a 3:b=2 4:x=1 5:x=40");
        dirty(50).await;
        compact(&log, 6000).await.expect("something to do");
        assert_eq!(shown(&read_keyed(&log).await), "3:b=2 5:x=40 6:x=50");
        // Its neighbour keeps its time.
        assert_eq!(read_keyed(&log).await[0].timestamp, 21);
    });
}

#[test]
fn a_full_map_ends_the_pass_and_the_next_goes_on() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(1000)).await;
        for round in 0..3 {
            for key in 0..40 {
                let text = format!("k{key}={round} l{key}={round}");
                append_keyed(&log, &KeyedBatch::new(&text, 10)).await;
            }
        }
        let expected = view(&read_keyed(&log).await);
        let limits = CompactionLimits {
            map_budget_bytes: 24 * 16,
        };
        let mut ends = Vec::new();
        while let Some(report) = log
            .compact(TimestampMs::new(100), limits, &mut Unpaced)
            .await
            .expect("compacted")
        {
            ends.push(report.first_dirty.get());
            assert_eq!(view(&read_keyed(&log).await), expected);
        }
        // Twelve keys a pass, and the active segment stays.
        assert_eq!(ends.first(), Some(&12));
        assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "{ends:?}");
        assert_eq!(ends.last(), Some(&238));
        assert_eq!(read_keyed(&log).await.len(), 82);
    });
}

#[test]
fn a_log_is_due_by_ratio_and_by_age() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let config = |min, max, ppm| LogConfig {
            compaction: Some(CompactionConfig {
                dirty_ratio_min_ppm: ppm,
                lag_ms_min: min,
                lag_ms_max: max,
                delete_retention_ms: 0,
            }),
            ..tiny(0)
        };
        let (log, _) = open(
            &logs,
            LogConfig {
                compaction: None,
                ..tiny(0)
            },
        )
        .await;
        let due = async |config: LogConfig, now: i64| {
            log.set_config(config);
            log.compaction_due(TimestampMs::new(now))
                .await
                .expect("readable")
        };
        for index in 0..5 {
            append_keyed(&log, &KeyedBatch::new(&format!("k{index}=1"), 100 * index)).await;
        }
        assert_eq!(
            due(
                LogConfig {
                    compaction: None,
                    ..tiny(0)
                },
                1000
            )
            .await,
            None
        );
        assert!(due(config(0, u64::MAX, 500_000), 1000).await.is_some());
        assert_eq!(
            due(config(0, u64::MAX, 1_000_000), 1000).await,
            None,
            "not above all of it"
        );
        let young = due(config(900, u64::MAX, 0), 1000)
            .await
            .expect("two are old enough");
        assert!(due(config(1001, u64::MAX, 0), 1000).await.is_none());
        let all = due(config(0, 899, 0), 1000).await.expect("due");
        assert!(all.is_overdue && all.dirty_bytes > young.dirty_bytes);
        assert!(due(config(0, 900, 1_000_000), 1000).await.is_none());
        // What is clean is not due again.
        log.set_config(config(0, u64::MAX, 0));
        compact(&log, 1000).await.expect("something to do");
        assert_eq!(due(config(0, 1, 0), 1000).await, None);
    });
}

#[test]
fn producers_are_known_after_compaction_and_a_crash() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(0)).await;
        append_keyed(&log, &KeyedBatch::new("a=1 b=1", 10).by(7, 2, 0)).await;
        append_keyed(&log, &KeyedBatch::new("a=2 b=2", 11).by(7, 2, 2)).await;
        append_keyed(&log, &KeyedBatch::new("c=1", 12).by(8, 0, 0)).await;
        append_keyed(&log, &KeyedBatch::new("a=3 b=3 c=3", 13)).await;
        append_keyed(&log, &KeyedBatch::new("z=1", 14)).await;
        compact(&log, 100).await.expect("something to do");
        assert_eq!(shown(&read_keyed(&log).await), "5:a=3 6:b=3 7:c=3 8:z=1");
    });
    let disk = disk.crash(Survival::None);
    // Without sidecars the kept headers alone must tell.
    for entry in 0..9 {
        let _ = run(
            &lane(&disk, small_lane()),
            corelane_storage::disk::Disk::delete(
                &disk,
                &directory().join(format!("{entry:020}.index")),
            ),
        );
    }
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, report) = open(&logs, tiny(0)).await;
        assert_eq!(report.segments_scanned, report.segments);
        let duplicate = KeyedBatch::new("a=2 b=2", 11).by(7, 2, 2);
        let error = append_bytes(&log, &duplicate.bytes(), 20).expect_err("a duplicate");
        assert!(
            matches!(error, AppendError::DuplicateSequence { base_offset, last_offset }
                if (base_offset.get(), last_offset.get()) == (2, 3)),
            "{error:?}"
        );
        let gap = KeyedBatch::new("c=9", 11).by(8, 0, 5);
        let error = append_bytes(&log, &gap.bytes(), 20).expect_err("a gap");
        assert!(
            matches!(error, AppendError::OutOfOrderSequence { .. }),
            "{error:?}"
        );
        append_keyed(&log, &KeyedBatch::new("c=9", 21).by(8, 0, 1)).await;
    });
}

/// Reads a step further each time the compaction pauses, and now and then from the start.
struct ReadersBetween<'a> {
    log: &'a Log,
    at: Offset,
    seen: Vec<Keyed>,
    expected: std::collections::BTreeMap<String, String>,
    passes: u32,
}

impl CompactionPace for ReadersBetween<'_> {
    async fn pass(&mut self, _: u64) {
        self.passes += 1;
        let end = self.log.readable_offset();
        let read = self
            .log
            .read(self.at, end, 1, true)
            .await
            .expect("readable");
        for slice in &read.slices {
            decode_keyed(slice.as_ref(), &mut self.seen);
        }
        self.at = read.next_offset;
        if self.passes.is_multiple_of(7) {
            assert_eq!(view(&read_keyed(self.log).await), self.expected);
        }
    }
}

#[test]
fn readers_go_on_while_segments_are_replaced() {
    for (tail, cache) in [(0, 0), (1 << 20, 1 << 20), (0, 1 << 20)] {
        let disk = MemoryDisk::new();
        let logs = lane(
            &disk,
            corelane_storage::LaneLogsConfig {
                tail_budget_bytes: tail,
                read_budget_bytes: cache,
                ..small_lane()
            },
        );
        run(&logs, async {
            let (log, _) = open(&logs, compacted(9000, 0)).await;
            for index in 0..150 {
                let text = format!("k{}={index} l{}={index} m{index}=1", index % 7, index % 50);
                append_keyed(&log, &KeyedBatch::new(&text, index)).await;
            }
            let expected = view(&read_keyed(&log).await);
            let mut readers = ReadersBetween {
                log: &log,
                at: Offset::ZERO,
                seen: Vec::new(),
                expected: expected.clone(),
                passes: 0,
            };
            log.compact(TimestampMs::new(1000), LIMITS, &mut readers)
                .await
                .expect("compacted")
                .expect("something to do");
            let rest = read_keyed_from(&log, readers.at.get(), 1 << 20)
                .await
                .expect("readable");
            let mut seen = readers.seen;
            seen.extend(rest);
            assert_eq!(
                view(&seen),
                expected,
                "one long read sees every key's last value"
            );
            assert_eq!(view(&read_keyed(&log).await), expected);
        });
    }
}

#[test]
fn damage_stays_visible_and_nothing_deleted_comes_back() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(0)).await;
        for (index, text) in ["a=1 b=1", "c=1 a=2", "c a", "b=2", "z=1"]
            .iter()
            .enumerate()
        {
            append_keyed(&log, &KeyedBatch::new(text, index as i64)).await;
        }
        logs.shutdown().await.expect("closed");
    });
    let mut content = disk.content(&segment(2)).expect("a segment");
    let at = block_positions(&content)[0] + 64 + 70;
    content[at] ^= 1;
    disk.set_content(&segment(2), content.clone());
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(0)).await;
        for round in 0..3 {
            append_keyed(&log, &KeyedBatch::new(&format!("x={round}"), 50)).await;
            compact(&log, 1000 * (round + 1))
                .await
                .expect("something to do");
        }
        let error = log
            .read(Offset::new(2), log.readable_offset(), 1, true)
            .await
            .expect_err("damage");
        assert!(matches!(error, ReadError::Corrupt { .. }), "{error:?}");
        assert_eq!(
            disk.content(&segment(2)),
            Some(content),
            "not a byte was touched"
        );
        // The tombstones stay, as what they delete may be in the damaged segment.
        assert!(
            shown(&read_keyed_from(&log, 4, 1 << 20).await.expect("readable"))
                .starts_with("4:c 5:a 6:b=2"),
        );
        let before = read_keyed_from(&log, 0, 1 << 20).await;
        assert!(before.is_err());
    });
}

#[test]
fn a_truncation_takes_the_checkpoint_along() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(0)).await;
        for index in 0..6 {
            append_keyed(&log, &KeyedBatch::new(&format!("a={index}"), 1)).await;
        }
        compact(&log, 10).await.expect("something to do");
        log.truncate(Offset::new(2)).await.expect("truncated");
        for index in 0..3 {
            append_keyed(&log, &KeyedBatch::new(&format!("b={index}"), 1)).await;
        }
    });
    let logs = lane(&disk.crash(Survival::None), small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(0)).await;
        compact(&log, 10).await.expect("something to do");
        assert_eq!(shown(&read_keyed(&log).await), "3:b=1 4:b=2");
    });
}

#[test]
fn a_batch_that_cannot_be_read_stays_as_it_is() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(0)).await;
        append_keyed(&log, &KeyedBatch::new("a=1", 1)).await;
        // Sound by its checksum, but not what its codec writes.
        let mut broken = KeyedBatch::new("a=2", 2)
            .compressed(Compression::Zstd)
            .bytes();
        broken[61] ^= 0x55;
        let crc = corelane_format::checksum::crc32c(&broken[21..]);
        broken[17..21].copy_from_slice(&crc.to_be_bytes());
        append_bytes(&log, &broken, 2).expect("appended");
        append_keyed(&log, &KeyedBatch::new("a", 3)).await;
        append_keyed(&log, &KeyedBatch::new("z=1", 4)).await;
        for now in [10, 20] {
            append_keyed(&log, &KeyedBatch::new("z=2", 4)).await;
            log.set_config(compacted(1 << 20, 0));
            compact(&log, now).await.expect("something to do");
            log.set_config(tiny(0));
        }
        let read = log
            .read(Offset::ZERO, log.readable_offset(), 1 << 20, true)
            .await
            .expect("readable");
        let bytes: Vec<u8> = read
            .slices
            .iter()
            .flat_map(|slice| slice.as_ref().to_vec())
            .collect();
        let header = corelane_format::kafka::BatchHeader::parse(&bytes).expect("a batch");
        assert_eq!(
            (header.base_offset.get(), header.partition_leader_epoch),
            (1, LeaderEpoch::new(3))
        );
        assert_eq!(
            &bytes[61..header.size_bytes()],
            &broken[61..],
            "kept as it is"
        );
        let mut rest = Vec::new();
        decode_keyed(&bytes[header.size_bytes()..], &mut rest);
        assert_eq!(
            rest.first()
                .map(|record| (record.offset, record.value.clone())),
            Some((2, None))
        );
    });
}

/// Cuts the log after so many steps.
struct CutsMeanwhile<'a> {
    log: &'a Log,
    steps: u32,
    at: Option<Offset>,
}

impl CompactionPace for CutsMeanwhile<'_> {
    async fn pass(&mut self, _: u64) {
        if self.steps > 0 {
            self.steps -= 1;
        } else if let Some(at) = self.at.take() {
            self.log.truncate(at).await.expect("truncated");
        }
    }
}

#[test]
fn a_truncation_ends_a_pass() {
    // What superseded the older value is cut off: after four steps its key is mapped, after seven the first segment is
    // replaced.
    for steps in 0..7 {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, _) = open(&logs, tiny(0)).await;
            for text in ["a=1 c=1", "b=1", "b=2", "a=2", "z=1"] {
                append_keyed(&log, &KeyedBatch::new(text, 10)).await;
            }
            let mut pace = CutsMeanwhile {
                log: &log,
                steps,
                at: Some(Offset::new(4)),
            };
            let done = log.compact(TimestampMs::new(100), LIMITS, &mut pace).await;
            assert_eq!(done.expect("no failure"), None, "{steps}");
            assert_eq!(pace.at, None, "{steps}");
            assert_eq!(
                shown(&read_keyed(&log).await),
                "0:a=1 1:c=1 2:b=1 3:b=2",
                "{steps}"
            );
        });
    }
}

#[test]
fn markers_of_transactions_stay() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, tiny(0)).await;
        append_keyed(&log, &KeyedBatch::new("a=1", 10).by(9, 0, 0)).await;
        let mut marker = BatchBuilder::new();
        marker
            .control(true)
            .producer(ProducerId::new(9), ProducerEpoch::new(0), Sequence::NONE);
        marker
            .append(
                TimestampMs::new(11),
                Some(&[0, 0, 0, 1]),
                Some(&[0; 6]),
                &[],
            )
            .expect("a record");
        let mut bytes = Vec::new();
        marker.finish_into(&mut bytes).expect("a batch");
        append_bytes(&log, &bytes, 11).expect("appended");
        for text in ["b=1", "a=2 b=2", "z=1"] {
            append_keyed(&log, &KeyedBatch::new(text, 20)).await;
        }
        for _ in 0..2 {
            append_keyed(&log, &KeyedBatch::new("z=2", 30)).await;
            // Beside its neighbours, so that its segment is rewritten.
            log.set_config(compacted(1 << 20, 0));
            compact(&log, 100).await.expect("something to do");
            log.set_config(tiny(0));
        }
        let records = read_keyed(&log).await;
        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets[..3], [1, 3, 4], "{records:?}");
        assert_eq!(records[0].key.as_deref(), Some("\0\0\0\u{1}"));
    });
}

#[test]
fn what_is_not_durable_is_left_alone() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, compacted(4096 + 700, 0)).await;
        append_keyed(&log, &KeyedBatch::new("a=1", 1)).await;
        disk.hold_writes(true);
        for text in ["a=2", "a=3 b=1", "a=4"] {
            let text = format!("{text} {}", "c=1 ".repeat(16));
            let bytes = KeyedBatch::new(&text, 1).bytes();
            append_bytes(&log, &bytes, 1).expect("appended");
            futures_lite::future::yield_now().await;
        }
        assert!(log.segments() > 1);
        assert_eq!(compact(&log, 10).await, None);
        disk.hold_writes(false);
        while disk.held() > 0 {
            disk.release(0);
        }
        log.wait_readable(log.log_end_offset())
            .await
            .expect("durable");
        assert!(compact(&log, 10).await.is_some());
    });
}
