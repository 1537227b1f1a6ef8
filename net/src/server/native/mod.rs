//! The driver of a native connection, from its preface on.
//!
//! One task drives both directions, as for Kafka's protocol ([`super::connection`]). Subscriptions are tasks of their own:
//! they read the log when there is something, credit and room, and leave frames in the connection's outbox.
//!
//! Invariants:
//! - Frames leave whole and in the order in which they were left; answers to produces in the order of their requests.
//! - What waits in the outbox is bounded: answers by the requests in flight, pushes by `response_bytes_queued_max` and one
//!   read, whatever credit was given. Room is taken before a read.
//! - A connection that breaks the rules is told why before it ends.
//!
//! Owned by the lane that accepted it. Dropping the driver cancels the subscriptions and what is unanswered; what was
//! appended stays appended.

mod connection;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::io::AsyncRead;
use glommio::Task;
use glommio::net::TcpStream;
use glommio::timer::Timer;

use super::connection::READ_BYTES_PER_TURN;
use super::idle::Activity;
use super::{CloseReason, ConnectionInfo, ConnectionLimits, Service};
use crate::api;
use crate::native::message::{Credit, Goodbye, Hello, Produce, Unsubscribe};
use crate::native::session::{Violation, greet};
use crate::native::{
    MESSAGE_VERSION, Message, MessageError, NativeFrameError, NativeFrameLimits, NativeFrameReader,
    PREFACE, PREFACE_BYTES, could_be_preface, frame_of,
};
use crate::response::Response;

pub use connection::{NativeConnection, PushRoom, Subscription};

/// How long a connection that is being ended may take to hear why.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// Input that is thrown away meanwhile.
const GOODBYE_DISCARD_BYTES_MAX: usize = 1024 * 1024;

type Answer<S> = Pin<Box<dyn Future<Output = Option<Response<S>>>>>;

/// What the service makes of a native request.
pub enum NativePending<S> {
    /// Nothing to answer, or a subscription answers by itself.
    Nothing,
    /// The answer is there.
    Ready(Response<S>),
    /// The answer comes after those of the produces before it. First polled when it stands first in line.
    InOrder(Answer<S>),
    /// The answer comes when it is there.
    WhenReady(Answer<S>),
    /// The connection ends.
    Close(Violation),
}

/// What the Kafka driver hands over when a connection turns out to be native.
pub(super) struct Handover {
    pub(super) stream: TcpStream,
    pub(super) info: ConnectionInfo,
    pub(super) limits: ConnectionLimits,
    /// What was read already.
    pub(super) held: Vec<u8>,
    pub(super) activity: Rc<Activity>,
    /// Judges idleness; cancelled with the connection.
    pub(super) tick: Task<()>,
}

struct Driver<S> {
    stream: TcpStream,
    limits: ConnectionLimits,
    reader: NativeFrameReader,
    connection: Rc<NativeConnection<S>>,
    in_order: VecDeque<Answer<S>>,
    when_ready: Vec<Answer<S>>,
    is_open: bool,
    activity: Rc<Activity>,
}

enum Input {
    /// A whole frame is in the buffer.
    Frame { kind: u8, size_bytes: usize },
    /// Much was read and no frame is whole yet.
    Progress,
}

/// Why a driver stops.
enum Stop {
    /// The connection is lost, or closed by the peer.
    Closed(CloseReason),
    /// The peer broke the rules, and is told so.
    Violation(Violation),
}

