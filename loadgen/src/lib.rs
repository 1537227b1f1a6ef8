//! Corelane's load generator: offers load to any Kafka-compatible broker, measures it without coordinated omission,
//! and verifies that everything acknowledged comes back once, whole and in order.
//!
//! # Map
//! - [`cli`]: the command line and the checked plan made of it (pure).
//! - [`load`]: schedule, payload, batches, assignment (pure).
//! - [`verify`]: the books of what was acknowledged and seen (pure).
//! - [`report`]: histograms, counts, summary, table, progress.
//! - [`runtime`]: the load cores and their tasks.
//! - [`coordinator`]: the main thread, from the plan to the report.
//! - [`spawn`]: a server of our own.
//! - [`null`]: a broker that acknowledges without storing.
//! - [`clock`]: the run's monotonic clock.
#![deny(unsafe_code)]

pub mod cli;
pub mod clock;
pub mod coordinator;
pub mod interrupt;
pub mod load;
pub mod null;
pub mod report;
pub mod runtime;
pub mod spawn;
pub mod verify;
