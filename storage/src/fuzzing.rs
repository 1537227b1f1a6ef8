//! What a fuzzer runs over the files of a log and of a journal: one plain function a parser, for cargo-fuzz and for the harness on
//! the stable toolchain alike.
//!
//! Each function feeds arbitrary bytes to a parser and asserts what must hold for any input: no panic, no sum that
//! overflows, and, for input that is accepted, that writing it and reading it again changes nothing. As random bytes
//! hardly ever carry a right checksum, each parser also gets the input with its checksums repaired ([`repair`]).

use corelane_format::kafka::stored_batches;
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, LogId, Offset, TimestampMs};

pub use corelane_format::fuzzing::Target;

use crate::block::{BlockAt, check_block, place_of_batch};
use crate::bytes::Reader;
use crate::compaction::checkpoint;
use crate::disk::PAGE_BYTES;
use crate::journal::block::parse_block;
use crate::journal::header::JournalFileHeader;
use crate::journal::scan::{missing_sequences, scan_file};
use crate::log::cut::Cut;
use crate::producer_state::ProducerState;
use crate::region::candidates;
use crate::segment_header::SegmentHeader;
use crate::segment_meta::{IndexEntry, SegmentMeta, decode_entries, encode_entries};
use crate::sidecar::{Sidecar, decode_log_start, encode_log_start};

pub mod repair;

/// Every target, by the name that its fuzz target has too.
pub const TARGETS: [(&str, Target); 7] = [
    ("sidecar", fuzz_sidecar),
    ("producer_state", fuzz_producer_state),
    ("segment_header", fuzz_segment_header),
    ("segment_block", fuzz_segment_block),
    ("small_files", fuzz_small_files),
    ("journal_block", fuzz_journal_block),
    ("journal_file", fuzz_journal_file),
];

/// Offsets and timestamps at which sums go wrong.
const EDGES: [i64; 9] = [
    i64::MIN,
    i64::MIN + 1,
    -1,
    0,
    1,
    1 << 31,
    (1 << 31) + 1,
    i64::MAX - 1,
    i64::MAX,
];

/// A sidecar, and checkpoints, which have the same bytes.
pub fn fuzz_sidecar(data: &[u8]) {
    check_sidecar(data);
    let mut repaired = data.to_vec();
    if repair::sealed(&mut repaired, *b"CLix", 2).is_some() {
        check_sidecar(&repaired);
    }
}

/// What a sidecar says of idempotent producers.
pub fn fuzz_producer_state(data: &[u8]) {
    let Some(mut producers) = ProducerState::decode(&mut Reader(data)) else {
        return;
    };
    let mut encoded = Vec::new();
    producers.encode(&mut encoded);
    assert!(encoded.len() <= data.len());
    let again = ProducerState::decode(&mut Reader(&encoded));
    assert_eq!(again.as_ref(), Some(&producers));
    assert_eq!(producers.iter().count(), producers.len());
    for edge in EDGES {
        let _ = producers.last_batches(Offset::new(edge));
    }
    for edge in EDGES.into_iter().rev() {
        producers.expire(TimestampMs::new(edge));
        producers.truncate(Offset::new(edge));
    }
}

/// The header page of a segment.
pub fn fuzz_segment_header(data: &[u8]) {
    check_segment_header(data);
    let mut repaired = data.to_vec();
    if repair::segment_header(&mut repaired).is_some() {
        assert!(check_segment_header(&repaired), "repaired");
    }
}