impl From<CloseReason> for Stop {
    fn from(reason: CloseReason) -> Self {
        Self::Closed(reason)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Closed(error.into())
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<NativeFrameError> for Stop {
    fn from(error: NativeFrameError) -> Self {
        Self::Violation(error.into())
    }
}

impl From<MessageError> for Stop {
    fn from(error: MessageError) -> Self {
        Self::Violation(error.into())
    }
}

/// Subscriptions hold their connection; this ends them with it, also when the driver is dropped.
struct EndSubscriptions<S: AsRef<[u8]> + 'static>(Rc<NativeConnection<S>>);

impl<S: AsRef<[u8]> + 'static> Drop for EndSubscriptions<S> {
    fn drop(&mut self) {
        self.0.end_all();
    }
}

/// Serves a connection from its preface on.
pub(super) async fn serve_native<V: Service>(handover: Handover, service: &V) -> CloseReason {
    let Handover {
        mut stream,
        info,
        limits,
        mut held,
        activity,
        tick: _tick,
    } = handover;
    // The rest of the preface, and perhaps what follows it.
    while held.len() < PREFACE_BYTES && could_be_preface(&held) {
        let mut buffer = [0; PREFACE_BYTES];
        let room = buffer.get_mut(held.len()..).unwrap_or_default();
        match read_some(&mut stream, room, &activity, limits).await {
            Ok(0) => return CloseReason::PeerClosedInFrame { held: held.len() },
            Ok(count) => held.extend_from_slice(room.get(..count).unwrap_or_default()),
            Err(reason) => return reason,
        }
    }
    let mut driver = Driver {
        stream,
        limits,
        reader: NativeFrameReader::new(NativeFrameLimits {
            payload_bytes_max: limits.frame.frame_bytes_max,
            buffer_bytes_initial: limits.frame.buffer_bytes_initial,
            read_ahead_bytes_max: limits.frame.read_ahead_bytes_max,
            ..NativeFrameLimits::default()
        }),
        connection: NativeConnection::new(info, limits.response_bytes_queued_max),
        in_order: VecDeque::new(),
        when_ready: Vec::new(),
        is_open: false,
        activity,
    };
    let ending = EndSubscriptions(Rc::clone(&driver.connection));
    let stop = match held.strip_prefix(&PREFACE) {
        None => Stop::Violation(Violation::Preface),
        Some(rest) => {
            driver.reader.feed(rest);
            loop {
                if let Err(stop) = driver.serve_next(service).await {
                    break stop;
                }
            }
        }
    };
    let reason = match stop {
        Stop::Closed(reason) => reason,
        Stop::Violation(violation) => {
            driver.say_goodbye(&violation).await;
            CloseReason::Service(violation.to_string())
        }
    };
    drop(ending);
    reason
}

async fn read_some(
    stream: &mut TcpStream,
    room: &mut [u8],
    activity: &Activity,
    limits: ConnectionLimits,
) -> Result<usize, CloseReason> {
    poll_fn(|context| {
        match Pin::new(&mut *stream).poll_read(context, room) {
            Poll::Ready(outcome) => return Poll::Ready(outcome.map_err(CloseReason::Io)),
            Poll::Pending => {}
        }
        activity.register(context.waker());
        activity.in_frame.set(true);
        match activity
            .verdict
            .take()
            .and_then(|verdict| verdict.close_reason(limits.frame_deadline_ms, limits.idle_ms_max))
        {
            Some(reason) => Poll::Ready(Err(reason)),
            None => Poll::Pending,
        }
    })
    .await
}

impl<S: AsRef<[u8]> + 'static> Driver<S> {
    async fn serve_next<V: Service<Slice = S>>(&mut self, service: &V) -> Result<(), Stop> {
        match poll_fn(|context| self.poll_input(context)).await? {
            Input::Frame { kind, size_bytes } => {
                if kind == Produce::KIND {
                    self.drive(service.admit(api::PRODUCE, size_bytes)).await?;
                }
                self.drive(service.turn()).await?;
                self.take_frame(service)
            }
            Input::Progress => Ok(self.drive(service.turn()).await?),
        }
    }

    fn take_frame<V: Service<Slice = S>>(&mut self, service: &V) -> Result<(), Stop> {
        let Some(frame) = self.reader.next_frame()? else {
            return Ok(());
        };
        self.activity.frames.set(self.activity.frames.get() + 1);
        let (header, archive) = (frame.header, frame.archive);
        if !self.is_open {
            if header.kind != Hello::KIND {
                return Err(Violation::Unexpected { kind: header.kind }.into());
            }
            let mut offer = service
                .native_hello()
                .ok_or(Violation::Unexpected { kind: header.kind })?;
            offer.payload_bytes_max =
                u32::try_from(self.limits.frame.frame_bytes_max).unwrap_or(u32::MAX);
            offer.requests_in_flight_max =
                u32::try_from(self.limits.requests_in_flight_max).unwrap_or(u32::MAX);
            let answer = greet(archive, offer)?;
            self.connection.send(frame_of(header.correlation, &answer));
            self.is_open = true;
            return Ok(());
        }
        let pending = match header.kind {
            Hello::KIND => NativePending::Close(Violation::Unexpected { kind: header.kind }),
            Credit::KIND => {
                self.connection.grant(&Credit::read(archive)?);
                NativePending::Nothing
            }
            Unsubscribe::KIND => {
                let message = Unsubscribe::read(archive)?;
                self.connection.unsubscribe(header.correlation, &message);
                NativePending::Nothing
            }
            _ => service.call_native(&self.connection, frame),
        };
        match pending {
            NativePending::Nothing => {}
            NativePending::Ready(answer) => self.connection.send(answer),
            NativePending::InOrder(answer) => self.in_order.push_back(answer),
            NativePending::WhenReady(answer) => self.when_ready.push(answer),
            NativePending::Close(violation) => return Err(violation.into()),
        }
        Ok(())
    }

    /// Awaits `future` while answers go on flowing.
    async fn drive(&mut self, future: impl Future<Output = ()>) -> Result<(), CloseReason> {
        let mut future = pin!(future);
        poll_fn(|context| {
            if future.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.wait(context, false)?;
            self.poll_output(context)?;
            Poll::Pending
        })
        .await
    }

