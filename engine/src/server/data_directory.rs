//! The data directory: its layout, its identity file, and the lock that keeps a second server out.
//!
//! ```text
//! corelane-data/
//!   lock               held while a server runs
//!   server.json        format version, cluster id, server id
//!   metadata/          the metadata log
//!   logs/TOPIC-INDEX.LOGID/
//!   ballast            space that can be given back, see `headroom`
//!   trash/TIME/...     directories of logs that belonged to no topic at that start
//!   spares/LANE/       retired segments, to be overwritten
//!   journal/           the lanes' journals
//! ```
//! `server.json` is written to a temporary name, flushed, renamed, and its directory flushed: a crash leaves the old one,
//! the new one, or none.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use corelane_format::ids::LogId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::metadata::METADATA_LOG_ID;

/// The version of the directory's layout that this build reads and writes.
const FORMAT_VERSION: u32 = 2;

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirectoryError {
    /// Another server has it open.
    #[error(
        "{path} is in use by another server or by `corelane log`; stop that one, or choose another --data-dir"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The file system refused.
    #[error(
        "cannot use {path} as data directory: {source}; check that it exists and may be written, or choose another --data-dir"
    )]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `server.json` is not what this build wrote.
    #[error("{path} is damaged: {reason}; restore it from a backup of the directory")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Written by a newer or another build.
    #[error(
        "{path} has format {got}, this build reads format {FORMAT_VERSION}; use the build that wrote it"
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The version found.
        got: u32,
    },
    /// The directory belongs to another server.
    #[error(
        "{path} belongs to server {got}, and this server is {expected}; set server.id to {got}, or choose another --data-dir"
    )]
    OtherServer {
        /// The file.
        path: PathBuf,
        /// The id found.
        got: i32,
        /// The id configured.
        expected: i32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    format_version: u32,
    server_id: i32,
    cluster_id: String,
}

/// A data directory's paths.
#[derive(Clone, Debug)]
pub struct DataDirectory {
    root: PathBuf,
}

/// A data directory that this process has locked; unlocked on drop.
#[derive(Debug)]
pub struct OpenDataDirectory {
    /// Its paths.
    pub paths: DataDirectory,
    /// Kafka's cluster id, kept since the first start.
    pub cluster_id: String,
    _lock: File,
}

impl DataDirectory {
    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that holds space which can be given back.
    pub fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    /// Where directories of logs without a topic are moved.
    pub fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// Directory of the metadata log.
    pub fn metadata(&self) -> PathBuf {
        self.root.join("metadata")
    }

    /// Directory that holds one directory per partition.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Directory that holds one directory of spare segments per lane.
    pub fn spares(&self) -> PathBuf {
        self.root.join("spares")
    }

    /// Directory of the lanes' journals.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The directories of all logs that there are, by their ids: the metadata log's, and those named after a partition.
    ///
    /// # Errors
    /// The directory of logs cannot be read.
    pub fn log_directories(&self) -> io::Result<HashMap<LogId, PathBuf>> {
        let mut found = HashMap::from([(METADATA_LOG_ID, self.metadata())]);
        let entries = match fs::read_dir(self.logs()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let log_id = entry.file_name().to_str().and_then(log_id_of);
            if let Some(log_id) = log_id {
                found.insert(log_id, entry.path());
            }
        }
        Ok(found)
    }

    /// Directory of one partition's log. The log id makes it unique when a topic is deleted and made again.
    pub fn log_directory(&self, topic: &str, index: usize, log_id: LogId) -> PathBuf {
        self.logs()
            .join(format!("{topic}-{index}.{:x}", log_id.get()))
    }
}

/// The log id in the name of a partition's directory; `None` for what is being deleted, and for what is none of ours.
fn log_id_of(name: &str) -> Option<LogId> {
    let (partition, id) = name.rsplit_once('.')?;
    partition.rsplit_once('-')?.1.parse::<u32>().ok()?;
    u64::from_str_radix(id, 16).ok().map(LogId::new)
}

/// Creates or opens `root`, locks it and checks that it belongs to this server; `new_cluster_id` is kept if it is new.
///
/// # Errors
/// See [`DataDirectoryError`]; a directory that could not be used is left as it was found.
pub fn open(
    root: &Path,
    server_id: i32,
    new_cluster_id: &str,
) -> Result<OpenDataDirectory, DataDirectoryError> {
    let io_error = |path: &Path| {
        let path = path.to_path_buf();
        move |source| DataDirectoryError::Io { path, source }
    };
    fs::create_dir_all(root).map_err(io_error(root))?;
    // Canonical, so that a later change of the working directory cannot move it.
    let root = fs::canonicalize(root).map_err(io_error(root))?;
    let lock_path = root.join("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(io_error(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(DataDirectoryError::Locked { path: root }),
        Err(TryLockError::Error(source)) => {
            return Err(DataDirectoryError::Io {
                path: lock_path,
                source,
            });
        }
    }
    let paths = DataDirectory { root: root.clone() };
    let identity_path = root.join("server.json");
    let identity = match fs::read(&identity_path) {
        Ok(bytes) => read_identity(&identity_path, &bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let identity = Identity {
                format_version: FORMAT_VERSION,
                server_id,
                cluster_id: new_cluster_id.to_owned(),
            };
            write_identity(&root, &identity_path, &identity).map_err(io_error(&identity_path))?;
            identity
        }
        Err(source) => {
            return Err(DataDirectoryError::Io {
                path: identity_path,
                source,
            });
        }
    };
    if identity.server_id != server_id {
        return Err(DataDirectoryError::OtherServer {
            path: identity_path,
            got: identity.server_id,
            expected: server_id,
        });
    }
    let logs = paths.logs();
    fs::create_dir_all(&logs).map_err(io_error(&logs))?;
    sync_directory(&root).map_err(io_error(&root))?;
    Ok(OpenDataDirectory {
        paths,
        cluster_id: identity.cluster_id,
        _lock: lock,
    })
}

