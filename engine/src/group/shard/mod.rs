//! The groups of one partition of `__consumer_offsets`.
//!
//! A shard is filled by [`Shard::replay`], starts with [`Shard::resume`], and from then on takes requests (`membership`,
//! `commits`, `admin`), lets time pass ([`Shard::elapse`]), and forgets what is over (`expiry`).

mod admin;
mod commits;
mod consumers;
mod conversion;
mod expiry;
mod membership;

use std::collections::BTreeMap;
use std::rc::Rc;

use corelane_net::error_code::ErrorCode;

use super::budget::Budget;
use super::classic::ClassicGroup;
use super::config::GroupConfig;
use super::consumer::ConsumerGroup;
use super::offsets::GroupOffsets;
use super::record::{ConsumerRecord, GroupRecord};
use super::step::{Context, Step};
use super::timers::Timers;
use crate::metadata::MetadataImage;

/// Alarms that one step goes through; more are left for the next.
const ALARMS_PER_STEP: usize = 256;
/// Records that one batch holds when they need not be in one.
const RECORDS_PER_BATCH: usize = 500;

/// What a group is: one kind at a time.
#[derive(Debug)]
pub enum Group {
    /// Its members rebalance together; its leader assigns. Also a group that has offsets and nothing else.
    Classic(Box<ClassicGroup>),
    /// The server assigns, and each member moves to its part at its own pace.
    Consumer(Box<ConsumerGroup>),
}

impl Group {
    /// Kafka's name of its state.
    pub fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.state().name(),
            Self::Consumer(group) => group.state().name(),
        }
    }

    /// Kafka's name of its kind.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::Consumer(_) => "consumer",
        }
    }

    fn close(&mut self, timers: &mut Timers) {
        match self {
            Self::Classic(group) => group.close(timers),
            Self::Consumer(group) => group.close(timers),
        }
    }

    fn resume(&mut self, context: &mut Context<'_, '_>) {
        match self {
            Self::Classic(group) => group.resume(context),
            Self::Consumer(group) => group.resume(context),
        }
    }

    fn is_vacant(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_vacant(),
            Self::Consumer(group) => group.is_vacant(),
        }
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed_to(topic),
            Self::Consumer(group) => group.is_subscribed_to(topic),
        }
    }

    /// Whether no record tells of it.
    fn is_unrecorded(&self) -> bool {
        match self {
            Self::Classic(group) => {
                group.is_vacant() && group.generation() == 0 && group.protocol_type().is_none()
            }
            Self::Consumer(group) => group.is_unrecorded(),
        }
    }

    /// The records that take it back; its offsets stay.
    fn tombstones(&self, group_id: &str) -> Vec<GroupRecord> {
        match self {
            Self::Classic(_) => vec![GroupRecord::GroupMetadata {
                group_id: group_id.to_owned(),
                value: None,
            }],
            Self::Consumer(group) => of_group(group_id, group.tombstones()),
        }
    }
}

/// A group and its offsets.
#[derive(Debug)]
struct Entry {
    group: Group,
    offsets: GroupOffsets,
}

impl Entry {
    /// Whether it is nothing but a name: no record tells of it.
    fn is_unused(&self) -> bool {
        self.group.is_unrecorded() && self.offsets.is_empty()
    }
}

/// Records of a consumer group with its id.
fn of_group(group_id: &str, records: Vec<ConsumerRecord>) -> Vec<GroupRecord> {
    records
        .into_iter()
        .map(|record| GroupRecord::Consumer {
            group_id: group_id.to_owned(),
            record,
        })
        .collect()
}

/// The groups of one partition.
#[derive(Debug)]
pub struct Shard {
    groups: BTreeMap<Rc<str>, Entry>,
    timers: Timers,
    config: Rc<GroupConfig>,
    budget: Budget,
}

impl Shard {
    /// A shard without groups.
    pub fn new(config: Rc<GroupConfig>, budget: Budget) -> Self {
        Self {
            groups: BTreeMap::new(),
            timers: Timers::default(),
            config,
            budget,
        }
    }

