//! `corelane group lag`.

use clap::Args;
use serde::Serialize;

use super::describe::{headline, number};
use super::snapshot::{PartitionView, Snapshot};
use super::{Outcome, watch};
use crate::cli::table::{self, Align};

const EXAMPLES: &str = "\
Examples:
  corelane group lag reports
  corelane group lag --all --json
  corelane group lag reports --watch=500ms";

/// Shows how many records groups have left to read, in each partition and in all.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LagArgs {
    #[command(flatten)]
    look: watch::WatchArgs,
}

#[derive(Debug, Serialize)]
struct LagView {
    group: String,
    state: String,
    lag: i64,
    partitions: Vec<PartitionLag>,
}

#[derive(Debug, Serialize)]
struct PartitionLag {
    topic: String,
    partition: i32,
    committed_offset: Option<i64>,
    latest_offset: Option<i64>,
    lag: Option<i64>,
}

impl From<Snapshot> for LagView {
    fn from(snapshot: Snapshot) -> Self {
        let partition = |partition: PartitionView| PartitionLag {
            topic: partition.topic,
            partition: partition.partition,
            committed_offset: partition.committed_offset,
            latest_offset: partition.latest_offset,
            lag: partition.lag,
        };
        Self {
            group: snapshot.group,
            state: snapshot.state,
            lag: snapshot.lag,
            partitions: snapshot.partitions.into_iter().map(partition).collect(),
        }
    }
}

pub(super) async fn run(arguments: LagArgs) -> anyhow::Result<Outcome> {
    watch::run(arguments.look, show, LagView::from).await
}

fn show(snapshot: &Snapshot) -> String {
    let mut text = headline(snapshot);
    if snapshot.partitions.is_empty() {
        return text;
    }
    let mut table = table::table(&[
        ("topic", Align::Left),
        ("partition", Align::Right),
        ("committed", Align::Right),
        ("latest", Align::Right),
        ("lag", Align::Right),
    ]);
    for partition in &snapshot.partitions {
        table.add_row([
            partition.topic.clone(),
            partition.partition.to_string(),
            number(partition.committed_offset),
            number(partition.latest_offset),
            number(partition.lag),
        ]);
    }
    text.push_str(&table::lines(&table));
    text
}
