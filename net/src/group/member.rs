//! What a member of a group does next.
//!
//! ```text
//! Out ──Join──► Assigning ──assign──► Syncing ──Sync──► Starting ──begun──► Stable
//!  ▲               (leader only; others go on to Syncing)                     │ rebalance, or membership lost
//!  └──────────────── released ◄──────────── Releasing ◄───────────────────────┘
//! ```
//!
//! [`Member::todo`] names one thing; the shell does it and reports with the function named there. Nothing changes by asking
//! again. Where the coordinator is, is a matter of its own: it may have to be found anew in any state.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_wire::{JoinGroupResponse, SyncGroupResponse};

use super::assignor::{self, Subscriber};
use super::payload::{self, Assignment};
use crate::error_code::ErrorCode;

/// How a member takes part. Times are whole milliseconds on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberConfig {
    /// The group's id.
    pub group: String,
    /// A name that outlasts this member: whoever comes back with it within the session gets the same partitions.
    pub instance_id: Option<String>,
    /// The topics it reads.
    pub topics: Vec<String>,
    /// How long it may be silent before its partitions go to others.
    pub session_timeout: Duration,
    /// How long it may take to give up its partitions and join again.
    pub rebalance_timeout: Duration,
    /// How often it shows that it is alive.
    pub heartbeat_interval: Duration,
    /// How long it waits before it tries again what may work later.
    pub retry_pause: Duration,
}

impl MemberConfig {
    /// Kafka's clients' own times: a session of 45 s, a heartbeat every 3 s; a minute for a rebalance.
    pub fn new(group: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            group: group.into(),
            instance_id: None,
            topics,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_mins(1),
            heartbeat_interval: Duration::from_secs(3),
            retry_pause: Duration::from_millis(100),
        }
    }
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Find the coordinator: [`Member::coordinator_found`] or [`Member::refused`].
    FindCoordinator,
    /// Send [`Member::join_request`]: [`Member::joined`].
    Join,
    /// Decide for all: [`Member::assign`], with how many partitions each of [`Member::topics_of_all`] has.
    Assign,
    /// Send [`Member::sync_request`]: [`Member::synced`].
    Sync,
    /// Start to read what [`Member::assignment`] holds: [`Member::begun`].
    Begin,
    /// Send [`Member::heartbeat_request`]: [`Member::heartbeat_answered`].
    Heartbeat,
    /// Stop reading, commit what was processed unless the membership is `lost`: [`Member::released`].
    Release {
        /// Others own the partitions already: a commit would be refused.
        lost: bool,
    },
    /// Send [`Member::leave_request`]: [`Member::left`], whatever comes of it.
    Leave,
    /// Nothing before this time.
    Wait {
        /// In the milliseconds of whoever tells the time.
        until_ms: u64,
    },
    /// It is over: the member has left, or the coordinator will not have it.
    End {
        /// Why it will not.
        refusal: Option<ErrorCode>,
    },
}

/// What has become of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is durable.
    Done,
    /// It may succeed later.
    Later,
    /// The membership is over; whoever owns the partitions now goes on from the last commit that is done.
    Lost,
    /// It never will succeed.
    Refused(ErrorCode),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Out,
    Assigning { members: Vec<Subscriber> },
    Syncing,
    Starting,
    Stable,
    Releasing { lost: bool },
    Over { refusal: Option<ErrorCode> },
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct Member {
    pub(super) config: MemberConfig,
    pub(super) id: String,
    pub(super) generation: i32,
    pub(super) protocol: Option<String>,
    pub(super) assignments: Vec<(String, Vec<u8>)>,
    phase: Phase,
    has_coordinator: bool,
    is_stopping: bool,
    not_before_ms: u64,
    heartbeat_due_ms: u64,
    assignment: Assignment,
    /// The partitions that this member as the leader has given out.
    given_out: Option<BTreeMap<String, i32>>,
}

/// No generation: what a member has that is none.
const NO_GENERATION: i32 = -1;

impl Member {
    /// Somebody who wants to become a member.
    pub fn new(config: MemberConfig) -> Self {
        Self {
            config,
            id: String::new(),
            generation: NO_GENERATION,
            protocol: None,
            assignments: Vec::new(),
            phase: Phase::Out,
            has_coordinator: false,
            is_stopping: false,
            not_before_ms: 0,
            heartbeat_due_ms: 0,
            assignment: Assignment::new(),
            given_out: None,
        }
    }

    /// How it takes part.
    pub fn config(&self) -> &MemberConfig {
        &self.config
    }

    /// The id that the coordinator gave it; empty before.
    pub fn member_id(&self) -> &str {
        &self.id
    }

