//! The program's own `memcpy` and `memmove`, which count what is copied.
//!
//! Everything that copies a slice whose length is not known when it is compiled calls one of the two, and symbols of the
//! program go before those of the C library. Copies shorter than [`COUNTED_BYTES_MIN`] are no payload but headers, names, and
//! futures that are moved, which builds without optimisation do often.

use std::arch::asm;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shorter copies are not counted.
pub(crate) const COUNTED_BYTES_MIN: usize = 4096;

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static COPIED_BYTES: AtomicU64 = AtomicU64::new(0);

/// Counts from here on, whatever thread copies.
pub(crate) fn start_counting() {
    COPIED_BYTES.store(0, Ordering::SeqCst);
    IS_COUNTING.store(true, Ordering::SeqCst);
}

/// Ends counting; returns the bytes that were copied.
pub(crate) fn stop_counting() -> u64 {
    IS_COUNTING.store(false, Ordering::SeqCst);
    COPIED_BYTES.load(Ordering::SeqCst)
}

fn note(size_bytes: usize) {
    if size_bytes >= COUNTED_BYTES_MIN && IS_COUNTING.load(Ordering::Relaxed) {
        COPIED_BYTES.fetch_add(size_bytes as u64, Ordering::Relaxed);
    }
}

/// C's `memcpy`.
///
/// # Safety
/// As C has it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    note(size);
    // SAFETY: the caller says that `size` bytes may be read and written there and do not overlap; the direction flag is
    // clear between functions.
    unsafe {
        asm!("rep movsb", inout("rcx") size => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// C's `memmove`.
///
/// # Safety
/// As C has it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    note(size);
    if size == 0 {
        return to;
    }
    // Forwards unless that would overwrite what is still to be read.
    if (to as usize).wrapping_sub(from as usize) >= size {
        // SAFETY: as in `memcpy`; an overlap is read before it is written.
        unsafe {
            asm!("rep movsb", inout("rcx") size => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
    } else {
        // SAFETY: as above, from the last byte down; the direction flag is clear again at the end.
        unsafe {
            asm!("std", "rep movsb", "cld", inout("rcx") size => _, inout("rdi") to.add(size - 1) => _,
                inout("rsi") from.add(size - 1) => _, options(nostack));
        }
    }
    to
}
