//! `corelane group describe`.

use clap::Args;

use super::snapshot::{MemberView, Snapshot};
use super::{Outcome, watch};
use crate::cli::table::{self, Align};

const EXAMPLES: &str = "\
Examples:
  corelane group describe reports
  corelane group describe reports alerts --json
  corelane group describe reports --watch
  corelane group describe --all --watch=10s --json";

/// Shows groups: their members, who owns which partition, how far they have come and how far they are behind.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    look: watch::WatchArgs,
}

pub(super) async fn run(arguments: DescribeArgs) -> anyhow::Result<Outcome> {
    watch::run(arguments.look, show, |snapshot| snapshot).await
}

/// One line on the group as a whole.
pub(super) fn headline(snapshot: &Snapshot) -> String {
    let assignor = snapshot.assignor.as_ref();
    let assignor = assignor.map_or_else(String::new, |name| format!("  assignor {name}"));
    let address = snapshot.coordinator_address.as_ref();
    let address = address.map_or_else(String::new, |address| format!(" ({address})"));
    format!(
        "group {}  {}  {}{assignor}  coordinator {}{address}  members {}  lag {}\n",
        snapshot.group,
        snapshot.kind,
        snapshot.state,
        snapshot.coordinator,
        snapshot.members.len(),
        snapshot.lag
    )
}

fn show(snapshot: &Snapshot) -> String {
    let mut text = headline(snapshot);
    if !snapshot.members.is_empty() {
        let mut members = table::table(&[
            ("member", Align::Left),
            ("instance", Align::Left),
            ("client", Align::Left),
            ("host", Align::Left),
            ("owns", Align::Left),
        ]);
        for member in &snapshot.members {
            members.add_row([
                member.member_id.clone(),
                dash(member.instance_id.as_deref()),
                member.client_id.clone(),
                member.host.clone(),
                owned(member),
            ]);
        }
        text.push_str(&table::lines(&members));
    }
    if !snapshot.partitions.is_empty() {
        let mut partitions = table::table(&[
            ("topic", Align::Left),
            ("partition", Align::Right),
            ("committed", Align::Right),
            ("latest", Align::Right),
            ("lag", Align::Right),
            ("client", Align::Left),
            ("host", Align::Left),
            ("member", Align::Left),
        ]);
        for partition in &snapshot.partitions {
            partitions.add_row([
                partition.topic.clone(),
                partition.partition.to_string(),
                number(partition.committed_offset),
                number(partition.latest_offset),
                number(partition.lag),
                dash(partition.client_id.as_deref()),
                dash(partition.host.as_deref()),
                dash(partition.member_id.as_deref()),
            ]);
        }
        text.push_str(&table::lines(&partitions));
    }
    text
}

/// `orders:0,1 payments:2`, or a dash for nothing.
fn owned(member: &MemberView) -> String {
    let topics = member.assignment.iter().map(|(topic, partitions)| {
        let numbers: Vec<String> = partitions.iter().map(i32::to_string).collect();
        format!("{topic}:{}", numbers.join(","))
    });
    dash(Some(topics.collect::<Vec<_>>().join(" ").as_str()))
}

/// A number, or a dash for one that is not known.
pub(super) fn number(known: Option<i64>) -> String {
    known.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty())
        .unwrap_or("-")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::group::snapshot::PartitionView;

    #[test]
    fn a_group_is_shown_with_its_members_and_its_lag() {
        let member = MemberView {
            member_id: "m-1".to_owned(),
            instance_id: None,
            client_id: "reader".to_owned(),
            host: "127.0.0.1".to_owned(),
            topics: vec!["t".to_owned()],
            assignment: [("t".to_owned(), vec![0, 1])].into(),
        };
        let partition = |partition, committed_offset: Option<i64>| PartitionView {
            topic: "t".to_owned(),
            partition,
            committed_offset,
            metadata: None,
            latest_offset: Some(10),
            lag: committed_offset.map(|committed| 10 - committed),
            member_id: Some("m-1".to_owned()),
            client_id: Some("reader".to_owned()),
            host: Some("127.0.0.1".to_owned()),
        };
        let snapshot = Snapshot {
            group: "g".to_owned(),
            kind: "classic",
            state: "Stable".to_owned(),
            protocol_type: "consumer".to_owned(),
            assignor: Some("range".to_owned()),
            coordinator: 1,
            coordinator_address: Some("127.0.0.1:9093".to_owned()),
            members: vec![member],
            partitions: vec![partition(0, Some(3)), partition(1, None)],
            lag: 7,
        };
        let text = show(&snapshot);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines,
            [
                "group g classic Stable assignor range coordinator 1 (127.0.0.1:9093) members 1 lag 7",
                "member instance client host owns",
                "m-1 - reader 127.0.0.1 t:0,1",
                "topic partition committed latest lag client host member",
                "t 0 3 10 7 reader 127.0.0.1 m-1",
                "t 1 - 10 - reader 127.0.0.1 m-1",
            ]
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
        );
    }
}
