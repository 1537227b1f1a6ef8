//! An allocator that counts what chosen threads take.
//!
//! A program names it as its `#[global_allocator]`; a thread that calls [`count_this_thread`] is counted from then on.
//! Growing counts as taking. Giving back is not counted: what is taken per request is given back per request.

use std::alloc::{GlobalAlloc, Layout};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED_BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Constant and without a destructor, so that reading it allocates nothing, at any time in a thread's life.
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
    static IS_SHOWN: Cell<bool> = const { Cell::new(false) };
}

/// Counts what counted threads take of the allocator below.
#[derive(Debug, Default)]
pub(crate) struct CountingAllocator<A>(pub(crate) A);

/// What was taken since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocated {
    /// How many times.
    pub(crate) count: u64,
    /// Bytes.
    pub(crate) bytes: u64,
}

impl Allocated {
    /// What counted threads have taken so far.
    pub(crate) fn so_far() -> Self {
        Self {
            count: ALLOCATIONS.load(Ordering::Relaxed),
            bytes: ALLOCATED_BYTES.load(Ordering::Relaxed),
        }
    }

    /// What was taken since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count - earlier.count,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

/// Counts the calling thread from here on.
pub(crate) fn count_this_thread() {
    IS_COUNTED.set(true);
}

/// Whether each allocation of the calling thread is told on standard error, with its stack: slow, and for people.
pub(crate) fn show_allocations(is_shown: bool) {
    IS_SHOWN.set(is_shown);
}

fn note(size_bytes: usize) {
    if IS_COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        ALLOCATED_BYTES.fetch_add(size_bytes as u64, Ordering::Relaxed);
    }
    if IS_SHOWN.replace(false) {
        let is_counted = IS_COUNTED.replace(false);
        eprintln!(
            "allocation of {size_bytes} bytes\n{}",
            Backtrace::force_capture()
        );
        IS_COUNTED.set(is_counted);
        IS_SHOWN.set(true);
    }
}

// SAFETY: every call goes to the allocator below unchanged; counting touches atomics and a constant thread-local only.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise is the one that the allocator below asks for.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size_bytes: usize) -> *mut u8 {
        note(size_bytes);
        // SAFETY: as above.
        unsafe { self.0.realloc(pointer, layout, size_bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }
}
