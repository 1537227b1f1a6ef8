//! What a lane does now and then for each of its partitions: retention.

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane_format::ids::TimestampMs;

use glommio::timer::Timer;

use super::Lane;

/// How often logs that wait for space look again.
const SPACE_RETRY: Duration = Duration::from_secs(1);

/// Has logs that found the disk full look again now and then, so that they go on by themselves when there is room.
pub async fn retry_space(lane: Rc<Lane>) {
    loop {
        Timer::new(SPACE_RETRY).await;
        lane.logs.retry_space();
    }
}

/// How far the wall clock may run apart from the monotonic one between two rounds.
const CLOCK_DRIFT_MS_MAX: i64 = 60_000;

/// Tells when the wall clock has jumped: what is old by a clock that jumped may be young.
#[derive(Debug)]
struct ClockWatch {
    wall: TimestampMs,
    monotonic: Instant,
}

impl ClockWatch {
    /// Milliseconds that the wall clock has gained on the monotonic one since the last look.
    fn drift_ms(&mut self, wall: TimestampMs, monotonic: Instant) -> i64 {
        let elapsed = monotonic
            .saturating_duration_since(self.monotonic)
            .as_millis();
        let gained = wall.get().saturating_sub(self.wall.get());
        *self = Self { wall, monotonic };
        gained.saturating_sub(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }
}

/// Runs until its task is dropped. A partition that fails is logged and tried again the next time.
pub async fn run(lane: Rc<Lane>, interval: Duration) {
    let mut watch = ClockWatch {
        wall: lane.clock.now(),
        monotonic: Instant::now(),
    };
    let mut paused = false;
    loop {
        Timer::new(interval).await;
        let drift_ms = watch.drift_ms(lane.clock.now(), Instant::now());
        if drift_ms.abs() > CLOCK_DRIFT_MS_MAX {
            paused = true;
            tracing::error!(
                drift_ms,
                "the wall clock jumped: nothing is deleted by age or size until the server is restarted"
            );
        }
        if paused {
            continue;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_jump_is_a_drift() {
        let start = Instant::now();
        let table = [
            (1_000, 1_000, 0),
            (604_801_000, 1_000, 604_800_000),
            (-500, 1_000, -1_500),
        ];
        for (wall_ms, elapsed_ms, expected) in table {
            let mut watch = ClockWatch {
                wall: TimestampMs::new(7),
                monotonic: start,
            };
            let now = start + Duration::from_millis(elapsed_ms);
            assert_eq!(watch.drift_ms(TimestampMs::new(7 + wall_ms), now), expected);
        }
    }
}
