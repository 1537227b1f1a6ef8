//! `corelane group list`.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;
use corelane_net::ErrorCode;
use kafka_wire::ListGroupsRequest;
use serde::Serialize;

use super::kind::{Kind, State};
use super::{ClientArgs, Outcome};
use crate::cli::client::{Client, refused};
use crate::cli::stdout::Stdout;
use crate::cli::table::{self, Align};

const EXAMPLES: &str = "\
Examples:
  corelane group list
  corelane group list --state stable --state preparing-rebalance
  corelane group list --type classic --json";

/// From these versions on, brokers tell states and take them as a filter, and the same for types.
const STATES_SINCE: i16 = 4;
const TYPES_SINCE: i16 = 5;

/// Lists groups.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    /// Only groups in this state. May be repeated.
    #[arg(long = "state", value_name = "STATE", ignore_case = true)]
    states: Vec<State>,
    /// Only groups of this type. May be repeated.
    #[arg(long = "type", value_name = "TYPE", ignore_case = true)]
    kinds: Vec<Kind>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Listed {
    pub(super) group: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) state: Option<String>,
    pub(super) protocol_type: String,
}

fn request(states: &[State], kinds: &[Kind], version: i16) -> ListGroupsRequest {
    let mut request = ListGroupsRequest::default();
    if version >= STATES_SINCE {
        request.states_filter = states.iter().map(|state| state.name().into()).collect();
    }
    if version >= TYPES_SINCE {
        request.types_filter = kinds.iter().map(|kind| kind.name().into()).collect();
    }
    request
}

/// The groups of every broker that are in one of these states and of one of these types, by name; no state and no type is
/// all of them.
pub(super) async fn all(
    client: &mut Client,
    states: &[State],
    kinds: &[Kind],
) -> anyhow::Result<Vec<Listed>> {
    let brokers: Vec<i32> = client.cluster.brokers().map(|broker| broker.id).collect();
    let mut groups = Vec::new();
    for broker in brokers {
        let mut asked_in = 0;
        let response = client
            .cluster
            .call_in(broker, i16::MAX, |version| {
                asked_in = version;
                request(states, kinds, version)
            })
            .await
            .with_context(|| format!("cannot ask broker {broker} for its groups"))?;
        let error = ErrorCode::from_wire(response.error_code);
        if !error.is_none() {
            return Err(refused(
                &format!("list the groups of broker {broker}"),
                error,
                None,
            ));
        }
        if asked_in < STATES_SINCE && !states.is_empty() {
            bail!("broker {broker} is too old to tell the states of groups; leave out --state");
        }
        if asked_in < TYPES_SINCE && !kinds.is_empty() {
            bail!("broker {broker} is too old to tell the types of groups; leave out --type");
        }
        groups.extend(response.groups.into_iter().map(|group| Listed {
            group: group.group_id.to_string(),
            kind: Some(group.group_type.to_string()).filter(|kind| !kind.is_empty()),
            state: Some(group.group_state.to_string()).filter(|state| !state.is_empty()),
            protocol_type: group.protocol_type.to_string(),
        }));
    }
    groups.sort_unstable();
    groups.dedup_by(|one, other| one.group == other.group);
    Ok(groups)
}

pub(super) async fn run(arguments: ListArgs) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&arguments.client).await?;
    let groups = all(&mut client, &arguments.states, &arguments.kinds).await?;
    let mut out = Stdout::lock();
    if arguments.client.json {
        out.json(&groups)?;
    } else if groups.is_empty() {
        crate::cli::note(
            "there are no such groups; one is there as soon as a consumer joins it, \
             as `corelane consume TOPIC --group NAME` does",
        );
    } else {
        let mut table = table::table(&[
            ("group", Align::Left),
            ("type", Align::Left),
            ("state", Align::Left),
            ("protocol", Align::Left),
        ]);
        for group in groups {
            table.add_row([
                group.group,
                group.kind.unwrap_or_else(|| "?".to_owned()),
                group.state.unwrap_or_else(|| "?".to_owned()),
                group.protocol_type,
            ]);
        }
        out.write_all(table::lines(&table).as_bytes())?;
    }
    out.flush()?;
    Ok(Outcome::Success)
}
