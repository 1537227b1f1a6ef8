//! From what a member has to what it is to have, without anybody ever having what another one still has.
//!
//! | has to give up | gets now | must wait for | goes to |
//! |---|---|---|---|
//! | something, and has not said that it did | nothing | | `Unrevoked`, in its epoch |
//! | nothing (any more) | what is free | nothing | `Stable`, in the target's epoch |
//! | nothing (any more) | what is free | what others have | `Unreleased`, in the target's epoch |

use crate::group::record::{CurrentAssignment, MemberState};
use crate::group::topic_partitions::TopicPartitions;
use corelane_format::ids::TopicId;

/// What a member is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) epoch: i32,
    pub(super) partitions: &'a TopicPartitions,
}

/// The next state of a member; `None` if it stays as it is. `owned` is what the member says that it has, if it says so;
/// `is_free` tells whether no other member has a partition.
pub(super) fn reconcile(
    current: &CurrentAssignment,
    target: Target<'_>,
    owned: Option<&TopicPartitions>,
    is_free: impl Fn(TopicId, i32) -> bool,
) -> Option<CurrentAssignment> {
    let has_any_of = |set: &TopicPartitions| owned.is_none_or(|owned| owned.intersects(set));
    match current.state {
        MemberState::Stable if current.epoch == target.epoch => return None,
        MemberState::Unrevoked if has_any_of(&current.revoking) => return None,
        _ => {}
    }
    let (mut assigned, revoking) = current
        .assigned
        .partition(|topic, partition| target.partitions.contains(topic, partition));
    let next = if !revoking.is_empty() && has_any_of(&revoking) {
        CurrentAssignment {
            epoch: current.epoch,
            previous_epoch: current.epoch,
            state: MemberState::Unrevoked,
            assigned,
            revoking,
        }
    } else {
        let (free, taken) = target.partitions.partition(is_free);
        assigned.append(free);
        CurrentAssignment {
            epoch: target.epoch,
            previous_epoch: current.epoch,
            state: if taken.is_empty() {
                MemberState::Stable
            } else {
                MemberState::Unreleased
            },
            assigned,
            revoking: TopicPartitions::default(),
        }
    };
    (next != *current).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(partitions: &[i32]) -> TopicPartitions {
        let topic = TopicId::new([1; 16]);
        partitions.iter().map(|one| (topic, *one)).collect()
    }

    fn current(
        epoch: i32,
        state: MemberState,
        assigned: &[i32],
        revoking: &[i32],
    ) -> CurrentAssignment {
        CurrentAssignment {
            epoch,
            previous_epoch: epoch,
            state,
            assigned: set(assigned),
            revoking: set(revoking),
        }
    }

    #[test]
    fn the_table_holds() {
        use MemberState::{Stable, Unreleased, Unrevoked};
        // What it has, its target in epoch 5, what it says that it owns, what others have; what comes of it.
        type Row<'a> = (
            (i32, MemberState, &'a [i32], &'a [i32]),
            &'a [i32],
            Option<&'a [i32]>,
            &'a [i32],
            Option<(i32, MemberState, &'a [i32], &'a [i32])>,
        );
        let table: &[Row<'_>] = &[
            // Nothing to do.
            ((5, Stable, &[1], &[]), &[1], None, &[], None),
            // A new epoch that changes nothing for it.
            (
                (4, Stable, &[1], &[]),
                &[1],
                None,
                &[],
                Some((5, Stable, &[1], &[])),
            ),
            // It gets what is free.
            (
                (4, Stable, &[], &[]),
                &[1, 2],
                Some(&[]),
                &[],
                Some((5, Stable, &[1, 2], &[])),
            ),
            // It waits for what is not.
            (
                (4, Stable, &[], &[]),
                &[1, 2],
                None,
                &[2],
                Some((5, Unreleased, &[1], &[])),
            ),
            ((5, Unreleased, &[1], &[]), &[1, 2], None, &[2], None),
            (
                (5, Unreleased, &[1], &[]),
                &[1, 2],
                None,
                &[],
                Some((5, Stable, &[1, 2], &[])),
            ),
            // It has to give up first, and keeps its epoch.
            (
                (4, Stable, &[1, 2], &[]),
                &[2, 3],
                None,
                &[],
                Some((4, Unrevoked, &[2], &[1])),
            ),
            (
                (4, Stable, &[1, 2], &[]),
                &[2, 3],
                Some(&[1, 2]),
                &[],
                Some((4, Unrevoked, &[2], &[1])),
            ),
            // Until it says that it did.
            ((4, Unrevoked, &[2], &[1]), &[2, 3], None, &[], None),
            (
                (4, Unrevoked, &[2], &[1]),
                &[2, 3],
                Some(&[1, 2]),
                &[],
                None,
            ),
            (
                (4, Unrevoked, &[2], &[1]),
                &[2, 3],
                Some(&[2]),
                &[],
                Some((5, Stable, &[2, 3], &[])),
            ),
            // The target has moved on meanwhile: there is more to give up.
            (
                (3, Unrevoked, &[2], &[1]),
                &[3],
                Some(&[2]),
                &[],
                Some((3, Unrevoked, &[], &[2])),
            ),
            // It had given that up already.
            (
                (4, Stable, &[1], &[]),
                &[],
                Some(&[]),
                &[],
                Some((5, Stable, &[], &[])),
            ),
        ];
        for (has, target, owned, others, expected) in table {
            let has = current(has.0, has.1, has.2, has.3);
            let (target, others) = (set(target), set(others));
            let owned = owned.map(set);
            let next = reconcile(
                &has,
                Target {
                    epoch: 5,
                    partitions: &target,
                },
                owned.as_ref(),
                |topic, partition| !others.contains(topic, partition),
            );
            let expected = expected.map(|(epoch, state, assigned, revoking)| {
                let mut next = current(epoch, state, assigned, revoking);
                next.previous_epoch = has.epoch;
                next
            });
            assert_eq!(next, expected, "{has:?}");
        }
    }
}
