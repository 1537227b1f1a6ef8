//! One partition on the lane that owns it.

mod config;
mod keys;
mod limits;

use std::cell::Cell;
use std::rc::Rc;

use corelane_format::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use corelane_storage::PartitionLog;

use crate::lane::LaneDisk;

pub use keys::{KeyError, check_keys};
pub use limits::PartitionLimits;

/// The log of a partition on a lane's disk.
pub type Log = PartitionLog<LaneDisk>;

/// A partition that this lane leads.
pub struct Partition {
    /// The topic it belongs to.
    pub topic: TopicId,
    /// Its index in the topic.
    pub index: PartitionIndex,
    /// Its log.
    pub log: Rc<Log>,
    /// What a batch may be.
    pub limits: Cell<PartitionLimits>,
    leader_epoch: LeaderEpoch,
}

impl Partition {
    /// A partition over its opened log.
    pub fn new(
        topic: TopicId,
        index: PartitionIndex,
        log: Rc<Log>,
        limits: PartitionLimits,
        leader_epoch: LeaderEpoch,
    ) -> Self {
        Self {
            topic,
            index,
            log,
            limits: Cell::new(limits),
            leader_epoch,
        }
    }

    /// The epoch that this lane leads the partition in.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Exclusive end of what consumers may see. Without replicas this is what the topic's durability promises.
    pub fn high_watermark(&self) -> Offset {
        self.log.readable_offset()
    }

    /// Exclusive end of what `read_committed` consumers may see. Without transactions nothing is held back.
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark()
    }
}
