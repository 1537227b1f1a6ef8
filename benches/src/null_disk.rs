//! A disk that keeps nothing and completes everything at once: what is measured over it is the code above.

use std::io;
use std::path::Path;
use std::rc::Rc;

use corelane_format::ids::FilePosition;
use corelane_storage::disk::{DirectoryEntry, Disk, DiskBuffer, DiskFile};

/// The disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullDisk;

/// A file of it: always empty.
#[derive(Clone, Copy, Debug)]
pub struct NullFile;

/// What it is written from.
#[derive(Debug)]
pub struct NullBuffer(Vec<u8>);

impl AsRef<[u8]> for NullBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for NullBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl DiskBuffer for NullBuffer {
    fn trim_to(&mut self, size_bytes: usize) {
        self.0.truncate(size_bytes);
    }
}

impl Disk for NullDisk {
    type File = NullFile;
    type Buffer = NullBuffer;

    fn allocate(&self, size_bytes: usize) -> NullBuffer {
        NullBuffer(vec![0; size_bytes])
    }

    async fn create(&self, _: &Path) -> io::Result<NullFile> {
        Ok(NullFile)
    }

    async fn open(&self, _: &Path) -> io::Result<NullFile> {
        Err(io::ErrorKind::NotFound.into())
    }

    async fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn delete(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn delete_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn make_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn list(&self, _: &Path) -> io::Result<Vec<DirectoryEntry>> {
        Ok(Vec::new())
    }
}

impl DiskFile for NullFile {
    type Buffer = NullBuffer;
    type ReadBuffer = Vec<u8>;

    async fn write_at(&self, buffer: Rc<NullBuffer>, _: FilePosition) -> io::Result<usize> {
        Ok(buffer.0.len())
    }

    async fn read_at(&self, _: FilePosition, _: usize) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    async fn reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    async fn truncate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    async fn size(&self) -> io::Result<u64> {
        Ok(0)
    }
}