    fn in_flight(&self) -> usize {
        self.in_order.len() + self.when_ready.len()
    }

    fn has_room(&self) -> bool {
        self.in_flight() < self.limits.requests_in_flight_max
            && self.connection.queued_bytes() < self.limits.response_bytes_queued_max
    }

    /// Waits for the next frame: frames that are here first, then answers, then the socket.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Result<Input, Stop>> {
        let mut read_bytes = 0;
        loop {
            let frame = match self.reader.ready() {
                Ok(frame) => frame,
                Err(error) => {
                    self.poll_output(context)?;
                    return Poll::Ready(Err(error.into()));
                }
            };
            if let Some(header) = frame
                && self.has_room()
            {
                return Poll::Ready(Ok(Input::Frame {
                    kind: header.kind,
                    size_bytes: header.frame_bytes(),
                }));
            }
            self.poll_output(context)?;
            if !self.has_room() {
                self.wait(context, false)?;
                return Poll::Pending;
            }
            if frame.is_some() {
                continue;
            }
            if read_bytes >= READ_BYTES_PER_TURN {
                return Poll::Ready(Ok(Input::Progress));
            }
            match Pin::new(&mut self.stream).poll_read(context, self.reader.space()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.peer_closed().into())),
                Poll::Ready(Ok(count)) => {
                    self.reader.advance(count);
                    self.activity.moved.set(true);
                    read_bytes += count;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    self.wait(context, self.reader.held_bytes() > 0)?;
                    return Poll::Pending;
                }
            }
        }
    }

    fn peer_closed(&self) -> CloseReason {
        match self.reader.held_bytes() {
            0 => CloseReason::PeerClosed,
            held => CloseReason::PeerClosedInFrame { held },
        }
    }

    /// Lets requests finish and writes what is there, as far as the socket takes it.
    fn poll_output(&mut self, context: &mut Context<'_>) -> Result<(), CloseReason> {
        // Before looking, so that nothing left meanwhile is missed.
        self.connection.register(context);
        while let Some(head) = self.in_order.front_mut() {
            let Poll::Ready(answer) = head.as_mut().poll(context) else {
                break;
            };
            self.in_order.pop_front();
            if let Some(answer) = answer {
                self.connection.send(answer);
            }
        }
        let connection = &self.connection;
        self.when_ready
            .retain_mut(|one| match one.as_mut().poll(context) {
                Poll::Ready(answer) => {
                    if let Some(answer) = answer {
                        connection.send(answer);
                    }
                    false
                }
                Poll::Pending => true,
            });
        self.connection.register(context);
        if self.connection.poll_write(&mut self.stream, context)? {
            self.activity.moved.set(true);
        }
        Ok(())
    }

    /// Leaves the marks the tick goes by, and obeys what it decided.
    fn wait(&mut self, context: &mut Context<'_>, in_frame: bool) -> Result<(), CloseReason> {
        let activity = &self.activity;
        activity.register(context.waker());
        activity.in_frame.set(in_frame);
        activity
            .unfinished
            .set(self.in_flight() > 0 || self.connection.has_subscriptions());
        activity
            .bloated
            .set(self.reader.buffer_bytes() > self.limits.frame.buffer_bytes_initial);
        let Some(verdict) = activity.verdict.take() else {
            return Ok(());
        };
        let ConnectionLimits {
            frame_deadline_ms,
            idle_ms_max,
            ..
        } = self.limits;
        if let Some(reason) = verdict.close_reason(frame_deadline_ms, idle_ms_max) {
            return Err(reason);
        }
        self.reader.trim();
        Ok(())
    }

    /// Tells the peer why the connection ends, behind the answers that are there already. What it goes on sending is thrown
    /// away for a while: closing with input unread would take the last words back.
    async fn say_goodbye(&mut self, violation: &Violation) {
        self.connection.send(frame_of(
            0,
            &Goodbye {
                version: MESSAGE_VERSION,
                error: violation.code().code(),
                reason: violation.to_string(),
            },
        ));
        let mut deadline = pin!(Timer::new(GOODBYE_WAIT));
        let mut scratch = vec![0; 16 * 1024];
        let mut discarded = 0;
        let mut is_shut = false;
        poll_fn(|context| {
            if deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            if self
                .connection
                .poll_write(&mut self.stream, context)
                .is_err()
            {
                return Poll::Ready(());
            }
            if !is_shut
                && self.connection.queued_bytes() == 0
                && let Poll::Ready(outcome) = self.stream.poll_shutdown(context, Shutdown::Write)
            {
                is_shut = true;
                if outcome.is_err() {
                    return Poll::Ready(());
                }
            }
            loop {
                match ready!(Pin::new(&mut self.stream).poll_read(context, &mut scratch)) {
                    Ok(count) if count > 0 && discarded < GOODBYE_DISCARD_BYTES_MAX => {
                        discarded += count;
                    }
                    _ => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}
