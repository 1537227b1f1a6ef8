//! One response, ready to be sent: length prefix, header and body, with stored slices in their places.
//!
//! A response whose body carries no records is a single vector; one that carries records gathers them and
//! copies none. Dropping a response releases the slices it holds.

use bytes::BufMut;

use crate::gather::{GatherCursor, Gathered};

/// Bytes of the length prefix.
pub const LENGTH_PREFIX_BYTES: usize = 4;

/// A whole response frame.
#[derive(Debug)]
pub struct Response<S> {
    parts: Gathered<S>,
}

impl<S> Response<S> {
    /// Bytes on the wire, length prefix included.
    pub fn size_bytes(&self) -> usize {
        self.parts.size_bytes()
    }

    /// A frame that is already whole.
    pub(crate) fn from_parts(parts: Gathered<S>) -> Self {
        Self { parts }
    }
}

impl<S: AsRef<[u8]>> Response<S> {
    /// The frame's parts, for the vectored send.
    pub fn parts(&self) -> &Gathered<S> {
        &self.parts
    }

    /// The frame in one vector, for tests.
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts.to_vec()
    }

    pub(crate) fn advance(&self, cursor: &mut GatherCursor, written: usize) -> Option<usize> {
        self.parts.advance(cursor, written)
    }
}

/// A response being written.
#[derive(Debug)]
pub struct ResponseBuilder<S> {
    parts: Gathered<S>,
}

impl<S> ResponseBuilder<S> {
    /// Starts a response: the place of the length prefix, then the header. `flexible_header` is response header
    /// version 1, which ends in tagged fields.
    pub fn new(correlation_id: i32, flexible_header: bool, capacity: usize) -> Self {
        let mut parts = Gathered::with_capacity(LENGTH_PREFIX_BYTES + 5 + capacity);
        let bytes = parts.bytes_mut();
        bytes.put_i32(0);
        bytes.put_i32(correlation_id);
        if flexible_header {
            bytes.put_u8(0);
        }
        Self { parts }
    }

    /// The body so far, to append to.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        self.parts.bytes_mut()
    }

    /// Ends the response and fills in its length.
    ///
    /// # Panics
    /// If the response exceeds what a length prefix can say; the limits of the data path keep it far below.
    pub fn finish(mut self) -> Response<S> {
        let length = i32::try_from(self.parts.size_bytes() - LENGTH_PREFIX_BYTES)
            .expect("responses are bounded far below the length prefix's range");
        if let Some(prefix) = self.parts.bytes_mut().first_chunk_mut() {
            *prefix = length.to_be_bytes();
        }
        Response { parts: self.parts }
    }
}

impl<S: AsRef<[u8]>> ResponseBuilder<S> {
    /// Places a slice after everything written so far.
    pub fn push_slice(&mut self, slice: S) {
        self.parts.push_slice(slice);
    }
}

#[cfg(test)]
mod tests {
    use super::ResponseBuilder;

    #[test]
    fn the_length_counts_slices_and_not_itself() {
        let mut builder = ResponseBuilder::<&[u8]>::new(7, true, 0);
        builder.bytes_mut().push(1);
        builder.push_slice(&[2, 3]);
        builder.push_slice(&[]);
        builder.bytes_mut().push(4);
        let response = builder.finish();
        assert_eq!(response.size_bytes(), 13);
        assert_eq!(response.to_vec(), [0, 0, 0, 9, 0, 0, 0, 7, 0, 1, 2, 3, 4]);
        assert_eq!(response.parts().parts().count(), 3);
    }
}
