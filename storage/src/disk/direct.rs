//! [`Disk`] over glommio: `O_DIRECT` files, written by `O_DSYNC` or by write and fdatasync.
//!
//! Lives on a glommio executor: every call must come from the thread that opened the file. A crash leaves exactly what
//! the completed operations made durable.
//!
//! glommio drops `O_DIRECT` silently on tmpfs; [`DirectDisk::file_system`] says what a path lies on, for start-up checks.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corelane_format::FilePosition;
use glommio::GlommioError;
use glommio::io::{Directory, DmaBuffer, DmaFile, OpenOptions, ReadResult};

use crate::event::TaskLock;

use super::{DirectoryEntry, Disk, DiskBuffer, DiskFile};

/// How a write is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushMode {
    /// `O_DSYNC`: one durable operation. Faster on every disk measured so far.
    #[default]
    DataSync,
    /// A plain direct write, then fdatasync.
    Fdatasync,
}

/// Direct I/O by glommio.
#[derive(Debug, Clone, Copy, Default)]
pub struct DirectDisk {
    flush_mode: FlushMode,
}

impl DirectDisk {
    /// A disk that makes writes durable in the given way.
    pub fn new(flush_mode: FlushMode) -> Self {
        Self { flush_mode }
    }

    /// The magic number of the file system that `path` lies on (`statfs(2)`), to refuse tmpfs by.
    pub fn file_system(path: &Path) -> io::Result<i64> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        let mut buffer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
        // SAFETY: `path` is a NUL-terminated string and `buffer` is a writable `statfs`, both alive over the call.
        let result = unsafe { libc::statfs(path.as_ptr(), buffer.as_mut_ptr()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so the kernel has filled the structure; it was zeroed before in any case.
        let buffer = unsafe { buffer.assume_init() };
        Ok(buffer.f_type)
    }

    fn options(self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if self.flush_mode == FlushMode::DataSync {
            options.custom_flags(libc::O_DSYNC);
        }
        options
    }
}

thread_local! {
    /// Opening looks at the path a second time, after the file is open (glommio asks `statfs` and takes no failure for an
    /// answer), so on one lane nothing is renamed or deleted while a file is being opened.
    static NAMES: Rc<TaskLock> = Rc::default();
}

fn names() -> Rc<TaskLock> {
    NAMES.with(Rc::clone)
}

impl DiskBuffer for DmaBuffer {
    fn trim_to(&mut self, size_bytes: usize) {
        self.trim_to_size(size_bytes);
    }
}

/// Bytes read by direct I/O.
#[derive(Debug, Clone)]
pub struct DirectRead(ReadResult);

impl AsRef<[u8]> for DirectRead {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// An open direct-I/O file.
#[derive(Debug)]
pub struct DirectFile {
    file: DmaFile,
    flush_mode: FlushMode,
    /// One reservation at a time: one that fails gives back what it took, and nothing that another one took.
    reserving: TaskLock,
}

impl Disk for DirectDisk {
    type File = DirectFile;
    type Buffer = DmaBuffer;

    fn allocate(&self, size_bytes: usize) -> DmaBuffer {
        glommio::allocate_dma_buffer_global(size_bytes)
    }

    async fn create(&self, path: &Path) -> io::Result<DirectFile> {
        let names = names();
        let _guard = names.lock().await;
        let mut options = self.options();
        options.create(true).truncate(true);
        let file = options.dma_open(path).await.map_err(io_error)?;
        Ok(DirectFile {
            file,
            flush_mode: self.flush_mode,
            reserving: TaskLock::default(),
        })
    }

    async fn open(&self, path: &Path) -> io::Result<DirectFile> {
        let names = names();
        let _guard = names.lock().await;
        let file = self.options().dma_open(path).await.map_err(io_error)?;
        Ok(DirectFile {
            file,
            flush_mode: self.flush_mode,
            reserving: TaskLock::default(),
        })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let names = names();
        let _guard = names.lock().await;
        glommio::io::rename(from, to).await.map_err(io_error)
    }

    async fn delete(&self, path: &Path) -> io::Result<()> {
        let names = names();
        let _guard = names.lock().await;
        glommio::io::remove(path).await.map_err(io_error)
    }

    async fn delete_directory(&self, path: &Path) -> io::Result<()> {
        blocking(path, |path| std::fs::remove_dir(path)).await
    }

    async fn make_directory(&self, path: &Path) -> io::Result<()> {
        blocking(path, |path| match std::fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        })
        .await
    }

    async fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let directory = Directory::open(path).await.map_err(io_error)?;
        let synced = directory.sync().await.map_err(io_error);
        let closed = directory.close().await.map_err(io_error);
        synced.and(closed)
    }

    async fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        blocking(path, |path| {
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
        })
        .await
    }
}

impl DiskFile for DirectFile {
    type Buffer = DmaBuffer;
    type ReadBuffer = DirectRead;

    async fn write_at(&self, buffer: Rc<DmaBuffer>, position: FilePosition) -> io::Result<usize> {
        let written = self
            .file
            .write_rc_at(buffer, position.get())
            .await
            .map_err(io_error)?;
        if self.flush_mode == FlushMode::Fdatasync {
            self.file.fdatasync().await.map_err(io_error)?;
        }
        Ok(written)
    }

    async fn read_at(&self, position: FilePosition, size_bytes: usize) -> io::Result<DirectRead> {
        self.file
            .read_at_aligned(position.get(), size_bytes)
            .await
            .map(DirectRead)
            .map_err(io_error)
    }

    async fn flush(&self) -> io::Result<()> {
        self.file.fdatasync().await.map_err(io_error)
    }

    async fn reserve(&self, size_bytes: u64) -> io::Result<()> {
        let _guard = self.reserving.lock().await;
        let size_before = self.file.file_size().await.map_err(io_error)?;
        match self.file.pre_allocate(size_bytes, false).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // On a disk that is nearly full the file system has given what it had, and the file would keep it. Writes
                // lie below what was reserved before, so nothing of theirs is cut.
                let given_back = self.file.truncate(size_before).await;
                if let Err(error) = given_back {
                    tracing::warn!(error = %io_error(error), "space of a failed reservation is not given back");
                }
                Err(io_error(error))
            }
        }
    }

    async fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        self.file.truncate(size_bytes).await.map_err(io_error)
    }

    async fn size(&self) -> io::Result<u64> {
        self.file.file_size().await.map_err(io_error)
    }
}

async fn blocking<R: Send + 'static>(
    path: &Path,
    operation: impl FnOnce(&Path) -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    let path: PathBuf = path.to_path_buf();
    glommio::executor()
        .spawn_blocking(move || operation(&path))
        .await
}

/// Keeps the operating system's own code, which decides between "no space" and "broken"; glommio's conversion drops it.
fn io_error(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => source,
        other => io::Error::from(other),
    }
}
