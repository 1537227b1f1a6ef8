//! Where an asked partition is.

use std::rc::Rc;

use corelane_format::ids::{PartitionIndex, TopicId};
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::FetchPartition;
use corelane_net::topic::TopicRef;

use crate::handlers::errors;
use crate::lane::{Lane, Route, TopicRoutes};
use crate::partition::Partition;

/// Where a partition is.
pub(super) enum Target {
    Here(Rc<Partition>),
    Elsewhere { lane: usize, topic: TopicId },
    Nowhere(ErrorCode),
}

/// A partition to read and what the client asks of it.
pub(super) struct Asked {
    pub(super) target: Target,
    pub(super) partition: FetchPartition,
}

/// The routes of a topic as the request names it, and the error if there are none.
pub(super) fn routes_of(lane: &Lane, topic: TopicRef<'_>) -> (Option<Rc<TopicRoutes>>, ErrorCode) {
    match topic {
        TopicRef::Name(name) => (lane.topic(name), ErrorCode::UnknownTopicOrPartition),
        TopicRef::Id(id) => (lane.topic_by_id(id), ErrorCode::UnknownTopicId),
    }
}

/// Where partition `index` of a topic is.
pub(super) fn target_of(routes: &TopicRoutes, index: PartitionIndex) -> Target {
    match routes.partition(index) {
        Some(Route::Local(partition)) => Target::Here(Rc::clone(partition)),
        Some(Route::Unavailable) => Target::Nowhere(errors::storage()),
        Some(Route::Remote { lane }) => Target::Elsewhere {
            lane: *lane,
            topic: routes.id,
        },
        None => Target::Nowhere(ErrorCode::UnknownTopicOrPartition),
    }
}
