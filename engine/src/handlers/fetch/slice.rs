//! Records in a response.

use bytes::Bytes;
use corelane_storage::LogSlice;

/// Stored bytes of this lane, or a copy of another lane's.
#[derive(Clone, Debug)]
pub enum FetchSlice {
    /// From this lane's log.
    Stored(LogSlice),
    /// From another lane's.
    Forwarded(Bytes),
}

impl AsRef<[u8]> for FetchSlice {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Stored(slice) => slice.as_ref(),
            Self::Forwarded(bytes) => bytes,
        }
    }
}
