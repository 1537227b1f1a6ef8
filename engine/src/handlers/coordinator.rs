//! FindCoordinator: which node coordinates a group. Its coordinator is the node of the lane that its name hashes to.

use kafka_wire::find_coordinator_response::Coordinator;
use kafka_wire::{FindCoordinatorRequest, FindCoordinatorResponse};

use corelane_format::checksum::crc32c;
use corelane_net::error_code::ErrorCode;

use crate::metadata::AdvertisedNode;
use crate::server::cluster::Cluster;

/// Kafka's key types: groups, transactions, share groups.
const GROUP: i8 = 0;
/// From this version on, several keys are asked at once.
const BATCHED_SINCE: i16 = 4;

/// Answers the request.
pub(super) fn answer(
    cluster: &Cluster,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let mut response = FindCoordinatorResponse::default();
    if version >= BATCHED_SINCE {
        for key in request.coordinator_keys {
            let mut coordinator = Coordinator::default();
            match find(cluster, request.key_type, key.as_bytes()) {
                Ok(node) => {
                    coordinator.node_id = node.id;
                    coordinator.host = node.host.as_str().into();
                    coordinator.port = i32::from(node.port);
                }
                Err((code, reason)) => {
                    coordinator.node_id = -1;
                    coordinator.port = -1;
                    coordinator.error_code = code.code();
                    coordinator.error_message = Some(reason.into());
                }
            }
            coordinator.key = key;
            response.coordinators.push(coordinator);
        }
        return response;
    }
    match find(cluster, request.key_type, request.key.as_bytes()) {
        Ok(node) => {
            response.node_id = node.id;
            response.host = node.host.as_str().into();
            response.port = i32::from(node.port);
        }
        Err((code, reason)) => {
            response.node_id = -1;
            response.port = -1;
            response.error_code = code.code();
            response.error_message = Some(reason.into());
        }
    }
    response
}

fn find<'a>(
    cluster: &'a Cluster,
    key_type: i8,
    key: &[u8],
) -> Result<&'a AdvertisedNode, (ErrorCode, &'static str)> {
    if key_type != GROUP {
        // What makes transactional producers give up at once instead of asking again.
        return Err((
            ErrorCode::TransactionalIdAuthorizationFailed,
            "only group coordinators are served yet",
        ));
    }
    let lane = crc32c(key) as usize % cluster.lanes;
    Ok(cluster.node_of_lane(lane))
}
