//! Directories of logs that no topic refers to: what a crash in the middle of a deletion leaves, or lost metadata.
//!
//! Missing metadata never deletes data. At start, before any log is opened, they are moved to `DATA/trash/`, under the
//! time of the start, and stay there until the operator removes them. A crash leaves each in one place or in the
//! other. Blocking, but short: names only.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use corelane_format::ids::TimestampMs;

use crate::metadata::MetadataImage;
use crate::utc;

/// Moves the orphans among `logs` to `trash`, durably; returns how many directories lie in the trash then.
///
/// # Errors
/// What the system says; nothing is lost then.
pub fn move_to_trash(
    logs: &Path,
    trash: &Path,
    image: &MetadataImage,
    now: TimestampMs,
) -> io::Result<u64> {
    let known = known_logs(image);
    // A folder for each start: the names themselves may be as long as names can be.
    let folder = trash.join(utc::show(now).replace(':', "-"));
    let mut moved = 0;
    for entry in fs::read_dir(logs)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if log_id(name).is_none_or(|id| known.contains(&id)) || !entry.file_type()?.is_dir() {
            continue;
        }
        fs::create_dir_all(&folder)?;
        let target = folder.join(name);
        fs::rename(entry.path(), &target)?;
        moved += 1;
        tracing::warn!(
            directory = %target.display(),
            "belonged to no topic and was moved here; remove it if its topic was deleted"
        );
    }
    if moved > 0 {
        // The new names first: a crash in between leaves a directory under both at most.
        let above = [Some(&*folder), Some(trash), trash.parent(), Some(logs)];
        for directory in above.into_iter().flatten() {
            File::open(directory)?.sync_all()?;
        }
    }
    count(trash)
}

fn count(trash: &Path) -> io::Result<u64> {
    let starts = match fs::read_dir(trash) {
        Ok(starts) => starts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut directories = 0;
    for start in starts {
        let start = start?;
        if start.file_type()?.is_dir() {
            directories += fs::read_dir(start.path())?.count() as u64;
        }
    }
    Ok(directories)
}

fn known_logs(image: &MetadataImage) -> HashSet<u64> {
    image
        .topics()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| partition.log_id.get())
        .collect()
}

/// The log id in the name of a partition's directory, `TOPIC-INDEX.LOGID`.
fn log_id(name: &str) -> Option<u64> {
    let (_, id) = name.rsplit_once('.')?;
    u64::from_str_radix(id, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerSettings;

    #[test]
    fn only_directories_of_logs_without_a_topic_are_moved_and_nothing_in_them_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, trash) = (folder.path().join("logs"), folder.path().join("trash"));
        let image = MetadataImage::new(ServerSettings::default().topic_defaults());
        let now = TimestampMs::new(1_763_712_000_250);
        for name in ["gone-0.2a", "gone-1.2b", "notes", "a-0.2a.log-2a.deleted"] {
            fs::create_dir_all(logs.join(name)).unwrap();
        }
        fs::write(logs.join("gone-0.2a/00.log"), b"records").unwrap();
        fs::write(logs.join("file.2c"), b"").unwrap();

        assert_eq!(move_to_trash(&logs, &trash, &image, now).unwrap(), 2);
        let kept = trash.join("2025-11-21T08-00-00.250Z/gone-0.2a");
        assert_eq!(fs::read(kept.join("00.log")).unwrap(), b"records");
        for name in ["notes", "a-0.2a.log-2a.deleted", "file.2c"] {
            assert!(logs.join(name).exists(), "{name}");
        }
        assert_eq!(move_to_trash(&logs, &trash, &image, now).unwrap(), 2);
        assert!(kept.exists(), "kept for ever");
    }
}
