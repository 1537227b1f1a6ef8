use proptest::prelude::*;
use rkyv::util::AlignedVec;

use super::*;
use crate::native::MESSAGE_VERSION;

fn greeted(min: u16, max: u16, mechanism: &str) -> Result<u16, Violation> {
    let hello = Hello {
        version: MESSAGE_VERSION,
        protocol_min: min,
        protocol_max: max,
        client_id: "me".into(),
        mechanism: mechanism.into(),
        credentials: vec![1, 2],
    };
    let mut bytes = Vec::new();
    hello.archive_into(&mut bytes);
    let mut archive = AlignedVec::<16>::new();
    archive.extend_from_slice(&bytes);
    let answer = HelloAnswer {
        version: MESSAGE_VERSION,
        error: 0,
        protocol: 0,
        node: 1,
        payload_bytes_max: 2,
        requests_in_flight_max: 3,
    };
    greet(&archive, answer).map(|answer| answer.protocol)
}

#[test]
fn versions_are_negotiated_by_table() {
    let refused = |min, max| Err(Violation::Protocol { min, max });
    for (min, max, expected) in [
        (1, 1, Ok(1)),
        (0, 1, Ok(1)),
        (1, 9, Ok(1)),
        (0, u16::MAX, Ok(1)),
        (2, 9, refused(2, 9)),
        (0, 0, refused(0, 0)),
        (9, 1, refused(9, 1)),
    ] {
        assert_eq!(greeted(min, max, ""), expected, "{min} to {max}");
    }
    let refused = greeted(1, 1, "SCRAM-SHA-256").unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnsupportedSaslMechanism);
}

proptest! {
    /// However grants and pushes follow each other, at most one batch is pushed beyond what was granted.
    #[test]
    fn credit_is_overdrawn_by_one_batch_at_most(
        initial in any::<u32>(),
        steps in proptest::collection::vec((any::<bool>(), 1_usize..2_000_000), 0..200),
    ) {
        let mut balance = CreditBalance::new(u64::from(initial));
        let mut granted = i64::from(initial);
        let mut pushed = 0_i64;
        for (is_grant, bytes) in steps {
            if is_grant {
                balance.grant(bytes as u64);
                granted += bytes as i64;
            } else if let Some(available) = balance.available() {
                prop_assert_eq!(available as i64, granted - pushed);
                balance.spend(bytes);
                pushed += bytes as i64;
                prop_assert!(pushed - granted < bytes as i64);
            } else {
                prop_assert!(pushed >= granted);
            }
        }
    }
}

#[test]
fn a_flood_of_credit_does_not_wrap() {
    let mut balance = CreditBalance::new(u64::MAX);
    balance.grant(u64::MAX);
    assert_eq!(balance.available(), Some(i64::MAX as usize));
    balance.spend(usize::MAX);
    balance.spend(usize::MAX);
    assert_eq!(balance.available(), None);
}
