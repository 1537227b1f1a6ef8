//! Corelane's engine: one lane per core, each with its own partitions, listener and flusher.
//!
//! Reading order: `lane` (the thread and its turns), `partition`, `handlers::produce`, `handlers::fetch`, `metadata`
//! (what the cluster is, as a pure state machine), `server` (start and stop).
#![deny(unsafe_code)]

pub mod admin_http;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod doctor;
pub mod fetch_session;
#[doc(hidden)]
pub mod fuzzing;
pub mod group;
pub mod handlers;
pub mod headroom;
pub mod lane;
pub mod metadata;
pub mod metrics;
pub mod partition;
pub mod server;
pub mod utc;
