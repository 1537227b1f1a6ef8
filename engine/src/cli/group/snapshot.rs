//! What can be known of a group at one time: its members, what they own, how far it has come and how much is left.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use corelane_net::ErrorCode;
use corelane_net::client::Broker;
use corelane_net::group::payload::{Assignment, decode_assignment, decode_subscription};
use corelane_net::group::requests::{CommittedOffset, Offsets};
use kafka_wire::consumer_group_describe_response::{
    Assignment as WireAssignment, DescribedGroup as DescribedConsumerGroup,
};
use kafka_wire::describe_groups_response::DescribedGroup;
use kafka_wire::{ConsumerGroupDescribeRequest, DescribeGroupsRequest, KafkaRequest};
use serde::Serialize;

use super::coordinator;
use crate::cli::client::{Client, refused};
use crate::cli::offsets::{self, LATEST};

/// What older brokers call a group that does not exist.
const DEAD: &str = "Dead";

/// A group at one time.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot {
    pub(super) group: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) state: String,
    pub(super) protocol_type: String,
    /// How partitions are shared out, where the members have agreed on that.
    pub(super) assignor: Option<String>,
    pub(super) coordinator: i32,
    pub(super) coordinator_address: Option<String>,
    pub(super) members: Vec<MemberView>,
    /// Each partition that is owned or has a committed offset, by topic and number.
    pub(super) partitions: Vec<PartitionView>,
    /// Records left to read in the partitions where that is known.
    pub(super) lag: i64,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct MemberView {
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) host: String,
    pub(super) topics: Vec<String>,
    pub(super) assignment: Assignment,
}

/// A partition that the group reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PartitionView {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The next offset that the group reads, as committed.
    pub(super) committed_offset: Option<i64>,
    /// What was committed with it.
    pub(super) metadata: Option<String>,
    /// The offset after the last that can be read.
    pub(super) latest_offset: Option<i64>,
    /// How many are between them; less than none if the committed offset is beyond the end.
    pub(super) lag: Option<i64>,
    /// Who owns it.
    pub(super) member_id: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) host: Option<String>,
}

/// The part that the coordinator describes.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) kind: &'static str,
    pub(super) state: String,
    protocol_type: String,
    assignor: Option<String>,
    pub(super) members: Vec<MemberView>,
}

/// Asks for everything.
pub(super) async fn take(client: &mut Client, group: &str) -> anyhow::Result<Snapshot> {
    let Some(description) = describe(client, group).await? else {
        return Err(refused(
            &format!("describe group {group}"),
            ErrorCode::GroupIdNotFound,
            None,
        ));
    };
    let committed = coordinator::committed(client, group).await?;
    let wanted = partitions_of(&description.members, &committed);
    let latest = latest(client, &wanted).await?;
    let partitions = join(&wanted, &description.members, &committed, &latest);
    let coordinator = coordinator::find(client, group).await?;
    let address = client
        .cluster
        .brokers()
        .find(|broker| broker.id == coordinator)
        .map(Broker::address);
    Ok(Snapshot {
        group: group.to_owned(),
        kind: description.kind,
        state: description.state,
        protocol_type: description.protocol_type,
        assignor: description.assignor,
        coordinator,
        coordinator_address: address,
        members: description.members,
        lag: total_lag(&partitions),
        partitions,
    })
}

