//! Random histories of a consumer group: members that come, go, fall silent, come back as the same instance, change what
//! they want, keep what they are to give up, lose answers; topics that grow, come and go; a coordinator that crashes with
//! part of its log or cannot write. Whatever happens:
//! - no partition is in the assignments of two members, and nobody believes to own what its assignment does not hold;
//! - neither the group's epoch nor that of a member goes back;
//! - when the trouble is over, everybody has its target, and every partition an owner;
//! - when everybody has left, nothing is left in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;

use super::consumers::Consumer;
use super::histories::Random;
use super::world::World;
use crate::metadata::test_support::topic_id;
use crate::metadata::{MetadataImage, MetadataRecord};

const CLIENTS: usize = 6;
/// Histories in an ordinary run; more by `CORELANE_GROUP_HISTORIES`.
const HISTORIES: u64 = 200;
const STEPS: usize = 300;
const TOPICS: usize = 3;

struct Client {
    consumer: Consumer,
    lives: usize,
    is_silent: bool,
    /// It hears what it is to give up, and keeps it.
    is_stubborn: bool,
}

struct History {
    world: World,
    random: Random,
    clients: Vec<Client>,
    /// What each member was told last.
    epochs: HashMap<String, i32>,
    group_epoch: i32,
    next_log_id: i64,
    next_topic: usize,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random::of(seed);
        let statics = random.below(3) as usize;
        let clients = (0..CLIENTS)
            .map(|at| {
                let mut consumer = Consumer::new(&format!("c{at}-0"));
                consumer.instance_id = (at < statics).then(|| format!("i{at}"));
                Client {
                    consumer,
                    lives: 0,
                    is_silent: true,
                    is_stubborn: false,
                }
            })
            .collect();
        let mut history = Self {
            world: World::new(),
            random,
            clients,
            epochs: HashMap::new(),
            group_epoch: 0,
            next_log_id: 1,
            next_topic: 0,
        };
        history.world.image = MetadataImage::default();
        history.world.flushes_at_once = false;
        for at in 0..TOPICS {
            history.add_topic(at);
        }
        history
    }

    fn apply(&mut self, record: &MetadataRecord) {
        self.world.image.apply(record).unwrap();
    }

    fn add_topic(&mut self, at: usize) {
        let id = topic_id(self.next_topic);
        self.next_topic += 1;
        let name = format!("t{at}");
        self.apply(&MetadataRecord::Topic { id, name });
        for _ in 0..=self.random.below(4) {
            self.add_partition(id);
        }
    }

    fn add_partition(&mut self, id: TopicId) {
        let topic = self.world.image.topic_by_id(id).unwrap();
        let index = i32::try_from(topic.partitions.len()).unwrap();
        let record = MetadataRecord::Partition {
            topic_id: id,
            index: corelane_format::ids::PartitionIndex::new(index),
            log_id: corelane_format::ids::LogId::new(self.next_log_id.try_into().unwrap()),
            lane: 0,
            leader_epoch: corelane_format::ids::LeaderEpoch::new(0),
        };
        self.next_log_id += 1;
        self.apply(&record);
    }

    fn change_topics(&mut self) {
        let at = self.random.below(TOPICS as u64) as usize;
        let known = self
            .world
            .image
            .topic(&format!("t{at}"))
            .map(|topic| topic.id);
        match known {
            None => self.add_topic(at),
            Some(id) if self.random.one_in(2) => self.add_partition(id),
            Some(topic_id) => self.apply(&MetadataRecord::RemoveTopic { topic_id }),
        }
    }

    fn change_mind(&mut self, at: usize) {
        let bits = self.random.below(8);
        let by_pattern = self.random.one_in(4);
        let consumer = &mut self.clients[at].consumer;
        consumer.topics = (0..TOPICS)
            .filter(|topic| bits & (1 << topic) != 0)
            .map(|topic| format!("t{topic}"))
            .collect();
        consumer.pattern = Some(if by_pattern {
            "t[01]".to_owned()
        } else {
            String::new()
        });
    }

    /// Begins a new life: a new member, which may be the same instance.
    fn be_reborn(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.lives += 1;
        client.consumer.id = format!("c{at}-{}", client.lives);
        client.consumer.epoch = 0;
        client.consumer.owned.clear();
        client.is_silent = false;
        client.is_stubborn = false;
    }

    /// A heartbeat; what is told is durable, or it is not told.
    fn beat(&mut self, at: usize, tells_all: bool, is_heard: bool) {
        let client = &self.clients[at];
        let consumer = &client.consumer;
        let joins = consumer.epoch == 0;
        let request = if joins || tells_all {
            consumer.full()
        } else if self.random.one_in(2) {
            consumer.owning()
        } else {
            consumer.bare()
        };
        let response = self.world.beat(&request);
        if !is_heard {
            return;
        }
        let end = self.world.log.batches.len();
        self.world.flush(end);
        let client = &mut self.clients[at];
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => {
                let before = client.consumer.clone();
                client.consumer.take(&response);
                if client.is_stubborn && !joins {
                    client.consumer.owned.extend(before.owned);
                }
                let epoch = client.consumer.epoch;
                let last = self.epochs.insert(client.consumer.id.clone(), epoch);
                assert!(last.is_none_or(|last| last <= epoch), "{last:?} {epoch}");
            }
            ErrorCode::NotCoordinator => {}
            // Whoever held the instance is still there: it tries again later.
            ErrorCode::UnreleasedInstanceId => client.is_silent = true,
            ErrorCode::FencedMemberEpoch if client.consumer.instance_id.is_none() => {
                client.consumer.epoch = 0;
                client.consumer.owned.clear();
            }
            _ => self.be_reborn(at),
        }
    }

    fn leave(&mut self, at: usize) {
        let consumer = &self.clients[at].consumer;
        let mut request = consumer.bare();
        request.member_epoch = if consumer.instance_id.is_some() && self.random.one_in(2) {
            -2
        } else {
            -1
        };
        self.world.beat(&request);
        let client = &mut self.clients[at];
        client.is_silent = true;
        client.consumer.owned.clear();
    }

    fn step(&mut self) {
        let at = self.random.below(CLIENTS as u64) as usize;
        let is_heard = !self.random.one_in(5);
        match self.random.below(40) {
            0 => self.change_topics(),
            1 => self.change_mind(at),
            2 => self.leave(at),
            3 => self.clients[at].is_silent = true,
            4 | 5 if self.clients[at].is_silent => self.be_reborn(at),
            6 => self.clients[at].is_stubborn ^= true,
            7 => {
                let waits = self.world.log.batches.len() - self.world.log.durable;
                let survive = self.random.below(waits as u64 + 1) as usize;
                self.world.log.refuses = None;
                self.world.crash(survive);
                // What was lost was told to nobody.
                self.group_epoch = 0;
            }
            8 => {
                self.world.log.refuses = match self.world.log.refuses {
                    None if self.random.one_in(3) => Some(ErrorCode::NotCoordinator),
                    _ => None,
                };
            }
            9..=12 => {
                let ms = self.random.below(20_000);
                self.world.pass(ms);
            }
            _ if !self.clients[at].is_silent => {
                let tells_all = self.random.one_in(3);
                self.beat(at, tells_all, is_heard);
            }
            _ => {}
        }
        self.check();
    }

    fn check(&mut self) {
        let Some(group) = self.world.shard.consumer_group("g") else {
            return;
        };
        let mut owners = BTreeMap::new();
        for member in group.members() {
            let current = &member.current;
            for one in current.assigned.iter().chain(current.revoking.iter()) {
                let other = owners.insert(one, member.id.clone());
                assert_eq!(other, None, "{one:?} has two owners, one is {}", member.id);
            }
        }
        for client in &self.clients {
            let consumer = &client.consumer;
            let Some(member) = group.member(&consumer.id) else {
                continue;
            };
            for one in &consumer.owned {
                assert_eq!(
                    owners.get(one),
                    Some(&member.id),
                    "{} believes to own {one:?}",
                    consumer.id
                );
            }
        }
        assert!(group.epoch() >= self.group_epoch);
        self.group_epoch = group.epoch();
    }

    fn calm_down(&mut self) {
        self.world.log.refuses = None;
        for at in 0..CLIENTS {
            self.clients[at].is_stubborn = false;
            if self.clients[at].consumer.topics.is_empty() {
                self.clients[at].consumer.topics = vec!["t0".to_owned()];
            }
        }
        // Longer than any session: who is gone is missed, who lives goes on.
        for _ in 0..30 {
            for at in 0..CLIENTS {
                if !self.clients[at].is_silent {
                    self.beat(at, true, true);
                }
                self.check();
            }
            self.world.pass(3_000);
        }
        let living: Vec<&Consumer> = self
            .clients
            .iter()
            .filter(|client| !client.is_silent)
            .map(|client| &client.consumer)
            .collect();
        let wanted: BTreeSet<(TopicId, i32)> = self
            .world
            .image
            .topics()
            .filter(|topic| {
                living.iter().any(|one| {
                    let matched = one.pattern.as_deref() == Some("t[01]") && topic.name != "t2";
                    matched || one.topics.contains(&topic.name)
                })
            })
            .flat_map(|topic| {
                let count = i32::try_from(topic.partitions.len()).unwrap();
                (0..count).map(|partition| (topic.id, partition))
            })
            .collect();
        let mut owned = BTreeSet::new();
        for consumer in &living {
            for one in &consumer.owned {
                assert!(owned.insert(*one), "{one:?} has two owners");
            }
        }
        assert_eq!(owned, wanted, "everything has an owner");
        if let Some(group) = self.world.shard.consumer_group("g")
            && !living.is_empty()
        {
            assert_eq!(group.state().name(), "Stable");
            assert_eq!(group.members().len(), living.len());
        }
    }

    fn end(mut self) {
        for at in 0..CLIENTS {
            let consumer = self.clients[at].consumer.clone();
            let mut request = consumer.bare();
            request.member_epoch = -1;
            self.world.beat(&request);
        }
        self.world.pass(100_000);
        self.world.step(|shard, step| {
            let _ = shard.delete_group(step, "g");
        });
        assert_eq!(self.world.shard.groups_count(), 0);
        assert_eq!(self.world.budget.used_bytes(), 0);
        assert_eq!(self.world.shard.next_alarm_ms(), None);
    }
}

#[test]
fn whatever_happens_partitions_have_one_owner_and_everybody_arrives() {
    let histories = std::env::var("CORELANE_GROUP_HISTORIES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(HISTORIES);
    for seed in 0..histories {
        let outcome = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            for _ in 0..STEPS {
                history.step();
            }
            history.calm_down();
            history.end();
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
