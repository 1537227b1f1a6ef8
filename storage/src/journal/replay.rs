//! Start-up after a crash: what only the journals have goes back into the logs.
//!
//! Runs once, before any log is served, over the journals of all lanes, whatever lanes there are now. Each log that has
//! entries is opened, gets what lies at or above its end, is settled and closed. Doing it again changes nothing, so a crash in
//! the middle of it costs only time; and what is in the journals counts until a lane opens its ring anew.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use corelane_format::{FilePosition, LogId, Offset};

use super::block::{BLOCK_HEADER_BYTES, BlockBuilder, ENTRY_HEADER_BYTES, Entry};
use super::header::JournalFileHeader;
use super::scan::{missing_sequences, scan_file};
use super::{SUFFIX, is_temporary, lane_of};
use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, PAGE_BYTES, page_ceil, read_small_file, replace_file_durably};
use crate::error::{ChangeError, OpenError};
use crate::lane::LaneLogs;
use crate::seeded_bugs::seeded_bug;

/// No journal file is larger.
const FILE_BYTES_MAX: u64 = 4 << 30;
/// Names of files that hold what could not be put back yet.
const HELD: &str = "held-";

/// What a replay found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Sound blocks.
    pub blocks: u64,
    /// Runs of batches in them.
    pub entries: u64,
    /// Bytes of journal files that were read.
    pub read_bytes: u64,
    /// Logs that got something back.
    pub logs_restored: u64,
    /// Batches that were put back into logs.
    pub batches_restored: u64,
    /// Their bytes.
    pub restored_bytes: u64,
    /// Logs that have entries and no directory: they were deleted.
    pub logs_deleted: u64,
    /// Entries from before a truncation of their log.
    pub entries_void: u64,
    /// Damage in files; what was settled is not affected.
    pub damaged: Vec<JournalDamage>,
    /// Acknowledged records that are neither in segments nor in journals: quarantined in their logs.
    pub lost: Vec<(LogId, Range<Offset>)>,
    /// Logs that could not be opened: what the journals have of them is kept aside until they can.
    pub held: Vec<LogId>,
}

/// What of a journal cannot be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalDamage {
    /// The file, or the ring's first one.
    pub path: PathBuf,
    /// What is wrong.
    pub detail: String,
}

/// Why a replay did not end. Nothing is lost by it: the next start tries again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The journals cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A log took its records, but could not make them durable.
    #[error("log {log_id} could not take back what the journal has of it: {error}")]
    Log {
        /// Which log.
        log_id: LogId,
        /// Why.
        #[source]
        error: ChangeError,
    },
}

/// One ring, read into memory.
#[derive(Default)]
pub(crate) struct RingContent {
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Per log: sequence, index of the file, entry.
    pub(crate) logs: BTreeMap<LogId, Vec<(u64, usize, Entry)>>,
}

/// Puts back what the journals in `directory` have. `locate` gives the directory of a log, or `None` if it was deleted. `logs` must
/// have its flusher running and none of the logs open. On return everything is in segments, durably, but for what the report
/// says is lost or held.
///
/// # Errors
/// A journal cannot be read, or a log fails while it takes its records back.
pub async fn replay_journals<D: Disk>(
    logs: &LaneLogs<D>,
    directory: &Path,
    locate: impl Fn(LogId) -> Option<PathBuf>,
) -> Result<ReplayReport, ReplayError> {
    let mut report = ReplayReport::default();
    let disk = logs.disk();
    let listing = list_rings(disk, directory)
        .await
        .map_err(io_error(directory))?;
    for path in &listing.temporary {
        disk.delete(path).await.map_err(io_error(path))?;
    }
    for (name, paths) in listing.rings {
        let ring = read_ring(disk, &paths, &mut report).await?;
        let mut kept_aside = false;
        for (log_id, entries) in &ring.logs {
            let Some(log_directory) = locate(*log_id) else {
                report.logs_deleted += 1;
                continue;
            };
            let opened = logs.open_log(&log_directory, *log_id, LogConfig::default());
            match opened.await {
                Ok((log, _)) => {
                    let restored = restore(&log, entries, &ring.files, &mut report).await;
                    let closed = match restored {
                        Ok(()) => logs.close_log(&log).await,
                        Err(error) => Err(error),
                    };
                    closed.map_err(|error| ReplayError::Log {
                        log_id: *log_id,
                        error,
                    })?;
                }
                Err(error) => {
                    kept_aside = true;
                    let path = if name.starts_with(HELD) {
                        paths[0].clone()
                    } else {
                        directory.join(format!("{HELD}{:x}-{name}{SUFFIX}", log_id.get()))
                    };
                    hold(disk, &path, *log_id, entries, &ring.files, &error).await?;
                    report.held.push(*log_id);
                }
            }
        }
        // What was held is where it belongs now.
        if name.starts_with(HELD) && !kept_aside {
            let path = &paths[0];
            disk.delete(path).await.map_err(io_error(path))?;
            disk.sync_directory(directory)
                .await
                .map_err(io_error(directory))?;
        }
    }
    Ok(report)
}

