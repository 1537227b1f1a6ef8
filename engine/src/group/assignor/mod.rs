//! The server's assignors: from who wants what and has what, to who is to have what.
//!
//! Both give every partition of every subscribed topic to exactly one of those who want it. They depend on nothing but
//! their input, so the same group gets the same assignment again.

mod balance;
mod range;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use corelane_format::ids::TopicId;

use super::topic_partitions::TopicPartitions;

/// An assignor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Everybody gets as many partitions as possible, and keeps what it has.
    Uniform,
    /// Of each topic everybody gets a range; of topics of as many partitions that the same members want, the same range.
    Range,
}

/// The names of all assignors.
pub const ASSIGNORS: &[&str] = &["uniform", "range"];

impl Assignor {
    /// The assignor of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What each member is to have, in the order of the members.
    pub fn assign(self, group: &GroupSpec<'_>) -> Vec<TopicPartitions> {
        match self {
            Self::Uniform => uniform::assign(group),
            Self::Range => range::assign(group),
        }
    }
}

/// A group as assignors see it.
#[derive(Clone, Debug, Default)]
pub struct GroupSpec<'a> {
    /// How many partitions each topic has that anybody wants.
    pub topics: BTreeMap<TopicId, i32>,
    /// Its members.
    pub members: Vec<MemberSpec<'a>>,
}

/// A member as assignors see it.
#[derive(Clone, Debug)]
pub struct MemberSpec<'a> {
    /// Its id.
    pub id: &'a str,
    /// The id that a static member keeps.
    pub instance_id: Option<&'a str>,
    /// What it wants, of the group's topics. Members that want the same share it.
    pub subscription: Rc<BTreeSet<TopicId>>,
    /// What it is to have so far.
    pub target: &'a TopicPartitions,
}

impl GroupSpec<'_> {
    /// Whether all want the same.
    fn is_homogeneous(&self) -> bool {
        self.members.windows(2).all(|pair| match pair {
            [left, right] => {
                Rc::ptr_eq(&left.subscription, &right.subscription)
                    || left.subscription == right.subscription
            }
            _ => true,
        })
    }

    /// Whether a member wants the partition and there is such a one.
    fn wants(&self, member: &MemberSpec<'_>, topic: TopicId, partition: i32) -> bool {
        member.subscription.contains(&topic)
            && self
                .topics
                .get(&topic)
                .is_some_and(|count| (0..*count).contains(&partition))
    }
}
