//! One step of a group's machine: what it is told, what it may use, what it gives.

use corelane_net::error_code::ErrorCode;
use kafka_wire::{JoinGroupResponse, SyncGroupResponse};

use super::budget::Budget;
use super::config::GroupConfig;
use super::record::GroupRecord;
use super::timers::Timers;
use crate::config::group_definitions::{self, HEARTBEAT_INTERVAL, SESSION_TIMEOUT};
use crate::metadata::MetadataImage;

/// The time of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never jumps: timeouts are judged by it.
    pub monotonic_ms: u64,
    /// Milliseconds since the epoch: stands in records, and offsets expire by it.
    pub wall_ms: i64,
}

/// Names a request that is answered later. The shell gives each one only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// The answer to a request that may have had to wait.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupAnswer {
    /// To a `JoinGroup`.
    Join(JoinGroupResponse),
    /// To a `SyncGroup`.
    Sync(SyncGroupResponse),
}

/// Takes records.
pub trait Journal {
    /// Appends records as one batch, behind all before it: after a crash it is there wholly or not at all. Everything that the
    /// machine answers from here on waits until the batch is durable.
    ///
    /// # Errors
    /// The batch was not taken, for the reason that clients are told.
    fn append(&mut self, records: &[GroupRecord]) -> Result<(), ErrorCode>;
}

/// One step.
pub struct Step<'a> {
    /// The time.
    pub now: Now,
    /// Where records go.
    pub journal: &'a mut dyn Journal,
    /// Random numbers, for member ids.
    pub random: &'a mut dyn FnMut() -> u128,
    /// The answers to requests that waited, or that were given with this step.
    pub answers: Vec<(ReplyId, GroupAnswer)>,
}

impl<'a> Step<'a> {
    /// A step that has given nothing yet.
    pub fn new(
        now: Now,
        journal: &'a mut dyn Journal,
        random: &'a mut dyn FnMut() -> u128,
    ) -> Self {
        Self {
            now,
            journal,
            random,
            answers: Vec::new(),
        }
    }

    /// Answers a `JoinGroup`.
    pub fn answer_join(&mut self, reply: ReplyId, response: JoinGroupResponse) {
        self.answers.push((reply, GroupAnswer::Join(response)));
    }

    /// Answers a `SyncGroup`.
    pub fn answer_sync(&mut self, reply: ReplyId, response: SyncGroupResponse) {
        self.answers.push((reply, GroupAnswer::Sync(response)));
    }
}

/// What a group works with in a step, besides itself.
pub struct Context<'c, 's> {
    /// The step.
    pub step: &'c mut Step<'s>,
    /// The shard's alarms.
    pub timers: &'c mut Timers,
    /// Limits.
    pub config: &'c GroupConfig,
    /// What the lane's groups may take.
    pub budget: &'c Budget,
    /// The topics that there are.
    pub image: &'c MetadataImage,
}

impl Context<'_, '_> {
    /// The time `wait_ms` from now, in monotonic milliseconds.
    pub fn after_ms(&self, wait_ms: u64) -> u64 {
        self.step.now.monotonic_ms.saturating_add(wait_ms)
    }

    /// How long a member of a consumer group may be silent.
    pub fn session_timeout_ms(&self, group_id: &str) -> i32 {
        self.own_setting(group_id, SESSION_TIMEOUT)
            .unwrap_or(self.config.consumer_session_timeout_ms)
    }

    /// How often it is to show that it lives.
    pub fn heartbeat_interval_ms(&self, group_id: &str) -> i32 {
        self.own_setting(group_id, HEARTBEAT_INTERVAL)
            .unwrap_or(self.config.consumer_heartbeat_interval_ms)
    }

    /// What was set for this group alone.
    fn own_setting(&self, group_id: &str, name: &str) -> Option<i32> {
        let own = self.image.group_configs(group_id)?;
        group_definitions::effective(own, name).and_then(|value| i32::try_from(value).ok())
    }
}
