//! `uniform`: as even as the subscriptions let it be, with as few moves as possible.

use std::collections::HashSet;

use corelane_format::ids::TopicId;

use super::balance::balance;
use super::{GroupSpec, TopicPartitions};

pub(super) fn assign(group: &GroupSpec<'_>) -> Vec<TopicPartitions> {
    if group.members.is_empty() {
        return Vec::new();
    }
    if group.is_homogeneous() {
        evenly(group)
    } else {
        balance(group, &kept(group))
    }
}

/// What the members have that they still want; of what two have, the first one's.
fn kept(group: &GroupSpec<'_>) -> Vec<Vec<(TopicId, i32)>> {
    let mut taken = HashSet::new();
    group
        .members
        .iter()
        .map(|member| {
            member
                .target
                .iter()
                .filter(|(topic, partition)| {
                    group.wants(member, *topic, *partition) && taken.insert((*topic, *partition))
                })
                .collect()
        })
        .collect()
}

/// All want the same: nobody has two partitions more than another. Who has too many gives up the last ones; who is below
/// gets what nobody has, in turns, so that a topic's partitions are spread too.
fn evenly(group: &GroupSpec<'_>) -> Vec<TopicPartitions> {
    let members = group.members.len();
    let wanted = group.members.first().map(|member| &member.subscription);
    let all: Vec<(TopicId, i32)> = group
        .topics
        .iter()
        .filter(|(topic, _)| wanted.is_some_and(|wanted| wanted.contains(topic)))
        .flat_map(|(topic, count)| (0..*count).map(|partition| (*topic, partition)))
        .collect();
    let quota = all.len() / members;
    let mut extra = all.len() % members;
    let mut taken = HashSet::with_capacity(all.len());
    let mut counts = Vec::with_capacity(members);
    let mut assigned: Vec<TopicPartitions> = Vec::with_capacity(members);
    for mut kept in kept(group) {
        if kept.len() > quota && extra > 0 {
            extra -= 1;
            kept.truncate(quota + 1);
        } else {
            kept.truncate(quota);
        }
        taken.extend(kept.iter().copied());
        counts.push(kept.len());
        assigned.push(kept.into_iter().collect());
    }
    let mut free = all.into_iter().filter(|one| !taken.contains(one));
    let mut at = 0;
    // One turn after the other: first up to the quota, then the extra ones to those at the quota.
    let mut open: usize = counts
        .iter()
        .map(|count| quota.saturating_sub(*count))
        .sum();
    while open > 0 || extra > 0 {
        let Some((count, set)) = counts.get_mut(at).zip(assigned.get_mut(at)) else {
            break;
        };
        at = (at + 1) % members;
        let limit = if open > 0 { quota } else { quota + 1 };
        if *count >= limit {
            continue;
        }
        let Some((topic, partition)) = free.next() else {
            break;
        };
        set.insert(topic, partition);
        *count += 1;
        if open > 0 {
            open -= 1;
        } else {
            extra -= 1;
        }
    }
    assigned
}
