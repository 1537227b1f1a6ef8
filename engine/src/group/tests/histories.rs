//! Random histories: members that join, work, fall silent, leave and come back, requests and answers that get lost, and a
//! coordinator that crashes with part of its log. Whatever happens:
//! - no partition has two owners in one generation;
//! - no offset that was acknowledged is lost or goes back;
//! - when the trouble is over, everybody who lives has a place, and every partition an owner.
//!
//! The members are real as far as it goes: the leader assigns, each starts from the committed offset and commits further.

use std::collections::{BTreeMap, HashMap};

use corelane_net::error_code::ErrorCode;
use kafka_wire::OffsetCommitRequest;

use super::commits::commit_as;
use super::world::{Member, Told, World, assignment, join_request, protocol};
use crate::group::step::ReplyId;

const PARTITIONS: i32 = 4;
const CLIENTS: usize = 5;
/// Histories in an ordinary run; more by `CORELANE_GROUP_HISTORIES`.
const HISTORIES: u64 = 2_000;
const STEPS: usize = 400;

/// xorshift64*.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[derive(Debug)]
enum Phase {
    Out,
    Joining(ReplyId),
    Syncing(ReplyId),
    Owning,
    /// It shows that it lives, and does nothing else: it does not join again when it is called.
    Busy,
    /// It does nothing any more, and tells nobody.
    Silent,
}

struct Client {
    instance_id: Option<String>,
    member_id: String,
    member: Option<Member>,
    phase: Phase,
    /// What it owns, and where it is.
    positions: BTreeMap<i32, i64>,
    /// How long it has waited for the answer.
    waited: u32,
    takes_part: bool,
    change: u8,
}

impl Client {
    fn reset(&mut self) {
        self.member = None;
        self.member_id.clear();
        self.positions.clear();
        self.phase = Phase::Out;
    }

    fn back_to_join(&mut self, code: ErrorCode) {
        self.positions.clear();
        self.phase = Phase::Out;
        match code {
            ErrorCode::UnknownMemberId => self.reset(),
            ErrorCode::FencedInstanceId => {
                self.reset();
                self.takes_part = false;
                self.phase = Phase::Silent;
            }
            _ => {}
        }
    }
}

