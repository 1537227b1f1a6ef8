//! What one load core counts and times, and how the parts of all cores add up.
//!
//! Two rules keep the numbers honest:
//! - *Latency* belongs to the batch: it counts when the batch was **meant** to go within the measured window, however
//!   late its answer comes, so a stall at the end of the window is not cut off. A batch that never went counts with
//!   the time it had waited by the end, as the least its latency can have been.
//! - *Throughput* belongs to the window: what was acknowledged or received between its start and its end, over its
//!   length.
//!
//! A load core hands its counts over once a second and starts afresh; the coordinator adds them up. Histograms are
//! added, never averaged.

use super::histogram::LatencyHistogram;
use crate::clock::SECOND_NS;

/// The measured part of a run: `start_ns..end_ns` on the run's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When warm-up ends.
    pub start_ns: u64,
    /// When sending ends.
    pub end_ns: u64,
}

impl Window {
    /// Whether a moment lies within.
    pub fn contains(&self, at_ns: u64) -> bool {
        (self.start_ns..self.end_ns).contains(&at_ns)
    }

    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end_ns - self.start_ns) as f64 / SECOND_NS as f64
    }

    /// Which whole second of the window a moment within belongs to; `None` in a last, partial second.
    fn whole_second(&self, at_ns: u64) -> Option<usize> {
        let second = (at_ns.checked_sub(self.start_ns)?) / SECOND_NS;
        (second < (self.end_ns - self.start_ns) / SECOND_NS).then_some(second as usize)
    }
}

/// Records and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many records.
    pub records: u64,
    /// The bytes of their values.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, other: Amount) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// Counts of one direction.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Everything, warm-up and drain included.
    pub total: Amount,
    /// What fell into the window.
    pub in_window: Amount,
    /// Records in each whole second of the window.
    pub per_second: Vec<u64>,
}

impl Flow {
    fn count(&mut self, window: &Window, now_ns: u64, amount: Amount) {
        self.total.add(amount);
        if window.contains(now_ns) {
            self.in_window.add(amount);
            if let Some(second) = window.whole_second(now_ns) {
                if self.per_second.len() <= second {
                    self.per_second.resize(second + 1, 0);
                }
                self.per_second[second] += amount.records;
            }
        }
    }

    fn merge(&mut self, other: &Flow) {
        self.total.add(other.total);
        self.in_window.add(other.in_window);
        if self.per_second.len() < other.per_second.len() {
            self.per_second.resize(other.per_second.len(), 0);
        }
        for (own, others) in self.per_second.iter_mut().zip(&other.per_second) {
            *own += others;
        }
    }
}

/// When a batch was meant to go and when it went.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The time its records carry.
    pub intended_ns: u64,
    /// When it was handed to the connection.
    pub sent_ns: u64,
    /// The in-flight window was full when it was due.
    pub held_back: bool,
}

/// Everything one load core measured since it last handed over.
#[derive(Debug, Clone)]
pub struct Measurement {
    window: Window,
    /// Acknowledged (or, with acks=0, sent).
    pub produced: Flow,
    /// Received.
    pub consumed: Flow,
    /// From the intended time to the acknowledgment, weighted by records.
    pub ack_latency: LatencyHistogram,
    /// From the actual sending to the acknowledgment.
    pub service_time: LatencyHistogram,
    /// From the intended to the actual sending.
    pub schedule_lag: LatencyHistogram,
    /// From the intended time to the arrival at the consumer, one value per record.
    pub end_to_end: LatencyHistogram,
    /// From the end of the window to the arrival at the consumer, of what arrived after it: how long the backlog took.
    pub drain: LatencyHistogram,
    /// Read by slow consumers.
    pub slow: Flow,
    /// Read by consumers that replay.
    pub replayed: Flow,
    /// Batches of the window that were due while the in-flight window was full.
    pub held_back_batches: u64,
    /// Batches of the window that were sent.
    pub window_batches: u64,
    /// Records of the window that were due and never sent.
    pub unsent_records: u64,
    /// Records refused, or whose outcome is unknown.
    pub failed_records: u64,
}

impl Measurement {
    /// Nothing measured yet.
    pub fn new(window: Window) -> Self {
        Self {
            window,
            produced: Flow::default(),
            consumed: Flow::default(),
            ack_latency: LatencyHistogram::default(),
            service_time: LatencyHistogram::default(),
            schedule_lag: LatencyHistogram::default(),
            end_to_end: LatencyHistogram::default(),
            drain: LatencyHistogram::default(),
            slow: Flow::default(),
            replayed: Flow::default(),
            held_back_batches: 0,
            window_batches: 0,
            unsent_records: 0,
            failed_records: 0,
        }
    }

