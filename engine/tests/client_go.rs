//! franz-go: a Go client with a wire protocol of its own, in its newest version and in one that Debian's Go builds; and
//! kafka-go, which has another, and speaks old versions of many APIs.

mod support;

use support::{
    clients::run_go,
    server::{Listen, Server},
};

/// The programs wait for many rebalances of new groups; a short first wait loses nothing that they check.
const SETTINGS: &[&str] = &["group.initial.rebalance.delay.ms=200"];

fn run(version: &str, suite: &str, listen: Listen) {
    let name = format!("go-{version}-{suite}");
    run_go(
        version,
        suite,
        &Server::start_with(&name, listen, 2, SETTINGS),
    );
}

#[test]
fn franz_go_works_with_a_node_per_core() {
    run("newest", "plain", Listen::PerCore);
}

#[test]
fn franz_go_works_with_one_port_for_all_cores() {
    run("newest", "plain", Listen::Shared);
}

#[test]
fn groups_of_franz_go_work_with_a_node_per_core() {
    run("newest", "groups", Listen::PerCore);
}

#[test]
fn groups_of_franz_go_work_with_one_port_for_all_cores() {
    run("newest", "groups", Listen::Shared);
}

#[test]
fn an_older_franz_go_works_with_a_node_per_core() {
    run("debian", "plain", Listen::PerCore);
}

#[test]
fn groups_of_an_older_franz_go_work_with_a_node_per_core() {
    run("debian", "groups", Listen::PerCore);
}

#[test]
fn kafka_go_works_with_a_node_per_core() {
    run("kafka-go", "plain", Listen::PerCore);
}

#[test]
fn kafka_go_works_with_one_port_for_all_cores() {
    run("kafka-go", "plain", Listen::Shared);
}

#[test]
fn groups_of_kafka_go_work_with_a_node_per_core() {
    run("kafka-go", "groups", Listen::PerCore);
}

#[test]
fn groups_of_kafka_go_work_with_one_port_for_all_cores() {
    run("kafka-go", "groups", Listen::Shared);
}
