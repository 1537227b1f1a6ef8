//! Which partitions to read, from where to where.

use std::collections::BTreeMap;

use anyhow::bail;
use corelane_net::client::TopicMetadata;

use super::ConsumeArgs;
use super::start::{Bounds, Start, StartFrom, decide};
use crate::cli::client::Client;
use crate::cli::note;
use crate::cli::offsets::{self, EARLIEST, LATEST};

/// A partition that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Which partition.
    pub(crate) partition: i32,
    /// The next offset to read.
    pub(crate) next: i64,
    /// Where to end, exclusive; never where records are followed.
    pub(crate) end: Option<i64>,
}

impl Position {
    /// Whether everything wanted was read.
    pub(crate) fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// Where a group has come to, by partition; empty where there is no group.
pub(crate) type Resumed = BTreeMap<i32, i64>;

/// Looks up where to start in these partitions, and where to end unless records are followed. A partition that is resumed
/// starts there, unless its records there are gone or were never there.
pub(crate) async fn make(
    client: &mut Client,
    arguments: &ConsumeArgs,
    topic: &TopicMetadata,
    partitions: &[i32],
    resumed: &Resumed,
) -> anyhow::Result<Vec<Position>> {
    let earliest = offsets::look_up(client, topic, partitions, EARLIEST).await?;
    let latest = offsets::look_up(client, topic, partitions, LATEST).await?;
    let timed = match arguments.from {
        StartFrom::Timestamp(ms) => offsets::look_up(client, topic, partitions, ms).await?,
        _ => BTreeMap::new(),
    };
    let mut positions = Vec::new();
    for &partition in partitions {
        let (Some(&earliest), Some(&latest)) = (earliest.get(&partition), latest.get(&partition))
        else {
            bail!(
                "the server does not tell the offsets of {}-{partition}",
                topic.name
            );
        };
        let bounds = Bounds {
            earliest,
            latest,
            at_timestamp: timed.get(&partition).copied().filter(|offset| *offset >= 0),
        };
        let from = match resumed.get(&partition) {
            Some(&offset) if (earliest..=latest).contains(&offset) => StartFrom::Offset(offset),
            Some(&offset) => {
                note(&format!(
                    "{}-{partition} holds offsets {earliest} to {latest}, and not {offset}, where the group was",
                    topic.name
                ));
                arguments.from
            }
            None => arguments.from,
        };
        let next = match decide(from, bounds) {
            Start::At(offset) => offset,
            Start::AfterGap(offset) => {
                note(&format!(
                    "{}-{partition} starts at offset {offset}; earlier records are gone",
                    topic.name
                ));
                offset
            }
            Start::BeyondEnd => bail!(
                "{}-{partition} ends at offset {latest}, and so has nothing at the one wanted; choose a smaller one, \
                 or --from latest",
                topic.name
            ),
        };
        positions.push(Position {
            partition,
            next,
            end: (!arguments.follow).then_some(latest),
        });
    }
    Ok(positions)
}

/// The partitions that are asked for.
pub(crate) fn wanted(arguments: &ConsumeArgs, topic: &TopicMetadata) -> anyhow::Result<Vec<i32>> {
    let known: Vec<i32> = topic
        .partitions
        .iter()
        .map(|partition| partition.index)
        .collect();
    if arguments.partitions.is_empty() {
        return Ok(known);
    }
    let mut wanted = arguments.partitions.clone();
    wanted.sort_unstable();
    wanted.dedup();
    if let Some(stranger) = wanted.iter().find(|partition| !known.contains(partition)) {
        bail!(
            "topic {} has no partition {stranger}; it has partitions 0 to {}",
            topic.name,
            known.len().saturating_sub(1)
        );
    }
    Ok(wanted)
}
