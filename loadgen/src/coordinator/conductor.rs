//! Leads the load cores through a run: connect, warm up, measure, drain, read back.
//!
//! Every wait has an end: load cores that do not answer are cut off, and the run is reported with what it has.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::crew::Crew;
use crate::clock::{Clock, SECOND_NS, duration_ns};
use crate::interrupt::Interrupt;
use crate::report::measure::{Measurement, Window};
use crate::report::processor;
use crate::report::progress::{Phase, Progress};
use crate::report::summary::{Processors, WindowSummary};
use crate::report::timeline::Timeline;
use crate::runtime::messages::{
    Command, ConsumedReport, Offsets, ProducedReport, ReadUntil, Report,
};

/// How long load cores may take to connect.
const CONNECT_WITHIN: Duration = Duration::from_mins(1);
/// From the order to begin to the beginning, so that all cores have heard it.
const LEAD_NS: u64 = 20_000_000;
/// How long after the end of sending an answer may take.
const ANSWER_WITHIN_NS: u64 = 30 * SECOND_NS;
/// How long a load core may take to do as it was told.
const OBEY_WITHIN_NS: u64 = 5 * SECOND_NS;
/// How often the coordinator looks at the clock.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a run has gathered.
#[derive(Debug)]
pub struct Gathered {
    /// All cores together.
    pub measurement: Measurement,
    /// When.
    pub window: WindowSummary,
    /// How busy.
    pub processors: Processors,
    /// The producers' books and errors.
    pub produced: ProducedReport,
    /// The consumers' books and errors.
    pub consumed: ConsumedReport,
    /// The run was cut short.
    pub interrupted: bool,
    /// Second by second.
    pub timeline: Timeline,
}

/// Watches over the server between reports; an error ends the run.
pub type Watch<'a> = dyn FnMut() -> anyhow::Result<()> + 'a;

/// Leads one run.
pub struct Conductor<'a> {
    crew: &'a Crew,
    clock: Clock,
    interrupt: &'a Interrupt,
    watch: &'a mut Watch<'a>,
    server_pid: Option<u32>,
    progress: Progress,
    timeline: Timeline,
    threads: Vec<Option<u32>>,
    start_ns: u64,
    window: Window,
    total: Measurement,
    last: Measurement,
    measures_due: usize,
    last_measure_ns: u64,
    produced: ProducedReport,
    produced_cores: usize,
    consumed: ConsumedReport,
    consumed_cores: usize,
    interrupted_ns: Option<u64>,
    reading_back: bool,
    usage: Option<Usage>,
    usage_in_window: Option<Usage>,
}

/// Processor time used, of the server and of each load core.
#[derive(Debug, Clone)]
struct Usage {
    at_ns: u64,
    server: Option<Duration>,
    threads: Vec<Option<Duration>>,
}

impl<'a> Conductor<'a> {
    /// Leads `crew`.
    pub fn new(
        crew: &'a Crew,
        clock: Clock,
        interrupt: &'a Interrupt,
        watch: &'a mut Watch<'a>,
        server_pid: Option<u32>,
        timeline: Timeline,
        progress: Progress,
    ) -> Self {
        let nothing = Measurement::new(Window {
            start_ns: 0,
            end_ns: 0,
        });
        Self {
            crew,
            clock,
            interrupt,
            watch,
            server_pid,
            progress,
            timeline,
            threads: vec![None; crew.count()],
            start_ns: 0,
            window: Window {
                start_ns: 0,
                end_ns: 0,
            },
            total: nothing.clone(),
            last: nothing,
            measures_due: 0,
            last_measure_ns: 0,
            produced: ProducedReport::default(),
            produced_cores: 0,
            consumed: ConsumedReport::default(),
            consumed_cores: 0,
            interrupted_ns: None,
            reading_back: false,
            usage: None,
            usage_in_window: None,
        }
    }

