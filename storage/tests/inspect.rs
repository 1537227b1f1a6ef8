//! Looking into a log's files without opening it: what is found, where, and that sound files stay unblamed.

mod support;

use std::path::{Path, PathBuf};

use corelane_format::checksum::crc32c;
use corelane_format::kafka::Compression;
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader, LogId, Offset};
use corelane_storage::LogConfig;
use corelane_storage::disk::Disk;
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::inspect::{
    Finding, FindingKind, LogSummary, Severity, VerifyOptions, VerifySink, quarantined_ranges,
    verify_log,
};
use futures_lite::future::block_on;
use support::*;

#[derive(Default)]
struct Gathered {
    findings: Vec<Finding>,
    bytes: u64,
}

impl VerifySink for Gathered {
    fn finding(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn bytes_read(&mut self, size_bytes: u64) {
        self.bytes += size_bytes;
    }
}

fn verify_only(disk: &MemoryDisk, only: Option<Offset>) -> (LogSummary, Vec<Finding>) {
    let mut gathered = Gathered::default();
    let options = VerifyOptions { records: true };
    let directory = directory();
    let check = verify_log(disk, &directory, Some(LOG), only, options, &mut gathered);
    let summary = block_on(check).expect("listed");
    assert!(gathered.bytes > 0, "progress is told");
    (summary, gathered.findings)
}

fn verify(disk: &MemoryDisk) -> (LogSummary, Vec<Finding>) {
    verify_only(disk, None)
}

/// Kind, file name, and offsets of each finding.
fn told(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| {
            let name = finding.path.file_name().unwrap_or_default();
            let offsets = finding.offsets.as_ref();
            let offsets = offsets.map_or_else(String::new, |range| {
                format!(" {}..{}", range.start, range.end)
            });
            format!("{} {}{offsets}", finding.kind.name(), name.display())
        })
        .collect()
}

/// 60 durable batches of one record in several segments, with codecs taking turns; closed cleanly or cut off from power.
fn written(cleanly: bool) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, small_lane());
    let config = LogConfig {
        segment_size_bytes: 8 << 10,
        ..LogConfig::default()
    };
    run(&logs, async {
        let (log, _) = open(&logs, config).await;
        for index in 0..60 {
            let codec = Compression::ALL[index % Compression::ALL.len()];
            let batch = Batch::new(format!("b{index}"), 1).sized(400);
            append_durably(&log, &batch.at(1000 + index as i64).compressed(codec)).await;
        }
        if cleanly {
            logs.shutdown().await.expect("closed");
        }
    });
    disk.crash(Survival::None)
}

/// Base offsets of the segments.
fn bases(disk: &MemoryDisk) -> Vec<i64> {
    (0..60)
        .filter(|base| exists(disk, &segment(*base)))
        .collect()
}

fn change(disk: &MemoryDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = disk.content(path).expect("the file");
    change(&mut content);
    disk.set_content(path, content);
}

fn remove(disk: &MemoryDisk, path: &Path) {
    block_on(disk.delete(path)).expect("removed");
}

fn index(base: i64) -> PathBuf {
    directory().join(format!("{base:020}.index"))
}

#[test]
fn sound_logs_are_found_sound() {
    for cleanly in [true, false] {
        let disk = written(cleanly);
        let (summary, findings) = verify(&disk);
        assert_eq!(told(&findings), Vec::<String>::new(), "cleanly {cleanly}");
        let segments = bases(&disk).len() as u64;
        assert!(segments > 3, "{segments}");
        assert_eq!(
            (summary.segments, summary.records, summary.batches),
            (segments, 60, 60)
        );
        assert_eq!(summary.log_end_offset, Offset::new(60));
        assert_eq!(summary.sidecars, segments - u64::from(!cleanly));
        assert_eq!(summary.offsets_damaged, 0);
    }
}

