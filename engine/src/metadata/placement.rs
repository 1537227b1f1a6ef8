//! Which lane owns which partition. Explicit in the metadata, never a hash, so that partitions can move.
//!
//! Deterministic: the same metadata gives the same lanes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use corelane_format::ids::{LogId, PartitionIndex, TopicId};

use super::image::{MetadataImage, PartitionMeta};
use super::record::MetadataRecord;

/// How many partitions each lane owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneLoads(Vec<usize>);

impl LaneLoads {
    /// The loads of the lanes there are, by the metadata. `lanes` is at least 1.
    pub fn of(image: &MetadataImage, lanes: usize) -> Self {
        assert!(lanes > 0, "a server has at least one lane");
        let known = image.lane_loads();
        Self(
            (0..lanes)
                .map(|lane| known.get(lane).copied().unwrap_or(0))
                .collect(),
        )
    }

    /// Places one partition on the least loaded lane.
    pub fn place_one(&mut self) -> usize {
        let lane = (0..self.0.len())
            .min_by_key(|lane| self.0[*lane])
            .unwrap_or(0);
        self.add(lane);
        lane
    }

    /// Counts a partition that was placed otherwise.
    pub fn add(&mut self, lane: usize) {
        if let Some(load) = self.0.get_mut(lane) {
            *load += 1;
        }
    }
}

/// Places `count` new partitions of a topic that has `existing` ones.
///
/// First a topic is spread over the lanes, since its partitions tend to be busy together; among equals the least loaded
/// lane wins, and then the first. A topic of one partition goes to the least loaded lane.
pub fn place(loads: &mut LaneLoads, existing: &[PartitionMeta], count: usize) -> Vec<usize> {
    let lanes = loads.0.len();
    let mut of_topic = vec![0_usize; lanes];
    for partition in existing {
        if let Some(load) = of_topic.get_mut(partition.lane) {
            *load += 1;
        }
    }
    let mut queue: BinaryHeap<Reverse<(usize, usize, usize)>> = (0..lanes)
        .map(|lane| Reverse((of_topic[lane], loads.0[lane], lane)))
        .collect();
    let mut placed = Vec::with_capacity(count);
    while placed.len() < count {
        let Some(Reverse((topic_load, load, lane))) = queue.pop() else {
            break;
        };
        placed.push(lane);
        loads.0[lane] += 1;
        queue.push(Reverse((topic_load + 1, load + 1, lane)));
    }
    placed
}

/// One partition as placement sees it.
#[derive(Clone, Copy)]
struct Placed {
    topic: TopicId,
    index: PartitionIndex,
    meta: PartitionMeta,
}

/// What to change when a server starts with `lanes` lanes: nothing if it had as many before.
///
/// Partitions of lanes that are gone are moved to the least loaded ones. If lanes were added, as few partitions as possible
/// move so that the lanes' counts differ by at most one. A partition keeps its leader epoch: the same server leads it on,
/// with the same log.
pub fn reassign(image: &MetadataImage, lanes: usize) -> Vec<MetadataRecord> {
    assert!(lanes > 0, "a server has at least one lane");
    if image.lanes() == Some(lanes) {
        return Vec::new();
    }
    let is_growth = image.lanes().is_none_or(|before| before < lanes);
    let mut by_lane: BTreeMap<usize, Vec<Placed>> = BTreeMap::new();
    for topic in image.topics() {
        for (index, meta) in (0..).zip(&topic.partitions) {
            let placed = Placed {
                topic: topic.id,
                index: PartitionIndex::new(index),
                meta: *meta,
            };
            by_lane.entry(meta.lane).or_default().push(placed);
        }
    }
    let mut moves = vec![MetadataRecord::Lanes { count: lanes }];
    let gone: Vec<Placed> = by_lane.split_off(&lanes).into_values().flatten().collect();
    let targets = if is_growth {
        even_targets(&by_lane, lanes, image.partitions_total())
    } else {
        vec![usize::MAX; lanes]
    };
    let surplus = by_lane
        .iter()
        .flat_map(|(lane, partitions)| surplus(partitions, targets[*lane]))
        .collect::<Vec<_>>();
    let mut loads: Vec<usize> = (0..lanes)
        .map(|lane| by_lane.get(&lane).map_or(0, |p| p.len().min(targets[lane])))
        .collect();
    let mut topic_loads: BTreeMap<(TopicId, usize), usize> = BTreeMap::new();
    for partition in by_lane.values().flatten() {
        *topic_loads
            .entry((partition.topic, partition.meta.lane))
            .or_default() += 1;
    }
    for partition in &surplus {
        *topic_loads
            .entry((partition.topic, partition.meta.lane))
            .or_default() -= 1;
    }
    for partition in gone.into_iter().chain(surplus) {
        let lane = (0..lanes)
            .filter(|lane| loads[*lane] < targets[*lane])
            .min_by_key(|lane| {
                let of_topic = topic_loads
                    .get(&(partition.topic, *lane))
                    .copied()
                    .unwrap_or(0);
                if is_growth {
                    (of_topic, loads[*lane])
                } else {
                    (loads[*lane], of_topic)
                }
            });
        let lane = lane.expect("the targets add up to all partitions");
        loads[lane] += 1;
        *topic_loads.entry((partition.topic, lane)).or_default() += 1;
        moves.push(MetadataRecord::PartitionLane {
            topic_id: partition.topic,
            index: partition.index,
            lane,
            leader_epoch: partition.meta.leader_epoch,
        });
    }
    moves
}

