//! Arrival processes: when the batches of one stream are due, as offsets in nanoseconds from the run's start.
//!
//! Each is an absolute schedule, made without looking at what the server does. All but Poisson are a constant schedule
//! whose time is bent, so that they offer exactly the batches their rate promises. A Poisson schedule is drawn from a
//! seed: the same seed gives the same schedule. Independent Poisson streams add up to a Poisson stream, so each
//! connection draws its own.
//!
//! Invariant: due times never fall.

use std::time::Duration;

use crate::clock::{SECOND_NS, duration_ns};

/// The shape of the load over time; its mean is the rate, but for a ramp, which ends at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Evenly spaced.
    Constant,
    /// Independent of each other, as the requests of many users are.
    Poisson,
    /// Rising or falling evenly from another rate to the rate, then constant.
    Ramp {
        /// The rate at the start as a part of the rate.
        from_share: f64,
        /// How long it takes.
        over: Duration,
    },
    /// Everything of a period comes in its first part, evenly spaced; then nothing until the next.
    Burst {
        /// The period.
        period: Duration,
        /// The part of it that is loaded, above 0 and up to 1.
        duty: f64,
    },
}

/// The arrivals of one stream of batches, taken one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    process: Process,
    next_ns: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Process {
    Constant(Even),
    Poisson {
        mean_ns: f64,
        at_ns: f64,
        random: Random,
    },
    Ramp {
        /// Batches a second at the start and at the end.
        from: f64,
        to: f64,
        over_s: f64,
        index: f64,
    },
    Burst {
        even: Even,
        period_ns: u64,
        duty: f64,
    },
}

/// Evenly spaced times.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Even {
    phase_ns: u64,
    /// A fixed-point number with 32 fractional bits, so that rates that do not divide a second do not drift.
    interval_fixed: u128,
    index: u64,
}

const FRACTION_BITS: u32 = 32;

impl Even {
    fn new(batches_per_second: f64, phase: f64) -> Self {
        let interval_ns = 1e9 / batches_per_second;
        Self {
            phase_ns: (interval_ns * phase) as u64,
            interval_fixed: (interval_ns * f64::from(2u32).powi(FRACTION_BITS as i32)) as u128,
            index: 0,
        }
    }

    fn take(&mut self) -> u64 {
        let offset = (u128::from(self.index) * self.interval_fixed) >> FRACTION_BITS;
        self.index += 1;
        self.phase_ns.saturating_add(offset as u64)
    }
}

impl Arrivals {
    /// `batches_per_second` in the given shape. Where the shape is even, the first is due `phase` of an interval (0 to
    /// 1) after the start, so that many streams do not all fire at once. `seed` is for shapes that draw lots.
    pub fn new(shape: Shape, batches_per_second: f64, phase: f64, seed: u64) -> Self {
        let phase = phase.clamp(0.0, 1.0);
        let process = match shape {
            Shape::Constant => Process::Constant(Even::new(batches_per_second, phase)),
            Shape::Poisson => Process::Poisson {
                mean_ns: 1e9 / batches_per_second,
                at_ns: 0.0,
                random: Random::new(seed),
            },
            Shape::Ramp { from_share, over } => Process::Ramp {
                from: batches_per_second * from_share.max(0.0),
                to: batches_per_second,
                over_s: over.as_secs_f64(),
                index: phase,
            },
            Shape::Burst { period, duty } => Process::Burst {
                even: Even::new(batches_per_second, phase),
                period_ns: duration_ns(period).max(1),
                duty: duty.clamp(f64::MIN_POSITIVE, 1.0),
            },
        };
        let mut arrivals = Self {
            process,
            next_ns: 0,
        };
        arrivals.advance();
        arrivals
    }

    /// Evenly spaced arrivals.
    pub fn constant(batches_per_second: f64, phase: f64) -> Self {
        Self::new(Shape::Constant, batches_per_second, phase, 0)
    }

    /// When the next batch is due.
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Goes on to the batch after it.
    pub fn advance(&mut self) {
        let due_ns = match &mut self.process {
            Process::Constant(even) => even.take(),
            Process::Poisson {
                mean_ns,
                at_ns,
                random,
            } => {
                *at_ns -= *mean_ns * random.open_unit().ln();
                *at_ns as u64
            }
            Process::Ramp {
                from,
                to,
                over_s,
                index,
            } => {
                let due_s = ramp_s(*from, *to, *over_s, *index);
                *index += 1.0;
                (due_s * SECOND_NS as f64) as u64
            }
            Process::Burst {
                even,
                period_ns,
                duty,
            } => {
                let even_ns = even.take();
                let within_ns = even_ns % *period_ns;
                even_ns - within_ns + (within_ns as f64 * *duty) as u64
            }
        };
        self.next_ns = self.next_ns.max(due_ns);
    }
}

