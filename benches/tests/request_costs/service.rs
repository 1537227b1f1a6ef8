//! Requests given straight to a lane's service, as its connections give them, without sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use anyhow::{anyhow, bail};
use corelane_engine::handlers::KafkaService;
use corelane_engine::lane::Lane;
use corelane_net::response::Response;
use corelane_net::server::{ConnectionInfo, LaterResponse, Pending, Service};
use futures_lite::future::poll_once;

use corelane_benches::requests::LENGTH_PREFIX_BYTES;

/// What responses gather.
pub(crate) type Slice = <KafkaService as Service>::Slice;

/// A connection without a socket.
pub(crate) struct Caller {
    service: KafkaService,
    connection: ConnectionInfo,
    waiting: Vec<LaterResponse<Slice>>,
}

impl Caller {
    /// Calls the service of `lane`, up to `depth_max` requests at a time.
    pub(crate) fn new(lane: &Rc<Lane>, depth_max: usize) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        Self {
            service: KafkaService::new(Rc::clone(lane)),
            connection: ConnectionInfo {
                id: 1,
                peer: address,
                local: address,
            },
            waiting: Vec::with_capacity(depth_max),
        }
    }

    /// Hands over one request and polls its answer once, as the connection driver does. The answer comes with
    /// [`Caller::answers`].
    ///
    /// # Errors
    /// The service refused the request as a whole.
    pub(crate) async fn call(&mut self, frame: &[u8]) -> anyhow::Result<Option<Response<Slice>>> {
        let body = frame.get(LENGTH_PREFIX_BYTES..).unwrap_or_default();
        match self.service.call(&self.connection, body) {
            Pending::Ready(response) => Ok(Some(response)),
            Pending::Later(mut future) => {
                if let Some(response) = poll_once(future.as_mut()).await {
                    response.map(Some).map_err(|reason| anyhow!("{reason}"))
                } else {
                    self.waiting.push(future);
                    Ok(None)
                }
            }
            Pending::NoResponse => Ok(None),
            Pending::Close(reason) => bail!("the connection was to be closed: {reason}"),
        }
    }

    /// Waits for the answers that were not there at once, in order; returns their bytes.
    ///
    /// # Errors
    /// An answer was to close the connection.
    pub(crate) async fn answers(&mut self) -> anyhow::Result<usize> {
        let mut size_bytes = 0;
        for future in self.waiting.drain(..) {
            let response = future.await.map_err(|reason| anyhow!("{reason}"))?;
            size_bytes += response.size_bytes();
        }
        Ok(size_bytes)
    }

    /// `depth` requests at once, and all their answers; returns their bytes.
    ///
    /// # Errors
    /// A request was refused as a whole.
    pub(crate) async fn round(&mut self, frame: &[u8], depth: usize) -> anyhow::Result<usize> {
        let mut size_bytes = 0;
        for _ in 0..depth {
            if let Some(response) = self.call(frame).await? {
                size_bytes += response.size_bytes();
            }
        }
        Ok(size_bytes + self.answers().await?)
    }
}
