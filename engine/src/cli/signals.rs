//! SIGTERM and SIGINT, taken by a plain thread outside the lanes.
//!
//! The first one asks a running server to stop in order; before there is a server, and the second time, it ends the
//! process at once, which a durable log survives.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

type Stop = Box<dyn Fn() + Send>;

/// What the thread should do, shared with it.
#[derive(Clone)]
pub(crate) struct SignalThread {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    stop: Option<Stop>,
    /// The first signal that came.
    received: Option<i32>,
}

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    StopInOrder,
    ExitAtOnce,
}

impl SignalThread {
    /// Starts to take signals.
    pub(crate) fn start() -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let thread = Self {
            state: Arc::default(),
        };
        let state = Arc::clone(&thread.state);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    let reaction = react(&mut lock(&state), signal);
                    if reaction == Reaction::ExitAtOnce {
                        // As a shell reports a process that the signal killed.
                        std::process::exit(128 + signal);
                    }
                }
            })?;
        Ok(thread)
    }

    /// From now on the first signal calls `stop`.
    pub(crate) fn on_first(&self, stop: impl Fn() + Send + 'static) {
        lock(&self.state).stop = Some(Box::new(stop));
    }

    /// The name of the first signal that came, if one did.
    pub(crate) fn received(&self) -> Option<&'static str> {
        lock(&self.state)
            .received
            .map(|signal| signal_hook::low_level::signal_name(signal).unwrap_or("a signal"))
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    // Nothing panics while it holds the lock, and the state is whole at every step.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn react(state: &mut State, signal: i32) -> Reaction {
    match (&state.stop, state.received) {
        (Some(stop), None) => {
            stop();
            state.received = Some(signal);
            Reaction::StopInOrder
        }
        _ => Reaction::ExitAtOnce,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_first_signal_stops_in_order_and_any_other_at_once() {
        let stops = Arc::new(AtomicUsize::new(0));
        let mut state = State::default();
        assert_eq!(
            react(&mut state, SIGINT),
            Reaction::ExitAtOnce,
            "there is nothing to stop yet"
        );
        let counter = Arc::clone(&stops);
        state.stop = Some(Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(react(&mut state, SIGTERM), Reaction::StopInOrder);
        assert_eq!(react(&mut state, SIGTERM), Reaction::ExitAtOnce);
        assert_eq!(state.received, Some(SIGTERM));
        assert_eq!(stops.load(Ordering::Relaxed), 1);
    }
}
