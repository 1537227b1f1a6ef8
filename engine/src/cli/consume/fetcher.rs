//! Reads the partitions of one leader, and passes on what it gets.
//!
//! One task a leader, so that a long poll at one does not hold back the others. What it passes on is copied out of the
//! connection's buffer; a bounded channel keeps it at most one answer ahead of the printer.

use std::time::Duration;

use corelane_format::ids::{Offset, PartitionIndex};
use corelane_format::kafka::stored_batches;
use corelane_net::ErrorCode;
use corelane_net::client::Connection;
use corelane_net::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use corelane_net::topic::TopicKey;

use super::plan::Position;

/// How long a leader may wait for new records before it answers.
const WAIT_MS: i32 = 500;
/// How long to wait for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
const PARTITION_BYTES_MAX: i32 = 4 << 20;
const RESPONSE_BYTES_MAX: i32 = 16 << 20;

/// What a fetcher has to say.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// Whole batches of one partition, in order; the last one may be cut off. Records below `from` were not asked for.
    Batches {
        partition: i32,
        from: Offset,
        bytes: Vec<u8>,
    },
    /// An answer is at its end: nothing more is at hand now.
    Pause,
    /// These partitions could not be read on, here or now.
    Failed {
        positions: Vec<Position>,
        failure: Failure,
    },
}

/// Why partitions could not be read on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The leader said so.
    Refused(ErrorCode),
    /// The leader did not answer.
    Lost(String),
}

/// Reads `positions`, all led by the same broker, until everything is read, something fails, or nobody listens.
pub(crate) async fn run(
    mut connection: Connection,
    topic: String,
    mut positions: Vec<Position>,
    fetched: flume::Sender<Fetched>,
) {
    let mut response = FetchResponse::default();
    loop {
        positions.retain(|position| !position.is_done());
        if positions.is_empty() {
            return;
        }
        let request = request(&topic, &positions);
        let body = match connection
            .fetch(&request, &mut response, ANSWER_TIMEOUT)
            .await
        {
            Ok(body) => body,
            Err(error) => {
                let failure = Failure::Lost(error.to_string());
                // Nobody listens when the command is over.
                let _ = fetched
                    .send_async(Fetched::Failed { positions, failure })
                    .await;
                return;
            }
        };
        if !response.error().is_none() {
            let failure = Failure::Refused(response.error());
            let _ = fetched
                .send_async(Fetched::Failed { positions, failure })
                .await;
            return;
        }
        for answered in &response.partitions {
            let index = answered.data.index.get();
            let Some(at) = positions
                .iter()
                .position(|position| position.partition == index)
            else {
                continue;
            };
            let message = if answered.data.error.is_none() {
                let Some(bytes) = body
                    .get(answered.records.clone())
                    .filter(|bytes| !bytes.is_empty())
                else {
                    continue;
                };
                let from = Offset::new(positions[at].next);
                positions[at].next = end_of(bytes).unwrap_or(positions[at].next);
                Fetched::Batches {
                    partition: index,
                    from,
                    bytes: bytes.to_vec(),
                }
            } else {
                let failure = Failure::Refused(answered.data.error);
                Fetched::Failed {
                    positions: vec![positions.remove(at)],
                    failure,
                }
            };
            if fetched.send_async(message).await.is_err() {
                return;
            }
        }
        if fetched.send_async(Fetched::Pause).await.is_err() {
            return;
        }
    }
}

fn request(topic: &str, positions: &[Position]) -> FetchRequest {
    let partitions = positions
        .iter()
        .map(|position| {
            let index = PartitionIndex::new(position.partition);
            FetchPartition::new(index, Offset::new(position.next), PARTITION_BYTES_MAX)
        })
        .collect();
    FetchRequest {
        max_wait_ms: WAIT_MS,
        max_bytes: RESPONSE_BYTES_MAX,
        topics: vec![FetchTopic {
            topic: TopicKey::Name(topic.into()),
            partitions,
        }],
        ..FetchRequest::default()
    }
}

/// The offset after the last whole batch.
fn end_of(bytes: &[u8]) -> Option<i64> {
    stored_batches(bytes)
        .map_while(Result::ok)
        .last()
        .and_then(|batch| batch.header().last_offset().checked_plus(1))
        .map(Offset::get)
}

#[cfg(test)]
mod tests {
    use corelane_format::ids::TimestampMs;
    use corelane_format::kafka::BatchBuilder;

    use super::*;

    #[test]
    fn reading_goes_on_after_the_last_whole_batch() {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for base_offset in [5, 7] {
            let mut builder = BatchBuilder::new();
            builder.base_offset(Offset::new(base_offset));
            for _ in 0..2 {
                builder
                    .append(TimestampMs::new(1), None, Some(b"value"), &[])
                    .unwrap();
            }
            builder.finish_into(&mut bytes).unwrap();
            ends.push(bytes.len());
        }
        let table = [
            (0, None),
            (ends[0] - 1, None),
            (ends[0], Some(7)),
            (ends[1] - 1, Some(7)),
            (ends[1], Some(9)),
        ];
        for (length, expected) in table {
            assert_eq!(end_of(&bytes[..length]), expected, "{length} bytes");
        }
    }
}
