//! A subscription: replay that turns into live, pushed as it comes.
//!
//! One loop for both: read from `next_offset` up to the high watermark, push, wait until the high watermark is above it. So
//! there is no seam at which a record could be lost or doubled.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use corelane_format::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use corelane_net::error_code::ErrorCode;
use corelane_net::native::message::{Push, Subscribe, SubscribeAnswer};
use corelane_net::native::session::Violation;
use corelane_net::native::{Frame, MESSAGE_VERSION, Message, frame_of, frame_with};
use corelane_net::server::native::{NativePending, Subscription};

use super::fetch::read_elsewhere;
use super::read::{Batches, Bounds, read_here, wait_beyond};
use super::target::{Place, Target};
use super::{Connection, Pending};
use crate::handlers::list_offsets::find;
use crate::handlers::remote::on_partition;
use crate::lane::Lane;
use crate::partition::Partition;

/// The most bytes that one push carries, but for its first batch.
const PUSH_BYTES_MAX: usize = 1024 * 1024;

/// How long another lane waits for news before it is asked again. It waits in vain at most so long for a subscriber that is
/// gone.
const ELSEWHERE_WAIT: Duration = Duration::from_millis(500);

/// Begins a subscription.
pub(super) fn handle(
    lane: &Rc<Lane>,
    connection: &Rc<Connection>,
    frame: Frame<'_>,
) -> Result<Pending, Violation> {
    let asked = Subscribe::read(frame.archive)?;
    let correlation = frame.header.correlation;
    let (id, credit_bytes) = (asked.subscription, asked.credit_bytes);
    connection.subscribe(id, credit_bytes, |subscription| {
        let feed = Feed {
            lane: Rc::clone(lane),
            connection: Rc::clone(connection),
            subscription,
        };
        async move { feed.run(correlation, asked).await }
    })?;
    Ok(NativePending::Nothing)
}

/// Where batches come from.
enum Source {
    Here(Rc<Partition>),
    Elsewhere {
        lane: usize,
        topic: TopicId,
        index: PartitionIndex,
    },
}

struct Feed {
    lane: Rc<Lane>,
    connection: Rc<Connection>,
    subscription: Rc<Subscription>,
}

impl Feed {
    async fn run(self, correlation: u32, asked: Subscribe) {
        let mut answer = SubscribeAnswer {
            version: MESSAGE_VERSION,
            error: 0,
            node: -1,
            start_offset: -1,
            log_start_offset: -1,
            high_watermark: -1,
        };
        let begun = self.begin(&asked, &mut answer).await;
        if let Err(code) = &begun {
            answer.error = code.code();
            // Before the answer, so that the number is free again when the client hears of it.
            self.connection.forget_subscription(&self.subscription);
        }
        self.connection.send(frame_of(correlation, &answer));
        if let Ok(source) = begun {
            let error = self
                .push_all(&source, Offset::new(answer.start_offset))
                .await;
            self.connection
                .end_subscription(&self.subscription, error.code());
        }
    }

    async fn begin(
        &self,
        asked: &Subscribe,
        answer: &mut SubscribeAnswer,
    ) -> Result<Source, ErrorCode> {
        let target = Target::find(&self.lane, asked.topic, asked.partition)?;
        answer.node = target.node;
        let (start, by_timestamp) = (asked.start, asked.by_timestamp);
        let routes = Rc::clone(&target.routes);
        let work = move |partition: Rc<Partition>| async move {
            let start = if by_timestamp {
                offset_of(&partition, start).await?
            } else {
                Offset::new(start)
            };
            let bounds = Bounds::of(&partition)?;
            if start < bounds.log_start_offset || start > partition.log.log_end_offset() {
                return Err(ErrorCode::OffsetOutOfRange);
            }
            Ok((start, bounds))
        };
        let (start, bounds) = on_partition(&self.lane, Some(&routes), target.index, work).await?;
        answer.start_offset = start.get();
        answer.log_start_offset = bounds.log_start_offset.get();
        answer.high_watermark = bounds.high_watermark.get();
        Ok(match target.place {
            Place::Here(partition) => Source::Here(partition),
            Place::Elsewhere { lane } => Source::Elsewhere {
                lane,
                topic: routes.id,
                index: target.index,
            },
        })
    }

    /// Pushes until something fails.
    async fn push_all(&self, source: &Source, start: Offset) -> ErrorCode {
        let mut next = start;
        loop {
            match self.push_some(source, next).await {
                Ok(after) => next = after,
                Err(code) => return code,
            }
            self.lane.turns.pass().await;
        }
    }

    /// Waits for news, credit and room, and pushes once. Returns where to go on.
    async fn push_some(&self, source: &Source, next: Offset) -> Result<Offset, ErrorCode> {
        // No room is taken while there is nothing to read.
        if let Source::Here(partition) = source {
            wait_beyond(partition, next, None).await;
        }
        let room = poll_fn(|context| {
            self.connection
                .poll_push_room(&self.subscription, PUSH_BYTES_MAX, context)
        })
        .await;
        let found = match source {
            Source::Here(partition) => read_here(&self.lane, partition, next, room.bytes()).await?,
            Source::Elsewhere { lane, topic, index } => {
                let place = (*topic, *index);
                let bytes_max = room.bytes();
                read_elsewhere(&self.lane, *lane, place, next, bytes_max, ELSEWHERE_WAIT).await?
            }
        };
        let Batches {
            slices,
            size_bytes,
            next_offset,
            bounds,
        } = found;
        if size_bytes > 0 {
            let push = Push {
                version: MESSAGE_VERSION,
                subscription: self.subscription.id(),
                next_offset: next_offset.get(),
                high_watermark: bounds.high_watermark.get(),
            };
            let frame = frame_with(0, &push, slices);
            self.connection.push(
                &self.subscription,
                room,
                frame,
                size_bytes,
                next_offset.get(),
            );
        }
        Ok(next_offset)
    }
}

/// The first offset by a timestamp, as `ListOffsets` has it; the end if nothing is so new.
async fn offset_of(partition: &Rc<Partition>, timestamp_ms: i64) -> Result<Offset, ErrorCode> {
    let unknown = LeaderEpoch::UNKNOWN;
    let (_, offset, _) = find(Rc::clone(partition), unknown, timestamp_ms, false).await?;
    Ok(if offset < 0 {
        partition.high_watermark()
    } else {
        Offset::new(offset)
    })
}
