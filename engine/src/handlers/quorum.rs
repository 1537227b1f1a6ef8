//! `DescribeQuorum`: asked of the controller's lane, which knows how far the metadata log is.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::{DescribeQuorumRequest, DescribeQuorumResponse};

use crate::lane::Lane;
use crate::metadata::describe::quorum::describe_quorum;
use crate::server::controller::CONTROLLER_LANE;

/// Answers the request.
pub(super) async fn describe(
    lane: Rc<Lane>,
    request: DescribeQuorumRequest,
    version: i16,
) -> DescribeQuorumResponse {
    let end = lane
        .mesh
        .call(CONTROLLER_LANE, |lane: Rc<Lane>| async move {
            lane.controller().map(|controller| controller.end_offset())
        });
    if let Ok(Some(end)) = end.await {
        return describe_quorum(&request, version, &lane.nodes(), end, lane.clock.now());
    }
    let mut response = DescribeQuorumResponse::default();
    response.error_code = ErrorCode::BrokerNotAvailable.code();
    response.error_message = None;
    response
}
