//! Latency histograms: recorded in nanoseconds, merged exactly, percentiles read only from the merged whole.
//!
//! Three significant digits over 1 ns to one hour; what is longer counts as an hour. A histogram takes about a
//! quarter of a mebibyte.

use std::io::{self, Write};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency told apart.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// A latency distribution.
#[derive(Debug, Clone)]
pub struct LatencyHistogram(Histogram<u64>);

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("constant bounds are sound"))
    }
}

impl LatencyHistogram {
    /// Records one latency for `count` records.
    #[inline]
    pub fn record(&mut self, latency_ns: u64, count: u64) {
        self.0.saturating_record_n(latency_ns, count);
    }

    /// Adds another histogram. Percentiles of the sum are those of all recorded values.
    pub fn merge(&mut self, other: &LatencyHistogram) {
        self.0
            .add(&other.0)
            .expect("all histograms have the same bounds");
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// A percentile in microseconds; `None` when nothing was recorded.
    pub fn percentile_us(&self, percentile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| microseconds(self.0.value_at_percentile(percentile)))
    }

    /// The percentiles everybody asks for.
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.count(),
            min: (!self.0.is_empty()).then(|| microseconds(self.0.min())),
            mean: (!self.0.is_empty()).then(|| round(self.0.mean() / 1e3)),
            p50: self.percentile_us(50.0),
            p90: self.percentile_us(90.0),
            p99: self.percentile_us(99.0),
            p999: self.percentile_us(99.9),
            p9999: self.percentile_us(99.99),
            max: (!self.0.is_empty()).then(|| microseconds(self.0.max())),
        }
    }

    /// The distribution as (quantile, microseconds), ascending, with a few dozen points for each order of magnitude of
    /// the distance to 1.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let steps = self.0.iter_quantiles(4);
        steps
            .map(|step| {
                let us = microseconds(step.value_iterated_to());
                (step.quantile_iterated_to(), us)
            })
            .collect()
    }

    /// The histogram in as little memory as its values need, to be kept.
    pub fn compact(&self) -> Histogram<u64> {
        let mut compact = Histogram::new(3).expect("three digits are sound");
        compact
            .add(&self.0)
            .expect("a histogram that resizes itself takes any value");
        compact
    }

    /// Writes the distribution in `HdrHistogram`'s percentile format, values in microseconds, for its plotters.
    pub fn write_percentiles(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{:>12} {:>14} {:>10} {:>14}\n",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        )?;
        let mut total = 0;
        for step in self.0.iter_quantiles(5) {
            total += step.count_since_last_iteration();
            let quantile = step.quantile_iterated_to();
            let value = step.value_iterated_to() as f64 / 1e3;
            write!(out, "{value:>12.3} {quantile:>2.12} {total:>10}")?;
            if quantile < 1.0 {
                writeln!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
            } else {
                writeln!(out, " {:>14}", "inf")?;
            }
        }
        let (mean, deviation) = (self.0.mean() / 1e3, self.0.stdev() / 1e3);
        let max = self.0.max() as f64 / 1e3;
        writeln!(
            out,
            "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]"
        )?;
        writeln!(
            out,
            "#[Max     = {max:>12.3}, Total count    = {:>12}]",
            self.count()
        )?;
        writeln!(
            out,
            "#[Buckets = {:>12}, SubBuckets     = {:>12}]",
            self.0.buckets(),
            self.0.distinct_values() / usize::from(self.0.buckets()).max(1)
        )
    }
}

/// Percentiles in microseconds; all `None` when nothing was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Recorded values.
    pub count: u64,
    /// The smallest.
    pub min: Option<f64>,
    /// The arithmetic mean.
    pub mean: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// 99.99th percentile.
    pub p9999: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

fn microseconds(ns: u64) -> f64 {
    round(ns as f64 / 1e3)
}

/// Three decimals are what the histogram's resolution can bear.
fn round(us: f64) -> f64 {
    (us * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_percentiles_are_those_of_the_whole_and_not_an_average() {
        let mut fast = LatencyHistogram::default();
        fast.record(100_000, 9_900);
        let mut slow = LatencyHistogram::default();
        slow.record(50_000_000, 100);
        let average = f64::midpoint(
            fast.percentile_us(99.5).unwrap(),
            slow.percentile_us(99.5).unwrap(),
        );
        fast.merge(&slow);
        assert_eq!(fast.count(), 10_000);
        let p995 = fast.percentile_us(99.5).unwrap();
        assert!((49_900.0..50_100.0).contains(&p995), "{p995}");
        assert!(p995 > average * 1.5);
        let p50 = fast.percentile_us(50.0).unwrap();
        assert!((99.9..100.2).contains(&p50), "{p50}");
    }

    #[test]
    fn nothing_recorded_is_nothing_and_not_zero() {
        let summary = LatencyHistogram::default().summary();
        assert_eq!((summary.count, summary.p50, summary.max), (0, None, None));
    }

    #[test]
    fn beyond_an_hour_saturates() {
        let mut histogram = LatencyHistogram::default();
        histogram.record(u64::MAX, 1);
        assert!(histogram.percentile_us(100.0).unwrap() >= 3.59e9);
    }

    #[test]
    fn the_percentile_file_is_ascending_and_complete() {
        let mut histogram = LatencyHistogram::default();
        for ns in 1..=1_000 {
            histogram.record(ns * 1_000, 1);
        }
        let mut file = Vec::new();
        histogram.write_percentiles(&mut file).unwrap();
        let text = String::from_utf8(file).unwrap();
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| {
                line.split_whitespace()
                    .map(|cell| cell.parse().unwrap())
                    .collect()
            })
            .collect();
        assert!(
            rows.windows(2)
                .all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1])
        );
        let last = rows.last().unwrap();
        assert_eq!((last[1], last[2]), (1.0, 1_000.0));
        assert!(text.contains("#[Max"), "{text}");
    }
}
