//! Native requests: one file a family. What they do to a partition is what Kafka's requests do to it; only the bytes differ.
//!
//! A request for another lane's partition is forwarded, and its answer names the owning node, so that the client can
//! connect there.

mod batches;
mod fetch;
mod metadata;
mod offsets;
mod produce;
mod read;
mod subscribe;
mod target;

use std::rc::Rc;

use corelane_net::native::message::{
    Fetch, HelloAnswer, InitProducer, ListOffsets, Metadata, Produce, Subscribe,
};
use corelane_net::native::session::Violation;
use corelane_net::native::{Frame, MESSAGE_VERSION, Message};
use corelane_net::server::native::{NativeConnection, NativePending};

use super::fetch::FetchSlice;
use crate::lane::Lane;

type Pending = NativePending<FetchSlice>;
type Connection = NativeConnection<FetchSlice>;

/// What a client is told first.
pub(super) fn hello(lane: &Lane) -> HelloAnswer {
    HelloAnswer {
        version: MESSAGE_VERSION,
        error: 0,
        protocol: 0,
        node: lane.nodes().id_of_lane(lane.index),
        payload_bytes_max: 0,
        requests_in_flight_max: 0,
    }
}

/// Handles one request.
pub(super) fn call(lane: &Rc<Lane>, connection: &Rc<Connection>, frame: Frame<'_>) -> Pending {
    let outcome = match frame.header.kind {
        Produce::KIND => produce::handle(lane, frame),
        Subscribe::KIND => subscribe::handle(lane, connection, frame),
        Fetch::KIND => fetch::handle(lane, frame),
        Metadata::KIND => metadata::handle(lane, frame),
        ListOffsets::KIND => offsets::list_offsets(lane, frame),
        InitProducer::KIND => offsets::init_producer(lane, frame),
        kind => Err(Violation::Unexpected { kind }),
    };
    outcome.unwrap_or_else(NativePending::Close)
}
