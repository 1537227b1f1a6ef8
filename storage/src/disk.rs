//! What a log needs of a file system, and nothing more.
//!
//! Everything above talks to a [`Disk`], so that the same log runs over glommio's direct I/O ([`direct`]) and over a
//! memory disk that can lose, tear, reorder and fail what was not flushed ([`memory`]).
//!
//! Invariants every implementation keeps:
//! - a buffer handed to [`DiskFile::write_at`] is shared and therefore never modified again;
//! - positions and lengths of reads and writes are multiples of [`PAGE_BYTES`];
//! - nothing is retried: the completion of an operation is the only witness of its outcome;
//! - dropping the future of an operation does not cancel the operation: it may still happen, later.
//!
//! Owner: the lane that made the disk. Futures are not `Send`.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::seeded_bugs::seeded_bug;
use corelane_format::FilePosition;

pub mod direct;
pub mod memory;

/// The unit of alignment of every read and write.
pub const PAGE_BYTES: usize = 4096;

/// Rounds `position` down to a page boundary.
pub const fn page_floor(position: u64) -> u64 {
    position & !(PAGE_BYTES as u64 - 1)
}

/// Rounds `position` up to a page boundary.
pub const fn page_ceil(position: u64) -> u64 {
    page_floor(position + PAGE_BYTES as u64 - 1)
}

/// An owned buffer aligned for direct I/O.
pub trait DiskBuffer: AsRef<[u8]> + AsMut<[u8]> + 'static {
    /// Shortens the buffer for good; its memory is kept until it is dropped.
    fn trim_to(&mut self, size_bytes: usize);
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// The last component of the path.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_directory: bool,
}

/// A file system, as the storage of one lane sees it.
#[expect(
    async_fn_in_trait,
    reason = "a lane's futures never leave their thread, so no Send bound is wanted"
)]
pub trait Disk: 'static {
    /// An open file.
    type File: DiskFile<Buffer = Self::Buffer>;
    /// What files are written from.
    type Buffer: DiskBuffer;

    /// A buffer of exactly `size_bytes` (a multiple of [`PAGE_BYTES`], not zero). Its content is **unspecified**: whoever
    /// fills it zeroes the rest.
    fn allocate(&self, size_bytes: usize) -> Self::Buffer;

    /// Creates a file, empty, for reading and writing; what was there under this name is emptied. The name is durable
    /// only after [`Disk::sync_directory`] of its parent.
    async fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens an existing file for reading and writing.
    async fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Renames a file or directory, replacing a file of the new name; durable after the parents are synced.
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Open handles go on working.
    async fn delete(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    async fn delete_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes one directory; its parent must exist. An existing directory is fine.
    async fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes names created, renamed and deleted in `path` durable.
    async fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted. [`io::ErrorKind::NotFound`] when there is no such directory.
    async fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>>;
}

/// An open file. Cheap operations are asynchronous too: nothing here may block the lane.
#[expect(
    async_fn_in_trait,
    reason = "a lane's futures never leave their thread, so no Send bound is wanted"
)]
pub trait DiskFile: 'static {
    /// What it is written from.
    type Buffer: DiskBuffer;
    /// What a read returns.
    type ReadBuffer: AsRef<[u8]> + 'static;

    /// Writes the whole buffer at `position`. When it resolves with the buffer's length the bytes **are durable**, and so
    /// is the file's size if it grew. Any other length, and any error, leaves the range undefined.
    async fn write_at(&self, buffer: Rc<Self::Buffer>, position: FilePosition)
    -> io::Result<usize>;

    /// Reads up to `size_bytes` from `position`; fewer bytes mean the end of the file.
    async fn read_at(
        &self,
        position: FilePosition,
        size_bytes: usize,
    ) -> io::Result<Self::ReadBuffer>;

    /// Makes everything written and reserved so far durable.
    async fn flush(&self) -> io::Result<()>;

    /// Grows the file to `size_bytes` of reserved, zero-reading space. Durable after [`DiskFile::flush`].
    async fn reserve(&self, size_bytes: u64) -> io::Result<()>;

    /// Cuts the file to `size_bytes`. Durable after [`DiskFile::flush`].
    async fn truncate(&self, size_bytes: u64) -> io::Result<()>;

    /// The file's size.
    async fn size(&self) -> io::Result<u64>;
}

