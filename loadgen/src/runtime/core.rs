//! What the tasks of one load core share: its turns, its alarm, its measurement, and when to end.
//!
//! Lane: everything here belongs to one thread. No borrow is held across an await.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::alarm::Alarm;
use super::messages::ReadUntil;
use super::turns::Turns;
use crate::clock::Clock;
use crate::report::measure::Measurement;

/// Kinds of errors that are kept; a run that meets more has shown enough.
const ERRORS_MAX: usize = 16;

/// One load core's common state.
#[derive(Debug)]
pub struct LoadCore {
    /// The run's clock.
    pub clock: Clock,
    /// Its turns.
    pub turns: Turns,
    /// Its alarm.
    pub alarm: Alarm,
    /// What it measured since it last handed over.
    pub measurement: RefCell<Measurement>,
    ceased: Cell<bool>,
    read_until: RefCell<Option<ReadUntil>>,
}

impl LoadCore {
    /// A core whose tasks are about to start.
    pub fn new(clock: Clock, measurement: Measurement) -> Self {
        Self {
            clock,
            turns: Turns::new(),
            alarm: Alarm::new(clock),
            measurement: RefCell::new(measurement),
            ceased: Cell::new(false),
            read_until: RefCell::new(None),
        }
    }

    /// Producers are to send no more.
    pub fn cease(&self) {
        self.ceased.set(true);
    }

    /// Whether producers are to send no more.
    pub fn has_ceased(&self) -> bool {
        self.ceased.get()
    }

    /// Consumers are to end there.
    pub fn read_until(&self, until: ReadUntil) {
        *self.read_until.borrow_mut() = Some(until);
    }

    /// Whether consumers have been told where to end.
    pub fn is_draining(&self) -> bool {
        self.read_until.borrow().is_some()
    }

    /// Where a consumer of `partition` is to end, if that is known yet.
    pub fn end_of(&self, partition: u32) -> Option<i64> {
        self.read_until
            .borrow()
            .as_ref()
            .map(|until| until.ends.get(partition as usize).copied().unwrap_or(0))
    }

    /// Whether consumers are to give up.
    pub fn has_given_up(&self) -> bool {
        self.read_until
            .borrow()
            .as_ref()
            .is_some_and(|until| self.clock.now_ns() > until.deadline_ns)
    }
}

/// The first error of each kind.
#[derive(Debug, Default)]
pub struct ErrorLog(BTreeSet<String>);

impl ErrorLog {
    /// Remembers an error, unless there are enough already.
    pub fn note(&mut self, error: impl std::fmt::Display) {
        if self.0.len() < ERRORS_MAX {
            self.0.insert(error.to_string());
        }
    }

    /// The errors.
    pub fn into_vec(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}
