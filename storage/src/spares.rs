//! A lane's pool of spare segment files: retired segments that new ones overwrite.
//!
//! A durable write into space that was written before costs about half of one into space that was only reserved, since the
//! file system need not journal that the space holds data now. So a retired segment's file goes to the pool instead of
//! being unlinked, and a log that fills its segments takes its next file from there.
//!
//! Owner: one lane; each lane has a directory of its own. No descriptor is held. [`shelf`] decides, this module renames.
//!
//! # What a spare holds
//! Old blocks of whatever log it served. They can never decode: the segment that takes a file over has a generation that no
//! block in it names, its header page is new and durable before it is named, and the page behind that is zero.
//! Reads end at the segment's own end. A file that somebody may still read or write is never kept but deleted.
//!
//! # What a crash leaves
//! A rename is one step of the file system's journal: a file has its old name or its new one, never both.
//!
//! | cut while | the file is |
//! |---|---|
//! | retiring, before the log's directory is synced | a segment still, untouched; or a spare |
//! | retiring, after it | a spare; it is overwritten from here on only |
//! | taking, until the new header is durable | a spare; or temporary in its log's directory, removed when the log is opened |
//! | taking, until both directories are synced | as before, or a named segment that has its new header: empty |
//!
//! A file is taken only after its old name is durably gone, so an overwritten file is never found under it. The pool's
//! directory is synced before that of the log which took a file, and after that of the log which gave one.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile, make_directories_durably, page_floor};
use crate::seeded_bugs::seeded_bug;

use shelf::{Admission, Shelf, Spare};

pub(crate) mod shelf;

/// The suffix of a spare's name; before it its number.
const SUFFIX: &str = ".spare";

/// Where a lane keeps spares, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparesConfig {
    /// On the file system of the logs; this lane's alone. Made when it is needed.
    pub directory: PathBuf,
    /// All spares together; 0 turns the pool off, and what a previous run left goes at the start.
    pub bytes_max: u64,
    /// Smaller files are not worth keeping.
    pub size_bytes_min: u64,
}

/// What [`LaneLogs::open_spares`](crate::LaneLogs::open_spares) found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SparesReport {
    /// Spares of a previous run that are used from here on.
    pub taken_over: usize,
    /// Their bytes.
    pub taken_over_bytes: u64,
    /// Files of a previous run that were deleted, for want of room or because the pool is off.
    pub removed: usize,
}

/// The pool. Off until it is opened.
pub(crate) struct Spares {
    config: Option<SparesConfig>,
    shelf: RefCell<Option<Shelf>>,
}

/// A file that was renamed into the pool; it can be taken after [`Spares::make_available`]. Dropped before that it stays
/// where it is until the next start, and counts as held.
#[derive(Debug)]
#[must_use]
pub(crate) struct Retired(Spare);

/// A file that was taken from the pool, under its new name.
pub(crate) struct Taken<F> {
    pub(crate) file: F,
    pub(crate) size_bytes: u64,
}

impl Spares {
    pub(crate) fn new(config: Option<SparesConfig>) -> Self {
        Self {
            config,
            shelf: RefCell::new(None),
        }
    }

    /// Takes over what a previous run left; from here on the pool keeps and gives.
    pub(crate) async fn open<D: Disk>(&self, disk: &D) -> io::Result<SparesReport> {
        let mut report = SparesReport::default();
        let Some(config) = &self.config else {
            return Ok(report);
        };
        let entries = match disk.list(&config.directory).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut shelf = Shelf::new(config.bytes_max, config.size_bytes_min, 0);
        for entry in entries.iter().filter(|entry| !entry.is_directory) {
            // What is not ours stays.
            let Some(number) = parse_name(&entry.name) else {
                continue;
            };
            let path = config.directory.join(&entry.name);
            let size_bytes = if config.bytes_max == 0 {
                0
            } else {
                page_floor(disk.open(&path).await?.size().await?)
            };
            if shelf.take_over(Spare { number, size_bytes }) {
                report.taken_over += 1;
                report.taken_over_bytes += size_bytes;
            } else {
                disk.delete(&path).await?;
                report.removed += 1;
            }
        }
        if config.bytes_max > 0 {
            make_directories_durably(disk, &config.directory).await?;
            *self.shelf.borrow_mut() = Some(shelf);
        }
        Ok(report)
    }

