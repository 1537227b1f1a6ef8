//! The one place that knows glommio: how an executor is pinned, queued and started.
//!
//! Every lane runs all of its tasks in one task queue of `Latency::Matters(100 ms)` with the preempt timer at its
//! default. That is not tuning but correctness: with other settings glommio 0.12 can park with runnable work (a lost
//! wake-up), and a message to a busy lane waits for the preempt timer. `watchdog` is the backstop for the first,
//! `turns` for lanes that always have a runnable task. Measured in docs/adr/0001-runtime.md.

use std::future::Future;
use std::io;
use std::time::Duration;

use super::spinning;
use glommio::{ExecutorJoinHandle, Latency, LocalExecutorBuilder, Placement, Shares};

/// The period within which the lane's queue wants to run again; also the period glommio preempts at.
const LANE_LATENCY: Duration = Duration::from_millis(100);

/// How a lane's thread is placed and how it waits for work.
#[derive(Clone, Debug)]
pub struct LaneRuntimeConfig {
    /// The processor the lane is pinned to, by its Linux number.
    pub cpu: usize,
    /// The lane's thread name, at most 15 bytes are shown by Linux.
    pub name: String,
    /// How long to spin for work before parking. `None` parks at once.
    pub spin_before_park: Option<Duration>,
    /// Entries of each of the executor's submission rings.
    pub ring_depth: usize,
}

/// Starts a pinned thread with an executor and runs `root` in the lane's queue; tasks that it spawns inherit the queue.
///
/// The thread ends when `root` does; tasks still detached then are dropped unfinished.
///
/// # Errors
/// The thread could not be started. An executor that cannot be made (rings, memlock) ends the thread, and joining reports it.
pub fn spawn_lane<G, F>(config: &LaneRuntimeConfig, root: G) -> io::Result<ExecutorJoinHandle<()>>
where
    G: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut builder = LocalExecutorBuilder::new(Placement::Fixed(config.cpu))
        .name(&config.name)
        .ring_depth(config.ring_depth);
    if let Some(spin) = config.spin_before_park {
        builder = builder.spin_before_park(spin);
    }
    let spins = config.spin_before_park.is_some();
    builder
        .spawn(move || async move {
            run_in_lane_queue(async move {
                // Ends when the lane does.
                let _offers = spins.then(|| glommio::spawn_local(spinning::offer_core()));
                root().await;
            })
            .await;
        })
        .map_err(io::Error::from)
}

/// Runs `future` in a fresh queue with the lane's settings and waits for it. For executors that are no lane (a client
/// command, a test) but need the same settings.
pub async fn run_in_lane_queue<F, T>(future: F) -> T
where
    F: Future<Output = T> + 'static,
    T: 'static,
{
    let queue = glommio::executor().create_task_queue(
        Shares::default(),
        Latency::Matters(LANE_LATENCY),
        "lane",
    );
    match glommio::spawn_local_into(future, queue) {
        Ok(task) => task.await,
        Err(error) => unreachable!("the queue was made in the line above: {error}"),
    }
}
