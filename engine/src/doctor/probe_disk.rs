//! Finds the facts about the disk under the data directory, by writing and reading one page there.

use std::collections::hash_map::RandomState;
use std::fs::{self, OpenOptions};
use std::hash::BuildHasher;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::facts::{DirectIoFact, DiskCacheFact, DiskFacts};
use super::syscalls;

/// What direct I/O is aligned to.
const PAGE_BYTES: usize = 4096;

/// Finds everything about the disk that holds `data_dir`, which need not exist.
pub fn facts(data_dir: &Path) -> DiskFacts {
    let probed = nearest_directory(data_dir);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mount_of(&mounts, &probed);
    DiskFacts {
        direct_io: try_direct_io(&probed),
        has_data: data_dir.join("server.json").exists(),
        free_bytes: syscalls::free_bytes(&probed).ok(),
        cache: mount.as_ref().and_then(|mount| disk_cache(&mount.device)),
        file_system: mount.map(|mount| mount.file_system),
        probed,
    }
}

/// The directory itself, or the nearest above it that exists, without symbolic links.
fn nearest_directory(directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    absolute
        .ancestors()
        .find_map(|candidate| candidate.canonicalize().ok().filter(|found| found.is_dir()))
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// Its device as `major:minor`.
    device: String,
    file_system: String,
}

/// The mount that a path without symbolic links is in, by the text of `/proc/self/mountinfo`.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let mut best: Option<(usize, Mount)> = None;
    for line in mounts.lines() {
        // id parent major:minor root mount-point options [tags...] - type source options
        let Some((place, kind)) = line.split_once(" - ") else {
            continue;
        };
        let place: Vec<&str> = place.split(' ').collect();
        let (Some(device), Some(point), Some(file_system)) =
            (place.get(2), place.get(4), kind.split(' ').next())
        else {
            continue;
        };
        let point = unescape(point);
        // Of equals the later one is mounted on top.
        if path.starts_with(&point)
            && best
                .as_ref()
                .is_none_or(|(length, _)| point.len() >= *length)
        {
            let mount = Mount {
                device: (*device).to_owned(),
                file_system: file_system.to_owned(),
            };
            best = Some((point.len(), mount));
        }
    }
    best.map(|(_, mount)| mount)
}

/// The kernel writes blanks, tabs, newlines and backslashes in paths as three octal digits.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (code, character)| {
        text.replace(code, character)
    })
}

/// The cache of the disk with this device number; `None` where there is no such disk.
fn disk_cache(device: &str) -> Option<DiskCacheFact> {
    let entry = Path::new("/sys/dev/block")
        .join(device)
        .canonicalize()
        .ok()?;
    // A partition's queue is its disk's.
    let disk = [Some(entry.as_path()), entry.parent()]
        .into_iter()
        .flatten()
        .find(|d| d.join("queue").is_dir())?;
    let read = |name: &str| fs::read_to_string(disk.join("queue").join(name)).ok();
    Some(DiskCacheFact {
        device: disk.file_name()?.to_string_lossy().into_owned(),
        is_write_back: read("write_cache")?.trim() == "write back",
        has_fua: read("fua").is_some_and(|text| text.trim() == "1"),
    })
}

/// Removes the probe's file, whatever happens.
struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // What cannot be removed stays: 4 KiB, under a name that says where it is from.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes a page the way segments are written, reads it back, and removes the file.
fn try_direct_io(directory: &Path) -> DirectIoFact {
    // A name of its own, as a process id is not: two containers may share a directory.
    let unique = RandomState::new().hash_one(std::process::id());
    let path = directory.join(format!(".corelane-doctor-{unique:016x}"));
    // Without direct I/O first, to tell a directory that cannot be used from a file system that lacks it.
    if let Err(error) = OpenOptions::new().write(true).create_new(true).open(&path) {
        return if error.kind() == io::ErrorKind::StorageFull {
            DirectIoFact::NoSpace
        } else {
            DirectIoFact::DirectoryUnusable(error.to_string())
        };
    }
    let _remove = RemoveOnDrop(path.clone());
    let refused = |operation: &'static str| {
        move |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull => DirectIoFact::NoSpace,
            _ => DirectIoFact::Refused {
                operation,
                errno: error.raw_os_error().unwrap_or(0),
            },
        }
    };
    let attempt = || -> Result<(), DirectIoFact> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT | libc::O_DSYNC)
            .open(&path)
            .map_err(refused("opening with O_DIRECT"))?;
        let mut written = vec![0xC5_u8; 2 * PAGE_BYTES];
        let mut read = vec![0_u8; 2 * PAGE_BYTES];
        let written = aligned_page(&mut written);
        let read = aligned_page(&mut read);
        file.write_all_at(written, 0)
            .map_err(refused("a direct write"))?;
        file.read_exact_at(read, 0)
            .map_err(refused("a direct read"))?;
        if read == written {
            Ok(())
        } else {
            Err(DirectIoFact::Refused {
                operation: "reading back what was written",
                errno: 0,
            })
        }
    };
    attempt().err().unwrap_or(DirectIoFact::Works)
}

/// The page in a buffer of two that is aligned to a page.
fn aligned_page(buffer: &mut [u8]) -> &mut [u8] {
    let start = buffer.as_ptr().align_offset(PAGE_BYTES);
    &mut buffer[start..start + PAGE_BYTES]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 0:27 / /dev/shm rw,relatime - tmpfs tmpfs rw
40 27 259:2 / /mnt/with\\040blank rw - xfs /dev/nvme0n1p2 rw
41 27 259:3 / /data rw - xfs /dev/nvme0n1p3 rw
42 27 0:50 / /data rw - overlay overlay rw
broken line
";

    #[test]
    fn the_mount_nearest_to_a_path_is_found() {
        for (path, device, file_system) in [
            ("/", "254:0", "ext4"),
            ("/home/me", "254:0", "ext4"),
            ("/dev/shm/x", "0:27", "tmpfs"),
            ("/dev/shmx", "254:0", "ext4"),
            ("/mnt/with blank/data", "259:2", "xfs"),
            ("/data/corelane", "0:50", "overlay"),
        ] {
            let expected = Mount {
                device: device.to_owned(),
                file_system: file_system.to_owned(),
            };
            assert_eq!(mount_of(MOUNTS, Path::new(path)), Some(expected), "{path}");
        }
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn a_directory_that_does_not_exist_yet_is_probed_above() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        assert_eq!(nearest_directory(&folder.path().join("a/b")), real);
        assert_eq!(nearest_directory(folder.path()), real);
        fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(nearest_directory(&folder.path().join("file/below")), real);
    }

    #[test]
    fn the_probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let found = try_direct_io(folder.path());
        assert!(
            !matches!(found, DirectIoFact::DirectoryUnusable(_)),
            "{found:?}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let missing = try_direct_io(&folder.path().join("missing"));
        assert!(
            matches!(missing, DirectIoFact::DirectoryUnusable(_)),
            "{missing:?}"
        );
    }

    #[test]
    fn unknown_devices_have_no_cache() {
        assert_eq!(disk_cache("0:0"), None);
        assert_eq!(disk_cache("nonsense"), None);
    }
}
