//! Stored bytes on their way out.

use std::ops::Range;
use std::rc::Rc;

/// A run of stored bytes, immutable, kept alive by whoever holds it: the lane's chunk, or what was read from disk. Not
/// `Send`; cloning copies a pointer.
#[derive(Clone)]
pub struct LogSlice {
    owner: Rc<dyn AsRef<[u8]>>,
    start: usize,
    end: usize,
}

impl LogSlice {
    /// The `range` of `owner`'s bytes. Panics if it lies outside of them.
    pub fn new(owner: Rc<dyn AsRef<[u8]>>, range: Range<usize>) -> Self {
        let length = (*owner).as_ref().len();
        assert!(
            range.start <= range.end && range.end <= length,
            "slice {range:?} of {length} bytes"
        );
        Self {
            owner,
            start: range.start,
            end: range.end,
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

impl AsRef<[u8]> for LogSlice {
    fn as_ref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.start..self.end]
    }
}

impl std::fmt::Debug for LogSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSlice")
            .field("size_bytes", &self.len())
            .finish_non_exhaustive()
    }
}
