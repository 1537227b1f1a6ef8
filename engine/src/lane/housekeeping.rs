//! What a lane does now and then: retention for each of its partitions, another look for those that wait for space, and
//! the copy of its numbers for whoever asks.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::timer::Timer;

use super::Lane;
use super::wall_clock::{ClockWatch, Verdict};
use crate::headroom::Room;
use crate::metrics::cells::PUBLISH_INTERVAL;
use crate::metrics::{LaneCounters, ServerMetrics};
use crate::server::connections::Connections;

/// How often a lane looks after its logs.
const MAINTAIN_INTERVAL: Duration = Duration::from_secs(1);

/// Has logs that found the disk full look again now and then, so that they go on by themselves when there is room, and
/// settles logs that went quiet. While space is short, segments that are deleted meanwhile do not stay as spares.
pub async fn maintain_logs(lane: Rc<Lane>) {
    loop {
        Timer::new(MAINTAIN_INTERVAL).await;
        if !lane.room().takes_produces() {
            release_spares(Rc::clone(&lane)).await;
        }
        lane.logs.maintain();
    }
}

/// Gives the space of retired segments back.
pub async fn release_spares(lane: Rc<Lane>) {
    let freed_bytes = lane.logs.release_spares().await;
    if freed_bytes > 0 {
        tracing::info!(
            lane = lane.index,
            freed_bytes,
            "space is short: spare segments were given back"
        );
    }
}

/// Copies the lane's numbers to where others may read them.
pub async fn publish(lane: Rc<Lane>, connections: Rc<Connections>, metrics: Arc<ServerMetrics>) {
    loop {
        metrics.publish(lane.index, &lane.sample(connections.open()));
        Timer::new(PUBLISH_INTERVAL).await;
    }
}

/// Applies retention every `interval` until its task is dropped.
pub async fn run(lane: Rc<Lane>, interval: Duration) {
    let mut watch = ClockWatch::new(lane.clock.now(), Instant::now());
    loop {
        Timer::new(interval).await;
        match watch.look(lane.clock.now(), Instant::now()) {
            Verdict::Believed | Verdict::Doubted => {}
            Verdict::Jumped { by_ms } => tracing::error!(
                by_ms,
                "the wall clock jumped: nothing is deleted by age or size until it is back, or has gone evenly for an hour"
            ),
            Verdict::BelievedAgain => {
                tracing::info!("the wall clock is believed again: retention goes on");
            }
        }
        lane.counters
            .retention_paused
            .set(u64::from(watch.is_doubted()));
        apply_retention(&lane).await;
    }
}

/// Takes over a decision on the disk's room. Where it has become short, retention does not wait for its next round.
pub async fn take_over_room(lane: Rc<Lane>, room: Room) {
    let before = lane.room();
    lane.set_room(room);
    if before.takes_produces() && !room.takes_produces() {
        release_spares(Rc::clone(&lane)).await;
        apply_retention(&lane).await;
    }
}

/// One round over the lane's partitions. One that fails is logged and tried again the next time.
async fn apply_retention(lane: &Rc<Lane>) {
    if lane.counters.retention_paused.get() > 0 {
        return;
    }
    for partition in lane.local_partitions() {
        lane.turns.pass().await;
        match partition.log.apply_retention(lane.clock.now()).await {
            Ok(0) => {}
            Ok(segments) => {
                LaneCounters::add(&lane.counters.retention_segments, segments as u64);
                tracing::info!(
                    topic = %partition.topic, partition = %partition.index, segments, "retention deleted segments"
                );
            }
            Err(error) => tracing::warn!(
                topic = %partition.topic, partition = %partition.index, %error, "retention failed"
            ),
        }
    }
    LaneCounters::add(&lane.counters.retention_rounds, 1);
}
