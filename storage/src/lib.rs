//! Partition logs at rest: direct I/O segments, group commit, recovery.
//!
//! A lane makes one [`LaneLogs`] over a [`disk::Disk`], runs its flusher, and opens [`PartitionLog`]s from it:
//!
//! ```no_run
//! # use std::path::Path;
//! # use corelane_format::{LogId, LeaderEpoch, TimestampMs, Offset};
//! # use corelane_storage::{LaneLogs, LaneLogsConfig, LogConfig};
//! # use corelane_storage::disk::direct::{DirectDisk, FlushMode};
//! # async fn lane(batch: corelane_format::kafka::ValidatedBatch<'_>) -> Result<(), Box<dyn std::error::Error>> {
//! let logs = LaneLogs::new(DirectDisk::new(FlushMode::DataSync), LaneLogsConfig::default());
//! let flusher = logs.clone();
//! glommio::spawn_local(async move { flusher.run_flusher().await }).detach();
//!
//! let directory = Path::new("/data/topic-0");
//! let (log, _report) = logs.open_log(directory, LogId::new(1), LogConfig::default()).await?;
//! let appended = log.append(&batch, LeaderEpoch::new(0), TimestampMs::new(0))?;
//! log.wait_readable(appended.end_offset()).await?; // durable from here on
//! let read = log.read(Offset::ZERO, log.readable_offset(), 1 << 20, true).await?;
//! # let _ = read;
//! logs.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! # On disk
//! A directory per log. `<20-digit base offset>.log`: a header page ([`segment_header`]), then commit blocks ([`block`]),
//! each at a multiple of 64 bytes, right behind the one before it or at the next page. `<base>.index`: what a scan of
//! the segment would find. `log-start`: the offset that `DeleteRecords` set.
//!
//! # Invariants
//! - What [`PartitionLog::flushed_offset`] covers survives a crash, whole and in order.
//! - No two writes in flight touch the same page, and no buffer in flight is modified.
//! - A log is never cut below what was acknowledged as durable; damage there is quarantined and answered with an error.
//! - A failed write stops the log: nothing is retried, nothing more is acknowledged.
//!
//! # Map
//! Pure decisions: `compaction`, `offsets`, `roll`, `reserve`, `retention`, `recovery`, `producer_state`,
//! `segment_meta`, `generation`, `block`, `region`, `chunk`, and the bytes of the small files in `segment_header` and `sidecar`.
//! Shells: `log` and its parts, `lane`, `spares`, `disk`. For people: `inspect`.

pub mod block;
mod bytes;
mod chunk;
mod compaction;
mod config;
pub mod disk;
mod error;
mod event;
#[doc(hidden)]
pub mod fuzzing;
mod generation;
pub mod inspect;
mod journal;
mod lane;
mod log;
mod names;
mod offsets;
pub mod producer_state;
mod recovery;
mod region;
mod reserve;
mod retention;
mod roll;
mod seeded_bugs;
pub mod segment_header;
mod segment_meta;
mod sidecar;
mod slice;
mod spares;
mod waiters;

pub use config::{CompactionConfig, LaneLogsConfig, LogConfig};
pub use error::{AppendError, ChangeError, FenceReason, LogFenced, OpenError, ReadError};
pub use journal::JournalConfig;
pub use journal::replay::{
    JournalDamage, ReplayError, ReplayReport, remove_journals, replay_journals,
};
pub use lane::{LaneLogs, LaneMetrics, ShutdownError};
pub use log::PartitionLog;
pub use log::append::Appended;
pub use log::compact::{Compacted, CompactionDue, CompactionLimits, CompactionPace, Unpaced};
pub use log::progress::ProgressWaiter;
pub use log::read::LogRead;
pub use log::recover::{RecoveryReport, TornTail};
pub use producer_state::ProducerState;
pub use slice::LogSlice;
pub use spares::{SparesConfig, SparesReport};
