//! `corelane topic alter`: settings, and more partitions.

use std::io::Write;

use anyhow::Context;
use clap::{ArgGroup, Args};
use corelane_net::ErrorCode;
use kafka_wire::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::{CreatePartitionsRequest, IncrementalAlterConfigsRequest};
use serde::Serialize;

use super::{ClientArgs, Outcome, configs};
use crate::cli::client::{self, Client, REQUEST_TIMEOUT_MS, RESOURCE_TOPIC};
use crate::cli::key_value::KeyValue;
use crate::cli::stdout::Stdout;

const EXAMPLES: &str = "\
Examples:
  corelane topic alter orders --config retention.ms=7d --config retention.bytes=10GiB
  corelane topic alter orders --delete-config retention.ms
  corelane topic alter orders --partitions 24";

const SET: i8 = 0;
const DELETE: i8 = 1;

/// Changes a topic's settings, or gives it more partitions.
///
/// Settings are changed all together or not at all, and before partitions are added.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct AlterArgs {
    /// The topic's name.
    name: String,
    /// Set this, by Kafka's name; sizes and times may have units. May be repeated.
    #[arg(long = "config", short, value_name = "KEY=VALUE", group = "change")]
    configs: Vec<KeyValue>,
    /// Go back to the server's default. May be repeated.
    #[arg(long = "delete-config", short, value_name = "KEY", group = "change")]
    delete_configs: Vec<String>,
    /// How many partitions it shall have; never fewer than now. Keys then map to other partitions.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(1..), group = "change")]
    partitions: Option<i32>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Serialize)]
struct Altered {
    topic: String,
    set: Vec<String>,
    deleted: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
}

fn configs_request(
    topic: &str,
    set: &[(String, String)],
    delete: &[String],
) -> IncrementalAlterConfigsRequest {
    let change = |name: &str, operation, value: Option<&str>| {
        let mut config = AlterableConfig::default();
        config.name = name.into();
        config.config_operation = operation;
        config.value = value.map(Into::into);
        config
    };
    let mut resource = AlterConfigsResource::default();
    resource.resource_type = RESOURCE_TOPIC;
    resource.resource_name = topic.into();
    resource.configs = set
        .iter()
        .map(|(name, value)| change(name, SET, Some(value)))
        .chain(delete.iter().map(|name| change(name, DELETE, None)))
        .collect();
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources.push(resource);
    request
}

fn partitions_request(topic: &str, count: i32) -> CreatePartitionsRequest {
    let mut growth = CreatePartitionsTopic::default();
    growth.name = topic.into();
    growth.count = count;
    growth.assignments = None;
    let mut request = CreatePartitionsRequest::default();
    request.topics.push(growth);
    request.timeout_ms = REQUEST_TIMEOUT_MS;
    request
}

pub(super) async fn run(arguments: AlterArgs) -> anyhow::Result<Outcome> {
    let AlterArgs {
        name,
        configs,
        delete_configs,
        partitions,
        client: client_args,
    } = arguments;
    let set = configs::plain(&configs)?;
    let mut client = Client::connect(&client_args).await?;
    if !set.is_empty() || !delete_configs.is_empty() {
        let request = configs_request(&name, &set, &delete_configs);
        let response = client.call(|_| request.clone()).await?;
        let answer = response
            .responses
            .into_iter()
            .next()
            .context("the server answered without the topic")?;
        let error = ErrorCode::from_wire(answer.error_code);
        if !error.is_none() {
            return Err(client::refused(
                &format!("change the settings of topic {name}"),
                error,
                answer.error_message.as_deref(),
            ));
        }
    }
    if let Some(count) = partitions {
        let request = partitions_request(&name, count);
        let response = client.call(|_| request.clone()).await?;
        let answer = response
            .results
            .into_iter()
            .next()
            .context("the server answered without the topic")?;
        let error = ErrorCode::from_wire(answer.error_code);
        if !error.is_none() {
            return Err(client::refused(
                &format!("give topic {name} {count} partitions"),
                error,
                answer.error_message.as_deref(),
            ));
        }
    }
    let altered = Altered {
        topic: name,
        set: set
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        deleted: delete_configs,
        partitions,
    };
    let mut out = Stdout::lock();
    if client_args.json {
        out.json(&altered)?;
    } else {
        for setting in &altered.set {
            writeln!(out, "{}: {setting}", altered.topic)?;
        }
        for setting in &altered.deleted {
            writeln!(
                out,
                "{}: {setting} is the server's default again",
                altered.topic
            )?;
        }
        if let Some(count) = altered.partitions {
            writeln!(out, "{}: {count} partitions", altered.topic)?;
        }
    }
    out.flush()?;
    Ok(Outcome::Success)
}
