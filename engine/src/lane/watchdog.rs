//! The backstop against a lost wake-up: a plain thread that pokes every lane through its channel.
//!
//! glommio 0.12 can park an executor that still has a runnable task if its preempt timer fires before the first task
//! ran. A timer inside the lane would not help, as it is a task too; a message from another thread does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::mesh::{LaneMessage, MeshSender};

/// How long a lost wake-up can last.
pub const PERIOD: Duration = Duration::from_millis(10);

/// Runs until dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread that pokes `lanes`.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start<L: 'static>(lanes: Vec<MeshSender<L>>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    thread::park_timeout(PERIOD);
                    for lane in &lanes {
                        // A lane with messages waiting has been woken for them; another poke would only pile up.
                        if lane.is_empty() {
                            let _ = lane.send(LaneMessage::Poke);
                        }
                    }
                }
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
