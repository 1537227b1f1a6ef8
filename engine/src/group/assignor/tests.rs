//! Validity, balance and stickiness of both assignors, over random groups; and tables.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use corelane_format::ids::TopicId;
use proptest::prelude::*;

use super::{Assignor, GroupSpec, MemberSpec};
use crate::group::topic_partitions::TopicPartitions;

fn topic(number: u8) -> TopicId {
    TopicId::new([number + 1; 16])
}

/// A group to be: its topics' partitions, and its members: a name, whether static, and the topics that each wants.
#[derive(Clone, Debug)]
struct Plan {
    topics: Vec<i32>,
    members: BTreeMap<String, (bool, BTreeSet<u8>)>,
}

type Assignment = BTreeMap<String, TopicPartitions>;

impl Plan {
    fn assign(&self, assignor: Assignor, before: &Assignment) -> Assignment {
        let nothing = TopicPartitions::default();
        let topics = (0..).zip(&self.topics);
        let group = GroupSpec {
            topics: topics.map(|(at, count)| (topic(at), *count)).collect(),
            members: self
                .members
                .iter()
                .map(|(id, (is_static, wanted))| MemberSpec {
                    id,
                    instance_id: is_static.then_some(id.as_str()),
                    subscription: Rc::new(wanted.iter().map(|at| topic(*at)).collect()),
                    target: before.get(id).unwrap_or(&nothing),
                })
                .collect(),
        };
        let given = assignor.assign(&group);
        assert_eq!(given.len(), self.members.len());
        let assignment = self.members.keys().cloned().zip(given).collect();
        self.check(&assignment);
        assignment
    }

    /// Each partition that anybody wants has one owner, who wants it; there are no others.
    fn check(&self, assignment: &Assignment) {
        let mut owned = BTreeSet::new();
        for (member, set) in assignment {
            let (_, wanted) = &self.members[member];
            for (topic_id, partition) in set.iter() {
                assert!(wanted.iter().any(|at| topic(*at) == topic_id));
                assert!(owned.insert((topic_id, partition)), "two owners");
            }
        }
        let expected: BTreeSet<(TopicId, i32)> = (0..)
            .zip(&self.topics)
            .filter(|(at, _)| self.members.values().any(|(_, wanted)| wanted.contains(at)))
            .flat_map(|(at, count)| (0..*count).map(move |partition| (topic(at), partition)))
            .collect();
        assert_eq!(owned, expected);
    }

    /// No partition can go to somebody who has at least two less.
    fn check_balance(&self, assignment: &Assignment) {
        for (owner, set) in assignment {
            for (topic_id, partition) in set.iter() {
                for (other, (_, wanted)) in &self.members {
                    let wants = wanted.iter().any(|at| topic(*at) == topic_id);
                    assert!(
                        !wants || set.len() < assignment[other].len() + 2,
                        "{partition} of {topic_id} could go from {owner} to {other}: {assignment:?}"
                    );
                }
            }
        }
    }
}

/// How many partitions went from one member to another one, both of which were there before.
fn moves(before: &Assignment, after: &Assignment) -> usize {
    after
        .iter()
        .flat_map(|(member, set)| set.iter().map(move |one| (member, one)))
        .filter(|(member, (topic, partition))| {
            before.iter().any(|(owner, set)| {
                owner != *member && set.contains(*topic, *partition) && after.contains_key(owner)
            })
        })
        .filter(|(member, _)| before.contains_key(*member))
        .count()
}

fn plans(homogeneous: bool) -> impl Strategy<Value = Plan> {
    let topics = prop::collection::vec(1..9_i32, 1..6);
    let members = prop::collection::btree_map("[a-f]{1,2}", any::<(bool, u8)>(), 1..9);
    (topics, members, any::<u8>()).prop_map(move |(topics, members, shared)| {
        let wanted = |bits: u8| -> BTreeSet<u8> {
            (0..topics.len() as u8)
                .filter(|at| bits & (1 << at) != 0)
                .collect()
        };
        let members = members
            .into_iter()
            .map(|(id, (is_static, own))| {
                let bits = if homogeneous { shared } else { own };
                (id, (is_static, wanted(bits)))
            })
            .collect();
        Plan { topics, members }
    })
}

fn total(assignment: &Assignment) -> usize {
    assignment.values().map(TopicPartitions::len).sum()
}

