//! One pass over asked partitions: this lane's are read here, every other lane's by one message to it.
//!
//! Lanes are taken in the order in which the asked partitions first name them, and a lane's partitions in the asked order,
//! all from one budget. So the first asked partition always gets on, and who rotates the order starves none.

use std::rc::Rc;

use bytes::Bytes;
use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchPartition, IsolationLevel};

use super::Terms;
use super::read::{Budget, Found, read};
use super::slice::FetchSlice;
use super::target::{Asked, Target};
use crate::handlers::remote::local;
use crate::lane::Lane;

/// Partitions that are read before other work of the lane gets its turn.
const PARTITIONS_PER_TURN: usize = 256;

/// The asked partitions of one lane, by their places.
struct Group {
    /// `None` is this lane.
    owner: Option<usize>,
    places: Vec<usize>,
}

fn groups(asked: &[Asked]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (place, asked) in asked.iter().enumerate() {
        let owner = match &asked.target {
            Target::Here(_) => None,
            Target::Elsewhere { lane, .. } => Some(*lane),
            Target::Nowhere(_) => continue,
        };
        match groups.iter_mut().find(|group| group.owner == owner) {
            Some(group) => group.places.push(place),
            None => groups.push(Group {
                owner,
                places: vec![place],
            }),
        }
    }
    groups
}

/// Reads every asked partition once; what is found stands at its place.
pub(super) async fn pass(
    lane: &Rc<Lane>,
    asked: &[Asked],
    terms: &Terms,
) -> Vec<Found<FetchSlice>> {
    let mut budget = Budget::new(terms.limit_bytes);
    let mut found: Vec<Found<FetchSlice>> = asked
        .iter()
        .map(|asked| match &asked.target {
            Target::Nowhere(error) => Found::failed(*error),
            // Replaced below: every place that is somewhere is in a group.
            Target::Here(_) | Target::Elsewhere { .. } => {
                Found::failed(ErrorCode::BrokerNotAvailable)
            }
        })
        .collect();
    if !asked
        .iter()
        .any(|asked| matches!(asked.target, Target::Elsewhere { .. }))
    {
        // What clients do that know the owners: there is nothing to put into groups.
        read_here(lane, asked, 0..asked.len(), terms, &mut budget, &mut found).await;
        return found;
    }
    for group in groups(asked) {
        match group.owner {
            None => {
                let places = group.places.into_iter();
                read_here(lane, asked, places, terms, &mut budget, &mut found).await;
            }
            Some(owner) => {
                let questions = group
                    .places
                    .iter()
                    .filter_map(|place| match asked[*place].target {
                        Target::Elsewhere { topic, .. } => Some((topic, asked[*place].partition)),
                        Target::Here(_) | Target::Nowhere(_) => None,
                    })
                    .collect();
                let answers = read_elsewhere(lane, owner, questions, terms.isolation, budget).await;
                for (place, one) in group.places.into_iter().zip(answers) {
                    budget.spend(one.size_bytes);
                    found[place] = one.map(|slices| {
                        let slices = slices.into_iter();
                        slices
                            .map(|bytes| FetchSlice::Forwarded(Rc::new(bytes)))
                            .collect()
                    });
                }
            }
        }
    }
    found
}

/// Reads those of this lane's partitions that are asked at `places`, in order.
async fn read_here(
    lane: &Rc<Lane>,
    asked: &[Asked],
    places: impl Iterator<Item = usize>,
    terms: &Terms,
    budget: &mut Budget,
    found: &mut [Found<FetchSlice>],
) {
    for (count, place) in places.enumerate() {
        if count % PARTITIONS_PER_TURN == PARTITIONS_PER_TURN - 1 {
            lane.turns.pass().await;
        }
        let Target::Here(partition) = &asked[place].target else {
            continue;
        };
        let one = read(partition, asked[place].partition, terms.isolation, *budget).await;
        budget.spend(one.size_bytes);
        found[place] = one.map(|slices| slices.into_iter().map(FetchSlice::Stored).collect());
    }
}

/// Has another lane read its partitions, in order. A lane that has ended gives no answers.
async fn read_elsewhere(
    lane: &Rc<Lane>,
    owner: usize,
    questions: Vec<(TopicId, FetchPartition)>,
    isolation: IsolationLevel,
    mut budget: Budget,
) -> Vec<Found<Bytes>> {
    let answer = lane.mesh.call(owner, move |lane: Rc<Lane>| async move {
        let mut found = Vec::with_capacity(questions.len());
        for (count, (topic, asked)) in questions.into_iter().enumerate() {
            if count % PARTITIONS_PER_TURN == PARTITIONS_PER_TURN - 1 {
                lane.turns.pass().await;
            }
            let Some(partition) = local(&lane, topic, asked.index) else {
                found.push(Found::failed(ErrorCode::NotLeaderOrFollower));
                continue;
            };
            let one = read(&partition, asked, isolation, budget).await;
            budget.spend(one.size_bytes);
            found.push(one.map(|slices| {
                slices
                    .iter()
                    .map(|slice| Bytes::copy_from_slice(slice.as_ref()))
                    .collect()
            }));
        }
        found
    });
    answer.await.unwrap_or_default()
}
