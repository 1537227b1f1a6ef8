//! A file of reserved space that can be given back at once: room for metadata on a disk that somebody else has filled.
//!
//! `DATA/ballast`. It holds nothing; it may be removed by hand while no server runs. Blocking: for plain threads.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::doctor::syscalls;

/// The ballast of one data directory.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    size_bytes: u64,
}

impl Ballast {
    /// The ballast at `path`, as an earlier run left it, if it did.
    pub fn find(path: &Path) -> Self {
        let size_bytes = std::fs::metadata(path).map_or(0, |found| found.len());
        Self {
            path: path.to_path_buf(),
            size_bytes,
        }
    }

    /// What it takes of the disk, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Reserves the space. On an error nothing is kept.
    ///
    /// # Errors
    /// What the system says.
    pub fn take(&mut self, size_bytes: u64) -> io::Result<()> {
        if self.size_bytes == size_bytes {
            return Ok(());
        }
        self.give_back()?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&self.path)?;
        match syscalls::reserve(&file, size_bytes) {
            Ok(()) => {
                self.size_bytes = size_bytes;
                Ok(())
            }
            Err(error) => {
                drop(file);
                self.give_back()?;
                Err(error)
            }
        }
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// What the system says.
    pub fn give_back(&mut self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.size_bytes = 0,
        }
        // Freed blocks count as free once the file system has noted it.
        self.path
            .parent()
            .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_taken_found_again_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ballast");
        let mut ballast = Ballast::find(&path);
        assert_eq!(ballast.size_bytes(), 0);
        ballast.take(64 << 10).unwrap();
        assert_eq!(ballast.size_bytes(), 64 << 10);
        let mut found = Ballast::find(&path);
        assert_eq!(found.size_bytes(), 64 << 10);
        found.take(32 << 10).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 32 << 10);
        found.give_back().unwrap();
        assert!(!path.exists());
        found.give_back().unwrap();
    }
}
