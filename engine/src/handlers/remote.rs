//! Work on a partition, wherever it is: here, or forwarded to the lane that owns it.

use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;

use corelane_format::ids::{PartitionIndex, TopicId};
use corelane_net::error_code::ErrorCode;

use crate::lane::{Lane, Route, TopicRoutes};
use crate::partition::Partition;

/// The answer of one partition, to be awaited.
pub(super) type PartitionAnswer<T> = Pin<Box<dyn Future<Output = Result<T, ErrorCode>>>>;

/// Starts `work` on the partition: it is under way when this returns, and goes on whatever becomes of the answer.
///
/// The answer is `UNKNOWN_TOPIC_OR_PARTITION` for a partition that does not exist, `NOT_LEADER_OR_FOLLOWER` if it left
/// its lane meanwhile, `BROKER_NOT_AVAILABLE` if that lane has ended.
pub(super) fn on_partition<T, F>(
    lane: &Rc<Lane>,
    topic: Option<&TopicRoutes>,
    index: PartitionIndex,
    work: impl FnOnce(Rc<Partition>) -> F + Send + 'static,
) -> PartitionAnswer<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ErrorCode>> + 'static,
{
    let Some((topic, route)) = topic.and_then(|topic| Some((topic, topic.partition(index)?)))
    else {
        return Box::pin(ready(Err(ErrorCode::UnknownTopicOrPartition)));
    };
    match route {
        Route::Local(partition) => {
            // A task of its own: work that holds a partition's lock must go on when its connection does not.
            let answer = glommio::spawn_local(work(Rc::clone(partition))).detach();
            Box::pin(async move { answer.await.unwrap_or(Err(ErrorCode::BrokerNotAvailable)) })
        }
        Route::Unavailable => Box::pin(ready(Err(ErrorCode::KafkaStorageError))),
        Route::Remote { lane: owner } => {
            let id = topic.id;
            let answer = lane.mesh.call(*owner, move |lane: Rc<Lane>| {
                let partition = local(&lane, id, index);
                async move {
                    match partition {
                        Some(partition) => work(partition).await,
                        None => Err(ErrorCode::NotLeaderOrFollower),
                    }
                }
            });
            Box::pin(async move { answer.await.unwrap_or(Err(ErrorCode::BrokerNotAvailable)) })
        }
    }
}

/// The partition, if this lane owns it.
pub(super) fn local(lane: &Lane, topic: TopicId, index: PartitionIndex) -> Option<Rc<Partition>> {
    match lane.topic_by_id(topic)?.partition(index)? {
        Route::Local(partition) => Some(Rc::clone(partition)),
        Route::Remote { .. } | Route::Unavailable => None,
    }
}
