//! The few questions to the kernel that the standard library cannot ask.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::facts::IoUringFact;
use crate::headroom::DiskSpace;

/// Bytes of the kernel's `struct io_uring_params`.
const IO_URING_PARAMS_BYTES: usize = 120;

/// Sets up the smallest `io_uring` and closes it again.
pub fn try_io_uring() -> IoUringFact {
    let mut params = [0_u64; IO_URING_PARAMS_BYTES / 8];
    // SAFETY: the kernel reads and writes IO_URING_PARAMS_BYTES bytes at the pointer, which `params` has, aligned, until after
    // the call; all zeros are valid parameters.
    let outcome = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1_u32, params.as_mut_ptr()) };
    let Ok(descriptor @ 0..) = i32::try_from(outcome) else {
        return IoUringFact::Refused(io::Error::last_os_error().raw_os_error().unwrap_or(0));
    };
    // SAFETY: the call above has just returned this descriptor, and nothing else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    IoUringFact::Works
}

/// Bytes that this process may still write to the file system that holds `directory`.
///
/// # Errors
/// What the system says.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    disk_space(directory).map(|space| space.free_bytes)
}

/// What is free on the file system that holds `directory`, and how large it is.
///
/// # Errors
/// What the system says.
pub fn disk_space(directory: &Path) -> io::Result<DiskSpace> {
    let path = CString::new(directory.as_os_str().as_bytes())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut stats = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` is a C string and `stats` has room for the structure; both outlive the call.
    if unsafe { libc::statvfs(path.as_ptr(), stats.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statvfs succeeded, so it has filled the structure.
    let stats = unsafe { stats.assume_init() };
    Ok(DiskSpace {
        free_bytes: stats.f_bavail.saturating_mul(stats.f_frsize),
        total_bytes: stats.f_blocks.saturating_mul(stats.f_frsize),
    })
}

/// Grows an empty file to `size_bytes` of reserved space.
///
/// # Errors
/// What the system says; some space may have been taken then.
pub fn reserve(file: &File, size_bytes: u64) -> io::Result<()> {
    let size = libc::off_t::try_from(size_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is handed over.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, size) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Raises the limit of open files as far as this process may, and returns it.
///
/// # Errors
/// What the system says; the limit is then as it was.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid structure that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; the kernel only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_told_where_there_is_a_directory() {
        assert!(free_bytes(Path::new("/")).is_ok());
        assert!(free_bytes(Path::new("/nonexistent")).is_err());
        assert!(free_bytes(Path::new("a\0b")).is_err());
    }

    #[test]
    fn the_open_files_limit_is_raised_to_the_hard_one() {
        let raised = raise_open_files_limit().unwrap();
        assert_eq!(raise_open_files_limit().unwrap(), raised);
    }

    #[test]
    fn an_answer_about_io_uring_is_one_of_the_two() {
        match try_io_uring() {
            IoUringFact::Works => {}
            IoUringFact::Refused(errno) => assert!(errno > 0),
        }
    }
}
