//! Where lanes keep spare segments, and how many bytes of them.

use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;

use corelane_storage::SparesConfig;

use super::data_directory::DataDirectory;
use crate::doctor::syscalls;
use crate::lane::Lane;

/// The spares of all lanes together take no more than this part of the disk.
const DISK_PART: u64 = 20;
/// A file below this is made anew just as fast.
const SIZE_BYTES_MIN: u64 = 1 << 20;

/// What each lane may keep on the disk that holds `logs`, when `wanted_bytes` are set.
pub fn lane_bytes(wanted_bytes: u64, logs: &Path, lanes: usize) -> u64 {
    match syscalls::disk_space(logs) {
        Ok(space) => share_bytes(wanted_bytes, space.total_bytes, lanes),
        Err(error) => {
            tracing::warn!(%error, "the size of the disk is not known: no spare segments are kept");
            0
        }
    }
}

fn share_bytes(wanted_bytes: u64, total_bytes: u64, lanes: usize) -> u64 {
    wanted_bytes.min(total_bytes / DISK_PART / (lanes as u64).max(1))
}

/// A lane's pool.
pub fn config(data: &DataDirectory, lane: usize, bytes_max: u64) -> SparesConfig {
    SparesConfig {
        directory: data.spares().join(lane.to_string()),
        bytes_max,
        size_bytes_min: SIZE_BYTES_MIN,
    }
}

/// Removes the pools of lanes that this start does not have. What cannot be removed stays and costs space only.
pub fn remove_foreign(data: &DataDirectory, lanes: usize) {
    let entries = match fs::read_dir(data.spares()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::warn!(%error, "cannot look for spare segments of an earlier start");
            return;
        }
    };
    for entry in entries.flatten() {
        let lane = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<usize>().ok());
        if lane.is_some_and(|lane| lane >= lanes)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "cannot remove spare segments");
        }
    }
}

/// Opens a lane's pool. Without one segments are made anew, as on a fresh disk.
pub async fn open(lane: &Rc<Lane>) {
    match lane.logs.open_spares().await {
        Ok(report) if report.taken_over + report.removed > 0 => tracing::info!(
            lane = lane.index,
            taken_over = report.taken_over,
            bytes = report.taken_over_bytes,
            removed = report.removed,
            "spare segments of the previous run"
        ),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(lane = lane.index, %error, "no spare segments are kept or used");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: u64 = 1 << 30;

    #[test]
    fn small_disks_keep_little() {
        for (wanted, total, lanes, expected) in [
            (4 * G, 1000 * G, 2, 4 * G),
            (4 * G, 1000 * G, 50, G),
            (4 * G, 20 * G, 1, G),
            (0, 1000 * G, 2, 0),
            (4 * G, 0, 2, 0),
        ] {
            assert_eq!(
                share_bytes(wanted, total, lanes),
                expected,
                "{wanted} {total} {lanes}"
            );
        }
    }

    #[test]
    fn only_pools_of_lanes_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let data = super::super::data_directory::open(folder.path(), 1, "id").unwrap();
        remove_foreign(&data.paths, 1);
        for name in ["0", "1", "7", "notes"] {
            fs::create_dir_all(data.paths.spares().join(name)).unwrap();
            fs::write(data.paths.spares().join(name).join("file"), "old").unwrap();
        }
        remove_foreign(&data.paths, 2);
        let left = |name: &str| data.paths.spares().join(name).exists();
        assert!(left("0") && left("1") && left("notes") && !left("7"));
    }
}
