//! `range`: by ranges of each topic.

use super::{GroupSpec, TopicPartitions};

/// Of each topic the members that want it get ranges in one order, static members first: so the same member gets the same
/// range of each of several topics with as many partitions. A static member that comes back is in its old place.
pub(super) fn assign(group: &GroupSpec<'_>) -> Vec<TopicPartitions> {
    let mut order: Vec<usize> = (0..group.members.len()).collect();
    order.sort_by_key(|at| {
        group
            .members
            .get(*at)
            .map(|member| (member.instance_id.is_none(), member.instance_id, member.id))
    });
    let mut assigned = vec![TopicPartitions::default(); group.members.len()];
    for (topic, count) in &group.topics {
        let takers: Vec<usize> = order
            .iter()
            .copied()
            .filter(|at| {
                group
                    .members
                    .get(*at)
                    .is_some_and(|member| member.subscription.contains(topic))
            })
            .collect();
        let Ok(takers_count) = i32::try_from(takers.len()) else {
            continue;
        };
        if takers_count == 0 {
            continue;
        }
        let (quota, extra) = (count / takers_count, count % takers_count);
        let mut next = 0;
        for (place, at) in (0..).zip(takers) {
            let end = next + quota + i32::from(place < extra);
            if let Some(set) = assigned.get_mut(at) {
                set.extend((next..end).map(|partition| (*topic, partition)));
            }
            next = end;
        }
    }
    assigned
}
