//! Seeded choices: a test that fails prints its seed, and repeats the same choices when given it.

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

/// `SplitMix64`: small, and good enough to choose moments and sizes.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded from the environment variable `variable` if it is set, else from the clock. Prints the seed.
    pub(crate) fn from_environment(variable: &str) -> Self {
        let seed = match env::var(variable) {
            Ok(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
            Err(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| elapsed.as_micros() as u64),
        };
        println!("seed: {variable}={seed}");
        Self(seed)
    }

    /// A generator with a fixed seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `low..high`.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// Bytes without structure.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
