//! kafkajs: Node's client without librdkafka, which speaks old versions of many APIs.

mod support;

use support::{
    clients::run_node,
    server::{Listen, Server},
};

/// It reads by a group alone; a short first wait loses nothing that the programs check.
const SETTINGS: &[&str] = &["group.initial.rebalance.delay.ms=200"];

fn run(program: &str, name: &str, listen: Listen) {
    run_node(program, &Server::start_with(name, listen, 2, SETTINGS));
}

#[test]
fn kafkajs_works_with_a_node_per_core() {
    run("kafkajs_checks.js", "kafkajs", Listen::PerCore);
}

#[test]
fn kafkajs_works_with_one_port_for_all_cores() {
    run("kafkajs_checks.js", "kafkajs", Listen::Shared);
}

#[test]
fn groups_of_kafkajs_work_with_a_node_per_core() {
    run(
        "kafkajs_groups_checks.js",
        "kafkajs-groups",
        Listen::PerCore,
    );
}

#[test]
fn groups_of_kafkajs_work_with_one_port_for_all_cores() {
    run("kafkajs_groups_checks.js", "kafkajs-groups", Listen::Shared);
}
