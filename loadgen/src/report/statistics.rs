//! Whether two sets of repeated measurements differ: medians, their ratio with a bootstrap interval, and the
//! Mann-Whitney U test.
//!
//! The interval is the percentile bootstrap (Efron, 1979): both sets are drawn anew with replacement, and the middle
//! 95 % of the ratios of medians are kept. The test is Mann and Whitney's (1947), two-sided, with the exact
//! distribution of U where there are no ties and few values, and the normal approximation with a correction for ties
//! otherwise. Neither assumes that measurements are normal, which latencies are not.
//!
//! Pure, and the same on every call: the lots are drawn from a fixed seed.

use crate::load::arrivals::Random;

/// How often the sets are drawn anew.
const RESAMPLES: usize = 10_000;

/// Up to this many values in both sets together U's distribution is counted out.
const EXACT_MAX: usize = 40;

/// A ratio of medians and where it lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The other median over the first.
    pub ratio: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The median; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted.get(middle).copied()
    } else {
        Some(f64::midpoint(
            *sorted.get(middle.checked_sub(1)?)?,
            *sorted.get(middle)?,
        ))
    }
}

/// The ratio of `other`'s median to `base`'s. `None` if one is empty, or the base's median is not above 0.
pub fn ratio_of_medians(base: &[f64], other: &[f64]) -> Option<Ratio> {
    let ratio = median(other)? / median(base).filter(|median| *median > 0.0)?;
    let mut random = Random::new(1);
    let mut draw = |from: &[f64]| -> Option<f64> {
        let drawn: Vec<f64> = from
            .iter()
            .map(|_| from[random.below(from.len())])
            .collect();
        median(&drawn)
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| Some((draw(base)?, draw(other)?)))
        .filter(|(base, _)| *base > 0.0)
        .map(|(base, other)| other / base)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios.get(((ratios.len() - 1) as f64 * share) as usize);
    Some(Ratio {
        ratio,
        low: at(0.025).copied().unwrap_or(ratio),
        high: at(0.975).copied().unwrap_or(ratio),
    })
}

/// The probability, if both sets came from the same distribution, of a difference as large as this. 1 if one is empty.
pub fn mann_whitney_p(base: &[f64], other: &[f64]) -> f64 {
    let (few, many) = (base.len(), other.len());
    if few == 0 || many == 0 {
        return 1.0;
    }
    let mut all: Vec<(f64, bool)> = base
        .iter()
        .map(|value| (*value, true))
        .chain(other.iter().map(|value| (*value, false)))
        .collect();
    all.sort_by(|left, right| left.0.total_cmp(&right.0));
    // Equal values share the mean of their ranks.
    let (mut rank_sum, mut tie_term) = (0.0, 0.0);
    let mut first = 0;
    while first < all.len() {
        let equal = all[first..]
            .iter()
            .take_while(|(value, _)| value.total_cmp(&all[first].0).is_eq())
            .count();
        let rank = first as f64 + f64::midpoint(equal as f64, 1.0);
        let of_base = all[first..first + equal].iter().filter(|one| one.1).count();
        rank_sum += rank * of_base as f64;
        tie_term += (equal as f64).powi(3) - equal as f64;
        first += equal;
    }
    let pairs = (few * many) as f64;
    let u = rank_sum - (few * (few + 1)) as f64 / 2.0;
    let least = u.min(pairs - u);
    let total = (few + many) as f64;
    if tie_term == 0.0 && few + many <= EXACT_MAX {
        return exact_p(few, many, least as usize);
    }
    let variance = pairs / 12.0 * (total + 1.0 - tie_term / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = ((pairs / 2.0 - least).abs() - 0.5).max(0.0) / variance.sqrt();
    (2.0 * upper_tail(z)).min(1.0)
}

/// Two-sided, from the number of arrangements with each U.
fn exact_p(few: usize, many: usize, least: usize) -> f64 {
    // counts[i][u]: arrangements of i of the one and the j so far of the other with U = u.
    let size = few * many + 1;
    let mut counts = vec![vec![0.0; size]; few + 1];
    for row in &mut counts {
        row[0] = 1.0;
    }
    for j in 1..=many {
        let mut next = vec![vec![0.0; size]; few + 1];
        next[0][0] = 1.0;
        for i in 1..=few {
            for u in 0..size {
                // The highest value is one of the first kind, above all j of the other, or one of the other.
                let of_first = if u >= j { next[i - 1][u - j] } else { 0.0 };
                next[i][u] = of_first + counts[i][u];
            }
        }
        counts = next;
    }
    let row = &counts[few];
    let all: f64 = row.iter().sum();
    let tail: f64 = row[..=least.min(size - 1)].iter().sum();
    (2.0 * tail / all).min(1.0)
}

/// The normal distribution's upper tail (Abramowitz and Stegun 26.2.17; off by less than 1e-7).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let coefficients = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let polynomial = coefficients
        .iter()
        .rev()
        .fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * polynomial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_test_agrees_with_published_tables() {
        // Two-sided exact p of complete separation: 2 / C(n + m, n).
        let low = [1.0, 2.0, 3.0, 4.0, 5.0];
        let high = [6.0, 7.0, 8.0, 9.0, 10.0];
        assert!((mann_whitney_p(&low, &high) - 2.0 / 252.0).abs() < 1e-12);
        assert!((mann_whitney_p(&low[..3], &high[..3]) - 0.1).abs() < 1e-12);
        // The critical value of U for 5 and 5 at 0.05, two-sided, is 2: p is 8/252 there and above 0.05 at 3.
        let (one, other) = ([1.0, 2.0, 3.0, 4.0, 8.0], [5.0, 6.0, 7.0, 9.0, 10.0]);
        let at_3 = mann_whitney_p(&one, &other);
        assert!((at_3 - 14.0 / 252.0).abs() < 1e-12, "{at_3}");
        // Alike is not different; nor is nothing.
        assert!(mann_whitney_p(&low, &low) > 0.9);
        assert!(mann_whitney_p(&[], &low) > 0.999);
        assert!(mann_whitney_p(&[1.0; 5], &[1.0; 5]) > 0.999);
    }

    #[test]
    fn the_approximation_meets_the_exact_distribution() {
        let one: Vec<f64> = (0..20).map(|n| f64::from(n) * 2.0).collect();
        let other: Vec<f64> = (0..20).map(|n| f64::from(n) * 2.0 + 9.0).collect();
        let exact = mann_whitney_p(&one, &other);
        // A tie at the edge forces the approximation and changes little else.
        let mut tied = other.clone();
        tied[19] = tied[18];
        let approximate = mann_whitney_p(&one, &tied);
        assert!((exact - approximate).abs() < 0.01, "{exact} {approximate}");
    }

    #[test]
    fn the_interval_holds_the_ratio_and_is_repeatable() {
        let base = [100.0, 102.0, 98.0, 101.0, 99.0];
        let other = [111.0, 109.0, 110.0, 112.0, 108.0];
        let ratio = ratio_of_medians(&base, &other).unwrap();
        assert!((ratio.ratio - 1.1).abs() < 1e-9);
        assert!(ratio.low <= 1.1 && 1.1 <= ratio.high && ratio.low > 1.05);
        assert_eq!(ratio_of_medians(&base, &other), Some(ratio));
        assert_eq!(ratio_of_medians(&[], &other), None);
        assert_eq!(ratio_of_medians(&[0.0], &other), None);
    }
}
