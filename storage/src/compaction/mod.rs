//! What a compaction decides: which segments, which records. Pure; the shell is [`crate::log::compact`].
//!
//! The rules are those of Kafka's log cleaner:
//!
//! - Sealed segments are *clean* below the first dirty offset and *dirty* above it, up to the first that is younger than
//!   `min.compaction.lag.ms`. A log is due when its dirty part is more than `min.cleanable.dirty.ratio` of both, or
//!   older than `max.compaction.lag.ms` ([`plan`]).
//! - One pass over the dirty part notes the last offset of each key, as far as a fixed memory goes ([`offset_map`]). A
//!   second pass, from the start of the log, keeps a record if no later one has its key ([`retention`]).
//! - The pass ends where the memory was full; the next one goes on there. So any number of keys takes the same memory.

pub(crate) mod checkpoint;
pub(crate) mod offset_map;
pub(crate) mod plan;
pub(crate) mod retention;
