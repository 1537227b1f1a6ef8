//! `corelane group delete`.

use std::io::Write;

use clap::Args;
use corelane_net::ErrorCode;
use kafka_wire::{DeleteGroupsRequest, DeleteGroupsResponse};
use serde::Serialize;

use super::{ClientArgs, Outcome, coordinator};
use crate::cli::client::{self, Client};
use crate::cli::stdout::Stdout;

const EXAMPLES: &str = "\
Examples:
  corelane group delete reports
  corelane group delete reports alerts --if-exists";

/// Deletes groups that have no members, with their offsets.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DeleteArgs {
    /// The groups' names.
    #[arg(required = true, value_name = "GROUP")]
    names: Vec<String>,
    /// Be content if there is no such group.
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Serialize)]
struct Deleted {
    group: String,
    /// Whether this command removed it.
    deleted: bool,
}

fn code_of(response: &DeleteGroupsResponse) -> ErrorCode {
    let result = response.results.first();
    result.map_or(ErrorCode::UnknownServerError, |result| {
        ErrorCode::from_wire(result.error_code)
    })
}

pub(super) async fn run(arguments: DeleteArgs) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&arguments.client).await?;
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for group in arguments.names {
        let build = |_| {
            let mut request = DeleteGroupsRequest::default();
            request.groups_names = vec![group.as_str().into()];
            request
        };
        let code = match coordinator::ask(&mut client, &group, build, code_of).await {
            Ok(response) => code_of(&response),
            Err(error) => {
                failures.push(error);
                continue;
            }
        };
        let deleted = code.is_none();
        if deleted || (code == ErrorCode::GroupIdNotFound && arguments.if_exists) {
            results.push(Deleted { group, deleted });
        } else {
            failures.push(client::refused(
                &format!("delete group {group}"),
                code,
                None,
            ));
        }
    }
    let mut out = Stdout::lock();
    if arguments.client.json {
        out.json(&results)?;
    } else {
        for Deleted { group, deleted } in &results {
            let outcome = if *deleted { "deleted" } else { "there was no" };
            writeln!(out, "{outcome} {group}")?;
        }
    }
    out.flush()?;
    drop(out);
    Ok(client::report_all(&failures))
}
