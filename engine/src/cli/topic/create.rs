//! `corelane topic create`.

use std::io::Write;

use anyhow::Context;
use clap::Args;
use corelane_format::ids::TopicId;
use corelane_net::ErrorCode;
use kafka_wire::CreateTopicsRequest;
use kafka_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use serde::Serialize;

use super::{ClientArgs, Outcome, configs, known_id};
use crate::cli::client::{self, Client, REQUEST_TIMEOUT_MS};
use crate::cli::key_value::KeyValue;
use crate::cli::stdout::Stdout;

const EXAMPLES: &str = "\
Examples:
  corelane topic create orders
  corelane topic create orders --partitions 12 --config retention.ms=7d
  corelane topic create state --config cleanup.policy=compact --if-not-exists
  corelane topic create orders --config flush.messages=1000 --validate-only";

/// Creates a topic.
///
/// Settings that are not given are the server's defaults.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CreateArgs {
    /// The topic's name: up to 249 letters, digits, dots, hyphens and underscores.
    name: String,
    /// How many partitions it has; the server's num.partitions if not given.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// A setting by Kafka's name, as retention.ms=7d; sizes and times may have units. May be repeated.
    #[arg(long = "config", short, value_name = "KEY=VALUE")]
    configs: Vec<KeyValue>,
    /// Be content if a topic of this name exists, whatever its settings.
    #[arg(long)]
    if_not_exists: bool,
    /// Check everything, create nothing.
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Serialize)]
struct Created {
    topic: String,
    /// Whether this command made it.
    #[serde(rename = "created")]
    made: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    validate_only: bool,
}

fn request(arguments: &CreateArgs) -> anyhow::Result<CreateTopicsRequest> {
    let mut topic = CreatableTopic::default();
    topic.name = arguments.name.as_str().into();
    topic.num_partitions = arguments.partitions.unwrap_or(-1);
    topic.replication_factor = -1;
    for (name, value) in configs::plain(&arguments.configs)? {
        let mut config = CreatableTopicConfig::default();
        config.name = name.as_str().into();
        config.value = Some(value.as_str().into());
        topic.configs.push(config);
    }
    let mut request = CreateTopicsRequest::default();
    request.topics.push(topic);
    request.timeout_ms = REQUEST_TIMEOUT_MS;
    request.validate_only = arguments.validate_only;
    Ok(request)
}

pub(super) async fn run(arguments: CreateArgs) -> anyhow::Result<Outcome> {
    let request = request(&arguments)?;
    let mut client = Client::connect(&arguments.client).await?;
    let response = client.call(|_| request.clone()).await?;
    let answer = response
        .topics
        .into_iter()
        .next()
        .context("the server answered without the topic")?;
    let error = ErrorCode::from_wire(answer.error_code);
    let created = match error {
        ErrorCode::None => Created {
            topic: arguments.name,
            made: !arguments.validate_only,
            topic_id: known_id(TopicId::new(answer.topic_id.to_bytes()))
                .filter(|_| !arguments.validate_only),
            partitions: (answer.num_partitions > 0).then_some(answer.num_partitions),
            validate_only: arguments.validate_only,
        },
        ErrorCode::TopicAlreadyExists if arguments.if_not_exists => Created {
            topic: arguments.name,
            made: false,
            topic_id: None,
            partitions: None,
            validate_only: arguments.validate_only,
        },
        _ => {
            return Err(client::refused(
                &format!("create topic {}", arguments.name),
                error,
                answer.error_message.as_deref(),
            ));
        }
    };
    print(&created, arguments.client.json)?;
    Ok(Outcome::Success)
}

fn print(created: &Created, json: bool) -> anyhow::Result<()> {
    let mut out = Stdout::lock();
    if json {
        out.json(created)?;
    } else {
        let Created {
            topic, partitions, ..
        } = created;
        let size = match partitions {
            Some(1) => " with 1 partition".to_owned(),
            Some(count) => format!(" with {count} partitions"),
            None => String::new(),
        };
        if created.made {
            writeln!(out, "created {topic}{size}")?;
        } else if created.validate_only {
            writeln!(out, "{topic}{size} can be created")?;
        } else {
            writeln!(out, "{topic} exists already")?;
        }
    }
    out.flush()?;
    Ok(())
}