/// How many partitions each lane should own: equally many, the odd ones on the lanes that have the most now.
fn even_targets(by_lane: &BTreeMap<usize, Vec<Placed>>, lanes: usize, total: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lanes).collect();
    order.sort_by_key(|lane| Reverse(by_lane.get(lane).map_or(0, Vec::len)));
    let mut targets = vec![total / lanes; lanes];
    for lane in order.into_iter().take(total % lanes) {
        targets[lane] += 1;
    }
    targets
}

/// The partitions that a lane gives up to keep `target`: of the topics that it has most of, the newest logs first.
fn surplus(partitions: &[Placed], target: usize) -> Vec<Placed> {
    let mut count = partitions.len().saturating_sub(target);
    if count == 0 {
        return Vec::new();
    }
    let mut by_topic: BTreeMap<TopicId, Vec<Placed>> = BTreeMap::new();
    for partition in partitions {
        by_topic
            .entry(partition.topic)
            .or_default()
            .push(*partition);
    }
    for of_topic in by_topic.values_mut() {
        of_topic.sort_by_key(|partition| partition.meta.log_id);
    }
    let newest = |of_topic: &[Placed]| of_topic.last().map_or(LogId::METADATA, |p| p.meta.log_id);
    let mut queue: BinaryHeap<(usize, LogId, TopicId)> = by_topic
        .iter()
        .map(|(topic, of_topic)| (of_topic.len(), newest(of_topic), *topic))
        .collect();
    let mut given_up = Vec::with_capacity(count);
    while count > 0 {
        let Some((_, _, topic)) = queue.pop() else {
            break;
        };
        let Some(of_topic) = by_topic.get_mut(&topic) else {
            break;
        };
        given_up.extend(of_topic.pop());
        if !of_topic.is_empty() {
            queue.push((of_topic.len(), newest(of_topic), topic));
        }
        count -= 1;
    }
    given_up
}

#[cfg(test)]
mod tests {
    use corelane_format::ids::LeaderEpoch;
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::test_support::image_of;

    fn lanes_of(image: &MetadataImage) -> Vec<Vec<usize>> {
        image
            .topics()
            .map(|topic| topic.partitions.iter().map(|p| p.lane).collect())
            .collect()
    }

    fn moved(mut image: MetadataImage, lanes: usize) -> (MetadataImage, usize) {
        let records = reassign(&image, lanes);
        for record in &records {
            image.apply(record).unwrap();
        }
        (image, records.len().saturating_sub(1))
    }

