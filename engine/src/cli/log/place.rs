//! From the paths of a command line to the logs that they stand for, and the locks of the data directories around them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use corelane_engine::server::data_directory;
use corelane_format::ids::{LogId, Offset};
use corelane_storage::inspect::verify::{directory_log_id, is_deleted, segment_base};

/// The metadata log's id.
const METADATA_LOG: LogId = LogId::new(0);

/// Where a server keeps its data if nobody says otherwise.
const DEFAULT_ROOT: &str = "./corelane-data";

/// A log to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its directory.
    pub(super) directory: PathBuf,
    /// Its id, where the directory's name says it.
    pub(super) log_id: Option<LogId>,
    /// The base offset of the only segment to look at.
    pub(super) only: Option<Offset>,
    /// Size of what there is to read.
    pub(super) size_bytes: u64,
}

/// Everything that some paths stand for.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The logs, each once, in the order of the paths and then by name.
    pub(super) logs: Vec<Place>,
    /// Data directories that were named as such.
    pub(super) roots: Vec<PathBuf>,
    /// What is left of deleted logs.
    pub(super) deleted: Vec<PathBuf>,
    seen: HashSet<(PathBuf, Option<Offset>)>,
}

/// The logs below `paths`, or below the default data directory if there are none.
pub(super) fn find(paths: &[PathBuf]) -> anyhow::Result<Places> {
    let default = [PathBuf::from(DEFAULT_ROOT)];
    let mut places = Places::default();
    for path in if paths.is_empty() { &default } else { paths } {
        places.add(path)?;
    }
    Ok(places)
}

impl Places {
    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        let cannot_read = || format!("cannot read {}", path.display());
        let metadata = fs::metadata(path).with_context(cannot_read)?;
        if !metadata.is_dir() {
            let Some(base) = segment_base(path) else {
                bail!(
                    "{} is not named as a segment, 20 digits and .log; `corelane log dump` reads files of any name",
                    path.display()
                );
            };
            let directory = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            self.push(directory, Some(base), metadata.len());
            return Ok(());
        }
        if data_directory::is_data_directory(path) {
            self.roots.push(path.to_path_buf());
            let metadata = path.join("metadata");
            if metadata.is_dir() {
                self.push_log(&metadata)?;
            }
            for directory in directories(&path.join("logs"))? {
                if is_deleted(&directory) {
                    self.deleted.push(directory);
                } else {
                    self.push_log(&directory)?;
                }
            }
            return Ok(());
        }
        if segment_bytes(path)?.is_none() {
            bail!(
                "{} is neither a data directory nor a partition's, as DATA-DIRECTORY/logs/TOPIC-PARTITION.ID",
                path.display()
            );
        }
        self.push_log(path)
    }

    fn push_log(&mut self, directory: &Path) -> anyhow::Result<()> {
        let size_bytes = segment_bytes(directory)?.unwrap_or(0);
        self.push(directory, None, size_bytes);
        Ok(())
    }

    fn push(&mut self, directory: &Path, only: Option<Offset>, size_bytes: u64) {
        let is_metadata = directory.file_name().is_some_and(|name| name == "metadata")
            && directory
                .parent()
                .is_some_and(data_directory::is_data_directory);
        let place = Place {
            directory: directory.to_path_buf(),
            log_id: directory_log_id(directory).or(is_metadata.then_some(METADATA_LOG)),
            only,
            size_bytes,
        };
        if self.seen.insert((place.directory.clone(), only)) {
            self.logs.push(place);
        }
    }

    /// Keeps servers out of every data directory that holds one of the logs, as long as the answer lives.
    pub(super) fn lock(&self) -> anyhow::Result<Vec<File>> {
        let mut locked: Vec<PathBuf> = Vec::new();
        let mut locks = Vec::new();
        let around = self
            .logs
            .iter()
            .filter_map(|place| root_around(&place.directory));
        for root in self.roots.iter().cloned().chain(around) {
            let root = fs::canonicalize(&root)
                .with_context(|| format!("cannot read {}", root.display()))?;
            if locked.contains(&root) {
                continue;
            }
            if let Some(lock) = data_directory::lock_for_reading(&root).map_err(|error| {
                match error {
                    data_directory::DataDirectoryError::Locked { path } => anyhow::anyhow!(
                        "{} is in use by a server; stop it first: what it writes meanwhile would look damaged",
                        path.display()
                    ),
                    other => other.into(),
                }
            })? {
                locks.push(lock);
            }
            locked.push(root);
        }
        Ok(locks)
    }
}

/// The data directory that `directory` lies in: `ROOT/metadata` or `ROOT/logs/NAME`.
fn root_around(directory: &Path) -> Option<PathBuf> {
    let directory = fs::canonicalize(directory).ok()?;
    directory
        .ancestors()
        .skip(1)
        .take(2)
        .find(|root| data_directory::is_data_directory(root))
        .map(Path::to_path_buf)
}

fn directories(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let cannot_read = || format!("cannot read {}", path.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Bytes of the segments in `directory`; `None` if there is none.
fn segment_bytes(directory: &Path) -> anyhow::Result<Option<u64>> {
    let cannot_read = || format!("cannot read {}", directory.display());
    let mut size_bytes = None;
    for entry in fs::read_dir(directory).with_context(cannot_read)? {
        let entry = entry.with_context(cannot_read)?;
        if segment_base(&entry.path()).is_some() {
            *size_bytes.get_or_insert(0) += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_for_logs() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for directory in [
            "metadata",
            "logs/orders-0.1f",
            "logs/orders-1.20",
            "logs/a-0.3.3.deleted",
        ] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let segment = root.join("logs/orders-0.1f/00000000000000000007.log");
        fs::write(&segment, [0; 10]).unwrap();
        let is_none = |path: &Path| find(&[path.to_path_buf()]).is_err();
        assert!(
            is_none(root) && is_none(&root.join("logs/orders-1.20")) && is_none(&root.join("x"))
        );
        fs::write(root.join("server.json"), "{}").unwrap();

        let ids = |paths: &[PathBuf]| -> Vec<(Option<u64>, Option<i64>, u64)> {
            let places = find(paths).unwrap();
            places
                .logs
                .iter()
                .map(|place| {
                    let only = place.only.map(Offset::get);
                    (place.log_id.map(LogId::get), only, place.size_bytes)
                })
                .collect()
        };
        assert_eq!(
            ids(&[root.to_path_buf()]),
            [
                (Some(0), None, 0),
                (Some(0x1f), None, 10),
                (Some(0x20), None, 0)
            ]
        );
        assert_eq!(
            ids(&[segment.clone(), segment.clone()]),
            [(Some(0x1f), Some(7), 10)]
        );
        assert_eq!(find(&[root.to_path_buf()]).unwrap().deleted.len(), 1);
        fs::write(root.join("other.log"), "").unwrap();
        assert!(is_none(&root.join("other.log")));
    }
}
