//! The line that shows how a run is doing, once a second, on stderr.
//!
//! On a terminal it is the [`dashboard`](super::dashboard), or one line that changes; elsewhere each second is a line of its
//! own.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::dashboard::Dashboard;
use super::histogram::LatencyHistogram;
use super::measure::Measurement;
use crate::cli::quantity::{show_bytes, show_count, show_latency};

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the window.
    WarmUp,
    /// Within it.
    Measuring,
    /// Consumers catch up.
    Draining,
    /// The topic is read back.
    ReadingBack,
}

impl Phase {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::WarmUp => "warm-up",
            Self::Measuring => "measuring",
            Self::Draining => "draining",
            Self::ReadingBack => "reading back",
        }
    }
}

/// Shows a line a second.
#[derive(Debug)]
pub struct Progress {
    dashboard: Option<Dashboard>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows on stderr.
    pub fn new() -> Self {
        Self::start(None)
    }

    /// Shows on stderr; on a terminal as a whole view of a run that takes so long, if that is told.
    pub fn start(view_of: Option<Duration>) -> Self {
        let is_terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        // A terminal that cannot show it gets the line.
        let dashboard = view_of
            .filter(|_| is_terminal)
            .and_then(|whole| Dashboard::start(whole).ok());
        let wants_bar = dashboard.is_none() && std::io::stderr().is_terminal();
        let bar = wants_bar.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{spinner} {wide_msg}").expect("a constant template"),
            );
            bar
        });
        Self { dashboard, bar }
    }

    /// Shows what happened in the last `over`.
    pub fn show(&mut self, phase: Phase, at: Duration, over: Duration, last: &Measurement) {
        if let Some(dashboard) = &mut self.dashboard {
            if dashboard.show(phase, at, over, last).is_err() {
                self.dashboard = None;
            }
            return;
        }
        let line = line(phase, at, over, last);
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
            }
            // A closed stderr is no reason to stop measuring.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    /// Makes room for the report.
    pub fn finish(&mut self) {
        self.dashboard = None;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

fn line(phase: Phase, at: Duration, over: Duration, last: &Measurement) -> String {
    let seconds = over.as_secs_f64().max(f64::MIN_POSITIVE);
    let (produced, consumed) = (last.produced.total, last.consumed.total);
    let mut line = format!(
        "{:>5.0} s  {:<12} produced {:>8}/s {:>9}/s   consumed {:>8}/s",
        at.as_secs_f64(),
        phase.name(),
        show_count(produced.records as f64 / seconds),
        show_bytes(produced.bytes as f64 / seconds),
        show_count(consumed.records as f64 / seconds),
    );
    let mut percentiles = |name: &str, histogram: &LatencyHistogram| {
        if let (Some(p50), Some(p99)) =
            (histogram.percentile_us(50.0), histogram.percentile_us(99.0))
        {
            let (p50, p99) = (show_latency(p50), show_latency(p99));
            let _ = write!(line, "   {name} p50 {p50} p99 {p99}");
        }
    };
    percentiles("ack", &last.ack_latency);
    percentiles("end-to-end", &last.end_to_end);
    if last.failed_records > 0 {
        let _ = write!(line, "   FAILED {}", last.failed_records);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::measure::{Amount, Sent, Window};

    #[test]
    fn a_line_says_rates_and_percentiles() {
        let mut last = Measurement::new(Window {
            start_ns: 0,
            end_ns: 10,
        });
        let sent = Sent {
            intended_ns: 1,
            sent_ns: 1,
            held_back: false,
        };
        last.acknowledged(
            &sent,
            200_001,
            Amount {
                records: 2_000_000,
                bytes: 200_000_000,
            },
        );
        let line = line(
            Phase::Measuring,
            Duration::from_secs(3),
            Duration::from_secs(2),
            &last,
        );
        assert!(line.contains("produced   1.00 M/s  100.0 MB/s"), "{line}");
        assert!(line.contains("ack p50 200 us p99 200 us"), "{line}");
        assert!(!line.contains("end-to-end"), "{line}");
    }
}
