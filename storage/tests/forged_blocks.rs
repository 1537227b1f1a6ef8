//! A producer that stores commit blocks inside its records: none of them is ever taken for a real one.

mod support;

use corelane_format::kafka::{BATCH_HEADER_BYTES, stamp_offset};
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader, LeaderEpoch, Offset};
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::segment_header::SegmentHeader;
use corelane_storage::{LogConfig, RecoveryReport};
use support::*;

/// The offset of the batch that carries the forgeries.
const CARRIER: i64 = 5;

/// What a producer may know or guess: everything but the generation's random half.
struct Forgery {
    generation: u64,
    first_offset: i64,
    flushed_offset: i64,
    body_length: Option<u32>,
}

impl Forgery {
    /// A block with a sound batch.
    fn bytes(&self) -> Vec<u8> {
        let mut batch = Batch::new("forged", 1).bytes();
        stamp_offset(
            &mut batch,
            Offset::new(self.first_offset),
            LeaderEpoch::new(3),
        );
        let header = CommitBlockHeader {
            flags: 1,
            log_id: LOG.get(),
            generation: self.generation,
            first_offset: self.first_offset,
            flushed_offset: self.flushed_offset,
            body_length: self.body_length.unwrap_or(batch.len() as u32),
            body_checksum: corelane_format::checksum::crc32c(&batch[..21]),
            ..CommitBlockHeader::new()
        };
        let mut block = [0; COMMIT_BLOCK_HEADER_BYTES];
        header.encode(&mut block);
        let mut out = block.to_vec();
        out.extend_from_slice(&batch);
        assert!(batch.len() > BATCH_HEADER_BYTES);
        out
    }

    /// A record value that holds the block at every place modulo 64, so that one of them is where a block may stand.
    fn value(&self) -> Vec<u8> {
        let block = self.bytes();
        let mut value = b"carrier/".to_vec();
        for shift in 0..64 {
            while value.len() % 64 != shift {
                value.push(0);
            }
            value.extend_from_slice(&block);
        }
        value
    }
}

/// A log of six batches, each durable alone; the last one carries `value`, and its block is then torn at its header.
/// Power fails, and the log is opened and read.
fn recover_with(value: impl FnOnce(&SegmentHeader) -> Vec<u8>) -> (RecoveryReport, Vec<String>) {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        for index in 0..CARRIER {
            append_durably(&log, &Batch::new(format!("b{index}"), 1)).await;
        }
        let content = disk.content(&segment(0)).expect("a segment");
        let header = SegmentHeader::decode(&content[..4096]).expect("a header");
        let value = value(&header);
        let mut builder = corelane_format::kafka::BatchBuilder::new();
        let now = corelane_format::TimestampMs::new(1000);
        builder
            .append(now, None, Some(&value), &[])
            .expect("a record");
        let mut bytes = Vec::new();
        builder.finish_into(&mut bytes).expect("a batch");
        let carrier = append_bytes(&log, &bytes, 1000).expect("appended");
        assert_eq!(carrier.base_offset, Offset::new(CARRIER));
        log.wait_readable(carrier.end_offset())
            .await
            .expect("durable");
    });
    let disk = disk.crash(Survival::None);
    let mut content = disk.content(&segment(0)).expect("a segment");
    let header = SegmentHeader::decode(&content[..4096]).expect("a header");
    let torn = block_positions(&content)
        .into_iter()
        .find(|at| {
            CommitBlockHeader::decode(&content[*at..]).is_ok_and(|block| {
                block.generation == header.generation && block.first_offset == CARRIER
            })
        })
        .expect("the carrier's block");
    content[torn + 4] ^= 1;
    disk.set_content(&segment(0), content);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, report) = open(&logs, LogConfig::default()).await;
        let end = log.readable_offset();
        let mut names = Vec::new();
        for offset in 0..end.get().min(100) {
            if let Ok(records) = read_range(&log, offset, Offset::new(offset + 1), 1000).await {
                names.extend(records.iter().map(Stored::name));
            }
        }
        // Where it goes on is decided, too.
        let next = append_durably(&log, &Batch::new("next", 1)).await;
        assert_eq!(next.base_offset, end);
        (report, names)
    })
}

