//! Topics made, listed and removed by librdkafka's admin client.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::server::is_kafka;
use futures_lite::future::block_on;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{BorrowedMessage, Message},
    metadata::Metadata,
    topic_partition_list::{Offset, TopicPartitionList},
};

/// Only ends a test that would hang.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// librdkafka's settings for a server.
pub(crate) fn settings(bootstrap: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", bootstrap);
    settings
}

/// An admin client.
pub(crate) fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    settings(bootstrap).create().expect("an admin client")
}

/// Makes one topic and waits until it can be used.
pub(crate) fn create_topic(bootstrap: &str, name: &str, partitions: i32, config: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in config {
        topic = topic.set(key, value);
    }
    let results = block_on(admin(bootstrap).create_topics([&topic], &AdminOptions::new()))
        .expect("an answer");
    for result in results {
        result.unwrap_or_else(|(name, error)| panic!("{name} was not created: {error}"));
    }
    wait_until(&format!("{name} is listed"), || {
        metadata(bootstrap)
            .topics()
            .iter()
            .any(|topic| topic.name() == name)
    });
}

/// All that the server tells of its nodes and topics.
pub(crate) fn metadata(bootstrap: &str) -> Metadata {
    admin(bootstrap)
        .inner()
        .fetch_metadata(None, DEADLINE)
        .expect("metadata")
}

/// Asks until it is so, or fails the test. For what a broker may finish after its answer.
pub(crate) fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    let start = Instant::now();
    while !probe() {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// A consumer that joins no group and stops at nothing.
pub(crate) fn consumer(bootstrap: &str) -> BaseConsumer {
    settings(bootstrap)
        .set("group.id", "never-joined")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "20")
        .create()
        .expect("a consumer")
}

/// Gives every record of a partition from `start` to `end` (exclusive) to `each`.
pub(crate) fn read_partition(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    start: i64,
    end: i64,
    mut each: impl FnMut(&BorrowedMessage<'_>),
) {
    if start >= end {
        return;
    }
    let consumer = consumer(bootstrap);
    let mut places = TopicPartitionList::new();
    places
        .add_partition_offset(topic, partition, Offset::Offset(start))
        .expect("an offset");
    consumer.assign(&places).expect("an assignment");
    let begun = Instant::now();
    loop {
        assert!(
            begun.elapsed() < DEADLINE,
            "{topic}/{partition} was not read to {end} within {DEADLINE:?}"
        );
        match consumer.poll(Duration::from_secs(1)) {
            None => {}
            Some(Err(error)) if error.to_string().contains("Resolve") => {}
            Some(Err(error)) => panic!("reading {topic}/{partition} failed: {error}"),
            Some(Ok(message)) => {
                let offset = message.offset();
                if offset < end {
                    each(&message);
                }
                if offset + 1 >= end {
                    return;
                }
            }
        }
    }
}

/// The first offset and the end of a partition.
pub(crate) fn watermarks(bootstrap: &str, topic: &str, partition: i32) -> (i64, i64) {
    let consumer = consumer(bootstrap);
    let start = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, DEADLINE) {
            Ok(watermarks) => return watermarks,
            // Kafka says that it is ready before it leads its partitions again. Corelane may not.
            Err(_) if is_kafka() && start.elapsed() < DEADLINE => {
                thread::sleep(Duration::from_millis(50));
            }
            Err(error) => panic!("the watermarks of {topic}/{partition} are not told: {error}"),
        }
    }
}
