//! The live view of a run on a terminal: how far it is, throughput over the last minutes, latencies.
//!
//! It draws on the alternate screen of stderr, reads no keys and leaves the terminal in its usual mode, so there are two
//! things to put back: the screen and the cursor. They are put back when the view is dropped, when the program panics,
//! and when a second signal ends it at once.

use std::collections::VecDeque;
use std::io::{self, Stderr, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::{cursor, execute, terminal};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style};
use ratatui::widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table};

use super::histogram::LatencyHistogram;
use super::measure::Measurement;
use super::progress::Phase;
use crate::cli::quantity::{show_bytes, show_count, show_latency};

/// Seconds that the throughput's line shows at most.
const HISTORY_SECONDS: usize = 300;

/// Shows the cursor and leaves the alternate screen.
const RESTORE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// Whether there is anything to put back.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

static PANICS_RESTORE: Once = Once::new();

/// Puts the terminal back if a view is shown. Makes one system call and takes no lock, so a signal handler may call it.
#[allow(unsafe_code)]
pub fn restore_now() {
    if IS_SHOWN.swap(false, Ordering::SeqCst) {
        // SAFETY: the bytes are constant and their length is told; a failure leaves nothing to be done.
        unsafe {
            libc::write(libc::STDERR_FILENO, RESTORE.as_ptr().cast(), RESTORE.len());
        }
    }
}

/// What the view shows.
#[derive(Debug, Default)]
pub struct View {
    phase: Option<Phase>,
    at: Duration,
    whole: Duration,
    produced: VecDeque<u64>,
    produced_bytes_per_second: f64,
    consumed_per_second: f64,
    failed_records: u64,
    /// Name, last second, whole run.
    latencies: Vec<(&'static str, LatencyHistogram, LatencyHistogram)>,
}

impl View {
    /// A view of a run that takes `whole`, warm-up included.
    pub fn new(whole: Duration) -> Self {
        Self {
            whole,
            ..Self::default()
        }
    }

    /// Takes what was measured in the last `over`.
    pub fn add(&mut self, phase: Phase, at: Duration, over: Duration, last: &Measurement) {
        let seconds = over.as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = |count: u64| count as f64 / seconds;
        self.phase = Some(phase);
        self.at = at;
        if self.produced.len() == HISTORY_SECONDS {
            self.produced.pop_front();
        }
        self.produced
            .push_back(rate(last.produced.total.records) as u64);
        self.produced_bytes_per_second = rate(last.produced.total.bytes);
        self.consumed_per_second = rate(last.consumed.total.records);
        self.failed_records += last.failed_records;
        let parts = [
            ("acknowledged", &last.ack_latency),
            ("end to end", &last.end_to_end),
            ("service time", &last.service_time),
            ("schedule lag", &last.schedule_lag),
        ];
        for (name, histogram) in parts {
            match self.latencies.iter_mut().find(|known| known.0 == name) {
                Some((_, second, whole)) => {
                    second.clone_from(histogram);
                    whole.merge(histogram);
                }
                None => self
                    .latencies
                    .push((name, histogram.clone(), histogram.clone())),
            }
        }
    }

