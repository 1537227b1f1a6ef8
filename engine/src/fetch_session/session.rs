//! One session: its partitions, what the client was told of each, and which of them are worth a visit.
//!
//! A partition is *due* while a visit may find something: it is new, the client moved it, its log rang, it failed, it is not
//! watched, or it had records that the client has not moved beyond yet. One that a visit found at its end, and whose log
//! rings when there is more, is visited no more until then: so a fetch costs in proportion to what changed. If its
//! watermarks are not those that the client was told, they are kept *to report* with the next answer.
//!
//! Invariants:
//! - partitions are visited in the order of their turns; one that was answered with records goes to the end, so that none
//!   starves where a fetch's limit lets only some of them through;
//! - a partition is never due and to report at once;
//! - an answer holds exactly those partitions that Kafka's broker answers with, which visits all of them each time: those
//!   with records, an error, or another high watermark or log start than the client was told.

use std::collections::{BTreeSet, HashMap};

use corelane_format::ids::{Offset, PartitionIndex};
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchPartition, FetchTopic, ForgottenTopic, IsolationLevel};
use corelane_net::topic::TopicKey;

use super::slots::Slots;

/// The epoch of a fetch that makes a session.
pub const EPOCH_INITIAL: i32 = 0;
/// The epoch of a fetch outside of sessions; with a session's id it ends that session.
pub const EPOCH_FINAL: i32 = -1;

/// What one partition of a session takes, in bytes: its entry, its places in the maps and orders, and its watch.
pub const PARTITION_BYTES: usize = 512;
/// What one topic of a session takes besides its name, in bytes.
const TOPIC_BYTES: usize = 256;

/// The epoch that follows: after the highest comes 1, and nothing follows the final one.
pub const fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        ..0 => EPOCH_FINAL,
        i32::MAX => 1,
        _ => epoch + 1,
    }
}

/// How a session's requests name topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By name: versions up to 12.
    Names,
    /// By id: from version 13 on.
    Ids,
}

impl Naming {
    /// How requests of this version name topics.
    pub const fn of_version(version: i16) -> Self {
        if version >= 13 {
            Self::Ids
        } else {
            Self::Names
        }
    }
}

/// What a partition's offsets are; -1 for what is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Exclusive end of what consumers may see.
    pub high_watermark: Offset,
    /// Exclusive end of what `read_committed` consumers may see.
    pub last_stable_offset: Offset,
    /// First offset still there.
    pub log_start_offset: Offset,
}

impl Watermarks {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        high_watermark: Offset::new(-1),
        last_stable_offset: Offset::new(-1),
        log_start_offset: Offset::new(-1),
    };
}

/// What a visit found of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visited {
    /// Whether it could be read.
    pub error: ErrorCode,
    /// Its offsets.
    pub watermarks: Watermarks,
    /// Whether there are records for the client.
    pub has_records: bool,
    /// Whether the client has everything.
    pub is_at_end: bool,
    /// Whether its log rings when there is more.
    pub is_watched: bool,
}

/// A partition of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The partition.
    pub slot: u32,
    /// Its place among the visits; `None` where only its watermarks are reported.
    pub visit: Option<usize>,
}

#[derive(Debug)]
struct Topic {
    key: TopicKey,
    partitions: usize,
    /// The name that its id led to, to tell a topic that is gone from one that never was.
    name: Option<Box<str>>,
}

#[derive(Debug)]
struct Partition {
    topic: u32,
    asked: FetchPartition,
    turn: u64,
    /// What the client was told last.
    told_high_watermark: Offset,
    told_log_start: Offset,
    /// What the last visit found.
    seen: Watermarks,
}

/// One session.
#[derive(Debug)]
pub struct FetchSession {
    naming: Naming,
    isolation: IsolationLevel,
    epoch: i32,
    topics: Slots<Topic>,
    topic_slots: HashMap<TopicKey, u32>,
    partitions: Slots<Partition>,
    partition_slots: HashMap<(u32, PartitionIndex), u32>,
    next_turn: u64,
    due: BTreeSet<(u64, u32)>,
    to_report: BTreeSet<(u64, u32)>,
    names_bytes: usize,
}

/// Bytes that a session takes for these topics at most.
pub fn size_bytes_of(topics: &[FetchTopic]) -> usize {
    topics
        .iter()
        .map(|topic| {
            TOPIC_BYTES
                + name_bytes(&topic.topic)
                + topic.partitions.len().saturating_mul(PARTITION_BYTES)
        })
        .fold(0, usize::saturating_add)
}

/// A name is kept twice: with the topic, and to find it by.
fn name_bytes(key: &TopicKey) -> usize {
    match key {
        TopicKey::Name(name) => 2 * name.len(),
        TopicKey::Id(_) => 0,
    }
}

