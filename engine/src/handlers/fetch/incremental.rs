//! A fetch within a session: reads what is due there, answers with what changed.

use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use corelane_net::error_code::ErrorCode;
use corelane_net::response::Response;
use corelane_net::topic::TopicRef;

use super::pass::pass;
use super::read::{Found, partition_data};
use super::slice::FetchSlice;
use super::target::{Asked, Target, routes_of, target_of};
use super::watch::watch_elsewhere;
use super::{Reply, Terms};
use crate::fetch_session::{FetchSession, LiveSession, Visited};
use crate::lane::Lane;
use crate::lane::deadline::Deadline;

pub(super) struct IncrementalFetch {
    lane: Rc<Lane>,
    session: Rc<LiveSession>,
    /// The session's epoch while this fetch is its newest.
    epoch: i32,
    terms: Terms,
}

/// What one pass visited and found.
struct Visits {
    slots: Vec<u32>,
    asked: Vec<Asked>,
    found: Vec<Found<FetchSlice>>,
}

impl IncrementalFetch {
    pub(super) fn new(lane: &Rc<Lane>, session: Rc<LiveSession>, epoch: i32, terms: Terms) -> Self {
        Self {
            lane: Rc::clone(lane),
            session,
            epoch,
            terms,
        }
    }

    pub(super) async fn run(self, reply: Reply) -> Response<FetchSlice> {
        loop {
            let visits = self.visit().await;
            if self.is_overtaken() {
                return self.overtaken(reply);
            }
            let size_bytes: usize = visits.found.iter().map(|one| one.size_bytes).sum();
            let failed = visits.found.iter().any(|one| one.error != ErrorCode::None);
            self.note(&visits);
            if size_bytes >= self.terms.wanted_bytes || failed || self.terms.is_over() {
                return self.answer(reply, visits);
            }
            self.wait(&visits).await;
            if self.is_overtaken() {
                return self.overtaken(reply);
            }
        }
    }

    /// Another fetch of the session came after this one.
    fn is_overtaken(&self) -> bool {
        self.session.state.borrow().epoch() != self.epoch
    }

    fn overtaken(&self, reply: Reply) -> Response<FetchSlice> {
        reply.refuse(ErrorCode::InvalidFetchSessionEpoch, self.session.id)
    }

    /// Reads everything that is due, once. Logs of this lane ring from before their reading on.
    async fn visit(&self) -> Visits {
        self.session.hear();
        let (slots, asked) = {
            let mut state = self.session.state.borrow_mut();
            let due = state.due();
            let found = due
                .into_iter()
                .filter_map(|slot| Some((slot, asked_of(&self.lane, &mut state, slot)?)));
            let (slots, asked): (Vec<u32>, Vec<Asked>) = found.unzip();
            (slots, asked)
        };
        for (slot, asked) in slots.iter().zip(&asked) {
            if let Target::Here(partition) = &asked.target {
                self.session.watch(*slot, &partition.log);
            }
        }
        let found = pass(&self.lane, &asked, &self.terms).await;
        Visits {
            slots,
            asked,
            found,
        }
    }

    fn note(&self, visits: &Visits) {
        let mut state = self.session.state.borrow_mut();
        for (slot, visited) in visits.outcomes() {
            state.visited(slot, &visited);
        }
    }

    /// Waits until a log rings, another lane's partition advances, the session goes on, or the deadline.
    async fn wait(&self, visits: &Visits) {
        let left = self.terms.left();
        let mut deadline = Deadline::after(left);
        let mut elsewhere =
            watch_elsewhere(&self.lane, visits.asked.iter().zip(&visits.found), left);
        poll_fn(|context| {
            let mut over =
                deadline.poll_over(context) | self.session.poll_rung(context) | self.is_overtaken();
            for one in &mut elsewhere {
                over |= one.as_mut().poll(context).is_ready();
            }
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn answer(self, reply: Reply, mut visits: Visits) -> Response<FetchSlice> {
        let mut state = self.session.state.borrow_mut();
        let outcomes: Vec<_> = visits.outcomes().collect();
        let mut answered = state.answer(&outcomes);
        // A topic stands once in the answer, where its first partition was.
        let mut ranks: HashMap<Option<u32>, usize> = HashMap::new();
        for one in &answered {
            let next = ranks.len();
            ranks.entry(state.topic_slot(one.slot)).or_insert(next);
        }
        answered.sort_by_key(|one| ranks[&state.topic_slot(one.slot)]);
        let mut writer = reply.writer(ErrorCode::None, self.session.id, ranks.len());
        for topic in answered.chunk_by(|a, b| state.topic_slot(a.slot) == state.topic_slot(b.slot))
        {
            let Some(key) = topic.first().and_then(|one| state.topic(one.slot)) else {
                continue;
            };
            writer.topic(key.as_topic(), topic.len());
            for one in topic {
                let Some(asked) = state.asked(one.slot) else {
                    continue;
                };
                let found = one.visit.and_then(|at| visits.found.get_mut(at));
                let (error, watermarks, slices) = if let Some(found) = found {
                    let slices = std::mem::take(&mut found.slices);
                    (found.error, found.watermarks, slices)
                } else {
                    (ErrorCode::None, state.seen(one.slot), Vec::new())
                };
                let data = partition_data(asked, error, watermarks, self.terms.isolation);
                writer.partition(&data, slices);
            }
        }
        writer.finish(&[])
    }
}

impl Visits {
    fn outcomes(&self) -> impl Iterator<Item = (u32, Visited)> + '_ {
        self.slots
            .iter()
            .zip(&self.asked)
            .zip(&self.found)
            .map(|((slot, asked), found)| {
                let visited = Visited {
                    error: found.error,
                    watermarks: found.watermarks,
                    has_records: found.size_bytes > 0,
                    is_at_end: found.is_at_end,
                    is_watched: matches!(asked.target, Target::Here(_)),
                };
                (*slot, visited)
            })
    }
}

/// Where a partition of the session is. A topic that is gone is told from one that never was, as Kafka does.
fn asked_of(lane: &Lane, state: &mut FetchSession, slot: u32) -> Option<Asked> {
    let partition = *state.asked(slot)?;
    let topic = state.topic(slot)?.as_topic();
    let is_by_id = matches!(topic, TopicRef::Id(_));
    let (routes, unknown) = routes_of(lane, topic);
    let target = match routes {
        Some(routes) => {
            if is_by_id && state.known_name(slot).is_none() {
                state.learn_name(slot, &routes.name);
            }
            target_of(&routes, partition.index)
        }
        None => Target::Nowhere(match state.known_name(slot) {
            // The name leads to a younger topic.
            Some(name) if lane.topic(name).is_some() => ErrorCode::InconsistentTopicId,
            Some(_) => ErrorCode::UnknownTopicOrPartition,
            None => unknown,
        }),
    };
    Some(Asked { target, partition })
}
