//! An asynchronous Kafka client for glommio, for the load generator, the command line and tests.
//!
//! It speaks to any broker of the Kafka protocol. A [`Connection`] is one socket to one broker: it asks for the
//! broker's versions, makes calls one at a time, or is split into a [`Sender`] and a [`Receiver`] that pipeline.
//! A [`Cluster`] knows which broker leads which partition and keeps a connection to each.
//!
//! There is no batching, no retrying and no hidden task here: what a caller does not ask for does not happen, so
//! that a measurement measures the broker. Everything belongs to the executor that made it; dropping closes the
//! sockets. A future dropped inside a send leaves the connection broken, which later calls report.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use corelane_net::client::{Cluster, ClusterConfig, OffsetSpec};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ClusterConfig::new(["127.0.0.1:9092"], "example");
//! let mut cluster = Cluster::connect(config).await?;
//! cluster.refresh(&["events"]).await?;
//! let end = cluster.list_offset("events", 0, OffsetSpec::Latest).await?;
//! println!("partition 0 ends at {}", end.offset);
//! # Ok(())
//! # }
//! ```

mod cluster;
mod connection;
mod deadline;
mod error;
mod fetch;
mod group_member;
mod groups;
mod metadata;
pub mod native;
mod offsets;
mod produce;
mod stream;
mod topics;

pub use cluster::{Cluster, ClusterConfig};
pub use connection::{ApiRanges, ConnectOptions, Connection};
pub use error::{CallError, ClusterError, ConnectError, ReceiveError, SendError};
pub use group_member::{GroupMember, GroupMemberError, Turn};
pub use metadata::{Broker, PartitionMetadata, TopicMetadata};
pub use offsets::{ListedOffset, OffsetSpec};
pub use produce::{Acks, ProduceOptions};
pub use stream::{Incoming, Receiver, Sender, Sent};
pub use topics::NewTopic;
