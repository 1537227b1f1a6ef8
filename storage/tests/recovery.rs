//! Opening a log again: cleanly closed, torn, damaged.

mod support;

use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader, LogId, Offset};
use corelane_storage::disk::memory::{MemoryDisk, OperationKind, Survival};
use corelane_storage::segment_header::SegmentHeader;
use corelane_storage::{LaneLogsConfig, LogConfig, OpenError, ReadError};
use support::*;

/// One copy of a segment's header, and where the second one stands.
const HEADER_BYTES: usize = 44;
const HEADER_COPY: usize = 2048;

/// A log of `batches` single-record commits, closed cleanly or cut off from power when all were durable.
fn written(batches: usize, cleanly: bool, config: &LogConfig) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, config.clone()).await;
        for index in 0..batches {
            append_durably(&log, &Batch::new(format!("b{index}"), 1).sized(300)).await;
        }
        if cleanly {
            logs.shutdown().await.expect("closed");
        }
    });
    disk.crash(Survival::None)
}

fn expected_names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("b{index}")).collect()
}

#[test]
fn everything_durable_is_there_again() {
    for cleanly in [false, true] {
        for batches in [0, 1, 2, 13, 40] {
            let disk = written(batches, cleanly, &LogConfig::default());
            let logs = lane(&disk, small_lane());
            run(&logs, async {
                let (log, report) = open(&logs, LogConfig::default()).await;
                assert_eq!(
                    report.log_end_offset,
                    Offset::new(batches as i64),
                    "cleanly {cleanly}"
                );
                assert_eq!(report.torn_tail, None);
                assert_eq!(names(&read_all(&log).await), expected_names(batches));
                // And it goes on in the same segment.
                append_durably(&log, &Batch::new("next", 1)).await;
                assert_eq!(log.segments(), 1);
                assert_eq!(read_all(&log).await.len(), batches + 1);
            });
            assert!(!disk.saw_overlapping_writes());
        }
    }
}

#[test]
fn a_clean_shutdown_makes_opening_quick_but_is_not_believed_blindly() {
    let disk = written(40, true, &LogConfig::default());
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (_, report) = open(&logs, LogConfig::default()).await;
        assert!(
            report.scanned_bytes <= 32 << 10,
            "{} bytes scanned",
            report.scanned_bytes
        );
    });
    // The marker says 40 records; the last one rots: it was durable, so it is quarantined and never reused.
    let mut content = disk.content(&segment(0)).expect("a segment");
    let last = *block_positions(&content).last().expect("blocks");
    content[last + COMMIT_BLOCK_HEADER_BYTES + 100] ^= 1;
    disk.set_content(&segment(0), content);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, report) = open(&logs, LogConfig::default()).await;
        assert_eq!(report.log_end_offset, Offset::new(40));
        assert_eq!(report.quarantined, vec![Offset::new(39)..Offset::new(40)]);
        let error = log
            .read(Offset::new(39), Offset::new(40), 1000, true)
            .await
            .expect_err("damaged");
        assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
        assert_eq!(
            read_range(&log, 0, Offset::new(39), 1000)
                .await
                .expect("sound")
                .len(),
            39
        );
        let next = append_durably(&log, &Batch::new("next", 1)).await;
        assert_eq!(next.base_offset, Offset::new(40));
        assert_eq!(
            names(
                &read_range(&log, 40, Offset::new(41), 1000)
                    .await
                    .expect("sound")
            ),
            ["next"]
        );
    });
}

#[test]
fn a_torn_tail_is_cut_and_reported_and_never_comes_back() {
    for damage_at in [
        0,
        8,
        24,
        COMMIT_BLOCK_HEADER_BYTES + 5,
        COMMIT_BLOCK_HEADER_BYTES + 150,
    ] {
        let disk = written(20, false, &LogConfig::default());
        let mut content = disk.content(&segment(0)).expect("a segment");
        let last = *block_positions(&content).last().expect("blocks");
        content[last + damage_at] ^= 0x10;
        disk.set_content(&segment(0), content);
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, report) = open(&logs, LogConfig::default()).await;
            assert_eq!(
                report.log_end_offset,
                Offset::new(19),
                "damage at {damage_at}"
            );
            assert_eq!(
                report.torn_tail.as_ref().map(|torn| torn.offset),
                Some(Offset::new(19))
            );
            assert_eq!(report.quarantined, vec![]);
            append_durably(&log, &Batch::new("new", 1)).await;
            assert_eq!(log.segments(), 2, "the torn segment takes no more appends");
            let mut expected = expected_names(19);
            expected.push("new".to_owned());
            assert_eq!(names(&read_all(&log).await), expected);
        });
        // The rotten byte is put right again: the block is sound, and still must not come back.
        let mut content = disk.content(&segment(0)).expect("a segment");
        content[last + damage_at] ^= 0x10;
        disk.set_content(&segment(0), content);
        let logs = lane(&disk.crash(Survival::None), small_lane());
        run(&logs, async {
            let (log, report) = open(&logs, LogConfig::default()).await;
            assert_eq!(report.log_end_offset, Offset::new(20));
            let mut expected = expected_names(19);
            expected.push("new".to_owned());
            assert_eq!(names(&read_all(&log).await), expected);
        });
    }
}

