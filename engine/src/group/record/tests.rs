//! Golden bytes, made with Kafka's own schemas, and what cannot be read.

use corelane_format::ids::TopicId;

use super::*;
use crate::group::topic_partitions::TopicPartitions;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn offset(topic_id: [u8; 16], expire_timestamp_ms: Option<i64>, leader_epoch: i32) -> GroupRecord {
    GroupRecord::OffsetCommit {
        key: OffsetCommitKey {
            group_id: "g".into(),
            topic: "t".into(),
            partition: 2,
        },
        value: Some(OffsetCommitValue {
            offset: 258,
            leader_epoch,
            metadata: "m".into(),
            commit_timestamp_ms: 3,
            expire_timestamp_ms,
            topic_id,
        }),
    }
}

fn group() -> GroupRecord {
    GroupRecord::GroupMetadata {
        group_id: "g".into(),
        value: Some(GroupMetadataValue {
            protocol_type: "p".into(),
            generation: 5,
            protocol: Some("r".into()),
            leader: None,
            state_timestamp_ms: Some(6),
            members: vec![MemberMetadata {
                member_id: "m".into(),
                group_instance_id: None,
                client_id: "c".into(),
                client_host: "/h".into(),
                rebalance_timeout_ms: 7,
                session_timeout_ms: 8,
                subscription: vec![9],
                assignment: vec![10, 11],
            }],
        }),
    }
}

#[test]
fn records_are_kafkas_byte_for_byte() {
    let offset_key = "0001 0001 67 0001 74 00000002";
    let table = [
        (
            offset([0; 16], None, 4),
            offset_key,
            "0004 0000000000000102 00000004 02 6d 0000000000000003 00",
        ),
        (
            offset([1; 16], None, 4),
            offset_key,
            "0004 0000000000000102 00000004 02 6d 0000000000000003 \
             01 00 10 01010101010101010101010101010101",
        ),
        (
            offset([0; 16], Some(12), -1),
            offset_key,
            "0001 0000000000000102 0001 6d 0000000000000003 000000000000000c",
        ),
        (
            group(),
            "0002 0001 67",
            "0003 0001 70 00000005 0001 72 ffff 0000000000000006 00000001 \
             0001 6d ffff 0001 63 0002 2f68 00000007 00000008 00000001 09 00000002 0a0b",
        ),
    ];
    for (record, key, value) in table {
        let (key, value) = (hex(key), hex(value));
        assert_eq!(record.encode(), (key.clone(), Some(value.clone())));
        assert_eq!(
            GroupRecord::decode(Some(&key), Some(&value)),
            Ok(Some(record))
        );
    }
}

fn details() -> MemberDetails {
    MemberDetails {
        instance_id: Some("i".into()),
        rack_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        topics: vec!["t".into(), "u".into()],
        pattern: Some("r".into()),
        rebalance_timeout_ms: 8,
        server_assignor: Some("range".into()),
        classic: None,
    }
}

fn parts_of_a_consumer_group() -> Vec<GroupRecord> {
    let partitions: TopicPartitions = [1, 2]
        .map(|index| (TopicId::new([1; 16]), index))
        .into_iter()
        .collect();
    let member_id = || "m".to_owned();
    let mut classic = details();
    classic.instance_id = None;
    classic.server_assignor = None;
    classic.pattern = Some(String::new());
    classic.classic = Some(ClassicDetails {
        session_timeout_ms: 5,
        protocols: vec![("p".into(), vec![1, 2])],
    });
    [
        ConsumerRecord::Epoch(Some(GroupEpoch {
            epoch: 7,
            metadata_hash: 9,
        })),
        ConsumerRecord::Epoch(Some(GroupEpoch {
            epoch: 7,
            metadata_hash: 0,
        })),
        ConsumerRecord::Member {
            member_id: member_id(),
            value: Some(details()),
        },
        ConsumerRecord::Member {
            member_id: member_id(),
            value: Some(classic),
        },
        ConsumerRecord::TargetEpoch(Some(7)),
        ConsumerRecord::Target {
            member_id: member_id(),
            value: Some(partitions.clone()),
        },
        ConsumerRecord::Current {
            member_id: member_id(),
            value: Some(CurrentAssignment {
                epoch: 7,
                previous_epoch: 6,
                state: MemberState::Unrevoked,
                assigned: partitions,
                revoking: TopicPartitions::default(),
            }),
        },
        ConsumerRecord::Pattern {
            pattern: "r".into(),
            value: Some(PatternTopics {
                topics: vec!["t".into()],
                version: 3,
                timestamp_ms: 4,
            }),
        },
    ]
    .map(|record| GroupRecord::Consumer {
        group_id: "g".into(),
        record,
    })
    .to_vec()
}

