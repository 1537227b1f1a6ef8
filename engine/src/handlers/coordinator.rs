//! FindCoordinator: which node coordinates a group. It is the node of the lane that owns the group's partition of
//! `__consumer_offsets`, which the first question creates.

use std::rc::Rc;

use kafka_wire::find_coordinator_response::Coordinator;
use kafka_wire::{FindCoordinatorRequest, FindCoordinatorResponse};

use corelane_net::error_code::ErrorCode;

use super::groups::owner_of;
use crate::group::OFFSETS_TOPIC;
use crate::lane::Lane;
use crate::metadata::controller::auto_create::auto_create_topics;
use crate::metadata::{AdvertisedNode, RandomTopicIds};

/// Kafka's key types: groups, transactions, share groups.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// From this version on, several keys are asked at once.
const BATCHED_SINCE: i16 = 4;

type Refusal = (ErrorCode, &'static str);

/// Answers the request.
pub(super) async fn handle(
    lane: Rc<Lane>,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let ready = prepare(&lane, request.key_type).await;
    let find = |key: &str| -> Result<&AdvertisedNode, Refusal> {
        ready?;
        let (_, owner) = owner_of(&lane, key).map_err(|_| {
            (
                ErrorCode::CoordinatorNotAvailable,
                "its state has no place yet",
            )
        })?;
        Ok(lane.cluster.node_of_lane(owner))
    };
    let mut response = FindCoordinatorResponse::default();
    if version >= BATCHED_SINCE {
        for key in request.coordinator_keys {
            let mut coordinator = Coordinator::default();
            match find(&key) {
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
    match find(&request.key) {
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

/// Sees to it that there is a topic for the groups.
async fn prepare(lane: &Rc<Lane>, key_type: i8) -> Result<(), Refusal> {
    match key_type {
        GROUP => {}
        // What makes transactional producers give up at once instead of asking again.
        TRANSACTION => {
            return Err((
                ErrorCode::TransactionalIdAuthorizationFailed,
                "only group coordinators are served yet",
            ));
        }
        _ => {
            return Err((
                ErrorCode::InvalidRequest,
                "only groups and transactions have coordinators here",
            ));
        }
    }
    if lane.image().topic(OFFSETS_TOPIC).is_some() {
        return Ok(());
    }
    let names = [OFFSETS_TOPIC.to_owned()];
    let decided = lane
        .decide(move |known| {
            let mut ids = RandomTopicIds::default();
            auto_create_topics(&names, known.image, known.defaults, known.nodes, &mut ids)
        })
        .await;
    let refused = match decided {
        Ok(refused) => refused.into_iter().next().map(|(_, code)| code.to_string()),
        Err(error) => Some(error.to_string()),
    };
    match refused {
        None => Ok(()),
        Some(reason) => {
            tracing::error!(reason, "cannot create __consumer_offsets");
            Err((
                ErrorCode::CoordinatorNotAvailable,
                "__consumer_offsets cannot be created",
            ))
        }
    }
}