/// A commit block of a segment with its batches, whoever's it says it is.
pub fn fuzz_segment_block(data: &[u8]) {
    let Some(header) = data.first_chunk::<COMMIT_BLOCK_HEADER_BYTES>() else {
        return;
    };
    let mut bytes = data.to_vec();
    // Whether it claims more than there is, the input says.
    if header[63] % 4 == 0 {
        bytes.resize(bytes.len() + 4096, 0);
    }
    repair::commit_block(&mut bytes).expect("a header");
    bytes.truncate(data.len());
    let read = |at: usize| i64::from_le_bytes(*bytes[at..].first_chunk().unwrap_or(&[0; 8]));
    let decoded = corelane_format::CommitBlockHeader::decode(&bytes).expect("repaired");
    for base_offset in EDGES.into_iter().chain([read(0), decoded.first_offset]) {
        let segment = SegmentHeader {
            log_id: LogId::new(decoded.log_id),
            generation: decoded.generation,
            base_offset: Offset::new(base_offset),
            history: 0,
        };
        let mut meta = SegmentMeta::new(segment);
        let mut batches_bytes = 0;
        let at = check_block(&bytes, &segment, |batch, position| {
            let place = place_of_batch(&bytes[position..]).expect("it was walked");
            assert_eq!(place.size_bytes, batch.size_bytes());
            meta.add_batch(batch);
            batches_bytes += batch.size_bytes();
        });
        match at {
            BlockAt::Valid(header) => {
                assert_eq!(batches_bytes, header.body_length as usize);
                assert!(meta.end_offset.get() <= header.last_offset() + 1);
            }
            BlockAt::NeedMore { size_bytes } => assert!(size_bytes > bytes.len()),
            BlockAt::Bad(error) => assert!(!error.to_string().is_empty()),
        }
        let other = SegmentHeader {
            generation: decoded.generation.wrapping_add(1),
            ..segment
        };
        assert!(matches!(
            check_block(&bytes, &other, |_, _| {}),
            BlockAt::Bad(_)
        ));
    }
    let _ = check_block(
        data,
        &SegmentHeader {
            log_id: LogId::new(u64::from(header[0])),
            generation: 0,
            base_offset: Offset::ZERO,
            history: 0,
        },
        |_, _| {},
    );
}

/// `log-start`, `cut` and `cleaner-offset`.
pub fn fuzz_small_files(data: &[u8]) {
    check_small_files(data);
    let mut repaired = data.to_vec();
    if repair::sealed(&mut repaired, *b"CLls", 1).is_some() {
        check_small_files(&repaired);
    }
    if repair::sealed(&mut repaired, *b"CLco", 1).is_some() {
        check_small_files(&repaired);
    }
    if repair::cut(&mut repaired).is_some() {
        check_small_files(&repaired);
    }
}

/// A block of a journal.
pub fn fuzz_journal_block(data: &[u8]) {
    check_journal_block(data);
    let mut repaired = data.to_vec();
    if repair::journal_block(&mut repaired, 0).is_some() {
        check_journal_block(&repaired);
    }
}

/// A whole file of a journal: its header and what stands at each page.
pub fn fuzz_journal_file(data: &[u8]) {
    check_journal_file(data);
    let mut repaired = data.to_vec();
    // Whether the header counts, the first bytes say.
    if data.first().is_some_and(|byte| byte % 4 != 0) {
        repair::journal_header(&mut repaired);
    }
    for at in (PAGE_BYTES..repaired.len()).step_by(PAGE_BYTES) {
        repair::journal_block(&mut repaired, at);
    }
    check_journal_file(&repaired);
}

fn check_sidecar(bytes: &[u8]) {
    let _ = Sidecar::head_bytes(bytes);
    let Some(sidecar) = Sidecar::decode(bytes) else {
        assert!(Sidecar::decode_whole(bytes).is_none());
        return;
    };
    let head_bytes = Sidecar::head_bytes(bytes).expect("it decodes");
    assert!(head_bytes <= bytes.len());
    let range = sidecar.entries_range();
    assert!(range.start <= range.end && range.start >= head_bytes as u64);
    let index = usize::try_from(range.start)
        .ok()
        .and_then(|start| bytes.get(start..));
    let index = index.unwrap_or(&[]);
    let _ = sidecar.decode_entries(index);
    // An index whose checksum is right may hold anything too.
    let mut entries = decode_entries(index);
    assert_eq!(decode_entries(&encode_entries(&entries)), entries);
    entries.truncate(sidecar.meta.saved_entries());
    check_meta(&sidecar.meta, &entries);
    if let Some(whole) = Sidecar::decode_whole(bytes) {
        assert_eq!(whole.meta.saved_entries(), 0);
        check_meta(&whole.meta, &[]);
        let all = whole.meta.all_entries(&[]).expect("in memory");
        let written = Sidecar::encode(&whole.meta, &all, &whole.producers);
        let again = Sidecar::decode_whole(&written).expect("our own bytes");
        assert_eq!(again.meta, whole.meta);
        assert_eq!(again.producers, whole.producers);
    }
}

