//! Consumer groups of real clients: confluent-kafka (librdkafka), kafka-python, aiokafka, and Kafka's own command.

mod support;

use support::{
    clients::run_python,
    server::{Listen, Server},
};

/// The programs wait for many rebalances of new groups; a short first wait loses nothing that they check.
const SETTINGS: &[&str] = &["group.initial.rebalance.delay.ms=200"];

fn run(program: &str, name: &str, listen: Listen) {
    run_python(program, &Server::start_with(name, listen, 2, SETTINGS));
}

#[test]
fn groups_of_confluent_kafka_work_with_a_node_per_core() {
    run(
        "confluent_groups_checks.py",
        "confluent-groups",
        Listen::PerCore,
    );
}

#[test]
fn groups_of_confluent_kafka_work_with_one_port_for_all_cores() {
    run(
        "confluent_groups_checks.py",
        "confluent-groups",
        Listen::Shared,
    );
}

#[test]
fn groups_of_kafka_python_work_with_a_node_per_core() {
    run(
        "kafka_python_groups_checks.py",
        "kafka-python-groups",
        Listen::PerCore,
    );
}

#[test]
fn groups_of_kafka_python_work_with_one_port_for_all_cores() {
    run(
        "kafka_python_groups_checks.py",
        "kafka-python-groups",
        Listen::Shared,
    );
}

#[test]
fn groups_of_aiokafka_work_with_a_node_per_core() {
    run(
        "aiokafka_groups_checks.py",
        "aiokafka-groups",
        Listen::PerCore,
    );
}

#[test]
fn groups_of_aiokafka_work_with_one_port_for_all_cores() {
    run(
        "aiokafka_groups_checks.py",
        "aiokafka-groups",
        Listen::Shared,
    );
}

#[test]
fn kafkas_groups_command_works_with_a_node_per_core() {
    run(
        "kafka_group_tools_checks.py",
        "kafka-group-tools",
        Listen::PerCore,
    );
}

#[test]
fn kafkas_groups_command_works_with_one_port_for_all_cores() {
    run(
        "kafka_group_tools_checks.py",
        "kafka-group-tools",
        Listen::Shared,
    );
}
