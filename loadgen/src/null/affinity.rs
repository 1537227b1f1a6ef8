//! Keeps this process to some cores, so that a null server does not run on those of the generator.

use std::io;

use crate::cli::cores::CoreList;

/// Keeps the calling thread, and those it starts from now on, to `cores`.
#[allow(unsafe_code)]
pub fn keep_to(cores: &CoreList) -> io::Result<()> {
    // SAFETY: an all-zero set is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let bits = 8 * size_of::<libc::cpu_set_t>();
    for core in cores.as_slice().iter().copied().filter(|core| *core < bits) {
        // SAFETY: the core lies within the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the set is whole and its size is told; 0 is the calling thread.
    let status =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