#[test]
fn damage_below_what_was_flushed_is_quarantined_and_never_cut() {
    // Every bit of a block's header in the middle, and bits of its body.
    let pristine = written(12, false, &LogConfig::default());
    let content = pristine.content(&segment(0)).expect("a segment");
    let middle = block_positions(&content)[5];
    let body = COMMIT_BLOCK_HEADER_BYTES * 8;
    let bits = (0..body).chain((body..body + 300 * 8).step_by(37));
    for bit in bits {
        let disk = pristine.crash(Survival::None);
        let mut damaged = content.clone();
        damaged[middle + bit / 8] ^= 1 << (bit % 8);
        disk.set_content(&segment(0), damaged);
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, report) = open(&logs, LogConfig::default()).await;
            assert_eq!(report.log_end_offset, Offset::new(12), "bit {bit}");
            assert_eq!(report.torn_tail, None, "bit {bit}");
            assert_eq!(
                report.quarantined,
                vec![Offset::new(5)..Offset::new(6)],
                "bit {bit}"
            );
            assert_eq!(
                read_range(&log, 0, Offset::new(5), 1000)
                    .await
                    .expect("before")
                    .len(),
                5
            );
            assert_eq!(
                read_range(&log, 6, Offset::new(12), 1000)
                    .await
                    .expect("behind")
                    .len(),
                6
            );
            let error = log
                .read(Offset::new(5), Offset::new(12), 1000, true)
                .await
                .expect_err("damaged");
            assert!(
                matches!(error, ReadError::Corrupt { start, end, .. } if start == Offset::new(5) && end == Offset::new(6)),
                "{error}"
            );
        });
    }
}

#[test]
fn damage_found_while_reading_is_not_served() {
    let disk = written(12, true, &LogConfig::default());
    let mut content = disk.content(&segment(0)).expect("a segment");
    let middle = block_positions(&content)[5];
    content[middle + 200] ^= 4;
    disk.set_content(&segment(0), content);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, report) = open(&logs, LogConfig::default()).await;
        assert_eq!(report.quarantined, vec![], "the marker saved the scan");
        assert_eq!(
            read_range(&log, 0, Offset::new(5), 1000)
                .await
                .expect("before")
                .len(),
            5
        );
        let error = log
            .read(Offset::new(5), Offset::new(12), 1000, true)
            .await
            .expect_err("damaged");
        assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
        assert_eq!(
            read_range(&log, 6, Offset::new(12), 1000)
                .await
                .expect("behind")
                .len(),
            6
        );
        let error = log
            .read(Offset::new(5), Offset::new(12), 1000, true)
            .await
            .expect_err("still damaged");
        assert!(
            matches!(error, ReadError::Corrupt { end, .. } if end == Offset::new(6)),
            "{error}"
        );
        assert_eq!(logs.metrics().corruptions_found, 1);
    });
}

#[test]
fn sealed_segments_are_opened_by_their_index_or_scanned() {
    let config = LogConfig {
        segment_size_bytes: 8192,
        ..LogConfig::default()
    };
    for cleanly in [false, true] {
        for keep_indexes in [true, false] {
            let disk = written(60, cleanly, &config);
            let indexes: Vec<_> = disk
                .files()
                .into_iter()
                .map(|(path, _)| path)
                .filter(|path| path.extension().is_some_and(|e| e == "index"))
                .collect();
            assert!(indexes.len() >= 3, "{indexes:?}");
            for path in &indexes {
                let mut content = disk.content(path).expect("an index");
                if !keep_indexes {
                    content[40] ^= 1;
                }
                disk.set_content(path, content);
            }
            let logs = lane(&disk, small_lane());
            run(&logs, async {
                let (log, report) = open(&logs, config.clone()).await;
                if keep_indexes {
                    assert!(report.segments_scanned <= 2, "{report:?}");
                } else {
                    assert_eq!(report.segments_scanned, report.segments);
                }
                assert_eq!(names(&read_all(&log).await), expected_names(60));
            });
        }
    }
}

