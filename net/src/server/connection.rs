//! The shell around frames, pipeline and socket.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::timer::Timer;

use super::idle::{Activity, IdleJudge};
use super::native::{Handover, serve_native};
use super::pipeline::Pipeline;
use super::{
    CONTROL_FRAME_BYTES_MAX, CloseReason, ConnectionInfo, ConnectionLimits, Pending, Service,
};
use crate::api;
use crate::frame::{FrameError, FrameReader};
use crate::native::could_be_preface;

/// Parts of one vectored send.
pub(super) const SEND_PARTS_MAX: usize = 64;

/// Bytes read without completing a frame before the lane gets its turn.
pub(super) const READ_BYTES_PER_TURN: usize = 512 * 1024;

thread_local! {
    static CONNECTION_IDS: Cell<u64> = const { Cell::new(0) };
}

/// Serves one connection until it ends, and says why it ended.
///
/// The socket is set to send without delay. Runs on the executor that owns `stream`; cancel it by dropping.
pub async fn serve_connection<S: Service>(
    stream: TcpStream,
    service: Rc<S>,
    limits: ConnectionLimits,
) -> CloseReason {
    let info = match describe(&stream) {
        Ok(info) => info,
        Err(error) => {
            tracing::debug!(%error, "connection lost before it could be served");
            return CloseReason::Io(error);
        }
    };
    let reason = match Driver::new(stream, info, limits).run(&*service).await {
        End::Closed(reason) => reason,
        End::Native(handover) => serve_native(*handover, &*service).await,
    };
    if reason.is_ordinary() {
        tracing::debug!(connection = info.id, peer = %info.peer, %reason, "connection closed");
    } else {
        tracing::warn!(connection = info.id, peer = %info.peer, %reason, "connection closed");
    }
    reason
}

fn describe(stream: &TcpStream) -> io::Result<ConnectionInfo> {
    stream.set_nodelay(true)?;
    let id = CONNECTION_IDS.with(|ids| {
        ids.set(ids.get() + 1);
        ids.get()
    });
    Ok(ConnectionInfo {
        id,
        peer: stream.peer_addr()?,
        local: stream.local_addr()?,
    })
}

struct Driver<S> {
    stream: TcpStream,
    info: ConnectionInfo,
    limits: ConnectionLimits,
    reader: FrameReader,
    pipeline: Pipeline<S>,
    activity: Rc<Activity>,
}

/// What became of a connection.
enum End {
    Closed(CloseReason),
    /// It is a native one.
    Native(Box<Handover>),
}

enum Input {
    /// A whole frame is in the buffer.
    Frame { api_key: i16, size_bytes: usize },
    /// Much was read and no frame is whole yet.
    Progress,
}