    /// The generation it is in, -1 for none.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// What it owns in this generation; nothing when it has to give that up or lost it.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Whether it decides for all in this generation.
    pub fn is_leader(&self) -> bool {
        self.given_out.is_some() || matches!(self.phase, Phase::Assigning { .. })
    }

    /// What is to be done at `now_ms`, a monotonic time of the caller's choice.
    pub fn todo(&self, now_ms: u64) -> Todo {
        // What needs no coordinator is not held up by one that is gone.
        match &self.phase {
            Phase::Over { refusal } => return Todo::End { refusal: *refusal },
            Phase::Releasing { lost } => return Todo::Release { lost: *lost },
            Phase::Starting => return Todo::Begin,
            Phase::Out if self.is_stopping && !self.has_to_leave() => {
                return Todo::End { refusal: None };
            }
            _ => {}
        }
        if now_ms < self.not_before_ms {
            return Todo::Wait {
                until_ms: self.not_before_ms,
            };
        }
        if !self.has_coordinator {
            return Todo::FindCoordinator;
        }
        match &self.phase {
            Phase::Out if self.is_stopping => Todo::Leave,
            Phase::Assigning { .. } => Todo::Assign,
            Phase::Syncing => Todo::Sync,
            Phase::Stable if now_ms >= self.heartbeat_due_ms => Todo::Heartbeat,
            Phase::Stable => Todo::Wait {
                until_ms: self.heartbeat_due_ms,
            },
            _ => Todo::Join,
        }
    }

    /// A member with a lasting name stays: its session is what gives it the time to come back.
    fn has_to_leave(&self) -> bool {
        !self.id.is_empty() && self.config.instance_id.is_none()
    }

