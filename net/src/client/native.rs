//! A native connection over a plain blocking socket: for programs of any kind, a thread or a call at a time.
//!
//! Requests and answers are apart, so any number of requests may be under way: [`NativeStream::send`] writes into a buffer,
//! [`NativeStream::flush`] hands it to the socket, [`NativeStream::receive`] waits for one frame, which borrows from the
//! receive buffer. Batches in it are aligned and can be read in place.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use thiserror::Error;

use crate::error_code::ErrorCode;
use crate::native::frame::append_frame;
use crate::native::message::{Goodbye, Hello, HelloAnswer};
use crate::native::{
    Frame, MESSAGE_VERSION, Message, MessageError, NativeFrameError, NativeFrameLimits,
    NativeFrameReader, PREFACE, PROTOCOL_VERSIONS,
};

/// Bytes of requests that are collected before they are sent unasked.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Why a native connection failed.
#[derive(Debug, Error)]
pub enum NativeClientError {
    /// The socket failed, or the server closed the connection.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
    /// A frame that cannot be.
    #[error("{0}")]
    Frame(#[from] NativeFrameError),
    /// A message that cannot be.
    #[error("{0}")]
    Message(#[from] MessageError),
    /// The server ended the connection.
    #[error("the server ended the connection with {}: {reason}", ErrorCode::from_wire(*error).name())]
    Goodbye {
        /// Kafka's error code.
        error: i16,
        /// In words.
        reason: String,
    },
    /// An answer of another kind than was due.
    #[error("an answer of kind {got:#04x}, expected {expected:#04x}")]
    Unexpected {
        /// The kind that came.
        got: u8,
        /// The kind that was due.
        expected: u8,
    },
    /// The server refused the greeting.
    #[error("the server refused the greeting with {}", ErrorCode::from_wire(*error).name())]
    Refused {
        /// Kafka's error code.
        error: i16,
    },
}

/// A connection to one node.
#[derive(Debug)]
pub struct NativeStream {
    stream: TcpStream,
    reader: NativeFrameReader,
    out: Vec<u8>,
    correlation: u32,
    hello: HelloAnswer,
}

impl NativeStream {
    /// Connects and agrees on a version.
    pub fn connect(
        address: impl ToSocketAddrs,
        client_id: &str,
    ) -> Result<Self, NativeClientError> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream,
            reader: NativeFrameReader::new(NativeFrameLimits {
                archive_bytes_max: 64 * 1024 * 1024,
                ..NativeFrameLimits::default()
            }),
            out: PREFACE.to_vec(),
            correlation: 0,
            hello: HelloAnswer {
                version: MESSAGE_VERSION,
                error: 0,
                protocol: 0,
                node: -1,
                payload_bytes_max: 0,
                requests_in_flight_max: 0,
            },
        };
        let (protocol_min, protocol_max) = PROTOCOL_VERSIONS;
        let hello = Hello {
            version: MESSAGE_VERSION,
            protocol_min,
            protocol_max,
            client_id: client_id.to_owned(),
            mechanism: String::new(),
            credentials: Vec::new(),
        };
        let answer: HelloAnswer = connection.call(&hello)?;
        if answer.error != 0 {
            return Err(NativeClientError::Refused {
                error: answer.error,
            });
        }
        connection.hello = answer;
        Ok(connection)
    }

    /// What the server said first: its node and its limits.
    pub fn hello(&self) -> &HelloAnswer {
        &self.hello
    }

    /// How long [`NativeStream::receive`] waits before it fails with `WouldBlock`; `None` is for ever.
    pub fn set_receive_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// Writes a request into the send buffer; returns the number that its answer repeats.
    pub fn send<M: Message>(
        &mut self,
        message: &M,
        payload: &[u8],
    ) -> Result<u32, NativeClientError> {
        self.correlation = self.correlation.wrapping_add(1).max(1);
        append_frame(&mut self.out, self.correlation, message, payload);
        if self.out.len() >= SEND_BUFFER_BYTES {
            self.flush()?;
        }
        Ok(self.correlation)
    }

    /// Hands what was written to the socket.
    pub fn flush(&mut self) -> Result<(), NativeClientError> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Waits for a frame. It borrows from the receive buffer until the next call.
    ///
    /// # Errors
    /// A [`Goodbye`] of the server too; the connection is then of no more use.
    pub fn receive(&mut self) -> Result<Frame<'_>, NativeClientError> {
        while self.reader.ready()?.is_none() {
            let count = self.stream.read(self.reader.space())?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.reader.advance(count);
        }
        let frame = self
            .reader
            .next_frame()?
            .ok_or(io::ErrorKind::UnexpectedEof)
            .map_err(io::Error::from)?;
        if frame.header.kind == Goodbye::KIND {
            let Goodbye { error, reason, .. } = Goodbye::read(frame.archive)?;
            return Err(NativeClientError::Goodbye { error, reason });
        }
        Ok(frame)
    }

    /// Sends a request without batches and waits for its answer, while nothing else is under way.
    pub fn call<A: Message>(&mut self, message: &impl Message) -> Result<A, NativeClientError> {
        self.send(message, &[])?;
        self.flush()?;
        read_answer(&self.receive()?)
    }
}

/// Reads the message of a frame that must be of its kind.
pub fn read_answer<A: Message>(frame: &Frame<'_>) -> Result<A, NativeClientError> {
    if frame.header.kind != A::KIND {
        return Err(NativeClientError::Unexpected {
            got: frame.header.kind,
            expected: A::KIND,
        });
    }
    Ok(A::read(frame.archive)?)
}