impl<S: AsRef<[u8]> + 'static> Driver<S> {
    fn new(stream: TcpStream, info: ConnectionInfo, limits: ConnectionLimits) -> Self {
        Self {
            stream,
            info,
            limits,
            reader: FrameReader::new(limits.frame),
            pipeline: Pipeline::new(),
            activity: Rc::new(Activity::default()),
        }
    }

    async fn run<V: Service<Slice = S>>(mut self, service: &V) -> End {
        // Cancelled when this future is dropped.
        let tick = glommio::spawn_local(tick(Rc::clone(&self.activity), self.limits));
        loop {
            match self.serve_next(service).await {
                Ok(()) => {}
                // Only the first bytes can be a preface.
                Err(CloseReason::Frame(FrameError::Negative { .. }))
                    if self.activity.frames.get() == 0
                        && could_be_preface(self.reader.unframed())
                        && service.native_hello().is_some() =>
                {
                    return End::Native(Box::new(Handover {
                        held: self.reader.unframed().to_vec(),
                        stream: self.stream,
                        info: self.info,
                        limits: self.limits,
                        activity: self.activity,
                        tick,
                    }));
                }
                Err(reason) => return End::Closed(reason),
            }
        }
    }

    async fn serve_next<V: Service<Slice = S>>(&mut self, service: &V) -> Result<(), CloseReason> {
        match poll_fn(|context| self.poll_input(context)).await? {
            Input::Frame {
                api_key,
                size_bytes,
            } => {
                self.drive(service.admit(api_key, size_bytes)).await?;
                self.drive(service.turn()).await?;
                let Some(frame) = self.reader.next_frame()? else {
                    return Ok(());
                };
                self.activity.frames.set(self.activity.frames.get() + 1);
                let pending = service.call(&self.info, frame);
                if !matches!(pending, Pending::NoResponse) {
                    self.pipeline.push(pending);
                }
                Ok(())
            }
            Input::Progress => self.drive(service.turn()).await,
        }
    }

    /// Awaits `future` while responses go on flowing.
    async fn drive(&mut self, future: impl Future<Output = ()>) -> Result<(), CloseReason> {
        let mut future = pin!(future);
        poll_fn(|context| {
            if future.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            // A frame that waits for admission is not late.
            self.wait(context, false)?;
            match self.poll_output(context) {
                Ok(()) => Poll::Pending,
                Err(reason) => Poll::Ready(Err(reason)),
            }
        })
        .await
    }

    /// Whether another request may be taken.
    fn has_room(&self) -> bool {
        self.pipeline.in_flight() < self.limits.requests_in_flight_max
            && self.pipeline.queued_bytes() < self.limits.response_bytes_queued_max
            && !self.pipeline.is_closing()
    }

    /// The size of the whole frame at the front. What it may not be ends the connection as soon as its prefix
    /// and its API key tell, before memory is taken for the rest.
    fn ready_frame_bytes(&self) -> Result<Option<usize>, CloseReason> {
        if let (Some(got), Some(api_key)) = (
            self.reader.front_frame_bytes()?,
            self.reader.front_api_key(),
        ) && got > CONTROL_FRAME_BYTES_MAX
            && api_key != api::PRODUCE
        {
            return Err(CloseReason::RequestTooLarge {
                api_key,
                got,
                limit: CONTROL_FRAME_BYTES_MAX,
            });
        }
        Ok(self.reader.ready_frame_bytes()?)
    }

    /// Waits for the next frame. Every frame that is already here goes first; only then are the responses they
    /// brought about written, all at once; only then is the socket asked for more.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Result<Input, CloseReason>> {
        let mut read_bytes = 0;
        loop {
            self.pipeline.start(context);
            let frame = match self.ready_frame_bytes() {
                Ok(frame) => frame,
                Err(error) => {
                    // What came before it is answered as far as that goes at once.
                    self.poll_output(context)?;
                    return Poll::Ready(Err(error));
                }
            };
            if let Some(size_bytes) = frame
                && self.has_room()
            {
                return Poll::Ready(Ok(Input::Frame {
                    // A frame too short for a key has none that is served.
                    api_key: self.reader.front_api_key().unwrap_or(-1),
                    size_bytes,
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
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.peer_closed())),
                Poll::Ready(Ok(count)) => {
                    self.reader.advance(count);
                    self.activity.moved.set(true);
                    read_bytes += count;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    self.wait(context, self.reader.has_partial_frame())?;
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

    /// Lets requests finish and writes what is ready, as far as the socket takes it.
    fn poll_output(&mut self, context: &mut Context<'_>) -> Result<(), CloseReason> {
        let bytes_max = self.limits.response_bytes_queued_max;
        loop {
            self.pipeline.poll(context, bytes_max);
            let mut sent = false;
            while self.pipeline.has_ready() {
                match self.poll_send(context) {
                    Poll::Ready(Ok(0)) => {
                        return Err(CloseReason::Io(io::ErrorKind::WriteZero.into()));
                    }
                    Poll::Ready(Ok(count)) => {
                        self.pipeline.advance(count);
                        self.activity.moved.set(true);
                        sent = true;
                    }
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Poll::Ready(Err(error)) => return Err(error.into()),
                    Poll::Pending => {
                        // The socket wakes this task again; what has room now need not wait for that.
                        if sent && self.pipeline.is_held_back() {
                            self.pipeline.poll(context, bytes_max);
                        }
                        return Ok(());
                    }
                }
            }
            // With nothing sent, what is held back waits for the head, and the head wakes this task.
            if !sent || !self.pipeline.is_held_back() {
                break;
            }
        }
        match self.pipeline.take_close() {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut parts = [IoSlice::new(&[]); SEND_PARTS_MAX];
        let count = self.pipeline.fill(&mut parts);
        let parts = parts.get(..count).unwrap_or_default();
        let sent = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts));
        Poll::Ready(sent)
    }

    /// Leaves the marks the tick goes by, and obeys what it decided.
    fn wait(&mut self, context: &mut Context<'_>, in_frame: bool) -> Result<(), CloseReason> {
        let activity = &self.activity;
        activity.register(context.waker());
        activity.in_frame.set(in_frame);
        activity.unfinished.set(self.pipeline.has_unfinished());
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
}

/// One timer a connection, set again only when it has run out.
async fn tick(activity: Rc<Activity>, limits: ConnectionLimits) {
    let ConnectionLimits {
        frame_deadline_ms,
        idle_ms_max,
        ..
    } = limits;
    let mut judge = IdleJudge::new(frame_deadline_ms, idle_ms_max);
    loop {
        Timer::new(IdleJudge::tick(frame_deadline_ms, idle_ms_max)).await;
        if let Some(verdict) = judge.judge(&activity) {
            activity.deliver(verdict);
        }
    }
}
