//! Messages between lanes: the only way that one core's work reaches another core.
//!
//! A message is a piece of work that runs on the target lane and answers through its own reply channel. Senders never
//! wait: what a connection may have under way is bounded before a message is made (`net`'s caps and the lane's budget).
//! The receiving loop only starts work and never sends, so two lanes cannot wait for each other.
//!
//! `L` is what a lane hands to the work that reaches it: [`Lane`](super::Lane) in the server.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use thiserror::Error;

/// Work that runs on the lane it was sent to.
pub type LaneWork<L> = Box<dyn FnOnce(Rc<L>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// What a lane can be sent.
pub enum LaneMessage<L> {
    /// Work to start.
    Work(LaneWork<L>),
    /// Flush, close and end.
    Shutdown,
}

/// The sending end of one lane's channel.
pub type MeshSender<L> = flume::Sender<LaneMessage<L>>;
/// The receiving end of one lane's channel.
pub type MeshReceiver<L> = flume::Receiver<LaneMessage<L>>;

/// The target lane has ended.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("lane {lane} has shut down")]
pub struct LaneGone {
    /// Index of the lane that did not answer.
    pub lane: usize,
}

/// Makes the channels of `lanes` lanes.
pub fn channels<L>(lanes: usize) -> (Mesh<L>, Vec<MeshReceiver<L>>) {
    let (senders, receivers) = (0..lanes).map(|_| flume::unbounded()).unzip();
    (Mesh { senders }, receivers)
}

/// The sending ends of all lanes, by lane index.
pub struct Mesh<L> {
    senders: Vec<MeshSender<L>>,
}

impl<L> Clone for Mesh<L> {
    fn clone(&self) -> Self {
        Self {
            senders: self.senders.clone(),
        }
    }
}

impl<L: 'static> Mesh<L> {
    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.senders.len()
    }

    /// All sending ends, by lane index.
    pub fn senders(&self) -> &[MeshSender<L>] {
        &self.senders
    }

    /// Asks every lane to flush, close and end.
    pub fn shut_down(&self) {
        for sender in &self.senders {
            // A lane that has ended already needs no telling.
            let _ = sender.send(LaneMessage::Shutdown);
        }
    }

    /// Sends work to `lane` at once and gives the future of its answer. The work runs even if that future is dropped.
    ///
    /// # Errors
    /// The future gives [`LaneGone`] if the lane ended before it answered.
    pub fn call<T, W, F>(
        &self,
        lane: usize,
        work: W,
    ) -> impl Future<Output = Result<T, LaneGone>> + Send + 'static + use<L, T, W, F>
    where
        T: Send + 'static,
        W: FnOnce(Rc<L>) -> F + Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (reply, answer) = flume::bounded(1);
        let message = LaneMessage::Work(Box::new(move |target: Rc<L>| {
            let running = work(target);
            Box::pin(async move {
                // The caller may have given up; its answer is then nobody's.
                let _ = reply.send(running.await);
            })
        }));
        let sent = self
            .senders
            .get(lane)
            .is_some_and(|sender| sender.send(message).is_ok());
        async move {
            if !sent {
                return Err(LaneGone { lane });
            }
            answer
                .into_recv_async()
                .await
                .map_err(|_| LaneGone { lane })
        }
    }
}

/// Receives and starts work until the lane is asked to shut down or every sender is gone.
pub async fn receive<L: 'static>(lane: Rc<L>, receiver: MeshReceiver<L>) {
    while let Ok(message) = receiver.recv_async().await {
        match message {
            LaneMessage::Work(work) => {
                glommio::spawn_local(work(Rc::clone(&lane))).detach();
            }
            LaneMessage::Shutdown => break,
        }
    }
}
