//! Control requests: decoded by the generated codecs, answered in the order of their connection.

use std::future::Future;
use std::rc::Rc;

use corelane_net::api::{
    self, RequestHeader, answer_api_versions, decode_request, encode_response,
};
use corelane_net::response::Response;
use corelane_net::server::{CloseReason, ConnectionInfo, Pending};
use kafka_wire::{ListPartitionReassignmentsRequest, RequestResponsePair};

use super::fetch::FetchSlice;
use super::service::Owned;
use super::{
    configs, coordinator, delete_records, features, groups, leader_epoch, list_offsets, log_dirs,
    metadata, producer_id, producers, quorum, topics,
};
use crate::lane::Lane;
use crate::metadata::controller::alter_reassignments::alter_reassignments;
use crate::metadata::describe;

pub(super) type Answer = Result<Response<FetchSlice>, CloseReason>;

/// Handles a request that is neither a produce nor a fetch, or one in a version that is not served.
pub(super) fn control(
    lane: &Rc<Lane>,
    connection: &ConnectionInfo,
    header: &RequestHeader<'_>,
    body: &[u8],
) -> Pending<FetchSlice> {
    if header.api_key == api::API_VERSIONS {
        return match answer_api_versions(header, body, &features::SERVER_FEATURES) {
            Ok(response) => Pending::Ready(response),
            Err(error) => Pending::Close(CloseReason::Service(error.to_string())),
        };
    }
    if !header.has_supported_version() {
        // There is no response that the client could read, since its version's layout is not known; Kafka closes too.
        return Pending::Close(CloseReason::Service(format!(
            "API {} version {} is not supported",
            header.api_key, header.api_version
        )));
    }
    let lane = Rc::clone(lane);
    let request = Owned::new(connection, header, body);
    Pending::Later(Box::pin(async move { dispatch(lane, request).await }))
}

async fn dispatch(lane: Rc<Lane>, request: Owned) -> Answer {
    let version = request.version;
    match request.api_key {
        api::METADATA => answer(request, |asked| metadata::metadata(lane, asked, version)).await,
        api::DESCRIBE_TOPIC_PARTITIONS => {
            answer(request, |asked| async move {
                metadata::describe_topic_partitions(&lane, &asked)
            })
            .await
        }
        api::DESCRIBE_CLUSTER => {
            answer(request, |asked| async move {
                metadata::describe_cluster(&lane, &asked, version)
            })
            .await
        }
        api::CREATE_TOPICS => answer(request, |asked| topics::create(lane, asked)).await,
        api::DELETE_TOPICS => answer(request, |asked| topics::delete(lane, asked, version)).await,
        api::CREATE_PARTITIONS => {
            answer(request, |asked| topics::create_partitions_of(lane, asked)).await
        }
        api::DESCRIBE_CONFIGS => {
            answer(
                request,
                |asked| async move { configs::describe(&lane, &asked) },
            )
            .await
        }
        api::INCREMENTAL_ALTER_CONFIGS => {
            answer(request, |asked| configs::alter(lane, asked)).await
        }
        api::ALTER_CONFIGS => answer(request, |asked| configs::replace(lane, asked)).await,
        api::LIST_CONFIG_RESOURCES => {
            answer(request, |asked| async move {
                describe::config_resources::list_config_resources(
                    &asked,
                    version,
                    &lane.image(),
                    &lane.nodes(),
                )
            })
            .await
        }
        api::DESCRIBE_LOG_DIRS => answer(request, |asked| log_dirs::describe(lane, asked)).await,
        api::DESCRIBE_PRODUCERS => answer(request, |asked| producers::describe(lane, asked)).await,
        api::ELECT_LEADERS => {
            answer(request, |asked| async move {
                describe::elections::elect_leaders(&asked, &lane.image())
            })
            .await
        }
        api::ALTER_PARTITION_REASSIGNMENTS => {
            answer(request, |asked| async move {
                alter_reassignments(&asked, &lane.image(), &lane.defaults(), &lane.nodes())
            })
            .await
        }
        api::LIST_PARTITION_REASSIGNMENTS => {
            answer(request, |_: ListPartitionReassignmentsRequest| async {
                describe::elections::list_reassignments()
            })
            .await
        }
        api::DESCRIBE_QUORUM => {
            answer(request, |asked| quorum::describe(lane, asked, version)).await
        }
        api::UPDATE_FEATURES => {
            answer(request, |asked| async move {
                features::update(&asked, version, &features::SERVER_FEATURES, &lane.nodes())
            })
            .await
        }
        api::LIST_OFFSETS => {
            answer(request, |asked| list_offsets::handle(lane, asked, version)).await
        }
        api::DELETE_RECORDS => answer(request, |asked| delete_records::handle(lane, asked)).await,
        api::OFFSET_FOR_LEADER_EPOCH => {
            answer(request, |asked| leader_epoch::handle(lane, asked)).await
        }
        api::INIT_PRODUCER_ID => answer(request, |asked| producer_id::handle(lane, asked)).await,
        api::FIND_COORDINATOR => {
            answer(request, |asked| coordinator::handle(lane, asked, version)).await
        }
        other if groups::serves(other) => groups::dispatch(lane, request).await,
        other => Err(CloseReason::Service(format!("API {other} has no handler"))),
    }
}

pub(super) async fn answer<R, F>(request: Owned, handler: impl FnOnce(R) -> F) -> Answer
where
    R: RequestResponsePair,
    F: Future<Output = R::Response>,
{
    let asked = decode_request::<R>(&request.body, request.version).map_err(|error| {
        CloseReason::Service(format!(
            "malformed body of API {} version {}: {error}",
            request.api_key, request.version
        ))
    })?;
    let response = handler(asked).await;
    encode_response(request.correlation_id, request.version, &response).map_err(|error| {
        CloseReason::Service(format!(
            "API {} version {}: {error}",
            request.api_key, request.version
        ))
    })
}