#[test]
fn records_of_consumer_groups_are_kafkas_byte_for_byte() {
    let bytes = [
        ("0003000167", "0000 00000007 01 00 08 0000000000000009"),
        ("0003000167", "0000 00000007 00"),
        (
            "000500016700016d",
            "0000 0269 00 0263 032f68 03 0274 0275 0272 00000008 0672616e6765 00",
        ),
        (
            "000500016700016d",
            "0000 00 00 0263 032f68 03 0274 0275 01 00000008 00 01 00 0d 01 00000005 02 0270 030102 00 00",
        ),
        ("0006000167", "0000 00000007 00"),
        (
            "000700016700016d",
            "0000 02 01010101010101010101010101010101 03 00000001 00000002 00 00",
        ),
        (
            "000800016700016d",
            "0000 00000007 00000006 01 02 01010101010101010101010101010101 03 00000001 00000002 00 01 00",
        ),
        (
            "00100001670001 72",
            "0000 02 0274 0000000000000003 0000000000000004 00",
        ),
    ];
    for (record, (key, value)) in parts_of_a_consumer_group().into_iter().zip(bytes) {
        let (key, value) = (hex(key), hex(value));
        assert_eq!(record.encode(), (key.clone(), Some(value.clone())));
        assert_eq!(
            GroupRecord::decode(Some(&key), Some(&value)),
            Ok(Some(record))
        );
    }
    // As Kafka 4.3 writes it, with the epoch that each partition was assigned in.
    let newer = hex(
        "0000 00000007 00000006 01 02 01010101010101010101010101010101 03 00000001 00000002 \
         01 00 09 03 00000004 00000005 01 00",
    );
    assert_eq!(
        GroupRecord::decode(Some(&hex("000800016700016d")), Some(&newer)),
        Ok(Some(parts_of_a_consumer_group().swap_remove(6)))
    );
}

#[test]
fn a_null_value_takes_a_key_back() {
    for record in [offset([0; 16], None, 4), group()]
        .into_iter()
        .chain(parts_of_a_consumer_group())
    {
        let (key, _) = record.encode();
        let read = GroupRecord::decode(Some(&key), None).unwrap().unwrap();
        assert_eq!(read.encode(), (key, None));
    }
}

#[test]
fn older_and_newer_versions_are_read() {
    let key = hex("0000 0001 67 0001 74 00000002");
    let table = [
        (
            "0000 0000000000000102 0001 6d 0000000000000003",
            offset([0; 16], None, -1),
        ),
        (
            "0002 0000000000000102 0001 6d 0000000000000003",
            offset([0; 16], None, -1),
        ),
        (
            "0003 0000000000000102 00000004 0001 6d 0000000000000003",
            offset([0; 16], None, 4),
        ),
        (
            // A tag that nobody knows yet.
            "0004 0000000000000102 00000004 02 6d 0000000000000003 01 05 01 ff",
            offset([0; 16], None, 4),
        ),
    ];
    for (value, expected) in table {
        let read = GroupRecord::decode(Some(&key), Some(&hex(value)));
        assert_eq!(read, Ok(Some(expected)), "{value}");
    }
    let key = hex("0002 0001 67");
    let oldest = hex("0000 0001 70 00000005 0001 72 ffff 00000001 \
         0001 6d 0001 63 0002 2f68 00000008 00000001 09 00000002 0a0b");
    let read = GroupRecord::decode(Some(&key), Some(&oldest)).unwrap();
    let mut expected = group();
    if let GroupRecord::GroupMetadata {
        value: Some(value), ..
    } = &mut expected
    {
        value.state_timestamp_ms = None;
        value.members[0].rebalance_timeout_ms = 8;
    }
    assert_eq!(read, Some(expected));
    let newest = hex("0004 02 70 00000005 02 72 00 0000000000000006 02 \
         02 6d 00 02 63 03 2f68 00000007 00000008 02 09 03 0a0b 00 00");
    assert_eq!(
        GroupRecord::decode(Some(&key), Some(&newest)),
        Ok(Some(group()))
    );
}

#[test]
fn what_cannot_be_read_is_told_and_other_types_are_passed_over() {
    assert_eq!(GroupRecord::decode(None, None), Err(RecordError::NoKey));
    assert_eq!(
        GroupRecord::decode(Some(&hex("0004 0001 67")), None),
        Ok(None)
    );
    let key = hex("0002 0001 67");
    let future = GroupRecord::decode(Some(&key), Some(&hex("0005")));
    assert_eq!(
        future,
        Err(RecordError::UnknownVersion {
            what: "GroupMetadataValue",
            got: 5
        })
    );
    for record in [offset([1; 16], None, 4), group()]
        .into_iter()
        .chain(parts_of_a_consumer_group())
    {
        let (key, value) = record.encode();
        let value = value.unwrap();
        for length in 0..value.len() {
            assert!(GroupRecord::decode(Some(&key), Some(&value[..length])).is_err());
        }
        for length in 0..key.len() {
            assert!(GroupRecord::decode(Some(&key[..length]), None).is_err());
        }
    }
}