    /// Draws.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let [head, throughput, line, latencies, foot] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(1),
            Constraint::Min(4),
            Constraint::Length(7),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let done = self.at.as_secs_f64() / self.whole.as_secs_f64().max(f64::MIN_POSITIVE);
        let phase = self.phase.map_or("connecting", Phase::name);
        let label = format!(
            "{phase}, {:.0} of {:.0} s",
            self.at.as_secs_f64(),
            self.whole.as_secs_f64()
        );
        frame.render_widget(
            Gauge::default()
                .block(Block::bordered().title("corelane-loadgen"))
                .gauge_style(Style::new().fg(Color::Blue))
                .ratio(done.clamp(0.0, 1.0))
                .label(label),
            head,
        );
        let produced = self.produced.back().copied().unwrap_or(0) as f64;
        let text = format!(
            "produced {}/s  {}/s   consumed {}/s{}",
            show_count(produced),
            show_bytes(self.produced_bytes_per_second),
            show_count(self.consumed_per_second),
            if self.failed_records > 0 {
                format!("   FAILED {}", self.failed_records)
            } else {
                String::new()
            }
        );
        frame.render_widget(Paragraph::new(text), throughput);
        let room = usize::from(line.width.saturating_sub(2));
        let skip = self.produced.len().saturating_sub(room);
        let seconds: Vec<u64> = self.produced.iter().skip(skip).copied().collect();
        frame.render_widget(
            Sparkline::default()
                .block(Block::bordered().title("produced, records/s"))
                .style(Style::new().fg(Color::Green))
                .data(&seconds),
            line,
        );
        let cell = |histogram: &LatencyHistogram, percentile: f64| {
            let us = histogram.percentile_us(percentile);
            us.map_or_else(|| "-".to_owned(), show_latency)
        };
        let rows = self.latencies.iter().map(|(name, second, whole)| {
            Row::new([
                (*name).to_owned(),
                cell(second, 50.0),
                cell(second, 99.0),
                cell(whole, 50.0),
                cell(whole, 99.0),
                cell(whole, 99.9),
                cell(whole, 100.0),
            ])
        });
        let header = ["", "p50 now", "p99 now", "p50", "p99", "p99.9", "max"];
        frame.render_widget(
            Table::new(rows, [Constraint::Min(10); 7])
                .header(Row::new(header))
                .block(Block::bordered().title("latency")),
            latencies,
        );
        frame.render_widget(
            Paragraph::new("Ctrl-C ends the run early and reports what there is; twice, at once"),
            foot,
        );
    }
}

/// The view on the terminal.
pub struct Dashboard {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    view: View,
}

impl Dashboard {
    /// Takes the terminal over.
    pub fn start(whole: Duration) -> io::Result<Self> {
        PANICS_RESTORE.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore_now();
                before(panic);
            }));
        });
        let terminal = Terminal::new(CrosstermBackend::new(io::stderr()))?;
        IS_SHOWN.store(true, Ordering::SeqCst);
        let mut dashboard = Self {
            terminal,
            view: View::new(whole),
        };
        execute!(io::stderr(), terminal::EnterAlternateScreen, cursor::Hide)?;
        dashboard.redraw()?;
        Ok(dashboard)
    }

    /// Shows what was measured in the last `over`.
    pub fn show(
        &mut self,
        phase: Phase,
        at: Duration,
        over: Duration,
        last: &Measurement,
    ) -> io::Result<()> {
        self.view.add(phase, at, over, last);
        self.redraw()
    }

    fn redraw(&mut self) -> io::Result<()> {
        self.terminal.draw(|frame| self.view.draw(frame))?;
        Ok(())
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        restore_now();
        // A closed stderr is past caring for.
        let _ = io::stderr().flush();
    }
}

impl std::fmt::Debug for Dashboard {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Dashboard").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::measure::{Amount, Sent, Window};
    use ratatui::backend::TestBackend;

    #[test]
    fn the_view_shows_where_the_run_is() {
        let window = Window {
            start_ns: 0,
            end_ns: 10,
        };
        let mut last = Measurement::new(window);
        let sent = Sent {
            intended_ns: 1,
            sent_ns: 1,
            held_back: false,
        };
        let amount = Amount {
            records: 2_000_000,
            bytes: 200_000_000,
        };
        last.acknowledged(&sent, 200_001, amount);
        let second = Duration::from_secs(1);
        let mut view = View::new(10 * second);
        view.add(Phase::Measuring, 3 * second, second, &last);
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let shown: String = terminal
            .backend()
            .buffer()
            .content()
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        for part in [
            "measuring, 3 of 10 s",
            "2.00 M/s",
            "acknowledged",
            "200 us",
            "Ctrl-C",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        // A window too small for it is no reason to panic.
        let mut tiny = Terminal::new(TestBackend::new(3, 2)).unwrap();
        tiny.draw(|frame| view.draw(frame)).unwrap();
    }
}
