//! Idempotent producers: sequences survive restarts and crashes.

mod support;

use corelane_format::Offset;
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::{AppendError, LogConfig};
use support::*;

fn check_answers(log: &Log) {
    let error = append_bytes(log, &Batch::new("x", 2).by(9, 0, 8).bytes(), 0).expect_err("known");
    assert!(
        matches!(error, AppendError::DuplicateSequence { base_offset, last_offset }
            if base_offset == Offset::new(8) && last_offset == Offset::new(9)),
        "{error}"
    );
    let error = append_bytes(log, &Batch::new("x", 2).by(9, 0, 30).bytes(), 0).expect_err("a gap");
    assert!(
        matches!(error, AppendError::OutOfOrderSequence { .. }),
        "{error}"
    );
    let error =
        append_bytes(log, &Batch::new("x", 2).by(11, 2, 0).bytes(), 0).expect_err("an old epoch");
    assert!(
        matches!(error, AppendError::InvalidProducerEpoch { .. }),
        "{error}"
    );
}

#[test]
fn sequences_survive() {
    // Cleanly closed, crashed, and crashed without any index.
    for (cleanly, drop_indexes) in [(true, false), (false, false), (false, true)] {
        for segment_size_bytes in [1 << 30, 6 << 10] {
            let disk = MemoryDisk::new();
            let config = LogConfig {
                segment_size_bytes,
                ..LogConfig::default()
            };
            let logs = lane(&disk, small_lane());
            run(&logs, async {
                let (log, _) = open(&logs, config.clone()).await;
                for index in 0..6 {
                    append_durably(&log, &Batch::new("b", 2).sized(500).by(9, 0, index * 2)).await;
                }
                append_durably(&log, &Batch::new("c", 1).by(11, 3, 0)).await;
                check_answers(&log);
                if cleanly {
                    logs.shutdown().await.expect("closed");
                }
            });
            let disk = disk.crash(Survival::None);
            if drop_indexes {
                for (path, _) in disk.files() {
                    if path
                        .extension()
                        .is_some_and(|extension| extension == "index")
                    {
                        disk.set_content(&path, vec![0; 4096]);
                    }
                }
            }
            let logs = lane(&disk, small_lane());
            run(&logs, async {
                let (log, _) = open(&logs, config.clone()).await;
                assert_eq!(log.log_end_offset(), Offset::new(13));
                check_answers(&log);
                let next = append_durably(&log, &Batch::new("b", 2).by(9, 0, 12)).await;
                assert_eq!(next.base_offset, Offset::new(13));
            });
        }
    }
}

#[test]
fn a_duplicate_is_recognised_before_the_original_is_durable() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        disk.hold_writes(true);
        append(&log, &Batch::new("b", 2).by(1, 0, 0));
        let error =
            append_bytes(&log, &Batch::new("b", 2).by(1, 0, 0).bytes(), 0).expect_err("known");
        assert!(matches!(error, AppendError::DuplicateSequence { .. }));
        assert_eq!(log.log_end_offset(), Offset::new(2), "appended once");
        disk.hold_writes(false);
        log.wait_readable(Offset::new(2)).await.expect("durable");
    });
}

#[test]
fn truncated_batches_are_forgotten() {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        append_durably(&log, &Batch::new("b", 2).by(1, 0, 0)).await;
        append_durably(&log, &Batch::new("b", 2).by(1, 0, 2)).await;
        log.truncate(Offset::new(2)).await.expect("truncated");
        append_durably(&log, &Batch::new("b", 2).by(1, 0, 2)).await;
    });
}
