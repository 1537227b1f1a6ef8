//! A member of a consumer group in the classic protocol, as clients are one.
//!
//! Pure: [`Member`] is told the time and the coordinator's answers and says what is to be done next; whoever has the
//! sockets does it ([`crate::client::GroupMember`], or a shell of one's own).
//!
//! # Map
//! - [`member`]: the machine: join, sync, heartbeat, rejoin, leave.
//! - [`requests`]: what a member sends, in every version.
//! - [`payload`]: the bytes that a coordinator passes on unread: subscriptions and assignments.
//! - [`assignor`]: who gets which partitions, where this member has to decide it.
//!
//! # Invariants
//! - The protocol is the eager one: a member that has to join again gives up all its partitions first, so no partition is
//!   read by two members that know of the same generation.
//! - A member that lost its membership commits nothing more for it.
//! - What other members say is bounded by the response that it came in.

pub mod assignor;
pub mod member;
pub mod payload;
pub mod requests;

#[cfg(test)]
mod member_tests;

pub use assignor::Subscriber;
pub use member::{Member, MemberConfig, Todo};
pub use payload::Assignment;
