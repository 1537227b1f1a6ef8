//! Mutated input on the stable toolchain: seeded, so that a failure can be repeated by its number.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Target;

const CASES_DEFAULT: u64 = 20_000;
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Values at which lengths and counts go wrong.
const INTERESTING: [u8; 10] = [0x00, 0x01, 0x02, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 0x10, 0x40];

/// xorshift64*: small, seeded and good enough to choose mutations.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts with `seed`; zero counts as one.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new(SEED)
    }
}

/// One of `seeds`, changed in up to six places.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
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

/// How many cases each target gets: `CORELANE_FUZZ_CASES`, or 20,000.
///
/// # Panics
/// It is no number.
pub fn cases() -> u64 {
    match std::env::var("CORELANE_FUZZ_CASES") {
        Ok(text) => text.parse().expect("CORELANE_FUZZ_CASES is a number"),
        Err(_) => CASES_DEFAULT,
    }
}

/// Gives every target the seeds, and then as many mutations of them as [`cases`] says.
///
/// # Panics
/// A target does: target, case and bytes are in the message.
pub fn run_targets(targets: &[(&str, Target)], seeds: &[Vec<u8>]) {
    let cases = cases();
    for (name, target) in targets {
        let mut random = Random::default();
        for seed in seeds {
            target(seed);
        }
        for case in 0..cases {
            let input = mutate(&mut random, seeds);
            let survived = catch_unwind(AssertUnwindSafe(|| target(&input))).is_ok();
            assert!(survived, "target {name}, case {case}, input {input:02x?}");
        }
    }
}
