//! Mutated input for every parser, on the stable toolchain: seeded, and as many cases as `CORELANE_FUZZ_CASES` says.
//!
//! The same functions are cargo-fuzz targets in `fuzz/`. A failure prints the target, the case and the bytes.

use corelane_format::fuzzing::TARGETS;
use corelane_format::fuzzing::mutation::{Random, mutate, run_targets};
use corelane_format::kafka::{BatchBuilder, Compression, compress};
use corelane_format::native::NativeBatchBuilder;
use corelane_format::{CommitBlockHeader, ProducerEpoch, ProducerId, Sequence, TimestampMs};

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new(), vec![0; 128], vec![0xFF; 128]];
    let headers: [(&[u8], Option<&[u8]>); 3] = [(b"k", Some(b"v")), (b"k", None), (b"", Some(b""))];
    let mut section = Vec::new();
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new();
        builder.compression(codec).producer(
            ProducerId::new(7),
            ProducerEpoch::new(1),
            Sequence::new(i32::MAX - 1),
        );
        for index in 0..12_i64 {
            builder
                .append(
                    TimestampMs::new(1_700_000_000_000 + index * 3),
                    (index % 3 != 0).then_some(b"key"),
                    (index % 4 != 0).then_some(&[index as u8; 50]),
                    &headers[..index as usize % 4],
                )
                .unwrap();
        }
        let mut batch = Vec::new();
        builder.finish_into(&mut batch).unwrap();
        if codec == Compression::None {
            section = batch[61..].to_vec();
        }
        let mut choice = vec![codec.id()];
        choice.extend_from_slice(&batch[61..]);
        seeds.push(choice);
        let mut bomb = vec![codec.id()];
        compress(codec, &vec![0; 1 << 20], &mut bomb).unwrap();
        bomb.truncate(8192);
        seeds.push(bomb);
        let mut two = batch.clone();
        two.extend_from_slice(&batch);
        seeds.push(batch);
        seeds.push(two);
    }
    let mut with_head = vec![0, 11, 0, 12];
    with_head.extend_from_slice(&section);
    seeds.push(with_head);

    let mut native = NativeBatchBuilder::new();
    for index in 0..9_i64 {
        native
            .append(
                TimestampMs::new(index),
                (index % 2 == 0).then_some(b"key"),
                (index % 3 != 0).then_some(b"value"),
                &headers[..index as usize % 4],
            )
            .unwrap();
    }
    seeds.push(native.finish().unwrap().to_vec());

    let mut block = [0; 64];
    CommitBlockHeader {
        log_id: 1,
        body_length: 5,
        ..CommitBlockHeader::new()
    }
    .encode(&mut block);
    seeds.push([block.as_slice(), b"a body"].concat());
    seeds
}

#[test]
fn no_input_makes_a_parser_panic_or_exceed_its_limits() {
    run_targets(&TARGETS, &seeds());
}

/// The harness must be able to fail: this target panics on what mutation surely produces.
#[test]
fn mutation_reaches_what_it_should() {
    let seeds = seeds();
    let mut random = Random::default();
    let mut accepted = 0;
    for _ in 0..2000 {
        let input = mutate(&mut random, &seeds);
        accepted += usize::from(input.len() > 61 && input[16] == 2);
    }
    assert!(
        accepted > 100,
        "only {accepted} of 2000 inputs look like a batch"
    );
}
