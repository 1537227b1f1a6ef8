//! Mutated input for the parsers of the engine's own records, on the stable toolchain: seeded, and as many cases as
//! `CORELANE_FUZZ_CASES` says.
//!
//! The same functions are cargo-fuzz targets in `fuzz/`. A failure prints the target, the case and the bytes.

use corelane_engine::fuzzing::TARGETS;
use corelane_format::fuzzing::mutation::{Random, mutate, run_targets};

/// One record of each type, as `record_tests` fixes them, and numbers at which sums and sizes go wrong.
const METADATA: [&str; 13] = [
    r#"{"v":1,"type":"lanes","data":{"count":4}}"#,
    r#"{"v":1,"type":"lanes","data":{"count":18446744073709551615}}"#,
    r#"{"v":1,"type":"topic","data":{"id":"AQEBAQEBAQEBAQEBAQEBAQ","name":"orders"}}"#,
    r#"{"v":1,"type":"partition","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","index":0,"log_id":77,"lane":3,"leader_epoch":0}}"#,
    r#"{"v":1,"type":"partition_lane","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","index":0,"lane":0,"leader_epoch":1}}"#,
    r#"{"v":1,"type":"partition","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","index":1,"log_id":18446744073709551614,"lane":18446744073709551615,"leader_epoch":-2147483648}}"#,
    r#"{"v":1,"type":"partition","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","index":1,"log_id":18446744073709551615,"lane":1,"leader_epoch":2147483647}}"#,
    r#"{"v":1,"type":"partition_lane","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","index":0,"lane":1099511627776,"leader_epoch":2147483647}}"#,
    r#"{"v":1,"type":"broker_config","data":{"node":1001,"name":"log.retention.ms","value":"1000"}}"#,
    r#"{"v":1,"type":"broker_config","data":{"node":null,"name":"log.retention.ms","value":null}}"#,
    r#"{"v":1,"type":"topic_config","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ","name":"retention.ms","value":"1000"}}"#,
    r#"{"v":1,"type":"producer_ids","data":{"next":9223372036854775807}}"#,
    r#"{"v":1,"type":"remove_topic","data":{"topic_id":"AQEBAQEBAQEBAQEBAQEBAQ"}}"#,
];

fn metadata_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = METADATA
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    seeds.push(METADATA.join("\n").into_bytes());
    let sound: Vec<&str> = [0, 2, 3, 4, 8, 10, 12]
        .iter()
        .map(|at| METADATA[*at])
        .collect();
    seeds.push(sound.join("\n").into_bytes());
    // As deep as a reader that recurses can be made to go.
    seeds.push([b"[".repeat(10_000), b"]".repeat(10_000)].concat());
    seeds.push(br#"{"v":1,"type":"topic","data":"#.repeat(500));
    seeds
}

/// Length of the key, key, value: an offset, a group and its member.
fn group_seeds() -> Vec<Vec<u8>> {
    let record = |key: &[u8], value: &[u8]| [&[key.len() as u8], key, value].concat();
    let offset_key = b"\0\x01\0\x01g\0\x01t\0\0\0\x02";
    let group_key = b"\0\x02\0\x01g";
    let member = b"\0\x01m\0\x01c\0\x02/h\0\0\0\x07\0\0\0\x08\0\0\0\x01\x09\0\0\0\x02\x0a\x0b";
    let group = [
        b"\0\x02\0\x01p\0\0\0\x05\0\x01r\xFF\xFF\0\0\0\0\0\0\0\x06\0\0\0\x01".as_slice(),
        member,
    ]
    .concat();
    let mut seeds = vec![
        record(
            offset_key,
            b"\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x04\0\x01m\0\0\0\0\0\0\0\x03",
        ),
        record(
            offset_key,
            b"\0\x01\0\0\0\0\0\0\x01\x02\0\x01m\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x09",
        ),
        record(group_key, &group),
        vec![0x8D, 0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 2],
    ];
    // Each kind of a record of the consumer protocol, with a value of zeros and of ones.
    for kind in 3..=16_u8 {
        let key = [0, kind, 0, 1, b'g', 0, 1, b'm'];
        for length in [6, 8] {
            for fill in [0, 1, 2] {
                let mut value = vec![0, 0];
                value.extend_from_slice(&[fill; 40]);
                seeds.push(record(&key[..length], &value));
            }
        }
    }
    seeds
}

#[test]
fn no_input_makes_a_parser_panic_or_exceed_its_limits() {
    let seeds = [metadata_seeds(), group_seeds()].concat();
    run_targets(&TARGETS, &seeds);
}

/// Mutation must leave enough that is still a record.
#[test]
fn mutation_reaches_what_it_should() {
    let mut random = Random::default();
    let accepted = |targets: Vec<Vec<u8>>, random: &mut Random, decodes: fn(&[u8]) -> bool| {
        (0..4000)
            .filter(|_| decodes(&mutate(random, &targets)))
            .count()
    };
    let metadata = accepted(metadata_seeds(), &mut random, |bytes| {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        lines.any(|line| corelane_engine::metadata::MetadataRecord::decode(line).is_ok())
    });
    let groups = accepted(group_seeds(), &mut random, |bytes| {
        let Some((length, rest)) = bytes.split_first() else {
            return false;
        };
        let (key, value) = rest.split_at(usize::from(length & 0x7F).min(rest.len()));
        let record = corelane_engine::group::record::GroupRecord::decode(Some(key), Some(value));
        matches!(record, Ok(Some(_)))
    });
    assert!(
        metadata > 200,
        "only {metadata} of 4000 are metadata records"
    );
    assert!(groups > 200, "only {groups} of 4000 are records of groups");
}
