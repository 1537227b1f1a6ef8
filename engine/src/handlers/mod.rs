//! Kafka requests on a lane: one file per API family, and [`KafkaService`], which hands each request to its file.
//!
//! Produce runs at once, while its bytes still lie in the receive buffer; everything else copies its (small) request and
//! runs as a task of its connection, in order.

mod answer;
mod configs;
mod coordinator;
mod delete_records;
mod errors;
mod features;
mod fetch;
mod groups;
mod leader_epoch;
mod list_offsets;
mod log_dirs;
mod metadata;
mod native;
mod produce;
mod producer_id;
mod producers;
mod quorum;
mod remote;
mod service;
mod topics;

pub use service::KafkaService;
