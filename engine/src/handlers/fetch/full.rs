//! A fetch of everything that its request names.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchPartition, FetchRequest};
use corelane_net::response::Response;

use super::pass::pass;
use super::read::{Found, partition_data};
use super::slice::FetchSlice;
use super::target::{Asked, Target, routes_of, target_of};
use super::watch::{Seen, Watch, watch_elsewhere};
use super::{Reply, Terms};
use crate::fetch_session::{FetchSession, FetchSessions, Naming};
use crate::lane::Lane;
use crate::lane::deadline::Deadline;

pub(super) struct FullFetch {
    lane: Rc<Lane>,
    request: FetchRequest,
    terms: Terms,
    /// Where the client's session goes, if it wants one.
    sessions: Option<Rc<FetchSessions>>,
    /// In the request's order, topics flattened.
    asked: Vec<Asked>,
}

impl FullFetch {
    pub(super) fn new(
        lane: &Rc<Lane>,
        request: FetchRequest,
        terms: Terms,
        sessions: Option<Rc<FetchSessions>>,
    ) -> Self {
        let asked = request
            .topics
            .iter()
            .flat_map(|topic| {
                let (routes, unknown) = routes_of(lane, topic.topic.as_topic());
                topic.partitions.iter().map(move |partition| Asked {
                    target: routes
                        .as_deref()
                        .map_or(Target::Nowhere(unknown), |routes| {
                            target_of(routes, partition.index)
                        }),
                    partition: *partition,
                })
            })
            .collect();
        Self {
            lane: Rc::clone(lane),
            request,
            terms,
            sessions,
            asked,
        }
    }

    pub(super) async fn run(self, reply: Reply) -> Response<FetchSlice> {
        loop {
            let found = pass(&self.lane, &self.asked, &self.terms).await;
            let size_bytes: usize = found.iter().map(|one| one.size_bytes).sum();
            let failed = found.iter().any(|one| one.error != ErrorCode::None);
            if size_bytes >= self.terms.wanted_bytes
                || failed
                || found.is_empty()
                || self.terms.is_over()
            {
                return self.answer(reply, found);
            }
            self.wait(&found).await;
        }
    }

    /// Waits until a partition has more than the pass found, or the deadline.
    async fn wait(&self, found: &[Found<FetchSlice>]) {
        let left = self.terms.left();
        let mut deadline = Deadline::after(left);
        let mut elsewhere = watch_elsewhere(&self.lane, self.asked.iter().zip(found), left);
        let mut here: Vec<Watch> = self
            .asked
            .iter()
            .zip(found)
            .filter_map(|(asked, found)| match &asked.target {
                Target::Here(partition) => Some(Watch::new(partition, Seen::of(found))),
                Target::Elsewhere { .. } | Target::Nowhere(_) => None,
            })
            .collect();
        poll_fn(|context| {
            let mut advanced = deadline.poll_over(context);
            for watch in &mut here {
                advanced |= watch.poll_changed(context);
            }
            for one in &mut elsewhere {
                advanced |= one.as_mut().poll(context).is_ready();
            }
            if advanced {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn answer(self, reply: Reply, found: Vec<Found<FetchSlice>>) -> Response<FetchSlice> {
        let session_id = self.keep_session(reply.version, &found);
        let mut writer = reply.writer(ErrorCode::None, session_id, self.request.topics.len());
        let mut found = found.into_iter();
        for topic in &self.request.topics {
            writer.topic(topic.topic.as_topic(), topic.partitions.len());
            for (asked, one) in topic.partitions.iter().zip(&mut found) {
                let data = partition_data(asked, one.error, one.watermarks, self.terms.isolation);
                writer.partition(&data, one.slices);
            }
        }
        writer.finish(&[])
    }

    /// Makes the session that the client asked for; 0 if there is none to be.
    fn keep_session(&self, version: i16, found: &[Found<FetchSlice>]) -> i32 {
        let Some(sessions) = &self.sessions else {
            return 0;
        };
        let mut session = FetchSession::new(Naming::of_version(version), self.terms.isolation);
        session.update(&self.request.topics, &[]);
        let named = self.request.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(move |asked: &FetchPartition| (&topic.topic, asked.index))
        });
        for ((topic, index), found) in named.zip(found) {
            if let Some(slot) = session.slot_of(topic, index) {
                session.told(slot, found.error, found.watermarks);
            }
        }
        sessions.create(session)
    }
}
