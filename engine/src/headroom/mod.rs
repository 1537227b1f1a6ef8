//! Disk headroom: produces are refused before the disk is full, so that whatever frees space still has room to work.
//!
//! One place decides ([`watch`], a plain thread outside of the lanes) by one pure rule ([`policy`]); each lane keeps the
//! decision in a cell of its own and reads nothing else on the data path. A part of the reserve is a file ([`ballast`])
//! that is given back to the file system when somebody else has taken the rest, so that the metadata log can still note
//! the deletion of a topic.
//!
//! What goes on while space is short: fetches, `DeleteRecords`, deleting topics, retention (which is applied at once), every change of
//! metadata, and what internal topics write for clients that only read (committed offsets) until it is [`Room::Critical`].
//! A crash leaves nothing of this but the ballast, which the next start takes over.

pub mod ballast;
pub mod policy;
pub mod watch;

pub use policy::{DiskSpace, Headroom, ReserveChoice, Room};
