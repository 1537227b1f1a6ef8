//! What a fuzzer runs: one plain function a parser, for cargo-fuzz and for the harness on the stable toolchain alike.
//!
//! Each function feeds arbitrary bytes to a parser and asserts what must hold for any input: no panic, no output beyond
//! the limits, and, for input that is accepted, that converting it there and back changes nothing. As random bytes hardly
//! ever carry a right checksum, each parser also gets the input with its lengths and checksums repaired.

pub mod mutation;

use std::str::FromStr;

use rkyv::util::AlignedVec;

use crate::checksum::{crc32c, crc32c_append};
use crate::commit_block::{
    COMMIT_BLOCK_HEADER_BYTES, COMMIT_BLOCK_MAGIC, COMMIT_BLOCK_VERSION, CommitBlockHeader,
};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicId};
use crate::kafka::{
    BATCH_HEADER_BYTES, BATCH_PREFIX_BYTES, BatchBuilder, BatchHeader, BatchLimits, BuildError,
    Compression, DecompressLimits, Record, RecordError, SplitBatch, ValidatedBatch, compress,
    compression::{decompress_into, decompressed},
    records, split_first_batch, stamp_max_timestamp, stored_batches, validate_batch,
    validate_client_batch, validate_record_section,
};
use crate::native::{
    ConvertError, NATIVE_ALIGNMENT, NATIVE_HEADER_BYTES, NativeBatch, NativeBatchBuilder,
    kafka_to_native, native_to_kafka, repair, split_first_native,
};

/// A target: asserts what must hold for any input.
pub type Target = fn(&[u8]);

/// Every target, by the name that its fuzz target has too.
pub const TARGETS: [(&str, Target); 6] = [
    ("validate_batch", fuzz_validate_batch),
    ("split_batches", fuzz_split_batches),
    ("records", fuzz_records),
    ("decompress", fuzz_decompress),
    ("native_batch", fuzz_native_batch),
    ("commit_block", fuzz_commit_block),
];

const BATCH_LIMITS: BatchLimits = BatchLimits {
    size_bytes_max: 1 << 20,
    records_max: 100_000,
};
/// Small, so that reaching it is cheap.
const DECOMPRESS_LIMITS: DecompressLimits = DecompressLimits {
    size_bytes_max: 256 << 10,
    ratio_max: 1000,
};

/// The produce path: validation, and everything behind it for batches that pass.
pub fn fuzz_validate_batch(data: &[u8]) {
    check_batch(data);
    if data.len() >= BATCH_HEADER_BYTES {
        let mut repaired = data.to_vec();
        repair_batch(&mut repaired);
        check_batch(&repaired);
    }
}

/// The read path: sequences of stored batches.
pub fn fuzz_split_batches(data: &[u8]) {
    let mut bytes = 0;
    for batch in stored_batches(data) {
        let Ok(batch) = batch else { break };
        bytes += batch.bytes().len();
        assert_eq!(batch.bytes().len(), batch.header().size_bytes());
        let _ = batch.verify_crc();
        walk(batch.header(), batch.records_section());
    }
    assert!(bytes <= data.len());
    if let Ok(SplitBatch::Incomplete { needed_bytes }) = split_first_batch(data) {
        assert!(needed_bytes > data.len());
    }
    let _ = std::str::from_utf8(data).map(TopicId::from_str);
    let _ = std::str::from_utf8(data).map(Compression::from_str);
}

/// A records section whose header declares what the first bytes say.
pub fn fuzz_records(data: &[u8]) {
    let Some((head, section)) = data.split_first_chunk::<4>() else {
        return;
    };
    let header = BatchHeader {
        base_offset: Offset::ZERO,
        batch_length: i32::MAX,
        partition_leader_epoch: LeaderEpoch::UNKNOWN,
        magic: 2,
        crc: 0,
        attributes: crate::kafka::Attributes::new(i16::from(head[0] & 0b1000)),
        last_offset_delta: i32::from(head[1]),
        base_timestamp: TimestampMs::new(i64::from(head[2]) << 56),
        max_timestamp: TimestampMs::NONE,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: Sequence::NONE,
        records_count: i32::from(head[3].cast_signed()),
    };
    walk(&header, section);
}

