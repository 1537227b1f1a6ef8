//! A native connection as others leave frames with it: outbox, subscriptions, credit.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::io::AsyncWrite;
use glommio::Task;
use glommio::net::TcpStream;

use crate::gather::GatherCursor;
use crate::native::message::{Credit, SubscriptionEnd, Unsubscribe};
use crate::native::session::{CreditBalance, Violation};
use crate::native::{MESSAGE_VERSION, frame_of};
use crate::response::Response;
use crate::server::ConnectionInfo;
use crate::server::connection::SEND_PARTS_MAX;

/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 4096;

/// A native connection as its service and its subscriptions see it.
pub struct NativeConnection<S> {
    /// Who is at the other end.
    pub info: ConnectionInfo,
    queued_bytes_max: usize,
    outbox: RefCell<Outbox<S>>,
    /// Bytes that subscriptions are reading.
    reserved_bytes: Cell<usize>,
    subscriptions: RefCell<HashMap<u32, Rc<Subscription>>>,
    /// A subscription waits for room in the outbox.
    room_wanted: Cell<bool>,
    driver: RefCell<Option<Waker>>,
}

struct Outbox<S> {
    frames: VecDeque<Response<S>>,
    cursor: GatherCursor,
    queued_bytes: usize,
}

/// One subscription of a connection.
pub struct Subscription {
    id: u32,
    credit: Cell<CreditBalance>,
    next_offset: Cell<i64>,
    is_over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    task: RefCell<Option<Task<()>>>,
}

impl Subscription {
    /// The client's number for it.
    pub fn id(&self) -> u32 {
        self.id
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Room in the outbox and credit for one push, given back when dropped.
pub struct PushRoom<S> {
    connection: Rc<NativeConnection<S>>,
    bytes: usize,
}

impl<S> PushRoom<S> {
    /// How many bytes of batches may be read.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<S> Drop for PushRoom<S> {
    fn drop(&mut self) {
        let reserved = &self.connection.reserved_bytes;
        reserved.set(reserved.get().saturating_sub(self.bytes));
    }
}

impl<S: AsRef<[u8]> + 'static> NativeConnection<S> {
    pub(super) fn new(info: ConnectionInfo, queued_bytes_max: usize) -> Rc<Self> {
        Rc::new(Self {
            info,
            queued_bytes_max,
            outbox: RefCell::new(Outbox {
                frames: VecDeque::new(),
                cursor: GatherCursor::default(),
                queued_bytes: 0,
            }),
            reserved_bytes: Cell::new(0),
            subscriptions: RefCell::default(),
            room_wanted: Cell::new(false),
            driver: RefCell::default(),
        })
    }

    /// Leaves a frame to be sent after those left before.
    pub fn send(&self, frame: Response<S>) {
        {
            let mut outbox = self.outbox.borrow_mut();
            outbox.queued_bytes += frame.size_bytes();
            outbox.frames.push_back(frame);
        }
        let waker = self.driver.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Begins a subscription and runs `task` for it until it ends, is ended, or the connection is gone.
    ///
    /// # Errors
    /// The number is in use, or there are too many subscriptions.
    pub fn subscribe<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        id: u32,
        credit_bytes: u64,
        task: impl FnOnce(Rc<Subscription>) -> F,
    ) -> Result<(), Violation> {
        let refused = Violation::Subscription { subscription: id };
        let mut subscriptions = self.subscriptions.borrow_mut();
        if subscriptions.len() >= SUBSCRIPTIONS_MAX {
            subscriptions.retain(|_, one| !one.is_over.get());
        }
        let is_taken = subscriptions.get(&id).is_some_and(|one| !one.is_over.get());
        if is_taken || subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(refused);
        }
        let subscription = Rc::new(Subscription {
            id,
            credit: Cell::new(CreditBalance::new(credit_bytes)),
            next_offset: Cell::new(-1),
            is_over: Cell::new(false),
            waker: RefCell::default(),
            task: RefCell::default(),
        });
        let running = glommio::spawn_local(task(Rc::clone(&subscription)));
        *subscription.task.borrow_mut() = Some(running);
        subscriptions.insert(id, subscription);
        Ok(())
    }

