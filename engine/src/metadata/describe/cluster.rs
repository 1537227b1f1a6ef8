//! `DescribeCluster` (v0 to v2): the cluster's id and nodes.

use corelane_net::error_code::ErrorCode;
use kafka_wire::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_wire_core::StrBytes;

use super::CLUSTER_OPERATIONS;
use crate::metadata::nodes::Nodes;

/// Kafka's number for "the brokers" among kinds of endpoints.
const BROKERS: i8 = 1;
/// Kafka's number for "the controllers" among kinds of endpoints.
const CONTROLLERS: i8 = 2;

/// Answers a `DescribeCluster` request of this version.
pub fn describe_cluster(
    request: &DescribeClusterRequest,
    version: i16,
    nodes: &Nodes,
) -> DescribeClusterResponse {
    let mut response = DescribeClusterResponse::default();
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                .to_owned(),
        )),
        other => Some((ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"))),
    };
    if let Some((code, message)) = refusal {
        // The codes are younger than v0.
        response.error_code = if version == 0 {
            ErrorCode::InvalidRequest
        } else {
            code
        }
        .code();
        response.error_message = Some(StrBytes::from(message));
        return response;
    }
    response.cluster_id = StrBytes::from(nodes.cluster_id.as_str());
    response.controller_id = nodes.controller_id();
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response.brokers = nodes
        .nodes
        .iter()
        .map(|node| {
            let mut broker = DescribeClusterBroker::default();
            broker.broker_id = node.id;
            broker.host = StrBytes::from(node.host.as_str());
            broker.port = i32::from(node.port);
            broker.rack = nodes.rack.as_deref().map(StrBytes::from);
            broker
        })
        .collect();
    response
}

#[cfg(test)]
mod tests {
    use kafka_wire_core::{ApiVersion, KafkaEncode};

    use super::*;
    use crate::metadata::test_support::nodes;

    #[test]
    fn the_nodes_are_told_with_the_clusters_id() {
        let mut request = DescribeClusterRequest::default();
        request.include_cluster_authorized_operations = true;
        for version in 0..=2 {
            let response = describe_cluster(&request, version, &nodes(2));
            assert_eq!(
                (response.error_code, response.cluster_id.as_str()),
                (0, "test-cluster")
            );
            assert_eq!(
                (
                    response.controller_id,
                    response.cluster_authorized_operations
                ),
                (1000, 8096)
            );
            let ids: Vec<i32> = response
                .brokers
                .iter()
                .map(|broker| broker.broker_id)
                .collect();
            assert_eq!(ids, [1000, 1001]);
            response.encoded_len(ApiVersion::new(version)).unwrap();
        }
    }

    #[test]
    fn other_endpoints_than_brokers_are_refused() {
        for (endpoint, version, code) in [
            (2, 1, ErrorCode::MismatchedEndpointType),
            (7, 1, ErrorCode::UnsupportedEndpointType),
            (0, 2, ErrorCode::UnsupportedEndpointType),
            (2, 0, ErrorCode::InvalidRequest),
        ] {
            let mut request = DescribeClusterRequest::default();
            request.endpoint_type = endpoint;
            let response = describe_cluster(&request, version, &nodes(1));
            assert_eq!(
                (response.error_code, response.brokers.len()),
                (code.code(), 0)
            );
        }
    }
}
