//! The driver of one accepted connection: bytes to frames, frames to the service, responses back in order.
//!
//! One task drives both directions of a connection, so a batch of requests that complete together costs one wake-up,
//! one pass and one vectored send. Reading and writing never wait for each other: acknowledgements flow while
//! more requests are read, and a client that pipelines and reads late is held back by its own limits only.
//!
//! Invariants:
//! - Responses leave in the order of their requests.
//! - Requests in flight, response bytes queued and the frame in progress are bounded; at a bound the connection
//!   stops reading and TCP holds the peer back.
//! - No clock is read and no timer is set for a request: a coarse tick per connection judges idleness.
//! - Whatever a peer does ends its own connection at most, with a typed reason.
//!
//! Owned by the lane that accepted the connection. Dropping the driver's future closes the connection and drops
//! the futures of unanswered requests; what they had appended stays appended.

mod connection;
mod idle;
pub mod native;
mod pipeline;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use thiserror::Error;

use crate::api::HeaderError;
use crate::frame::{FrameError, FrameLimits};
use crate::native::Frame;
use crate::native::message::HelloAnswer;
use crate::native::session::Violation;
use crate::response::Response;
use crate::wire::WireError;

pub use connection::serve_connection;
use native::{NativeConnection, NativePending};

/// Most bytes of a frame behind its length prefix that is not a Produce request: only those carry records.
pub const CONTROL_FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Bounds of frames and of the receive buffer.
    pub frame: FrameLimits,
    /// Requests whose responses have not been sent.
    pub requests_in_flight_max: usize,
    /// Bytes of responses that wait for the socket. One response may exceed it.
    pub response_bytes_queued_max: usize,
    /// A frame that has begun to arrive must be whole within this time.
    pub frame_deadline_ms: u64,
    /// A connection on which nothing moved for this long is closed (`connections.max.idle.ms`).
    pub idle_ms_max: u64,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            frame: FrameLimits::default(),
            requests_in_flight_max: 128,
            response_bytes_queued_max: 16 * 1024 * 1024,
            frame_deadline_ms: 30_000,
            idle_ms_max: 600_000,
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionInfo {
    /// Unique on this lane while the server runs.
    pub id: u64,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
}

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum CloseReason {
    /// The peer closed it between frames.
    #[error("closed by the peer")]
    PeerClosed,
    /// The peer closed it in the middle of a frame.
    #[error("closed by the peer inside a frame, {held} bytes into it")]
    PeerClosedInFrame {
        /// Bytes of the frame that had arrived.
        held: usize,
    },
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
    /// A length prefix that no frame may have.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A request without records that is longer than any of its kind has reason to be.
    #[error("request of API {api_key} of {got} bytes exceeds the limit of {limit}")]
    RequestTooLarge {
        /// The API.
        api_key: i16,
        /// The length stated.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// A request header of no use.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// A malformed request body.
    #[error("malformed body of API {api_key} version {api_version}: {error}")]
    Body {
        /// The API.
        api_key: i16,
        /// Its version.
        api_version: i16,
        /// What is wrong.
        error: WireError,
    },
    /// A frame did not become whole in time.
    #[error("a frame was not whole after {limit_ms} ms")]
    FrameDeadline {
        /// The time it had.
        limit_ms: u64,
    },
    /// Nothing moved for too long.
    #[error("idle for {limit_ms} ms")]
    Idle {
        /// The limit.
        limit_ms: u64,
    },
    /// The service has its own reason.
    #[error("{0}")]
    Service(String),
}

impl CloseReason {
    /// Whether this is how connections end when nothing is wrong.
    pub fn is_ordinary(&self) -> bool {
        match self {
            Self::PeerClosed | Self::Idle { .. } => true,
            Self::Io(error) => {
                matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                )
            }
            _ => false,
        }
    }
}

/// A response that is not there yet.
pub type LaterResponse<S> = Pin<Box<dyn Future<Output = Result<Response<S>, CloseReason>>>>;

/// What the service makes of a request.
pub enum Pending<S> {
    /// The response is there.
    Ready(Response<S>),
    /// The response will come. The future is polled once right after the call, and from then on at the latest
    /// when it stands first in line; it may be dropped unfinished when the connection ends.
    Later(LaterResponse<S>),
    /// The client expects none (Produce with `acks=0`).
    NoResponse,
    /// The connection ends once the responses before this request were sent.
    Close(CloseReason),
}

/// Handles the requests of any number of connections of one lane.
pub trait Service: 'static {
    /// Stored bytes that responses gather.
    type Slice: AsRef<[u8]> + 'static;

    /// Runs at once, in order of arrival. `frame` is the request without its length prefix, borrowed from the
    /// receive buffer: what must outlive the call is copied inside.
    fn call(&self, connection: &ConnectionInfo, frame: &[u8]) -> Pending<Self::Slice>;

    /// What a native client is told first; `None` if only Kafka's protocol is served. Version and limits are filled in by
    /// the driver.
    fn native_hello(&self) -> Option<HelloAnswer> {
        None
    }

    /// Handles a native request: runs at once, in order of arrival, while the frame lies in the receive buffer.
    fn call_native(
        &self,
        _connection: &Rc<NativeConnection<Self::Slice>>,
        frame: Frame<'_>,
    ) -> NativePending<Self::Slice> {
        NativePending::Close(Violation::Unexpected {
            kind: frame.header.kind,
        })
    }

    /// Back-pressure: awaited before a frame of this size and with this API key, which need not be one that is
    /// served, is handed over. The connection does not read on meanwhile, but responses go on flowing.
    fn admit(&self, api_key: i16, size_bytes: usize) -> impl Future<Output = ()>;

    /// Cooperation: awaited once for each request, and now and then while a large frame arrives, so that a
    /// connection whose socket never runs dry lets the lane do I/O.
    fn turn(&self) -> impl Future<Output = ()>;
}