/// The log ends before the torn block. With foreign headers in its body the rest passes for what an earlier use of the file
/// left, so nothing may be said of it; what is said must be right.
fn expect_cut(what: &str, report: &RecoveryReport, names: &[String]) {
    if let Some(torn) = &report.torn_tail {
        assert_eq!(torn.offset, Offset::new(CARRIER), "{what}: {report:?}");
    }
    assert_eq!(report.log_end_offset, Offset::new(CARRIER), "{what}");
    assert_eq!(report.quarantined, vec![], "{what}");
    let expected: Vec<String> = (0..CARRIER).map(|index| format!("b{index}")).collect();
    assert_eq!(names, expected, "{what}");
}

#[test]
fn everything_guessed_but_the_random_half_is_not_enough() {
    const COUNTER: u64 = 0xFFFF_FFFF_0000_0000;
    // What of the real number a guess takes over, and what it changes of it.
    let guesses = [
        ("zero", COUNTER, 0),
        ("ones", COUNTER, !COUNTER),
        ("one bit off", u64::MAX, 1),
        ("another counter", u64::MAX, 1 << 32),
        ("the random half alone", !COUNTER, 0),
    ];
    for (what, keep, change) in guesses {
        for first_offset in [CARRIER, CARRIER + 1, CARRIER + 2] {
            let (report, names) = recover_with(|header| {
                Forgery {
                    generation: header.generation & keep ^ change,
                    first_offset,
                    flushed_offset: first_offset,
                    body_length: None,
                }
                .value()
            });
            expect_cut(what, &report, &names);
        }
    }
}

/// The canary: were the generation known, the forgery would be served. So the tests above test something.
#[test]
fn the_random_half_is_what_keeps_them_out() {
    let (_, names) = recover_with(|header| {
        Forgery {
            generation: header.generation,
            first_offset: CARRIER + 1,
            flushed_offset: CARRIER + 1,
            body_length: None,
        }
        .value()
    });
    assert!(names.contains(&"forged".to_owned()), "{names:?}");
}

#[test]
fn offsets_and_lengths_that_cannot_be_are_refused_whatever_the_generation() {
    for (first_offset, body_length) in [
        (CARRIER + i64::from(i32::MAX), None),
        (i64::MAX - 1, None),
        (i64::MAX, None),
        (-1, None),
        (i64::MIN, None),
        (CARRIER + 1, Some(u32::MAX)),
        (CARRIER + 1, Some(u32::MAX - 63)),
        (CARRIER + 1, Some(0)),
    ] {
        let (report, names) = recover_with(|header| {
            Forgery {
                generation: header.generation,
                first_offset,
                flushed_offset: i64::MAX,
                body_length,
            }
            .value()
        });
        expect_cut(&format!("{first_offset} {body_length:?}"), &report, &names);
    }
}

#[test]
fn generations_differ_in_what_cannot_be_guessed() {
    let generation = |seed: u64| {
        let disk = MemoryDisk::new();
        let config = corelane_storage::LaneLogsConfig {
            seed,
            ..small_lane()
        };
        let logs = lane(&disk, config);
        run(&logs, async {
            let (log, _) = open(&logs, LogConfig::default()).await;
            append_durably(&log, &Batch::new("b", 1)).await;
        });
        let content = disk.content(&segment(0)).expect("a segment");
        SegmentHeader::decode(&content[..4096])
            .expect("a header")
            .generation
    };
    let (one, other) = (generation(1), generation(2));
    assert_eq!(one >> 32, 1);
    assert_eq!(other >> 32, 1);
    assert_ne!(one as u32, other as u32);
}
