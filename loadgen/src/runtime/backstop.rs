//! Wakes every load core a hundred times a second from outside.
//!
//! The runtime can lose a wake-up: it parks with a runnable task and sleeps until something happens. A timer within it
//! does not help, for it is a task too; a message from a plain thread does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a lost wake-up can last.
const PERIOD: Duration = Duration::from_millis(10);

/// Wakes until dropped.
#[derive(Debug)]
pub struct Backstop {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backstop {
    /// Starts the thread. Each receiver is read by a task on the core to be woken; a bounded channel of one is enough.
    pub fn start(cores: Vec<flume::Sender<()>>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("backstop".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    thread::park_timeout(PERIOD);
                    for core in &cores {
                        // A full channel has a wake-up waiting; a closed one belongs to a core that is done.
                        let _ = core.try_send(());
                    }
                }
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Backstop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic; and if it did, there would be nothing to do about it here.
            let _ = thread.join();
        }
    }
}
