//! A [`Disk`] that cannot change anything: plain reads of files that may be opened for reading.
//!
//! So looking needs neither the right to write, nor `io_uring`: a copy of a log on any machine will do. Where the file system
//! has direct I/O, what is read is what the device holds, and never what the page cache remembers of it. No operation ever
//! waits; a future of it is ready when it is polled first.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;

use corelane_format::ids::FilePosition;
use corelane_storage::disk::{DirectoryEntry, Disk, DiskBuffer, DiskFile, PAGE_BYTES};

/// Files, to be read only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadOnlyDisk;

/// An open file.
#[derive(Debug)]
pub(super) struct ReadOnlyFile(File);

/// What was read, where direct I/O wants it: at a multiple of a page in memory.
#[derive(Debug)]
pub(super) struct AlignedBytes {
    bytes: Vec<u8>,
    start: usize,
    size_bytes: usize,
}

impl AlignedBytes {
    fn zeroed(size_bytes: usize) -> Self {
        let bytes = vec![0; size_bytes + PAGE_BYTES];
        let start = bytes.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
        Self {
            bytes,
            start,
            size_bytes,
        }
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.size_bytes]
    }
}

/// What would be written, if anything were.
#[derive(Debug)]
pub(super) struct Buffer(Vec<u8>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl DiskBuffer for Buffer {
    fn trim_to(&mut self, size_bytes: usize) {
        self.0.truncate(size_bytes);
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnlyDisk {
    type File = ReadOnlyFile;
    type Buffer = Buffer;

    fn allocate(&self, size_bytes: usize) -> Buffer {
        Buffer(vec![0; size_bytes])
    }

    async fn create(&self, _path: &Path) -> io::Result<ReadOnlyFile> {
        refused()
    }

    async fn open(&self, path: &Path) -> io::Result<ReadOnlyFile> {
        let direct = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(path);
        match direct {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => File::open(path),
            opened => opened,
        }
        .map(ReadOnlyFile)
    }

    async fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    async fn delete(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    async fn delete_directory(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    async fn make_directory(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    async fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    async fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirectoryEntry {
                    name,
                    is_directory: entry.file_type()?.is_dir(),
                });
            }
        }
        entries.sort();
        Ok(entries)
    }
}

impl DiskFile for ReadOnlyFile {
    type Buffer = Buffer;
    type ReadBuffer = AlignedBytes;

    async fn write_at(&self, _buffer: Rc<Buffer>, _position: FilePosition) -> io::Result<usize> {
        refused()
    }

    async fn read_at(&self, position: FilePosition, size_bytes: usize) -> io::Result<AlignedBytes> {
        let mut read = AlignedBytes::zeroed(size_bytes);
        let bytes = &mut read.bytes[read.start..read.start + size_bytes];
        let mut filled = 0;
        while filled < size_bytes {
            match self
                .0
                .read_at(&mut bytes[filled..], position.get() + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    // Only the end of the file ends a read within a page.
                    if !filled.is_multiple_of(PAGE_BYTES) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        read.size_bytes = filled;
        Ok(read)
    }

    async fn flush(&self) -> io::Result<()> {
        refused()
    }

    async fn reserve(&self, _size_bytes: u64) -> io::Result<()> {
        refused()
    }

    async fn truncate(&self, _size_bytes: u64) -> io::Result<()> {
        refused()
    }

    async fn size(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }
}
