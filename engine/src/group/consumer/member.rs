//! One member of a consumer group.

use std::rc::Rc;

use crate::group::budget::{Budget, Charge};
use crate::group::record::{CurrentAssignment, MemberDetails, MemberState};
use crate::group::timers::{Alarm, Timers};
use crate::group::topic_partitions::TopicPartitions;

/// What a member costs besides its texts and partitions.
const MEMBER_BYTES: usize = 768;
/// What a partition costs that a member has, gives up or is to have.
const PARTITION_BYTES: usize = 96;

/// A member. Its alarms are in the queue of its shard: it goes by `ConsumerMember::close` only.
#[derive(Debug)]
pub struct ConsumerMember {
    /// Its id.
    pub id: Rc<str>,
    /// What it told of itself.
    pub details: MemberDetails,
    /// What it is to have.
    pub target: TopicPartitions,
    /// What it has.
    pub current: CurrentAssignment,
    /// When it must have shown a sign of life.
    pub(super) session: Alarm,
    /// When it must have given up what it is to give up.
    pub(super) revocation: Alarm,
    /// When it must have joined again; of the classic protocol.
    pub(super) join: Alarm,
    /// When it must have asked for its assignment; of the classic protocol.
    pub(super) sync: Alarm,
    charge: Charge,
}

impl ConsumerMember {
    pub(super) fn new(id: Rc<str>, budget: &Budget) -> Self {
        let charge = budget.take(Self::size_bytes(&id, &MemberDetails::default(), 0));
        Self {
            id,
            details: MemberDetails::default(),
            target: TopicPartitions::default(),
            current: CurrentAssignment::default(),
            session: Alarm::default(),
            revocation: Alarm::default(),
            join: Alarm::default(),
            sync: Alarm::default(),
            charge,
        }
    }

    /// What a member is charged with, with so many partitions.
    pub(super) fn size_bytes(id: &str, details: &MemberDetails, partitions: usize) -> usize {
        MEMBER_BYTES + 4 * id.len() + details.size_bytes() + partitions * PARTITION_BYTES
    }

    pub(super) fn recharge(&mut self, budget: &Budget) {
        let partitions =
            self.target.len() + self.current.assigned.len() + self.current.revoking.len();
        self.charge = budget.take(Self::size_bytes(&self.id, &self.details, partitions));
    }

    /// Whether it speaks the classic protocol.
    pub fn is_classic(&self) -> bool {
        self.details.classic.is_some()
    }

    /// Whether it has what it is to have in this epoch.
    pub fn is_at(&self, target_epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == target_epoch
    }

    pub(super) fn close(&mut self, timers: &mut Timers) {
        for alarm in [
            &mut self.session,
            &mut self.revocation,
            &mut self.join,
            &mut self.sync,
        ] {
            timers.cancel(alarm);
        }
    }
}