/// Every codec; the first byte chooses.
pub fn fuzz_decompress(data: &[u8]) {
    let Some((choice, input)) = data.split_first() else {
        return;
    };
    let codec = Compression::ALL[*choice as usize % Compression::ALL.len()];
    let mut out = Vec::new();
    let limit = DECOMPRESS_LIMITS.limit_bytes(input.len());
    let done = decompress_into(codec, input, DECOMPRESS_LIMITS, &mut out);
    assert!(
        out.len() <= limit,
        "{} bytes from {codec}, limit {limit}",
        out.len()
    );
    assert!(
        out.capacity() <= 2 * limit + 4096,
        "{} bytes taken for {codec}",
        out.capacity()
    );
    if done.is_ok() {
        let mut again = Vec::new();
        compress(codec, &out, &mut again).expect("in memory");
        let mut back = Vec::new();
        // What we wrote ourselves may have a better ratio than what came in.
        let limits = DecompressLimits {
            size_bytes_max: out.len(),
            ratio_max: usize::MAX,
        };
        decompress_into(codec, &again, limits, &mut back).expect("our own output");
        assert_eq!(back, out);
    }
}

/// The native batch, also with its checksums repaired.
pub fn fuzz_native_batch(data: &[u8]) {
    let mut aligned = AlignedVec::<NATIVE_ALIGNMENT>::new();
    aligned.extend_from_slice(data);
    check_native(&aligned);
    let size_bytes = data.len() / NATIVE_ALIGNMENT * NATIVE_ALIGNMENT;
    if size_bytes >= NATIVE_HEADER_BYTES {
        aligned.resize(size_bytes, 0);
        repair(&mut aligned);
        check_native(&aligned);
    }
}

/// The commit block's header, also with its checksum repaired.
pub fn fuzz_commit_block(data: &[u8]) {
    if let Ok(header) = CommitBlockHeader::decode(data) {
        let _ = header.verify_body(&data[COMMIT_BLOCK_HEADER_BYTES..]);
    }
    if let Some(header) = data.first_chunk::<COMMIT_BLOCK_HEADER_BYTES>() {
        let mut bytes = *header;
        bytes[..4].copy_from_slice(&COMMIT_BLOCK_MAGIC.to_le_bytes());
        bytes[4..6].copy_from_slice(&COMMIT_BLOCK_VERSION.to_le_bytes());
        let checksum = crc32c_append(crc32c(&bytes[..56]), &bytes[60..]);
        bytes[56..60].copy_from_slice(&checksum.to_le_bytes());
        let decoded = CommitBlockHeader::decode(&bytes).expect("repaired");
        let _ = (
            decoded.last_offset(),
            decoded.verify_body(&data[COMMIT_BLOCK_HEADER_BYTES..]),
        );
        let mut again = [0; COMMIT_BLOCK_HEADER_BYTES];
        decoded.encode(&mut again);
        assert_eq!(again, bytes);
    }
}

fn repair_batch(bytes: &mut [u8]) {
    let length = (bytes.len() - BATCH_PREFIX_BYTES) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    if let Ok(header) = BatchHeader::parse(bytes) {
        // Writes what is there already, and the right CRC.
        stamp_max_timestamp(bytes, header.max_timestamp);
    }
}

fn check_batch(bytes: &[u8]) {
    let Ok(batch) = validate_batch(bytes, &BATCH_LIMITS) else {
        return;
    };
    let header = batch.header();
    let mut encoded = [0; BATCH_HEADER_BYTES];
    header.encode_into(&mut encoded);
    assert_eq!(encoded, bytes[..BATCH_HEADER_BYTES]);
    let _ = validate_client_batch(&batch);
    let _ = (
        header.last_offset(),
        header.next_offset(),
        header.last_sequence(),
    );
    let Ok(section) = decompressed(
        batch.compression(),
        batch.records_section(),
        DECOMPRESS_LIMITS,
    ) else {
        return;
    };
    if walk(header, &section) {
        check_conversion(&batch, &section);
    }
}

