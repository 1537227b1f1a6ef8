//! The backstop against a lost wake-up: a plain thread that gives every lane a heartbeat.
//!
//! glommio 0.12 can park an executor that still has a runnable task if its preempt timer fires before the first task
//! ran. A timer inside the lane would not help, as it is a task too; a message from another thread does, if it wakes a
//! task that is not runnable yet: one that is has been woken already, so sending to it again wakes nobody. Hence several
//! heartbeat tasks in turn: all of them would have to be lost one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::mesh::{LaneMessage, Mesh};

/// How long a lost wake-up can last.
pub const PERIOD: Duration = Duration::from_millis(10);
/// Heartbeat tasks of a lane, woken in turn.
const HEARTBEATS: usize = 8;

/// Runs until dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the heartbeat tasks on every lane and the thread that wakes them.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start<L: 'static>(mesh: &Mesh<L>) -> std::io::Result<Self> {
        let lanes: Vec<Vec<flume::Sender<()>>> = mesh
            .senders()
            .iter()
            .map(|lane| {
                let (beats, tasks): (Vec<_>, Vec<_>) =
                    (0..HEARTBEATS).map(|_| flume::bounded::<()>(1)).unzip();
                let start = LaneMessage::Work(Box::new(move |_| {
                    Box::pin(async move {
                        for task in tasks {
                            // Ends when the watchdog does.
                            glommio::spawn_local(async move {
                                while task.recv_async().await.is_ok() {}
                            })
                            .detach();
                        }
                    })
                }));
                // A lane that has ended needs no heartbeat.
                let _ = lane.send(start);
                beats
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                for turn in (0..HEARTBEATS).cycle() {
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    thread::park_timeout(PERIOD);
                    for lane in &lanes {
                        // A full channel belongs to a task that was woken and has not run yet.
                        let _ = lane[turn].try_send(());
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
