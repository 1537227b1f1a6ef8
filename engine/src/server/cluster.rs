//! Who this server is: its nodes (one per lane), its settings, and its data directory.

use super::data_directory::DataDirectory;
use crate::metadata::{AdvertisedNode, Defaults, Nodes};

/// What every lane knows of the server; the same on all lanes for as long as the server runs.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// Rack of all nodes.
    pub rack: String,
    /// The nodes that clients are told of: one per lane, or a single one in shared listen mode.
    pub advertised: Vec<AdvertisedNode>,
    /// Number of lanes.
    pub lanes: usize,
    /// Where everything is kept.
    pub data: DataDirectory,
    /// Settings that decisions about metadata depend on.
    pub defaults: Defaults,
    /// Bytes of records that one fetch response may hold at most, whatever the client allows.
    pub fetch_size_bytes_max: usize,
    /// What the groups of each lane may take, in bytes.
    pub group_size_bytes_max: usize,
    /// Bounds on the fetch sessions of each lane.
    pub fetch_sessions: FetchSessionLimits,
}

/// Bounds on the fetch sessions of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSessionLimits {
    /// Sessions.
    pub slots_max: usize,
    /// Bytes of all of them; one session may have half of it.
    pub bytes_max: usize,
}

impl Cluster {
    /// The nodes as the metadata tells them.
    pub fn nodes(&self) -> Nodes {
        Nodes {
            cluster_id: self.cluster_id.clone(),
            rack: Some(self.rack.clone()),
            nodes: self.advertised.clone(),
            lanes: self.lanes,
        }
    }

    /// The node that clients reach `lane` by.
    pub fn node_of_lane(&self, lane: usize) -> &AdvertisedNode {
        // In shared mode every lane is behind the one node.
        &self.advertised[lane.min(self.advertised.len() - 1)]
    }
}