#[test]
fn damage_in_a_sealed_segment_is_quarantined() {
    let config = LogConfig {
        segment_size_bytes: 8192,
        ..LogConfig::default()
    };
    let disk = written(60, false, &config);
    let content = disk.content(&segment(0)).expect("a segment");
    let blocks = block_positions(&content);
    // The last block of the first segment: a torn tail if it were the last segment.
    let last = blocks.len() - 1;
    let mut damaged = content;
    damaged[blocks[last] + 100] ^= 1;
    disk.set_content(&segment(0), damaged);
    for (path, _) in disk.files() {
        if path
            .extension()
            .is_some_and(|extension| extension == "index")
        {
            disk.set_content(&path, vec![0; 4096]);
        }
    }
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, report) = open(&logs, config.clone()).await;
        let bad = Offset::new(last as i64);
        assert_eq!(report.quarantined, vec![bad..bad.plus(1)]);
        assert_eq!(report.log_end_offset, Offset::new(60));
        assert_eq!(
            read_range(&log, bad.get() + 1, Offset::new(60), 1000)
                .await
                .expect("sound")
                .len(),
            59 - last
        );
    });
}

#[test]
fn a_damaged_header_page_loses_nothing() {
    for (batches, segments) in [(12, 1), (60, 4)] {
        let config = LogConfig {
            segment_size_bytes: 8192,
            ..LogConfig::default()
        };
        let config = if segments == 1 {
            LogConfig::default()
        } else {
            config
        };
        let pristine = written(batches, false, &config);
        for bit in 0..HEADER_BYTES * 8 {
            let disk = pristine.crash(Survival::None);
            let mut content = disk.content(&segment(0)).expect("a segment");
            // Either copy of the header is enough; here none of them is left.
            content[bit / 8] ^= 1 << (bit % 8);
            content[HEADER_COPY + bit / 8] ^= 1 << (bit % 8);
            disk.set_content(&segment(0), content);
            let logs = lane(&disk, small_lane());
            run(&logs, async {
                let (log, report) = open(&logs, config.clone()).await;
                assert_eq!(
                    report.log_end_offset,
                    Offset::new(batches as i64),
                    "bit {bit}"
                );
                assert_eq!(
                    names(&read_all(&log).await),
                    expected_names(batches),
                    "bit {bit}"
                );
                append_durably(&log, &Batch::new("next", 1)).await;
            });
        }
    }
}

#[test]
fn a_segment_that_nothing_identifies_is_not_guessed_at() {
    for (batches, size_bytes) in [(12, 1 << 30), (60, 8192)] {
        let config = LogConfig {
            segment_size_bytes: size_bytes,
            ..LogConfig::default()
        };
        let disk = written(batches, false, &config);
        let mut content = disk.content(&segment(0)).expect("a segment");
        content[..4096 + COMMIT_BLOCK_HEADER_BYTES].fill(0xA5);
        disk.set_content(&segment(0), content);
        for (path, _) in disk.files() {
            if path.extension().is_some_and(|e| e == "index") {
                disk.set_content(&path, vec![0; 4096]);
            }
        }
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            if size_bytes > 8192 {
                let error = try_open(&logs, config.clone()).await.expect_err("refused");
                assert!(matches!(error, OpenError::HeaderLost { .. }), "{error}");
                return;
            }
            // A sealed one is quarantined whole.
            let (log, report) = open(&logs, config.clone()).await;
            assert_eq!(report.log_end_offset, Offset::new(60));
            let [lost] = &report.quarantined[..] else {
                panic!("one range expected: {report:?}")
            };
            assert_eq!(lost.start, Offset::ZERO);
            let behind = read_range(&log, lost.end.get(), Offset::new(60), 1000).await;
            assert_eq!(behind.expect("sound").len() as i64, 60 - lost.end.get());
        });
    }
}

