//! The Kafka nodes of this server, as clients are told of them.
//!
//! In per-core listening every lane is a node; in shared listening one node stands for all lanes. Fixed while the server runs.

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisedNode {
    /// Kafka's broker id.
    pub id: i32,
    /// The host that clients connect to.
    pub host: String,
    /// The port that clients connect to.
    pub port: u16,
}

/// The nodes of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// The cluster's id.
    pub cluster_id: String,
    /// The rack of all nodes.
    pub rack: Option<String>,
    /// The nodes: lane i's at i, or a single one for all lanes. Never empty.
    pub nodes: Vec<AdvertisedNode>,
    /// The number of lanes.
    pub lanes: usize,
}

/// Which lanes a node id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeLanes {
    /// One lane.
    One(usize),
    /// Any: the node is shared.
    Any,
}

impl Nodes {
    /// The node that clients reach a lane by. A lane beyond the last (of a start with more lanes) is the last node's.
    pub fn id_of_lane(&self, lane: usize) -> i32 {
        self.nodes
            .get(lane)
            .or(self.nodes.last())
            .map_or(-1, |node| node.id)
    }

    /// The node that clients are told is the controller: lane 0's.
    pub fn controller_id(&self) -> i32 {
        self.id_of_lane(0)
    }

    /// The lanes of a node, if it is one of this server's.
    pub fn lanes_of(&self, id: i32) -> Option<NodeLanes> {
        let at = self.nodes.iter().position(|node| node.id == id)?;
        Some(if self.nodes.len() < self.lanes {
            NodeLanes::Any
        } else {
            NodeLanes::One(at)
        })
    }

    /// A node by its id.
    pub fn node(&self, id: i32) -> Option<&AdvertisedNode> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The ids of all nodes, as a list for messages.
    pub fn ids(&self) -> String {
        match (self.nodes.first(), self.nodes.last()) {
            (Some(first), Some(last)) if first.id != last.id => {
                format!("{} to {}", first.id, last.id)
            }
            (Some(only), _) => only.id.to_string(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::test_support::nodes;

    #[test]
    fn per_core_every_lane_is_a_node_and_shared_one_node_is_all_lanes() {
        let per_core = nodes(3);
        assert_eq!(
            (per_core.id_of_lane(0), per_core.id_of_lane(2)),
            (1000, 1002)
        );
        assert_eq!(per_core.lanes_of(1001), Some(NodeLanes::One(1)));
        assert_eq!(per_core.lanes_of(1003), None);
        assert_eq!(per_core.ids(), "1000 to 1002");

        let shared = Nodes {
            nodes: per_core.nodes[..1].to_vec(),
            ..per_core
        };
        assert_eq!((shared.id_of_lane(0), shared.id_of_lane(2)), (1000, 1000));
        assert_eq!(shared.lanes_of(1000), Some(NodeLanes::Any));
        assert_eq!(shared.lanes_of(1001), None);
        assert_eq!(shared.ids(), "1000");
    }
}
