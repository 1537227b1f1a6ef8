//! Records with keys, and reading a compacted log back.

use std::collections::BTreeMap;

use corelane_format::kafka::{
    BatchBuilder, Compression, DecompressLimits, decompress, records, stored_batches,
};
use corelane_format::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use corelane_storage::disk::Disk;
use corelane_storage::{Appended, CompactionConfig, LogConfig, PartitionLog, ReadError};

/// A record of a compacted topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    pub offset: i64,
    pub key: Option<String>,
    pub value: Option<String>,
    pub timestamp: i64,
}

/// A batch to append: `key=value` for a value, `key` for a tombstone, `=value` for a record without a key.
#[derive(Debug, Clone)]
pub struct KeyedBatch {
    pub records: Vec<(Option<String>, Option<String>)>,
    pub timestamp: i64,
    pub compression: Compression,
    pub producer: Option<(i64, i16, i32)>,
}

impl KeyedBatch {
    pub fn new(text: &str, timestamp: i64) -> Self {
        let records = text
            .split_whitespace()
            .map(|record| match record.split_once('=') {
                Some(("", value)) => (None, Some(value.to_owned())),
                Some((key, value)) => (Some(key.to_owned()), Some(value.to_owned())),
                None => (Some(record.to_owned()), None),
            })
            .collect();
        Self {
            records,
            timestamp,
            compression: Compression::None,
            producer: None,
        }
    }

    pub fn compressed(mut self, codec: Compression) -> Self {
        self.compression = codec;
        self
    }

    pub fn by(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = Some((id, epoch, sequence));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.compression(self.compression);
        if let Some((id, epoch, sequence)) = self.producer {
            builder.producer(
                ProducerId::new(id),
                ProducerEpoch::new(epoch),
                Sequence::new(sequence),
            );
        }
        for (index, (key, value)) in (0..).zip(&self.records) {
            builder
                .append(
                    TimestampMs::new(self.timestamp + index),
                    key.as_ref().map(String::as_bytes),
                    value.as_ref().map(String::as_bytes),
                    &[],
                )
                .expect("a record");
        }
        let mut out = Vec::new();
        builder.finish_into(&mut out).expect("a batch");
        out
    }
}

pub async fn append_keyed<D: Disk>(log: &PartitionLog<D>, batch: &KeyedBatch) -> Appended {
    let appended = super::append_bytes(log, &batch.bytes(), batch.timestamp).expect("appended");
    log.wait_readable(appended.end_offset())
        .await
        .expect("durable");
    appended
}

/// The records of whole stored batches, every checksum verified.
pub fn decode_keyed(bytes: &[u8], out: &mut Vec<Keyed>) {
    for batch in stored_batches(bytes) {
        let batch = batch.expect("a stored batch");
        batch.verify_crc().expect("a sound batch");
        let header = batch.header();
        let codec = header.attributes.compression().expect("a codec");
        let section = decompress(codec, batch.records_section(), DecompressLimits::default())
            .expect("decompresses");
        for record in records(header, &section) {
            let record = record.expect("a record");
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            out.push(Keyed {
                offset: header
                    .base_offset
                    .plus(i64::from(record.offset_delta))
                    .get(),
                key: record.key.map(text),
                value: record.value.map(text),
                timestamp: record.timestamp.get(),
            });
        }
    }
}

/// Everything readable from `from` on: offsets rise, and holes are no end.
pub async fn read_keyed_from<D: Disk>(
    log: &PartitionLog<D>,
    from: i64,
    size_bytes_max: usize,
) -> Result<Vec<Keyed>, ReadError> {
    let mut found = Vec::new();
    let end = log.readable_offset();
    let mut at = Offset::new(from);
    while at < end {
        let read = log.read(at, end, size_bytes_max, true).await?;
        assert!(read.next_offset > at, "a read makes progress at {at}");
        for slice in &read.slices {
            decode_keyed(slice.as_ref(), &mut found);
        }
        at = read.next_offset;
    }
    found.retain(|record| record.offset >= from);
    let offsets: Vec<i64> = found.iter().map(|record| record.offset).collect();
    assert!(
        offsets.windows(2).all(|pair| pair[0] < pair[1]),
        "offsets rise: {offsets:?}"
    );
    Ok(found)
}

pub async fn read_keyed<D: Disk>(log: &PartitionLog<D>) -> Vec<Keyed> {
    read_keyed_from(log, log.log_start_offset().get(), 8 << 10)
        .await
        .expect("readable")
}

/// `offset:key=value` for each.
pub fn shown(records: &[Keyed]) -> String {
    let shown: Vec<String> = records
        .iter()
        .map(|record| {
            let key = record.key.as_deref().unwrap_or_default();
            match &record.value {
                Some(value) => format!("{}:{key}={value}", record.offset),
                None => format!("{}:{key}", record.offset),
            }
        })
        .collect();
    shown.join(" ")
}

/// What a reader of the whole log ends with: each key's last value, without the deleted ones.
pub fn view(records: &[Keyed]) -> BTreeMap<String, String> {
    let mut view = BTreeMap::new();
    for record in records {
        let Some(key) = record.key.clone() else {
            continue;
        };
        match record.value.clone() {
            Some(value) => drop(view.insert(key, value)),
            None => drop(view.remove(&key)),
        }
    }
    view
}

/// Below where a log is compacted each key has one record at most.
pub fn assert_no_key_twice(records: &[Keyed], first_dirty: Offset, context: &str) {
    let mut seen = BTreeMap::new();
    for record in records
        .iter()
        .filter(|record| record.offset < first_dirty.get())
    {
        let before = seen.insert(&record.key, record.offset);
        assert_eq!(
            before, None,
            "{record:?} twice below {first_dirty}: {context}"
        );
    }
}

/// A compacted topic whose segments take about so many bytes.
pub fn compacted(segment_size_bytes: u64, delete_retention_ms: u64) -> LogConfig {
    LogConfig {
        segment_size_bytes,
        retention_ms: None,
        compaction: Some(CompactionConfig {
            delete_retention_ms,
            ..CompactionConfig::default()
        }),
        ..LogConfig::default()
    }
}