    /// Takes over a record of the partition, in order. The groups do not live yet.
    pub fn replay(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::OffsetCommit { key, value } => match value {
                Some(value) => {
                    let budget = self.budget.clone();
                    self.entry(&key.group_id).offsets.put(key, value, &budget);
                }
                None => {
                    if let Some(entry) = self.groups.get_mut(key.group_id.as_str()) {
                        entry.offsets.remove(&key.topic, key.partition);
                    }
                }
            },
            GroupRecord::GroupMetadata {
                group_id,
                value: Some(value),
            } => {
                let budget = self.budget.clone();
                let id: Rc<str> = group_id.as_str().into();
                self.entry(group_id).group =
                    Group::Classic(Box::new(ClassicGroup::from_record(&id, value, &budget)));
            }
            GroupRecord::GroupMetadata {
                group_id,
                value: None,
            } => {
                if let Some(Group::Classic(_)) = self.group(group_id) {
                    self.forget_group(group_id);
                }
            }
            GroupRecord::Consumer { group_id, record } => {
                self.replay_consumer(group_id, record);
            }
        }
    }

    fn replay_consumer(&mut self, group_id: &str, record: &ConsumerRecord) {
        let is_consumer = matches!(self.group(group_id), Some(Group::Consumer(_)));
        if record.removes() && !is_consumer {
            return;
        }
        if matches!(record, ConsumerRecord::Epoch(None)) {
            self.forget_group(group_id);
            return;
        }
        let budget = self.budget.clone();
        let entry = self.entry(group_id);
        if !is_consumer {
            let group = ConsumerGroup::new(&group_id.into(), &budget);
            entry.group = Group::Consumer(Box::new(group));
        }
        if let Group::Consumer(group) = &mut entry.group {
            group.replay(record, &budget);
        }
    }

    /// The consumer group of this id.
    #[cfg(test)]
    pub(super) fn consumer_group(&self, group_id: &str) -> Option<&ConsumerGroup> {
        match self.group(group_id) {
            Some(Group::Consumer(group)) => Some(group),
            _ => None,
        }
    }

    /// The classic group of this id.
    #[cfg(test)]
    pub(super) fn classic_group(&self, group_id: &str) -> Option<&ClassicGroup> {
        match self.group(group_id) {
            Some(Group::Classic(group)) => Some(group),
            _ => None,
        }
    }

    fn group(&self, group_id: &str) -> Option<&Group> {
        self.groups.get(group_id).map(|entry| &entry.group)
    }

    /// The group of this id; one without members if there is none.
    fn entry(&mut self, group_id: &str) -> &mut Entry {
        if !self.groups.contains_key(group_id) {
            let id: Rc<str> = group_id.into();
            let entry = Entry {
                group: Group::Classic(Box::new(ClassicGroup::new(&id, &self.budget))),
                offsets: GroupOffsets::default(),
            };
            self.groups.insert(id, entry);
        }
        match self.groups.get_mut(group_id) {
            Some(entry) => entry,
            None => unreachable!("it was put there above"),
        }
    }

    /// A group whose record is taken back is gone, but for the offsets that it still has.
    fn forget_group(&mut self, group_id: &str) {
        let Some((id, mut entry)) = self.groups.remove_entry(group_id) else {
            return;
        };
        if !entry.offsets.is_empty() {
            entry.group = Group::Classic(Box::new(ClassicGroup::new(&id, &self.budget)));
            self.groups.insert(id, entry);
        }
    }

    /// Starts to live: every record was replayed. Members have a session's time to show that they are there. Offsets of
    /// topics that were deleted while nobody saw to it are removed.
    pub fn resume(&mut self, step: &mut Step<'_>, image: &MetadataImage) {
        self.remove_stray_offsets(step, image);
        let ids: Vec<Rc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            self.with_group(step, image, &id, |entry, context| {
                entry.group.resume(context);
            });
            self.drop_if_unused(&id);
        }
    }

    /// Goes through alarms that are due. Call it again at [`Shard::next_alarm_ms`].
    pub fn elapse(&mut self, step: &mut Step<'_>, image: &MetadataImage) {
        for _ in 0..ALARMS_PER_STEP {
            let Some(elapsed) = self.timers.pop(step.now.monotonic_ms) else {
                return;
            };
            let id = Rc::clone(&elapsed.key.group_id);
            self.with_group(step, image, &id, |entry, context| {
                entry.elapsed(context, &elapsed);
            });
            self.drop_if_unused(&id);
        }
    }

    /// When [`Shard::elapse`] has something to do, in monotonic milliseconds; it may be in the past.
    pub fn next_alarm_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// How many groups there are.
    pub fn groups_count(&self) -> usize {
        self.groups.len()
    }

    fn with_group<T>(
        &mut self,
        step: &mut Step<'_>,
        image: &MetadataImage,
        group_id: &str,
        work: impl FnOnce(&mut Entry, &mut Context<'_, '_>) -> T,
    ) -> Option<T> {
        let entry = self.groups.get_mut(group_id)?;
        let mut context = Context {
            step,
            timers: &mut self.timers,
            config: &self.config,
            budget: &self.budget,
            image,
        };
        Some(work(entry, &mut context))
    }

    fn drop_if_unused(&mut self, group_id: &str) {
        if self.groups.get(group_id).is_some_and(Entry::is_unused) {
            self.groups.remove(group_id);
        }
    }

    /// Appends records that need not be in one batch, and takes them over batch by batch.
    fn append_apart(
        &mut self,
        step: &mut Step<'_>,
        records: &[GroupRecord],
    ) -> Result<(), ErrorCode> {
        for batch in records.chunks(RECORDS_PER_BATCH) {
            step.journal.append(batch)?;
            for record in batch {
                if let GroupRecord::GroupMetadata {
                    group_id,
                    value: None,
                }
                | GroupRecord::Consumer {
                    group_id,
                    record: ConsumerRecord::Epoch(None),
                } = record
                    && let Some(entry) = self.groups.get_mut(group_id.as_str())
                {
                    entry.group.close(&mut self.timers);
                }
                self.replay(record);
            }
        }
        Ok(())
    }
}
