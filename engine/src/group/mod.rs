//! Consumer groups: who is in which group, who owns what, and where everybody is.
//!
//! Pure: no file, socket, clock or runtime. A [`Shard`] holds the groups of one partition of `__consumer_offsets`; it
//! takes the time and a request, hands records to a [`Journal`] and gives answers. The shell (`crate::coordinator`)
//! appends the records to the partition's log and lets no answer out before everything that was appended before it is
//! durable.
//!
//! Invariants:
//! - State that others may see is in the log first: a crash gives back the last assignment of each group, and every
//!   offset whose commit was answered.
//! - A group's generation never falls. One generation has one assignment.
//! - A member that waits is answered: by the others, or by a timer.
//! - What peers can make a shard keep is charged to a [`Budget`] before it is kept.
//!
//! Owned by the lane that owns the partition. A crash leaves the records; [`Shard::replay`] reads them.

pub mod assignor;
pub mod budget;
pub mod classic;
pub mod config;
pub mod consumer;
pub mod consumer_protocol;
pub mod offsets;
pub mod partitioner;
pub mod record;
pub mod shard;
pub mod step;
pub mod timers;
pub mod topic_partitions;
pub mod topic_pattern;

#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use config::GroupConfig;
pub use record::GroupRecord;
pub use shard::Shard;
pub use step::{GroupAnswer, Journal, Now, ReplyId, Step};

/// The topic that holds the state of all groups.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
