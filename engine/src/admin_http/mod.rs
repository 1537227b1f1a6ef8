//! The HTTP listener for operators: `/metrics`, `/healthz`, `/readyz`. Outside of the lanes, on one plain thread.
//!
//! It only reads what the lanes have published, so that it answers while lanes are busy or stuck, and nobody who asks
//! costs a lane anything. Connections, their time and the size of what they send are bounded. There is no protection:
//! loopback only, unless the server is told otherwise.

mod answer;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};

use crate::metrics::ServerMetrics;
use crate::metrics::exposition::Exposition;
use answer::Answer;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 32;
/// Memory for what one connection has sent and is not read yet.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// Until a request's headers must be there.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may last in all.
const CONNECTION_LIFE_MAX: Duration = Duration::from_mins(5);
/// How long to wait before accepting again after the system ran out of descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// A listener that answers until it is dropped.
#[derive(Debug)]
pub struct AdminHttp {
    address: SocketAddr,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminHttp {
    /// Starts to answer on a bound socket.
    ///
    /// # Errors
    /// The socket or the thread cannot be used.
    pub fn start(socket: TcpListener, metrics: Arc<ServerMetrics>) -> io::Result<Self> {
        let address = socket.local_addr()?;
        socket.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (stop, stopped) = watch::channel(());
        let thread = thread::Builder::new()
            .name("admin-http".into())
            .spawn(move || {
                let tasks = tokio::task::LocalSet::new();
                runtime.block_on(tasks.run_until(serve(socket, metrics, stopped)));
            })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminHttp {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Accepts until the sender of `stopped` is gone.
async fn serve(socket: TcpListener, metrics: Arc<ServerMetrics>, mut stopped: watch::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin listener cannot be used");
            return;
        }
    };
    let exposition = Rc::new(Exposition::new(Arc::clone(&metrics)));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = async {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept an admin connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let (exposition, metrics) = (Rc::clone(&exposition), Arc::clone(&metrics));
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer::to(
                        request.method(),
                        request.uri().path(),
                        &metrics,
                        &exposition,
                    );
                    async move { Ok::<_, Infallible>(response(answer)) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS_WITHIN)
                    .max_buf_size(BUFFER_BYTES_MAX)
                    .serve_connection(TokioIo::new(stream), service);
                if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_LIFE_MAX, connection).await
                {
                    tracing::debug!(%error, "an admin connection ended");
                }
                drop(place);
            });
        }
    };
    futures_lite::future::or(accepting, async {
        let _ = stopped.changed().await;
    })
    .await;
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn ask(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn answers_over_http_and_ends_when_dropped() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = AdminHttp::start(socket, Arc::new(ServerMetrics::new(1))).unwrap();
        let address = admin.address();
        let answer = ask(
            address,
            "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("content-type: application/openmetrics-text"),
            "{answer}"
        );
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        let answer = ask(
            address,
            "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        let answer = ask(address, "\0\0\0\0 nonsense\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(),
            "{answer}"
        );
        let endless = format!(
            "GET /metrics HTTP/1.1\r\nX: {}",
            "x".repeat(BUFFER_BYTES_MAX + 1)
        );
        let answer = ask(address, &endless);
        assert!(
            answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(),
            "{answer}"
        );
        drop(admin);
        assert!(TcpStream::connect(address).is_err());
    }
}
