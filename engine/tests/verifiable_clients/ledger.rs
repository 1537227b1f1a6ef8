//! What the tools said, and what must be true of it.
//!
//! Two threads may hand in the words of two members in another order than they were said. So no rule compares two
//! members' words directly but one: when a member is told of a partition, what was committed before must be known to it.
//! That one is safe, since the coordinator takes no commit of an earlier owner after the assignment.

use std::collections::{BTreeMap, HashMap};

/// Partition and offset.
pub(crate) type Place = (i32, i64);

/// All that was said so far. A word that cannot be true fails the test at once.
#[derive(Default)]
pub(crate) struct Ledger {
    acknowledged: BTreeMap<Place, String>,
    consumed: BTreeMap<Place, String>,
    /// Of each partition the highest offset whose commit was answered.
    committed: HashMap<i32, i64>,
    members: HashMap<u32, HashMap<i32, Share>>,
    /// How many records were given to members, again or not.
    given: u64,
    refused_commits: u64,
}

/// A partition from its assignment to a member until that ends.
struct Share {
    /// What was committed before.
    floor: i64,
    /// The offset after the last record, once there was one.
    next: Option<i64>,
    committed: i64,
}

impl Ledger {
    /// A producer was told that its record is stored.
    pub(crate) fn acknowledge(&mut self, place: Place, value: &str) {
        let before = self.acknowledged.insert(place, value.to_owned());
        assert_eq!(before, None, "{place:?} was promised twice, then {value}");
    }

    /// A member may read a partition from now on.
    pub(crate) fn assign(&mut self, member: u32, partition: i32) {
        let floor = self.committed.get(&partition).copied().unwrap_or(0);
        let share = Share {
            floor,
            next: None,
            committed: floor,
        };
        self.members
            .entry(member)
            .or_default()
            .insert(partition, share);
    }

    /// A member may no more.
    pub(crate) fn revoke(&mut self, member: u32, partition: i32) {
        let share = self.shares(member).remove(&partition);
        assert!(share.is_some(), "{member} never had {partition}");
    }

    /// The process of a member has ended.
    pub(crate) fn end(&mut self, member: u32) {
        self.members.remove(&member);
    }

    /// A member was given a record.
    pub(crate) fn consume(&mut self, member: u32, (partition, offset): Place, value: &str) {
        let share = self.share(member, partition);
        let at = format!("member {member}, partition {partition}, offset {offset}");
        match share.next {
            Some(next) => {
                assert!(offset >= next, "{at}: went back from {next}");
                assert!(offset <= next, "{at}: skipped from {next}");
            }
            None => assert!(
                offset >= share.floor,
                "{at}: begins below {}, which is committed",
                share.floor
            ),
        }
        share.next = Some(offset + 1);
        self.given += 1;
        let before = self
            .consumed
            .insert((partition, offset), value.to_owned())
            .unwrap_or_else(|| value.to_owned());
        assert_eq!(before, value, "{at}: was another record before");
    }

    /// A member was told that its commit is stored.
    pub(crate) fn commit(&mut self, member: u32, (partition, offset): Place) {
        let at = format!("member {member}, partition {partition}");
        // Committed in the callback of a revocation, it comes after the end of the share.
        if let Some(share) = self.shares(member).get_mut(&partition) {
            assert!(
                offset >= share.committed,
                "{at}: commits {offset} after {}",
                share.committed
            );
            share.committed = offset;
        }
        let highest = self.committed.entry(partition).or_insert(0);
        *highest = offset.max(*highest);
    }

    /// A member was told that its commit is not stored, which rebalances and crashes cause.
    pub(crate) fn refuse_commit(&mut self) {
        self.refused_commits += 1;
    }

    /// Of each partition the highest offset whose commit was answered.
    pub(crate) fn committed(&self) -> HashMap<i32, i64> {
        self.committed.clone()
    }

