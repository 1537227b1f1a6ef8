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

/// The shortest timer that is not over before it is registered.
const TURN_TIMER: Duration = Duration::from_micros(1);

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
        Self {
            turned_at: now,
            asked_at: now,
            busy: Duration::ZERO,
        }
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
        if self.busy >= QUANTUM {
            Leave::NextTurn
        } else {
            Leave::InLine
        }
    }

    fn turned(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

/// Who waits for the next turn, and whether it is on its way. Knows nothing of time.
#[derive(Debug, Default)]
struct Gate {
    number: Cell<u64>,
    opening: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// A place in line for the turn after the one in which it was taken.
#[derive(Clone, Copy, Debug)]
struct Ticket(u64);

impl Gate {
    /// To be taken before the turn is asked to open: a task that is spawned may run to its end at once.
    fn ticket(&self) -> Ticket {
        Ticket(self.number.get())
    }

    /// Whether the caller has to open the next turn.
    fn begin_opening(&self) -> bool {
        !self.opening.replace(true)
    }

    fn open(&self) {
        self.number.set(self.number.get().wrapping_add(1));
        self.opening.set(false);
        let woken = self.waiting.take();
        for waker in woken {
            waker.wake();
        }
    }

    fn poll(&self, ticket: Ticket, waker: &Waker) -> Poll<()> {
        if self.number.get() != ticket.0 {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        Poll::Pending
    }
}

/// One lane's turns.
#[derive(Debug)]
pub struct Turns {
    quantum: RefCell<Quantum>,
    gate: Gate,
}

impl Turns {
    /// A lane's turns, the first one open.
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            quantum: RefCell::new(Quantum::new(Instant::now())),
            gate: Gate::default(),
        })
    }

    /// The number of turns that were opened by the timer, for metrics and tests.
    pub fn opened(&self) -> u64 {
        self.gate.number.get()
    }

    /// Waits until the lane may start another unit of work (a request): at once within the quantum, else in the next turn.
    /// Cancelling it loses nothing.
    pub async fn pass(self: &Rc<Self>) {
        let leave = self.quantum.borrow_mut().ask(Instant::now());
        if !self.gate.opening.get() {
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
        let ticket = self.gate.ticket();
        if self.gate.begin_opening() {
            let turns = Rc::clone(self);
            glommio::spawn_local(async move {
                reactor_turn().await;
                turns.quantum.borrow_mut().turned(Instant::now());
                turns.gate.open();
            })
            .detach();
        }
        poll_fn(|context| self.gate.poll(ticket, context.waker())).await;
    }
}

/// Resolves after the reactor has turned: a timer that was really pending can only be woken by it.
async fn reactor_turn() {
    loop {
        let mut timer = Timer::new(TURN_TIMER);
        // A timer that has expired by its first poll (the thread lost its core in between) proves nothing.
        if futures_lite::future::poll_once(&mut timer).await.is_none() {
            timer.await;
            return;
        }
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

    /// glommio runs a spawned task at once; the opener may be through before its caller waits.
    #[test]
    fn a_turn_that_opens_before_its_waiter_is_polled_is_not_missed() {
        let gate = Gate::default();
        let ticket = gate.ticket();
        assert!(gate.begin_opening());
        gate.open();
        assert!(gate.poll(ticket, Waker::noop()).is_ready());
    }

    #[test]
    fn one_opener_serves_all_who_wait() {
        let gate = Gate::default();
        let tickets = [gate.ticket(), gate.ticket()];
        assert!(gate.begin_opening());
        assert!(!gate.begin_opening());
        assert!(
            tickets
                .iter()
                .all(|ticket| gate.poll(*ticket, Waker::noop()).is_pending())
        );
        gate.open();
        assert!(
            tickets
                .iter()
                .all(|ticket| gate.poll(*ticket, Waker::noop()).is_ready())
        );
        assert!(gate.begin_opening());
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
