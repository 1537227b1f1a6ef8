//! A server with very many partitions that hold data starts again soon after a clean stop, and serves all of them.
//!
//! `CORELANE_PARTITIONS=10000` makes them so many; the time to the ready line and the memory then are printed.

mod support;

use std::collections::HashMap;
use std::time::Instant;

use futures_lite::future::block_on;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use support::{
    admin::{DEADLINE, admin, metadata, watermarks},
    batch::Batch,
    server::{Listen, Server, is_kafka},
    wire::{Connection, Produced},
};

const PARTITIONS_DEFAULT: usize = 600;
const PARTITIONS_A_TOPIC: usize = 200;

#[test]
fn all_partitions_are_served_after_a_clean_stop() {
    if is_kafka() {
        return;
    }
    let wanted = std::env::var("CORELANE_PARTITIONS")
        .ok()
        .map_or(PARTITIONS_DEFAULT, |text| text.parse().expect("a number"));
    let topics: Vec<String> = (0..wanted.div_ceil(PARTITIONS_A_TOPIC))
        .map(|topic| format!("wide-{topic}"))
        .collect();
    let mut server = Server::start("many-partitions", Listen::PerCore);
    let client = admin(server.bootstrap());
    let options = AdminOptions::new()
        .request_timeout(Some(DEADLINE))
        .operation_timeout(Some(DEADLINE));
    for name in &topics {
        let new = [NewTopic::new(
            name,
            PARTITIONS_A_TOPIC as i32,
            TopicReplication::Fixed(1),
        )];
        for result in block_on(client.create_topics(&new, &options)).expect("an answer") {
            result.unwrap_or_else(|(name, error)| panic!("{name} was not created: {error}"));
        }
    }
    let cluster = metadata(server.bootstrap());
    let mut nodes: HashMap<i32, Connection> = cluster
        .brokers()
        .iter()
        .map(|node| {
            let address = format!("{}:{}", node.host(), node.port());
            (node.id(), Connection::open(&address))
        })
        .collect();
    let mut partitions = 0;
    for topic in cluster.topics() {
        for partition in topic.partitions() {
            let connection = nodes.get_mut(&partition.leader()).expect("its leader");
            let batch = Batch::of(&[topic.name().as_bytes()]).encode();
            let produced = connection.produce(topic.name(), partition.id(), &batch);
            assert_eq!(produced, Produced::at(0), "{}", topic.name());
            partitions += 1;
        }
    }
    assert_eq!(partitions, topics.len() * PARTITIONS_A_TOPIC);
    drop((client, nodes));

    let stopping = Instant::now();
    server.stop();
    let stopped = stopping.elapsed();
    let starting = Instant::now();
    server.start_again();
    println!(
        "{partitions} partitions: stopped in {stopped:.1?}, ready in {:.1?}, {} MiB resident",
        starting.elapsed(),
        server.resident_bytes() >> 20
    );
    for (index, name) in topics.iter().enumerate() {
        let partition = (index * 37 % PARTITIONS_A_TOPIC) as i32;
        let found = watermarks(server.bootstrap(), name, partition);
        assert_eq!(found, (0, 1), "{name} after a restart");
    }
}
