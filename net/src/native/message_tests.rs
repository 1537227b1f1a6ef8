use proptest::prelude::*;
use rkyv::util::AlignedVec;

use super::*;

fn round_trip<M: Message + PartialEq + std::fmt::Debug>(message: &M) {
    let mut bytes = Vec::new();
    message.archive_into(&mut bytes);
    assert!(bytes.len().is_multiple_of(16) && !bytes.is_empty());
    let mut aligned = AlignedVec::<16>::new();
    aligned.extend_from_slice(&bytes);
    assert_eq!(M::read(&aligned).as_ref(), Ok(message));
}

fn node() -> impl Strategy<Value = Node> {
    (any::<i32>(), any::<u16>(), ".{0,20}").prop_map(|(id, port, host)| Node { id, port, host })
}

fn topic() -> impl Strategy<Value = Topic> {
    (
        any::<(i16, bool, [u8; 16])>(),
        ".{0,20}",
        proptest::collection::vec(any::<i32>(), 0..9),
    )
        .prop_map(|((error, is_native, id), name, owners)| Topic {
            error,
            is_native,
            id,
            name,
            owners,
        })
}

proptest! {
    #[test]
    fn messages_survive(
        nodes in proptest::collection::vec(node(), 0..5),
        topics in proptest::collection::vec(topic(), 0..5),
        names in proptest::collection::vec(".{0,30}", 0..5),
        credentials in proptest::collection::vec(any::<u8>(), 0..40),
        (error, protocol, small, wide) in any::<(i16, u16, i32, i64)>(),
        id in any::<[u8; 16]>(),
        flag in any::<bool>(),
    ) {
        let version = MESSAGE_VERSION;
        let name = names.first().cloned().unwrap_or_default();
        round_trip(&Hello {
            version,
            protocol_min: protocol,
            protocol_max: protocol,
            client_id: name.clone(),
            mechanism: name.clone(),
            credentials,
        });
        round_trip(&Metadata { version, topics: names });
        round_trip(&MetadataAnswer { version, nodes, topics });
        round_trip(&Produce { version, topic: id, partition: small, acks: error });
        round_trip(&ProduceAnswer {
            version,
            error,
            node: small,
            base_offset: wide,
            log_append_time_ms: !wide,
            log_start_offset: wide,
        });
        round_trip(&Subscribe {
            version,
            subscription: small as u32,
            topic: id,
            partition: small,
            start: wide,
            by_timestamp: flag,
            credit_bytes: wide as u64,
        });
        round_trip(&Goodbye { version, error, reason: name });
    }
}

#[test]
fn every_kind_is_one_message() {
    let kinds = [
        Hello::KIND,
        HelloAnswer::KIND,
        Metadata::KIND,
        MetadataAnswer::KIND,
        Produce::KIND,
        ProduceAnswer::KIND,
        Subscribe::KIND,
        SubscribeAnswer::KIND,
        Credit::KIND,
        Push::KIND,
        Unsubscribe::KIND,
        SubscriptionEnd::KIND,
        Fetch::KIND,
        FetchAnswer::KIND,
        ListOffsets::KIND,
        ListOffsetsAnswer::KIND,
        InitProducer::KIND,
        InitProducerAnswer::KIND,
        Goodbye::KIND,
    ];
    let mut sorted = kinds.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), kinds.len());
}

#[test]
fn the_version_comes_first_and_is_checked() {
    let credit = Credit {
        version: MESSAGE_VERSION,
        subscription: 3,
        bytes: 4,
    };
    let mut bytes = Vec::new();
    credit.archive_into(&mut bytes);
    let mut aligned = AlignedVec::<16>::new();
    aligned.extend_from_slice(&bytes);
    assert_eq!(aligned[0], MESSAGE_VERSION);
    aligned[0] = 2;
    assert_eq!(
        Credit::read(&aligned),
        Err(MessageError::Version { kind: 5, got: 2 })
    );
    aligned[0] = MESSAGE_VERSION;
    for end in (0..aligned.len()).step_by(16) {
        assert!(Credit::access(&aligned[..end]).is_err(), "{end}");
    }
}

/// What is on the wire does not change by itself.
#[test]
fn a_push_has_these_bytes() {
    let push = Push {
        version: MESSAGE_VERSION,
        subscription: 0x0102_0304,
        next_offset: 5,
        high_watermark: 6,
    };
    let mut bytes = Vec::new();
    push.archive_into(&mut bytes);
    let mut expected = vec![1, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0, 6];
    expected.resize(32, 0);
    assert_eq!(bytes, expected);
}
