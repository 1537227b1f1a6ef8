//! The two directions of one client connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::BytesMut;
use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use kafka_wire::KafkaRequest;
use kafka_wire_core::ApiVersion;

use super::connection::ApiRanges;
use super::error::{ReceiveError, SendError};
use crate::api::{self, put_request_header};
use crate::frame::{FrameLimits, FrameReader};
use crate::gather::{GatherCursor, Gathered};
use crate::response::LENGTH_PREFIX_BYTES;
use crate::wire::{WireError, WireReader};

/// Parts of one vectored send.
const SEND_PARTS_MAX: usize = 64;

/// What both halves share. Each half borrows the socket only inside a poll.
pub(super) struct Shared {
    stream: RefCell<TcpStream>,
    /// A send was begun and not finished.
    broken: Cell<bool>,
}

/// A request that is on its way: what its response must be matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Stands in the response.
    pub correlation_id: i32,
    /// The version the response's body is in.
    pub version: i16,
    /// Whether the response's header ends in tagged fields.
    pub flexible_header: bool,
}

/// The sending half of a connection.
pub struct Sender {
    shared: Rc<Shared>,
    pub(super) ranges: Rc<ApiRanges>,
    pub(super) client_id: Rc<str>,
    next_correlation_id: i32,
    scratch: BytesMut,
}

/// The receiving half of a connection.
pub struct Receiver {
    shared: Rc<Shared>,
    reader: FrameReader,
}

/// One response, in the receive buffer.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Which request it answers.
    pub correlation_id: i32,
    payload: &'a [u8],
}

impl<'a> Incoming<'a> {
    /// The body, behind a header with or without tagged fields (see [`Sent::flexible_header`]).
    pub fn body(&self, flexible_header: bool) -> Result<&'a [u8], WireError> {
        let mut reader = WireReader::new(self.payload);
        reader.skip_tagged_fields(flexible_header)?;
        Ok(reader.rest())
    }

    /// The body, if this is the response to `sent`.
    pub fn body_of(&self, sent: &Sent) -> Result<&'a [u8], ReceiveError> {
        if self.correlation_id != sent.correlation_id {
            return Err(ReceiveError::Correlation {
                got: self.correlation_id,
                expected: sent.correlation_id,
            });
        }
        Ok(self.body(sent.flexible_header)?)
    }
}

pub(super) fn split(
    stream: TcpStream,
    client_id: &str,
    frame_bytes_max: usize,
) -> (Sender, Receiver) {
    let shared = Rc::new(Shared {
        stream: RefCell::new(stream),
        broken: Cell::new(false),
    });
    let limits = FrameLimits {
        frame_bytes_min: 4,
        frame_bytes_max,
        ..FrameLimits::default()
    };
    let sender = Sender {
        shared: Rc::clone(&shared),
        ranges: Rc::default(),
        client_id: client_id.into(),
        next_correlation_id: 0,
        scratch: BytesMut::new(),
    };
    let reader = FrameReader::new(limits);
    (sender, Receiver { shared, reader })
}

impl Shared {
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    pub(super) fn set_broken(&self) {
        self.broken.set(true);
    }

    pub(super) fn set_sound(&self) {
        self.broken.set(false);
    }
}

impl Sender {
    /// The versions the broker offered.
    pub fn ranges(&self) -> &ApiRanges {
        &self.ranges
    }

    /// What this client calls itself.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A correlation id that no request of this connection has had for a long time.
    pub fn next_correlation_id(&mut self) -> i32 {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1) & i32::MAX;
        id
    }

    /// Sends whole request frames, gathered. Resolves when the socket has taken all of it, which says nothing of
    /// the broker. If it is dropped before, the connection is broken.
    pub async fn send<S: AsRef<[u8]>>(&mut self, message: &Gathered<S>) -> Result<(), SendError> {
        if self.shared.broken.get() {
            return Err(SendError::Broken);
        }
        let mut cursor = GatherCursor::default();
        if message.is_empty() {
            return Ok(());
        }
        self.shared.broken.set(true);
        loop {
            let written = self.write_some(message, cursor).await?;
            if written == 0 {
                return Err(SendError::Io(io::ErrorKind::WriteZero.into()));
            }
            if message.advance(&mut cursor, written).is_some() {
                self.shared.broken.set(false);
                return Ok(());
            }
        }
    }

    async fn write_some<S: AsRef<[u8]>>(
        &self,
        message: &Gathered<S>,
        cursor: GatherCursor,
    ) -> io::Result<usize> {
        poll_fn(|context| {
            loop {
                let mut parts = [IoSlice::new(&[]); SEND_PARTS_MAX];
                let count = message.fill(cursor, &mut parts);
                let parts = parts.get(..count).unwrap_or_default();
                let mut stream = self.shared.stream.borrow_mut();
                match Pin::new(&mut *stream).poll_write_vectored(context, parts) {
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return done,
                }
            }
        })
        .await
    }

    /// Sends whole request frames that lie in one slice.
    pub async fn send_bytes(&mut self, frames: &[u8]) -> Result<(), SendError> {
        let mut message = Gathered::default();
        message.push_slice(frames);
        self.send(&message).await
    }

    /// Sends a control request in the highest version both sides have.
    pub async fn send_request<R: KafkaRequest>(&mut self, request: &R) -> Result<Sent, SendError> {
        let version = self.ranges.common::<R>()?;
        self.send_request_in(request, version).await
    }

    pub(super) async fn send_request_in<R: KafkaRequest>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<Sent, SendError> {
        let api_version = ApiVersion::new(version);
        let flexible = R::is_flexible(api_version);
        let key = R::API_KEY.value();
        let correlation_id = self.next_correlation_id();
        let mut head = Vec::with_capacity(64);
        head.extend_from_slice(&[0; LENGTH_PREFIX_BYTES]);
        put_request_header(
            &mut head,
            key,
            version,
            correlation_id,
            Some(&self.client_id),
            flexible,
        );
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        request.encode_into(&mut body, api_version)?;
        let length = head.len() - LENGTH_PREFIX_BYTES + body.len();
        if let Some(prefix) = head.first_chunk_mut() {
            *prefix = i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes();
        }
        let mut message = Gathered::default();
        message.bytes_mut().extend_from_slice(&head);
        message.push_slice(&body[..]);
        self.send(&message).await?;
        self.scratch = body;
        Ok(Sent {
            correlation_id,
            version,
            flexible_header: flexible && key != api::API_VERSIONS,
        })
    }
}

impl Receiver {
    /// Awaits the next response. It stays where it is until the next call. May be dropped and called again
    /// without losing anything.
    pub async fn receive(&mut self) -> Result<Incoming<'_>, ReceiveError> {
        while self.reader.ready_frame_bytes()?.is_none() {
            let count = self.read_some().await?;
            if count == 0 {
                return Err(ReceiveError::Closed {
                    held: self.reader.held_bytes(),
                });
            }
            self.reader.advance(count);
        }
        let frame = self.reader.next_frame()?.unwrap_or_default();
        let mut reader = WireReader::new(frame);
        let correlation_id = reader.i32()?;
        Ok(Incoming {
            correlation_id,
            payload: reader.rest(),
        })
    }

    /// Whether a whole response is here already, so that [`Receiver::receive`] will not wait.
    pub fn has_response(&self) -> bool {
        !matches!(self.reader.ready_frame_bytes(), Ok(None))
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        let Self { shared, reader } = self;
        poll_fn(|context| {
            loop {
                let mut stream = shared.stream.borrow_mut();
                match Pin::new(&mut *stream).poll_read(context, reader.space()) {
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return done,
                }
            }
        })
        .await
    }
}
