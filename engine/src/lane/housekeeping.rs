//! What a lane does now and then for each of its partitions: retention.

use std::rc::Rc;
use std::time::Duration;

use glommio::timer::Timer;

use super::Lane;

/// Runs until its task is dropped. A partition that fails is logged and tried again the next time.
pub async fn run(lane: Rc<Lane>, interval: Duration) {
    loop {
        Timer::new(interval).await;
        for partition in lane.local_partitions() {
            lane.turns.pass().await;
            match partition.log.apply_retention(lane.clock.now()).await {
                Ok(0) => {}
                Ok(segments) => tracing::info!(
                    topic = %partition.topic, partition = %partition.index, segments, "retention deleted segments"
                ),
                Err(error) => tracing::warn!(
                    topic = %partition.topic, partition = %partition.index, %error, "retention failed"
                ),
            }
        }
    }
}