/// Asks the coordinator to describe a group; `None` if there is no such group.
pub(super) async fn describe(
    client: &mut Client,
    group: &str,
) -> anyhow::Result<Option<Description>> {
    let broker = coordinator::find(client, group).await?;
    let connection = client
        .cluster
        .connection(broker)
        .await
        .with_context(|| format!("cannot reach the coordinator of group {group}"))?;
    let key = ConsumerGroupDescribeRequest::API_KEY.value();
    // A group of the newer protocol is described in its own words; for all others that is not found.
    if connection.ranges().range(key).is_some() {
        let build = |_| {
            let mut request = ConsumerGroupDescribeRequest::default();
            request.group_ids = vec![group.into()];
            request
        };
        let response = coordinator::ask(client, group, build, |response| {
            ErrorCode::from_wire(response.groups.first().map_or(0, |group| group.error_code))
        })
        .await?;
        let described = response.groups.into_iter().next();
        let described = described.context("the server answered without the group")?;
        match ErrorCode::from_wire(described.error_code) {
            ErrorCode::None => return Ok(Some(of_consumer_group(described))),
            ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion => {}
            code => {
                let message = described.error_message.as_deref();
                return Err(refused(&format!("describe group {group}"), code, message));
            }
        }
    }
    let build = |_| {
        let mut request = DescribeGroupsRequest::default();
        request.groups = vec![group.into()];
        request
    };
    let response = coordinator::ask(client, group, build, |response| {
        ErrorCode::from_wire(response.groups.first().map_or(0, |group| group.error_code))
    })
    .await?;
    let described = response.groups.into_iter().next();
    let described = described.context("the server answered without the group")?;
    match ErrorCode::from_wire(described.error_code) {
        ErrorCode::GroupIdNotFound => Ok(None),
        ErrorCode::None if described.group_state.as_str() == DEAD => Ok(None),
        ErrorCode::None => Ok(Some(of_classic_group(described))),
        code => {
            let message = described.error_message.as_deref();
            Err(refused(&format!("describe group {group}"), code, message))
        }
    }
}

fn of_classic_group(described: DescribedGroup) -> Description {
    let members = described.members.into_iter().map(|member| MemberView {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        host: plain_host(&member.client_host),
        // Groups need not be of consumers; what others say is theirs.
        topics: decode_subscription(&member.member_metadata).unwrap_or_default(),
        assignment: decode_assignment(&member.member_assignment).unwrap_or_default(),
    });
    Description {
        kind: "classic",
        state: described.group_state.to_string(),
        protocol_type: described.protocol_type.to_string(),
        assignor: Some(described.protocol_data.to_string()).filter(|name| !name.is_empty()),
        members: sorted(members.collect()),
    }
}

fn of_consumer_group(described: DescribedConsumerGroup) -> Description {
    let members = described.members.into_iter().map(|member| MemberView {
        member_id: member.member_id.to_string(),
        instance_id: member.instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        host: plain_host(&member.client_host),
        topics: member
            .subscribed_topic_names
            .iter()
            .map(ToString::to_string)
            .collect(),
        assignment: of_wire(member.assignment),
    });
    Description {
        kind: "consumer",
        state: described.group_state.to_string(),
        protocol_type: "consumer".to_owned(),
        assignor: Some(described.assignor_name.to_string()).filter(|name| !name.is_empty()),
        members: sorted(members.collect()),
    }
}

fn of_wire(assignment: WireAssignment) -> Assignment {
    let topics = assignment.topic_partitions.into_iter();
    topics
        .map(|topic| {
            let mut partitions = topic.partitions;
            partitions.sort_unstable();
            (topic.topic_name.to_string(), partitions)
        })
        .collect()
}

fn sorted(mut members: Vec<MemberView>) -> Vec<MemberView> {
    members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
    members
}

/// Kafka's brokers put a slash before the address.
fn plain_host(host: &str) -> String {
    host.trim_start_matches('/').to_owned()
}

/// Every partition that is owned or was committed, by topic.
fn partitions_of(members: &[MemberView], committed: &Offsets<CommittedOffset>) -> Assignment {
    let mut wanted: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for (topic, partitions) in members.iter().flat_map(|member| &member.assignment) {
        wanted.entry(topic.clone()).or_default().extend(partitions);
    }
    for (topic, partition) in committed.keys() {
        wanted.entry(topic.clone()).or_default().insert(*partition);
    }
    let ascending = |(topic, partitions): (String, BTreeSet<i32>)| {
        (topic, partitions.into_iter().collect::<Vec<_>>())
    };
    wanted.into_iter().map(ascending).collect()
}