impl FetchSession {
    /// A session without partitions, which expects epoch 1.
    pub fn new(naming: Naming, isolation: IsolationLevel) -> Self {
        Self {
            naming,
            isolation,
            epoch: next_epoch(EPOCH_INITIAL),
            topics: Slots::default(),
            topic_slots: HashMap::new(),
            partitions: Slots::default(),
            partition_slots: HashMap::new(),
            next_turn: 0,
            due: BTreeSet::new(),
            to_report: BTreeSet::new(),
            names_bytes: 0,
        }
    }

    /// The epoch that the next fetch must have.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// How many partitions it has.
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Whether it has no partitions.
    pub fn is_empty(&self) -> bool {
        self.partitions.len() == 0
    }

    /// Bytes that it takes.
    pub fn size_bytes(&self) -> usize {
        self.partitions.len() * PARTITION_BYTES + self.topics.len() * TOPIC_BYTES + self.names_bytes
    }

    /// Whether a fetch of this epoch belongs here.
    ///
    /// # Errors
    /// `INVALID_FETCH_SESSION_EPOCH` for another epoch than expected, `FETCH_SESSION_TOPIC_ID_ERROR` if the client went over
    /// from names to ids or back.
    pub fn check(&self, epoch: i32, naming: Naming) -> Result<(), ErrorCode> {
        if epoch != self.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if naming != self.naming {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        Ok(())
    }

    /// Goes on to the next epoch, for a fetch that [`FetchSession::check`] let pass.
    pub fn advance(&mut self, isolation: IsolationLevel) {
        self.epoch = next_epoch(self.epoch);
        if isolation != self.isolation {
            // Where it ends is another question now, for every partition.
            self.isolation = isolation;
            for slot in self.slots() {
                self.mark_due(slot);
            }
        }
    }

    /// Takes over what a fetch adds and changes, then what it forgets. Returns the partitions that are gone.
    pub fn update(&mut self, topics: &[FetchTopic], forgotten: &[ForgottenTopic]) -> Vec<u32> {
        for topic in topics {
            for asked in &topic.partitions {
                self.put(&topic.topic, *asked);
            }
        }
        let mut gone = Vec::new();
        for topic in forgotten {
            let Some(topic_slot) = self.topic_slots.get(&topic.topic).copied() else {
                continue;
            };
            for index in &topic.partitions {
                if let Some(slot) = self.partition_slots.remove(&(topic_slot, *index)) {
                    self.remove(slot);
                    gone.push(slot);
                }
            }
        }
        gone
    }

    /// Adds or changes one partition.
    fn put(&mut self, key: &TopicKey, asked: FetchPartition) {
        let topic = match self.topic_slots.get(key) {
            Some(topic) => *topic,
            None => self.add_topic(key),
        };
        if let Some(slot) = self.partition_slots.get(&(topic, asked.index)).copied() {
            if let Some(partition) = self.partitions.get_mut(slot) {
                partition.asked = asked;
            }
            self.mark_due(slot);
            return;
        }
        let turn = self.take_turn();
        let slot = self.partitions.insert(Partition {
            topic,
            asked,
            turn,
            told_high_watermark: Offset::new(-1),
            told_log_start: Offset::new(-1),
            seen: Watermarks::UNKNOWN,
        });
        self.partition_slots.insert((topic, asked.index), slot);
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.partitions += 1;
        }
        self.due.insert((turn, slot));
    }

    fn add_topic(&mut self, key: &TopicKey) -> u32 {
        self.names_bytes += name_bytes(key);
        let topic = self.topics.insert(Topic {
            key: key.clone(),
            partitions: 0,
            name: None,
        });
        self.topic_slots.insert(key.clone(), topic);
        topic
    }

    fn remove(&mut self, slot: u32) {
        let Some(partition) = self.partitions.remove(slot) else {
            return;
        };
        self.due.remove(&(partition.turn, slot));
        self.to_report.remove(&(partition.turn, slot));
        let Some(topic) = self.topics.get_mut(partition.topic) else {
            return;
        };
        topic.partitions -= 1;
        if topic.partitions == 0
            && let Some(topic) = self.topics.remove(partition.topic)
        {
            self.names_bytes -= name_bytes(&topic.key);
            self.names_bytes -= topic.name.map_or(0, |name| name.len());
            self.topic_slots.remove(&topic.key);
        }
    }

    fn take_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    fn slots(&self) -> Vec<u32> {
        self.partition_slots.values().copied().collect()
    }

    /// The partition may have something new. A number that is not one is ignored.
    pub fn mark_due(&mut self, slot: u32) {
        if let Some(partition) = self.partitions.get(slot) {
            self.to_report.remove(&(partition.turn, slot));
            self.due.insert((partition.turn, slot));
        }
    }

