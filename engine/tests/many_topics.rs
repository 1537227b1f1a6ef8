//! Hundreds of topics with thousands of partitions are created, listed, used, kept over a restart, and deleted.

mod support;

use std::collections::HashMap;

use futures_lite::future::block_on;
use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    metadata::{MetadataPartition, MetadataTopic},
};
use support::{
    admin::{DEADLINE, admin, metadata, wait_until, watermarks},
    batch::Batch,
    server::{Listen, Server},
    wire::{Connection, Produced},
};

const TOPICS: usize = 300;
const PARTITIONS: i32 = 10;
const TOPICS_A_REQUEST: usize = 50;

fn name(topic: usize) -> String {
    format!("many-{topic:03}")
}

fn many(listen: Listen) {
    let mut server = Server::start("many-topics", listen);
    let client = admin(server.bootstrap());
    let options = AdminOptions::new()
        .request_timeout(Some(DEADLINE))
        .operation_timeout(Some(DEADLINE));
    let names: Vec<_> = (0..TOPICS).map(name).collect();
    for some in names.chunks(TOPICS_A_REQUEST) {
        let new: Vec<_> = some
            .iter()
            .map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)))
            .collect();
        for result in block_on(client.create_topics(&new, &options)).expect("an answer") {
            result.unwrap_or_else(|(name, error)| panic!("{name} was not created: {error}"));
        }
    }
    wait_until("all are listed", || listed(&server).len() == TOPICS);
    assert_spread_over_nodes(&server);

    // One record to each topic.
    let leaders = leaders(&server);
    for (index, name) in names.iter().enumerate() {
        let partition = index as i32 % PARTITIONS;
        let mut connection = Connection::open(&leaders[&(name.clone(), partition)]);
        let produced = connection.produce(name, partition, &Batch::of(&[name.as_bytes()]).encode());
        assert_eq!(produced, Produced::at(0), "{name}");
    }

    drop(client);
    server.stop();
    server.start_again();
    assert_eq!(listed(&server), names, "topics after a restart");
    for (index, name) in names.iter().enumerate().step_by(37) {
        assert_eq!(
            watermarks(server.bootstrap(), name, index as i32 % PARTITIONS),
            (0, 1),
            "{name} after a restart"
        );
    }

    let client = admin(server.bootstrap());
    let (deleted, kept) = names.split_at(TOPICS / 2);
    let deleted: Vec<_> = deleted.iter().map(String::as_str).collect();
    for result in block_on(client.delete_topics(&deleted, &options)).expect("an answer") {
        result.unwrap_or_else(|(name, error)| panic!("{name} was not deleted: {error}"));
    }
    wait_until("half of them are gone", || listed(&server) == kept);
}

/// The names of the whole topics, in order.
fn listed(server: &Server) -> Vec<String> {
    let metadata = metadata(server.bootstrap());
    let whole = metadata
        .topics()
        .iter()
        .filter(|topic| topic.partitions().len() == PARTITIONS as usize);
    let mut names: Vec<_> = whole
        .map(|topic| topic.name().to_owned())
        .filter(|name| name.starts_with("many-"))
        .collect();
    names.sort();
    names
}

/// The address of each partition's leader.
fn leaders(server: &Server) -> HashMap<(String, i32), String> {
    let metadata = metadata(server.bootstrap());
    let nodes: HashMap<_, _> = metadata
        .brokers()
        .iter()
        .map(|node| (node.id(), format!("{}:{}", node.host(), node.port())))
        .collect();
    let partitions = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions().iter().map(move |each| (topic, each)));
    partitions
        .map(|(topic, each)| {
            (
                (topic.name().to_owned(), each.id()),
                nodes[&each.leader()].clone(),
            )
        })
        .collect()
}

/// Every node leads its share of the partitions, one more or less.
fn assert_spread_over_nodes(server: &Server) {
    let metadata = metadata(server.bootstrap());
    let nodes = metadata.brokers();
    assert_eq!(nodes.len(), server.nodes_expected(), "nodes");
    let leaders: Vec<_> = metadata
        .topics()
        .iter()
        .flat_map(MetadataTopic::partitions)
        .map(MetadataPartition::leader)
        .collect();
    let share = leaders.len() / nodes.len();
    for node in nodes {
        let led = leaders
            .iter()
            .filter(|leader| **leader == node.id())
            .count();
        assert!(
            led.abs_diff(share) <= 1 + share / 20,
            "node {} leads {led} partitions of {}",
            node.id(),
            leaders.len()
        );
    }
}

#[test]
fn many_topics_work_with_a_node_per_core() {
    many(Listen::PerCore);
}

#[test]
fn many_topics_work_with_one_port_for_all_cores() {
    many(Listen::Shared);
}
