//! `corelane group reset-offsets`.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{bail, ensure};
use clap::{ArgGroup, Args};
use corelane_engine::clock::{Clock, SystemClock};
use corelane_net::ErrorCode;
use corelane_net::client::TopicMetadata;
use corelane_net::group::requests::{
    CommitOffset, CommittedOffset, Offsets, commit_request, committed, worst,
};
use kafka_wire::OffsetCommitRequest;
use serde::Serialize;

use super::describe::number;
use super::offset_target::{Known, OffsetTarget, decide, parse_datetime, parse_span};
use super::topic_selector::TopicSelector;
use super::{ClientArgs, Outcome, coordinator, snapshot};
use crate::cli::client::{self, Client, refused};
use crate::cli::note;
use crate::cli::offsets::{self, EARLIEST, LATEST};
use crate::cli::stdout::Stdout;
use crate::cli::table::{self, Align};

const EXAMPLES: &str = "\
Examples:
  corelane group reset-offsets reports --topic orders --to-earliest
  corelane group reset-offsets reports --topic orders:0,1 --topic payments --shift-by -100 --execute
  corelane group reset-offsets reports --all-topics --to-datetime 2026-11-21T07:30:00 --execute
  corelane group reset-offsets reports --all-topics --by-duration 2h --json

Without --execute nothing is changed. The group must have no members: stop its consumers first.";

/// The states of a group without members.
const INACTIVE: [&str; 2] = ["Empty", "Dead"];

/// Moves the offsets of a group without members; shows what it would do unless told to --execute it.
///
/// The new offsets always lie within the partitions. A group that does not exist yet gets the offsets it will begin with.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    group = ArgGroup::new("target").required(true),
    group = ArgGroup::new("scope").required(true).multiple(true)
)]
#[allow(clippy::struct_excessive_bools, reason = "options of the command line")]
pub(crate) struct ResetOffsetsArgs {
    /// The group's name.
    #[arg(value_name = "GROUP")]
    name: String,
    /// This topic, or only these partitions of it. May be repeated.
    #[arg(long = "topic", short, value_name = "TOPIC[:N,...]", group = "scope")]
    topics: Vec<TopicSelector>,
    /// Every partition for which the group has an offset.
    #[arg(long, group = "scope", conflicts_with = "topics")]
    all_topics: bool,
    /// To the first record that is there.
    #[arg(long, group = "target")]
    to_earliest: bool,
    /// To the end.
    #[arg(long, group = "target")]
    to_latest: bool,
    /// To where it is, or to the end where nothing was committed: moved into the partition if it lies outside.
    #[arg(long, group = "target")]
    to_current: bool,
    /// To this offset.
    #[arg(long, value_name = "OFFSET", group = "target", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// So many records further, or back where it is negative.
    #[arg(long, value_name = "N", group = "target", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// To the first record at or after this time, as 2026-11-21T07:33:01.250; UTC unless it ends in an offset as +02:00.
    #[arg(long, value_name = "TIME", group = "target", value_parser = parse_datetime)]
    to_datetime: Option<i64>,
    /// To the first record that is at most so old: 90m, 7d, or P1DT12H.
    #[arg(long, value_name = "TIME", group = "target", value_parser = parse_span)]
    by_duration: Option<i64>,
    /// Do it.
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Serialize)]
struct Reset {
    group: String,
    /// Whether the new offsets are committed.
    executed: bool,
    partitions: Vec<Moved>,
}

#[derive(Debug, Serialize)]
struct Moved {
    topic: String,
    partition: i32,
    earliest_offset: i64,
    latest_offset: i64,
    committed_offset: Option<i64>,
    new_offset: i64,
}

impl ResetOffsetsArgs {
    fn target(&self, now_ms: i64) -> OffsetTarget {
        let named = [
            (self.to_latest, OffsetTarget::Latest),
            (self.to_current, OffsetTarget::Current),
            (self.to_earliest, OffsetTarget::Earliest),
        ];
        let ago = |span: i64| OffsetTarget::Time(now_ms.saturating_sub(span).max(0));
        self.to_offset
            .map(OffsetTarget::Offset)
            .or(self.shift_by.map(OffsetTarget::Shift))
            .or(self.to_datetime.map(OffsetTarget::Time))
            .or(self.by_duration.map(ago))
            .or(named
                .into_iter()
                .find(|(is, _)| *is)
                .map(|(_, target)| target))
            .unwrap_or(OffsetTarget::Current)
    }
}