    /// Waits until every core is connected.
    pub fn await_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + CONNECT_WITHIN;
        let mut ready = 0;
        while ready < self.crew.count() {
            if let Some(Report::Ready { worker, thread }) = self.crew.next(LOOK_EVERY)? {
                self.threads[worker] = thread;
                ready += 1;
            }
            (self.watch)()?;
            if self.interrupt.asked() {
                anyhow::bail!("interrupted");
            }
            if Instant::now() > deadline {
                anyhow::bail!(
                    "the load cores did not connect within {} s",
                    CONNECT_WITHIN.as_secs()
                );
            }
        }
        Ok(())
    }

    /// Offers the load, and waits until everything sent is answered or given up.
    pub fn load(&mut self, warmup: Duration, duration: Duration) -> anyhow::Result<()> {
        self.start_ns = self.clock.now_ns() + LEAD_NS;
        let window_start_ns = self.start_ns + duration_ns(warmup);
        self.window = Window {
            start_ns: window_start_ns,
            end_ns: window_start_ns + duration_ns(duration),
        };
        self.total = Measurement::new(self.window);
        self.last = Measurement::new(self.window);
        self.last_measure_ns = self.start_ns;
        self.crew.tell(&Command::Start {
            start_ns: self.start_ns,
            window: self.window,
        });
        let give_up_ns = self.window.end_ns + ANSWER_WITHIN_NS;
        let cores = self.crew.count();
        if !self.pump(give_up_ns, |conductor| conductor.produced_cores == cores)? {
            self.produced.errors.push(format!(
                "no answer within {} s after the last batch",
                ANSWER_WITHIN_NS / SECOND_NS
            ));
            self.crew.tell(&Command::AbandonProducers);
            let give_up_ns = self.clock.now_ns() + OBEY_WITHIN_NS;
            if !self.pump(give_up_ns, |conductor| conductor.produced_cores == cores)? {
                anyhow::bail!("the load cores do not respond");
            }
        }
        Ok(())
    }

    /// Lets consumers catch up to `ends`.
    pub fn drain(&mut self, ends: &Offsets, within: Duration) -> anyhow::Result<()> {
        let deadline_ns = self.clock.now_ns() + duration_ns(within);
        self.crew.tell(&Command::Drain(ReadUntil {
            ends: ends.clone(),
            deadline_ns,
        }));
        self.await_consumers(deadline_ns)
    }

    /// Has the topic read back between `from` and `ends`.
    pub fn read_back(
        &mut self,
        from: &Offsets,
        ends: &Offsets,
        within: Duration,
    ) -> anyhow::Result<()> {
        let deadline_ns = self.clock.now_ns() + duration_ns(within);
        self.consumed_cores = 0;
        self.reading_back = true;
        let until = ReadUntil {
            ends: ends.clone(),
            deadline_ns,
        };
        self.crew.tell(&Command::ReadBack {
            from: from.clone(),
            until,
        });
        self.await_consumers(deadline_ns)
    }

    fn await_consumers(&mut self, deadline_ns: u64) -> anyhow::Result<()> {
        let cores = self.crew.count();
        if !self.pump(deadline_ns + SECOND_NS, |conductor| {
            conductor.consumed_cores == cores
        })? {
            self.crew.tell(&Command::AbandonConsumers);
            let give_up_ns = self.clock.now_ns() + OBEY_WITHIN_NS;
            if !self.pump(give_up_ns, |conductor| conductor.consumed_cores == cores)? {
                anyhow::bail!("the load cores do not respond");
            }
        }
        Ok(())
    }

    /// Records acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.produced
            .books
            .iter()
            .map(crate::verify::ledger::ProducedStream::acknowledged_count)
            .sum()
    }

    /// Whether the user cut the run short.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted_ns.is_some()
    }

    /// Collects what is left to collect.
    pub fn finish(mut self) -> anyhow::Result<Gathered> {
        // Numbers that are under way are waited for, then the last ones are asked for.
        for _ in 0..2 {
            let give_up_ns = self.clock.now_ns() + OBEY_WITHIN_NS;
            if !self.pump(give_up_ns, |conductor| conductor.measures_due == 0)? {
                anyhow::bail!("the load cores do not respond");
            }
            self.ask_for_measures();
        }
        let give_up_ns = self.clock.now_ns() + OBEY_WITHIN_NS;
        self.pump(give_up_ns, |conductor| conductor.measures_due == 0)?;
        self.progress.finish();
        let end_ns = self
            .interrupted_ns
            .map_or(self.window.end_ns, |at_ns| at_ns.min(self.window.end_ns));
        let drained_ns = self.consumed.last_arrival_ns.max(end_ns);
        let seconds = |ns: u64| ns as f64 / SECOND_NS as f64;
        let started_ago =
            Duration::from_nanos(self.clock.now_ns().saturating_sub(self.window.start_ns));
        let started_at = SystemTime::now()
            .checked_sub(started_ago)
            .unwrap_or(UNIX_EPOCH);
        let window = WindowSummary {
            started_at_unix_ms: started_at
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis() as u64,
            warmup_s: seconds(self.window.start_ns - self.start_ns),
            duration_s: seconds(end_ns.saturating_sub(self.window.start_ns)),
            drain_s: seconds(drained_ns - end_ns),
        };
        Ok(Gathered {
            processors: self.processors(),
            measurement: self.total,
            window,
            produced: self.produced,
            consumed: self.consumed,
            interrupted: self.interrupted_ns.is_some(),
            timeline: self.timeline,
        })
    }

    /// Takes reports, shows progress and watches, until `done` or `give_up_ns`. Says whether it was done.
    fn pump(&mut self, give_up_ns: u64, done: impl Fn(&Self) -> bool) -> anyhow::Result<bool> {
        while !done(self) {
            let now_ns = self.clock.now_ns();
            if now_ns >= give_up_ns {
                return Ok(false);
            }
            self.look_at_the_clock(now_ns);
            (self.watch)()?;
            if self.interrupt.asked() && self.interrupted_ns.is_none() {
                self.interrupted_ns = Some(now_ns);
                self.crew.tell(&Command::Cease);
            }
            let report = self
                .crew
                .next(LOOK_EVERY.min(self.until_next_look(now_ns)))?;
            if let Some(report) = report {
                self.take(report);
            }
        }
        Ok(true)
    }

    fn until_next_look(&self, now_ns: u64) -> Duration {
        let next = [
            self.window.start_ns,
            self.window.end_ns,
            self.last_measure_ns + SECOND_NS,
        ];
        let next = next
            .into_iter()
            .filter(|at_ns| *at_ns > now_ns)
            .min()
            .unwrap_or(u64::MAX);
        Duration::from_nanos(next - now_ns)
    }

    fn look_at_the_clock(&mut self, now_ns: u64) {
        if self.usage.is_none() && now_ns >= self.window.start_ns {
            self.usage = Some(self.usage_now(now_ns));
        }
        if self.usage_in_window.is_none()
            && let Some(before) = &self.usage
            && (now_ns >= self.window.end_ns || self.interrupted_ns.is_some())
        {
            self.usage_in_window = Some(self.usage_now(now_ns).since(before));
        }
        if self.measures_due == 0 && now_ns >= self.last_measure_ns + SECOND_NS {
            self.ask_for_measures();
        }
    }

    fn ask_for_measures(&mut self) {
        self.measures_due = self.crew.count();
        self.crew.tell(&Command::Measure);
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Measured(measurement) => {
                self.last.merge(&measurement);
                self.measures_due = self.measures_due.saturating_sub(1);
                if self.measures_due == 0 {
                    self.show_progress();
                }
            }
            Report::Produced(report) => {
                self.produced.books.extend(report.books);
                self.produced.errors.extend(report.errors);
                self.produced_cores += 1;
            }
            Report::Consumed(report) => {
                let consumed = &mut self.consumed;
                consumed.books.extend(report.books);
                consumed.errors.extend(report.errors);
                consumed.unfinished.extend(report.unfinished);
                consumed.last_arrival_ns = consumed.last_arrival_ns.max(report.last_arrival_ns);
                self.consumed_cores += 1;
            }
            Report::Ready { .. } | Report::Failed { .. } => {}
        }
    }

    fn show_progress(&mut self) {
        let now_ns = self.clock.now_ns();
        let over = Duration::from_nanos(now_ns - self.last_measure_ns);
        // A line is about the second that just ended.
        let middle_ns = self.last_measure_ns.midpoint(now_ns);
        let phase = if self.reading_back {
            Phase::ReadingBack
        } else if middle_ns >= self.window.end_ns {
            Phase::Draining
        } else if middle_ns < self.window.start_ns {
            Phase::WarmUp
        } else {
            Phase::Measuring
        };
        // The last numbers of a run are asked for soon after the ones before: no second of their own.
        let at = Duration::from_nanos(now_ns - self.start_ns);
        self.timeline
            .add(at, over, phase == Phase::Measuring, &self.last);
        if over >= Duration::from_millis(500) {
            self.progress.show(phase, at, over, &self.last);
        }
        self.total.merge(&self.last.take());
        self.last_measure_ns = now_ns;
    }

    fn usage_now(&self, at_ns: u64) -> Usage {
        let threads = self
            .threads
            .iter()
            .map(|thread| processor::of_thread((*thread)?))
            .collect();
        Usage {
            at_ns,
            server: self.server_pid.and_then(processor::of_process),
            threads,
        }
    }

    fn processors(&self) -> Processors {
        let Some(usage) = &self.usage_in_window else {
            return Processors::default();
        };
        let seconds = (usage.at_ns as f64 / SECOND_NS as f64).max(f64::MIN_POSITIVE);
        let busy = usage
            .threads
            .iter()
            .map(|thread| thread.unwrap_or_default().as_secs_f64() / seconds);
        let records = self.total.produced.in_window.records;
        let server_cpu_s = usage.server.map(|time| time.as_secs_f64());
        Processors {
            generator_busy: busy.collect(),
            server_cpu_s,
            server_cpu_ns_per_record: server_cpu_s
                .filter(|_| records > 0)
                .map(|time| time * 1e9 / records as f64),
        }
    }
}

impl Usage {
    /// What was used since `before`; `at_ns` becomes the time between.
    fn since(&self, before: &Usage) -> Usage {
        let difference =
            |now: Option<Duration>, before: Option<Duration>| Some(now?.saturating_sub(before?));
        Usage {
            at_ns: self.at_ns - before.at_ns,
            server: difference(self.server, before.server),
            threads: self
                .threads
                .iter()
                .zip(&before.threads)
                .map(|(now, before)| difference(*now, *before))
                .collect(),
        }
    }
}