#[test]
fn segments_of_the_first_version_are_refused() {
    let disk = written(3, false, &LogConfig::default());
    let mut content = disk.content(&segment(0)).expect("a segment");
    let mut old = b"CLsg\x01\x00\x00\x00".to_vec();
    for field in [LOG.get(), 1, 0] {
        old.extend_from_slice(&field.to_le_bytes());
    }
    old.extend_from_slice(&corelane_format::checksum::crc32c(&old).to_le_bytes());
    old.resize(4096, 0);
    content[..4096].copy_from_slice(&old);
    disk.set_content(&segment(0), content.clone());
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let error = try_open(&logs, LogConfig::default())
            .await
            .expect_err("refused");
        let text = error.to_string();
        assert!(text.contains("version is 1"), "{text}");
        assert!(text.contains("reads version 2"), "{text}");
    });
    assert_eq!(
        disk.content(&segment(0)),
        Some(content),
        "nothing is touched"
    );
}

#[test]
fn truncations_are_counted_and_rolls_inherit_the_count() {
    let config = LogConfig {
        segment_size_bytes: 8192,
        ..LogConfig::default()
    };
    let headers = |disk: &MemoryDisk| -> Vec<(i64, u64, u64)> {
        let mut headers: Vec<_> = disk
            .files()
            .into_iter()
            .filter(|(path, _)| path.extension().is_some_and(|e| e == "log"))
            .map(|(path, _)| {
                let content = disk.content(&path).expect("a segment");
                let header = SegmentHeader::decode(&content[..4096]).expect("a header");
                (
                    header.base_offset.get(),
                    header.history,
                    header.generation >> 32,
                )
            })
            .collect();
        headers.sort_unstable();
        headers
    };
    let mut disk = written(30, true, &config);
    assert!(headers(&disk).len() > 2);
    assert!(headers(&disk).iter().all(|(_, history, _)| *history == 0));
    for truncations in 1..4 {
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, _) = open(&logs, config.clone()).await;
            log.truncate(Offset::new(log.log_end_offset().get() - 5))
                .await
                .expect("truncated");
            for index in 0..30 {
                append_durably(&log, &Batch::new(format!("c{index}"), 1).sized(300)).await;
            }
        });
        disk = disk.crash(Survival::None);
        let headers = headers(&disk);
        assert_eq!(
            headers.last().map(|(_, history, _)| *history),
            Some(truncations)
        );
        assert!(
            headers.windows(2).all(|pair| pair[0].1 <= pair[1].1),
            "{headers:?}"
        );
        assert!(
            headers.windows(2).all(|pair| pair[0].2 < pair[1].2),
            "{headers:?}"
        );
    }
}

#[test]
fn another_logs_directory_is_refused() {
    let disk = written(3, false, &LogConfig::default());
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let error = logs
            .open_log(&directory(), LogId::new(8), LogConfig::default())
            .await
            .expect_err("refused");
        assert!(matches!(error, OpenError::ForeignLog { .. }), "{error}");
    });
}

#[test]
fn temporary_files_are_no_part_of_the_log() {
    let disk = written(3, false, &LogConfig::default());
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        use corelane_storage::disk::Disk;
        disk.create(&directory().join("00000000000000000003.log.tmp"))
            .await
            .expect("created");
        let (log, report) = open(&logs, LogConfig::default()).await;
        assert_eq!(report.temporary_files_removed, 1);
        assert_eq!(read_all(&log).await.len(), 3);
    });
}

#[test]
fn blocks_of_an_earlier_generation_never_decode() {
    // A recycled file: the old segment's blocks behind the new one's.
    let old = written(10, false, &LogConfig::default());
    let stale = old.content(&segment(0)).expect("a segment");
    let fresh = {
        let disk = MemoryDisk::new();
        let logs = lane(&disk, LaneLogsConfig { ..small_lane() });
        run(&logs, async {
            let (log, _) = open(&logs, LogConfig::default()).await;
            // Generation 1 goes with the truncation, so what follows is another generation at the same place.
            append_durably(&log, &Batch::new("gone", 1)).await;
            log.truncate(Offset::ZERO).await.expect("truncated");
            append_durably(&log, &Batch::new("b0", 1).sized(300)).await;
        });
        disk.crash(Survival::None)
    };
    let mut content = fresh.content(&segment(0)).expect("a segment");
    let end = block_positions(&content)[0] + 64 + 300;
    let from = end.next_multiple_of(512);
    content[from..stale.len()].copy_from_slice(&stale[from..]);
    fresh.set_content(&segment(0), content);
    let logs = lane(&fresh, small_lane());
    run(&logs, async {
        let (log, report) = open(&logs, LogConfig::default()).await;
        assert_eq!(report.log_end_offset, Offset::new(1), "{report:?}");
        assert_eq!(names(&read_all(&log).await), ["b0"]);
    });
}

