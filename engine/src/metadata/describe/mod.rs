//! Answers to questions about the cluster, as Kafka's brokers give them.
//!
//! Pure: from a request and the lane's image to the response. Every lane answers from its own copy, so an answer is as new
//! as the records that this lane has applied.

pub mod cluster;
pub mod config_resources;
pub mod configs;
pub mod elections;
pub mod quorum;
pub mod topic_partitions;
pub mod topics;

#[cfg(test)]
mod configs_tests;
#[cfg(test)]
mod topics_tests;

/// What a client without restrictions may do with a topic: read, write, create, delete, alter, describe, and describe and
/// alter its settings; each operation's bit is Kafka's number for it.
const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;

/// What a client without restrictions may do with the cluster: create, alter, describe, act for it, describe and alter its
/// settings, and write idempotently.
const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
