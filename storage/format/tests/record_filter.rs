//! What compaction leaves of a batch: the records that stay, byte for byte, and everything that a batch says besides.

mod support;

use corelane_format::kafka::{
    BatchBuilder, BatchHeader, BatchLimits, Compression, DecompressLimits, FilterScratch,
    SplitBatch, TimestampType, decompress, filter_batch, records, split_first_batch,
    stamp_log_append_time, stamp_offset,
};
use corelane_format::native::{
    NativeBatch, NativeBatchBuilder, filter_native_batch, kafka_to_native,
};
use corelane_format::record_filter::{BatchFacts, BatchRule, Filtered, RecordFilter};
use corelane_format::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use proptest::prelude::*;
use support::{OwnedRecord, any_records, append_all, owned};

const HORIZON: i64 = 9_000_000_000_000;

/// Keeps the records whose index into `keeps` says so.
struct Chosen<'a> {
    rule: BatchRule,
    keeps: &'a [bool],
    asked: usize,
}

impl RecordFilter for Chosen<'_> {
    fn batch(&mut self, _: &BatchFacts) -> BatchRule {
        self.rule
    }

    fn keeps(&mut self, _: &BatchFacts, _: &corelane_format::kafka::Record<'_>) -> bool {
        self.asked += 1;
        self.keeps[self.asked - 1]
    }

    fn delete_horizon(&self) -> TimestampMs {
        TimestampMs::new(HORIZON)
    }
}

fn batch(records: &[OwnedRecord], codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.compression(codec).producer(
        ProducerId::new(77),
        ProducerEpoch::new(3),
        Sequence::new(40),
    );
    append_all(&mut builder, records);
    let mut bytes = Vec::new();
    builder.finish_into(&mut bytes).unwrap();
    stamp_offset(&mut bytes, Offset::new(1000), LeaderEpoch::new(5));
    bytes
}

fn filter(bytes: &[u8], keeps: &[bool], rule: BatchRule) -> (Filtered, Vec<u8>) {
    let Ok(SplitBatch::Whole { batch, .. }) = split_first_batch(bytes) else {
        panic!("no batch");
    };
    let mut out = Vec::new();
    let mut chosen = Chosen {
        rule,
        keeps,
        asked: 0,
    };
    let filtered = filter_batch(
        &batch,
        DecompressLimits::default(),
        &mut chosen,
        &mut FilterScratch::default(),
        &mut out,
    )
    .unwrap();
    (filtered, out)
}

/// The header and the records with their offset deltas, checksum verified.
fn read(bytes: &[u8]) -> (BatchHeader, Vec<(i32, OwnedRecord)>) {
    let Ok(SplitBatch::Whole { batch, rest }) = split_first_batch(bytes) else {
        panic!("no batch");
    };
    assert!(rest.is_empty());
    batch.verify_crc().unwrap();
    let header = *batch.header();
    let codec = header.attributes.compression().unwrap();
    let section = decompress(codec, batch.records_section(), DecompressLimits::default()).unwrap();
    let records = records(&header, &section)
        .map(|record| {
            record
                .map(|record| (record.offset_delta, owned(&record)))
                .unwrap()
        })
        .collect();
    (header, records)
}

fn staying(records: &[OwnedRecord], keeps: &[bool]) -> Vec<(i32, OwnedRecord)> {
    (0..)
        .zip(records.iter().cloned())
        .zip(keeps)
        .filter_map(|(record, keeps)| keeps.then_some(record))
        .collect()
}

fn any_case() -> impl Strategy<Value = (Vec<OwnedRecord>, Vec<bool>, bool)> {
    any_records(12).prop_flat_map(|records| {
        let count = records.len();
        (
            Just(records),
            proptest::collection::vec(any::<bool>(), count),
            any::<bool>(),
        )
    })
}

