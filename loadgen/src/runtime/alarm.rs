//! One timer for all that wait on a load core.
//!
//! The runtime's timers become coarse when there are many of them, and a producer's schedule must not. Here the waits
//! of all producers lie in one heap, and a single driver task holds a single timer for the earliest.
//!
//! Lane: one for each load core; [`Alarm::drive`] runs there as a task until the core stops.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, Waker};

use glommio::timer::Timer;

use crate::clock::Clock;

/// Wakes tasks at given times.
#[derive(Debug)]
pub struct Alarm {
    clock: Clock,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    waits: BinaryHeap<Reverse<Wait>>,
    driver: Option<Waker>,
    /// The time the driver's timer is set for.
    armed_ns: Option<u64>,
}

/// Ordered by time alone: which of two tasks that are due together runs first does not matter.
#[derive(Debug)]
struct Wait {
    at_ns: u64,
    waker: Waker,
}

impl PartialEq for Wait {
    fn eq(&self, other: &Self) -> bool {
        self.at_ns == other.at_ns
    }
}

impl Eq for Wait {}

impl PartialOrd for Wait {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Wait {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_ns.cmp(&other.at_ns)
    }
}

impl Alarm {
    /// No waits yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: RefCell::new(State::default()),
        }
    }

    /// Waits until `at_ns` on the run's clock. May be woken early by others; it does not return early.
    pub async fn until(&self, at_ns: u64) {
        let mut registered = false;
        poll_fn(|context| {
            if self.clock.now_ns() >= at_ns {
                return Poll::Ready(());
            }
            if !registered {
                registered = true;
                let mut state = self.state.borrow_mut();
                state.waits.push(Reverse(Wait {
                    at_ns,
                    waker: context.waker().clone(),
                }));
                if state.armed_ns.is_none_or(|armed_ns| at_ns < armed_ns)
                    && let Some(driver) = &state.driver
                {
                    driver.wake_by_ref();
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Serves the waits; never ends.
    pub async fn drive(&self) {
        let mut timer: Option<Timer> = None;
        poll_fn(|context| -> Poll<()> {
            loop {
                let now_ns = self.clock.now_ns();
                let mut state = self.state.borrow_mut();
                while state
                    .waits
                    .peek()
                    .is_some_and(|Reverse(wait)| wait.at_ns <= now_ns)
                {
                    if let Some(Reverse(wait)) = state.waits.pop() {
                        wait.waker.wake();
                    }
                }
                if !state
                    .driver
                    .as_ref()
                    .is_some_and(|driver| driver.will_wake(context.waker()))
                {
                    state.driver = Some(context.waker().clone());
                    state.armed_ns = None;
                }
                let earliest_ns = state.waits.peek().map(|Reverse(wait)| wait.at_ns);
                // A pending timer registers itself anew each time it is polled, so each is polled once and replaced
                // when another time is needed.
                if earliest_ns == state.armed_ns {
                    return Poll::Pending;
                }
                state.armed_ns = earliest_ns;
                drop(state);
                timer = earliest_ns.map(|at_ns| Timer::new(self.clock.until(at_ns)));
                match timer.as_mut().map(|timer| Pin::new(timer).poll(context)) {
                    Some(Poll::Ready(_)) => self.state.borrow_mut().armed_ns = None,
                    Some(Poll::Pending) | None => return Poll::Pending,
                }
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use std::rc::Rc;

    #[test]
    fn many_waits_all_end_and_never_early() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .make()
            .unwrap();
        let ended = executor.run(async {
            let clock = Clock::start();
            let alarm = Rc::new(Alarm::new(clock));
            let driver = glommio::spawn_local({
                let alarm = Rc::clone(&alarm);
                async move { alarm.drive().await }
            });
            let ended = Rc::new(RefCell::new(Vec::new()));
            // Later waits register first, so that each new one is the earliest.
            let tasks: Vec<_> = (0..600_u64)
                .rev()
                .map(|index| {
                    let (alarm, ended) = (Rc::clone(&alarm), Rc::clone(&ended));
                    let at_ns = 5_000_000 + index * 50_000;
                    glommio::spawn_local(async move {
                        alarm.until(at_ns).await;
                        assert!(clock.now_ns() >= at_ns);
                        ended.borrow_mut().push(index);
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            driver.cancel().await;
            ended.borrow_mut().sort_unstable();
            ended.take()
        });
        assert_eq!(ended, (0..600).collect::<Vec<_>>());
    }
}