pub(super) async fn run(arguments: ResetOffsetsArgs) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&arguments.client).await?;
    let group = arguments.name.as_str();
    check_inactive(&mut client, group).await?;
    let committed = coordinator::committed(&mut client, group).await?;
    let scope = scope(&arguments, &committed);
    ensure!(
        !scope.is_empty(),
        "group {group} has no offsets; name what it shall read with --topic TOPIC"
    );
    let target = arguments.target(SystemClock.now().get());
    let names: Vec<String> = scope
        .iter()
        .map(|selector| selector.topic.clone())
        .collect();
    let topics = client.topics(&names).await?;
    let (mut moved, mut failures) = (Vec::new(), Vec::new());
    for (selector, topic) in scope.iter().zip(topics) {
        match of_topic(&mut client, selector, &topic, &committed, target).await {
            Ok(partitions) => moved.extend(partitions),
            Err(error) => failures.push(error),
        }
    }
    // All or nothing: a reset that was done in part is hard to see through.
    if !failures.is_empty() {
        return Ok(client::report_all(&failures));
    }
    if arguments.execute {
        commit(&mut client, group, &moved).await?;
    }
    let reset = Reset {
        group: arguments.name,
        executed: arguments.execute,
        partitions: moved,
    };
    print(&reset, arguments.client.json)?;
    Ok(Outcome::Success)
}

/// Kafka's own rule: offsets of a group are its members' business while it has any.
async fn check_inactive(client: &mut Client, group: &str) -> anyhow::Result<()> {
    let description = snapshot::describe(client, group).await?;
    let Some(description) = description else {
        note(&format!("there is no group {group} yet"));
        return Ok(());
    };
    ensure!(
        INACTIVE.contains(&description.state.as_str()),
        "cannot reset the offsets of group {group}: it is {} with {}; stop its consumers first \
         (`corelane group describe {group}` shows where they run), or wait until their sessions have ended",
        description.state,
        match description.members.len() {
            1 => "1 member".to_owned(),
            count => format!("{count} members"),
        }
    );
    Ok(())
}

/// What is to be moved, by topic; each topic once.
fn scope(arguments: &ResetOffsetsArgs, committed: &Offsets<CommittedOffset>) -> Vec<TopicSelector> {
    let mut scope: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    if arguments.all_topics {
        for (topic, partition) in committed.keys() {
            scope.entry(topic.clone()).or_default().push(*partition);
        }
    }
    for selector in &arguments.topics {
        let is_whole = |partitions: &Vec<i32>| partitions.is_empty();
        match scope.get_mut(&selector.topic) {
            // Whoever asks for all of it gets all of it, whatever else is said.
            Some(partitions) if selector.partitions.is_empty() => partitions.clear(),
            Some(partitions) if is_whole(partitions) => {}
            Some(partitions) => partitions.extend(&selector.partitions),
            None => {
                scope.insert(selector.topic.clone(), selector.partitions.clone());
            }
        }
    }
    let selectors = scope.into_iter().map(|(topic, mut partitions)| {
        partitions.sort_unstable();
        partitions.dedup();
        TopicSelector { topic, partitions }
    });
    selectors.collect()
}

