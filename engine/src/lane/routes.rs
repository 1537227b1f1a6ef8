//! Where each partition is served: by this lane, or by another one.
//!
//! Derived from the metadata and rebuilt topic by topic as records are applied. Read on every produce and fetch, so a
//! look-up allocates nothing.

use std::collections::HashMap;
use std::rc::Rc;

use corelane_format::ids::{PartitionIndex, TopicId};

use crate::partition::Partition;

/// The way to one partition.
#[derive(Clone)]
pub enum Route {
    /// This lane owns it.
    Local(Rc<Partition>),
    /// This lane owns it, but its log could not be opened; the log of the server tells why.
    Unavailable,
    /// Another lane owns it.
    Remote {
        /// Index of the owning lane.
        lane: usize,
    },
}

/// The ways to all partitions of one topic, by partition index.
pub struct TopicRoutes {
    /// The topic's id.
    pub id: TopicId,
    /// The topic's name.
    pub name: String,
    /// Whether every record needs a key.
    pub needs_keys: bool,
    /// By partition index.
    pub partitions: Vec<Route>,
}

impl TopicRoutes {
    /// The way to partition `index`; `None` if the topic has no such partition.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Route> {
        usize::try_from(index.get())
            .ok()
            .and_then(|index| self.partitions.get(index))
    }
}

/// All topics that a lane knows.
#[derive(Default)]
pub(super) struct RouteTable {
    by_name: HashMap<String, Rc<TopicRoutes>>,
    by_id: HashMap<TopicId, Rc<TopicRoutes>>,
}

impl RouteTable {
    pub(super) fn by_name(&self, name: &str) -> Option<Rc<TopicRoutes>> {
        self.by_name.get(name).cloned()
    }

    pub(super) fn by_id(&self, id: TopicId) -> Option<Rc<TopicRoutes>> {
        self.by_id.get(&id).cloned()
    }

    pub(super) fn insert(&mut self, routes: TopicRoutes) {
        let routes = Rc::new(routes);
        self.by_name.insert(routes.name.clone(), Rc::clone(&routes));
        self.by_id.insert(routes.id, routes);
    }

    /// Forgets a topic. Its name may already lead to a younger topic, which stays.
    pub(super) fn remove(&mut self, id: TopicId) {
        if let Some(routes) = self.by_id.remove(&id)
            && self
                .by_name
                .get(&routes.name)
                .is_some_and(|named| named.id == id)
        {
            self.by_name.remove(&routes.name);
        }
    }

    pub(super) fn local_count(&self) -> usize {
        self.by_id
            .values()
            .flat_map(|routes| &routes.partitions)
            .filter(|route| matches!(route, Route::Local(_)))
            .count()
    }

    pub(super) fn local(&self) -> impl Iterator<Item = Rc<Partition>> + '_ {
        self.by_id
            .values()
            .flat_map(|routes| &routes.partitions)
            .filter_map(|route| match route {
                Route::Local(partition) => Some(Rc::clone(partition)),
                Route::Remote { .. } | Route::Unavailable => None,
            })
    }
}