    /// Records promised to producers.
    pub(crate) fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }

    /// Records that some member was given, each counted once.
    pub(crate) fn consumed_count(&self) -> usize {
        self.consumed.len()
    }

    /// Partitions that the running members have.
    pub(crate) fn assigned_count(&self) -> usize {
        self.members.values().map(HashMap::len).sum()
    }

    /// Whether some member was given the last record before `end`. Its commit may have been refused for a rebalance, and
    /// the tool tries again only with the next record.
    pub(crate) fn is_consumed(&self, partition: i32, end: i64) -> bool {
        end == 0 || self.consumed.contains_key(&(partition, end - 1))
    }

    /// Nobody says anything more, and partition `i` ends at `ends[i]`. Gives a line for the test's output.
    pub(crate) fn finish(&self, ends: &[i64]) -> String {
        for (partition, end) in (0..).zip(ends) {
            for offset in 0..*end {
                assert!(
                    self.consumed.contains_key(&(partition, offset)),
                    "partition {partition}: offset {offset} of {end} was given to nobody"
                );
            }
        }
        for (place, value) in &self.acknowledged {
            assert_eq!(
                self.consumed.get(place),
                Some(value),
                "{place:?} was promised"
            );
        }
        let mut places = HashMap::new();
        for (place, value) in &self.consumed {
            if let Some(other) = places.insert(value, place) {
                panic!("{value} is at {other:?} and at {place:?}");
            }
        }
        format!(
            "{} acknowledged, {} consumed, {} given again, {} commits refused",
            self.acknowledged.len(),
            self.consumed.len(),
            self.given - self.consumed.len() as u64,
            self.refused_commits
        )
    }

    fn shares(&mut self, member: u32) -> &mut HashMap<i32, Share> {
        self.members.entry(member).or_default()
    }

    fn share(&mut self, member: u32, partition: i32) -> &mut Share {
        self.shares(member)
            .get_mut(&partition)
            .unwrap_or_else(|| panic!("{member} was given a record of {partition}, not its own"))
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    /// One member that has partition 0 and was given offsets 0 and 1.
    fn begun() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.assign(1, 0);
        for offset in 0..2 {
            ledger.acknowledge((0, offset), &format!("v{offset}"));
            ledger.consume(1, (0, offset), &format!("v{offset}"));
        }
        ledger
    }

    #[test]
    fn a_sound_history_is_not_blamed() {
        let mut ledger = begun();
        ledger.commit(1, (0, 2));
        ledger.end(1);
        ledger.assign(2, 0);
        ledger.consume(2, (0, 2), "v2");
        assert!(
            ledger
                .finish(&[3])
                .starts_with("2 acknowledged, 3 consumed")
        );
    }

    #[test]
    #[should_panic(expected = "went back from 2")]
    fn a_position_that_goes_back_is_noticed() {
        begun().consume(1, (0, 1), "v1");
    }

    #[test]
    #[should_panic(expected = "skipped from 2")]
    fn a_skipped_record_is_noticed() {
        begun().consume(1, (0, 3), "v3");
    }

    #[test]
    #[should_panic(expected = "begins below 2, which is committed")]
    fn a_lost_commit_is_noticed() {
        let mut ledger = begun();
        ledger.commit(1, (0, 2));
        ledger.assign(2, 0);
        ledger.consume(2, (0, 1), "v1");
    }

    #[test]
    #[should_panic(expected = "offset 2 of 4 was given to nobody")]
    fn a_commit_ahead_of_its_records_is_noticed() {
        let mut ledger = begun();
        ledger.assign(2, 0);
        ledger.consume(2, (0, 3), "v3");
        ledger.finish(&[4]);
    }

    #[test]
    #[should_panic(expected = "(0, 2) was promised")]
    fn a_lost_record_is_noticed() {
        let mut ledger = begun();
        ledger.acknowledge((0, 2), "v2");
        ledger.finish(&[2]);
    }

    #[test]
    #[should_panic(expected = "was another record before")]
    fn a_changed_record_is_noticed() {
        let mut ledger = begun();
        ledger.assign(2, 0);
        ledger.consume(2, (0, 1), "other");
    }

    #[test]
    #[should_panic(expected = "v1 is at (0, 1) and at (0, 2)")]
    fn a_doubled_record_is_noticed() {
        let mut ledger = begun();
        ledger.consume(1, (0, 2), "v1");
        ledger.finish(&[3]);
    }
}
