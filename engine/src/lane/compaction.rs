//! What a lane does for its compacted partitions: one pass after the other over the log that needs it most, below
//! everything else that the lane does.
//!
//! A pass goes in steps of about a block. Before each the lane's turn is asked for; while commits are waiting the step
//! waits with them, though never for long, so that a lane that is always busy does not fill its disk. What all steps move
//! is held to the lane's part of `log.cleaner.io.max.bytes.per.second`.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane_format::ids::LogId;
use corelane_storage::{CompactionLimits, CompactionPace};
use glommio::timer::Timer;

use super::Lane;
use super::wall_clock::{ClockWatch, Verdict};
use crate::partition::Partition;

/// How long a step waits at a time while commits are waiting.
const BUSY_WAIT: Duration = Duration::from_millis(1);
/// How many times it does so at most.
const BUSY_WAITS_MAX: u32 = 20;

/// What a lane's compactions may take.
#[derive(Clone, Copy, Debug)]
pub struct CompactionBudget {
    /// How long to wait when no log needs it.
    pub backoff: Duration,
    /// Memory for the map of keys.
    pub map_bytes: usize,
    /// Read and written per second.
    pub bytes_per_second_max: f64,
}

/// How long to rest so that `moved_bytes` since `elapsed` ago keep to the rate.
fn rest(moved_bytes: u64, elapsed: Duration, bytes_per_second_max: f64) -> Duration {
    let due = moved_bytes as f64 / bytes_per_second_max;
    Duration::try_from_secs_f64(due - elapsed.as_secs_f64()).unwrap_or(Duration::ZERO)
}

struct LanePace {
    lane: Rc<Lane>,
    bytes_per_second_max: f64,
    since: Instant,
    moved_bytes: u64,
}

impl CompactionPace for LanePace {
    async fn pass(&mut self, moved_bytes: u64) {
        self.moved_bytes += moved_bytes;
        let rest = rest(
            self.moved_bytes,
            self.since.elapsed(),
            self.bytes_per_second_max,
        );
        if !rest.is_zero() {
            Timer::new(rest).await;
        }
        let mut waits = 0;
        while self.lane.logs.is_busy() && waits < BUSY_WAITS_MAX {
            Timer::new(BUSY_WAIT).await;
            waits += 1;
        }
        self.lane.turns.pass().await;
    }
}

/// Runs until its task is dropped. A log that fails is left alone until the next round.
pub async fn run(lane: Rc<Lane>, budget: CompactionBudget) {
    let mut watch = ClockWatch::new(lane.clock.now(), Instant::now());
    // Never without a pause, so that a round over many logs stays rare.
    let backoff = budget.backoff.max(Duration::from_millis(10));
    let mut failed: HashSet<LogId> = HashSet::new();
    loop {
        Timer::new(backoff).await;
        // By a clock that jumped, what is young may be old, and a tombstone may seem to have been seen by everybody.
        if let Verdict::Jumped { by_ms } = watch.look(lane.clock.now(), Instant::now()) {
            tracing::error!(
                by_ms,
                "the wall clock jumped: nothing is compacted until it is back, or has gone evenly for an hour"
            );
        }
        if watch.is_doubted() {
            continue;
        }
        failed.clear();
        while let Some(partition) = dirtiest(&lane, &failed).await {
            if !compact(&lane, &partition, &budget).await {
                failed.insert(partition.log.log_id());
            }
        }
    }
}

/// The partition whose log needs a compaction most: of those that are due, the one with the largest dirty part.
async fn dirtiest(lane: &Rc<Lane>, failed: &HashSet<LogId>) -> Option<Rc<Partition>> {
    let mut found: Option<(u32, Rc<Partition>)> = None;
    for partition in lane.local_partitions() {
        let log = &partition.log;
        if !partition.limits.get().needs_keys || failed.contains(&log.log_id()) {
            continue;
        }
        lane.turns.pass().await;
        match log.compaction_due(lane.clock.now()).await {
            Ok(Some(due)) => {
                let is_dirtier = found
                    .as_ref()
                    .is_none_or(|(ratio, _)| due.dirty_ratio_ppm > *ratio);
                if is_dirtier {
                    found = Some((due.dirty_ratio_ppm, partition));
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(
                topic = %partition.topic, partition = %partition.index, %error, "compaction cannot be planned"
            ),
        }
    }
    found.map(|(_, partition)| partition)
}

/// Whether the log went a step on.
async fn compact(lane: &Rc<Lane>, partition: &Partition, budget: &CompactionBudget) -> bool {
    let mut pace = LanePace {
        lane: Rc::clone(lane),
        bytes_per_second_max: budget.bytes_per_second_max,
        since: Instant::now(),
        moved_bytes: 0,
    };
    let limits = CompactionLimits {
        map_budget_bytes: budget.map_bytes,
    };
    let now = lane.clock.now();
    match partition.log.compact(now, limits, &mut pace).await {
        Ok(Some(done)) => {
            tracing::info!(
                topic = %partition.topic, partition = %partition.index, dropped = done.records_dropped,
                first_dirty = %done.first_dirty, replaced = done.segments_replaced, written = done.segments_written,
                read_bytes = done.read_bytes, written_bytes = done.written_bytes, "compacted"
            );
            if done.segments_damaged > 0 || done.batches_unreadable > 0 {
                tracing::warn!(
                    topic = %partition.topic, partition = %partition.index, segments = done.segments_damaged,
                    batches = done.batches_unreadable, "damaged segments and unreadable batches were left as they are"
                );
            }
            true
        }
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(
                topic = %partition.topic, partition = %partition.index, %error, "compaction failed"
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_makes_up_for_what_was_moved_too_fast() {
        for (moved, elapsed_ms, rate, expected_ms) in [
            (0, 0, 1e6, 0),
            (1_000_000, 0, 1e6, 1000),
            (1_000_000, 400, 1e6, 600),
            (1_000_000, 1400, 1e6, 0),
            (u64::MAX, 0, f64::MAX, 0),
        ] {
            let got = rest(moved, Duration::from_millis(elapsed_ms), rate);
            assert_eq!(got.as_millis(), expected_ms, "{moved} {elapsed_ms} {rate}");
        }
    }
}