/// Everything that a log does with what a sidecar says.
fn check_meta(meta: &SegmentMeta, saved: &[IndexEntry]) {
    let mut around = vec![meta.base_offset(), meta.end_offset];
    around.extend(
        meta.gaps
            .iter()
            .take(4)
            .flat_map(|gap| [gap.start, gap.end]),
    );
    for offset in around.iter().copied() {
        let _ = meta.seek_offset(offset, saved);
        let _ = meta.gap_at(offset);
    }
    for edge in EDGES {
        let _ = meta.seek_timestamp(TimestampMs::new(edge), saved);
        let _ = meta.gap_at(Offset::new(edge));
    }
    for gap in meta.gaps.iter().take(4) {
        assert!(gap.end.minus(gap.start) >= 0);
    }
    for index in 0..3 {
        let _ = meta.index_entry(index);
    }
    let _ = (meta.is_emptied(), meta.heap_bytes());
    assert!(candidates(meta.end_position).all(|position| position >= meta.end_position));
    let mut grown = meta.clone();
    for offset in around {
        grown.cut(offset);
        grown.begin_block(grown.end_position, grown.end_offset, 0);
        grown.end_block(grown.end_position + 1, 0);
        let end = grown.end_offset;
        grown.quarantine(end..end.plus(1));
        let _ = grown.all_entries(saved);
    }
    grown.restore_entries(saved.to_vec());
    let mut encoded = Vec::new();
    meta.encode(&mut encoded);
    let mut again = SegmentMeta::decode(&mut Reader(&encoded)).expect("our own bytes");
    again.is_cut = meta.is_cut;
    assert_eq!(again.gaps, meta.gaps);
    assert_eq!(again.end_offset, meta.end_offset);
}

fn check_segment_header(page: &[u8]) -> bool {
    let Ok(header) = SegmentHeader::decode(page) else {
        return false;
    };
    assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    let _ = header.chain_seed();
    true
}

fn check_small_files(bytes: &[u8]) {
    if let Some((log_id, offset)) = decode_log_start(bytes) {
        assert!(offset >= Offset::ZERO && offset.get() < i64::MAX);
        let written = encode_log_start(log_id, offset);
        assert_eq!(decode_log_start(&written), Some((log_id, offset)));
        if let Some(cleaned) = checkpoint::decode(bytes, log_id) {
            panic!("a log start is no cleaner offset: {cleaned}");
        }
    }
    let told = bytes.get(16..24).and_then(|bytes| bytes.try_into().ok());
    let log_id = LogId::new(u64::from_le_bytes(told.unwrap_or_default()));
    if let Some(offset) = checkpoint::decode(bytes, log_id) {
        assert!(offset >= Offset::ZERO);
        let written = checkpoint::encode(log_id, offset);
        assert_eq!(checkpoint::decode(&written, log_id), Some(offset));
    }
    if let Some(cut) = Cut::decode(bytes) {
        assert!(cut.end >= Offset::ZERO && cut.end.get() < i64::MAX && cut.history < u64::MAX);
        assert_eq!(Cut::decode(&cut.encode()), Some(cut));
    }
}

fn check_journal_block(bytes: &[u8]) {
    let Some(block) = parse_block(bytes) else {
        return;
    };
    assert!(block.live.len() <= bytes.len() && block.entries.len() <= bytes.len());
    let mut end = 0;
    for entry in &block.entries {
        assert!(entry.batches.start >= end && entry.batches.end <= bytes.len());
        assert!(entry.header.first_offset >= Offset::ZERO);
        assert!(entry.header.end_offset.minus(entry.header.first_offset) > 0);
        end = entry.batches.end;
        for batch in stored_batches(&bytes[entry.batches.clone()]) {
            let Ok(batch) = batch else { break };
            let _ = batch.verify_crc();
        }
    }
    let mut found = vec![block.header.sequence];
    let _ = missing_sequences(&mut found, &block.live, &[]);
}

fn check_journal_file(bytes: &[u8]) {
    if let Some(header) = JournalFileHeader::decode(bytes) {
        assert_eq!(
            JournalFileHeader::decode(&header.encode()).as_ref(),
            Some(&header)
        );
    }
    let scanned = scan_file(bytes);
    let mut found: Vec<u64> = scanned.blocks.iter().map(|block| block.sequence).collect();
    assert!(found.is_sorted_by(|earlier, later| earlier < later));
    for block in &scanned.blocks {
        for entry in &block.entries {
            assert!(entry.batches.start <= entry.batches.end && entry.batches.end <= bytes.len());
        }
    }
    for range in &scanned.damaged {
        assert!(range.start < range.end && range.end <= bytes.len() as u64);
    }
    let live = scanned.blocks.last().map(|block| block.live.clone());
    let settled = std::slice::from_ref(&scanned.settled);
    for missing in missing_sequences(&mut found, &live.unwrap_or_default(), settled) {
        assert!(missing.start < missing.end);
    }
}