    /// The measured window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Takes what was measured and starts afresh.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.window))
    }

    /// A batch went out.
    pub fn sent(&mut self, sent: &Sent, records: u64) {
        if self.window.contains(sent.intended_ns) {
            self.window_batches += 1;
            self.held_back_batches += u64::from(sent.held_back);
            self.schedule_lag
                .record(sent.sent_ns.saturating_sub(sent.intended_ns), records);
        }
    }

    /// A batch was acknowledged at `now_ns`.
    pub fn acknowledged(&mut self, sent: &Sent, now_ns: u64, amount: Amount) {
        self.produced.count(&self.window, now_ns, amount);
        if self.window.contains(sent.intended_ns) {
            self.ack_latency
                .record(now_ns.saturating_sub(sent.intended_ns), amount.records);
            self.service_time
                .record(now_ns.saturating_sub(sent.sent_ns), amount.records);
        }
    }

    /// A batch went out that will never be acknowledged (acks=0).
    pub fn sent_for_good(&mut self, now_ns: u64, amount: Amount) {
        self.produced.count(&self.window, now_ns, amount);
    }

    /// A batch of `records` was due at `intended_ns` and had not been sent when the run ended at `end_ns`.
    pub fn unsent(&mut self, intended_ns: u64, end_ns: u64, records: u64) {
        if self.window.contains(intended_ns) {
            let waited_ns = end_ns.saturating_sub(intended_ns);
            self.unsent_records += records;
            self.schedule_lag.record(waited_ns, records);
            self.ack_latency.record(waited_ns, records);
        }
    }

    /// Records were refused or are in doubt.
    pub fn failed(&mut self, records: u64) {
        self.failed_records += records;
    }

    /// Records arrived at a consumer at `now_ns`.
    pub fn received(&mut self, now_ns: u64, amount: Amount) {
        self.consumed.count(&self.window, now_ns, amount);
        if now_ns >= self.window.end_ns {
            self.drain
                .record(now_ns - self.window.end_ns, amount.records);
        }
    }

    /// Records arrived at a consumer that is not meant to keep up.
    pub fn received_late(&mut self, now_ns: u64, amount: Amount, replayed: bool) {
        let flow = if replayed {
            &mut self.replayed
        } else {
            &mut self.slow
        };
        flow.count(&self.window, now_ns, amount);
    }

    /// `records` that arrived at `now_ns` were all meant to go at `intended_ns`.
    pub fn received_end_to_end(&mut self, intended_ns: u64, now_ns: u64, records: u64) {
        if self.window.contains(intended_ns) {
            self.end_to_end
                .record(now_ns.saturating_sub(intended_ns), records);
        }
    }

    /// Adds what another core, or this one later, measured.
    pub fn merge(&mut self, other: &Measurement) {
        self.produced.merge(&other.produced);
        self.consumed.merge(&other.consumed);
        self.ack_latency.merge(&other.ack_latency);
        self.service_time.merge(&other.service_time);
        self.schedule_lag.merge(&other.schedule_lag);
        self.end_to_end.merge(&other.end_to_end);
        self.drain.merge(&other.drain);
        self.slow.merge(&other.slow);
        self.replayed.merge(&other.replayed);
        self.held_back_batches += other.held_back_batches;
        self.window_batches += other.window_batches;
        self.unsent_records += other.unsent_records;
        self.failed_records += other.failed_records;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::arrivals::Arrivals;
    use crate::load::schedule::{Pace, Pacer, Step};

    const MS: u64 = 1_000_000;

    /// A server that answers one batch after the other, each in `service_ns`, and stands still during `stall`.
    fn simulate(pace: Pace, in_flight: usize, stall: std::ops::Range<u64>) -> Measurement {
        let window = Window {
            start_ns: 0,
            end_ns: 10 * SECOND_NS,
        };
        let service_ns = MS / 10;
        let mut measurement = Measurement::new(window);
        let mut pacer = Pacer::new(pace, 0, window.end_ns);
        let mut in_flight_batches: std::collections::VecDeque<(Sent, u64)> =
            std::collections::VecDeque::new();
        let mut server_free_ns = 0;
        let mut now_ns = 0;
        loop {
            while in_flight_batches
                .front()
                .is_some_and(|(_, done_ns)| *done_ns <= now_ns)
            {
                let (sent, done_ns) = in_flight_batches.pop_front().unwrap();
                measurement.acknowledged(
                    &sent,
                    done_ns,
                    Amount {
                        records: 1,
                        bytes: 100,
                    },
                );
            }
            let next_answer = in_flight_batches.front().map(|(_, done_ns)| *done_ns);
            match pacer.step(now_ns, in_flight_batches.len() < in_flight) {
                Step::Send {
                    intended_ns,
                    held_back,
                } => {
                    let sent = Sent {
                        intended_ns,
                        sent_ns: now_ns,
                        held_back,
                    };
                    measurement.sent(&sent, 1);
                    let mut start_ns = now_ns.max(server_free_ns);
                    if stall.contains(&start_ns) {
                        start_ns = stall.end;
                    }
                    server_free_ns = start_ns + service_ns;
                    in_flight_batches.push_back((sent, server_free_ns));
                }
                Step::Wait { until_ns } => {
                    now_ns = until_ns
                        .min(next_answer.unwrap_or(u64::MAX))
                        .max(now_ns + 1);
                }
                Step::Blocked => now_ns = next_answer.unwrap(),
                Step::Done => break,
            }
        }
        for (sent, done_ns) in in_flight_batches {
            measurement.acknowledged(
                &sent,
                done_ns,
                Amount {
                    records: 1,
                    bytes: 100,
                },
            );
        }
        for intended_ns in pacer.unsent() {
            measurement.unsent(intended_ns, window.end_ns, 1);
        }
        measurement
    }

    #[test]
    fn an_open_loop_does_not_omit_what_a_stall_held_up() {
        // A thousand batches a second for ten seconds, and the server stands still for one of them: a tenth of all
        // batches was due during the stall and waited half of it on average.
        let open = simulate(
            Pace::Open(Arrivals::constant(1000.0, 0.0)),
            4,
            4 * SECOND_NS..5 * SECOND_NS,
        );
        assert_eq!(open.ack_latency.count(), 10_000);
        let p99 = open.ack_latency.percentile_us(99.0).unwrap();
        assert!((850_000.0..1_000_000.0).contains(&p99), "p99 {p99} us");
        let p95 = open.ack_latency.percentile_us(95.0).unwrap();
        assert!((450_000.0..600_000.0).contains(&p95), "p95 {p95} us");
        assert!(open.held_back_batches > 0);

        // Service time, what a client that waits its turn would have reported, hides the stall.
        let service_p99 = open.service_time.percentile_us(99.0).unwrap();
        assert!(service_p99 < 1_000.0, "service p99 {service_p99} us");

        // So does a closed loop: only the batches in flight notice.
        let closed = simulate(Pace::Closed, 4, 4 * SECOND_NS..5 * SECOND_NS);
        let closed_p99 = closed.ack_latency.percentile_us(99.0).unwrap();
        assert!(closed_p99 < 1_000.0, "closed p99 {closed_p99} us");
    }

    #[test]
    fn a_stall_that_outlasts_the_run_still_counts() {
        let open = simulate(
            Pace::Open(Arrivals::constant(1000.0, 0.0)),
            4,
            9 * SECOND_NS..60 * SECOND_NS,
        );
        assert_eq!(open.ack_latency.count(), 10_000);
        assert!(open.unsent_records > 900, "{}", open.unsent_records);
        let p99 = open.ack_latency.percentile_us(99.0).unwrap();
        assert!(p99 > 850_000.0, "p99 {p99} us");
    }

    #[test]
    fn latency_goes_by_the_intended_time_and_throughput_by_the_window() {
        let window = Window {
            start_ns: 10 * SECOND_NS,
            end_ns: 12 * SECOND_NS,
        };
        let mut measurement = Measurement::new(window);
        let amount = Amount {
            records: 5,
            bytes: 500,
        };
        let sent = |intended_ns| Sent {
            intended_ns,
            sent_ns: intended_ns,
            held_back: false,
        };
        // Meant for the warm-up, answered in the window; meant for the window, answered after it; both in it.
        measurement.acknowledged(&sent(9 * SECOND_NS), 10 * SECOND_NS, amount);
        measurement.acknowledged(&sent(11 * SECOND_NS), 13 * SECOND_NS, amount);
        measurement.acknowledged(&sent(11 * SECOND_NS), 11 * SECOND_NS + MS, amount);
        assert_eq!(measurement.produced.total.records, 15);
        assert_eq!(measurement.produced.in_window.records, 10);
        assert_eq!(measurement.produced.per_second, vec![5, 5]);
        assert_eq!(measurement.ack_latency.count(), 10);
    }

    #[test]
    fn the_drain_counts_from_the_end_of_the_window() {
        let window = Window {
            start_ns: 0,
            end_ns: SECOND_NS,
        };
        let mut measurement = Measurement::new(window);
        let amount = Amount {
            records: 3,
            bytes: 300,
        };
        measurement.received(SECOND_NS - 1, amount);
        assert_eq!(measurement.drain.count(), 0);
        measurement.received(SECOND_NS + 40 * MS, amount);
        let p50 = measurement.drain.percentile_us(50.0).unwrap();
        assert!((39_900.0..40_100.0).contains(&p50), "{p50}");
        assert_eq!(measurement.drain.count(), 3);
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let window = Window {
            start_ns: 0,
            end_ns: 3 * SECOND_NS,
        };
        let mut whole = Measurement::new(window);
        let mut part = Measurement::new(window);
        for second in 0..3 {
            let now_ns = second * SECOND_NS + 5;
            part.received(
                now_ns,
                Amount {
                    records: 2,
                    bytes: 64,
                },
            );
            part.received_end_to_end(now_ns - 5, now_ns, 2);
            whole.merge(&part.take());
        }
        assert_eq!(part.consumed.total, Amount::default());
        assert_eq!(
            whole.consumed.total,
            Amount {
                records: 6,
                bytes: 192
            }
        );
        assert_eq!(whole.consumed.per_second, vec![2, 2, 2]);
        assert_eq!(whole.end_to_end.count(), 6);
    }
}
