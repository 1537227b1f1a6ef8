//! A lane: one core's pinned thread with its executor, partitions, listener and flusher.
//!
//! Everything in a [`Lane`] belongs to its thread; other lanes reach it by messages only ([`mesh`]). A crash leaves what
//! the lane's logs had flushed, and nothing else counts.

pub mod compaction;
pub mod deadline;
pub mod housekeeping;
pub mod mesh;
pub mod runtime;
pub mod turns;
pub mod watchdog;

mod opening;
mod routes;
mod spinning;
#[cfg(test)]
mod tests;
pub(crate) mod wall_clock;

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use corelane_format::ids::{LogId, PartitionIndex, TopicId};
use corelane_storage::disk::direct::DirectDisk;
use corelane_storage::{LaneLogs, LogConfig, RecoveryReport};

use crate::clock::Clock;
use crate::coordinator::GroupCoordinator;
use crate::headroom::Room;
use crate::metadata::{Defaults, MetadataImage, MetadataRecord, Nodes};
use crate::metrics::{LaneCounters, LaneSample};
use crate::partition::{Partition, PartitionLimits};
use crate::server::cluster::Cluster;

use opening::{OpenJob, OpenResult, open_logs};
use routes::RouteTable;
pub use routes::{Route, TopicRoutes};
use turns::Turns;

/// The disk that lanes use.
pub type LaneDisk = DirectDisk;
/// A lane's logs.
pub type Logs = LaneLogs<LaneDisk>;

/// One core's lane. Single-threaded; shared by its tasks through `Rc`.
pub struct Lane {
    /// Index of this lane, `0..lanes`.
    pub index: usize,
    /// Who this server is, and what its nodes are.
    pub cluster: Rc<Cluster>,
    /// The way to the other lanes.
    pub mesh: mesh::Mesh<Lane>,
    /// The lane's turns.
    pub turns: Rc<Turns>,
    /// The lane's logs and flusher.
    pub logs: Logs,
    /// The wall clock.
    pub clock: Rc<dyn Clock>,
    /// What the lane counts beside its logs.
    pub counters: LaneCounters,
    room: Cell<Room>,
    image: RefCell<MetadataImage>,
    nodes: Rc<Nodes>,
    /// Settings with those on top that were set while the server runs.
    defaults: RefCell<Rc<Defaults>>,
    routes: RefCell<RouteTable>,
    controller: RefCell<Option<Rc<crate::server::controller::Controller>>>,
    producer_ids: crate::server::producer_ids::ProducerIdBlock,
    groups: GroupCoordinator,
    forwarded_bytes: Cell<usize>,
}

impl Lane {
    /// A lane that knows of no topic yet; [`Lane::install`] gives it the metadata.
    pub fn new(
        index: usize,
        cluster: Rc<Cluster>,
        mesh: mesh::Mesh<Lane>,
        logs: Logs,
        clock: Rc<dyn Clock>,
    ) -> Rc<Self> {
        let image = MetadataImage::new(cluster.defaults.topics.clone());
        let nodes = Rc::new(cluster.nodes());
        let groups = GroupCoordinator::new(&cluster, Rc::clone(&clock));
        let defaults = RefCell::new(Rc::new(cluster.defaults.clone()));
        Rc::new(Self {
            index,
            cluster,
            mesh,
            turns: Turns::new(),
            logs,
            clock,
            counters: LaneCounters::default(),
            room: Cell::default(),
            image: RefCell::new(image),
            nodes,
            defaults,
            routes: RefCell::new(RouteTable::default()),
            controller: RefCell::new(None),
            producer_ids: crate::server::producer_ids::ProducerIdBlock::default(),
            groups,
            forwarded_bytes: Cell::new(0),
        })
    }

