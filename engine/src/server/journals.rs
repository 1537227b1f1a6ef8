//! The lanes' journals at start: what only they have goes back into the logs before anything is served.
//!
//! The controller's lane does it for all lanes, since the journals may be those of a start with other cores. Each lane then
//! opens its own ring, which makes what it held void.

use anyhow::{Context, anyhow};
use corelane_storage::{JournalConfig, ReplayReport, remove_journals, replay_journals};

use crate::lane::Lane;

/// Replays the journals of all lanes. No log may be open yet. On return what was acknowledged is in segments, durably.
///
/// # Errors
/// A journal or a log cannot be read or written: nothing is lost, the next start tries again.
pub async fn replay(lane: &Lane) -> anyhow::Result<()> {
    let data = &lane.cluster.data;
    let directories = data
        .log_directories()
        .context("cannot list the logs' directories")?;
    let report = replay_journals(&lane.logs, &data.journal(), |log_id| {
        directories.get(&log_id).cloned()
    })
    .await
    .map_err(|error| {
        anyhow!("cannot put back what the journals have; mend the disk and start again: {error}")
    })?;
    note(&report);
    remove_journals(lane.logs.disk(), &data.journal(), lane.cluster.lanes)
        .await
        .context("cannot remove the journals of cores that are no longer used")
}

/// Gives a lane its ring of about `size_bytes`, unless that is 0.
///
/// # Errors
/// The journal's directory cannot be used.
pub async fn open(lane: &Lane, size_bytes: u64) -> anyhow::Result<()> {
    let data = &lane.cluster.data;
    if size_bytes == 0 {
        // What an earlier start with a journal left was replayed, and would be again and again.
        return if lane.index == 0 {
            remove_journals(lane.logs.disk(), &data.journal(), 0)
                .await
                .context("cannot remove the journals")
        } else {
            Ok(())
        };
    }
    lane.logs
        .open_journal(
            &data.journal(),
            lane.index,
            JournalConfig::of_size(size_bytes),
        )
        .await
        .with_context(|| format!("cannot open the journal of lane {}", lane.index))
}

fn note(report: &ReplayReport) {
    if report.batches_restored > 0 {
        tracing::info!(
            logs = report.logs_restored,
            batches = report.batches_restored,
            bytes = report.restored_bytes,
            "put back from the journals what the last run had acknowledged"
        );
    }
    for damage in &report.damaged {
        tracing::error!(
            path = %damage.path.display(),
            "journal: {}; what was settled is not affected", damage.detail
        );
    }
    for (log_id, range) in &report.lost {
        tracing::error!(
            %log_id,
            "acknowledged records {} to {} (exclusive) are neither in segments nor in journals",
            range.start, range.end
        );
    }
}
