//! Produce, versions 3 to 13, parsed and written by hand: the record batches stay where they are.
//!
//! Versions 0 to 2 parse too, so that they can be refused partition by partition as a client expects.

mod request;
mod response;

pub use request::{
    PartitionRecords, Partitions, ProduceHeader, ProducePartition, ProduceRequest, ProduceTopic,
    TopicRecords, Topics, encode_request,
};
pub use response::{
    CurrentLeader, NodeEndpoint, PartitionOutcome, PartitionSlot, ProduceResponse,
    ProduceResponseTail, ProduceResponseWriter, ProducedPartition, RecordError, visit_response,
};

pub(crate) use response::{put_node_endpoints, read_node_endpoints};

/// Newest version known.
pub const VERSION_MAX: i16 = 13;

const fn is_flexible(version: i16) -> bool {
    version >= 9
}

const fn has_topic_ids(version: i16) -> bool {
    version >= 13
}