    /// The partitions worth a visit, in the order of their turns.
    pub fn due(&self) -> Vec<u32> {
        self.due.iter().map(|(_, slot)| *slot).collect()
    }

    /// The partitions with their topics and places, for a session that was just made.
    pub fn slot_of(&self, topic: &TopicKey, index: PartitionIndex) -> Option<u32> {
        let topic = self.topic_slots.get(topic)?;
        self.partition_slots.get(&(*topic, index)).copied()
    }

    /// What the client asks of a partition.
    pub fn asked(&self, slot: u32) -> Option<&FetchPartition> {
        Some(&self.partitions.get(slot)?.asked)
    }

    /// The number of a partition's topic.
    pub fn topic_slot(&self, slot: u32) -> Option<u32> {
        Some(self.partitions.get(slot)?.topic)
    }

    /// A partition's topic as the client names it.
    pub fn topic(&self, slot: u32) -> Option<&TopicKey> {
        let topic = self.partitions.get(slot)?.topic;
        Some(&self.topics.get(topic)?.key)
    }

    /// The name that a partition's topic id led to.
    pub fn known_name(&self, slot: u32) -> Option<&str> {
        let topic = self.partitions.get(slot)?.topic;
        self.topics.get(topic)?.name.as_deref()
    }

    /// Remembers the name that a partition's topic id leads to.
    pub fn learn_name(&mut self, slot: u32, name: &str) {
        let Some(partition) = self.partitions.get(slot) else {
            return;
        };
        if let Some(topic) = self.topics.get_mut(partition.topic)
            && topic.name.is_none()
        {
            topic.name = Some(name.into());
            self.names_bytes += name.len();
        }
    }

    /// What the last visit found of a partition.
    pub fn seen(&self, slot: u32) -> Watermarks {
        self.partitions
            .get(slot)
            .map_or(Watermarks::UNKNOWN, |partition| partition.seen)
    }

    /// Takes over what a visit found. A partition at its end needs no further visit until its log rings.
    pub fn visited(&mut self, slot: u32, visited: &Visited) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        partition.seen = visited.watermarks;
        let rests = visited.is_at_end
            && visited.is_watched
            && !visited.has_records
            && visited.error == ErrorCode::None;
        if !rests {
            return;
        }
        let place = (partition.turn, slot);
        self.due.remove(&place);
        if is_news(partition, visited.watermarks) {
            self.to_report.insert(place);
        }
    }

    /// Which partitions the answer holds, by the visits of the last pass, in their order; then those with watermarks to
    /// report. What is in the answer counts as told.
    pub fn answer(&mut self, visits: &[(u32, Visited)]) -> Vec<Answered> {
        let mut answered = Vec::new();
        for (at, (slot, visited)) in visits.iter().enumerate() {
            let Some(partition) = self.partitions.get_mut(*slot) else {
                continue;
            };
            let place = (partition.turn, *slot);
            if !self.due.contains(&place) {
                // It rests: if there is something to report, that comes below.
                continue;
            }
            let failed = visited.error != ErrorCode::None;
            if !(failed || visited.has_records || is_news(partition, visited.watermarks)) {
                continue;
            }
            tell(partition, visited.watermarks);
            if failed {
                // When the error goes away the client is told.
                partition.told_high_watermark = Offset::new(-1);
            }
            if visited.has_records {
                self.next_turn += 1;
                partition.turn = self.next_turn;
                self.due.remove(&place);
                self.due.insert((partition.turn, *slot));
            }
            answered.push(Answered {
                slot: *slot,
                visit: Some(at),
            });
        }
        for (_, slot) in std::mem::take(&mut self.to_report) {
            if let Some(partition) = self.partitions.get_mut(slot) {
                let seen = partition.seen;
                tell(partition, seen);
                answered.push(Answered { slot, visit: None });
            }
        }
        answered
    }

    /// What a full fetch was answered with for a partition: from here on only changes are told.
    pub fn told(&mut self, slot: u32, error: ErrorCode, watermarks: Watermarks) {
        if let Some(partition) = self.partitions.get_mut(slot) {
            partition.seen = watermarks;
            tell(partition, watermarks);
            if error != ErrorCode::None {
                partition.told_high_watermark = Offset::new(-1);
            }
        }
    }
}

fn is_news(partition: &Partition, watermarks: Watermarks) -> bool {
    partition.told_high_watermark != watermarks.high_watermark
        || partition.told_log_start != watermarks.log_start_offset
}

fn tell(partition: &mut Partition, watermarks: Watermarks) {
    partition.told_high_watermark = watermarks.high_watermark;
    partition.told_log_start = watermarks.log_start_offset;
}
