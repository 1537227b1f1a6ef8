//! `uniform` where members want different topics.
//!
//! A partition can go to those only who want its topic, so no rule gives everybody the same number. The result is balanced
//! when no partition can go from its owner to another who wants it and has at least two less. Each move lowers the sum of
//! the squares of what the members have, so it ends.

use std::collections::BTreeMap;

use corelane_format::ids::TopicId;

use super::{GroupSpec, TopicPartitions};

/// Members of a topic by how many partitions they have in all.
type ByLoad = std::collections::BTreeSet<(usize, usize)>;

/// Completes what the members have to a balanced assignment.
pub(super) fn balance(group: &GroupSpec<'_>, kept: &[Vec<(TopicId, i32)>]) -> Vec<TopicPartitions> {
    let mut loads: Vec<usize> = kept.iter().map(Vec::len).collect();
    let mut topics: BTreeMap<TopicId, Topic> = group
        .topics
        .iter()
        .map(|(topic, count)| (*topic, Topic::of(group, *topic, *count)))
        .collect();
    for (member, partitions) in kept.iter().enumerate() {
        for (topic, partition) in partitions {
            if let Some(topic) = topics.get_mut(topic) {
                topic.give(*partition, member);
            }
        }
    }
    // Topics that few want first: there is least choice.
    let mut order: Vec<TopicId> = topics.keys().copied().collect();
    order.sort_by_key(|id| topics.get(id).map_or(0, |topic| topic.takers.len()));
    for id in &order {
        if let Some(topic) = topics.get_mut(id) {
            topic.fill(&mut loads);
        }
    }
    loop {
        let mut moved = false;
        for id in &order {
            if let Some(topic) = topics.get_mut(id) {
                moved |= topic.even_out(&mut loads);
            }
        }
        if !moved {
            break;
        }
    }
    let mut assigned = vec![TopicPartitions::default(); group.members.len()];
    for (id, topic) in &topics {
        for (member, partitions) in &topic.owned {
            if let Some(set) = assigned.get_mut(*member) {
                set.extend(partitions.iter().map(|partition| (*id, *partition)));
            }
        }
    }
    assigned
}

/// A topic on its way to being assigned.
struct Topic {
    takers: Vec<usize>,
    free: std::collections::BTreeSet<i32>,
    owned: BTreeMap<usize, Vec<i32>>,
}

impl Topic {
    fn of(group: &GroupSpec<'_>, id: TopicId, count: i32) -> Self {
        let takers = group.members.iter().enumerate();
        Self {
            takers: takers
                .filter(|(_, member)| member.subscription.contains(&id))
                .map(|(at, _)| at)
                .collect(),
            free: (0..count).collect(),
            owned: BTreeMap::new(),
        }
    }

    fn give(&mut self, partition: i32, member: usize) {
        if self.free.remove(&partition) {
            self.owned.entry(member).or_default().push(partition);
        }
    }

    fn by_load(&self, loads: &[usize]) -> ByLoad {
        let load = |member: &usize| loads.get(*member).copied().unwrap_or(usize::MAX);
        self.takers
            .iter()
            .map(|member| (load(member), *member))
            .collect()
    }

    /// Gives what nobody has to whoever has least.
    fn fill(&mut self, loads: &mut [usize]) {
        let mut by_load = self.by_load(loads);
        for partition in std::mem::take(&mut self.free) {
            let Some((load, member)) = by_load.pop_first() else {
                return;
            };
            self.owned.entry(member).or_default().push(partition);
            by_load.insert((load + 1, member));
            if let Some(slot) = loads.get_mut(member) {
                *slot = load + 1;
            }
        }
    }

    /// Moves partitions from those who have most to those who have least. Whether any was moved.
    fn even_out(&mut self, loads: &mut [usize]) -> bool {
        let mut by_load = self.by_load(loads);
        let mut owners: ByLoad = by_load
            .iter()
            .filter(|(_, member)| self.owned.contains_key(member))
            .copied()
            .collect();
        let mut moved = false;
        while let (Some(most), Some(least)) = (owners.last().copied(), by_load.first().copied()) {
            if most.0 < least.0 + 2 {
                break;
            }
            let Some(partitions) = self.owned.get_mut(&most.1) else {
                break;
            };
            let Some(partition) = partitions.pop() else {
                break;
            };
            let runs_out = partitions.is_empty();
            if runs_out {
                self.owned.remove(&most.1);
            }
            self.owned.entry(least.1).or_default().push(partition);
            let (less, more) = ((most.0 - 1, most.1), (least.0 + 1, least.1));
            by_load.remove(&most);
            by_load.insert(less);
            owners.remove(&most);
            if !runs_out {
                owners.insert(less);
            }
            by_load.remove(&least);
            by_load.insert(more);
            owners.remove(&least);
            owners.insert(more);
            for (load, member) in [less, more] {
                if let Some(slot) = loads.get_mut(member) {
                    *slot = load;
                }
            }
            moved = true;
        }
        moved
    }
}
