//! `corelane topic delete`.

use std::io::Write;

use clap::Args;
use corelane_net::ErrorCode;
use kafka_wire::DeleteTopicsRequest;
use kafka_wire::delete_topics_request::DeleteTopicState;
use serde::Serialize;

use super::{ClientArgs, Outcome};
use crate::cli::client::{self, Client, REQUEST_TIMEOUT_MS};
use crate::cli::stdout::Stdout;

const EXAMPLES: &str = "\
Examples:
  corelane topic delete orders
  corelane topic delete orders payments --if-exists";

/// The version from which a request names topics in a structure.
const STRUCTURED_SINCE: i16 = 6;

/// Deletes topics with all their records.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DeleteArgs {
    /// The topics' names.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Be content if there is no such topic.
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Serialize)]
struct Deleted {
    topic: String,
    /// Whether this command removed it.
    deleted: bool,
}

fn request(names: &[String], version: i16) -> DeleteTopicsRequest {
    let mut request = DeleteTopicsRequest::default();
    request.timeout_ms = REQUEST_TIMEOUT_MS;
    for name in names {
        if version >= STRUCTURED_SINCE {
            let mut topic = DeleteTopicState::default();
            topic.name = Some(name.as_str().into());
            request.topics.push(topic);
        } else {
            request.topic_names.push(name.as_str().into());
        }
    }
    request
}

pub(super) async fn run(arguments: DeleteArgs) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&arguments.client).await?;
    let response = client
        .call(|version| request(&arguments.names, version))
        .await?;
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for answer in response.responses {
        let topic = answer.name.as_deref().unwrap_or_default().to_owned();
        match ErrorCode::from_wire(answer.error_code) {
            ErrorCode::None => results.push(Deleted {
                topic,
                deleted: true,
            }),
            ErrorCode::UnknownTopicOrPartition if arguments.if_exists => {
                results.push(Deleted {
                    topic,
                    deleted: false,
                });
            }
            error => failures.push(client::refused(
                &format!("delete topic {topic}"),
                error,
                answer.error_message.as_deref(),
            )),
        }
    }
    let mut out = Stdout::lock();
    if arguments.client.json {
        out.json(&results)?;
    } else {
        for Deleted { topic, deleted } in &results {
            let outcome = if *deleted { "deleted" } else { "there was no" };
            writeln!(out, "{outcome} {topic}")?;
        }
    }
    out.flush()?;
    drop(out);
    Ok(client::report_all(&failures))
}
