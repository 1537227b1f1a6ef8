//! The group coordinator of a lane: the shell around the machines of `crate::group`.
//!
//! One [`host::Host`] for each partition of `__consumer_offsets` that the lane owns. It is filled from the partition's log
//! (`load`), gives its shard one request after the other, appends what the shard wants recorded, and lets no answer out
//! before all that was appended until then is durable. One task watches the alarms of all shards, one removes what has
//! expired.
//!
//! A log that takes no more writes ends its host: what was not durable is gone from the answers too, and the state in
//! memory, which may be ahead of the log, is not used any more.

mod host;
mod journal;
mod load;
mod tasks;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use corelane_format::ids::PartitionIndex;
use corelane_net::error_code::ErrorCode;

use crate::clock::Clock;
use crate::group::step::{GroupAnswer, Now, ReplyId, Step};
use crate::group::{Budget, GroupConfig, OFFSETS_TOPIC, Shard};
use crate::headroom::Room;
use crate::lane::{Lane, Route, TopicRoutes};
use crate::metadata::{RandomTopicIds, TopicIdSource};
use crate::server::cluster::Cluster;

use host::Host;

pub use tasks::{remove_expired, run_alarms};

/// The coordinator of one lane.
pub struct GroupCoordinator {
    hosts: RefCell<HashMap<PartitionIndex, Rc<Host>>>,
    config: Rc<GroupConfig>,
    budget: Budget,
    clock: Rc<dyn Clock>,
    started: Instant,
    next_reply: Cell<u64>,
    random: RefCell<RandomTopicIds>,
    alarms: tasks::AlarmBell,
    room: Cell<Room>,
}

impl GroupCoordinator {
    /// A coordinator of nothing yet.
    pub fn new(cluster: &Cluster, clock: Rc<dyn Clock>) -> Self {
        Self {
            hosts: RefCell::default(),
            config: Rc::new(GroupConfig::of(&cluster.defaults.broker)),
            budget: Budget::new(cluster.group_size_bytes_max),
            clock,
            started: Instant::now(),
            next_reply: Cell::new(0),
            random: RefCell::default(),
            alarms: tasks::AlarmBell::default(),
            room: Cell::default(),
        }
    }

    /// Takes over what was decided of the disk's room: without it only what removes something is recorded.
    pub fn set_room(&self, room: Room) {
        self.room.set(room);
    }

    /// Takes over the partitions of `__consumer_offsets` that the lane owns by now, and starts to load them.
    pub fn adopt(&self, lane: &Rc<Lane>, routes: &TopicRoutes) {
        if routes.name != OFFSETS_TOPIC {
            return;
        }
        let mut adopted = Vec::new();
        for route in &routes.partitions {
            let Route::Local(partition) = route else {
                continue;
            };
            let mut hosts = self.hosts.borrow_mut();
            let is_known = hosts
                .get(&partition.index)
                .is_some_and(|host| Rc::ptr_eq(host.partition(), partition));
            if !is_known {
                let host = Host::new(Rc::clone(partition));
                hosts.insert(partition.index, Rc::clone(&host));
                adopted.push(host);
            }
        }
        if !adopted.is_empty() {
            load::start(lane, adopted);
        }
    }

    /// A topic was deleted: its offsets go. If it is the one that the groups are kept in, they go.
    pub fn topic_removed(&self, name: &str) {
        if name == OFFSETS_TOPIC {
            let hosts = self.hosts.take();
            for host in hosts.into_values() {
                host.end("__consumer_offsets was deleted");
            }
            return;
        }
        let names = [name.to_owned()];
        for host in self.live_hosts() {
            // What is appended here needs no answer.
            let _ = self.step(&host, |shard, step| shard.remove_topics(step, &names));
        }
    }

    /// Gives a request to the groups of a partition. On return everything that they had recorded until then is durable.
    ///
    /// # Errors
    /// `NOT_COORDINATOR` if the lane does not own the partition or its log ended, `COORDINATOR_LOAD_IN_PROGRESS`,
    /// `COORDINATOR_NOT_AVAILABLE` if it could not be loaded.
    pub async fn run<T>(
        &self,
        partition: PartitionIndex,
        work: impl FnOnce(&mut Shard, &mut Step<'_>) -> T,
    ) -> Result<T, ErrorCode> {
        let host = self.host(partition)?;
        let outcome = self.step(&host, work)?;
        host.settled().await?;
        Ok(outcome)
    }

    /// As [`GroupCoordinator::run`], for a request that may have to wait for others.
    ///
    /// # Errors
    /// As there.
    pub async fn ask(
        &self,
        partition: PartitionIndex,
        work: impl FnOnce(&mut Shard, &mut Step<'_>, ReplyId),
    ) -> Result<GroupAnswer, ErrorCode> {
        let host = self.host(partition)?;
        let reply = ReplyId(self.next_reply.get());
        self.next_reply.set(reply.0 + 1);
        let answer = host.expect(reply);
        if let Err(code) = self.step(&host, |shard, step| work(shard, step, reply)) {
            host.forget(reply);
            return Err(code);
        }
        answer
            .recv_async()
            .await
            .map_err(|_| ErrorCode::NotCoordinator)
    }

    /// The partitions that this lane coordinates.
    pub fn partitions(&self) -> Vec<PartitionIndex> {
        self.hosts.borrow().keys().copied().collect()
    }

    fn host(&self, partition: PartitionIndex) -> Result<Rc<Host>, ErrorCode> {
        self.hosts
            .borrow()
            .get(&partition)
            .cloned()
            .ok_or(ErrorCode::NotCoordinator)
    }

    fn live_hosts(&self) -> Vec<Rc<Host>> {
        let hosts = self.hosts.borrow();
        hosts
            .values()
            .filter(|host| host.is_live())
            .cloned()
            .collect()
    }

    /// One step of a shard: its records are appended, and its answers are on their way, when this returns.
    fn step<T>(
        &self,
        host: &Rc<Host>,
        work: impl FnOnce(&mut Shard, &mut Step<'_>) -> T,
    ) -> Result<T, ErrorCode> {
        let mut journal =
            journal::LogJournal::new(host.partition(), self.clock.now(), self.room.get());
        let mut random = || self.random.borrow_mut().next_id();
        let mut step = Step::new(self.now(), &mut journal, &mut random);
        let (outcome, next_alarm_ms) =
            host.with_shard(|shard| (work(shard, &mut step), shard.next_alarm_ms()))?;
        if let Some(fenced) = host.partition().log.fenced() {
            host.end(&fenced.to_string());
            return Err(ErrorCode::NotCoordinator);
        }
        host.send(step.answers);
        if let Some(next_alarm_ms) = next_alarm_ms {
            self.alarms.ring_if_before(next_alarm_ms);
        }
        Ok(outcome)
    }

    fn now(&self) -> Now {
        Now {
            monotonic_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_ms: self.clock.now().get(),
        }
    }
}
