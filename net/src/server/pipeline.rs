//! The requests of one connection that are not answered yet, in order.
//!
//! Invariants: the first `ready` slots hold responses and the slot behind them does not (or is one whose turn to
//! be looked at has not come); `cursor` points into the first slot; `queued_bytes` counts every response held. At
//! the limit of queued bytes no response is made but one that nothing ready stands before, so what is held exceeds
//! the limit by two responses at most, and by those that futures made when they were polled for the first time.
//!
//! Pure but for polling the futures it was given.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::task::{Context, Poll};

use super::{CloseReason, LaterResponse, Pending};
use crate::gather::GatherCursor;
use crate::response::Response;

/// Futures behind the first unfinished one that every pass polls too, so that work of several steps (a fetch
/// that reads the disk) gets on while it waits for its turn. The others are polled when they come and when they
/// come up, and their wake-ups in between cost one look at the head.
const POLLED_BEHIND_HEAD: usize = 3;

enum Slot<S> {
    Ready(Response<S>),
    Later(LaterResponse<S>),
    Close(Option<CloseReason>),
}

/// Responses in request order.
pub(super) struct Pipeline<S> {
    slots: VecDeque<Slot<S>>,
    ready: usize,
    /// Slots before this one have been polled at least once.
    started: usize,
    cursor: GatherCursor,
    queued_bytes: usize,
    /// The last pass left futures unpolled because of the limit: their wake-ups may be spent.
    held_back: bool,
    closing: bool,
}