/// When a load that goes evenly from one rate to another has brought `count` batches.
///
/// The number up to `t` is `from * t + slope * t^2 / 2`; this is its inverse, in the form that does not cancel.
fn ramp_s(from: f64, to: f64, over_s: f64, count: f64) -> f64 {
    let on_ramp = f64::midpoint(from, to) * over_s;
    if count >= on_ramp {
        return over_s + (count - on_ramp) / to;
    }
    let slope = (to - from) / over_s;
    let root = (from * from + 2.0 * slope * count).max(0.0).sqrt();
    let divisor = from + root;
    if divisor > 0.0 {
        2.0 * count / divisor
    } else {
        0.0
    }
}

/// Random numbers from a seed (xorshift64*): cheap enough for each batch, and the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// From a seed; every seed gives another sequence.
    pub fn new(seed: u64) -> Self {
        // Seeds are small numbers that differ by one; this spreads them (splitmix64).
        let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number above 0 and below 1.
    pub fn open_unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_before(mut arrivals: Arrivals, end_ns: u64) -> Vec<u64> {
        let mut due = Vec::new();
        while arrivals.next_ns() < end_ns {
            due.push(arrivals.next_ns());
            arrivals.advance();
        }
        assert!(due.is_sorted(), "due times never fall");
        due
    }

    fn between(due: &[u64], from_ms: u64, to_ms: u64) -> usize {
        let range = from_ms * 1_000_000..to_ms * 1_000_000;
        due.iter().filter(|due_ns| range.contains(due_ns)).count()
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        // 3 batches a second do not divide a second: after 3 million batches the schedule is still on the million seconds.
        let mut arrivals = Arrivals::constant(3.0, 0.0);
        for _ in 0..3_000_000 {
            arrivals.advance();
        }
        let due_ns = arrivals.next_ns();
        assert!(due_ns.abs_diff(1_000_000 * SECOND_NS) <= 1_000, "{due_ns}");
    }

    #[test]
    fn the_phase_shifts_the_first_batch() {
        let due = due_before(Arrivals::constant(1000.0, 0.25), 2_000_000);
        assert_eq!(due, [250_000, 1_250_000]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_their_kind() {
        let arrivals = |seed| Arrivals::new(Shape::Poisson, 1000.0, 0.5, seed);
        let due = due_before(arrivals(7), 100 * SECOND_NS);
        // A hundred thousand expected, with a standard deviation of 316.
        assert!(due.len().abs_diff(100_000) < 1_600, "{}", due.len());
        // Of exponential gaps 63.2 % are shorter than their mean; of even ones about half, or all.
        let gaps = due.windows(2).map(|pair| pair[1] - pair[0]);
        let short = gaps.filter(|gap| *gap < 1_000_000).count() as f64 / due.len() as f64;
        assert!((short - 0.632).abs() < 0.01, "{short}");
        assert_eq!(due, due_before(arrivals(7), 100 * SECOND_NS));
        assert_ne!(due[..10], due_before(arrivals(8), SECOND_NS)[..10]);
    }

    #[test]
    fn a_ramp_goes_from_one_rate_to_the_other_and_stays() {
        let shape = |from_share| Shape::Ramp {
            from_share,
            over: Duration::from_secs(10),
        };
        let up = due_before(Arrivals::new(shape(0.0), 1000.0, 0.0, 0), 12 * SECOND_NS);
        assert!(between(&up, 0, 10_000).abs_diff(5_000) <= 1);
        assert!(between(&up, 0, 1_000).abs_diff(50) <= 1);
        assert!(between(&up, 9_000, 10_000).abs_diff(950) <= 1);
        assert!(between(&up, 11_000, 12_000).abs_diff(1_000) <= 1);
        let down = due_before(Arrivals::new(shape(3.0), 1000.0, 0.5, 0), 12 * SECOND_NS);
        assert!(between(&down, 0, 10_000).abs_diff(20_000) <= 1);
        assert!(between(&down, 0, 1_000).abs_diff(2_900) <= 1);
        assert!(between(&down, 11_000, 12_000).abs_diff(1_000) <= 1);
        let flat = due_before(Arrivals::new(shape(1.0), 1000.0, 0.0, 0), 2 * SECOND_NS);
        assert!(between(&flat, 0, 2_000).abs_diff(2_000) <= 1);
    }

    #[test]
    fn a_burst_keeps_the_mean_and_leaves_the_rest_of_the_period_empty() {
        let shape = Shape::Burst {
            period: Duration::from_millis(500),
            duty: 0.2,
        };
        let due = due_before(Arrivals::new(shape, 1000.0, 0.0, 0), 10 * SECOND_NS);
        assert_eq!(due.len(), 10_000);
        for period in 0..20 {
            let start_ms = period * 500;
            assert_eq!(between(&due, start_ms, start_ms + 100), 500);
            assert_eq!(between(&due, start_ms + 100, start_ms + 500), 0);
        }
    }

    #[test]
    fn random_numbers_below_a_bound_reach_all_of_them_alike() {
        let mut random = Random::new(3);
        let mut counts = [0; 7];
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)));
    }
}
