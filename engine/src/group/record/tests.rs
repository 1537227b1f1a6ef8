//! Golden bytes, made with Kafka's own schemas, and what cannot be read.

use super::*;

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

#[test]
fn a_null_value_takes_a_key_back() {
    for record in [offset([0; 16], None, 4), group()] {
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
        GroupRecord::decode(Some(&hex("0003 0001 67")), None),
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
    for record in [offset([1; 16], None, 4), group()] {
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