/// Every block of every segment, damaged in its header and in its batch: found at exactly that block, and by exactly the verdict
/// that a start comes to.
#[test]
fn each_damaged_block_is_found_where_it_is_and_judged_as_at_a_start() {
    let sound = written(true);
    let bases = bases(&sound);
    for (segment_index, base) in bases.iter().enumerate() {
        let content = sound.content(&segment(*base)).expect("a segment");
        for (block_index, block) in block_positions(&content).into_iter().enumerate() {
            for at in [
                8,
                COMMIT_BLOCK_HEADER_BYTES + 3,
                COMMIT_BLOCK_HEADER_BYTES + 70,
            ] {
                let disk = written(true);
                change(&disk, &segment(*base), |bytes| bytes[block + at] ^= 0x20);
                let (summary, findings) = verify(&disk);
                let offset = base + block_index as i64;
                let expected = format!("damaged-records {base:020}.log {offset}..{}", offset + 1);
                assert_eq!(told(&findings), [expected], "block at {block}, byte {at}");
                assert_eq!(
                    findings[0].position.map(|at| at.next_multiple_of(64)),
                    Some(block as u64)
                );
                assert_eq!(summary.offsets_damaged, 1);
                assert_eq!(summary.log_end_offset, Offset::new(60));
                if segment_index + 1 == bases.len() {
                    // The last segment is scanned only behind a sidecar that fits; without it the start must agree.
                    remove(&disk, &index(*base));
                    if offset < 59 {
                        let logs = lane(&disk, small_lane());
                        run(&logs, async {
                            let (_, report) = open(&logs, LogConfig::default()).await;
                            assert_eq!(
                                report.quarantined,
                                [Offset::new(offset)..Offset::new(offset + 1)]
                            );
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn a_torn_tail_is_a_note_and_stale_bytes_behind_the_tail_are_nothing() {
    let disk = written(false);
    let last = *bases(&disk).last().expect("a segment");
    let content = disk.content(&segment(last)).expect("a segment");
    let block = *block_positions(&content).last().expect("a block");
    change(&disk, &segment(last), |bytes| bytes[block + 100] ^= 1);
    let (summary, findings) = verify(&disk);
    assert_eq!(told(&findings), [format!("torn-tail {last:020}.log")]);
    assert_eq!(findings[0].kind.severity(), Severity::Note);
    assert_eq!(summary.log_end_offset, Offset::new(59));

    // What an earlier life of the file left behind the tail: a sound block of another generation.
    let disk = written(false);
    change(&disk, &segment(last), |bytes| {
        let mut stale = bytes[block..].to_vec();
        let mut header = CommitBlockHeader::decode(&stale).expect("a block");
        header.generation ^= 0x55;
        let mut encoded = [0; COMMIT_BLOCK_HEADER_BYTES];
        header.encode(&mut encoded);
        stale[..COMMIT_BLOCK_HEADER_BYTES].copy_from_slice(&encoded);
        let end = block + COMMIT_BLOCK_HEADER_BYTES + header.body_length as usize;
        bytes.truncate(end.next_multiple_of(64));
        bytes.extend_from_slice(&stale);
    });
    let (summary, findings) = verify(&disk);
    assert_eq!(told(&findings), Vec::<String>::new());
    assert_eq!(summary.log_end_offset, Offset::new(60));
}

#[test]
fn header_pages_foreign_files_and_small_files_are_checked() {
    type Change = fn(&mut Vec<u8>);
    let flip: Change = |bytes| bytes[20] ^= 1;
    let disk = written(true);
    let bases = bases(&disk);
    let (first, last) = (bases[0], *bases.last().expect("a segment"));
    let table: [(PathBuf, Change, String); 4] = [
        (
            segment(first),
            flip,
            format!("segment-header {first:020}.log"),
        ),
        (
            segment(last),
            flip,
            format!("segment-header {last:020}.log"),
        ),
        (index(first), flip, format!("sidecar {first:020}.index")),
        (
            index(last),
            |bytes| bytes.truncate(60),
            format!("sidecar {last:020}.index"),
        ),
    ];
    for (path, damage, expected) in table {
        let disk = written(true);
        change(&disk, &path, damage);
        let (summary, findings) = verify(&disk);
        let told = told(&findings);
        assert_eq!(told.first(), Some(&expected), "{told:?}");
        assert_eq!(
            (summary.records, summary.offsets_damaged),
            (60, 0),
            "no record is lost: {told:?}"
        );
    }

    // A segment of another log, and one under another's name.
    let disk = written(true);
    let mut gathered = Gathered::default();
    let other = Some(LogId::new(99));
    let directory = directory();
    let check = verify_log(
        &disk,
        &directory,
        other,
        None,
        VerifyOptions::default(),
        &mut gathered,
    );
    block_on(check).expect("listed");
    assert_eq!(gathered.findings.len(), bases.len());
    assert!(
        gathered
            .findings
            .iter()
            .all(|finding| finding.kind == FindingKind::ForeignFile)
    );
    let content = disk.content(&segment(bases[1])).expect("a segment");
    disk.set_content(&segment(bases[2]), content);
    let (summary, findings) = verify(&disk);
    let told = told(&findings);
    assert!(
        told.contains(&format!("segment-header {:020}.log", bases[2])),
        "{told:?}"
    );
    let lost = format!("damaged-records {0:020}.log {0}..{1}", bases[2], bases[3]);
    assert!(told.contains(&lost), "{told:?}");
    assert_eq!(summary.offsets_damaged, (bases[3] - bases[2]) as u64);
}

#[test]
fn a_sidecar_that_decodes_and_says_something_else_is_found() {
    let sound = written(true);
    let base = bases(&sound)[1];
    let mut checked = 0;
    let length = sound.content(&index(base)).expect("a sidecar").len();
    // Content of the sidecar: the extent, the chain, the timestamps, the index.
    for at in [48, 56, 64, 72, 76, 84] {
        assert!(at < length);
        let disk = written(true);
        change(&disk, &index(base), |bytes| {
            bytes[at] ^= 1;
            let content = u64::from_le_bytes(bytes[8..16].try_into().expect("eight")) as usize;
            let checksum = crc32c(&bytes[..16 + content]);
            bytes[16 + content..20 + content].copy_from_slice(&checksum.to_le_bytes());
        });
        let (_, findings) = verify(&disk);
        let told = told(&findings);
        let kind = if at == 48 { "stale-sidecar" } else { "sidecar" };
        assert_eq!(told, [format!("{kind} {base:020}.index")], "byte {at}");
        checked += 1;
    }
    assert_eq!(checked, 6);
}

#[test]
fn records_that_cannot_be_read_are_found_behind_sound_checksums() {
    let disk = written(false);
    let base = bases(&disk)[0];
    // The first batch claims two records and holds one; its checksums are right, as if a producer had sent it so.
    change(&disk, &segment(base), |bytes| {
        let batch = 4096 + COMMIT_BLOCK_HEADER_BYTES;
        bytes[batch + 57..batch + 61].copy_from_slice(&2_i32.to_be_bytes());
        let mut header = CommitBlockHeader::decode(&bytes[4096..]).expect("a block");
        let end = batch + header.body_length as usize;
        let crc = crc32c(&bytes[batch + 21..end]);
        bytes[batch + 17..batch + 21].copy_from_slice(&crc.to_be_bytes());
        header.body_checksum = crc32c(&bytes[batch..batch + 21]);
        let mut encoded = [0; COMMIT_BLOCK_HEADER_BYTES];
        header.encode(&mut encoded);
        bytes[4096..4096 + COMMIT_BLOCK_HEADER_BYTES].copy_from_slice(&encoded);
    });
    let (_, findings) = verify_only(&disk, Some(Offset::new(base)));
    let told = told(&findings);
    assert_eq!(
        told[0],
        format!("unreadable-records {base:020}.log 0..1"),
        "{told:?}"
    );
}

#[test]
fn what_a_start_quarantined_is_on_record_with_its_place() {
    let disk = written(true);
    let last = *bases(&disk).last().expect("a segment");
    let content = disk.content(&segment(last)).expect("a segment");
    let block = block_positions(&content)[1];
    change(&disk, &segment(last), |bytes| bytes[block + 100] ^= 1);
    remove(&disk, &index(last));
    let ranges =
        |disk: &MemoryDisk| block_on(quarantined_ranges(disk, &directory(), None)).expect("listed");
    assert_eq!(ranges(&disk), []);
    let logs = lane(&disk, small_lane());
    run(&logs, async {
        let (log, report) = open(&logs, LogConfig::default()).await;
        assert_eq!(report.quarantined.len(), 1);
        append_durably(&log, &Batch::new("next", 1)).await;
        logs.shutdown().await.expect("closed");
    });
    let (_, findings) = verify(&disk);
    let offsets = Offset::new(last + 1)..Offset::new(last + 2);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].offsets, Some(offsets.clone()));
    let recorded = ranges(&disk);
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(recorded[0].offsets, offsets);
    assert_eq!(recorded[0].position, findings[0].position);
}

/// A truncation that was stopped at any of its operations: what a check says of the log is what the next start does.
#[test]
fn a_pending_cut_is_judged_as_a_start_judges_it() {
    const CUT: i64 = 20;
    let written = written(false);
    let (mut pending, mut complete, mut whole) = (0, 0, 0);
    for operation in 0.. {
        let disk = written.crash(Survival::All);
        let logs = lane(&disk, small_lane());
        let finished = run_until_stalled(&logs, async {
            let (log, _) = open(&logs, LogConfig::default()).await;
            disk.stop_at(disk.operations() + operation);
            log.truncate(Offset::new(CUT)).await.expect("truncated");
        });
        for survival in [Survival::None, Survival::All] {
            let left = disk.crash(survival);
            let (summary, findings) = verify(&left);
            for finding in &findings {
                assert_eq!(
                    finding.kind.severity(),
                    Severity::Note,
                    "operation {operation}: {finding:?}"
                );
            }
            let has_mark = exists(&left, &directory().join("cut"));
            let told = told(&findings);
            assert_eq!(told.contains(&"leftover cut".to_owned()), has_mark);
            let logs = lane(&left, small_lane());
            run(&logs, async {
                let (log, report) = open(&logs, LogConfig::default()).await;
                assert_eq!(
                    (summary.log_start_offset, summary.log_end_offset),
                    (report.log_start_offset, report.log_end_offset),
                    "operation {operation}: {told:?}"
                );
                assert_eq!(summary.segments, log.segments() as u64, "{told:?}");
                assert_eq!(report.quarantined, []);
            });
            let ends = summary.log_end_offset.get();
            pending += usize::from(has_mark && told.len() > 1);
            complete += usize::from(ends == CUT);
            whole += usize::from(ends == 60);
        }
        if finished.is_some() {
            break;
        }
    }
    assert!(
        pending > 3 && complete > 3 && whole > 3,
        "{pending} {complete} {whole}"
    );
}

#[test]
fn a_damaged_or_foreign_mark_of_a_cut_is_damage() {
    let disk = written(false);
    let logs = lane(&disk, small_lane());
    run_until_stalled(&logs, async {
        let (log, _) = open(&logs, LogConfig::default()).await;
        // Create, write, flush, rename and sync of the mark.
        disk.stop_at(disk.operations() + 12);
        log.truncate(Offset::new(20)).await.expect("truncated");
    });
    let disk = disk.crash(Survival::All);
    let mark = directory().join("cut");
    assert!(exists(&disk, &mark));
    let mut gathered = Gathered::default();
    let options = VerifyOptions::default();
    let other = Some(LogId::new(99));
    let directory = directory();
    block_on(verify_log(
        &disk,
        &directory,
        other,
        None,
        options,
        &mut gathered,
    ))
    .expect("listed");
    assert!(told(&gathered.findings).contains(&"foreign-file cut".to_owned()));
    change(&disk, &mark, |bytes| bytes[20] ^= 1);
    let (_, findings) = verify(&disk);
    assert!(told(&findings).contains(&"cut-mark cut".to_owned()));
    assert_eq!(findings[0].kind.severity(), Severity::Damage);
}
