//! The run second by second, warm-up and drain included, for plots; and the same as an `HdrHistogram` interval log.

use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::Serialize;

use super::measure::Measurement;

/// One look at the numbers, about a second after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Seconds from the start of the warm-up to the end of this interval.
    pub at_s: f64,
    /// Whether the interval lies in the measured window.
    pub measured: bool,
    /// Records acknowledged, each second.
    pub produced_per_second: f64,
    /// Records received, each second.
    pub consumed_per_second: f64,
    /// Latency to the acknowledgment in microseconds, of what was acknowledged in this interval.
    pub ack_p50_us: Option<f64>,
    /// 99th percentile.
    pub ack_p99_us: Option<f64>,
    /// The largest.
    pub ack_max_us: Option<f64>,
    /// Latency to the consumer.
    pub end_to_end_p99_us: Option<f64>,
}

/// The last numbers of a run are asked for soon after the ones before: no point of their own, for their rates say
/// nothing.
const POINT_MIN: Duration = Duration::from_millis(500);

/// The run so far.
#[derive(Debug, Default)]
pub struct Timeline {
    points: Vec<Point>,
    /// The interval log's lines, if they were asked for. Histograms are written at once: they are large.
    log: Option<Vec<Interval>>,
}

/// One interval's histograms, packed.
#[derive(Debug)]
struct Interval {
    from: Duration,
    lasts: Duration,
    tag: &'static str,
    histogram: hdrhistogram::Histogram<u64>,
}

impl Timeline {
    /// Nothing yet; `logs` says whether an interval log will be asked for.
    pub fn new(logs: bool) -> Self {
        Self {
            points: Vec::new(),
            log: logs.then(Vec::new),
        }
    }

    /// Adds what was measured in the interval that ended `at` after the start and lasted `over`.
    pub fn add(&mut self, at: Duration, over: Duration, measured: bool, last: &Measurement) {
        let seconds = over.as_secs_f64().max(f64::MIN_POSITIVE);
        let (ack, end_to_end) = (&last.ack_latency, &last.end_to_end);
        if over >= POINT_MIN {
            self.points.push(Point {
                at_s: at.as_secs_f64(),
                measured,
                produced_per_second: last.produced.total.records as f64 / seconds,
                consumed_per_second: last.consumed.total.records as f64 / seconds,
                ack_p50_us: ack.percentile_us(50.0),
                ack_p99_us: ack.percentile_us(99.0),
                ack_max_us: ack.percentile_us(100.0),
                end_to_end_p99_us: end_to_end.percentile_us(99.0),
            });
        }
        let Some(log) = &mut self.log else { return };
        for (tag, histogram) in [("ack", ack), ("end-to-end", end_to_end)] {
            if histogram.count() > 0 {
                log.push(Interval {
                    from: at.saturating_sub(over),
                    lasts: over,
                    tag,
                    histogram: histogram.compact(),
                });
            }
        }
    }

    /// The points.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The interval log in `HdrHistogram`'s format, values in nanoseconds (factor 1e-3 for microseconds). `None` if it
    /// was not asked for.
    ///
    /// # Errors
    /// A histogram that cannot be written, which would be a defect.
    pub fn interval_log(&self) -> Option<std::io::Result<Vec<u8>>> {
        let log = self.log.as_ref()?;
        let write = || -> std::io::Result<Vec<u8>> {
            let mut out = Vec::new();
            let mut serializer = V2DeflateSerializer::new();
            let mut writer = IntervalLogWriterBuilder::new()
                .add_comment("corelane-loadgen: latencies in nanoseconds")
                .with_max_value_divisor(1e6)
                .begin_log_with(&mut out, &mut serializer)?;
            for interval in log {
                let tag = Tag::new(interval.tag);
                writer
                    .write_histogram(&interval.histogram, interval.from, interval.lasts, tag)
                    .map_err(|error| std::io::Error::other(format!("{error:?}")))?;
            }
            Ok(out)
        };
        Some(write())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND_NS;
    use crate::report::measure::{Amount, Sent, Window};
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn measurement(latency_ns: u64) -> Measurement {
        let window = Window {
            start_ns: 0,
            end_ns: SECOND_NS,
        };
        let mut measurement = Measurement::new(window);
        let sent = Sent {
            intended_ns: 0,
            sent_ns: 0,
            held_back: false,
        };
        let amount = Amount {
            records: 50,
            bytes: 5_000,
        };
        measurement.acknowledged(&sent, latency_ns, amount);
        measurement
    }

    #[test]
    fn points_and_intervals() {
        let mut timeline = Timeline::new(true);
        let second = Duration::from_secs(1);
        timeline.add(second, second, false, &measurement(1_000_000));
        timeline.add(3 * second, 2 * second, true, &measurement(2_000_000));
        let point = timeline.points()[1];
        assert_eq!((point.at_s, point.produced_per_second), (3.0, 25.0));
        assert!((1_990.0..2_010.0).contains(&point.ack_p99_us.unwrap()));
        assert_eq!(point.end_to_end_p99_us, None);
        let log = timeline.interval_log().unwrap().unwrap();
        let intervals: Vec<(Duration, Duration)> = IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(interval) => {
                    Some((interval.start_timestamp(), interval.duration()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(intervals, [(Duration::ZERO, second), (second, 2 * second)]);
    }

    #[test]
    fn without_a_log_none_is_kept() {
        let mut timeline = Timeline::new(false);
        timeline.add(Duration::ZERO, Duration::ZERO, false, &measurement(5));
        assert!(timeline.interval_log().is_none());
    }
}
