//! How keys spread the load over partitions: evenly, or as the keys of a Zipf distribution would.
//!
//! Key number `k` of `keys` has a part of the load in proportion to `1 / k^s`; a key belongs to the partition that its
//! hash says. What a broker sees of that is how the load is spread over partitions, so that is what the generator
//! makes: each batch goes to a partition drawn by these weights. Records carry no keys.
//!
//! Drawing takes constant time and no memory (Vose's alias method).

use super::arrivals::Random;

/// Keys that are told apart; beyond that many the tail no longer matters to a partition's weight.
const KEYS_MAX: u32 = 10_000_000;

/// The keys of a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keys {
    /// How many.
    pub count: u32,
    /// The exponent of the Zipf distribution; 0 is even.
    pub skew: f64,
}

/// The part of the load of each partition, adding up to 1.
pub fn partition_weights(keys: Option<Keys>, partitions: u32) -> Vec<f64> {
    let Some(keys) = keys else {
        return vec![1.0 / f64::from(partitions); partitions as usize];
    };
    let mut weights = vec![0.0; partitions as usize];
    let mut total = 0.0;
    for key in 1..=keys.count.clamp(1, KEYS_MAX) {
        let weight = f64::from(key).powf(-keys.skew);
        // A hash of its own for each key; which one does not matter.
        weights[Random::new(u64::from(key)).below(partitions as usize)] += weight;
        total += weight;
    }
    for weight in &mut weights {
        *weight /= total;
    }
    weights
}

/// Draws places by weight.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedDraw {
    /// For each place the chance that it stands, and the other that is taken where it does not.
    columns: Vec<(f64, usize)>,
    random: Random,
}

impl WeightedDraw {
    /// Draws from `weights`, of which at least one is above 0.
    pub fn new(weights: &[f64], seed: u64) -> Self {
        let total: f64 = weights.iter().sum();
        let mean = total / weights.len() as f64;
        let mut columns: Vec<(f64, usize)> = weights
            .iter()
            .enumerate()
            .map(|(place, weight)| (weight / mean, place))
            .collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..columns.len()).partition(|place| columns[*place].0 < 1.0);
        while let (Some(less), Some(&more)) = (small.pop(), large.last()) {
            columns[less].1 = more;
            columns[more].0 -= 1.0 - columns[less].0;
            if columns[more].0 < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        // What is left over is a full column but for rounding.
        for place in small.into_iter().chain(large) {
            columns[place].0 = 1.0;
        }
        Self {
            columns,
            random: Random::new(seed),
        }
    }

    /// The next place.
    pub fn draw(&mut self) -> usize {
        let column = self.random.below(self.columns.len());
        let (stands, other) = self.columns[column];
        if self.random.open_unit() < stands {
            column
        } else {
            other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(skew: f64) -> Keys {
        Keys {
            count: 10_000,
            skew,
        }
    }

    #[test]
    fn weights_add_up_and_grow_uneven_with_the_skew() {
        let even = partition_weights(None, 8);
        assert!(even.iter().all(|weight| (*weight - 0.125).abs() < 1e-12));
        let mut before = 0.0;
        for skew in [0.0, 0.8, 1.2, 2.0] {
            let weights = partition_weights(Some(keys(skew)), 8);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let most = weights.iter().copied().fold(0.0, f64::max);
            assert!(most > before, "skew {skew}: {weights:?}");
            before = most;
        }
        // With an exponent of 2 the first key alone has 6 / pi^2 of the load.
        assert!(before > 0.6, "{before}");
    }

    #[test]
    fn draws_follow_the_weights() {
        let weights = [0.5, 0.25, 0.0, 0.125, 0.125];
        let mut draw = WeightedDraw::new(&weights, 1);
        let mut counts = [0; 5];
        for _ in 0..100_000 {
            counts[draw.draw()] += 1;
        }
        for (count, weight) in counts.iter().zip(weights) {
            let share = f64::from(*count) / 100_000.0;
            assert!((share - weight).abs() < 0.01, "{counts:?}");
        }
        assert_eq!(counts[2], 0);
        let mut only = WeightedDraw::new(&[3.0], 1);
        assert_eq!(only.draw(), 0);
    }
}
