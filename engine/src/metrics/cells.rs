//! Where the values lie between the lanes and whoever asks for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{LANE_METRICS, LaneSample};

/// How often a lane copies its numbers.
pub const PUBLISH_INTERVAL: Duration = Duration::from_millis(250);
/// A lane that has not copied its numbers for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// One lane's values. Written by that lane alone.
#[derive(Debug)]
pub struct LaneCells {
    values: [AtomicU64; LANE_METRICS.len()],
    /// Milliseconds after [`ServerMetrics::origin`]; 0 as long as the lane has not begun.
    published_ms: AtomicU64,
}

impl Default for LaneCells {
    fn default() -> Self {
        Self {
            values: std::array::from_fn(|_| AtomicU64::new(0)),
            published_ms: AtomicU64::new(0),
        }
    }
}

impl LaneCells {
    /// The value of a metric by its place in [`LANE_METRICS`].
    pub fn value(&self, index: usize) -> u64 {
        self.values
            .get(index)
            .map_or(0, |value| value.load(Ordering::Relaxed))
    }
}

/// The server's values. Each has one writer.
#[derive(Debug, Default)]
pub struct ServerCells {
    /// Free bytes of the file system.
    pub disk_free_bytes: AtomicU64,
    /// Its size.
    pub disk_total_bytes: AtomicU64,
    /// What is kept free.
    pub disk_reserve_bytes: AtomicU64,
    /// The ballast, in bytes.
    pub disk_ballast_bytes: AtomicU64,
    /// [`crate::headroom::Room`] as a number.
    pub disk_room: AtomicU64,
    /// Times that space became short.
    pub disk_shortages: AtomicU64,
    /// Times that the file system did not answer.
    pub disk_look_failures: AtomicU64,
    /// Directories in the trash.
    pub trash_directories: AtomicU64,
    /// 1 while every lane serves.
    pub ready: AtomicU64,
    /// Seconds since 1970 at the start.
    pub started_s: AtomicU64,
}

impl ServerCells {
    /// Reads a cell.
    pub fn get(cell: &AtomicU64) -> u64 {
        cell.load(Ordering::Relaxed)
    }

    /// Writes a cell.
    pub fn set(cell: &AtomicU64, value: u64) {
        cell.store(value, Ordering::Relaxed);
    }

    /// Adds one to a cell.
    pub fn count(cell: &AtomicU64) {
        cell.fetch_add(1, Ordering::Relaxed);
    }
}

/// All values of a server.
#[derive(Debug)]
pub struct ServerMetrics {
    /// Of the server.
    pub server: ServerCells,
    /// By lane index.
    pub lanes: Vec<LaneCells>,
    origin: Instant,
}

impl ServerMetrics {
    /// Zeros for a server of `lanes` lanes that starts now.
    pub fn new(lanes: usize) -> Self {
        let server = ServerCells::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        ServerCells::set(&server.started_s, now.map_or(0, |since| since.as_secs()));
        Self {
            server,
            lanes: (0..lanes).map(|_| LaneCells::default()).collect(),
            origin: Instant::now(),
        }
    }

    /// Copies a lane's numbers; called by that lane only.
    pub fn publish(&self, lane: usize, sample: &LaneSample) {
        let Some(cells) = self.lanes.get(lane) else {
            return;
        };
        for (cell, metric) in cells.values.iter().zip(LANE_METRICS) {
            cell.store((metric.read)(sample), Ordering::Relaxed);
        }
        cells
            .published_ms
            .store(self.elapsed_ms().max(1), Ordering::Relaxed);
    }

    /// The sum of a metric over all lanes; 0 if there is none of that name.
    pub fn sum(&self, name: &str) -> u64 {
        let index = LANE_METRICS.iter().position(|metric| metric.name == name);
        index.map_or(0, |index| {
            self.lanes.iter().map(|lane| lane.value(index)).sum()
        })
    }

    /// Lanes that had begun and have not copied their numbers for a while.
    pub fn stuck_lanes(&self) -> Vec<usize> {
        let now_ms = self.elapsed_ms();
        let is_stuck = |lane: &LaneCells| {
            let published_ms = lane.published_ms.load(Ordering::Relaxed);
            published_ms > 0
                && u128::from(now_ms.saturating_sub(published_ms)) > STUCK_AFTER.as_millis()
        };
        (0..)
            .zip(&self.lanes)
            .filter(|(_, lane)| is_stuck(lane))
            .map(|(index, _)| index)
            .collect()
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
