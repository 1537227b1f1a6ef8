//! Random histories of a group whose members speak either protocol: they come, work and commit, fall silent and wake up, leave,
//! and come back speaking the other one, some as the same instance; answers get lost, the coordinator crashes with part of its
//! log or cannot write. So the group is a classic one and a consumer group by turns. Whatever happens:
//! - no partition belongs to two members, as the server has it and as members believe that are in its generation or epoch;
//! - no offset that was acknowledged is lost or goes back;
//! - when the trouble is over, everybody who lives has a place, and every partition one owner;
//! - when everybody has left, nothing is left in memory.

use std::collections::BTreeMap;

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use kafka_wire::LeaveGroupRequest;
use kafka_wire::leave_group_request::MemberIdentity;

use super::commits::commit_as;
use super::consumers::Consumer;
use super::histories::Random;
use super::world::{Member, Told, World, assignment, join_request};
use crate::group::consumer_protocol::{decode_assignment, encode_assignment};
use crate::group::step::ReplyId;
use crate::group::topic_partitions::TopicPartitions;
use crate::metadata::test_support::topic_id;

const CLIENTS: usize = 5;
const PARTITIONS: i32 = 4;
/// Histories in an ordinary run; more by `CORELANE_GROUP_HISTORIES`.
const HISTORIES: u64 = 300;
const STEPS: usize = 400;
/// Turns after which a client gives a request up that is not answered.
const PATIENCE: u32 = 150;

/// Where a member of the classic protocol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Out,
    Joining(ReplyId),
    Syncing(ReplyId),
    Owning,
}

/// A member that speaks one protocol or the other.
#[derive(Debug)]
struct Client {
    is_modern: bool,
    instance_id: Option<String>,
    lives: u32,
    is_silent: bool,
    /// Of the classic protocol.
    phase: Phase,
    waited: u32,
    member: Member,
    /// Of the consumer protocol.
    consumer: Consumer,
    /// What it owns, and where it is.
    positions: BTreeMap<i32, i64>,
}

impl Client {
    fn new(at: usize, is_static: bool, is_modern: bool) -> Self {
        let mut client = Self {
            is_modern,
            instance_id: is_static.then(|| format!("i{at}")),
            lives: 0,
            is_silent: true,
            phase: Phase::Out,
            waited: 0,
            member: Member {
                id: String::new(),
                instance_id: None,
                generation: -1,
                leads: false,
            },
            consumer: Consumer::new("none"),
            positions: BTreeMap::new(),
        };
        client.be_reborn(at);
        client.is_silent = true;
        client
    }

    /// Starts anew, and remembers nothing but its instance.
    fn be_reborn(&mut self, at: usize) {
        self.lives += 1;
        self.is_silent = false;
        self.phase = Phase::Out;
        self.positions.clear();
        self.member = Member {
            id: String::new(),
            instance_id: self.instance_id.clone(),
            generation: -1,
            leads: false,
        };
        self.consumer = Consumer::new(&format!("c{at}-{}", self.lives));
        self.consumer.instance_id.clone_from(&self.instance_id);
    }

    /// What it commits as.
    fn committer(&self) -> Member {
        if !self.is_modern {
            return self.member.clone();
        }
        Member {
            id: self.consumer.id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.consumer.epoch,
            leads: false,
        }
    }
}

