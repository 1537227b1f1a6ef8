//! What the connection driver costs: round trips of small frames through it, against a bare echo on the same runtime.
//!
//! `cargo run --profile fast -p corelane-net --example roundtrips [ROUNDS]`. The server is pinned to core 0 and the
//! client, which blocks, to whatever is left. Runs are interleaved; quote the ratio, not the numbers.

use std::error::Error;
use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use corelane_net::response::ResponseBuilder;
use corelane_net::server::{ConnectionInfo, ConnectionLimits, Pending, Service, serve_connection};
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares};

const FRAME_BYTES: usize = 64;

struct Echo {
    later: bool,
}

impl Service for Echo {
    type Slice = Vec<u8>;

    fn call(&self, _: &ConnectionInfo, frame: &[u8]) -> Pending<Vec<u8>> {
        let mut builder = ResponseBuilder::new(0, false, FRAME_BYTES);
        builder.bytes_mut().extend_from_slice(&frame[4..]);
        let response = builder.finish();
        if self.later {
            Pending::Later(Box::pin(async move { Ok(response) }))
        } else {
            Pending::Ready(response)
        }
    }

    async fn admit(&self, _: i16, _: usize) {}

    async fn turn(&self) {}
}

async fn bare_echo(mut stream: TcpStream) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count) = stream.read(&mut bytes).await {
        if count == 0 || stream.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bare,
    Ready,
    Later,
}

fn serve(kind: Kind) -> Result<SocketAddr, Box<dyn Error>> {
    let (tell, told) = mpsc::channel();
    let executor = LocalExecutorBuilder::new(Placement::Fixed(0)).spawn(move || async move {
        let latency = Latency::Matters(Duration::from_millis(100));
        let queue = glommio::executor().create_task_queue(Shares::default(), latency, "server");
        let accept = glommio::spawn_local_into(accept(kind, tell), queue);
        if let Ok(task) = accept {
            task.await;
        }
    })?;
    drop(executor);
    Ok(told.recv()?)
}

async fn accept(kind: Kind, tell: mpsc::Sender<SocketAddr>) {
    let Ok(listener) = TcpListener::bind("127.0.0.1:0") else {
        return;
    };
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let _ = tell.send(address);
    while let Ok(stream) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        spawn(async move {
            match kind {
                Kind::Bare => bare_echo(stream).await,
                Kind::Ready | Kind::Later => {
                    let later = matches!(kind, Kind::Later);
                    serve_connection(stream, Rc::new(Echo { later }), ConnectionLimits::default())
                        .await;
                }
            }
        });
    }
}

fn spawn(future: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(future).detach();
}

/// Median and 99th percentile of `rounds` round trips of `depth` frames each.
fn measure(
    address: SocketAddr,
    rounds: usize,
    depth: usize,
) -> Result<(Duration, Duration), Box<dyn Error>> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut frame = [0_u8; FRAME_BYTES];
    frame[..4].copy_from_slice(&((FRAME_BYTES - 4) as i32).to_be_bytes());
    let frames = frame.repeat(depth);
    let mut back = vec![0; frames.len()];
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        stream.write_all(&frames)?;
        stream.read_exact(&mut back)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok((times[rounds / 2], times[rounds * 99 / 100]))
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args()
        .nth(1)
        .map_or(Ok(20_000), |text| text.parse())?;
    let kinds = [Kind::Bare, Kind::Ready, Kind::Later];
    let servers: Vec<_> = kinds
        .into_iter()
        .map(|kind| Ok((kind, serve(kind)?)))
        .collect::<Result<_, Box<dyn Error>>>()?;
    for depth in [1, 64] {
        for _ in 0..5 {
            for (kind, address) in &servers {
                let (median, p99) = measure(*address, rounds / depth.min(10), depth)?;
                println!("{depth:3} frames, {kind:?}: p50 {median:?}, p99 {p99:?}");
            }
        }
    }
    // The executors serve for ever.
    std::process::exit(0);
}
