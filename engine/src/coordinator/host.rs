//! One partition of `__consumer_offsets`: its log, its groups, and who waits for an answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use corelane_net::error_code::ErrorCode;

use crate::group::Shard;
use crate::group::step::{GroupAnswer, ReplyId};
use crate::partition::Partition;

enum State {
    /// Its groups are being read.
    Loading,
    /// It serves.
    Live(Box<Shard>),
    /// It cannot be read; a restart may help.
    Unreadable,
    /// Its log takes no more writes.
    Ended,
}

pub(super) struct Host {
    partition: Rc<Partition>,
    state: RefCell<State>,
    waiting: RefCell<HashMap<ReplyId, flume::Sender<GroupAnswer>>>,
}

impl Host {
    pub(super) fn new(partition: Rc<Partition>) -> Rc<Self> {
        Rc::new(Self {
            partition,
            state: RefCell::new(State::Loading),
            waiting: RefCell::default(),
        })
    }

    pub(super) fn partition(&self) -> &Rc<Partition> {
        &self.partition
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(*self.state.borrow(), State::Live(_))
    }

    /// Starts to serve, unless it ended while it was loaded.
    pub(super) fn go_live(&self, shard: Shard) {
        let mut state = self.state.borrow_mut();
        if matches!(*state, State::Loading) {
            *state = State::Live(Box::new(shard));
        }
    }

    /// Cannot be loaded.
    pub(super) fn give_up(&self) {
        *self.state.borrow_mut() = State::Unreadable;
    }

    /// Serves no more. Whoever waits is told to look for the coordinator anew.
    pub(super) fn end(&self, reason: &str) {
        let before = self.state.replace(State::Ended);
        if !matches!(before, State::Ended) {
            tracing::warn!(partition = %self.partition.index, reason, "a partition of the groups is not served any more");
        }
        let waiting = self.waiting.take();
        drop((before, waiting));
    }

    pub(super) fn with_shard<T>(&self, work: impl FnOnce(&mut Shard) -> T) -> Result<T, ErrorCode> {
        match &mut *self.state.borrow_mut() {
            State::Live(shard) => Ok(work(shard)),
            State::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            State::Unreadable => Err(ErrorCode::CoordinatorNotAvailable),
            State::Ended => Err(ErrorCode::NotCoordinator),
        }
    }

    /// The answer to come, under a name for it.
    pub(super) fn expect(&self, reply: ReplyId) -> flume::Receiver<GroupAnswer> {
        let (sender, receiver) = flume::bounded(1);
        self.waiting.borrow_mut().insert(reply, sender);
        receiver
    }

    /// Nobody will answer.
    pub(super) fn forget(&self, reply: ReplyId) {
        self.waiting.borrow_mut().remove(&reply);
    }

    /// Resolves when everything that was appended until now is durable.
    pub(super) async fn settled(&self) -> Result<(), ErrorCode> {
        let log = &self.partition.log;
        let end = log.log_end_offset();
        match log.wait_readable(end).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.end(&error.to_string());
                Err(ErrorCode::NotCoordinator)
            }
        }
    }

    /// Gives answers out as soon as everything that was appended until now is durable.
    pub(super) fn send(self: &Rc<Self>, answers: Vec<(ReplyId, GroupAnswer)>) {
        if answers.is_empty() {
            return;
        }
        let log = &self.partition.log;
        if log.readable_offset() >= log.log_end_offset() {
            self.deliver(answers);
            return;
        }
        let host = Rc::clone(self);
        glommio::spawn_local(async move {
            if host.settled().await.is_ok() {
                host.deliver(answers);
            }
        })
        .detach();
    }

    fn deliver(&self, answers: Vec<(ReplyId, GroupAnswer)>) {
        for (reply, answer) in answers {
            let sender = self.waiting.borrow_mut().remove(&reply);
            if let Some(sender) = sender {
                // Its connection may be gone.
                let _ = sender.send(answer);
            }
        }
    }
}
