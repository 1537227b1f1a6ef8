//! `corelane topic describe`.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use corelane_net::ErrorCode;
use corelane_net::client::{Broker, TopicMetadata};
use kafka_wire::DescribeConfigsRequest;
use kafka_wire::describe_configs_request::DescribeConfigsResource;
use serde::Serialize;

use super::{ClientArgs, Outcome, known_id};
use crate::cli::client::{self, Client, RESOURCE_TOPIC};
use crate::cli::offsets::{self, EARLIEST, LATEST};
use crate::cli::stdout::Stdout;
use crate::cli::table::{self, Align};

const EXAMPLES: &str = "\
Examples:
  corelane topic describe orders
  corelane topic describe orders payments --json";

/// A setting of the topic itself, and not a default.
const SOURCE_TOPIC: i8 = 1;

/// Shows topics: partitions, their leaders and offsets, and the settings that are not the server's defaults.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DescribeArgs {
    /// The topics' names.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Serialize)]
struct Description {
    topic: String,
    topic_id: Option<String>,
    internal: bool,
    /// Settings of the topic itself, by name.
    configs: BTreeMap<String, String>,
    partitions: Vec<PartitionDescription>,
}

#[derive(Debug, Serialize)]
struct PartitionDescription {
    partition: i32,
    leader: Option<i32>,
    leader_address: Option<String>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync_replicas: Vec<i32>,
    /// The first offset that can be read.
    earliest_offset: Option<i64>,
    /// The offset after the last that can be read.
    latest_offset: Option<i64>,
}

pub(super) async fn run(arguments: DescribeArgs) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&arguments.client).await?;
    let mut descriptions = Vec::new();
    let mut failures = Vec::new();
    for topic in client.topics(&arguments.names).await? {
        match describe(&mut client, &topic).await {
            Ok(description) => descriptions.push(description),
            Err(error) => failures.push(error),
        }
    }
    let mut out = Stdout::lock();
    if arguments.client.json {
        out.json(&descriptions)?;
    } else {
        for (index, description) in descriptions.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            out.write_all(show(description).as_bytes())?;
        }
    }
    out.flush()?;
    drop(out);
    Ok(client::report_all(&failures))
}

async fn describe(client: &mut Client, topic: &TopicMetadata) -> anyhow::Result<Description> {
    if !topic.error.is_none() {
        return Err(client::refused(
            &format!("describe topic {}", topic.name),
            topic.error,
            None,
        ));
    }
    // A partition without a leader has offsets too, but nobody who could tell them.
    let led: Vec<i32> = topic
        .partitions
        .iter()
        .filter(|partition| partition.leader.is_some())
        .map(|partition| partition.index)
        .collect();
    let earliest = offsets::look_up(client, topic, &led, EARLIEST).await?;
    let latest = offsets::look_up(client, topic, &led, LATEST).await?;
    let configs = configs(client, &topic.name).await?;
    let address = |leader: i32| {
        client
            .cluster
            .brokers()
            .find(|broker| broker.id == leader)
            .map(Broker::address)
    };
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| PartitionDescription {
            partition: partition.index,
            leader: partition.leader,
            leader_address: partition.leader.and_then(address),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.clone(),
            in_sync_replicas: partition.in_sync_replicas.clone(),
            earliest_offset: earliest.get(&partition.index).copied(),
            latest_offset: latest.get(&partition.index).copied(),
        })
        .collect();
    Ok(Description {
        topic: topic.name.clone(),
        topic_id: known_id(topic.id),
        internal: topic.is_internal,
        configs,
        partitions,
    })
}

/// The settings that the topic itself has.
async fn configs(client: &mut Client, topic: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut resource = DescribeConfigsResource::default();
    resource.resource_type = RESOURCE_TOPIC;
    resource.resource_name = topic.into();
    resource.configuration_keys = None;
    let mut request = DescribeConfigsRequest::default();
    request.resources.push(resource);
    let response = client.call(|_| request.clone()).await?;
    let mut configs = BTreeMap::new();
    for result in response.results {
        let error = ErrorCode::from_wire(result.error_code);
        if !error.is_none() {
            let what = format!("read the settings of topic {topic}");
            return Err(client::refused(
                &what,
                error,
                result.error_message.as_deref(),
            ));
        }
        for config in result.configs {
            if config.config_source == SOURCE_TOPIC {
                let value = config.value.as_deref().unwrap_or_default().to_owned();
                configs.insert(config.name.to_string(), value);
            }
        }
    }
    Ok(configs)
}

fn show(description: &Description) -> String {
    let mut text = format!("topic {}", description.topic);
    if let Some(id) = &description.topic_id {
        text.extend(["  id ", id]);
    }
    if description.internal {
        text.push_str("  internal");
    }
    text.push('\n');
    for (name, value) in &description.configs {
        text.extend(["  ", name, "=", value, "\n"]);
    }
    let mut table = table::table(&[
        ("partition", Align::Right),
        ("leader", Align::Right),
        ("address", Align::Left),
        ("epoch", Align::Right),
        ("replicas", Align::Left),
        ("in sync", Align::Left),
        ("earliest", Align::Right),
        ("latest", Align::Right),
        ("offsets", Align::Right),
    ]);
    let number = |known: Option<i64>| known.map_or("?".to_owned(), |number| number.to_string());
    for partition in &description.partitions {
        let held = match (partition.earliest_offset, partition.latest_offset) {
            (Some(earliest), Some(latest)) => latest.checked_sub(earliest),
            _ => None,
        };
        table.add_row([
            partition.partition.to_string(),
            number(partition.leader.map(i64::from)),
            partition
                .leader_address
                .clone()
                .unwrap_or_else(|| "?".to_owned()),
            partition.leader_epoch.to_string(),
            numbers(&partition.replicas),
            numbers(&partition.in_sync_replicas),
            number(partition.earliest_offset),
            number(partition.latest_offset),
            number(held),
        ]);
    }
    text.push_str(&table::lines(&table));
    text
}

fn numbers(nodes: &[i32]) -> String {
    nodes
        .iter()
        .map(i32::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_shown_with_what_sets_it_apart() {
        let description = Description {
            topic: "orders".to_owned(),
            topic_id: Some("AAAAAAAAAAAAAAAAAAAAAQ".to_owned()),
            internal: false,
            configs: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]),
            partitions: vec![PartitionDescription {
                partition: 0,
                leader: Some(1000),
                leader_address: Some("127.0.0.1:9092".to_owned()),
                leader_epoch: 0,
                replicas: vec![1000],
                in_sync_replicas: vec![1000],
                earliest_offset: Some(5),
                latest_offset: Some(12),
            }],
        };
        let text = show(&description);
        assert!(
            text.starts_with("topic orders  id AAAAAAAAAAAAAAAAAAAAAQ\n  retention.ms=1000\n"),
            "{text}"
        );
        let row: Vec<&str> = text
            .lines()
            .last()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        assert_eq!(
            row,
            [
                "0",
                "1000",
                "127.0.0.1:9092",
                "0",
                "1000",
                "1000",
                "5",
                "12",
                "7"
            ]
        );
    }
}