async fn of_topic(
    client: &mut Client,
    selector: &TopicSelector,
    topic: &TopicMetadata,
    committed: &Offsets<CommittedOffset>,
    target: OffsetTarget,
) -> anyhow::Result<Vec<Moved>> {
    if !topic.error.is_none() {
        return Err(refused(
            &format!("reset offsets of topic {}", topic.name),
            topic.error,
            None,
        ));
    }
    let known: Vec<i32> = topic
        .partitions
        .iter()
        .map(|partition| partition.index)
        .collect();
    let wanted = if selector.partitions.is_empty() {
        known.clone()
    } else {
        selector.partitions.clone()
    };
    if let Some(stranger) = wanted.iter().find(|partition| !known.contains(partition)) {
        bail!(
            "topic {} has no partition {stranger}; it has partitions 0 to {}",
            topic.name,
            known.len().saturating_sub(1)
        );
    }
    let earliest = offsets::look_up(client, topic, &wanted, EARLIEST).await?;
    let latest = offsets::look_up(client, topic, &wanted, LATEST).await?;
    let timed = match target {
        OffsetTarget::Time(ms) => offsets::look_up(client, topic, &wanted, ms).await?,
        _ => BTreeMap::new(),
    };
    let mut moved = Vec::new();
    for partition in wanted {
        let (Some(&earliest), Some(&latest)) = (earliest.get(&partition), latest.get(&partition))
        else {
            bail!(
                "the server does not tell the offsets of {}-{partition}",
                topic.name
            );
        };
        let committed = committed
            .get(&(topic.name.clone(), partition))
            .map(|committed| committed.offset)
            .filter(|offset| *offset >= 0);
        let known = Known {
            earliest,
            latest,
            committed,
            at_time: timed.get(&partition).copied().filter(|offset| *offset >= 0),
        };
        let Some(new_offset) = decide(target, known) else {
            bail!(
                "the group has no offset for {}-{partition} that could be shifted; use --to-offset, --to-earliest or \
                 --to-latest for it",
                topic.name
            );
        };
        if let OffsetTarget::Offset(asked) = target
            && asked != new_offset
        {
            note(&format!(
                "{}-{partition} holds offsets {earliest} to {latest}: {asked} becomes {new_offset}",
                topic.name
            ));
        }
        moved.push(Moved {
            topic: topic.name.clone(),
            partition,
            earliest_offset: earliest,
            latest_offset: latest,
            committed_offset: committed,
            new_offset,
        });
    }
    Ok(moved)
}

async fn commit(client: &mut Client, group: &str, moved: &[Moved]) -> anyhow::Result<()> {
    let offsets: Offsets<CommitOffset> = moved
        .iter()
        .map(|moved| {
            let commit = CommitOffset {
                offset: moved.new_offset,
                metadata: String::new(),
            };
            ((moved.topic.clone(), moved.partition), commit)
        })
        .collect();
    let build = |version| commit_request(group, &offsets, version);
    let response = coordinator::ask::<OffsetCommitRequest>(client, group, build, |response| {
        worst(&committed(response))
    })
    .await?;
    let codes = committed(&response);
    let Some(((topic, partition), code)) = codes.iter().find(|(_, code)| !code.is_none()) else {
        return Ok(());
    };
    if matches!(
        code,
        ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::RebalanceInProgress
            | ErrorCode::StaleMemberEpoch
    ) {
        bail!(
            "cannot reset the offsets of group {group}: a consumer has joined it meanwhile ({code}); stop its consumers \
             first (`corelane group describe {group}` shows where they run)"
        );
    }
    let failed = codes.values().filter(|code| !code.is_none()).count();
    Err(refused(
        &format!("commit {topic}-{partition} and {} more", failed - 1),
        *code,
        None,
    ))
}

fn print(reset: &Reset, json: bool) -> anyhow::Result<()> {
    let mut out = Stdout::lock();
    if json {
        out.json(reset)?;
    } else {
        let mut table = table::table(&[
            ("topic", Align::Left),
            ("partition", Align::Right),
            ("committed", Align::Right),
            ("new", Align::Right),
            ("lag", Align::Right),
        ]);
        for moved in &reset.partitions {
            table.add_row([
                moved.topic.clone(),
                moved.partition.to_string(),
                number(moved.committed_offset),
                moved.new_offset.to_string(),
                moved
                    .latest_offset
                    .saturating_sub(moved.new_offset)
                    .to_string(),
            ]);
        }
        out.write_all(table::lines(&table).as_bytes())?;
    }
    out.flush()?;
    drop(out);
    if !reset.executed {
        note("nothing is changed; --execute does it");
    }
    Ok(())
}
