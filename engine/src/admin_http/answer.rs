//! What is answered to whom. Pure, but for reading the published values.

use hyper::{Method, StatusCode};

use crate::headroom::Room;
use crate::metrics::exposition::{self, Exposition};
use crate::metrics::{ServerCells, ServerMetrics};

const PLAIN: &str = "text/plain; charset=utf-8";

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

fn plain(status: StatusCode, body: impl Into<String>) -> Answer {
    Answer {
        status,
        content_type: PLAIN,
        body: body.into(),
    }
}

/// The answer to a request.
pub(super) fn to(
    method: &Method,
    path: &str,
    metrics: &ServerMetrics,
    exposition: &Exposition,
) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    match path {
        "/metrics" => exposition.render().map_or_else(
            |_| plain(StatusCode::INTERNAL_SERVER_ERROR, "cannot be told\n"),
            |body| Answer {
                status: StatusCode::OK,
                content_type: exposition::CONTENT_TYPE,
                body,
            },
        ),
        "/healthz" => health(metrics),
        "/readyz" => readiness(metrics),
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are /metrics, /healthz and /readyz\n",
        ),
    }
}

/// Whether the process does what it should: a lane that is stuck does not come back.
fn health(metrics: &ServerMetrics) -> Answer {
    let stuck = metrics.stuck_lanes();
    if stuck.is_empty() {
        plain(StatusCode::OK, "ok\n")
    } else {
        plain(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("lanes that do not move: {stuck:?}\n"),
        )
    }
}

/// Whether clients are served. A full disk is told, and no reason to send readers away.
fn readiness(metrics: &ServerMetrics) -> Answer {
    let server = &metrics.server;
    if ServerCells::get(&server.ready) == 0 {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n");
    }
    let room = u8::try_from(ServerCells::get(&server.disk_room)).map(Room::from_number);
    plain(
        StatusCode::OK,
        match room {
            Ok(Room::Enough) => "ready\n",
            _ => "ready; the disk is short of space, produces are refused\n",
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn answers() {
        let metrics = Arc::new(ServerMetrics::new(1));
        let exposition = Exposition::new(Arc::clone(&metrics));
        let check = |method: Method, path: &str, status: u16, part: &str| {
            let answer = to(&method, path, &metrics, &exposition);
            assert_eq!(answer.status.as_u16(), status, "{method} {path}");
            assert!(
                answer.body.contains(part),
                "{method} {path}: {}",
                answer.body
            );
        };
        check(Method::GET, "/healthz", 200, "ok");
        check(Method::GET, "/readyz", 503, "not ready");
        ServerCells::set(&metrics.server.ready, 1);
        check(Method::GET, "/readyz", 200, "ready\n");
        ServerCells::set(&metrics.server.disk_room, Room::Short as u64);
        check(Method::HEAD, "/readyz", 200, "short of space");
        check(Method::GET, "/metrics", 200, "corelane_ready 1");
        check(Method::GET, "/metrics/", 404, "/metrics");
        check(Method::POST, "/metrics", 405, "GET");
        check(Method::DELETE, "/healthz", 405, "GET");
    }
}
