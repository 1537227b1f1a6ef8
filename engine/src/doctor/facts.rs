//! What probing found out. Plain data, so that every combination can be evaluated in tests.

use std::path::PathBuf;

/// A resource limit that is not there: `unlimited`.
pub const UNLIMITED: u64 = u64::MAX;

/// What happened when a small `io_uring` was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoUringFact {
    /// It was made (and closed again).
    Works,
    /// The kernel answered with this error number.
    Refused(i32),
}

/// What happened when a page was written and read with direct I/O.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectIoFact {
    /// It came back as it was written.
    Works,
    /// The file system does not do it: what was tried, and the error number.
    Refused {
        /// The operation that was refused.
        operation: &'static str,
        /// The error number, 0 if there was none.
        errno: i32,
    },
    /// The disk is too full to try.
    NoSpace,
    /// No file could be made there: the error's text.
    DirectoryUnusable(String),
}

/// The write cache of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCacheFact {
    /// The disk's name, as `nvme0n1`.
    pub device: String,
    /// Whether it keeps written data in a volatile cache.
    pub is_write_back: bool,
    /// Whether single writes can bypass that cache.
    pub has_fua: bool,
}

/// What was found of the disk under the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFacts {
    /// The directory that was probed: the data directory, or the nearest one above it that exists.
    pub probed: PathBuf,
    /// The type of its file system, as `ext4`.
    pub file_system: Option<String>,
    /// Whether direct I/O works there.
    pub direct_io: DirectIoFact,
    /// Whether the data directory has a server's data in it already.
    pub has_data: bool,
    /// Space that this process may still use there.
    pub free_bytes: Option<u64>,
    /// The disk's cache, where the file system is on a disk of this machine.
    pub cache: Option<DiskCacheFact>,
}

/// Soft and hard limit of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitFact {
    /// In force now.
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The kernel's release, as `6.1.0-18-amd64`.
    pub kernel_release: Option<String>,
    /// Whether `io_uring` can be set up.
    pub io_uring: IoUringFact,
    /// `kernel.io_uring_disabled`, where the kernel has it.
    pub io_uring_disabled: Option<u8>,
    /// Whether a seccomp filter is in force, as in most containers.
    pub is_seccomp_filtered: bool,
    /// Memory that the process may lock, in bytes.
    pub memlock: Option<LimitFact>,
    /// Whether the process is exempt from that limit (`CAP_IPC_LOCK`).
    pub has_ipc_lock: bool,
    /// Files that the process may have open.
    pub open_files: Option<LimitFact>,
    /// The cores that the process may run on.
    pub allowed_cores: Vec<usize>,
    /// How many cores' worth of time the process may use, where its control group says.
    pub cpu_quota_cores: Option<f64>,
    /// The disk under the data directory.
    pub disk: DiskFacts,
}
