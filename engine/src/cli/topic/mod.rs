//! `corelane topic`: make, list, look at, change and remove topics.

mod alter;
mod configs;
mod create;
mod delete;
mod describe;
mod list;

use clap::Subcommand;
use corelane_format::ids::TopicId;

use super::Outcome;
use super::client::{self, ClientArgs};

/// Creates, lists, describes, alters and deletes topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    Create(create::CreateArgs),
    List(list::ListArgs),
    Describe(describe::DescribeArgs),
    Alter(alter::AlterArgs),
    Delete(delete::DeleteArgs),
}

/// Runs one of them.
pub(crate) fn run(command: TopicCommand) -> anyhow::Result<Outcome> {
    client::run(async move {
        match command {
            TopicCommand::Create(arguments) => create::run(arguments).await,
            TopicCommand::List(arguments) => list::run(arguments).await,
            TopicCommand::Describe(arguments) => describe::run(arguments).await,
            TopicCommand::Alter(arguments) => alter::run(arguments).await,
            TopicCommand::Delete(arguments) => delete::run(arguments).await,
        }
    })
}

/// A topic's id as text, unless the server has none.
fn known_id(id: TopicId) -> Option<String> {
    (id != TopicId::default()).then(|| id.to_string())
}
