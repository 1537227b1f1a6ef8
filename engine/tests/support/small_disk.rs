//! A real file system that is small: ext4 on a loop device, mounted below the test's folder. For root only.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted file system; unmounted and removed on drop.
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Makes and mounts one of `size_bytes`, named after the test. `Err` says what this machine lacks.
    pub(crate) fn mount(name: &str, size_bytes: u64) -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{name}"));
        let disk = Self { folder };
        // An earlier run may have been killed.
        disk.remove();
        fs::create_dir_all(disk.mount_point()).map_err(|error| error.to_string())?;
        let image = disk.folder.join("image");
        File::create(&image)
            .and_then(|image| image.set_len(size_bytes))
            .map_err(|error| error.to_string())?;
        // Nothing is kept for root: the file system is full for everybody at once.
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0", "-b", "4096"])
            .arg(&image))?;
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(disk.mount_point()))?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn mount_point(&self) -> PathBuf {
        self.folder.join("mnt")
    }

    /// Writes a file that takes all that is left, and leaves it there. Gives its path.
    pub(crate) fn hog(&self) -> PathBuf {
        let path = self.mount_point().join("hog");
        let mut file = File::create(&path).expect("a file");
        for size in [1 << 20, 4096] {
            let bytes = vec![7; size];
            while file.write_all(&bytes).is_ok() {}
        }
        // What was written late may not have found its place; full it is in any case.
        let _ = file.sync_all();
        path
    }

    fn remove(&self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.mount_point())
            .output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.remove();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command:?}: {}", said.trim()))
    }
}
