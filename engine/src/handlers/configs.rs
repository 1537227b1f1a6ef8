//! `DescribeConfigs`, `IncrementalAlterConfigs` and the older `AlterConfigs`.

use std::rc::Rc;

use kafka_wire::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::errors;
use crate::lane::Lane;
use crate::metadata::controller::alter_configs::incremental_alter_configs;
use crate::metadata::controller::replace_configs::replace_configs;
use crate::metadata::describe;

/// Answers DescribeConfigs from this lane's image.
pub(super) fn describe(lane: &Lane, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    describe::configs::describe_configs(request, &lane.image(), &lane.defaults(), &lane.nodes())
}

/// Changes configurations; those answered without error are durable and in force on every lane.
pub(super) async fn alter(
    lane: Rc<Lane>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let resources: Vec<_> = request
        .resources
        .iter()
        .map(|resource| (resource.resource_type, resource.resource_name.clone()))
        .collect();
    let decided = lane
        .decide(move |known| {
            incremental_alter_configs(&request, known.image, known.defaults, known.nodes)
        })
        .await;
    decided.unwrap_or_else(|error| {
        let code = errors::of_controller(&error);
        let mut response = IncrementalAlterConfigsResponse::default();
        response.responses = resources
            .into_iter()
            .map(|(resource_type, resource_name)| {
                let mut one = AlterConfigsResourceResponse::default();
                one.resource_type = resource_type;
                one.resource_name = resource_name;
                one.error_code = code.code();
                one.error_message = Some(error.to_string().as_str().into());
                one
            })
            .collect();
        response
    })
}

/// Replaces whole configurations; those answered without error are durable and in force on every lane.
pub(super) async fn replace(lane: Rc<Lane>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let resources: Vec<_> = request
        .resources
        .iter()
        .map(|resource| (resource.resource_type, resource.resource_name.clone()))
        .collect();
    let decided = lane
        .decide(move |known| replace_configs(&request, known.image, known.defaults, known.nodes))
        .await;
    decided.unwrap_or_else(|error| {
        let code = errors::of_controller(&error);
        let mut response = AlterConfigsResponse::default();
        response.responses = resources
            .into_iter()
            .map(|(resource_type, resource_name)| {
                let mut one =
                    kafka_wire::alter_configs_response::AlterConfigsResourceResponse::default();
                one.resource_type = resource_type;
                one.resource_name = resource_name;
                one.error_code = code.code();
                one.error_message = Some(error.to_string().as_str().into());
                one
            })
            .collect();
        response
    })
}
