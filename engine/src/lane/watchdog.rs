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

/// How long a lost wake-up can last.
pub const PERIOD: Duration = Duration::from_millis(10);
/// Heartbeat tasks of a lane, woken in turn.
const HEARTBEATS: usize = 8;

/// One lane's heartbeat.
#[derive(Debug)]
pub struct Heartbeat {
    tasks: Vec<flume::Receiver<()>>,
}

impl Heartbeat {
    /// Starts the heartbeat's tasks on the calling lane; the first thing that a lane does. They end with the watchdog.
    pub fn beat(self) {
        for task in self.tasks {
            glommio::spawn_local(async move { while task.recv_async().await.is_ok() {} }).detach();
        }
    }
}

/// Runs until dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread that wakes `lanes` lanes, and gives each lane its heartbeat, by lane index.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(lanes: usize) -> std::io::Result<(Self, Vec<Heartbeat>)> {
        let (lanes, heartbeats): (Vec<Vec<flume::Sender<()>>>, Vec<Heartbeat>) = (0..lanes)
            .map(|_| {
                let (beats, tasks) = (0..HEARTBEATS).map(|_| flume::bounded::<()>(1)).unzip();
                (beats, Heartbeat { tasks })
            })
            .unzip();
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
        let watchdog = Self {
            stop,
            thread: Some(thread),
        };
        Ok((watchdog, heartbeats))
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
