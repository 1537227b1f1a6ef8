//! Fetch, versions 4 to 18, parsed and written by hand: stored slices go into the response without being copied.

mod request;
mod response;

pub use request::{
    FetchHeader, FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, IsolationLevel,
    encode_request,
};
pub use response::{
    AbortedTransaction, FetchResponse, FetchResponseHeader, FetchResponseWriter, FetchedPartition,
    PartitionData,
};

/// Oldest version known.
pub const VERSION_MIN: i16 = 4;
/// Newest version known.
pub const VERSION_MAX: i16 = 18;

const fn is_flexible(version: i16) -> bool {
    version >= 12
}

const fn has_topic_ids(version: i16) -> bool {
    version >= 13
}

fn check_version(version: i16) -> Result<(), crate::wire::WireError> {
    if (VERSION_MIN..=VERSION_MAX).contains(&version) {
        Ok(())
    } else {
        Err(crate::wire::WireError::UnknownVersion {
            message: "Fetch",
            got: version,
        })
    }
}
