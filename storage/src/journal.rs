//! The lane journal: one write and one flush for the small commits of many logs.
//!
//! A commit of much data goes straight to its log's segment. A small one *rides*: what many logs have pending is copied into
//! one journal block, which is written durably into a pre-written file; then all of them have flushed. The data stays
//! in the logs' open chunks and is *settled* later: written to its segment as part of one ordinary, large commit
//! block. So a thousand trickling logs cost one flush and not a thousand.
//!
//! A lane's journal is a ring of files. A file is used again when everything in it is settled. Nothing is ever read from
//! it but at a start after a crash: [`replay`] appends to each log what its segments do not have.
//!
//! # What a crash leaves
//! Segments are the truth below a log's settled offset, the journal from there on. One block is in flight at a time, so a
//! bad block with a sound one behind it is rot, and a bad block at the end is a torn write that nobody was told of.
//! Replaying twice changes nothing: an entry counts only from the log's end on.
//!
//! # Map
//! Pure: [`block`] and [`header`] are the bytes, [`route`] decides which way a commit takes, [`ring`] which file is written,
//! [`scan`] what a file holds. Shells: [`writer`] writes, [`replay`] reads.

pub(crate) mod block;
pub(crate) mod header;
pub(crate) mod replay;
pub(crate) mod ring;
pub(crate) mod route;
pub(crate) mod scan;
pub(crate) mod writer;

use std::path::{Path, PathBuf};

/// The size of a lane's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalConfig {
    /// Files of the ring: at least 2.
    pub files: usize,
    /// Bytes of each, whole pages.
    pub file_size_bytes: u64,
    /// The largest block, in bytes; at most what a file holds.
    pub block_size_bytes_max: usize,
}

impl JournalConfig {
    /// A ring of about `size_bytes` in 8 files.
    pub fn of_size(size_bytes: u64) -> Self {
        let file_size_bytes = (size_bytes / 8).max(256 << 10) & !4095;
        Self {
            files: 8,
            file_size_bytes,
            block_size_bytes_max: (file_size_bytes as usize / 4).clamp(64 << 10, 1 << 20),
        }
    }
}

/// The path of one file of a lane's ring.
pub(crate) fn file_path(directory: &Path, lane: usize, index: usize) -> PathBuf {
    directory.join(format!("{lane}-{index}{SUFFIX}"))
}

/// What journal files end in.
pub(crate) const SUFFIX: &str = ".journal";

/// Whether the file was not finished.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.strip_suffix(".tmp").is_some()
}

/// The lane of a ring's file, by its name.
pub(crate) fn lane_of(name: &str) -> Option<usize> {
    let (lane, index) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    index.parse::<usize>().ok()?;
    lane.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(
            file_path(Path::new("/j"), 3, 7),
            Path::new("/j/3-7.journal")
        );
        for (name, lane) in [
            ("3-7.journal", Some(3)),
            ("3-7.journal.tmp", None),
            ("held-3.journal", None),
            ("3.journal", None),
        ] {
            assert_eq!(lane_of(name), lane, "{name}");
        }
    }

    #[test]
    fn sizes() {
        let config = JournalConfig::of_size(64 << 20);
        assert_eq!(
            (
                config.files,
                config.file_size_bytes,
                config.block_size_bytes_max
            ),
            (8, 8 << 20, 1 << 20)
        );
        let least = JournalConfig::of_size(1);
        assert_eq!(
            (least.file_size_bytes, least.block_size_bytes_max),
            (256 << 10, 64 << 10)
        );
    }
}