/// A log in a file that had an earlier use: what that left stands behind the new blocks.
fn written_over(stale: &[u8], from: impl FnOnce(usize) -> usize) -> (MemoryDisk, usize) {
    let disk = written(3, false, &LogConfig::default());
    let mut content = disk.content(&segment(0)).expect("a segment");
    let last = *block_positions(&content).last().expect("blocks");
    let header = CommitBlockHeader::decode(&content[last..]).expect("a block");
    let end = last + COMMIT_BLOCK_HEADER_BYTES + header.body_length as usize;
    let from = from(end);
    content.truncate(from);
    content.extend_from_slice(stale);
    disk.set_content(&segment(0), content);
    (disk, end)
}

/// The blocks of another log, over and over.
fn earlier_use(size_bytes: usize) -> Vec<u8> {
    let config = LaneLogsConfig {
        seed: 99,
        ..small_lane()
    };
    let disk = MemoryDisk::new();
    let logs = lane(&disk, config);
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        for index in 0..20 {
            append_durably(&log, &Batch::new(format!("old{index}"), 1).sized(5000)).await;
        }
    });
    let content = disk.content(&segment(0)).expect("a segment");
    let blocks = block_positions(&content);
    let used = &content[4096..*blocks.last().expect("blocks")];
    used.iter().copied().cycle().take(size_bytes).collect()
}

#[test]
fn what_an_earlier_use_of_the_file_left_is_no_torn_tail() {
    let stale = earlier_use(300_000);
    for from in [
        |end: usize| end.next_multiple_of(4096),
        |end: usize| end.next_multiple_of(512),
        |end: usize| end.next_multiple_of(64),
        |end: usize| end.next_multiple_of(64) + 512,
    ] {
        let (disk, _) = written_over(&stale, from);
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, report) = open(&logs, LogConfig::default()).await;
            assert_eq!(report.torn_tail, None);
            assert_eq!(report.quarantined, vec![]);
            assert_eq!(names(&read_all(&log).await), expected_names(3));
            for index in 3..40 {
                append_durably(&log, &Batch::new(format!("b{index}"), 1).sized(300)).await;
            }
        });
        let logs = lane(&disk.crash(Survival::None), small_lane());
        run(&logs, async {
            let (log, report) = open(&logs, LogConfig::default()).await;
            assert_eq!(report.torn_tail, None);
            assert_eq!(names(&read_all(&log).await), expected_names(40));
        });
    }
}

#[test]
fn a_torn_tail_over_an_earlier_use_is_still_one() {
    // The last block's header is whole and its body is not: the write was under way.
    let stale = earlier_use(300_000);
    let (disk, end) = written_over(&stale, |end| end - 100);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, report) = open(&logs, LogConfig::default()).await;
        let torn = report.torn_tail.expect("a torn tail");
        assert_eq!(torn.offset, Offset::new(2));
        assert!(torn.position < end as u64);
        assert_eq!(names(&read_all(&log).await), expected_names(2));
        append_durably(&log, &Batch::new("next", 1)).await;
        assert_eq!(log.segments(), 2);
    });
}

#[test]
fn a_large_file_is_not_read_to_its_end() {
    const FILE_BYTES: usize = 88 << 20;
    let stale = earlier_use(FILE_BYTES);
    for tail in [stale, vec![0; FILE_BYTES]] {
        let (disk, _) = written_over(&tail, |end| end.next_multiple_of(4096));
        drop(tail);
        let logs = lane(&disk, small_lane());
        run(&logs, async {
            let (log, report) = open(&logs, LogConfig::default()).await;
            assert_eq!(report.log_end_offset, Offset::new(3));
            assert!(
                report.scanned_bytes < 72 << 20,
                "{} bytes",
                report.scanned_bytes
            );
            assert_eq!(names(&read_all(&log).await), expected_names(3));
        });
    }
}

#[test]
fn opening_writes_nothing() {
    let disk = written(20, false, &LogConfig::default());
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        read_all(&log).await;
    });
    let writes = disk
        .trace()
        .into_iter()
        .filter(|kind| {
            !matches!(
                kind,
                OperationKind::Open | OperationKind::Read | OperationKind::List
            )
        })
        .count();
    assert_eq!(writes, 0);
}
