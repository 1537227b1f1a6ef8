//! The one place that knows how an executor is set up.
//!
//! All tasks of a load core run in one task queue of `Latency::Matters(100 ms)` with the preempt timer at its default:
//! with other settings the runtime can go to sleep with runnable work. [`super::backstop`] wakes it should that
//! happen all the same.

use std::future::Future;
use std::io;
use std::thread;
use std::time::Duration;

use glommio::timer::Timer;
use glommio::{ExecutorJoinHandle, GlommioError, Latency, LocalExecutorBuilder, Placement, Shares};
use thiserror::Error;

use super::backstop::Backstop;

const QUEUE_LATENCY: Duration = Duration::from_millis(100);

/// How long a spinning core is kept from others at most.
const OFFER_CORE_EVERY: Duration = Duration::from_micros(20);

/// Memory the runtime registers for file I/O, which the generator does none of.
const IO_MEMORY_BYTES: usize = 64 * 1024;

/// An executor cannot be made.
#[derive(Debug, Error)]
#[error(
    "cannot set up io_uring: {reason}. It needs a Linux kernel of 5.8 or later, `sysctl kernel.io_uring_disabled` at 0, a container \
     profile that allows io_uring, and enough locked memory (`ulimit -l`)"
)]
pub struct ExecutorError {
    reason: String,
}

impl From<GlommioError<()>> for ExecutorError {
    fn from(error: GlommioError<()>) -> Self {
        Self {
            reason: error.to_string(),
        }
    }
}

/// Starts a thread pinned to `core` and runs `root` on it; tasks it spawns share its queue.
pub fn spawn_pinned<G, F>(
    core: usize,
    spin: Duration,
    root: G,
) -> Result<ExecutorJoinHandle<()>, ExecutorError>
where
    G: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut builder = LocalExecutorBuilder::new(Placement::Fixed(core))
        .name(&format!("load-{core}"))
        .io_memory(IO_MEMORY_BYTES);
    if !spin.is_zero() {
        builder = builder.spin_before_park(spin);
    }
    Ok(builder.spawn(move || {
        in_queue(async move {
            let _offers = (!spin.is_zero()).then(|| glommio::spawn_local(offer_core()));
            root().await;
        })
    })?)
}

/// Offers the core to whoever waits for it. A thread that spins keeps it until the scheduler's next tick otherwise, and with it the
/// kernel's workers that finish disk writes, a server's on another core among them.
async fn offer_core() {
    loop {
        Timer::new(OFFER_CORE_EVERY).await;
        thread::yield_now();
    }
}

/// Runs a future on the calling thread until it is done.
pub fn run_here<F, T>(future: F) -> Result<T, ExecutorError>
where
    F: Future<Output = T> + 'static,
    T: 'static,
{
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .make()?;
    let (sender, receiver) = flume::bounded(1);
    let backstop = Backstop::start(vec![sender]).map_err(|error: io::Error| ExecutorError {
        reason: error.to_string(),
    })?;
    let result = executor.run(in_queue(async move {
        glommio::spawn_local(async move { while receiver.recv_async().await.is_ok() {} }).detach();
        future.await
    }));
    drop(backstop);
    Ok(result)
}

async fn in_queue<F, T>(future: F) -> T
where
    F: Future<Output = T> + 'static,
    T: 'static,
{
    let queue = glommio::executor().create_task_queue(
        Shares::default(),
        Latency::Matters(QUEUE_LATENCY),
        "load",
    );
    match glommio::spawn_local_into(future, queue) {
        Ok(task) => task.await,
        Err(error) => unreachable!("the queue was made in the line above: {error}"),
    }
}
