//! Turns of a bounded quantum, so that a load core that always has work still does its I/O.
//!
//! The reactor submits and reaps only when no task is runnable. A producer whose window never fills would keep it from
//! ever doing so. Every task therefore calls [`Turns::pause`] once per batch: for free while the quantum lasts, and
//! once it is spent the task waits for the next turn. One timer opens that turn for all; until it fires nothing is
//! runnable, so the reactor runs.
//!
//! Lane: one for each load core, never shared between threads.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use glommio::timer::Timer;

/// How long a load core may work before its reactor has to run.
const QUANTUM: Duration = Duration::from_micros(200);

/// How long the timer that opens the next turn is set: the shortest that leaves its first poll.
const NEXT_TURN: Duration = Duration::from_micros(1);

/// The turns of one load core.
#[derive(Debug)]
pub struct Turns {
    started: Cell<Instant>,
    turn: Cell<u64>,
    opening: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Turns {
    /// Starts the first turn.
    pub fn new() -> Self {
        Self {
            started: Cell::new(Instant::now()),
            turn: Cell::new(0),
            opening: Cell::new(false),
            waiting: RefCell::new(Vec::new()),
        }
    }

    /// Goes on at once while the turn lasts, else in the next one.
    pub async fn pause(&self) {
        if self.started.get().elapsed() < QUANTUM {
            return;
        }
        let turn = self.turn.get();
        while self.turn.get() == turn {
            if self.opening.get() {
                self.wait_for_change(turn).await;
            } else {
                let opening = Opening::new(self);
                Timer::new(NEXT_TURN).await;
                self.started.set(Instant::now());
                self.turn.set(turn.wrapping_add(1));
                drop(opening);
            }
        }
    }

    /// Waits until the turn is another one, or nobody is opening the next one any more.
    async fn wait_for_change(&self, turn: u64) {
        poll_fn(|context| {
            if self.turn.get() != turn || !self.opening.get() {
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
}

impl Default for Turns {
    fn default() -> Self {
        Self::new()
    }
}

/// Marks that somebody is opening the next turn. Dropped when that is done, or when the task that was doing it is
/// cancelled, and wakes all who wait: one of them then takes over.
struct Opening<'a> {
    turns: &'a Turns,
}

impl<'a> Opening<'a> {
    fn new(turns: &'a Turns) -> Self {
        turns.opening.set(true);
        Self { turns }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.turns.opening.set(false);
        for waker in self.turns.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use std::rc::Rc;

    /// Tasks that never block would keep a timer from ever firing; with turns it fires.
    #[test]
    fn tasks_that_never_block_let_the_reactor_run() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .make()
            .unwrap();
        let rounds = executor.run(async {
            let turns = Rc::new(Turns::new());
            let stop = Rc::new(Cell::new(false));
            let busy: Vec<_> = (0..3)
                .map(|_| {
                    let (turns, stop) = (Rc::clone(&turns), Rc::clone(&stop));
                    glommio::spawn_local(async move {
                        while !stop.get() {
                            std::hint::black_box((0..100).sum::<u64>());
                            turns.pause().await;
                        }
                    })
                })
                .collect();
            // Twenty timers in a row: with a reactor that only turns at preemption this would take two seconds.
            for _ in 0..20 {
                Timer::new(Duration::from_micros(100)).await;
            }
            stop.set(true);
            for task in busy {
                task.await;
            }
            turns.turn.get()
        });
        assert!(rounds >= 20, "{rounds} turns");
    }

    #[test]
    fn a_cancelled_opener_is_replaced() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .make()
            .unwrap();
        executor.run(async {
            let turns = Rc::new(Turns::new());
            let pause = || {
                let turns = Rc::clone(&turns);
                async move { turns.pause().await }
            };
            // Its timer may be over before it is looked at for the first time: then the next one is tried.
            let opener = loop {
                let long_ago = Instant::now().checked_sub(QUANTUM * 2).unwrap();
                turns.started.set(long_ago);
                let mut opener = Box::pin(pause());
                let is_over =
                    poll_fn(|context| Poll::Ready(opener.as_mut().poll(context).is_ready())).await;
                if !is_over {
                    break opener;
                }
            };
            let turn = turns.turn.get();
            let waiter = glommio::spawn_local(pause());
            while turns.waiting.borrow().is_empty() {
                glommio::executor().yield_now().await;
            }
            drop(opener);
            waiter.await;
            assert_eq!(turns.turn.get(), turn + 1);
        });
    }
}
