//! Incremental fetch sessions (KIP-227): a consumer of many partitions says once what it fetches, and then only what
//! changed; it is answered only with what changed.
//!
//! [`session`] and [`cache`] are pure: what a session knows, and which sessions are kept. [`live`] joins a session with the
//! logs of its lane, which ring when there is more to read. A session belongs to the lane that made it; nothing of it is
//! on disk, and a client whose session is gone sends a full fetch.

pub mod cache;
pub mod live;
pub mod session;

mod slots;

#[cfg(test)]
mod cache_tests;
#[cfg(test)]
mod session_model;
#[cfg(test)]
mod session_tests;

pub use cache::SessionCache;
pub use live::{FetchSessions, LiveSession};
pub use session::{FetchSession, Naming, Visited, Watermarks};
