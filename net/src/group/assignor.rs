//! Kafka's range assignor: of each topic every member gets neighbouring partitions, the first members one more where it
//! does not come out even. It is what every client offers, so any two of them can share a group.

use std::collections::BTreeMap;

use super::payload::Assignment;

/// The assignor's name, by which members agree on it.
pub const RANGE: &str = "range";

/// A member, as the one that decides sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Its id.
    pub member_id: String,
    /// Its lasting name, if it has one.
    pub instance_id: Option<String>,
    /// The topics it reads.
    pub topics: Vec<String>,
}

impl Subscriber {
    /// Those with a lasting name come first, so that a restart of others does not move their partitions.
    fn rank(&self) -> (bool, &str) {
        match &self.instance_id {
            Some(name) => (false, name),
            None => (true, &self.member_id),
        }
    }
}

/// Who gets what, by member id: all partitions of every topic that anybody reads and that `partition_counts` has. Members
/// that get nothing stand there, too.
pub fn range(
    members: &[Subscriber],
    partition_counts: &BTreeMap<String, i32>,
) -> BTreeMap<String, Assignment> {
    let mut ranked: Vec<&Subscriber> = members.iter().collect();
    ranked.sort_by_key(|member| member.rank());
    let mut assigned: BTreeMap<String, Assignment> = members
        .iter()
        .map(|member| (member.member_id.clone(), Assignment::new()))
        .collect();
    let mut readers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for member in ranked {
        for topic in &member.topics {
            let readers = readers.entry(topic).or_default();
            // A topic named twice is read once.
            if readers.last() != Some(&member.member_id.as_str()) {
                readers.push(&member.member_id);
            }
        }
    }
    for (topic, readers) in readers {
        let count = partition_counts.get(topic).copied().unwrap_or(0).max(0);
        let members = i32::try_from(readers.len()).unwrap_or(i32::MAX);
        let (each, more) = (count / members, count % members);
        let mut first = 0;
        for (reader, rank) in readers.into_iter().zip(0..) {
            let end = first + each + i32::from(rank < more);
            if end > first
                && let Some(assignment) = assigned.get_mut(reader)
            {
                assignment.insert(topic.to_owned(), (first..end).collect());
            }
            first = end;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, topics: &[&str]) -> Subscriber {
        Subscriber {
            member_id: id.to_owned(),
            instance_id: None,
            topics: topics.iter().map(ToString::to_string).collect(),
        }
    }

    fn named(id: &str, name: &str) -> Subscriber {
        Subscriber {
            instance_id: Some(name.to_owned()),
            ..member(id, &["t"])
        }
    }

    fn show(assigned: &BTreeMap<String, Assignment>) -> String {
        let mut words = Vec::new();
        for (member, topics) in assigned {
            let mut word = format!("{member}:");
            for (topic, partitions) in topics {
                word.push_str(topic);
                for partition in partitions {
                    word.push_str(&partition.to_string());
                }
            }
            words.push(word);
        }
        words.join(" ")
    }

    #[test]
    fn partitions_are_shared_as_kafkas_assignor_shares_them() {
        let counts = BTreeMap::from([("t".to_owned(), 5), ("u".to_owned(), 2)]);
        let table: [(&[Subscriber], &str); 8] = [
            (&[], ""),
            (&[member("a", &["t"])], "a:t01234"),
            (&[member("b", &["t"]), member("a", &["t"])], "a:t012 b:t34"),
            (
                &[
                    member("a", &["t", "u"]),
                    member("b", &["u"]),
                    member("c", &["u"]),
                ],
                "a:t01234u0 b:u1 c:",
            ),
            (&[member("a", &["no such topic"])], "a:"),
            (&[member("a", &["u", "u"])], "a:u01"),
            (&[named("b", "n1"), named("a", "n2")], "a:t34 b:t012"),
            (&[member("a", &["t"]), named("b", "z")], "a:t34 b:t012"),
        ];
        for (members, expected) in table {
            assert_eq!(show(&range(members, &counts)), expected, "{members:?}");
        }
    }
}
