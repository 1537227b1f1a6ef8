//! Mutated input for every parser, on the stable toolchain: seeded, and as many cases as `CORELANE_FUZZ_CASES` says.
//!
//! The same functions are cargo-fuzz targets in `fuzz/`. A failure prints the target, the case and the bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use corelane_format::fuzzing::TARGETS;
use corelane_format::kafka::{BatchBuilder, Compression, compress};
use corelane_format::native::NativeBatchBuilder;
use corelane_format::{CommitBlockHeader, ProducerEpoch, ProducerId, Sequence, TimestampMs};

const CASES_DEFAULT: u64 = 20_000;
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// xorshift64*: small, seeded and good enough to choose mutations.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Values at which lengths and counts go wrong.
const INTERESTING: [u8; 10] = [0x00, 0x01, 0x02, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 0x10, 0x40];

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        match random.below(9) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 if !bytes.is_empty() => bytes[at] = INTERESTING[random.below(INTERESTING.len())],
            3 => bytes.insert(at, random.next() as u8),
            4 if !bytes.is_empty() => drop(bytes.remove(at)),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            6 if bytes.len() >= 4 => {
                let at = random.below(bytes.len() - 3);
                let value = INTERESTING[random.below(INTERESTING.len())];
                bytes[at..at + 4].fill(value);
            }
            7 => {
                let end = (at + random.below(64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.extend_from_slice(&copy);
            }
            _ => {
                // The header of a batch, of a frame or of a block is where most decisions are made.
                let at = random.below(bytes.len().min(80));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
        }
    }
    bytes
}

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
    let cases = match std::env::var("CORELANE_FUZZ_CASES") {
        Ok(text) => text.parse().expect("CORELANE_FUZZ_CASES is a number"),
        Err(_) => CASES_DEFAULT,
    };
    let seeds = seeds();
    for (name, target) in TARGETS {
        let mut random = Random(SEED);
        for seed in &seeds {
            target(seed);
        }
        for case in 0..cases {
            let input = mutate(&mut random, &seeds);
            let survived = catch_unwind(AssertUnwindSafe(|| target(&input))).is_ok();
            assert!(survived, "target {name}, case {case}, input {input:02x?}");
        }
    }
}

/// The harness must be able to fail: this target panics on what mutation surely produces.
#[test]
fn mutation_reaches_what_it_should() {
    let seeds = seeds();
    let mut random = Random(SEED);
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
