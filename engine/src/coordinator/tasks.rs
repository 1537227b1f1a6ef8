//! What a lane's coordinator does by itself: alarms, and the removal of what has expired.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use glommio::timer::Timer;

use super::host::Host;
use crate::lane::Lane;
use crate::lane::deadline::Deadline;
use crate::lane::wall_clock::{ClockWatch, Verdict};

/// How long the watch sleeps when there is nothing to wait for.
const IDLE: Duration = Duration::from_mins(1);

/// Wakes the watch when something is due sooner than it will look.
pub(super) struct AlarmBell {
    /// When the watch will look, in monotonic milliseconds of the coordinator.
    looks_ms: Cell<u64>,
    sender: flume::Sender<()>,
    receiver: flume::Receiver<()>,
}

impl Default for AlarmBell {
    fn default() -> Self {
        let (sender, receiver) = flume::bounded(1);
        Self {
            looks_ms: Cell::new(u64::MAX),
            sender,
            receiver,
        }
    }
}

impl AlarmBell {
    pub(super) fn ring_if_before(&self, due_ms: u64) {
        if due_ms < self.looks_ms.get() {
            self.looks_ms.set(due_ms);
            // A full channel has rung already.
            let _ = self.sender.try_send(());
        }
    }
}

/// Watches the alarms of all groups of the lane. Runs until its task is dropped.
pub async fn run_alarms(lane: Rc<Lane>) {
    let groups = lane.groups();
    loop {
        // Until it sleeps, nobody needs to wake it.
        groups.alarms.looks_ms.set(0);
        for host in groups.live_hosts() {
            let now_ms = groups.now().monotonic_ms;
            if next_alarm_ms(&host) <= now_ms {
                lane.turns.pass().await;
                let _ = groups.step(&host, |shard, step| shard.elapse(step, &lane.image()));
            }
        }
        // Without a pause until it sleeps: what is set meanwhile rings no bell.
        let next_ms = groups
            .live_hosts()
            .iter()
            .map(|host| next_alarm_ms(host))
            .min()
            .unwrap_or(u64::MAX);
        let now_ms = groups.now().monotonic_ms;
        if next_ms <= now_ms {
            lane.turns.pass().await;
            continue;
        }
        groups.alarms.looks_ms.set(next_ms);
        let wait = Duration::from_millis(next_ms - now_ms).min(IDLE);
        sleep(wait, &groups.alarms.receiver).await;
    }
}

fn next_alarm_ms(host: &Host) -> u64 {
    let next = host.with_shard(|shard| shard.next_alarm_ms());
    next.ok().flatten().unwrap_or(u64::MAX)
}

/// Waits for a time, or for the bell.
async fn sleep(wait: Duration, bell: &flume::Receiver<()>) {
    let mut deadline = Deadline::after(wait);
    let mut rung = pin!(bell.recv_async());
    poll_fn(|context| {
        if deadline.poll_over(context) || rung.as_mut().poll(context).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Removes expired offsets and groups without any, every `interval`. Runs until its task is dropped.
pub async fn remove_expired(lane: Rc<Lane>, interval: Duration) {
    let groups = lane.groups();
    let mut watch = ClockWatch::new(lane.clock.now(), Instant::now());
    loop {
        Timer::new(interval).await;
        if let Verdict::Jumped { by_ms } = watch.look(lane.clock.now(), Instant::now()) {
            tracing::error!(
                by_ms,
                "the wall clock jumped: no offset expires until it can be believed"
            );
        }
        if watch.is_doubted() {
            continue;
        }
        for host in groups.live_hosts() {
            let mut after = None;
            loop {
                lane.turns.pass().await;
                match groups.step(&host, |shard, step| shard.expire(step, after.as_ref())) {
                    Ok(Some(last)) => after = Some(last),
                    Ok(None) | Err(_) => break,
                }
            }
        }
    }
}
