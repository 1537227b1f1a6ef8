//! The sockets of a null broker: a thread for each connection, which reads, answers and writes, and does nothing else.
//!
//! Threads that block cost a system call for each batch of requests and no runtime; on a core of their own they keep
//! ahead of a generator on another.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use corelane_net::frame::{FrameLimits, FrameReader};

use super::answers::answer;
use super::broker::{Behaviour, NullBroker};

/// A null broker that listens. Its threads end with their connections, the listening one with the process.
#[derive(Debug)]
pub struct NullServer {
    address: SocketAddr,
}

impl NullServer {
    /// Listens on loopback; port 0 takes a free one.
    pub fn start(port: u16, behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let broker = Arc::new(NullBroker::new(address.port(), behaviour));
        thread::Builder::new()
            .name("null-listen".to_owned())
            .spawn(move || {
                for stream in listener.incoming() {
                    // A connection that failed before it was accepted is the client's to notice.
                    let Ok(stream) = stream else { continue };
                    let broker = Arc::clone(&broker);
                    let spawned = thread::Builder::new()
                        .name("null-serve".to_owned())
                        .spawn(move || report(&serve(&broker, stream)));
                    if let Err(error) = spawned {
                        eprintln!("null-server: cannot start a thread: {error}");
                    }
                }
            })?;
        Ok(Self { address })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

fn report(ended: &anyhow::Result<()>) {
    let Err(error) = ended else { return };
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    // That is how a client leaves that has not read everything.
    if kind != Some(io::ErrorKind::ConnectionReset) {
        eprintln!("null-server: {error}");
    }
}

/// Serves one connection until its peer closes it.
fn serve(broker: &NullBroker, mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut frames = FrameReader::new(FrameLimits::default());
    let mut answers = Vec::new();
    loop {
        let count = stream.read(frames.space())?;
        if count == 0 {
            return Ok(());
        }
        frames.advance(count);
        while let Some(frame) = frames.next_frame()? {
            if let Some(answer) = answer(broker, frame)? {
                for part in answer.parts().parts() {
                    answers.extend_from_slice(part);
                }
            }
        }
        if !answers.is_empty() {
            stream.write_all(&answers)?;
            answers.clear();
        }
    }
}
