//! Where a native request's partition is.

use std::rc::Rc;

use corelane_format::ids::{PartitionIndex, TopicId};
use corelane_net::error_code::ErrorCode;

use crate::lane::{Lane, Route, TopicRoutes};
use crate::partition::Partition;

/// A partition that exists.
pub(super) struct Target {
    pub(super) routes: Rc<TopicRoutes>,
    pub(super) index: PartitionIndex,
    /// The node that owns it.
    pub(super) node: i32,
    pub(super) place: Place,
}

pub(super) enum Place {
    Here(Rc<Partition>),
    Elsewhere { lane: usize },
}

impl Target {
    /// The partition, by its topic's id and its index.
    ///
    /// # Errors
    /// It does not exist, or its log could not be opened.
    pub(super) fn find(lane: &Lane, topic: [u8; 16], index: i32) -> Result<Self, ErrorCode> {
        let routes = lane
            .topic_by_id(TopicId::new(topic))
            .ok_or(ErrorCode::UnknownTopicId)?;
        let index = PartitionIndex::new(index);
        let (owner, place) = match routes.partition(index) {
            None => return Err(ErrorCode::UnknownTopicOrPartition),
            Some(Route::Unavailable) => return Err(ErrorCode::KafkaStorageError),
            Some(Route::Local(partition)) => (lane.index, Place::Here(Rc::clone(partition))),
            Some(Route::Remote { lane }) => (*lane, Place::Elsewhere { lane: *lane }),
        };
        Ok(Self {
            node: lane.nodes().id_of_lane(owner),
            routes,
            index,
            place,
        })
    }
}