    /// The metadata as this lane has applied it. Do not hold it across an await.
    pub fn image(&self) -> Ref<'_, MetadataImage> {
        self.image.borrow()
    }

    /// The nodes that clients are told of.
    pub fn nodes(&self) -> Rc<Nodes> {
        Rc::clone(&self.nodes)
    }

    /// The settings in effect on this lane's node.
    pub fn defaults(&self) -> Rc<Defaults> {
        Rc::clone(&self.defaults.borrow())
    }

    /// Takes over the broker settings that the metadata holds.
    fn sync_defaults(&self) {
        let mut image = self.image.borrow_mut();
        let node = self.nodes.id_of_lane(self.index);
        let defaults = self
            .cluster
            .defaults
            .with_dynamic(image.broker_configs(Some(node)), image.broker_configs(None));
        image.set_topic_defaults(defaults.topics.clone());
        *self.defaults.borrow_mut() = Rc::new(defaults);
    }

    /// The producer ids that this lane may hand out.
    pub fn producer_ids(&self) -> &crate::server::producer_ids::ProducerIdBlock {
        &self.producer_ids
    }

    /// The coordinator of the groups whose state this lane owns.
    pub fn groups(&self) -> &GroupCoordinator {
        &self.groups
    }

    /// The controller, on the lane that has it (lane 0).
    pub fn controller(&self) -> Option<Rc<crate::server::controller::Controller>> {
        self.controller.borrow().clone()
    }

    /// Makes this the controller's lane.
    pub fn set_controller(&self, controller: Rc<crate::server::controller::Controller>) {
        *self.controller.borrow_mut() = Some(controller);
    }

    /// The routes of a topic by its name.
    pub fn topic(&self, name: &str) -> Option<Rc<TopicRoutes>> {
        self.routes.borrow().by_name(name)
    }

    /// The routes of a topic by its id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<Rc<TopicRoutes>> {
        self.routes.borrow().by_id(id)
    }

    /// Whether the disk has room for more data, as far as this lane has been told.
    pub fn room(&self) -> Room {
        self.room.get()
    }

    /// Takes over what was decided of the disk's room.
    pub fn set_room(&self, room: Room) {
        self.room.set(room);
        self.groups.set_room(room);
        if room.takes_produces() {
            self.logs.maintain();
        }
    }

    /// This lane's numbers as they are now.
    pub fn sample(&self, connections: usize) -> LaneSample {
        LaneSample {
            logs: self.logs.metrics(),
            lane: self.counters.clone(),
            partitions: self.routes.borrow().local_count() as u64,
            connections: connections as u64,
            forwarded_bytes: self.forwarded_bytes.get() as u64,
        }
    }

    /// Bytes of requests that this lane has forwarded and that are not answered yet.
    pub fn forwarded_bytes(&self) -> usize {
        self.forwarded_bytes.get()
    }

    /// Counts `size_bytes` as under way to another lane until the guard is dropped.
    pub fn forward(self: &Rc<Self>, size_bytes: usize) -> Forwarded {
        self.forwarded_bytes
            .set(self.forwarded_bytes.get() + size_bytes);
        Forwarded {
            lane: Rc::clone(self),
            size_bytes,
        }
    }

    /// Takes over the whole metadata at start: opens this lane's partitions.
    ///
    /// # Errors
    /// A partition's log could not be opened; the message names it.
    pub async fn install(self: &Rc<Self>, image: MetadataImage) -> anyhow::Result<()> {
        let topics: Vec<TopicId> = image.topics().map(|topic| topic.id).collect();
        *self.image.borrow_mut() = image;
        self.sync_defaults();
        let jobs = topics
            .iter()
            .flat_map(|topic| self.own_logs(*topic))
            .collect();
        let mut opened = open_logs(&self.logs, jobs).await;
        for topic in topics {
            self.sync_topic(topic, &mut opened).await?;
        }
        Ok(())
    }

    /// The logs of a topic that this lane opens.
    fn own_logs(&self, id: TopicId) -> Vec<OpenJob> {
        let image = self.image.borrow();
        let Some(topic) = image.topic_by_id(id) else {
            return Vec::new();
        };
        let config = LogConfig::from(&image.topic_config(id));
        let own = topic.partitions.iter().enumerate();
        own.filter(|(_, meta)| meta.lane == self.index)
            .map(|(index, meta)| OpenJob {
                log_id: meta.log_id,
                directory: self.log_directory(&topic.name, index, meta.log_id),
                config: config.clone(),
            })
            .collect()
    }

    /// Applies records that are durable in the metadata log, in log order, and opens or deletes partitions by them.
    ///
    /// # Errors
    /// A partition's log could not be opened or deleted. The metadata is applied all the same.
    pub async fn apply(self: &Rc<Self>, records: &[MetadataRecord]) -> anyhow::Result<()> {
        let mut touched: Vec<TopicId> = Vec::new();
        {
            let mut image = self.image.borrow_mut();
            for record in records {
                if let Some(topic) = record.topic_id()
                    && !touched.contains(&topic)
                {
                    touched.push(topic);
                }
                image.apply(record)?;
            }
        }
        if records
            .iter()
            .any(|record| matches!(record, MetadataRecord::BrokerConfig { .. }))
        {
            // They give topics their defaults: whatever topic has none of its own has others now.
            self.sync_defaults();
            touched = self
                .image
                .borrow()
                .topics()
                .map(|topic| topic.id)
                .chain(touched)
                .collect();
        }
        let mut outcome = Ok(());
        for topic in touched {
            if let Err(error) = self.sync_topic(topic, &mut HashMap::new()).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Brings routes and open logs of one topic in line with the metadata; takes from `opened` what was opened already.
    async fn sync_topic(
        self: &Rc<Self>,
        id: TopicId,
        opened: &mut HashMap<LogId, OpenResult>,
    ) -> anyhow::Result<()> {
        let known = self.routes.borrow().by_id(id);
        let wanted = {
            let image = self.image.borrow();
            image.topic_by_id(id).map(|topic| {
                (
                    topic.name.clone(),
                    topic.partitions.clone(),
                    image.topic_config(id),
                )
            })
        };
        let Some((name, partitions, config)) = wanted else {
            return self.forget_topic(known).await;
        };
        let log_config = LogConfig::from(&config);
        let limits = PartitionLimits::from(&config);
        let mut owners = Vec::with_capacity(partitions.len());
        for (index, meta) in partitions.into_iter().enumerate() {
            if meta.lane != self.index {
                owners.push(Route::Remote { lane: meta.lane });
                continue;
            }
            if let Some(Route::Local(partition)) = known
                .as_ref()
                .and_then(|routes| routes.partitions.get(index))
            {
                partition.log.set_config(log_config.clone());
                partition.limits.set(limits);
                owners.push(Route::Local(Rc::clone(partition)));
                continue;
            }
            let directory = self.log_directory(&name, index, meta.log_id);
            let result = if let Some(result) = opened.remove(&meta.log_id) {
                result
            } else {
                let config = log_config.clone();
                self.logs.open_log(&directory, meta.log_id, config).await
            };
            let (log, report) = match result {
                Ok(opened) => opened,
                Err(error) => {
                    tracing::error!(
                        "partition {name}-{index} is not served: {error}; all others are. \
                         Mend or move away {}, then restart",
                        directory.display()
                    );
                    LaneCounters::add(&self.counters.partitions_unavailable, 1);
                    owners.push(Route::Unavailable);
                    continue;
                }
            };
            self.note_recovery(&format!("partition {name}-{index}"), &report);
            let index = PartitionIndex::new(i32::try_from(index).unwrap_or(i32::MAX));
            owners.push(Route::Local(Rc::new(Partition::new(
                id,
                index,
                log,
                limits,
                meta.leader_epoch,
            ))));
        }
        let routes = TopicRoutes {
            id,
            name,
            needs_keys: limits.needs_keys,
            partitions: owners,
        };
        self.groups.adopt(self, &routes);
        self.routes.borrow_mut().insert(routes);
        Ok(())
    }

    async fn forget_topic(self: &Rc<Self>, known: Option<Rc<TopicRoutes>>) -> anyhow::Result<()> {
        let Some(known) = known else { return Ok(()) };
        self.routes.borrow_mut().remove(known.id);
        self.groups.topic_removed(&known.name);
        let mut outcome = Ok(());
        for route in &known.partitions {
            if let Route::Local(partition) = route
                && let Err(error) = self.logs.delete_log(&partition.log).await
            {
                outcome = Err(anyhow::anyhow!(
                    "cannot delete a partition of {}: {error}",
                    known.name
                ));
            }
        }
        outcome
    }

    fn log_directory(&self, topic: &str, index: usize, log_id: LogId) -> PathBuf {
        self.cluster.data.log_directory(topic, index, log_id)
    }

    /// Counts and logs what opening a log found, as far as the operator should know.
    pub(crate) fn note_recovery(&self, what: &str, report: &RecoveryReport) {
        LaneCounters::add(
            &self.counters.damaged_at_open,
            report.quarantined.len() as u64,
        );
        LaneCounters::add(
            &self.counters.torn_tails,
            u64::from(report.torn_tail.is_some()),
        );
        log_recovery(what, report);
    }

    /// The partitions that this lane owns.
    pub fn local_partitions(&self) -> Vec<Rc<Partition>> {
        self.routes.borrow().local().collect()
    }
}

fn log_recovery(what: &str, report: &RecoveryReport) {
    for range in &report.quarantined {
        tracing::error!(
            "{what}: records {} to {} (exclusive) are damaged and kept aside; everything else is served",
            range.start,
            range.end
        );
    }
    if let Some(tail) = &report.torn_tail {
        tracing::warn!(
            "{what}: cut an unfinished write at offset {} ({}); nothing acknowledged was in it",
            tail.offset,
            tail.detail
        );
    }
}

/// Counts forwarded bytes until dropped.
pub struct Forwarded {
    lane: Rc<Lane>,
    size_bytes: usize,
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        let left = self
            .lane
            .forwarded_bytes
            .get()
            .saturating_sub(self.size_bytes);
        self.lane.forwarded_bytes.set(left);
    }
}
