//! Ctrl-C and SIGTERM: the first asks the run to end early and clean up, the second ends the program at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::report::dashboard::restore_now;

/// Knows whether the user wants to end.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for the signals from now on.
    pub fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            restore_before_a_second(signal, &asked)?;
            // Handlers run in the order in which they were registered: the first signal finds the flag unset.
            flag::register_conditional_default(signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }

    /// Whether the user asked to end.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Has a signal that will end the program at once put the terminal back first.
#[allow(unsafe_code)]
fn restore_before_a_second(signal: i32, asked: &Arc<AtomicBool>) -> io::Result<()> {
    let asked = Arc::clone(asked);
    let action = move || {
        if asked.load(Ordering::Relaxed) {
            restore_now();
        }
    };
    // SAFETY: the action reads one atomic and makes one system call, both of which a signal handler may do.
    unsafe { signal_hook::low_level::register(signal, action) }.map(|_| ())
}
