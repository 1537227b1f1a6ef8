//! Turns: how a lane that always has a runnable task still does its I/O.
//!
//! glommio submits and reaps I/O only when no task is runnable, or at preemption (100 ms). A lane whose sockets never
//! run dry would therefore hold back its own disk writes. So every task asks for leave before each unit of work
//! (`Turns::pass`); once the lane's quantum is spent, all who ask wait for the next turn, which one timer of 1 us
//! opens: the run queue drains, the reactor turns, and nobody parks.
//!
//! Invariant: between two reactor turns under load, at most one quantum of accounted work, or [`FORCED_AFTER`] of
//! wall time and one unit of work, is started. Owned by its lane; single-threaded.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use glommio::timer::Timer;

/// Accounted work after which a turn ends.
pub const QUANTUM: Duration = Duration::from_micros(200);
/// A gap between two units of work that is this long means that the lane had nothing to run, so its reactor turned by itself.
const IDLE_GAP: Duration = Duration::from_micros(50);
/// Wall time after which a turn ends even if the gaps look idle.
const FORCED_AFTER: Duration = Duration::from_millis(2);

/// What the clock says of a unit of work that asks to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// The lane was idle: start at once.
    AtOnce,
    /// The lane is busy: start after the others that can run, so that no task takes the whole turn.
    InLine,
    /// The turn's quantum is spent.
    NextTurn,
}

/// The pure accounting of one turn, in wall-clock instants handed in.
#[derive(Debug)]
struct Quantum {
    turned_at: Instant,
    asked_at: Instant,
    busy: Duration,
}

impl Quantum {
    fn new(now: Instant) -> Self {
        Self { turned_at: now, asked_at: now, busy: Duration::ZERO }
    }

    fn ask(&mut self, now: Instant) -> Leave {
        let gap = now.saturating_duration_since(self.asked_at);
        self.asked_at = now;
        if now.saturating_duration_since(self.turned_at) >= FORCED_AFTER {
            if gap >= FORCED_AFTER {
                // Nothing asked for that long: the lane was parked, not busy.
                *self = Self::new(now);
                return Leave::AtOnce;
            }
            return Leave::NextTurn;
        }
        if gap >= IDLE_GAP {
            return Leave::AtOnce;
        }
        self.busy += gap;
        if self.busy >= QUANTUM { Leave::NextTurn } else { Leave::InLine }
    }

    fn turned(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

/// One lane's turns.
#[derive(Debug)]
pub struct Turns {
    quantum: RefCell<Quantum>,
    number: Cell<u64>,
    opening: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Turns {
    /// A lane's turns, the first one open.
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            quantum: RefCell::new(Quantum::new(Instant::now())),
            number: Cell::new(0),
            opening: Cell::new(false),
            waiting: RefCell::new(Vec::new()),
        })
    }

    /// The number of turns that were opened by the timer, for metrics and tests.
    pub fn opened(&self) -> u64 {
        self.number.get()
    }

    /// Waits until the lane may start another unit of work (a request): at once within the quantum, else in the next turn.
    /// Cancelling it loses nothing.
    pub async fn pass(self: &Rc<Self>) {
        let leave = self.quantum.borrow_mut().ask(Instant::now());
        if !self.opening.get() {
            match leave {
                Leave::AtOnce => return,
                Leave::InLine => return futures_lite::future::yield_now().await,
                Leave::NextTurn => {}
            }
        }
        self.next().await;
    }

    /// Waits for the next turn in any case, so that I/O completes meanwhile.
    pub async fn next(self: &Rc<Self>) {
        self.open_next();
        let number = self.number.get();
        poll_fn(|context| {
            if self.number.get() != number {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn open_next(self: &Rc<Self>) {
        if self.opening.replace(true) {
            return;
        }
        let turns = Rc::clone(self);
        glommio::spawn_local(async move {
            Timer::new(Duration::from_micros(1)).await;
            turns.number.set(turns.number.get().wrapping_add(1));
            turns.opening.set(false);
            turns.quantum.borrow_mut().turned(Instant::now());
            let woken = turns.waiting.take();
            for waker in woken {
                waker.wake();
            }
        })
        .detach();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(gaps_us: &[u64]) -> Vec<Leave> {
        let start = Instant::now();
        let mut quantum = Quantum::new(start);
        let mut now = start;
        gaps_us
            .iter()
            .map(|gap| {
                now += Duration::from_micros(*gap);
                quantum.ask(now)
            })
            .collect()
    }

    #[test]
    fn a_quantum_of_close_requests_ends_the_turn() {
        let leaves = asks(&[20; 10]);
        assert_eq!(leaves[..9], [Leave::InLine; 9]);
        assert_eq!(leaves[9], Leave::NextTurn);
    }

    #[test]
    fn requests_that_wait_for_the_network_never_wait_for_a_turn() {
        assert!(asks(&[150; 12]).iter().all(|leave| *leave == Leave::AtOnce));
    }

    #[test]
    fn long_units_of_work_are_ended_by_wall_time() {
        assert!(asks(&[300; 8]).contains(&Leave::NextTurn));
    }

    #[test]
    fn a_parked_lane_starts_afresh() {
        assert_eq!(
            asks(&[20, 20, 5_000, 20]),
            [Leave::InLine, Leave::InLine, Leave::AtOnce, Leave::InLine]
        );
    }
}
