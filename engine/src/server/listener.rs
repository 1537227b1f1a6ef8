//! Listening sockets, bound before anything else so that a taken port leaves nothing half-made.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::thread;
use std::time::{Duration, Instant};

use glommio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::ListenMode;

/// Connections that may wait to be accepted, per socket.
const BACKLOG: i32 = 1024;

/// How long a taken port may still belong to a server that has just been killed.
const PREDECESSOR_WAIT: Duration = Duration::from_secs(2);
/// How often a taken port is tried again.
const PREDECESSOR_POLL: Duration = Duration::from_millis(20);

/// The listening sockets of all lanes, by lane index.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<StdListener>,
}

impl Listeners {
    /// Binds one socket per lane: to ports from `base` up, or all to `base` itself in shared mode. Port 0 lets the system choose.
    ///
    /// # Errors
    /// The address that could not be bound, and why.
    pub fn bind(
        base: SocketAddr,
        lanes: usize,
        mode: ListenMode,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let mut sockets: Vec<StdListener> = Vec::with_capacity(lanes);
        let shared = mode == ListenMode::Shared;
        if shared && base.port() != 0 {
            // SO_REUSEPORT would let a second server steal half of the connections of a first one; find it out here.
            drop(bind_patiently(base, false).map_err(|error| (base, error))?);
        }
        for lane in 0..lanes {
            let mut address = base;
            if shared && let Some(first) = sockets.first() {
                address = first.local_addr().map_err(|error| (base, error))?;
            } else if !shared && base.port() != 0 {
                let port = usize::from(base.port()) + lane;
                let port = u16::try_from(port).map_err(|_| {
                    (
                        base,
                        io::Error::new(io::ErrorKind::InvalidInput, "not enough ports above it"),
                    )
                })?;
                address.set_port(port);
            }
            sockets.push(bind_patiently(address, shared).map_err(|error| (address, error))?);
        }
        Ok(Self { sockets })
    }

    /// The addresses that were bound, by lane index.
    ///
    /// # Errors
    /// The system would not tell.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(StdListener::local_addr).collect()
    }

    /// Hands out the sockets, by lane index.
    pub fn into_sockets(self) -> Vec<StdListener> {
        self.sockets
    }
}

/// Binds, waiting for a predecessor that was killed: the kernel gives its sockets back only when it has taken down the
/// rings that refer to them, which is after the process is gone.
fn bind_patiently(address: SocketAddr, reuse_port: bool) -> io::Result<StdListener> {
    let deadline = Instant::now() + PREDECESSOR_WAIT;
    loop {
        match bind_one(address, reuse_port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(PREDECESSOR_POLL);
            }
            outcome => return outcome,
        }
    }
}

fn bind_one(address: SocketAddr, reuse_port: bool) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Old connections in TIME_WAIT do not keep a restarted server from its port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Gives a socket to the executor of the calling thread.
#[allow(
    unsafe_code,
    reason = "glommio takes a bound socket only by its raw descriptor"
)]
pub fn attach(socket: StdListener) -> TcpListener {
    // SAFETY: the descriptor is an open listening socket that `into_raw_fd` has just given up, so glommio is its only owner.
    unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) }
}