/// Reads all records and headers; whether they were sound.
fn walk(header: &BatchHeader, section: &[u8]) -> bool {
    let mut bytes = 0;
    let mut count = 0;
    let mut sound = true;
    for record in records(header, section) {
        match record {
            Ok(record) => {
                count += 1;
                bytes += payload_bytes(&record);
            }
            Err(_) => sound = false,
        }
    }
    assert!(bytes <= section.len() && count <= header.records_count.max(0));
    assert_eq!(validate_record_section(header, section).is_ok(), sound);
    sound
}

fn payload_bytes(record: &Record<'_>) -> usize {
    let mut headers = 0;
    let mut headers_bytes = 0;
    for header in record.headers {
        headers += 1;
        headers_bytes += header.key.len() + header.value.map_or(0, <[u8]>::len);
    }
    assert_eq!(headers, record.headers.len());
    headers_bytes + record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
}

/// Kafka to native and back keeps every record.
fn check_conversion(batch: &ValidatedBatch<'_>, section: &[u8]) {
    let header = batch.header();
    let kept = |record: Result<Record<'_>, RecordError>| record.is_ok();
    let mut native_builder = NativeBatchBuilder::new();
    let native = kafka_to_native(header, section, &mut native_builder).expect("sound records");
    let opened = NativeBatch::open(native, &BATCH_LIMITS_WIDE).expect("our own output");
    assert!(
        opened
            .records()
            .map(|record| record.expect("our own output"))
            .eq(records(header, section).map(|record| record.expect("sound records")))
    );
    let mut builder = BatchBuilder::new();
    let mut bytes = Vec::new();
    match native_to_kafka(&opened, &mut builder, &mut bytes) {
        Ok(converted) => {
            let again = validate_batch(&bytes, &BATCH_LIMITS_WIDE).expect("our own output");
            assert_eq!(*again.header(), converted);
            assert!(records(&converted, again.records_section()).all(kept));
            assert!(
                records(&converted, again.records_section())
                    .flatten()
                    .eq(records(header, section).flatten())
            );
        }
        // The broker's time can lie beyond any delta from a base timestamp that a client made up.
        Err(ConvertError::KafkaBuild(BuildError::Timestamp { .. })) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Our own output is not held to the limits of what comes in.
const BATCH_LIMITS_WIDE: BatchLimits = BatchLimits::NONE;

fn check_native(bytes: &[u8]) {
    let _ = split_first_native(bytes);
    let Ok(batch) = NativeBatch::open(bytes, &BATCH_LIMITS) else {
        return;
    };
    let sound = batch.validate_records().is_ok();
    let count = batch.records().take_while(Result::is_ok).count();
    assert!(count <= batch.header().records_count as usize);
    assert!(!sound || count == batch.header().records_count as usize);
    let payload: usize = batch
        .records()
        .flatten()
        .map(|record| payload_bytes(&record))
        .sum();
    assert!(payload <= bytes.len());

    let mut out = Vec::new();
    match native_to_kafka(&batch, &mut BatchBuilder::new(), &mut out) {
        Ok(header) => {
            let Ok(SplitBatch::Whole {
                batch: stored,
                rest: [],
            }) = split_first_batch(&out)
            else {
                panic!("our own output is not one batch");
            };
            assert_eq!(stored.verify_crc(), Ok(()));
            let converted = records(&header, stored.records_section());
            assert!(
                converted
                    .map(|record| record.expect("our own output"))
                    .eq(batch.records().map(|record| record.expect("sound records")))
            );
        }
        Err(_) => assert!(out.is_empty()),
    }
}
