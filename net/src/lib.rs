//! Wire protocols, connections, clients.
//!
//! # Map
//! - [`error_code`], [`wire`]: Kafka's error codes and primitive types.
//! - [`api`]: which APIs are served in which versions; request and response headers; control messages.
//! - [`frame`]: the receive buffer that turns a byte stream into whole frames.
//! - [`produce`], [`fetch`]: the two bodies of the data path, parsed and written by hand without copying records.
//! - [`gather`], [`response`]: bytes interleaved with slices that live elsewhere, for one vectored send.
//! - [`server`]: the driver of one accepted connection.
//! - [`native`]: Corelane's own protocol: aligned frames of rkyv archives and native batches.
//! - [`group`]: a member of a consumer group, as clients are one.
//! - [`client`]: an asynchronous Kafka client for glommio, for the load generator and the command line.
//!
//! # Invariants
//! - Everything but `server` and `client` is pure: bytes in, values out; no socket, clock or runtime.
//! - What a peer states is never believed before the bytes are there: no memory is taken for a stated length or
//!   count, and bad bytes are a typed error, never a panic.
//! - Record bytes are not copied here: a request lends them from the receive buffer, a response gathers them.
//!
//! Nothing here is shared between lanes, and nothing outlives a crash.
#![forbid(unsafe_code)]

pub mod api;
pub mod client;
pub mod error_code;
pub mod fetch;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
pub mod gather;
pub mod group;
pub mod native;
pub mod produce;
pub mod response;
pub mod server;
pub mod topic;
pub mod wire;

pub use error_code::ErrorCode;
pub use response::Response;
pub use topic::{TopicKey, TopicRef};