    /// Waits for credit and for room in the outbox, and takes at most `bytes_max` of both for one read.
    pub fn poll_push_room(
        self: &Rc<Self>,
        subscription: &Subscription,
        bytes_max: usize,
        context: &Context<'_>,
    ) -> Poll<PushRoom<S>> {
        let queued_bytes = self.outbox.borrow().queued_bytes + self.reserved_bytes.get();
        let has_room = queued_bytes < self.queued_bytes_max;
        match subscription.credit.get().available() {
            Some(credit) if has_room => {
                let bytes = credit.min(bytes_max);
                self.reserved_bytes.set(self.reserved_bytes.get() + bytes);
                Poll::Ready(PushRoom {
                    connection: Rc::clone(self),
                    bytes,
                })
            }
            _ => {
                if !has_room {
                    self.room_wanted.set(true);
                }
                *subscription.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Sends `payload_bytes` of batches in `frame`, for which `room` was taken.
    pub fn push(
        &self,
        subscription: &Subscription,
        room: PushRoom<S>,
        frame: Response<S>,
        payload_bytes: usize,
        next_offset: i64,
    ) {
        drop(room);
        let mut credit = subscription.credit.get();
        credit.spend(payload_bytes);
        subscription.credit.set(credit);
        subscription.next_offset.set(next_offset);
        self.send(frame);
    }

    /// Says that a subscription is over; its task ends by itself.
    pub fn end_subscription(&self, subscription: &Subscription, error: i16) {
        subscription.is_over.set(true);
        self.send(frame_of(
            0,
            &SubscriptionEnd {
                version: MESSAGE_VERSION,
                subscription: subscription.id,
                error,
                next_offset: subscription.next_offset.get(),
            },
        ));
    }

    /// Marks a subscription as over whose answer said why.
    pub fn forget_subscription(&self, subscription: &Subscription) {
        subscription.is_over.set(true);
    }

    pub(super) fn grant(&self, message: &Credit) {
        // One that has ended meanwhile has no use for it.
        let found = self
            .subscriptions
            .borrow()
            .get(&message.subscription)
            .cloned();
        if let Some(subscription) = found {
            let mut credit = subscription.credit.get();
            credit.grant(message.bytes);
            subscription.credit.set(credit);
            subscription.wake();
        }
    }

    pub(super) fn unsubscribe(&self, correlation: u32, message: &Unsubscribe) {
        let found = self
            .subscriptions
            .borrow_mut()
            .remove(&message.subscription);
        let Some(subscription) = found.filter(|one| !one.is_over.get()) else {
            // Its end is on its way already.
            return;
        };
        drop(subscription.task.borrow_mut().take());
        self.send(frame_of(
            correlation,
            &SubscriptionEnd {
                version: MESSAGE_VERSION,
                subscription: subscription.id,
                error: 0,
                next_offset: subscription.next_offset.get(),
            },
        ));
    }

    pub(super) fn end_all(&self) {
        let subscriptions = std::mem::take(&mut *self.subscriptions.borrow_mut());
        for subscription in subscriptions.into_values() {
            drop(subscription.task.borrow_mut().take());
        }
    }

    pub(super) fn has_subscriptions(&self) -> bool {
        self.subscriptions
            .borrow()
            .values()
            .any(|one| !one.is_over.get())
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.outbox.borrow().queued_bytes
    }

    pub(super) fn register(&self, context: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        if !driver
            .as_ref()
            .is_some_and(|known| known.will_wake(context.waker()))
        {
            *driver = Some(context.waker().clone());
        }
    }

    /// Writes frames until the socket takes no more.
    pub(super) fn poll_write(
        &self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
    ) -> io::Result<bool> {
        let mut moved = false;
        let mut outbox = self.outbox.borrow_mut();
        while !outbox.frames.is_empty() {
            let sent = {
                let mut parts = [IoSlice::new(&[]); SEND_PARTS_MAX];
                let count = outbox.fill(&mut parts);
                let parts = parts.get(..count).unwrap_or_default();
                Pin::new(&mut *stream).poll_write_vectored(context, parts)
            };
            match sent {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    outbox.advance(count);
                    moved = true;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        let has_room = outbox.queued_bytes < self.queued_bytes_max;
        drop(outbox);
        if has_room && self.room_wanted.take() {
            for subscription in self.subscriptions.borrow().values() {
                subscription.wake();
            }
        }
        Ok(moved)
    }
}

impl<S: AsRef<[u8]>> Outbox<S> {
    fn fill<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut cursor = self.cursor;
        for frame in &self.frames {
            let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) else {
                break;
            };
            filled += frame.parts().fill(cursor, room);
            cursor = GatherCursor::default();
        }
        filled
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(frame) = self.frames.front() {
            let Some(beyond) = frame.advance(&mut self.cursor, written) else {
                return;
            };
            written = beyond;
            self.queued_bytes -= frame.size_bytes();
            self.frames.pop_front();
            self.cursor = GatherCursor::default();
        }
    }
}
