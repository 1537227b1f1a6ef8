//! Who this server is: its cluster id, its nodes (one per lane), and its data directory.

use std::net::SocketAddr;

use super::data_directory::DataDirectory;

/// One Kafka node: a lane's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Kafka's broker id: `server_id * 1000 + lane`.
    pub id: i32,
    /// Where clients connect to it.
    pub address: SocketAddr,
}

/// What every lane knows of the server; the same on all lanes for as long as the server runs.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Kafka's cluster id, made at first start and kept in the data directory.
    pub cluster_id: String,
    /// Rack of all nodes.
    pub rack: Option<String>,
    /// The nodes that clients are told of: one per lane, or a single one in shared listen mode.
    pub nodes: Vec<Node>,
    /// Number of lanes.
    pub lanes: usize,
    /// Where everything is kept.
    pub data: DataDirectory,
    /// Broker settings that requests depend on.
    pub defaults: crate::metadata::Defaults,
    /// Largest request frame that a client may send, in bytes.
    pub request_size_bytes_max: usize,
}

impl Cluster {
    /// The node that clients reach `lane` by.
    pub fn node_of_lane(&self, lane: usize) -> &Node {
        // In shared mode every lane is behind the one node.
        &self.nodes[lane.min(self.nodes.len() - 1)]
    }
}
