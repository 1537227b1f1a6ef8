//! The bytes of metadata records, for ever.

use proptest::prelude::*;

use super::record::*;
use corelane_format::ids::{LeaderEpoch, LogId, PartitionIndex, ProducerId, TopicId};

fn id(seed: u8) -> TopicId {
    TopicId::new([seed; 16])
}

/// One record of each type with the bytes that version 1 gave it. These bytes never change.
fn golden() -> Vec<(MetadataRecord, &'static str)> {
    vec![
        (
            MetadataRecord::Lanes { count: 4 },
            r#"{"v":1,"type":"lanes","data":{"count":4}}"#,
        ),
        (
            MetadataRecord::Topic {
                id: id(1),
                name: "orders".into(),
            },
            r#"{"v":1,"type":"topic","data":{"id":"AQEBAQEBAQEBAQEBAQEBAQ","name":"orders"}}"#,
        ),
        (
            MetadataRecord::Partition {
                topic_id: id(1),
                index: PartitionIndex::new(2),
                log_id: LogId::new(77),
                lane: 3,
                leader_epoch: LeaderEpoch::new(0),
            },
            r#"{"v":1,"type":"partition","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","index":2,"log_id":77,"lane":3,"leader_epoch":0}}"#,
        ),
        (
            MetadataRecord::PartitionLane {
                topic_id: id(1),
                index: PartitionIndex::new(2),
                lane: 0,
                leader_epoch: LeaderEpoch::new(1),
            },
            r#"{"v":1,"type":"partition_lane","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","index":2,"lane":0,"leader_epoch":1}}"#,
        ),
        (
            MetadataRecord::BrokerConfig {
                node: Some(1001),
                name: "log.retention.ms".into(),
                value: Some("1000".into()),
            },
            r#"{"v":1,"type":"broker_config","data":{"node":1001,"name":"log.retention.ms","value":"1000"}}"#,
        ),
        (
            MetadataRecord::BrokerConfig {
                node: None,
                name: "log.retention.ms".into(),
                value: None,
            },
            r#"{"v":1,"type":"broker_config","data":{"node":null,"name":"log.retention.ms","value":null}}"#,
        ),
        (
            MetadataRecord::TopicConfig {
                topic_id: id(1),
                name: "retention.ms".into(),
                value: Some("1000".into()),
            },
            r#"{"v":1,"type":"topic_config","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","name":"retention.ms","value":"1000"}}"#,
        ),
        (
            MetadataRecord::TopicConfig {
                topic_id: id(1),
                name: "retention.ms".into(),
                value: None,
            },
            r#"{"v":1,"type":"topic_config","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","name":"retention.ms","value":null}}"#,
        ),
        (
            MetadataRecord::GroupConfig {
                group_id: "workers".into(),
                name: "consumer.session.timeout.ms".into(),
                value: Some("50000".into()),
            },
            r#"{"v":1,"type":"group_config","data":{"group_id":"workers","name":"consumer.session.timeout.ms","value":"50000"}}"#,
        ),
        (
            MetadataRecord::RemoveTopic { topic_id: id(1) },
            r#"{"v":1,"type":"remove_topic","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ"}}"#,
        ),
        (
            MetadataRecord::ProducerIds {
                next: ProducerId::new(1000),
            },
            r#"{"v":1,"type":"producer_ids","data":{"next":1000}}"#,
        ),
    ]
}

#[test]
fn records_have_the_bytes_they_always_had() {
    for (record, bytes) in golden() {
        assert_eq!(String::from_utf8(record.encode()).unwrap(), bytes);
        assert_eq!(
            MetadataRecord::decode(bytes.as_bytes()).unwrap(),
            record,
            "{bytes}"
        );
    }
}

#[test]
fn what_is_not_known_is_an_error_and_never_skipped() {
    let table = [
        (
            r#"{"v":2,"type":"topic","data":{}}"#,
            "has version 2, this server reads up to 1",
        ),
        (
            r#"{"v":0,"type":"topic","data":{}}"#,
            "has version 0, this server reads up to 1",
        ),
        (
            r#"{"v":1,"type":"quota","data":{}}"#,
            r#"unknown type "quota""#,
        ),
        (r#"{"v":1,"type":"topic"}"#, "type topic cannot be read"),
        (
            r#"{"v":1,"type":"lanes","data":{"count":1,"more":2}}"#,
            "unknown field `more`",
        ),
        (
            r#"{"v":1,"type":"lanes","data":{"count":-1}}"#,
            "type lanes cannot be read",
        ),
        (
            r#"{"v":1,"type":"remove_topic","data":{"topic_id":"x"}}"#,
            r#"no topic id: "x""#,
        ),
        (r#"{"type":"topic"}"#, "missing field `v`"),
        ("", "cannot be read"),
        ("\0\0\0\0", "cannot be read"),
        (
            r#"{"v":1,"type":"lanes","data":{"count":1}} "x""#,
            "trailing characters",
        ),
    ];
    for (bytes, expected) in table {
        let message = MetadataRecord::decode(bytes.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "{bytes}: {message}");
    }
}

proptest! {
    #[test]
    fn texts_survive_the_encoding(name in ".{0,40}", value in proptest::option::of(".{0,200}"), seed: u8) {
        let record = MetadataRecord::TopicConfig { topic_id: id(seed), name, value };
        prop_assert_eq!(MetadataRecord::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = MetadataRecord::decode(&bytes);
    }

    #[test]
    fn a_damaged_record_never_decodes_to_a_panic(which in 0..11_usize, at in 0..60_usize, byte: u8) {
        let mut bytes = golden()[which].1.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = MetadataRecord::decode(&bytes);
    }
}
