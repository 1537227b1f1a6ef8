//! What the cluster is: an ordered log of records, the state they add up to, and the decisions that append to it.
//!
//! Pure: no file, socket, clock or runtime. The shell on lane 0 asks a controller function for records and a response,
//! appends the records to the metadata log, waits for the flush, has every lane apply them in order, and only then
//! answers. Every lane owns its own [`MetadataImage`]. A crash leaves a prefix of the log; every request's records stand in
//! one batch of it, so no request is half applied.

pub mod image;
pub mod record;
pub mod topic_name;

pub use image::{ApplyError, MetadataImage, PartitionMeta, TopicMeta};
pub use record::{MetadataRecord, RecordError};

#[cfg(test)]
mod image_tests;