/// The ends of these partitions, as far as they exist and somebody leads them.
async fn latest(client: &mut Client, wanted: &Assignment) -> anyhow::Result<Offsets<i64>> {
    let mut latest = Offsets::new();
    if wanted.is_empty() {
        return Ok(latest);
    }
    let names: Vec<String> = wanted.keys().cloned().collect();
    for topic in client.topics(&names).await? {
        let partitions: Vec<i32> = topic
            .partitions
            .iter()
            .filter(|partition| partition.leader.is_some())
            .map(|partition| partition.index)
            .filter(|index| {
                wanted
                    .get(&topic.name)
                    .is_some_and(|all| all.contains(index))
            })
            .collect();
        if partitions.is_empty() {
            continue;
        }
        let ends = offsets::look_up(client, &topic, &partitions, LATEST).await?;
        latest.extend(
            ends.into_iter()
                .map(|(index, offset)| ((topic.name.clone(), index), offset)),
        );
    }
    Ok(latest)
}

fn join(
    wanted: &Assignment,
    members: &[MemberView],
    committed: &Offsets<CommittedOffset>,
    latest: &Offsets<i64>,
) -> Vec<PartitionView> {
    let mut partitions = Vec::new();
    for (topic, indexes) in wanted {
        for &partition in indexes {
            let key = (topic.clone(), partition);
            let commit = committed.get(&key).filter(|commit| commit.offset >= 0);
            let owner = members.iter().find(|member| {
                let owned = member.assignment.get(topic);
                owned.is_some_and(|owned| owned.contains(&partition))
            });
            let committed_offset = commit.map(|commit| commit.offset);
            let latest_offset = latest.get(&key).copied();
            partitions.push(PartitionView {
                topic: topic.clone(),
                partition,
                committed_offset,
                metadata: commit
                    .map(|commit| commit.metadata.clone())
                    .filter(|metadata| !metadata.is_empty()),
                latest_offset,
                lag: latest_offset
                    .zip(committed_offset)
                    .map(|(latest, committed)| latest.saturating_sub(committed)),
                member_id: owner.map(|owner| owner.member_id.clone()),
                client_id: owner.map(|owner| owner.client_id.clone()),
                host: owner.map(|owner| owner.host.clone()),
            });
        }
    }
    partitions
}

fn total_lag(partitions: &[PartitionView]) -> i64 {
    let known = partitions.iter().filter_map(|partition| partition.lag);
    known.fold(0, |total, lag| total.saturating_add(lag.max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            metadata: String::new(),
            error: ErrorCode::None,
        }
    }

    #[test]
    fn lag_is_known_where_both_ends_are_and_counts_for_the_total() {
        let member = MemberView {
            member_id: "m".to_owned(),
            instance_id: None,
            client_id: "c".to_owned(),
            host: "h".to_owned(),
            topics: vec!["t".to_owned()],
            assignment: Assignment::from([("t".to_owned(), vec![0, 1])]),
        };
        let members = [member];
        let key = |topic: &str, partition| (topic.to_owned(), partition);
        let committed = Offsets::from([
            (key("t", 0), commit(3)),
            (key("t", 1), commit(-1)),
            (key("t", 2), commit(9)),
            (key("gone", 0), commit(5)),
        ]);
        let latest = Offsets::from([(key("t", 0), 10), (key("t", 1), 10), (key("t", 2), 8)]);
        let wanted = partitions_of(&members, &committed);
        let partitions = join(&wanted, &members, &committed, &latest);
        let rows: Vec<_> = partitions
            .iter()
            .map(|one| {
                (
                    one.topic.as_str(),
                    one.partition,
                    one.committed_offset,
                    one.lag,
                    one.member_id.is_some(),
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("gone", 0, Some(5), None, false),
                ("t", 0, Some(3), Some(7), true),
                ("t", 1, None, None, true),
                ("t", 2, Some(9), Some(-1), false),
            ]
        );
        assert_eq!(
            total_lag(&partitions),
            7,
            "what is beyond the end takes nothing off"
        );
    }
}