impl<S: AsRef<[u8]>> Pipeline<S> {
    pub(super) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            ready: 0,
            started: 0,
            cursor: GatherCursor::default(),
            queued_bytes: 0,
            held_back: false,
            closing: false,
        }
    }

    /// Takes what the service made of the next request.
    pub(super) fn push(&mut self, pending: Pending<S>) {
        let slot = match pending {
            Pending::Ready(response) => {
                self.queued_bytes += response.size_bytes();
                Slot::Ready(response)
            }
            Pending::Later(future) => Slot::Later(future),
            Pending::NoResponse => return,
            Pending::Close(reason) => {
                self.closing = true;
                Slot::Close(Some(reason))
            }
        };
        self.slots.push_back(slot);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether the connection is to end and no further request may be taken.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether a response is ready to be written.
    pub(super) fn has_ready(&self) -> bool {
        self.ready > 0
    }

    /// Whether a request waits for its response to be made, as opposed to being written.
    pub(super) fn has_unfinished(&self) -> bool {
        self.ready < self.slots.len()
    }

    /// The reason to close, once everything before it was written.
    pub(super) fn take_close(&mut self) -> Option<CloseReason> {
        match self.slots.front_mut() {
            Some(Slot::Close(reason)) => reason.take(),
            _ => None,
        }
    }

    fn poll_slot(&mut self, index: usize, context: &mut Context<'_>) -> bool {
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        let Slot::Later(future) = slot else {
            return matches!(slot, Slot::Ready(_));
        };
        match future.as_mut().poll(context) {
            Poll::Ready(Ok(response)) => {
                self.queued_bytes += response.size_bytes();
                *slot = Slot::Ready(response);
                true
            }
            Poll::Ready(Err(reason)) => {
                *slot = Slot::Close(Some(reason));
                self.closing = true;
                false
            }
            Poll::Pending => false,
        }
    }

    /// Polls what came since the last time, so that what it made counts before the next request is taken.
    pub(super) fn start(&mut self, context: &mut Context<'_>) {
        for index in self.started..self.slots.len() {
            self.poll_slot(index, context);
        }
        self.started = self.slots.len();
    }

    /// Whether the future at `index` may be polled while only `bytes_max` of responses may be queued. The next to
    /// be written always may, for nothing else makes room; so may one that was never polled, for its work has
    /// to begin in order.
    fn may_poll(&self, index: usize, bytes_max: usize) -> bool {
        index == 0 || index >= self.started || self.queued_bytes < bytes_max
    }

    fn poll_within(&mut self, index: usize, bytes_max: usize, context: &mut Context<'_>) -> bool {
        if self.may_poll(index, bytes_max) {
            return self.poll_slot(index, context);
        }
        match self.slots.get(index) {
            Some(Slot::Ready(_)) => true,
            Some(Slot::Later(_)) => {
                self.held_back = true;
                false
            }
            Some(Slot::Close(_)) | None => false,
        }
    }

    /// Lets the futures get on and moves the finished ones at the head to the responses to write. From `bytes_max`
    /// of queued responses on, no more are made.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, bytes_max: usize) {
        self.held_back = false;
        while self.poll_within(self.ready, bytes_max, context) {
            self.ready += 1;
        }
        let count = self.slots.len();
        let behind = self.ready + 1;
        let near = (behind + POLLED_BEHIND_HEAD).min(count);
        for index in behind..near {
            self.poll_within(index, bytes_max, context);
        }
        for index in self.started.max(near)..count {
            self.poll_slot(index, context);
        }
        self.started = count;
    }

    /// Whether the last pass left futures unpolled because of its limit. Once bytes have been sent, the next pass
    /// must not wait for a wake-up.
    pub(super) fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Puts the bytes to write next into `out`. Returns how many entries were set.
    pub(super) fn fill<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut cursor = self.cursor;
        for slot in self.slots.iter().take(self.ready) {
            let Slot::Ready(response) = slot else {
                break;
            };
            let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) else {
                break;
            };
            filled += response.parts().fill(cursor, room);
            cursor = GatherCursor::default();
        }
        filled
    }

    /// Records that `written` bytes left, and drops the responses that left whole.
    pub(super) fn advance(&mut self, mut written: usize) {
        while let Some(Slot::Ready(response)) = self.slots.front() {
            let Some(beyond) = response.advance(&mut self.cursor, written) else {
                return;
            };
            written = beyond;
            self.queued_bytes -= response.size_bytes();
            self.slots.pop_front();
            self.ready -= 1;
            self.started = self.started.saturating_sub(1);
            self.cursor = GatherCursor::default();
            if self.ready == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CloseReason, Pending, Pipeline};
    use crate::response::{Response, ResponseBuilder};
    use futures_lite::future::poll_fn;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::io::IoSlice;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    fn response(id: i32, body_bytes: usize) -> Response<Vec<u8>> {
        let mut builder = ResponseBuilder::new(id, false, 0);
        builder.push_slice(vec![id as u8; body_bytes]);
        builder.finish()
    }

    /// Futures that finish when the test says so.
    type Gate = Rc<RefCell<Vec<bool>>>;

    fn later(gate: &Gate, id: usize, body_bytes: usize) -> Pending<Vec<u8>> {
        let gate = Rc::clone(gate);
        Pending::Later(Box::pin(poll_fn(move |_| {
            if gate.borrow()[id] {
                Poll::Ready(Ok(response(id as i32, body_bytes)))
            } else {
                Poll::Pending
            }
        })))
    }

    fn write(pipeline: &mut Pipeline<Vec<u8>>, limit: usize, out: &mut Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = pipeline.fill(&mut slices);
        let all: Vec<u8> = slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        let take = all.len().min(limit);
        out.extend_from_slice(&all[..take]);
        pipeline.advance(take);
    }

    proptest! {
        #[test]
        fn responses_leave_in_request_order_whatever_order_they_finish_in(
            sizes in proptest::collection::vec((any::<bool>(), 0_usize..50), 1..40),
            finish in any::<u64>(),
            limits in proptest::collection::vec(1_usize..80, 1..30),
        ) {
            let gate: Gate = Rc::new(RefCell::new(vec![false; sizes.len()]));
            let mut pipeline = Pipeline::new();
            let mut expected = Vec::new();
            for (id, (now, bytes)) in sizes.iter().enumerate() {
                expected.extend(response(id as i32, *bytes).to_vec());
                pipeline.push(if *now { Pending::Ready(response(id as i32, *bytes)) } else { later(&gate, id, *bytes) });
            }
            let mut context = Context::from_waker(Waker::noop());
            let mut out = Vec::new();
            let mut next = finish as usize;
            for limit in limits.iter().cycle() {
                pipeline.poll(&mut context, usize::MAX);
                if !pipeline.has_ready() && !pipeline.has_unfinished() {
                    break;
                }
                write(&mut pipeline, *limit, &mut out);
                // Finish one more request somewhere.
                let open: Vec<usize> = (0..sizes.len()).filter(|id| !gate.borrow()[*id]).collect();
                if !open.is_empty() {
                    gate.borrow_mut()[open[next % open.len()]] = true;
                    next = next.wrapping_mul(31).wrapping_add(7);
                }
            }
            prop_assert_eq!(out, expected);
            prop_assert_eq!(pipeline.in_flight(), 0);
            prop_assert_eq!(pipeline.queued_bytes(), 0);
        }
    }

    #[test]
    fn no_more_responses_are_made_than_may_be_queued() {
        const COUNT: usize = 40;
        let size = response(0, 60).size_bytes();
        let gate: Gate = Rc::new(RefCell::new(vec![false; COUNT]));
        let mut pipeline = Pipeline::new();
        for id in 0..COUNT {
            pipeline.push(later(&gate, id, 60));
        }
        let mut context = Context::from_waker(Waker::noop());
        pipeline.poll(&mut context, 3 * size);
        assert!(!pipeline.is_held_back());
        gate.borrow_mut().fill(true);
        let mut out = Vec::new();
        while pipeline.in_flight() > 0 {
            pipeline.poll(&mut context, 3 * size);
            assert!(pipeline.queued_bytes() <= 3 * size);
            assert!(pipeline.has_ready());
            assert_eq!(pipeline.is_held_back(), pipeline.in_flight() > 3);
            write(&mut pipeline, usize::MAX, &mut out);
        }
        let expected: Vec<u8> = (0..COUNT)
            .flat_map(|id| response(id as i32, 60).to_vec())
            .collect();
        assert_eq!(out, expected);
        assert_eq!(pipeline.queued_bytes(), 0);
    }

    #[test]
    fn the_head_is_made_whatever_is_queued_behind_it() {
        let size = response(0, 60).size_bytes();
        let gate: Gate = Rc::new(RefCell::new(vec![false; 3]));
        let mut pipeline = Pipeline::new();
        for id in 0..3 {
            pipeline.push(later(&gate, id, 60));
        }
        let mut context = Context::from_waker(Waker::noop());
        pipeline.poll(&mut context, size);
        gate.borrow_mut()[1..].fill(true);
        pipeline.poll(&mut context, size);
        assert_eq!(pipeline.queued_bytes(), size);
        assert!(pipeline.is_held_back() && !pipeline.has_ready());
        gate.borrow_mut()[0] = true;
        pipeline.poll(&mut context, size);
        assert_eq!(pipeline.queued_bytes(), 2 * size);
        let mut out = Vec::new();
        write(&mut pipeline, usize::MAX, &mut out);
        pipeline.poll(&mut context, size);
        write(&mut pipeline, usize::MAX, &mut out);
        assert_eq!(out.len(), 3 * size);
    }

    #[test]
    fn what_comes_is_polled_at_once_even_at_the_limit() {
        let polled = Rc::new(RefCell::new(0));
        let mut pipeline: Pipeline<Vec<u8>> = Pipeline::new();
        pipeline.push(Pending::Ready(response(0, 60)));
        for _ in 0..10 {
            let polled = Rc::clone(&polled);
            pipeline.push(Pending::Later(Box::pin(poll_fn(move |_| {
                *polled.borrow_mut() += 1;
                Poll::Pending
            }))));
        }
        let mut context = Context::from_waker(Waker::noop());
        pipeline.start(&mut context);
        assert_eq!(*polled.borrow(), 10);
        pipeline.poll(&mut context, 1);
        assert_eq!(*polled.borrow(), 10);
        assert!(pipeline.is_held_back());
    }

    #[test]
    fn a_close_waits_for_the_responses_before_it() {
        let gate: Gate = Rc::new(RefCell::new(vec![false]));
        let mut pipeline = Pipeline::new();
        pipeline.push(later(&gate, 0, 3));
        pipeline.push(Pending::Close(CloseReason::Service("enough".into())));
        assert!(pipeline.is_closing());
        let mut context = Context::from_waker(Waker::noop());
        pipeline.poll(&mut context, usize::MAX);
        assert!(pipeline.take_close().is_none());
        gate.borrow_mut()[0] = true;
        pipeline.poll(&mut context, usize::MAX);
        let mut out = Vec::new();
        write(&mut pipeline, usize::MAX, &mut out);
        assert_eq!(out, response(0, 3).to_vec());
        assert!(matches!(
            pipeline.take_close(),
            Some(CloseReason::Service(_))
        ));
    }

    #[test]
    fn every_future_is_polled_when_it_comes() {
        let polled = Rc::new(RefCell::new(vec![0; 40]));
        let mut pipeline: Pipeline<Vec<u8>> = Pipeline::new();
        for id in 0..40 {
            let polled = Rc::clone(&polled);
            pipeline.push(Pending::Later(Box::pin(poll_fn(move |_| {
                polled.borrow_mut()[id] += 1;
                Poll::Pending
            }))));
        }
        let mut context = Context::from_waker(Waker::noop());
        pipeline.poll(&mut context, usize::MAX);
        assert!(polled.borrow().iter().all(|count| *count == 1));
        pipeline.poll(&mut context, usize::MAX);
        // Only the head and those close behind it are looked at again.
        assert_eq!(
            polled.borrow().iter().filter(|count| **count == 2).count(),
            4
        );
    }
}
