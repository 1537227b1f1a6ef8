//! The canary of the crash test: its ledger and audit notice every kind of loss they are there for.

mod support;

use support::ledger::{Audit, Ledger, Tag};

const fn tag(number: u64) -> Tag {
    Tag {
        producer: 0,
        partition: 0,
        number,
    }
}

/// Audits a partition that holds the records of these numbers, after the server acknowledged the numbers of
/// `acknowledged` at offsets from 0 on. `gapless` producers retry until they succeed.
fn audit(acknowledged: &[u64], stored: &[u64], gapless: fn(u32) -> bool) {
    let mut ledger = Ledger::default();
    for (offset, number) in (0..).zip(acknowledged) {
        ledger.acknowledged(tag(*number), offset);
    }
    ledger.assert_consistent();
    let mut audit = Audit::new(0, 0, ledger.promised_in(0, 0, i64::MAX), gapless);
    for (offset, number) in (0..).zip(stored) {
        audit.record(offset, tag(*number).value().as_bytes());
    }
    audit.finish();
}

#[test]
fn what_was_acknowledged_and_more_is_well() {
    audit(&[0, 1, 2], &[0, 1, 2, 3], |_| true);
}

#[test]
#[should_panic(expected = "lost")]
fn a_lost_record_is_noticed() {
    audit(&[0, 1, 2], &[0, 1], |_| true);
}

#[test]
#[should_panic(expected = "another record than the one promised")]
fn an_offset_with_another_record_is_noticed() {
    audit(&[0, 1, 2], &[0, 1, 3], |_| true);
}

#[test]
#[should_panic(expected = "is doubled")]
fn a_doubled_record_is_noticed() {
    audit(&[0, 1], &[0, 1, 0], |_| true);
}

#[test]
#[should_panic(expected = "reordered")]
fn reordered_records_are_noticed() {
    audit(&[], &[0, 2, 1], |_| false);
}

#[test]
#[should_panic(expected = "are missing")]
fn a_gap_is_noticed() {
    audit(&[], &[0, 1, 3], |_| true);
}

#[test]
#[should_panic(expected = "was promised, and then")]
fn an_offset_given_twice_is_noticed() {
    let mut ledger = Ledger::default();
    ledger.acknowledged(tag(0), 5);
    ledger.seen(0, 5, tag(1).value().as_bytes());
    ledger.assert_consistent();
}

#[test]
#[should_panic(expected = "damaged")]
fn a_damaged_value_is_noticed() {
    let mut value = tag(3).value().into_bytes();
    value[8] ^= 1;
    let mut audit = Audit::new(0, 0, std::collections::BTreeMap::new(), |_| false);
    audit.record(0, &value);
}
