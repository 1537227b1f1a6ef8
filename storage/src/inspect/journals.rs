//! Checks the lanes' journals: headers, blocks, and that none is missing.

use std::io;
use std::path::Path;

use super::finding::{Finding, FindingKind};
use super::verify::VerifySink;
use crate::disk::Disk;
use crate::journal::replay::{ReplayError, ReplayReport, list_rings, read_ring};

/// What the journals hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalsSummary {
    /// Sound blocks.
    pub blocks: u64,
    /// Runs of one partition's batches in them; most are in segments too.
    pub entries: u64,
    /// Partitions that have any.
    pub logs: u64,
}

/// Checks the journals in `directory`. What cannot be read within it is a finding. A ring is in memory as a whole.
///
/// # Errors
/// The directory cannot be listed; one that is not there is fine.
pub async fn verify_journals<D: Disk>(
    disk: &D,
    directory: &Path,
    sink: &mut dyn VerifySink,
) -> io::Result<JournalsSummary> {
    let listing = list_rings(disk, directory).await?;
    let mut summary = JournalsSummary::default();
    let mut finding = |kind, path: &Path, detail| {
        sink.finding(Finding {
            kind,
            path: path.to_path_buf(),
            position: None,
            until: None,
            offsets: None,
            detail,
        });
    };
    for path in &listing.temporary {
        finding(
            FindingKind::Leftover,
            path,
            "it was not finished".to_owned(),
        );
    }
    for paths in listing.rings.values() {
        let mut report = ReplayReport::default();
        match read_ring(disk, paths, &mut report).await {
            Ok(ring) => summary.logs += ring.logs.len() as u64,
            Err(ReplayError::Io { path, error }) => {
                finding(FindingKind::Unreadable, &path, error.to_string());
            }
            Err(error @ ReplayError::Log { .. }) => {
                finding(FindingKind::Unreadable, directory, error.to_string());
            }
        }
        summary.blocks += report.blocks;
        summary.entries += report.entries;
        for damage in report.damaged {
            finding(FindingKind::Journal, &damage.path, damage.detail);
        }
    }
    Ok(summary)
}
