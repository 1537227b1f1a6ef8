//! What the cluster is: an ordered log of records, the state they add up to, and the decisions that append to it.
//!
//! Pure: no file, socket, clock or runtime. The shell on lane 0 asks a controller function for records and a response,
//! appends the records to the metadata log, waits for the flush, has every lane apply them in order, and only then
//! answers. Every lane owns its own [`MetadataImage`]. A crash leaves a prefix of the log; every request's records stand in
//! one batch of it, so no request is half applied.

pub mod controller;
pub mod describe;
mod group_configs;
pub mod image;
pub mod nodes;
pub mod placement;
pub mod record;
pub mod topic_id_source;
pub mod topic_name;

use corelane_format::ids::LogId;

pub use controller::producer_ids::allocate_producer_ids;
pub use controller::{Decision, Defaults, Limits};
pub use image::{ApplyError, MetadataImage, PartitionMeta, TopicMeta, TopicsStamp};
pub use nodes::{AdvertisedNode, Nodes};
pub use record::{MetadataRecord, RecordError};
pub use topic_id_source::{RandomTopicIds, TopicIdSource, random_cluster_id};

/// The log that holds the metadata records.
pub const METADATA_LOG_ID: LogId = LogId::METADATA;

#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod record_tests;
#[cfg(test)]
pub(crate) mod test_support;
