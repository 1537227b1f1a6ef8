//! What a fuzzer runs over the records of the engine's own logs: one plain function a parser, for cargo-fuzz and for the harness
//! on the stable toolchain alike.
//!
//! Each function feeds arbitrary bytes to a parser, does what a start does with what is accepted, and asserts that writing
//! it and reading it again changes nothing.

use std::collections::BTreeMap;

pub use corelane_format::fuzzing::Target;

use crate::config::TopicConfig;
use crate::group::record::GroupRecord;
use crate::metadata::{MetadataImage, MetadataRecord};

/// Every target, by the name that its fuzz target has too.
pub const TARGETS: [(&str, Target); 2] = [
    ("metadata_records", fuzz_metadata_records),
    ("group_record", fuzz_group_record),
];

/// Records of the metadata log, one a line, applied one after the other.
pub fn fuzz_metadata_records(data: &[u8]) {
    let mut image = MetadataImage::new(TopicConfig::default());
    for line in data.split(|byte| *byte == b'\n') {
        let record = match MetadataRecord::decode(line) {
            Ok(record) => record,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let again = MetadataRecord::decode(&record.encode()).expect("our own bytes");
        assert_eq!(again, record);
        assert!(!record.to_string().is_empty());
        let topics = image.topics_total();
        if let Err(error) = image.apply(&record) {
            assert!(!error.to_string().is_empty());
            assert_eq!(image.topics_total(), topics);
        }
        let _ = (image.next_log_id(), image.next_producer_id());
    }
    let partitions: usize = image.topics().map(|topic| topic.partitions.len()).sum();
    assert_eq!(partitions, image.partitions_total());
    assert_eq!(partitions, image.lane_loads().iter().sum::<usize>());
    let by_name: BTreeMap<_, _> = image
        .topics()
        .map(|topic| (topic.name.clone(), topic.id))
        .collect();
    assert_eq!(by_name.len(), image.topics_total());
    for (name, id) in by_name {
        assert_eq!(image.topic(&name).map(|topic| topic.id), Some(id));
        let _ = image.topic_config(id);
    }
}

/// A record of `__consumer_offsets`: the first byte is the length of the key, or says that there is no value.
pub fn fuzz_group_record(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else {
        return;
    };
    let (key, value) = rest.split_at(usize::from(length & 0x7F).min(rest.len()));
    let value = (length & 0x80 == 0).then_some(value);
    match GroupRecord::decode(Some(key), value) {
        Ok(Some(record)) => {
            let (key, value) = record.encode();
            let again = GroupRecord::decode(Some(&key), value.as_deref()).expect("our own bytes");
            assert_eq!(again, Some(record));
        }
        Ok(None) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