struct History {
    world: World,
    random: Random,
    clients: Vec<Client>,
    acknowledged: BTreeMap<i32, i64>,
    calm: bool,
    /// How often the group became one of the other kind.
    changes: usize,
    was_consumer: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random::of(seed ^ 0x00de_c0de);
        let statics = random.below(3) as usize;
        let clients = (0..CLIENTS)
            .map(|at| Client::new(at, at < statics, random.one_in(2)))
            .collect();
        let mut world = World::new();
        world.flushes_at_once = false;
        Self {
            world,
            random,
            clients,
            acknowledged: BTreeMap::new(),
            calm: false,
            changes: 0,
            was_consumer: false,
        }
    }

    fn is_lost(&mut self) -> bool {
        !self.calm && self.random.one_in(10)
    }

    /// What was told is durable.
    fn flush(&mut self) {
        let end = self.world.log.batches.len();
        self.world.flush(end);
    }

    /// Takes partitions over: begins where the group is.
    fn own(&mut self, at: usize, partitions: impl IntoIterator<Item = (TopicId, i32)>) {
        let before = std::mem::take(&mut self.clients[at].positions);
        for (topic, partition) in partitions {
            assert_eq!(topic, topic_id(0));
            let position = before.get(&partition).copied().unwrap_or_else(|| {
                let fetched = self.world.fetched("t", partition);
                let acknowledged = self.acknowledged.get(&partition).copied().unwrap_or(-1);
                assert!(
                    fetched >= acknowledged,
                    "partition {partition}: {acknowledged} was acknowledged, {fetched} is fetched"
                );
                fetched.max(0)
            });
            self.clients[at].positions.insert(partition, position);
        }
    }

    // ---- the classic protocol, eager: who joins owns nothing

    fn send_join(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.positions.clear();
        let mut request = join_request(&client.member.id);
        request.group_instance_id = client.instance_id.as_deref().map(Into::into);
        let version = [3, 5, 9][self.random.below(3) as usize];
        let reply = self.world.join_in(&request, version);
        let client = &mut self.clients[at];
        client.phase = Phase::Joining(reply);
        client.waited = 0;
    }

    fn hear(&mut self, at: usize) {
        let (Phase::Joining(reply) | Phase::Syncing(reply)) = self.clients[at].phase else {
            return;
        };
        let Some(told) = self.world.told(reply) else {
            self.clients[at].waited += 1;
            if self.clients[at].waited > PATIENCE {
                self.clients[at].phase = Phase::Out;
            }
            return;
        };
        if self.is_lost() {
            self.clients[at].phase = Phase::Out;
            return;
        }
        match told {
            Told::Join(response) => match ErrorCode::from_wire(response.error_code) {
                ErrorCode::None => self.joined(at, &response),
                ErrorCode::MemberIdRequired => {
                    self.clients[at].member.id = response.member_id.to_string();
                    self.clients[at].phase = Phase::Out;
                }
                code => self.back_to_join(at, code),
            },
            Told::Sync(response) => match ErrorCode::from_wire(response.error_code) {
                ErrorCode::None => {
                    self.clients[at].phase = Phase::Owning;
                    let given = decode_assignment(&response.assignment, &self.world.image);
                    self.own(at, given.unwrap().iter());
                }
                code => self.back_to_join(at, code),
            },
        }
    }

    fn joined(&mut self, at: usize, response: &kafka_wire::JoinGroupResponse) {
        let mut request = join_request("");
        request.group_instance_id = self.clients[at].instance_id.as_deref().map(Into::into);
        let member = Member::of(response, &request);
        let mut given = Vec::new();
        if member.leads && !response.skip_assignment {
            let mut ids: Vec<&str> = response.members.iter().map(|one| &*one.member_id).collect();
            ids.sort_unstable();
            for (place, id) in ids.iter().enumerate() {
                let owned: TopicPartitions = (0..PARTITIONS)
                    .filter(|partition| *partition as usize % ids.len() == place)
                    .map(|partition| (topic_id(0), partition))
                    .collect();
                let bytes = encode_assignment(&owned, 1, &self.world.image);
                given.push(assignment(id, &bytes));
            }
        }
        self.clients[at].member = member.clone();
        if self.is_lost() {
            self.clients[at].phase = Phase::Out;
            return;
        }
        let reply = self.world.sync(&member.sync(given));
        self.clients[at].phase = Phase::Syncing(reply);
        self.clients[at].waited = 0;
    }

    fn back_to_join(&mut self, at: usize, code: ErrorCode) {
        let client = &mut self.clients[at];
        client.positions.clear();
        client.phase = Phase::Out;
        if matches!(
            code,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId
        ) {
            client.be_reborn(at);
        }
    }

    fn classic_turn(&mut self, at: usize) {
        self.hear(at);
        match self.clients[at].phase {
            Phase::Out => self.send_join(at),
            Phase::Owning => {
                let member = self.clients[at].member.clone();
                let code = if self.random.one_in(3) {
                    self.commit(at)
                } else {
                    self.world.heartbeat(&member)
                };
                if code != ErrorCode::None && !self.is_lost() {
                    self.back_to_join(at, code);
                }
            }
            Phase::Joining(_) | Phase::Syncing(_) => {}
        }
    }

    // ---- the consumer protocol

    fn modern_turn(&mut self, at: usize) {
        if self.clients[at].consumer.epoch > 0 && self.random.one_in(3) {
            // What is refused here is heard of with the next heartbeat.
            self.commit(at);
            return;
        }
        let consumer = &self.clients[at].consumer;
        let request = if consumer.epoch == 0 || self.random.one_in(4) {
            consumer.full()
        } else {
            consumer.owning()
        };
        let response = self.world.beat(&request);
        if self.is_lost() {
            return;
        }
        self.flush();
        match ErrorCode::from_wire(response.error_code) {
            ErrorCode::None => {
                self.clients[at].consumer.take(&response);
                let owned = self.clients[at].consumer.owned.clone();
                self.own(at, owned);
            }
            // It tries again.
            ErrorCode::NotCoordinator | ErrorCode::UnreleasedInstanceId => {}
            ErrorCode::FencedMemberEpoch if self.clients[at].instance_id.is_none() => {
                let client = &mut self.clients[at];
                client.positions.clear();
                client.consumer.epoch = 0;
                client.consumer.owned.clear();
            }
            _ => self.clients[at].be_reborn(at),
        }
    }

    // ---- both

    fn commit(&mut self, at: usize) -> ErrorCode {
        let count = self.clients[at].positions.len() as u64;
        if count == 0 {
            return ErrorCode::None;
        }
        let chosen = self.random.below(count) as usize;
        let advance = i64::try_from(self.random.below(5)).unwrap() + 1;
        let Some((partition, position)) = self.clients[at].positions.iter_mut().nth(chosen) else {
            return ErrorCode::None;
        };
        *position += advance;
        let (partition, position) = (*partition, *position);
        let committer = self.clients[at].committer();
        let code = self
            .world
            .commit(&commit_as(&committer, "t", &[(partition, position)]))[0];
        if code == ErrorCode::None && self.random.one_in(2) {
            self.flush();
            let acknowledged = self.acknowledged.entry(partition).or_insert(-1);
            assert!(
                position >= *acknowledged,
                "partition {partition} went back from {acknowledged} to {position}"
            );
            *acknowledged = position;
        }
        code
    }

    fn leave(&mut self, at: usize) {
        let client = &self.clients[at];
        if client.is_modern {
            let mut request = client.consumer.bare();
            let for_a_while = client.instance_id.is_some() && self.random.one_in(2);
            request.member_epoch = if for_a_while { -2 } else { -1 };
            self.world.beat(&request);
        } else {
            let mut identity = MemberIdentity::default();
            identity.member_id = client.member.id.as_str().into();
            identity.group_instance_id = client.instance_id.as_deref().map(Into::into);
            let mut request = LeaveGroupRequest::default();
            request.group_id = "g".into();
            request.members = vec![identity];
            self.world
                .step_in(|shard, step, image| shard.leave(step, &request, 5, image));
        }
        let client = &mut self.clients[at];
        client.is_silent = true;
        client.phase = Phase::Out;
        client.positions.clear();
    }

    fn trouble(&mut self, at: usize) {
        match self.random.below(70) {
            0 | 1 => self.clients[at].is_silent = true,
            // It was only slow.
            2 => self.clients[at].is_silent = false,
            3 => self.leave(at),
            4 => self.clients[at].be_reborn(at),
            5 | 6 => {
                if self.random.one_in(2) {
                    self.leave(at);
                }
                self.clients[at].is_modern ^= true;
                self.clients[at].be_reborn(at);
            }
            7 if self.clients[at].is_silent => self.clients[at].be_reborn(at),
            8 if self.random.one_in(2) => {
                let waits = self.world.log.batches.len() - self.world.log.durable;
                let survive = self.random.below(waits as u64 + 1) as usize;
                self.world.log.refuses = None;
                self.world.crash(survive);
            }
            9 => {
                self.world.log.refuses = self.random.one_in(3).then_some(ErrorCode::NotCoordinator);
            }
            10..13 => self.world.log.refuses = None,
            13 => {
                let ms = self.random.below(20_000);
                self.world.pass(ms);
            }
            _ => {}
        }
    }

    fn turn(&mut self) {
        let at = self.random.below(CLIENTS as u64) as usize;
        if !self.calm {
            self.trouble(at);
        }
        if self.calm || self.random.one_in(3) {
            self.flush();
        }
        if !self.clients[at].is_silent {
            if self.clients[at].is_modern {
                self.modern_turn(at);
            } else {
                self.classic_turn(at);
            }
        }
        self.check();
        let pause_ms = self.random.below(if self.calm { 300 } else { 900 });
        self.world.pass(pause_ms);
        self.check();
    }

    fn check(&mut self) {
        let is_consumer = self.world.shard.consumer_group("g").is_some();
        self.changes += usize::from(is_consumer != self.was_consumer);
        self.was_consumer = is_consumer;
        if is_consumer {
            self.check_consumer_group();
        } else {
            self.check_classic_group();
        }
    }

    fn check_consumer_group(&self) {
        let Some(group) = self.world.shard.consumer_group("g") else {
            return;
        };
        let mut owners = BTreeMap::new();
        for member in group.members() {
            let current = &member.current;
            for one in current.assigned.iter().chain(current.revoking.iter()) {
                let other = owners.insert(one, member.id.to_string());
                assert_eq!(other, None, "{one:?} has two owners, one is {}", member.id);
            }
        }
        for client in &self.clients {
            let committer = client.committer();
            let Some(member) = group.member(&committer.id) else {
                continue;
            };
            // A member of the classic protocol that missed a generation is told so before anything else.
            if !client.is_modern && member.current.epoch != committer.generation {
                continue;
            }
            for partition in client.positions.keys() {
                let owner = owners.get(&(topic_id(0), *partition));
                assert_eq!(
                    owner,
                    Some(&committer.id),
                    "{} believes to own {partition}",
                    committer.id
                );
            }
        }
        let others = group
            .members()
            .any(|member| member.details.classic.is_none());
        assert!(
            others || group.members().len() == 0,
            "members of the classic protocol are among themselves in a consumer group"
        );
    }

    fn check_classic_group(&self) {
        let Some(group) = self.world.shard.classic_group("g") else {
            return;
        };
        let mut owners: BTreeMap<i32, &str> = BTreeMap::new();
        for client in &self.clients {
            let is_in = group
                .members()
                .any(|member| *member.id == *client.member.id);
            if client.is_modern || !is_in || client.member.generation != group.generation() {
                continue;
            }
            for partition in client.positions.keys() {
                let other = owners.insert(*partition, &client.member.id);
                assert_eq!(
                    other,
                    None,
                    "{partition} has two owners in generation {}, one is {}",
                    group.generation(),
                    client.member.id
                );
            }
        }
    }

    /// No more trouble: everybody who lives gets a place, or the history fails.
    fn settle(&mut self) {
        self.calm = true;
        self.world.log.refuses = None;
        if self.random.one_in(3) {
            self.world.crash(0);
        }
        if self.clients.iter().all(|client| client.is_silent) {
            self.clients[0].be_reborn(0);
        }
        // Those who are silent are out when their sessions have ended.
        for _ in 0..4_000 {
            self.turn();
            if self.is_settled() {
                return;
            }
        }
        let group = self.world.shard.consumer_group("g");
        panic!("somebody is stuck: {:#?}\n{group:#?}", self.clients);
    }

    fn is_settled(&self) -> bool {
        let living: Vec<&Client> = self
            .clients
            .iter()
            .filter(|client| !client.is_silent)
            .collect();
        let mut owned: Vec<i32> = living
            .iter()
            .flat_map(|client| client.positions.keys().copied())
            .collect();
        owned.sort_unstable();
        let all_in = living.iter().all(|client| {
            if client.is_modern {
                client.consumer.epoch > 0
            } else {
                client.phase == Phase::Owning
            }
        });
        let members = match self.world.shard.consumer_group("g") {
            Some(group) if group.state().name() == "Stable" => group.members().len(),
            Some(_) => return false,
            None => self
                .world
                .shard
                .classic_group("g")
                .map_or(0, |group| group.members().count()),
        };
        all_in && members == living.len() && owned == (0..PARTITIONS).collect::<Vec<_>>()
    }

    fn end(mut self) {
        for (partition, acknowledged) in &self.acknowledged {
            assert!(self.world.fetched("t", *partition) >= *acknowledged);
        }
        for at in 0..CLIENTS {
            self.leave(at);
        }
        // Those who fell silent on the way.
        self.world.pass(400_000);
        self.world.step(|shard, step| {
            let _ = shard.delete_group(step, "g");
        });
        assert_eq!(self.world.shard.groups_count(), 0);
        assert_eq!(self.world.budget.used_bytes(), 0);
        assert_eq!(self.world.shard.next_alarm_ms(), None);
    }
}

#[test]
fn whatever_protocols_members_speak_nobody_shares_loses_or_gets_stuck() {
    let histories = std::env::var("CORELANE_GROUP_HISTORIES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(HISTORIES);
    let mut changes = 0;
    for seed in 0..histories {
        let outcome = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            for _ in 0..STEPS {
                history.turn();
            }
            history.settle();
            let changes = history.changes;
            history.end();
            changes
        });
        assert!(
            outcome.is_ok(),
            "history {seed} failed; the reason is above"
        );
        changes += outcome.unwrap_or(0);
    }
    assert!(
        changes as u64 > 2 * histories,
        "only {changes} changes of the group's kind"
    );
}