/// What stands in the journals' directory.
#[derive(Default)]
pub(crate) struct JournalListing {
    /// The files of each ring, and of each log that is held.
    pub(crate) rings: BTreeMap<String, Vec<PathBuf>>,
    /// Files that were not finished.
    pub(crate) temporary: Vec<PathBuf>,
}

pub(crate) async fn list_rings<D: Disk>(disk: &D, directory: &Path) -> io::Result<JournalListing> {
    let mut listing = JournalListing::default();
    let entries = match disk.list(directory).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = directory.join(&entry.name);
        if let Some(lane) = lane_of(&entry.name) {
            let ring = listing.rings.entry(lane.to_string()).or_default();
            ring.push(path);
        } else if entry.name.starts_with(HELD) && entry.name.ends_with(SUFFIX) {
            listing.rings.entry(entry.name).or_default().push(path);
        } else if is_temporary(&entry.name) {
            listing.temporary.push(path);
        }
    }
    Ok(listing)
}

/// Removes the journal files of lanes that are no more, from lane `lanes` on; durable on return. They must have been replayed.
///
/// # Errors
/// The directory cannot be read or changed.
pub async fn remove_journals<D: Disk>(disk: &D, directory: &Path, lanes: usize) -> io::Result<()> {
    let entries = match disk.list(directory).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut removed = false;
    for entry in entries {
        if lane_of(&entry.name).is_some_and(|lane| lane >= lanes) {
            disk.delete(&directory.join(&entry.name)).await?;
            removed = true;
        }
    }
    if removed {
        disk.sync_directory(directory).await?;
    }
    Ok(())
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ReplayError + use<> {
    let path = path.to_path_buf();
    move |error| ReplayError::Io { path, error }
}

pub(crate) async fn read_ring<D: Disk>(
    disk: &D,
    paths: &[PathBuf],
    report: &mut ReplayReport,
) -> Result<RingContent, ReplayError> {
    let mut ring = RingContent::default();
    let mut sequences = Vec::new();
    let mut settled = Vec::new();
    let mut newest: Option<(u64, Vec<Range<u64>>)> = None;
    for path in paths {
        if let Some(header) = empty_header(disk, path).await.map_err(io_error(path))? {
            settled.push(header.settled);
            continue;
        }
        let bytes = read_small_file(disk, path, FILE_BYTES_MAX)
            .await
            .map_err(io_error(path))?;
        report.read_bytes += bytes.len() as u64;
        let scanned = scan_file(&bytes);
        let mut damage = |detail: String| {
            report.damaged.push(JournalDamage {
                path: path.clone(),
                detail,
            });
        };
        if scanned.header_is_damaged {
            damage("the header page is damaged; its blocks are used".to_owned());
        }
        for range in &scanned.damaged {
            damage(format!(
                "bytes {} to {} are damaged, sound blocks follow",
                range.start, range.end
            ));
        }
        settled.push(scanned.settled.clone());
        let file = ring.files.len();
        for block in scanned.blocks {
            report.blocks += 1;
            sequences.push(block.sequence);
            if newest
                .as_ref()
                .is_none_or(|(sequence, _)| *sequence < block.sequence)
            {
                newest = Some((block.sequence, block.live));
            }
            for entry in block.entries {
                report.entries += 1;
                ring.logs.entry(entry.header.log_id).or_default().push((
                    block.sequence,
                    file,
                    entry,
                ));
            }
        }
        ring.files.push((path.clone(), bytes));
    }
    let live = newest.map_or_else(Vec::new, |(_, live)| live);
    for missing in missing_sequences(&mut sequences, &live, &settled) {
        report.damaged.push(JournalDamage {
            path: paths.first().cloned().unwrap_or_default(),
            detail: format!(
                "blocks {} to {} (exclusive) are missing: what they held and was not settled cannot be proved",
                missing.start, missing.end
            ),
        });
    }
    for entries in ring.logs.values_mut() {
        entries.sort_by_key(|(sequence, _, _)| *sequence);
    }
    Ok(ring)
}

/// The file's header, if that says that there is nothing to look for.
async fn empty_header<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<JournalFileHeader>> {
    let file = disk.open(path).await?;
    let page = file.read_at(FilePosition::ZERO, PAGE_BYTES).await?;
    Ok(JournalFileHeader::decode(page.as_ref()).filter(|header| header.is_empty))
}

async fn restore<D: Disk>(
    log: &crate::log::PartitionLog<D>,
    entries: &[(u64, usize, Entry)],
    files: &[(PathBuf, Vec<u8>)],
    report: &mut ReplayReport,
) -> Result<(), ChangeError> {
    let before = report.batches_restored;
    // A truncation's segment has its header page before anything of its history rides: a log that knows of fewer truncations
    // has lost that page.
    let newest = entries.iter().map(|(_, _, entry)| entry.header.history);
    if let Some(newest) = newest.max()
        && !seeded_bug("history-not-learned")
    {
        log.learn_history(newest);
    }
    let forgotten = usize::from(seeded_bug("last-entry-not-replayed"));
    for (_, file, entry) in &entries[..entries.len().saturating_sub(forgotten)] {
        if entry.header.history != log.history() && !seeded_bug("entries-before-a-cut-replayed") {
            report.entries_void += 1;
            continue;
        }
        let batches = &files[*file].1[entry.batches.clone()];
        let restored = log.restore(entry.header.first_offset, batches).await?;
        report.batches_restored += restored.batches;
        report.restored_bytes += restored.size_bytes;
        if let Some(lost) = restored.lost {
            report.lost.push((log.log_id(), lost));
        }
    }
    if report.batches_restored > before {
        report.logs_restored += 1;
    }
    Ok(())
}

/// Keeps a log's entries aside, durably: a journal file of their own, which every start reads until the log can be opened.
async fn hold<D: Disk>(
    disk: &D,
    path: &Path,
    log_id: LogId,
    entries: &[(u64, usize, Entry)],
    files: &[(PathBuf, Vec<u8>)],
    reason: &OpenError,
) -> Result<(), ReplayError> {
    tracing::error!(%log_id, %reason, path = %path.display(), "what the journal has of this log is kept aside until it can be opened");
    let generation = 1;
    let mut content = JournalFileHeader {
        generation,
        settled: 0..0,
        is_empty: false,
    }
    .encode();
    content.resize(PAGE_BYTES, 0);
    for (index, (_, file, entry)) in entries.iter().enumerate() {
        let batches = &files[*file].1[entry.batches.clone()];
        let size = BLOCK_HEADER_BYTES + ENTRY_HEADER_BYTES + batches.len();
        let mut block = vec![0; page_ceil(size as u64) as usize];
        let mut builder = BlockBuilder::new(&mut block, std::iter::empty());
        builder.push(&entry.header, batches);
        builder.finish(generation, index as u64 + 1);
        content.extend_from_slice(&block);
    }
    replace_file_durably(disk, path, &content)
        .await
        .map_err(io_error(path))
}
