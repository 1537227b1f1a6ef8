//! Records in a response.

use std::rc::Rc;

use bytes::Bytes;
use corelane_storage::LogSlice;

/// Stored bytes of this lane, or a copy of another lane's.
#[derive(Clone, Debug)]
pub enum FetchSlice {
    /// From this lane's log.
    Stored(LogSlice),
    /// From another lane's.
    Forwarded(Rc<Bytes>),
}

// As large as what a log gives, so that a vector of the one becomes a vector of the other in place.
const _: () = assert!(size_of::<FetchSlice>() == size_of::<LogSlice>());

impl AsRef<[u8]> for FetchSlice {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Stored(slice) => slice.as_ref(),
            Self::Forwarded(bytes) => bytes,
        }
    }
}