struct History {
    world: World,
    clients: Vec<Client>,
    random: Random,
    /// Owners by generation and partition: the member, or the instance.
    owners: HashMap<(i32, i32), String>,
    acknowledged: BTreeMap<i32, i64>,
    /// Commits that are still on their way when their sender has gone on to something else.
    delayed: Vec<OffsetCommitRequest>,
    calm: bool,
    /// One that is not there any more when the trouble is over.
    missing: Option<usize>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random::of(seed);
        let statics = random.below(3) as usize;
        let clients = (0..CLIENTS)
            .map(|index| Client {
                instance_id: (index < statics).then(|| format!("i{index}")),
                member_id: String::new(),
                member: None,
                phase: Phase::Out,
                positions: BTreeMap::new(),
                waited: 0,
                takes_part: true,
                change: 0,
            })
            .collect();
        let mut world = World::new();
        world.flushes_at_once = false;
        Self {
            world,
            clients,
            random,
            owners: HashMap::new(),
            acknowledged: BTreeMap::new(),
            delayed: Vec::new(),
            calm: false,
            missing: None,
        }
    }

    fn is_lost(&mut self) -> bool {
        !self.calm && self.random.one_in(12)
    }

    fn send_join(&mut self, index: usize) {
        let client = &self.clients[index];
        let mut request = join_request(&client.member_id);
        request.group_instance_id = client.instance_id.as_deref().map(Into::into);
        request.protocols = vec![
            protocol("range", super::world::SUBSCRIPTION),
            protocol("other", &[client.change]),
        ];
        let version = [3, 5, 9][self.random.below(3) as usize];
        let reply = self.world.join_in(&request, version);
        let client = &mut self.clients[index];
        client.phase = Phase::Joining(reply);
        client.waited = 0;
        client.positions.clear();
    }

    fn hear(&mut self, index: usize) {
        let (Phase::Joining(reply) | Phase::Syncing(reply)) = self.clients[index].phase else {
            return;
        };
        let Some(told) = self.world.told(reply) else {
            self.clients[index].waited += 1;
            if self.clients[index].waited > 150 {
                // Its connection has broken; it tries again with what it knows.
                self.clients[index].phase = Phase::Out;
            }
            return;
        };
        if self.is_lost() {
            self.clients[index].phase = Phase::Out;
            return;
        }
        match told {
            Told::Join(response) => {
                let code = ErrorCode::from_wire(response.error_code);
                match code {
                    ErrorCode::None => self.joined(index, &response),
                    ErrorCode::MemberIdRequired => {
                        let client = &mut self.clients[index];
                        client.member_id = response.member_id.to_string();
                        client.phase = Phase::Out;
                    }
                    other => self.clients[index].back_to_join(other),
                }
            }
            Told::Sync(response) => match ErrorCode::from_wire(response.error_code) {
                ErrorCode::None => self.synced(index, &response.assignment),
                other => self.clients[index].back_to_join(other),
            },
        }
    }

    fn joined(&mut self, index: usize, response: &kafka_wire::JoinGroupResponse) {
        let request = {
            let client = &self.clients[index];
            let mut request = join_request(&client.member_id);
            request.group_instance_id = client.instance_id.as_deref().map(Into::into);
            request
        };
        let member = Member::of(response, &request);
        let mut given = Vec::new();
        if member.leads && !response.skip_assignment {
            let mut ids: Vec<&str> = response.members.iter().map(|one| &*one.member_id).collect();
            ids.sort_unstable();
            for (place, id) in ids.iter().enumerate() {
                let owned: Vec<u8> = (0..PARTITIONS)
                    .filter(|partition| *partition as usize % ids.len() == place)
                    .map(|partition| partition as u8)
                    .collect();
                given.push(assignment(id, &owned));
            }
        }
        self.clients[index].member_id = member.id.clone();
        self.clients[index].member = Some(member.clone());
        if self.is_lost() {
            self.clients[index].phase = Phase::Out;
            return;
        }
        let reply = self.world.sync(&member.sync(given));
        self.clients[index].phase = Phase::Syncing(reply);
        self.clients[index].waited = 0;
    }

    fn synced(&mut self, index: usize, owned: &[u8]) {
        let Some(member) = self.clients[index].member.clone() else {
            return;
        };
        let owner = member.instance_id.clone().unwrap_or(member.id);
        self.clients[index].phase = Phase::Owning;
        for partition in owned.iter().map(|one| i32::from(*one)) {
            let before = self
                .owners
                .insert((member.generation, partition), owner.clone());
            assert!(
                before.as_ref().is_none_or(|before| *before == owner),
                "partition {partition} of generation {} belongs to {before:?} and {owner}",
                member.generation
            );
            let fetched = self.world.fetched("t", partition);
            let acknowledged = self.acknowledged.get(&partition).copied().unwrap_or(-1);
            assert!(
                fetched >= acknowledged,
                "partition {partition}: offset {acknowledged} was acknowledged, {fetched} is fetched"
            );
            self.clients[index]
                .positions
                .insert(partition, fetched.max(0));
        }
    }

    fn work(&mut self, index: usize) {
        let Some(member) = self.clients[index].member.clone() else {
            return;
        };
        if self.is_lost() {
            return;
        }
        let code = match self.random.below(3) {
            0 => self.commit(index, &member),
            _ => self.world.heartbeat(&member),
        };
        if self.is_lost() {
            return;
        }
        if code != ErrorCode::None {
            self.clients[index].back_to_join(code);
        }
    }

    fn stay_alive(&mut self, index: usize) {
        let code = match self.clients[index].member.clone() {
            Some(member) => self.world.heartbeat(&member),
            None => ErrorCode::UnknownMemberId,
        };
        if !matches!(code, ErrorCode::None | ErrorCode::RebalanceInProgress)
            && self.missing != Some(index)
        {
            self.clients[index].back_to_join(code);
        }
    }

    fn commit(&mut self, index: usize, member: &Member) -> ErrorCode {
        let advance = i64::try_from(self.random.below(5)).unwrap() + 1;
        let count = self.clients[index].positions.len() as u64;
        let chosen = self.random.below(count.max(1)) as usize;
        let Some((partition, position)) = self.clients[index].positions.iter_mut().nth(chosen)
        else {
            return self.world.heartbeat(member);
        };
        *position += advance;
        let (partition, position) = (*partition, *position);
        if !self.calm && self.random.one_in(8) {
            self.delayed
                .push(commit_as(member, "t", &[(partition, position)]));
            // Its sender commits no more in this generation, so that nothing overtakes it there.
            self.clients[index].change = self.clients[index].change.wrapping_add(1);
            self.clients[index].phase = match self.random.below(3) {
                0 => Phase::Silent,
                1 => Phase::Busy,
                _ => Phase::Out,
            };
            return ErrorCode::None;
        }
        let code = self
            .world
            .commit(&commit_as(member, "t", &[(partition, position)]))[0];
        if code == ErrorCode::None {
            // It counts as acknowledged only once it is durable: make it so, or have the answer get lost in a crash.
            if self.random.one_in(2) {
                let end = self.world.log.batches.len();
                self.world.flush(end);
                let acknowledged = self.acknowledged.entry(partition).or_insert(-1);
                assert!(
                    position >= *acknowledged,
                    "partition {partition} went back from {acknowledged} to {position}"
                );
                *acknowledged = position;
            }
        }
        code
    }

    fn trouble(&mut self, index: usize) {
        match self.random.below(60) {
            0 => self.clients[index].phase = Phase::Silent,
            1 => {
                // It starts anew and remembers nothing; a static member has its instance id.
                self.clients[index].reset();
            }
            2 => {
                if let Some(member) = self.clients[index].member.clone() {
                    self.leave(&member);
                    self.clients[index].reset();
                }
            }
            3 => {
                self.clients[index].change = self.clients[index].change.wrapping_add(1);
                if matches!(self.clients[index].phase, Phase::Owning) {
                    self.clients[index].phase = Phase::Out;
                }
            }
            4 if self.random.one_in(2) => {
                let survive = self.random.below(4) as usize;
                self.world.crash(survive);
            }
            5 => self.world.log.refuses = Some(ErrorCode::NotCoordinator),
            6..10 => self.world.log.refuses = None,
            _ => {}
        }
    }

    fn leave(&mut self, member: &Member) {
        let mut identity = kafka_wire::leave_group_request::MemberIdentity::default();
        identity.member_id = member.id.as_str().into();
        let mut request = kafka_wire::LeaveGroupRequest::default();
        request.group_id = "g".into();
        request.members = vec![identity];
        self.world
            .step_in(|shard, step, image| shard.leave(step, &request, 5, image));
    }

    fn deliver_delayed(&mut self) {
        if self.delayed.is_empty() || !self.random.one_in(40) {
            return;
        }
        let at = self.random.below(self.delayed.len() as u64) as usize;
        let request = self.delayed.swap_remove(at);
        self.world.commit(&request);
    }

    fn turn(&mut self) {
        self.deliver_delayed();
        let index = self.random.below(CLIENTS as u64) as usize;
        if !self.calm {
            self.trouble(index);
        }
        if self.calm || self.random.one_in(3) {
            let end = self.world.log.batches.len();
            self.world.flush(end);
        }
        self.hear(index);
        match self.clients[index].phase {
            Phase::Out if self.clients[index].takes_part => self.send_join(index),
            Phase::Owning => self.work(index),
            Phase::Busy => self.stay_alive(index),
            _ => {}
        }
        let pause_ms = self.random.below(if self.calm { 300 } else { 900 });
        self.world.pass(pause_ms);
    }

    /// No more trouble: everybody gets a place, or the history fails.
    fn settle(&mut self) {
        self.calm = true;
        self.world.log.refuses = None;
        if self.random.one_in(3) {
            self.world.crash(0);
        }
        self.missing = match self.random.below(CLIENTS as u64 * 2) as usize {
            index if index < CLIENTS => Some(index),
            _ => None,
        };
        for (index, client) in self.clients.iter_mut().enumerate() {
            if self.missing == Some(index) {
                client.takes_part = false;
                client.positions.clear();
                client.phase = if index % 2 == 0 {
                    Phase::Silent
                } else {
                    Phase::Busy
                };
                continue;
            }
            client.takes_part = true;
            if matches!(client.phase, Phase::Silent | Phase::Busy) {
                client.reset();
            }
        }
        for _ in 0..4_000 {
            self.turn();
            if self.is_settled() {
                return;
            }
        }
        let phases: Vec<_> = self.clients.iter().map(|client| &client.phase).collect();
        panic!("somebody is stuck: {phases:?}");
    }

    fn is_settled(&self) -> bool {
        let present = || {
            let clients = self.clients.iter().enumerate();
            clients
                .filter(|(index, _)| self.missing != Some(*index))
                .map(|(_, client)| client)
        };
        let generation = present()
            .next()
            .and_then(|client| client.member.as_ref())
            .map(|member| member.generation);
        let mut owned: Vec<i32> = Vec::new();
        for client in present() {
            if !matches!(client.phase, Phase::Owning)
                || client.member.as_ref().map(|member| member.generation) != generation
            {
                return false;
            }
            owned.extend(client.positions.keys());
        }
        if self
            .missing
            .is_some_and(|index| matches!(self.clients[index].phase, Phase::Busy))
        {
            // It may be a member for ever, and own what it does not work on.
            return true;
        }
        owned.sort_unstable();
        owned == (0..PARTITIONS).collect::<Vec<_>>()
    }
}

#[test]
fn whatever_happens_nobody_shares_loses_or_gets_stuck() {
    let histories = std::env::var("CORELANE_GROUP_HISTORIES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(HISTORIES);
    for seed in 1..=histories {
        let run = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            for _ in 0..STEPS {
                history.turn();
            }
            history.settle();
            for (partition, acknowledged) in &history.acknowledged {
                assert!(history.world.fetched("t", *partition) >= *acknowledged);
            }
        });
        assert!(run.is_ok(), "history {seed} failed; the reason is above");
    }
}
