//! The state of a null broker, shared by the threads of its connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corelane_net::TopicKey;

use super::logs::{Faults, LogKey, Logs};

/// Topics a null broker takes; the run makes one.
pub const TOPICS_MAX: usize = 1_000;

/// Partitions of each.
pub const PARTITIONS_MAX: u32 = 100_000;

/// A time in which the broker stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// It begins when this batch arrives, counted from 0 over all connections. Its connection is not read before the
    /// end.
    pub at_batch: u64,
    /// How long it lasts.
    pub lasts: Duration,
}

/// How a null broker behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Whether records are kept and can be fetched. Without it every fetch finds nothing.
    pub keeps: bool,
    /// What goes wrong with what is kept.
    pub faults: Faults,
    /// When it stands still.
    pub stall: Option<Stall>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NullTopic {
    /// Its name.
    pub name: String,
    /// Its id: its place among the topics, from 1.
    pub id: [u8; 16],
    /// How many partitions it has.
    pub partitions: u32,
    /// It was deleted.
    pub deleted: bool,
}

/// The state.
#[derive(Debug)]
pub struct NullBroker {
    /// The port it listens on.
    pub port: u16,
    behaviour: Behaviour,
    topics: Mutex<Vec<NullTopic>>,
    logs: Mutex<Logs>,
    appended: Condvar,
    batches: AtomicU64,
}

impl NullBroker {
    /// A broker without topics.
    pub fn new(port: u16, behaviour: Behaviour) -> Self {
        Self {
            port,
            behaviour,
            topics: Mutex::default(),
            logs: Mutex::new(Logs::new(behaviour.faults)),
            appended: Condvar::new(),
            batches: AtomicU64::new(0),
        }
    }

    /// The topics, deleted ones included.
    pub fn topics(&self) -> MutexGuard<'_, Vec<NullTopic>> {
        locked(&self.topics)
    }

    /// Makes a topic; `false` if there is one of that name, or there are too many.
    pub fn create(&self, name: &str, partitions: u32) -> bool {
        let mut topics = self.topics();
        let taken = topics
            .iter()
            .any(|topic| topic.name == name && !topic.deleted);
        if taken || topics.len() >= TOPICS_MAX {
            return false;
        }
        let number = topics.len() as u128 + 1;
        topics.push(NullTopic {
            name: name.to_owned(),
            id: number.to_be_bytes(),
            partitions: partitions.clamp(1, PARTITIONS_MAX),
            deleted: false,
        });
        true
    }

    /// Takes a batch: keeps it if the broker does, and stands still if it is time to.
    pub fn take(&self, topic: &TopicKey, partition: i32, batch: &[u8]) {
        if self.behaviour.keeps
            && let Some(key) = self.key_of(topic, partition)
        {
            locked(&self.logs).append(key, batch);
            self.appended.notify_all();
        }
        if let Some(stall) = self.behaviour.stall
            && self.batches.fetch_add(1, Ordering::Relaxed) == stall.at_batch
        {
            std::thread::sleep(stall.lasts);
        }
    }

    /// Whether batches have to be looked at one by one.
    pub fn is_indifferent(&self) -> bool {
        !self.behaviour.keeps && self.behaviour.stall.is_none()
    }

    /// The end of a partition.
    pub fn end_offset(&self, topic: &TopicKey, partition: i32) -> i64 {
        let key = self.key_of(topic, partition);
        key.map_or(0, |key| locked(&self.logs).end_offset(key))
    }

    /// Reads partitions, each given with its offset and limit. Waits for `within` if there is nothing in any of them.
    pub fn read(
        &self,
        wanted: &[(TopicKey, i32, i64, usize)],
        bytes_max: usize,
        within: Duration,
    ) -> Vec<Vec<Arc<[u8]>>> {
        let keys: Vec<Option<LogKey>> = wanted
            .iter()
            .map(|(topic, partition, ..)| self.key_of(topic, *partition))
            .collect();
        let read = |logs: &Logs| -> Vec<Vec<Arc<[u8]>>> {
            let mut left = bytes_max;
            let mut each = Vec::with_capacity(wanted.len());
            for (key, (_, _, offset, limit)) in keys.iter().zip(wanted) {
                let found = key
                    .filter(|_| left > 0)
                    .map_or_else(Vec::new, |key| logs.read(key, *offset, left.min(*limit)));
                let bytes: usize = found.iter().map(|batch| batch.len()).sum();
                left = left.saturating_sub(bytes);
                each.push(found);
            }
            each
        };
        let logs = locked(&self.logs);
        let nothing = |logs: &mut Logs| read(logs).iter().all(Vec::is_empty);
        let (logs, _) = self
            .appended
            .wait_timeout_while(logs, within, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        read(&logs)
    }

    fn key_of(&self, topic: &TopicKey, partition: i32) -> Option<LogKey> {
        let topics = self.topics();
        let place = topics.iter().position(|known| match topic {
            TopicKey::Name(name) => !known.deleted && known.name == **name,
            TopicKey::Id(id) => known.id == id.get(),
        })?;
        Some((place, partition))
    }
}

/// A thread that panicked while it held the lock leaves nothing half done that matters here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
