//! What a leader stamps changes what it should and nothing else.

mod support;

use corelane_format::kafka::{
    BatchLimits, TimestampType, records, stamp_log_append_time, stamp_max_timestamp, stamp_offset,
    validate_batch,
};
use corelane_format::{LeaderEpoch, Offset, TimestampMs};
use support::small_batch;

#[test]
fn offset_and_epoch_lie_outside_of_the_crc() {
    let mut bytes = small_batch();
    let before = bytes.clone();
    stamp_offset(
        &mut bytes,
        Offset::new(0x0102_0304_0506),
        LeaderEpoch::new(77),
    );
    let batch = validate_batch(&bytes, &BatchLimits::NONE).unwrap();
    assert_eq!(batch.header().base_offset, Offset::new(0x0102_0304_0506));
    assert_eq!(batch.header().last_offset(), Offset::new(0x0102_0304_0508));
    assert_eq!(batch.header().partition_leader_epoch, LeaderEpoch::new(77));
    assert_eq!(bytes[8..12], before[8..12]);
    assert_eq!(bytes[16..], before[16..]);
}

#[test]
fn the_brokers_time_replaces_every_records() {
    let mut bytes = small_batch();
    let before = bytes.clone();
    stamp_log_append_time(&mut bytes, TimestampMs::new(5000));
    let batch = validate_batch(&bytes, &BatchLimits::NONE).unwrap();
    assert_eq!(
        batch.header().attributes.timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert_eq!(batch.header().max_timestamp, TimestampMs::new(5000));
    for record in records(batch.header(), batch.records_section()) {
        assert_eq!(record.unwrap().timestamp, TimestampMs::new(5000));
    }
    assert_eq!(bytes[61..], before[61..]);
}

#[test]
fn a_wrong_max_timestamp_can_be_corrected() {
    let mut bytes = small_batch();
    stamp_max_timestamp(&mut bytes, TimestampMs::NONE);
    let claimed = validate_batch(&bytes, &BatchLimits::NONE)
        .unwrap()
        .header()
        .max_timestamp;
    assert_eq!(claimed, TimestampMs::NONE);
    stamp_max_timestamp(&mut bytes, TimestampMs::new(1002));
    assert_eq!(bytes, small_batch());
}
