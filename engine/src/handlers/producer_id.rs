//! InitProducerId for idempotent producers.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse};

use crate::lane::Lane;

/// Gives the producer an id that no producer had before, in epoch 0. The id is durable: it is never given again.
pub(super) async fn handle(
    lane: Rc<Lane>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let mut response = InitProducerIdResponse::default();
    response.producer_id = -1;
    response.producer_epoch = -1;
    response.ongoing_txn_producer_id = -1;
    response.ongoing_txn_producer_epoch = -1;
    if let Some(transactional_id) = &request.transactional_id {
        let code = if transactional_id.is_empty() {
            ErrorCode::InvalidRequest
        } else {
            // Transactions are not served yet; this is the answer that makes producers give up at once with a reason.
            ErrorCode::TransactionalIdAuthorizationFailed
        };
        response.error_code = code.code();
        return response;
    }
    match lane.next_producer_id().await {
        Ok(id) => {
            response.producer_id = id.get();
            response.producer_epoch = 0;
        }
        Err(error) => {
            tracing::error!(%error, "cannot reserve producer ids");
            response.error_code = ErrorCode::CoordinatorNotAvailable.code();
        }
    }
    response
}
