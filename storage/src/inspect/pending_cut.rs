//! A truncation that a crash has left half done, as a start would see it: what is left above the cut is not part of the log.

use std::io;
use std::path::Path;

use corelane_format::{LogId, Offset};

use crate::disk::Disk;
use crate::log::cut::Cut;

/// What a mark means for the segments that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingCut {
    pub(super) log_id: LogId,
    /// Where the log was cut.
    pub(super) at: Offset,
    /// Segments from before the cut, by their bases: the next start removes them.
    pub(super) removed: Vec<Offset>,
    /// No segment has begun after the cut: the log ends there.
    pub(super) ends_log: bool,
}

impl PendingCut {
    /// Reads the mark in `directory`, and the header pages of the segments above the cut, of those that begin at `bases`.
    ///
    /// # Errors
    /// `InvalidData` for a damaged mark; a file cannot be read, or is of another version.
    pub(super) async fn read<D: Disk>(
        disk: &D,
        directory: &Path,
        bases: &[Offset],
    ) -> io::Result<Self> {
        let cut = Cut::read(disk, directory).await?;
        let above = cut.segments_above(disk, directory, bases).await?;
        Ok(Self {
            log_id: cut.log_id,
            at: cut.end,
            ends_log: !above.iter().any(|(_, is_new)| *is_new),
            removed: above
                .into_iter()
                .filter_map(|(base, is_new)| (!is_new).then_some(base))
                .collect(),
        })
    }

    /// Leaves of `bases` what is part of the log.
    pub(super) fn apply(&self, bases: &mut Vec<Offset>) {
        bases.retain(|base| self.removed.binary_search(base).is_err());
    }

    /// What bounds the last segment that is left.
    pub(super) fn end(&self) -> Option<Offset> {
        self.ends_log.then_some(self.at)
    }
}