/// Makes `path` and every missing parent, and makes each new name durable.
pub async fn make_directories_durably<D: Disk>(disk: &D, path: &Path) -> io::Result<()> {
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut at = path.to_path_buf();
    loop {
        match disk.make_directory(&at).await {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let Some(parent) = at.parent().map(Path::to_path_buf) else {
                    return Err(error);
                };
                missing.push(at);
                at = parent;
            }
            Err(error) => return Err(error),
        }
    }
    sync_parent(disk, &at).await?;
    while let Some(next) = missing.pop() {
        disk.make_directory(&next).await?;
        if seeded_bug("new-directory-not-synced") {
            continue;
        }
        sync_parent(disk, &next).await?;
    }
    Ok(())
}

/// Syncs the directory that holds `path`.
pub async fn sync_parent<D: Disk>(disk: &D, path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => disk.sync_directory(parent).await,
        Some(_) => disk.sync_directory(Path::new(".")).await,
        None => Ok(()),
    }
}

/// Writes a small file so that a crash leaves either the old content or the new: temporary name, write, rename, sync.
pub(crate) async fn replace_file_durably<D: Disk>(
    disk: &D,
    path: &Path,
    content: &[u8],
) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let file = disk.create(&temporary).await?;
    write_padded(disk, &file, content, FilePosition::new(0)).await?;
    file.flush().await?;
    disk.rename(&temporary, path).await?;
    if seeded_bug("replaced-name-not-synced") {
        return Ok(());
    }
    sync_parent(disk, path).await
}

/// Writes `content` padded with zeros to a whole page; a short write is an error.
pub(crate) async fn write_padded<D: Disk>(
    disk: &D,
    file: &D::File,
    content: &[u8],
    position: FilePosition,
) -> io::Result<()> {
    let padded = page_ceil(content.len().max(1) as u64) as usize;
    let mut buffer = disk.allocate(padded);
    let bytes = buffer.as_mut();
    bytes[..content.len()].copy_from_slice(content);
    bytes[content.len()..].fill(0);
    let written = file.write_at(Rc::new(buffer), position).await?;
    if written != padded {
        return Err(short_write(written, padded));
    }
    Ok(())
}

/// Reads a whole small file; refuses one above `size_bytes_max`.
pub(crate) async fn read_small_file<D: Disk>(
    disk: &D,
    path: &Path,
    size_bytes_max: u64,
) -> io::Result<Vec<u8>> {
    let file = disk.open(path).await?;
    let size = file.size().await?;
    if size > size_bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("file of {size} bytes, at most {size_bytes_max} expected"),
        ));
    }
    let mut content = Vec::with_capacity(size as usize);
    while (content.len() as u64) < size {
        let at = content.len() as u64;
        let want = page_ceil(size - at).min(1 << 20) as usize;
        let part = file.read_at(FilePosition::new(at), want).await?;
        let part = part.as_ref();
        content.extend_from_slice(part);
        if part.len() < want {
            break;
        }
    }
    content.truncate(size as usize);
    Ok(content)
}

pub(crate) fn short_write(got: usize, expected: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::WriteZero,
        format!("short write: {got} of {expected} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_rounding() {
        for (position, floor, ceil) in [
            (0, 0, 0),
            (1, 0, 4096),
            (4095, 0, 4096),
            (4096, 4096, 4096),
            (4097, 4096, 8192),
        ] {
            assert_eq!(page_floor(position), floor, "floor of {position}");
            assert_eq!(page_ceil(position), ceil, "ceil of {position}");
        }
    }
}
