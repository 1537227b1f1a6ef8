//! Bytes of our own interleaved with slices that live elsewhere: what one vectored send writes.
//!
//! All own bytes of a message share one vector, and each foreign slice remembers the place in it where it
//! belongs, so a message of any number of partitions costs two allocations and copies no slice.
//!
//! Invariant: places ascend, and no slice is empty, so the parts in order are exactly the message.

use std::io::IoSlice;

/// A message in parts.
#[derive(Debug)]
pub struct Gathered<S> {
    bytes: Vec<u8>,
    inserts: Vec<Insert<S>>,
    inserted_bytes: usize,
}

#[derive(Debug)]
struct Insert<S> {
    /// The slice comes before this byte of the own bytes.
    at: usize,
    slice: S,
}

/// How far a message has been written: part, and bytes into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatherCursor {
    part: usize,
    offset: usize,
}

impl<S> Default for Gathered<S> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<S> Gathered<S> {
    /// An empty message with room for `capacity` own bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            inserts: Vec::new(),
            inserted_bytes: 0,
        }
    }

    /// A message of own bytes, so far.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            inserts: Vec::new(),
            inserted_bytes: 0,
        }
    }

    /// The own bytes, to append to. Never shorten them below the place of the last slice.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The own bytes without the slices.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the whole message.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + self.inserted_bytes
    }

    /// Whether the message has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.size_bytes() == 0
    }

    /// Empties the message and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.inserts.clear();
        self.inserted_bytes = 0;
    }
}

impl<S: AsRef<[u8]>> Gathered<S> {
    /// Places a slice after everything written so far.
    pub fn push_slice(&mut self, slice: S) {
        let size_bytes = slice.as_ref().len();
        if size_bytes == 0 {
            return;
        }
        self.inserted_bytes += size_bytes;
        self.inserts.push(Insert {
            at: self.bytes.len(),
            slice,
        });
    }

    fn parts_count(&self) -> usize {
        2 * self.inserts.len() + 1
    }

    /// Part `index`: even parts are own bytes and may be empty, odd parts are slices.
    fn part(&self, index: usize) -> &[u8] {
        let insert = index / 2;
        if index % 2 == 1 {
            return self
                .inserts
                .get(insert)
                .map_or(&[], |insert| insert.slice.as_ref());
        }
        let from = match insert.checked_sub(1) {
            Some(previous) => self
                .inserts
                .get(previous)
                .map_or(self.bytes.len(), |insert| insert.at),
            None => 0,
        };
        let to = self
            .inserts
            .get(insert)
            .map_or(self.bytes.len(), |insert| insert.at);
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// The parts in order, none empty.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.parts_count())
            .map(|index| self.part(index))
            .filter(|part| !part.is_empty())
    }

    /// Puts what is left after `cursor` into `out`, as far as it has room. Returns how many entries were set.
    pub fn fill<'a>(&'a self, cursor: GatherCursor, out: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut offset = cursor.offset;
        for index in cursor.part..self.parts_count() {
            let part = self.part(index).get(offset..).unwrap_or_default();
            offset = 0;
            if part.is_empty() {
                continue;
            }
            let Some(entry) = out.get_mut(filled) else {
                break;
            };
            *entry = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    /// Moves `cursor` over `written` bytes. Returns those that reach beyond the message, or `None` while the
    /// message has bytes left.
    pub fn advance(&self, cursor: &mut GatherCursor, mut written: usize) -> Option<usize> {
        while cursor.part < self.parts_count() {
            let left = self.part(cursor.part).len() - cursor.offset;
            if written < left {
                cursor.offset += written;
                return None;
            }
            written -= left;
            cursor.part += 1;
            cursor.offset = 0;
        }
        Some(written)
    }

    /// The whole message in one vector: for tests and for messages so small that it does not matter.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.size_bytes());
        for part in self.parts() {
            whole.extend_from_slice(part);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::{GatherCursor, Gathered};
    use proptest::prelude::*;
    use std::io::IoSlice;

    proptest! {
        #[test]
        fn any_pattern_of_partial_writes_delivers_the_message(
            pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..12),
            writes in proptest::collection::vec(1_usize..30, 1..200),
            room in 1_usize..5,
        ) {
            let mut gathered = Gathered::<Vec<u8>>::default();
            let mut expected = Vec::new();
            for (foreign, piece) in &pieces {
                expected.extend_from_slice(piece);
                if *foreign {
                    gathered.push_slice(piece.clone());
                } else {
                    gathered.bytes_mut().extend_from_slice(piece);
                }
            }
            prop_assert_eq!(gathered.size_bytes(), expected.len());
            prop_assert_eq!(gathered.to_vec(), expected.clone());

            let mut cursor = GatherCursor::default();
            let mut delivered = Vec::new();
            for limit in writes.iter().cycle() {
                let mut slices = [IoSlice::new(&[]); 5];
                let count = gathered.fill(cursor, &mut slices[..room]);
                let mut limit = *limit;
                let mut written = 0;
                for slice in &slices[..count] {
                    let take = slice.len().min(limit);
                    delivered.extend_from_slice(&slice[..take]);
                    limit -= take;
                    written += take;
                }
                if let Some(beyond) = gathered.advance(&mut cursor, written) {
                    prop_assert_eq!(beyond, 0);
                    break;
                }
            }
            prop_assert_eq!(delivered, expected);
        }
    }
}
