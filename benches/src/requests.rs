//! Request frames as clients send them, to one partition.

use anyhow::anyhow;
use corelane_format::ids::{Offset, PartitionIndex, TimestampMs};
use corelane_format::kafka::BatchBuilder;
use corelane_net::fetch::{self, FetchHeader, FetchPartition, FetchRequest, FetchTopic};
use corelane_net::gather::Gathered;
use corelane_net::produce::{self, PartitionRecords, ProduceHeader, TopicRecords};
use corelane_net::topic::TopicRef;

/// The name of the topic.
pub const TOPIC: &str = "measured";
/// Bytes of the length prefix of a frame, which a service does not see.
pub const LENGTH_PREFIX_BYTES: usize = 4;
/// Clients of Kafka 4 speak these, by the topic's name.
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;

/// A batch of `records_count` records of `record_size_bytes` without keys.
///
/// # Panics
/// If the batch would exceed the format's limits.
pub fn batch(records_count: usize, record_size_bytes: usize) -> Vec<u8> {
    let value = vec![0x5a; record_size_bytes];
    let mut builder = BatchBuilder::new();
    for _ in 0..records_count {
        builder
            .append(TimestampMs::new(1), None, Some(&value), &[])
            .expect("small records");
    }
    let mut bytes = Vec::new();
    builder.finish_into(&mut bytes).expect("a small batch");
    bytes
}

/// How many records of `record_size_bytes` make the largest batch of at most `size_bytes`; at least one.
pub fn records_of(size_bytes: usize, record_size_bytes: usize) -> usize {
    let most = (size_bytes / record_size_bytes).max(1);
    (1..=most)
        .rev()
        .find(|count| batch(*count, record_size_bytes).len() <= size_bytes)
        .unwrap_or(1)
}

/// A produce request of one batch that all replicas must have, length prefix included.
///
/// # Errors
/// None that a sound batch can bring about.
pub fn produce_frame(batch: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut out = Gathered::default();
    let header = ProduceHeader {
        version: PRODUCE_VERSION,
        correlation_id: 7,
        client_id: Some("measured"),
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
    };
    let partitions = [PartitionRecords {
        index: PartitionIndex::new(0),
        records: batch,
    }];
    let topics = [TopicRecords {
        topic: TopicRef::Name(TOPIC),
        partitions: &partitions,
    }];
    produce::encode_request(&mut out, &header, &topics).map_err(|error| anyhow!("{error}"))?;
    Ok(out.to_vec())
}

/// A fetch from `offset` on of at most `size_bytes_max`, which waits for nothing, length prefix included.
///
/// # Errors
/// None that sound arguments can bring about.
pub fn fetch_frame(offset: Offset, size_bytes_max: i32) -> anyhow::Result<Vec<u8>> {
    let request = FetchRequest {
        max_wait_ms: 0,
        max_bytes: size_bytes_max,
        topics: vec![FetchTopic {
            topic: TopicRef::Name(TOPIC).to_key(),
            partitions: vec![FetchPartition::new(
                PartitionIndex::new(0),
                offset,
                size_bytes_max,
            )],
        }],
        ..FetchRequest::default()
    };
    let header = FetchHeader {
        version: FETCH_VERSION,
        correlation_id: 7,
        client_id: Some("measured"),
    };
    let mut out = Vec::new();
    fetch::encode_request(&mut out, &header, &request).map_err(|error| anyhow!("{error}"))?;
    Ok(out)
}
