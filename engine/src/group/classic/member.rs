//! One member of a classic group.

use std::rc::Rc;

use bytes::Bytes;
use kafka_wire::join_group_request::JoinGroupRequestProtocol;

use crate::group::budget::Charge;
use crate::group::step::ReplyId;
use crate::group::timers::Alarm;

/// What a member costs besides its texts and bytes.
const MEMBER_BYTES: usize = 512;

/// Whose request it is.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// What it calls itself.
    pub id: String,
    /// Where it is, as Kafka writes it: a slash and the address.
    pub host: String,
}

/// A protocol that a member offers, with what it says in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The protocol's name.
    pub name: Box<str>,
    /// For the leader; opaque.
    pub metadata: Bytes,
}

/// A member. Its alarm is in the queue of its shard: it goes by `ClassicGroup::remove_member` only.
#[derive(Debug)]
pub struct Member {
    /// Its id.
    pub id: Rc<str>,
    /// The id that a static member keeps over restarts.
    pub instance_id: Option<Rc<str>>,
    /// Its client.
    pub client: Client,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it offers, best first.
    pub protocols: Vec<Protocol>,
    /// What it was given; opaque.
    pub assignment: Bytes,
    /// Its `JoinGroup`, while that waits.
    pub join: Option<ReplyId>,
    /// Its `SyncGroup`, while that waits.
    pub sync: Option<ReplyId>,
    /// It does not know its id yet, so it cannot show that it lives.
    pub is_new: bool,
    /// When it must have shown a sign of life.
    pub session: Alarm,
    /// What it costs.
    pub charge: Charge,
}

impl Member {
    /// The bytes that a member with these protocols and this assignment is charged with.
    pub fn size_bytes(
        id: &str,
        client: &Client,
        protocols: &[Protocol],
        assignment: usize,
    ) -> usize {
        let protocols: usize = protocols
            .iter()
            .map(|protocol| protocol.name.len() + protocol.metadata.len() + 64)
            .sum();
        MEMBER_BYTES + 2 * id.len() + client.id.len() + client.host.len() + protocols + assignment
    }

    /// What it says in a protocol.
    pub fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols
            .iter()
            .find(|offered| &*offered.name == protocol)
            .map(|offered| &offered.metadata)
    }

    /// Whether it offers just this.
    pub fn offers(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        self.protocols.len() == protocols.len()
            && self
                .protocols
                .iter()
                .zip(protocols)
                .all(|(own, other)| *own.name == *other.name && own.metadata == other.metadata)
    }

    /// Whether it waits for the others to join.
    pub fn is_joining(&self) -> bool {
        self.join.is_some()
    }
}

/// Copies the protocols of a request, so that they do not keep its bytes.
pub(super) fn protocols_of(requested: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    requested
        .iter()
        .map(|protocol| Protocol {
            name: protocol.name.as_str().into(),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        })
        .collect()
}