    #[test]
    fn new_partitions_are_spread_over_lanes_before_they_balance_loads() {
        type Case<'a> = (&'a [usize], &'a [usize], usize, &'a [usize]);
        let table: &[Case<'_>] = &[
            // loads of lanes, lanes of the topic's partitions, new partitions, their lanes
            (&[0, 0, 0], &[], 1, &[0]),
            (&[5, 2, 3], &[], 1, &[1]),
            (&[5, 2, 3], &[], 4, &[1, 2, 0, 1]),
            (&[0, 0, 0], &[], 7, &[0, 1, 2, 0, 1, 2, 0]),
            (&[9, 0, 0], &[1, 1], 3, &[2, 0, 2]),
            (&[0, 0], &[7], 2, &[0, 1]),
            (&[3], &[0], 2, &[0, 0]),
            (&[1, 1], &[], 0, &[]),
        ];
        for (loads, existing, count, expected) in table {
            let existing: Vec<PartitionMeta> = existing
                .iter()
                .map(|lane| PartitionMeta {
                    log_id: LogId::new(1),
                    lane: *lane,
                    leader_epoch: LeaderEpoch::default(),
                })
                .collect();
            let mut loads = LaneLoads(loads.to_vec());
            assert_eq!(place(&mut loads, &existing, *count), *expected);
        }
    }

    #[test]
    fn a_start_with_as_many_lanes_moves_nothing() {
        let image = image_of(Some(2), &[("a", &[0, 0, 0, 0])]);
        assert_eq!(reassign(&image, 2), []);
    }

    #[test]
    fn a_first_start_only_notes_the_lanes() {
        assert_eq!(
            reassign(&MetadataImage::default(), 3),
            [MetadataRecord::Lanes { count: 3 }]
        );
    }

    #[test]
    fn moves_for_fewer_and_more_lanes() {
        type Topics<'a> = &'a [(&'a str, &'a [usize])];
        type Case<'a> = (usize, Topics<'a>, usize, &'a [&'a [usize]], usize);
        let table: &[Case<'_>] = &[
            // lanes before, topics, lanes now, lanes of each topic afterwards, partitions moved
            (
                3,
                &[("a", &[0, 1, 2]), ("b", &[2])],
                2,
                &[&[0, 1, 0], &[1]],
                2,
            ),
            (2, &[("a", &[0, 1, 0, 1])], 4, &[&[0, 1, 2, 3]], 2),
            (
                1,
                &[("a", &[0]), ("b", &[0]), ("c", &[0])],
                2,
                &[&[0], &[0], &[1]],
                1,
            ),
            (4, &[("a", &[0, 1, 2, 3])], 1, &[&[0, 0, 0, 0]], 3),
            (2, &[("a", &[0])], 3, &[&[0]], 0),
        ];
        for (before, topics, lanes, expected, count) in table {
            let (image, moves) = moved(image_of(Some(*before), topics), *lanes);
            assert_eq!(lanes_of(&image), *expected, "{topics:?} on {lanes}");
            assert_eq!(moves, *count, "{topics:?} on {lanes}");
            assert_eq!(image.lanes(), Some(*lanes));
        }
    }

    proptest! {
        #[test]
        fn every_partition_ends_on_a_lane_that_exists_with_the_fewest_moves(
            topics in proptest::collection::vec(proptest::collection::vec(0..6_usize, 0..12), 0..12),
            lanes in 1..9_usize,
        ) {
            let named: Vec<(String, Vec<usize>)> =
                topics.into_iter().enumerate().map(|(number, lanes)| (format!("t{number}"), lanes)).collect();
            let borrowed: Vec<(&str, &[usize])> =
                named.iter().map(|(name, lanes)| (name.as_str(), lanes.as_slice())).collect();
            let before = image_of(Some(6), &borrowed);
            let total = before.partitions_total();
            let loads_before = LaneLoads::of(&before, lanes).0;
            let must_move = total - loads_before.iter().sum::<usize>();
            let (after, moves) = moved(before.clone(), lanes);
            prop_assert_eq!(LaneLoads::of(&after, lanes).0.iter().sum::<usize>(), total);
            prop_assert!(after.lane_loads().iter().skip(lanes).all(|load| *load == 0));
            let loads = LaneLoads::of(&after, lanes).0;
            let spread = loads.iter().max().unwrap() - loads.iter().min().unwrap();
            match lanes.cmp(&6) {
                std::cmp::Ordering::Equal => prop_assert_eq!(moves, 0),
                std::cmp::Ordering::Less => prop_assert_eq!(moves, must_move),
                std::cmp::Ordering::Greater => {
                    prop_assert!(spread <= 1);
                    // No way to even out takes fewer moves than what is above the even share.
                    let mut sorted = loads_before;
                    sorted.sort_unstable_by_key(|load| Reverse(*load));
                    let fewest: usize = sorted
                        .iter()
                        .enumerate()
                        .map(|(rank, load)| load.saturating_sub(total / lanes + usize::from(rank < total % lanes)))
                        .sum();
                    prop_assert_eq!(moves, fewest);
                }
            }
            prop_assert_eq!(reassign(&after, lanes), []);
        }
    }
}
