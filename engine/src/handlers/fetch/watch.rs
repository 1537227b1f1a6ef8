//! Waiting for partitions to advance beyond what a pass found, here and on other lanes.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use corelane_format::ids::{Offset, PartitionIndex, TopicId};
use corelane_storage::ProgressWaiter;

use super::read::Found;
use super::target::{Asked, Target};
use crate::handlers::remote::local;
use crate::lane::deadline::Deadline;
use crate::lane::{Lane, LaneDisk};
use crate::partition::Partition;

/// What a pass knew of a partition, to tell when there is more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    high_watermark: Offset,
    fenced: bool,
}

impl Seen {
    pub(super) fn of<S>(found: &Found<S>) -> Self {
        Self {
            high_watermark: found.watermarks.high_watermark,
            fenced: found.fenced,
        }
    }
}

/// A partition of another lane and what was seen of it.
type Watched = (TopicId, PartitionIndex, Seen);

/// A wait for a partition of this lane to change; leaves nothing behind when dropped.
pub(super) struct Watch {
    partition: Rc<Partition>,
    seen: Seen,
    waiter: ProgressWaiter<LaneDisk>,
}

impl Watch {
    pub(super) fn new(partition: &Rc<Partition>, seen: Seen) -> Self {
        Self {
            partition: Rc::clone(partition),
            seen,
            waiter: partition.log.progress_waiter(),
        }
    }

    /// Whether there is more than was seen; if not, the task is woken when there is.
    pub(super) fn poll_changed(&mut self, context: &Context<'_>) -> bool {
        self.waiter.register(context.waker());
        // After registering, so that no change is missed between the two.
        self.partition.high_watermark() > self.seen.high_watermark
            || self.partition.log.fenced().is_some() != self.seen.fenced
    }
}

/// Other lanes' watches; each future ends when one of its lane's partitions has changed.
pub(super) type Elsewhere = Vec<Pin<Box<dyn Future<Output = ()>>>>;

/// Starts one watch for each other lane that has asked partitions.
pub(super) fn watch_elsewhere<'a, S: 'a>(
    lane: &Rc<Lane>,
    asked: impl Iterator<Item = (&'a Asked, &'a Found<S>)>,
    left: Duration,
) -> Elsewhere {
    let mut by_lane: Vec<(usize, Vec<Watched>)> = Vec::new();
    for (asked, found) in asked {
        let Target::Elsewhere { lane: owner, topic } = &asked.target else {
            continue;
        };
        let watched = (*topic, asked.partition.index, Seen::of(found));
        match by_lane.iter_mut().find(|(known, _)| known == owner) {
            Some((_, partitions)) => partitions.push(watched),
            None => by_lane.push((*owner, vec![watched])),
        }
    }
    by_lane
        .into_iter()
        .map(|(owner, partitions)| {
            Box::pin(changed_elsewhere(lane, owner, partitions, left))
                as Pin<Box<dyn Future<Output = ()>>>
        })
        .collect()
}

/// Watches partitions of another lane. The watch over there ends with this future.
fn changed_elsewhere(
    lane: &Rc<Lane>,
    owner: usize,
    partitions: Vec<Watched>,
    left: Duration,
) -> impl Future<Output = ()> + use<> {
    let (alive, gone) = flume::bounded::<()>(0);
    let answer = lane.mesh.call(owner, move |lane: Rc<Lane>| async move {
        let mut watches = Vec::with_capacity(partitions.len());
        for (topic, index, seen) in partitions {
            match local(&lane, topic, index) {
                Some(partition) => watches.push(Watch::new(&partition, seen)),
                // It left this lane: the next pass tells.
                None => return,
            }
        }
        let mut deadline = Deadline::after(left);
        let mut abandoned = gone.into_recv_async();
        poll_fn(|context| {
            let mut over =
                deadline.poll_over(context) | Pin::new(&mut abandoned).poll(context).is_ready();
            for watch in &mut watches {
                over |= watch.poll_changed(context);
            }
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    async move {
        // A lane that ended is found out by the next pass.
        let _ = answer.await;
        drop(alive);
    }
}
