//! A lane's service behind the real connection driver, and a client that blocks, over loopback.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;

use anyhow::{Context, anyhow};
use corelane_engine::handlers::KafkaService;
use corelane_engine::lane::Lane;
use corelane_net::server::{ConnectionLimits, serve_connection};
use glommio::net::TcpListener;

use corelane_benches::requests::LENGTH_PREFIX_BYTES;

/// Serves one connection on a free port, which it tells, until the client closes it.
///
/// # Errors
/// No port, or no client.
pub(crate) async fn serve_one(
    lane: Rc<Lane>,
    tell: mpsc::Sender<SocketAddr>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| anyhow!("{error}"))?;
    let address = listener.local_addr().map_err(|error| anyhow!("{error}"))?;
    tell.send(address).context("nobody wants to connect")?;
    let stream = listener
        .accept()
        .await
        .map_err(|error| anyhow!("{error}"))?;
    let service = Rc::new(KafkaService::new(lane));
    serve_connection(stream, service, ConnectionLimits::default()).await;
    Ok(())
}

/// A client of one connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: std::net::TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// Sends `frames` at once and reads `depth` answers; returns the size of the last one.
    ///
    /// # Errors
    /// The socket's, or the connection was closed.
    pub(crate) fn round(&mut self, frames: &[u8], depth: usize) -> anyhow::Result<usize> {
        self.stream.write_all(frames)?;
        let mut size_bytes = 0;
        for _ in 0..depth {
            let mut prefix = [0; LENGTH_PREFIX_BYTES];
            self.stream.read_exact(&mut prefix)?;
            size_bytes = usize::try_from(i32::from_be_bytes(prefix))?;
            self.received.resize(size_bytes, 0);
            self.stream.read_exact(&mut self.received)?;
        }
        Ok(LENGTH_PREFIX_BYTES + size_bytes)
    }
}
