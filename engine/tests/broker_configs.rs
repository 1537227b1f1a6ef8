//! Broker settings that are changed while the server runs: in force at once on every node, and after a crash.

mod support;

use futures_lite::future::block_on;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use support::{
    admin::{admin, create_topic, wait_until},
    server::{Listen, Server, is_kafka},
};

/// A setting of a resource: its value and where it comes from.
fn described(server: &Server, resource: &ResourceSpecifier<'_>, name: &str) -> (String, String) {
    let admin = admin(server.bootstrap());
    let answers = block_on(admin.describe_configs([resource], &AdminOptions::new()));
    let answers = answers.expect("an answer");
    let config = answers[0].as_ref().expect("a description");
    let entry = config.get(name).expect("it is described");
    (
        entry.value.clone().unwrap_or_default(),
        format!("{:?}", entry.source),
    )
}

fn nodes(server: &Server) -> Vec<i32> {
    support::admin::metadata(server.bootstrap())
        .brokers()
        .iter()
        .map(rdkafka::metadata::MetadataBroker::id)
        .collect()
}

/// Sets a broker's whole configuration, in the way of older clients. The crate does not tell whether it was taken.
fn replace(server: &Server, node: i32, settings: &[(&str, &str)]) {
    let mut wanted = AlterConfig::new(ResourceSpecifier::Broker(node));
    for (name, value) in settings {
        wanted = wanted.set(name, value);
    }
    let admin = admin(server.bootstrap());
    let answers = block_on(admin.alter_configs([&wanted], &AdminOptions::new()));
    assert_eq!(answers.expect("an answer").len(), 1);
}

#[test]
fn topic_defaults_set_at_run_time_hold_at_once_and_after_a_crash() {
    if is_kafka() {
        // Kafka's nodes have other numbers and its settings other values at start.
        return;
    }
    let mut server = Server::start("broker-configs", Listen::PerCore);
    create_topic(server.bootstrap(), "defaulted", 2, &[]);
    create_topic(server.bootstrap(), "own", 1, &[("retention.ms", "77000")]);
    let topic = ResourceSpecifier::Topic("defaulted");
    assert_eq!(
        described(&server, &topic, "retention.ms"),
        ("604800000".to_owned(), "Default".to_owned())
    );
    let nodes = nodes(&server);
    assert_eq!(nodes.len(), server.nodes_expected());
    for node in &nodes {
        replace(&server, *node, &[("log.retention.ms", "55000")]);
        // Read-only: refused, so what was set before stays.
        replace(&server, *node, &[("num.partitions", "3")]);
    }
    let changed = ("55000".to_owned(), "DynamicBroker".to_owned());
    for round in 0..2 {
        wait_until("the topic's default is the new one", || {
            described(&server, &topic, "retention.ms") == changed
        });
        let own = described(&server, &ResourceSpecifier::Topic("own"), "retention.ms");
        assert_eq!(own, ("77000".to_owned(), "DynamicTopic".to_owned()));
        for node in &nodes {
            let broker = ResourceSpecifier::Broker(*node);
            assert_eq!(described(&server, &broker, "log.retention.ms"), changed);
        }
        if round == 0 {
            server.kill_9();
            server.start_again();
        }
    }
    // Replaced by nothing, nothing is left.
    for node in &nodes {
        replace(&server, *node, &[]);
    }
    wait_until("the default is back", || {
        described(&server, &topic, "retention.ms").1 == "Default"
    });
}