proptest! {
    #[test]
    fn what_stays_is_untouched_with_every_codec((all, keeps, retains_empty) in any_case()) {
        for codec in Compression::ALL {
            let bytes = batch(&all, codec);
            let (before, _) = read(&bytes);
            let rule = BatchRule { retains_empty, ..BatchRule::default() };
            let (filtered, out) = filter(&bytes, &keeps, rule);
            let expected = staying(&all, &keeps);
            let dropped = (all.len() - expected.len()) as u32;
            let has_tombstone = expected.iter().any(|(_, record)| record.value.is_none());
            if expected.is_empty() {
                prop_assert_eq!(filtered, if retains_empty { Filtered::Emptied { dropped } } else { Filtered::Dropped { dropped } });
                prop_assert_eq!(out.is_empty(), !retains_empty);
            } else if dropped == 0 && !has_tombstone {
                prop_assert_eq!(filtered, Filtered::Unchanged);
                prop_assert!(out.is_empty());
            } else {
                prop_assert_eq!(filtered, Filtered::Rebuilt { dropped });
            }
            if out.is_empty() {
                continue;
            }
            let (after, got) = read(&out);
            prop_assert_eq!(&got, &expected);
            prop_assert_eq!(
                (after.base_offset, after.last_offset(), after.producer_id, after.producer_epoch, after.base_sequence, after.last_sequence(), after.partition_leader_epoch),
                (before.base_offset, before.last_offset(), before.producer_id, before.producer_epoch, before.base_sequence, before.last_sequence(), before.partition_leader_epoch)
            );
            prop_assert_eq!(after.records_count as usize, expected.len());
            if let Some((_, first)) = expected.first() {
                let newest = expected.iter().map(|(_, record)| record.timestamp).max().unwrap();
                prop_assert_eq!(after.max_timestamp.get(), newest);
                prop_assert_eq!(after.latest_timestamp().get(), newest.max(if has_tombstone { newest } else { first.timestamp }));
                prop_assert_eq!(after.attributes.compression(), Ok(codec));
                let base = if has_tombstone { HORIZON } else { first.timestamp };
                prop_assert_eq!(after.base_timestamp.get(), base);
                prop_assert_eq!(after.delete_horizon().is_some(), has_tombstone);
            } else {
                prop_assert_eq!(after.max_timestamp, before.max_timestamp);
                prop_assert_eq!(after.base_timestamp, TimestampMs::NONE);
                prop_assert_eq!(after.attributes.compression(), Ok(Compression::None));
            }
        }
    }

    #[test]
    fn native_batches_are_filtered_alike((all, keeps, retains_empty) in any_case()) {
        let bytes = batch(&all, Compression::None);
        let (header, _) = read(&bytes);
        let mut source = NativeBatchBuilder::new();
        let native = kafka_to_native(&header, &bytes[61..], &mut source).unwrap();
        let native = NativeBatch::open(native, &BatchLimits::NONE).unwrap();
        let rule = BatchRule { retains_empty, ..BatchRule::default() };
        let mut chosen = Chosen { rule, keeps: &keeps, asked: 0 };
        let mut builder = NativeBatchBuilder::new();
        let (filtered, out) = filter_native_batch(&native, &mut chosen, &mut Vec::new(), &mut builder).unwrap();
        let (kafkas, rebuilt) = filter(&bytes, &keeps, rule);
        prop_assert_eq!(filtered, kafkas);
        prop_assert_eq!(out.is_empty(), rebuilt.is_empty());
        if out.is_empty() {
            return Ok(());
        }
        let out = NativeBatch::open_stored(out, &BatchLimits::NONE).unwrap();
        let (expected, records) = read(&rebuilt);
        let got: Vec<_> = out.records().map(|record| record.map(|record| (record.offset_delta, owned(&record))).unwrap()).collect();
        prop_assert_eq!(got, records);
        let after = out.header();
        prop_assert_eq!(
            (after.base_offset, after.last_offset_delta, after.producer_id, after.producer_epoch, after.base_sequence, after.leader_epoch, after.max_timestamp, after.base_timestamp, after.records_count, after.attributes),
            (expected.base_offset, expected.last_offset_delta, expected.producer_id, expected.producer_epoch, expected.base_sequence, expected.partition_leader_epoch, expected.max_timestamp, expected.base_timestamp, expected.records_count, expected.attributes)
        );
    }
}

fn record(key: &str, value: Option<&str>, timestamp: i64) -> OwnedRecord {
    OwnedRecord {
        timestamp,
        key: Some(key.into()),
        value: value.map(Into::into),
        headers: vec![(b"h".to_vec(), None), (b"h".to_vec(), Some(b"2".to_vec()))],
    }
}

