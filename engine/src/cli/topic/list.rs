//! `corelane topic list`.

use std::io::Write;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{ClientArgs, Outcome, known_id};
use crate::cli::client::Client;
use crate::cli::stdout::Stdout;
use crate::cli::table::{self, Align};

const EXAMPLES: &str = "\
Examples:
  corelane topic list
  corelane topic list --json --bootstrap broker.example:9092";

/// Lists topics.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    /// Show the server's own topics too.
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Serialize)]
struct Listed {
    topic: String,
    partitions: usize,
    internal: bool,
    topic_id: Option<String>,
}

pub(super) async fn run(arguments: ListArgs) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&arguments.client).await?;
    client
        .cluster
        .refresh_all()
        .await
        .context("cannot ask for the topics")?;
    let topics: Vec<Listed> = client
        .cluster
        .topics()
        .filter(|topic| arguments.internal || !topic.is_internal)
        .map(|topic| Listed {
            topic: topic.name.clone(),
            partitions: topic.partitions.len(),
            internal: topic.is_internal,
            topic_id: known_id(topic.id),
        })
        .collect();
    let mut out = Stdout::lock();
    if arguments.client.json {
        out.json(&topics)?;
    } else if topics.is_empty() {
        crate::cli::note("there are no topics; make one with `corelane topic create NAME`");
    } else {
        let mut table = table::table(&[
            ("topic", Align::Left),
            ("partitions", Align::Right),
            ("id", Align::Left),
        ]);
        for topic in &topics {
            table.add_row([
                topic.topic.clone(),
                topic.partitions.to_string(),
                topic.topic_id.clone().unwrap_or_default(),
            ]);
        }
        out.write_all(table::lines(&table).as_bytes())?;
    }
    out.flush()?;
    Ok(Outcome::Success)
}