/// Keeps servers out of `root` for as long as the answer lives; other readers may come in. `None` for a directory that no
/// server has used, or that is only a copy of parts of one.
///
/// # Errors
/// A server has it open, or its lock cannot be read.
pub fn lock_for_reading(root: &Path) -> Result<Option<File>, DataDirectoryError> {
    let path = root.join("lock");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DataDirectoryError::Io { path, source }),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(DataDirectoryError::Locked {
            path: root.to_path_buf(),
        }),
        Err(TryLockError::Error(source)) => Err(DataDirectoryError::Io { path, source }),
    }
}

/// Whether `root` is, or was, a server's data directory.
pub fn is_data_directory(root: &Path) -> bool {
    root.join("server.json").exists() || (root.join("lock").exists() && root.join("logs").exists())
}

/// Checks the identity file of `root`.
///
/// # Errors
/// It is not there, damaged, or of another format.
pub fn check_identity(root: &Path) -> Result<(), DataDirectoryError> {
    let path = root.join("server.json");
    match fs::read(&path) {
        Ok(bytes) => read_identity(&path, &bytes).map(|_| ()),
        Err(source) => Err(DataDirectoryError::Io { path, source }),
    }
}

fn read_identity(path: &Path, bytes: &[u8]) -> Result<Identity, DataDirectoryError> {
    let identity: Identity =
        serde_json::from_slice(bytes).map_err(|error| DataDirectoryError::Damaged {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
    if identity.format_version != FORMAT_VERSION {
        return Err(DataDirectoryError::UnknownFormat {
            path: path.to_path_buf(),
            got: identity.format_version,
        });
    }
    Ok(identity)
}

fn write_identity(root: &Path, path: &Path, identity: &Identity) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = File::create(&temporary)?;
    file.write_all(serde_json::to_string_pretty(identity)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory(root)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_cluster_id_of_the_first_start() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path(), 1, "first").unwrap());
        assert_eq!(
            open(folder.path(), 1, "second").unwrap().cluster_id,
            "first"
        );
    }

    #[test]
    fn logs_are_found_by_their_ids() {
        let folder = tempfile::tempdir().unwrap();
        let data = open(folder.path(), 1, "id").unwrap().paths;
        for name in [
            "a.b-c-0.1f",
            "a-1.2",
            "a-1.3.3.deleted",
            "lost+found",
            "x.5",
        ] {
            fs::create_dir_all(data.logs().join(name)).unwrap();
        }
        let mut found: Vec<_> = data.log_directories().unwrap().into_iter().collect();
        found.sort();
        assert_eq!(
            found,
            [
                (METADATA_LOG_ID, data.metadata()),
                (LogId::new(2), data.logs().join("a-1.2")),
                (LogId::new(0x1f), data.logs().join("a.b-c-0.1f")),
            ]
        );
    }

    #[test]
    fn a_second_server_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let _held = open(folder.path(), 1, "id").unwrap();
        assert!(matches!(
            open(folder.path(), 1, "id"),
            Err(DataDirectoryError::Locked { .. })
        ));
    }

    #[test]
    fn readers_keep_servers_out_and_not_each_other() {
        let folder = tempfile::tempdir().unwrap();
        assert!(lock_for_reading(folder.path()).unwrap().is_none());
        drop(open(folder.path(), 1, "id").unwrap());
        let first = lock_for_reading(folder.path()).unwrap();
        assert!(first.is_some() && lock_for_reading(folder.path()).unwrap().is_some());
        assert!(matches!(
            open(folder.path(), 1, "id"),
            Err(DataDirectoryError::Locked { .. })
        ));
        drop(first);
        let _held = open(folder.path(), 1, "id").unwrap();
        assert!(matches!(
            lock_for_reading(folder.path()),
            Err(DataDirectoryError::Locked { .. })
        ));
        assert!(is_data_directory(folder.path()) && check_identity(folder.path()).is_ok());
    }

    #[test]
    fn refuses_what_it_cannot_trust() {
        let table = [
            ("", "damaged"),
            ("{\"format_version\":2}", "damaged"),
            (
                "{\"format_version\":1,\"cluster_id\":\"x\",\"server_id\":1}",
                "has format 1, this build reads format 2",
            ),
            (
                "{\"format_version\":9,\"cluster_id\":\"x\",\"server_id\":1}",
                "format 9",
            ),
            (
                "{\"format_version\":2,\"cluster_id\":\"x\",\"server_id\":7}",
                "server 7",
            ),
        ];
        for (content, expected) in table {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("server.json"), content).unwrap();
            let error = open(folder.path(), 1, "id").unwrap_err().to_string();
            assert!(error.contains(expected), "{content}: {error}");
        }
    }
}
