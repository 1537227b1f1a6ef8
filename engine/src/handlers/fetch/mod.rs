//! Fetch: reads what is there, waits for more if that is too little, and answers with stored slices.
//!
//! A fetch is a sequence of passes ([`pass`]): each pass reads the asked partitions within the request's limits. If the pass
//! found `min_bytes`, an error, or the time is up, it is the answer; otherwise the fetch waits until one of its partitions
//! advances beyond what the pass saw. A [`full`] fetch reads what the request names, an [`incremental`] one what is due in
//! its session ([`crate::fetch_session`]). Partitions of other lanes are read there, one message a lane, and copied over.

mod full;
mod incremental;
mod pass;
mod read;
mod slice;
mod target;
mod watch;

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane_net::api::RequestHeader;
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchRequest, FetchResponseHeader, FetchResponseWriter, IsolationLevel};
use corelane_net::response::Response;
use corelane_net::server::{CloseReason, Pending};

use super::errors;
use crate::fetch_session::FetchSessions;
use crate::fetch_session::live::Begun;
use crate::lane::Lane;

pub(super) use slice::FetchSlice;

/// Longest wait that a request may ask for.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Handles one request. Its session, if it has one, is looked up and changed now, so that requests count in their order.
pub(super) fn handle(
    lane: &Rc<Lane>,
    sessions: &Rc<FetchSessions>,
    header: &RequestHeader<'_>,
    body: &[u8],
) -> Pending<FetchSlice> {
    let request = match FetchRequest::parse(body, header.api_version) {
        Ok(request) => request,
        Err(error) => return Pending::Close(errors::malformed(header, error)),
    };
    let reply = Reply {
        version: header.api_version,
        correlation_id: header.correlation_id,
    };
    let Some(isolation) = IsolationLevel::from_wire(request.isolation_level) else {
        return Pending::Close(CloseReason::Service(format!(
            "a fetch with isolation level {}",
            request.isolation_level
        )));
    };
    if request.replica_id >= 0 {
        // Followers have a listener of their own; a client that claims to be one would move the high watermark.
        return Pending::Ready(reply.refuse(ErrorCode::InvalidRequest, 0));
    }
    let terms = Terms::of(lane, &request, isolation);
    match sessions.begin(&request, header.api_version, isolation) {
        Begun::Refused(code) => Pending::Ready(reply.refuse(code, 0)),
        Begun::Full { is_new_session } => {
            let sessions =
                (is_new_session && sessions.may_create(&request)).then(|| Rc::clone(sessions));
            let fetch = full::FullFetch::new(lane, request, terms, sessions);
            Pending::Later(Box::pin(async move { Ok(fetch.run(reply).await) }))
        }
        Begun::Incremental { session, epoch } => {
            let fetch = incremental::IncrementalFetch::new(lane, session, epoch, terms);
            Pending::Later(Box::pin(async move { Ok(fetch.run(reply).await) }))
        }
    }
}

/// What every partition of a fetch is read by.
#[derive(Clone, Copy, Debug)]
struct Terms {
    isolation: IsolationLevel,
    /// Bytes that end the wait.
    wanted_bytes: usize,
    /// Bytes to answer with at most; the first batch may exceed it.
    limit_bytes: usize,
    deadline: Instant,
}

impl Terms {
    fn of(lane: &Lane, request: &FetchRequest, isolation: IsolationLevel) -> Self {
        let wait =
            Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
        Self {
            isolation,
            wanted_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
            limit_bytes: usize::try_from(request.max_bytes)
                .unwrap_or(0)
                .min(lane.cluster.fetch_size_bytes_max),
            deadline: Instant::now() + wait,
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// Where the answer goes.
#[derive(Clone, Copy, Debug)]
struct Reply {
    version: i16,
    correlation_id: i32,
}

impl Reply {
    fn writer(
        self,
        error: ErrorCode,
        session_id: i32,
        topics_count: usize,
    ) -> FetchResponseWriter<FetchSlice> {
        FetchResponseWriter::new(&FetchResponseHeader {
            version: self.version,
            correlation_id: self.correlation_id,
            throttle_time_ms: 0,
            error,
            session_id,
            topics_count,
        })
    }

    fn refuse(self, error: ErrorCode, session_id: i32) -> Response<FetchSlice> {
        self.writer(error, session_id, 0).finish(&[])
    }
}
