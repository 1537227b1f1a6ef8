//! `corelane group`: look at consumer groups, move their offsets, remove them.

mod coordinator;
mod delete;
mod describe;
mod kind;
mod lag;
mod list;
mod offset_target;
mod reset_offsets;
mod snapshot;
mod topic_selector;
mod watch;

use clap::Subcommand;

use super::Outcome;
use super::client::{self, ClientArgs};

/// Lists, describes, resets and deletes consumer groups, and shows how far they are behind.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    List(list::ListArgs),
    Describe(describe::DescribeArgs),
    Lag(lag::LagArgs),
    ResetOffsets(reset_offsets::ResetOffsetsArgs),
    Delete(delete::DeleteArgs),
}

/// Runs one of them.
pub(crate) fn run(command: GroupCommand) -> anyhow::Result<Outcome> {
    client::run(async move {
        match command {
            GroupCommand::List(arguments) => list::run(arguments).await,
            GroupCommand::Describe(arguments) => describe::run(arguments).await,
            GroupCommand::Lag(arguments) => lag::run(arguments).await,
            GroupCommand::ResetOffsets(arguments) => reset_offsets::run(arguments).await,
            GroupCommand::Delete(arguments) => delete::run(arguments).await,
        }
    })
}