#[test]
fn a_horizon_is_set_once_and_stays_until_the_tombstone_goes() {
    let all = [record("a", None, 500), record("b", Some("1"), 700)];
    let bytes = batch(&all, Compression::Lz4);
    let (filtered, once) = filter(&bytes, &[true, true], BatchRule::default());
    assert_eq!(filtered, Filtered::Rebuilt { dropped: 0 });
    let (header, got) = read(&once);
    assert_eq!(header.delete_horizon(), Some(TimestampMs::new(HORIZON)));
    assert_eq!(
        (header.max_timestamp.get(), header.latest_timestamp().get()),
        (700, 700)
    );
    assert_eq!(got, staying(&all, &[true, true]));
    // The second compaction leaves it alone.
    let (filtered, _) = filter(&once, &[true, true], BatchRule::default());
    assert_eq!(filtered, Filtered::Unchanged);
    // And when the tombstone goes, the horizon stays, as in Kafka, with the timestamps that count from it.
    let (filtered, last) = filter(&once, &[false, true], BatchRule::default());
    assert_eq!(filtered, Filtered::Rebuilt { dropped: 1 });
    let (header, got) = read(&last);
    assert_eq!(header.delete_horizon(), Some(TimestampMs::new(HORIZON)));
    assert_eq!(got, staying(&all, &[false, true]));
}

#[test]
fn the_brokers_time_stays_the_batchs() {
    let all = [record("a", Some("1"), 5), record("b", None, 6)];
    let mut bytes = batch(&all, Compression::Zstd);
    stamp_log_append_time(&mut bytes, TimestampMs::new(4444));
    let (_, out) = filter(&bytes, &[true, true], BatchRule::default());
    let (header, got) = read(&out);
    assert_eq!(
        header.attributes.timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert_eq!(header.max_timestamp.get(), 4444);
    assert!(got.iter().all(|(_, record)| record.timestamp == 4444));
}

#[test]
fn markers_go_with_their_batch_or_stay() {
    let mut builder = BatchBuilder::new();
    builder.control(true).transactional(true).producer(
        ProducerId::new(1),
        ProducerEpoch::new(0),
        Sequence::NONE,
    );
    builder
        .append(
            TimestampMs::new(10),
            Some(&[0, 0, 0, 1]),
            Some(&[0; 6]),
            &[],
        )
        .unwrap();
    let mut bytes = Vec::new();
    builder.finish_into(&mut bytes).unwrap();
    // Nobody is asked over a marker.
    let (filtered, _) = filter(&bytes, &[], BatchRule::default());
    assert_eq!(filtered, Filtered::Unchanged);
    let empty_transaction = BatchRule {
        marks_empty_transaction: true,
        ..BatchRule::default()
    };
    let (filtered, out) = filter(&bytes, &[], empty_transaction);
    assert_eq!(filtered, Filtered::Rebuilt { dropped: 0 });
    let (header, records) = read(&out);
    assert!(header.attributes.is_control() && header.attributes.is_transactional());
    assert_eq!(header.delete_horizon(), Some(TimestampMs::new(HORIZON)));
    assert_eq!((records.len(), records[0].1.timestamp), (1, 10));
    let discarded = BatchRule {
        discards_records: true,
        ..BatchRule::default()
    };
    assert_eq!(
        filter(&out, &[], discarded).0,
        Filtered::Dropped { dropped: 1 }
    );
    let (filtered, out) = filter(
        &out,
        &[],
        BatchRule {
            retains_empty: true,
            ..discarded
        },
    );
    assert_eq!(filtered, Filtered::Emptied { dropped: 1 });
    let (header, records) = read(&out);
    assert!(header.attributes.is_control() && records.is_empty());
    assert_eq!(header.delete_horizon(), None);
}

#[test]
fn a_bare_header_stays_as_long_as_its_producer_needs_it() {
    let bytes = batch(&[record("a", Some("1"), 5)], Compression::Gzip);
    let retains = BatchRule {
        retains_empty: true,
        ..BatchRule::default()
    };
    let (_, empty) = filter(&bytes, &[false], retains);
    assert_eq!(empty.len(), 61);
    assert_eq!(filter(&empty, &[], retains).0, Filtered::Unchanged);
    assert_eq!(
        filter(&empty, &[], BatchRule::default()).0,
        Filtered::Dropped { dropped: 0 }
    );
}

#[test]
fn what_cannot_be_read_is_an_error_and_leaves_nothing_behind() {
    let mut bytes = batch(&[record("a", Some("1"), 5)], Compression::Zstd);
    bytes[61] ^= 0x55;
    let Ok(SplitBatch::Whole { batch, .. }) = split_first_batch(&bytes) else {
        panic!("no batch");
    };
    let mut out = vec![7];
    let mut chosen = Chosen {
        rule: BatchRule::default(),
        keeps: &[],
        asked: 0,
    };
    filter_batch(
        &batch,
        DecompressLimits::default(),
        &mut chosen,
        &mut FilterScratch::default(),
        &mut out,
    )
    .unwrap_err();
    assert_eq!(out, [7]);
}