    /// Bytes in the pool.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.shelf.borrow().as_ref().map_or(0, Shelf::held_bytes)
    }

    /// Spares that can be taken.
    pub(crate) fn free_count(&self) -> usize {
        self.shelf.borrow().as_ref().map_or(0, Shelf::free_count)
    }

    fn path(&self, spare: Spare) -> PathBuf {
        let name = format!("{:020}{SUFFIX}", spare.number);
        self.config
            .as_ref()
            .map_or_else(PathBuf::new, |config| config.directory.join(name))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Shelf) -> T) -> Option<T> {
        self.shelf.borrow_mut().as_mut().map(change)
    }

    /// Moves the file at `path`, which nobody has open, into the pool if it is wanted there. `None`: it is still where it
    /// was. Sync its old directory, then call [`Spares::make_available`].
    pub(crate) async fn retire<D: Disk>(
        &self,
        disk: &D,
        path: &Path,
        size_bytes: u64,
    ) -> Option<Retired> {
        let admission = self.change(|shelf| shelf.admit(page_floor(size_bytes)))?;
        let Admission::Kept { spare, evicted } = admission else {
            return None;
        };
        if let Some(evicted) = evicted
            && let Err(error) = disk.delete(&self.path(evicted)).await
        {
            tracing::warn!(%error, "a spare segment was not deleted");
        }
        if let Err(error) = disk.rename(path, &self.path(spare)).await {
            tracing::debug!(path = %path.display(), %error, "not kept as a spare segment");
            self.change(|shelf| shelf.forget(spare));
            return None;
        }
        if seeded_bug("spare-taken-before-its-old-name-is-gone") {
            self.change(|shelf| shelf.add(spare));
            return None;
        }
        Some(Retired(spare))
    }

    /// Lets retired files be taken, whose old directories are synced by now.
    pub(crate) async fn make_available<D: Disk>(&self, disk: &D, retired: Vec<Retired>) {
        let Some(config) = &self.config else { return };
        if retired.is_empty() {
            return;
        }
        if let Err(error) = disk.sync_directory(&config.directory).await {
            // What is not durably here may come back there.
            tracing::warn!(%error, "retired segments are not used before the next start");
            return;
        }
        self.change(|shelf| {
            for Retired(spare) in retired {
                shelf.add(spare);
            }
        });
    }

    /// Moves a spare to `path` for a segment that may grow to `size_bytes_max` and will probably use `expected_bytes`; its
    /// size is at most the former. `None`: there is none that fits, or it could not be moved. Its content is old: the caller
    /// writes over its first pages. Sync the pool ([`Spares::sync`]), then the directory of `path`.
    pub(crate) async fn take<D: Disk>(
        &self,
        disk: &D,
        path: &Path,
        expected_bytes: u64,
        size_bytes_max: u64,
    ) -> Option<Taken<D::File>> {
        let spare = self.change(|shelf| shelf.take(expected_bytes, size_bytes_max))??;
        let from = self.path(spare);
        let moved = disk.rename(&from, path).await;
        self.change(|shelf| shelf.forget(spare));
        if let Err(error) = moved {
            tracing::warn!(path = %from.display(), %error, "a spare segment could not be used");
            // It is not in the books any more.
            let _ = disk.delete(&from).await;
            return None;
        }
        match Self::open_taken(disk, path, size_bytes_max).await {
            Ok(taken) => Some(taken),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a spare segment could not be used");
                None
            }
        }
    }

    async fn open_taken<D: Disk>(
        disk: &D,
        path: &Path,
        size_bytes_max: u64,
    ) -> io::Result<Taken<D::File>> {
        let file = disk.open(path).await?;
        let mut size_bytes = file.size().await?;
        if size_bytes > size_bytes_max {
            file.truncate(size_bytes_max).await?;
            size_bytes = size_bytes_max;
        }
        Ok(Taken { file, size_bytes })
    }

    /// Makes durable that a taken file is in the pool no more.
    pub(crate) async fn sync<D: Disk>(&self, disk: &D) -> io::Result<()> {
        match &self.config {
            Some(config) => disk.sync_directory(&config.directory).await,
            None => Ok(()),
        }
    }

    /// Deletes all spares; returns how many went, and their bytes, which are free on return.
    pub(crate) async fn release<D: Disk>(&self, disk: &D) -> (usize, u64) {
        let (mut count, mut bytes) = (0, 0);
        while let Some(spare) = self.change(Shelf::take_any).flatten() {
            let path = self.path(spare);
            let deleted = disk.delete(&path).await;
            self.change(|shelf| shelf.forget(spare));
            match deleted {
                Ok(()) => {
                    count += 1;
                    bytes += spare.size_bytes;
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a spare segment was not deleted");
                }
            }
        }
        if count > 0
            && let Err(error) = self.sync(disk).await
        {
            tracing::warn!(%error, "deleted spare segments may come back");
        }
        (count, bytes)
    }
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_spares() {
        for (name, expected) in [
            ("00000000000000000007.spare", Some(7)),
            ("7.spare", None),
            ("00000000000000000007.log", None),
            ("+0000000000000000007.spare", None),
            ("99999999999999999999.spare", None),
            (".spare", None),
        ] {
            assert_eq!(parse_name(name), expected, "{name}");
        }
    }
}