    /// From now on it gives up what it has and leaves.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        match self.phase {
            Phase::Starting | Phase::Stable => self.release(false),
            Phase::Assigning { .. } | Phase::Syncing => self.go_out(),
            Phase::Out | Phase::Releasing { .. } | Phase::Over { .. } => {}
        }
    }

    /// The coordinator is known.
    pub fn coordinator_found(&mut self) {
        self.has_coordinator = true;
    }

    /// Nobody could tell the coordinator, for this reason.
    pub fn refused(&mut self, code: ErrorCode, now_ms: u64) {
        self.disconnected(now_ms);
        if !code.is_retriable() {
            self.end(code);
        }
    }

    /// The coordinator does not answer any more. The membership may outlast that.
    pub fn disconnected(&mut self, now_ms: u64) {
        self.has_coordinator = false;
        self.pause(now_ms);
        // Whether a Sync arrived is not known; joining again is right in either case.
        if matches!(self.phase, Phase::Assigning { .. } | Phase::Syncing) {
            self.go_out();
        }
    }

    /// The answer to a JoinGroup.
    pub fn joined(&mut self, response: &JoinGroupResponse, now_ms: u64) {
        let code = ErrorCode::from_wire(response.error_code);
        match code {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                self.id = response.member_id.to_string();
                return;
            }
            ErrorCode::RebalanceInProgress => return self.pause(now_ms),
            _ => return self.turned_down(code, now_ms),
        }
        self.id = response.member_id.to_string();
        self.generation = response.generation_id;
        self.protocol = response.protocol_name.as_deref().map(str::to_owned);
        self.given_out = None;
        self.assignments.clear();
        if self.is_stopping {
            return;
        }
        let leads = response.leader == response.member_id;
        self.phase = if leads && !response.skip_assignment {
            let members = response.members.iter().map(|member| Subscriber {
                member_id: member.member_id.to_string(),
                instance_id: member.group_instance_id.as_deref().map(str::to_owned),
                // What cannot be read subscribes to nothing: one bad member does not stop the others.
                topics: payload::decode_subscription(&member.metadata).unwrap_or_default(),
            });
            Phase::Assigning {
                members: members.collect(),
            }
        } else {
            Phase::Syncing
        };
    }

    /// The topics that any member reads, where this one decides for all; each once.
    pub fn topics_of_all(&self) -> Vec<String> {
        let Phase::Assigning { members } = &self.phase else {
            return Vec::new();
        };
        let topics = members.iter().flat_map(|member| &member.topics).cloned();
        let once: std::collections::BTreeSet<String> = topics.collect();
        once.into_iter().collect()
    }

    /// Decides for all. Topics that are not in `partition_counts` are given to nobody.
    pub fn assign(&mut self, partition_counts: &BTreeMap<String, i32>) {
        let Phase::Assigning { members } = &self.phase else {
            return;
        };
        let assigned = assignor::range(members, partition_counts);
        self.given_out = Some(partition_counts.clone());
        self.assignments = assigned
            .into_iter()
            .map(|(member, assignment)| (member, payload::encode_assignment(&assignment)))
            .collect();
        self.phase = Phase::Syncing;
    }

    /// How many partitions topics have by now. A leader whose group does not know of some gathers it anew.
    pub fn partitions_seen(&mut self, partition_counts: &BTreeMap<String, i32>) {
        let is_news = self.given_out.as_ref().is_some_and(|given_out| {
            partition_counts
                .iter()
                .any(|(topic, count)| given_out.get(topic) != Some(count))
        });
        if is_news && self.phase == Phase::Stable {
            self.release(false);
        }
    }

    /// The answer to a SyncGroup.
    pub fn synced(&mut self, response: &SyncGroupResponse, now_ms: u64) {
        let code = ErrorCode::from_wire(response.error_code);
        match code {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => return self.go_out(),
            _ => {
                self.go_out();
                return self.turned_down(code, now_ms);
            }
        }
        match payload::decode_assignment(&response.assignment) {
            Ok(assignment) => self.assignment = assignment,
            Err(_) => return self.end(ErrorCode::InconsistentGroupProtocol),
        }
        self.assignments.clear();
        self.heartbeat_due_ms = now_ms + ms(self.config.heartbeat_interval);
        self.phase = Phase::Starting;
        if self.is_stopping {
            self.release(false);
        }
    }

    /// Reading has begun.
    pub fn begun(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Stable;
        }
    }

    /// A heartbeat is on its way: the next one is due an interval later, whenever the answer comes.
    pub fn heartbeat_sent(&mut self, now_ms: u64) {
        self.heartbeat_due_ms = now_ms + ms(self.config.heartbeat_interval);
    }

    /// The answer to a heartbeat.
    pub fn heartbeat_answered(&mut self, code: ErrorCode, now_ms: u64) {
        self.told(code, now_ms);
    }

    /// The answer to a commit: the worst of its partitions' codes.
    pub fn commit_answered(&mut self, code: ErrorCode, now_ms: u64) -> Committed {
        match code {
            ErrorCode::None => return Committed::Done,
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::UnknownMemberId
            | ErrorCode::FencedInstanceId => {
                self.told(code, now_ms);
                // A generation that is being replaced takes no commits any more.
                return Committed::Lost;
            }
            _ => {}
        }
        if code.is_retriable() {
            self.told(code, now_ms);
            return Committed::Later;
        }
        Committed::Refused(code)
    }

    /// The partitions are given up.
    pub fn released(&mut self) {
        if matches!(self.phase, Phase::Releasing { .. }) {
            self.go_out();
        }
    }

    /// It has left, or has done what it could to.
    pub fn left(&mut self) {
        self.id.clear();
        self.generation = NO_GENERATION;
        self.phase = Phase::Over { refusal: None };
    }

    /// What the coordinator says to a member that owns something.
    fn told(&mut self, code: ErrorCode, now_ms: u64) {
        match code {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => self.release(false),
            ErrorCode::IllegalGeneration => self.release(true),
            ErrorCode::UnknownMemberId => {
                self.id.clear();
                self.release(true);
            }
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => {
                self.disconnected(now_ms);
            }
            code if code.is_retriable() => self.pause(now_ms),
            code => self.end(code),
        }
    }

    /// What the coordinator says to somebody who wants to take part.
    fn turned_down(&mut self, code: ErrorCode, now_ms: u64) {
        match code {
            ErrorCode::UnknownMemberId => self.id.clear(),
            ErrorCode::IllegalGeneration => {}
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => {
                self.disconnected(now_ms);
            }
            code if code.is_retriable() => self.pause(now_ms),
            code => self.end(code),
        }
    }

    fn release(&mut self, lost: bool) {
        match &mut self.phase {
            Phase::Starting | Phase::Stable => self.phase = Phase::Releasing { lost },
            Phase::Releasing { lost: before } => *before |= lost,
            _ => {}
        }
    }

    fn go_out(&mut self) {
        self.generation = NO_GENERATION;
        self.protocol = None;
        self.assignment.clear();
        self.assignments.clear();
        self.given_out = None;
        self.phase = Phase::Out;
    }

    fn end(&mut self, refusal: ErrorCode) {
        self.go_out();
        self.phase = Phase::Over {
            refusal: Some(refusal),
        };
    }

    fn pause(&mut self, now_ms: u64) {
        self.not_before_ms = now_ms + ms(self.config.retry_pause);
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