proptest! {
    #[test]
    fn range_gives_ranges(plan in plans(false)) {
        let assignment = plan.assign(Assignor::Range, &Assignment::new());
        for set in assignment.values() {
            for (_, partitions) in set.topics() {
                let first = *partitions.first().unwrap();
                let last = *partitions.last().unwrap();
                prop_assert_eq!(usize::try_from(last - first + 1).unwrap(), partitions.len());
            }
        }
        // Nobody gets two partitions of a topic more than another who wants it.
        for at in 0..plan.topics.len() as u8 {
            let counts: Vec<usize> = plan
                .members
                .iter()
                .filter(|(_, (_, wanted))| wanted.contains(&at))
                .map(|(id, _)| {
                    assignment[id].iter().filter(|(id, _)| *id == topic(at)).count()
                })
                .collect();
            if let (Some(least), Some(most)) = (counts.iter().min(), counts.iter().max()) {
                prop_assert!(most - least <= 1);
            }
        }
    }

    #[test]
    fn range_partitions_topics_of_one_size_alike(plan in plans(true)) {
        let assignment = plan.assign(Assignor::Range, &Assignment::new());
        for set in assignment.values() {
            let by_topic: BTreeMap<TopicId, BTreeSet<i32>> =
                set.topics().map(|(id, partitions)| (id, partitions.clone())).collect();
            for (left, left_count) in (0..).zip(&plan.topics) {
                for (right, right_count) in (0..).zip(&plan.topics) {
                    let wanted = plan.members.values().all(|(_, wanted)| {
                        wanted.contains(&left) && wanted.contains(&right)
                    });
                    if left_count == right_count && wanted {
                        prop_assert_eq!(by_topic.get(&topic(left)), by_topic.get(&topic(right)));
                    }
                }
            }
        }
    }

    #[test]
    fn uniform_is_balanced_and_stays_as_it_is(
        plan in prop_oneof![plans(true), plans(false)],
    ) {
        let first = plan.assign(Assignor::Uniform, &Assignment::new());
        plan.check_balance(&first);
        prop_assert_eq!(&plan.assign(Assignor::Uniform, &first), &first);
    }

    #[test]
    fn uniform_of_equals_differs_by_one_and_moves_as_little_as_that_takes(
        plan in plans(true),
        leaves in any::<prop::sample::Index>(),
        grows in any::<prop::sample::Index>(),
    ) {
        let even = |assignment: &Assignment| {
            let counts: Vec<usize> = assignment.values().map(TopicPartitions::len).collect();
            counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1
        };
        let first = plan.assign(Assignor::Uniform, &Assignment::new());
        prop_assert!(even(&first));
        // Somebody goes: the others keep what they have.
        let mut less = plan.clone();
        let gone = plan.members.keys().nth(leaves.index(plan.members.len())).unwrap();
        less.members.remove(gone);
        if !less.members.is_empty() {
            let after = less.assign(Assignor::Uniform, &first);
            prop_assert!(even(&after));
            prop_assert_eq!(moves(&first, &after), 0);
            for (member, set) in &after {
                prop_assert!(first[member].is_subset(set), "kept");
            }
            // And somebody comes: nothing moves between the others.
            let again = plan.assign(Assignor::Uniform, &after);
            prop_assert!(even(&again));
            prop_assert_eq!(moves(&after, &again), 0);
        }
        // A topic grows: everybody keeps what it has, as far as that is even.
        let mut larger = plan.clone();
        let at = grows.index(larger.topics.len());
        larger.topics[at] += 3;
        let after = larger.assign(Assignor::Uniform, &first);
        prop_assert!(even(&after));
        let added = total(&after) - total(&first);
        prop_assert!(moves(&first, &after) <= added);
    }

    #[test]
    fn uniform_of_unequals_keeps_what_can_stay(
        plan in plans(false),
        leaves in any::<prop::sample::Index>(),
    ) {
        let first = plan.assign(Assignor::Uniform, &Assignment::new());
        let mut less = plan.clone();
        let gone = plan.members.keys().nth(leaves.index(plan.members.len())).unwrap().clone();
        less.members.remove(&gone);
        let after = less.assign(Assignor::Uniform, &first);
        if !less.members.is_empty() {
            less.check_balance(&after);
        }
        // Each partition set free moves at most a chain as long as there are members.
        let freed = first[&gone].len();
        prop_assert!(moves(&first, &after) <= freed * plan.members.len());
    }
}

#[test]
fn range_puts_static_members_first_by_their_instances() {
    let plan = Plan {
        topics: vec![5],
        members: [("a", false), ("b", true), ("c", true)]
            .map(|(id, is_static)| (id.to_owned(), (is_static, BTreeSet::from([0]))))
            .into(),
    };
    let assignment = plan.assign(Assignor::Range, &Assignment::new());
    let counts: Vec<Vec<i32>> = assignment
        .values()
        .map(|set| set.iter().map(|(_, partition)| partition).collect())
        .collect();
    assert_eq!(counts, [vec![4], vec![0, 1], vec![2, 3]]);
}

#[test]
fn uniform_moves_along_a_chain_of_members() {
    // "a" can only take from "b", which then takes from "c".
    let members = [
        ("a", BTreeSet::from([0])),
        ("b", BTreeSet::from([0, 1])),
        ("c", BTreeSet::from([1])),
    ];
    let mut plan = Plan {
        topics: vec![6, 6],
        members: members
            .map(|(id, wanted)| (id.to_owned(), (false, wanted)))
            .into(),
    };
    let first = plan.assign(Assignor::Uniform, &Assignment::new());
    plan.check_balance(&first);
    plan.topics = vec![6, 30];
    let after = plan.assign(Assignor::Uniform, &first);
    plan.check_balance(&after);
    let counts: Vec<usize> = after.values().map(TopicPartitions::len).collect();
    assert_eq!(counts, [6, 15, 15]);
}
