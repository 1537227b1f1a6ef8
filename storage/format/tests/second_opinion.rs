//! Another implementation reads what the builder writes, and the other way round.
//!
//! It keeps headers in a map, so each record here has every header key once.

mod support;

use corelane_format::TimestampMs;
use corelane_format::kafka::{
    BatchBuilder, BatchLimits, records, validate_batch, validate_records,
};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
};
use proptest::prelude::*;
use support::{OwnedRecord, any_records, append_all, owned};

/// Its headers are keyed by text.
fn with_plain_headers(mut records: Vec<OwnedRecord>) -> Vec<OwnedRecord> {
    for record in &mut records {
        for (index, (key, _)) in record.headers.iter_mut().enumerate() {
            *key = format!("key {index}").into_bytes();
        }
    }
    records
}

fn from_theirs(record: &Record) -> OwnedRecord {
    OwnedRecord {
        timestamp: record.timestamp,
        key: record.key.as_ref().map(|bytes| bytes.to_vec()),
        value: record.value.as_ref().map(|bytes| bytes.to_vec()),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| {
                (
                    key.as_bytes().to_vec(),
                    value.as_ref().map(|bytes| bytes.to_vec()),
                )
            })
            .collect(),
    }
}

proptest! {
    #[test]
    fn both_read_what_the_other_writes(records_in in any_records(20)) {
        let records_in = with_plain_headers(records_in);
        let mut builder = BatchBuilder::new();
        append_all(&mut builder, &records_in);
        let mut ours = Vec::new();
        builder.finish_into(&mut ours).unwrap();

        let theirs = RecordBatchDecoder::decode(&mut ours.as_slice()).unwrap();
        prop_assert_eq!(theirs.compression, Compression::None);
        let read: Vec<OwnedRecord> = theirs.records.iter().map(from_theirs).collect();
        prop_assert_eq!(&read, &records_in);
        for (index, record) in theirs.records.iter().enumerate() {
            prop_assert_eq!(record.offset, index as i64);
            prop_assert_eq!(record.producer_id, -1);
        }

        let mut written = Vec::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut written, &theirs.records, &options).unwrap();
        let batch = validate_batch(&written, &BatchLimits::NONE).unwrap();
        let back: Vec<OwnedRecord> = records(batch.header(), batch.records_section())
            .map(|record| owned(&record.unwrap()))
            .collect();
        prop_assert_eq!(&back, &records_in);
        let latest = records_in.iter().map(|record| record.timestamp).max().unwrap();
        prop_assert_eq!(validate_records(&batch).unwrap().max_timestamp, TimestampMs::new(latest));
    }
}
