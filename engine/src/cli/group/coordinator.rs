//! Calls to the coordinator of a group, which may be starting or moving.

use std::time::{Duration, Instant};

use anyhow::Context;
use corelane_net::ErrorCode;
use corelane_net::client::ClusterError;
use corelane_net::group::requests::{
    CommittedOffset, OFFSETS_VERSION_MAX, Offsets, committed_offsets, offset_fetch_request,
};
use glommio::timer::sleep;
use kafka_wire::{OffsetFetchRequest, RequestResponsePair};

use crate::cli::client::{Client, refused};

/// How long a coordinator may take to be there. Reading back the groups of a partition takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// The broker that coordinates a group.
pub(super) async fn find(client: &mut Client, group: &str) -> anyhow::Result<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.cluster.coordinator(group).await {
            Err(ClusterError::Broker { code, .. }) if is_passing(code) => {
                pause(deadline, group, code).await?;
            }
            Err(ClusterError::Broker { code, .. }) => {
                return Err(refused(
                    &format!("find the coordinator of group {group}"),
                    code,
                    None,
                ));
            }
            found => {
                return found
                    .with_context(|| format!("cannot find the coordinator of group {group}"));
            }
        }
    }
}

/// Makes a call to the coordinator of a group, and again while `code_of` its answer says that it is not ready. Versions
/// above [`OFFSETS_VERSION_MAX`] are not used.
pub(super) async fn ask<R: RequestResponsePair>(
    client: &mut Client,
    group: &str,
    build: impl Fn(i16) -> R,
    code_of: impl Fn(&R::Response) -> ErrorCode,
) -> anyhow::Result<R::Response> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let broker = find(client, group).await?;
        let response = client
            .cluster
            .call_in(broker, OFFSETS_VERSION_MAX, &build)
            .await
            .with_context(|| format!("cannot ask the coordinator of group {group}"))?;
        let code = code_of(&response);
        if !is_passing(code) {
            return Ok(response);
        }
        pause(deadline, group, code).await?;
    }
}

/// All offsets that a group has committed.
pub(super) async fn committed(
    client: &mut Client,
    group: &str,
) -> anyhow::Result<Offsets<CommittedOffset>> {
    let response = ask::<OffsetFetchRequest>(
        client,
        group,
        |version| offset_fetch_request(group, None, version),
        |response| committed_offsets(response).err().unwrap_or(ErrorCode::None),
    )
    .await?;
    committed_offsets(&response)
        .map_err(|code| refused(&format!("read the offsets of group {group}"), code, None))
}

async fn pause(deadline: Instant, group: &str, code: ErrorCode) -> anyhow::Result<()> {
    if Instant::now() >= deadline {
        return Err(refused(
            &format!("ask the coordinator of group {group}"),
            code,
            None,
        ));
    }
    sleep(PAUSE).await;
    Ok(())
}

fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
    )
}
