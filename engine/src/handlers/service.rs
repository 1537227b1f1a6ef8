//! The service behind every connection of a lane: reads the header and hands the request to its handler.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use corelane_net::api::{self, RequestHeader};
use corelane_net::native::Frame;
use corelane_net::native::message::HelloAnswer;
use corelane_net::server::native::{NativeConnection, NativePending};
use corelane_net::server::{CloseReason, ConnectionInfo, Pending, Service};

use super::fetch::FetchSlice;
use super::{answer, fetch, native, produce};
use crate::fetch_session::FetchSessions;
use crate::group::classic::Client;
use crate::lane::Lane;

/// Bytes that a lane may have forwarded to others before its connections stop reading.
const FORWARDED_BYTES_MAX: usize = 64 << 20;

/// How often who waits for others' flushes looks whether there is room at all.
const ROOM_LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Serves Kafka requests and native ones on one lane.
pub struct KafkaService {
    lane: Rc<Lane>,
    fetch_sessions: Rc<FetchSessions>,
}

impl KafkaService {
    /// The service of `lane`.
    pub fn new(lane: Rc<Lane>) -> Self {
        let fetch_sessions = Rc::new(FetchSessions::new(
            lane.cluster.fetch_sessions.slots_max,
            lane.cluster.fetch_sessions.bytes_max,
            lane.index,
            lane.cluster.lanes,
        ));
        Self {
            lane,
            fetch_sessions,
        }
    }
}

impl Service for KafkaService {
    type Slice = FetchSlice;

    fn call(&self, connection: &ConnectionInfo, frame: &[u8]) -> Pending<FetchSlice> {
        let (header, body) = match RequestHeader::parse(frame) {
            Ok(parsed) => parsed,
            Err(error) => return Pending::Close(CloseReason::Header(error)),
        };
        match header.api_key {
            api::PRODUCE if header.has_supported_version() => {
                produce::handle(&self.lane, &header, body)
            }
            api::FETCH if header.has_supported_version() => {
                fetch::handle(&self.lane, &self.fetch_sessions, &header, body)
            }
            _ => answer::control(&self.lane, connection, &header, body),
        }
    }

    fn native_hello(&self) -> Option<HelloAnswer> {
        Some(native::hello(&self.lane))
    }

    fn call_native(
        &self,
        connection: &Rc<NativeConnection<FetchSlice>>,
        frame: Frame<'_>,
    ) -> NativePending<FetchSlice> {
        native::call(&self.lane, connection, frame)
    }

    fn admit(&self, api_key: i16, size_bytes: usize) -> impl Future<Output = ()> {
        let lane = Rc::clone(&self.lane);
        async move {
            // Only what adds to the unflushed data waits for it; reading and deleting go on when the disk is full.
            if api_key != api::PRODUCE {
                return;
            }
            admit_or_refuse(&lane, size_bytes).await;
            while lane.forwarded_bytes() > FORWARDED_BYTES_MAX {
                lane.turns.next().await;
            }
        }
    }

    fn turn(&self) -> impl Future<Output = ()> {
        let lane = Rc::clone(&self.lane);
        async move { lane.turns.pass().await }
    }
}

/// Waits for a place among the unflushed data, but not for one that only a larger disk could give: then the produce is to
/// be refused.
async fn admit_or_refuse(lane: &Lane, size_bytes: usize) {
    let mut admitted = std::pin::pin!(lane.logs.admit(size_bytes));
    while lane.room().takes_produces() {
        let looked_again = async {
            glommio::timer::sleep(ROOM_LOOK_INTERVAL).await;
            false
        };
        let admitted = async {
            admitted.as_mut().await;
            true
        };
        if futures_lite::future::or(admitted, looked_again).await {
            return;
        }
    }
}

/// A request whose frame is gone, for handlers that run later.
pub(super) struct Owned {
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) client: Client,
    pub(super) body: Bytes,
}

impl Owned {
    pub(super) fn new(
        connection: &ConnectionInfo,
        header: &RequestHeader<'_>,
        body: &[u8],
    ) -> Self {
        Self {
            api_key: header.api_key,
            version: header.api_version,
            correlation_id: header.correlation_id,
            client: Client {
                id: header.client_id.unwrap_or_default().to_owned(),
                // As Java writes an address without a name.
                host: format!("/{}", connection.peer.ip()),
            },
            body: Bytes::copy_from_slice(body),
        }
    }
}
