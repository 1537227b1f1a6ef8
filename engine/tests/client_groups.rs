//! Consumer groups of real clients: confluent-kafka (librdkafka), kafka-python, aiokafka, and Kafka's own clients and command; in
//! both protocols.

mod support;

use support::{
    clients::{run_java, run_python},
    server::{Listen, Server},
};

/// The programs wait for many rebalances of new groups; a short first wait loses nothing that they check.
const SETTINGS: &[&str] = &["group.initial.rebalance.delay.ms=200"];

/// Members of the consumer protocol go by the server's timeouts: short ones, so that what vanishes is missed soon.
const CONSUMER_SETTINGS: &[&str] = &[
    "group.initial.rebalance.delay.ms=200",
    "group.consumer.min.session.timeout.ms=1000",
    "group.consumer.session.timeout.ms=6000",
    "group.consumer.min.heartbeat.interval.ms=100",
    "group.consumer.heartbeat.interval.ms=300",
];

fn run_consumer_protocol(name: &str, listen: Listen) {
    let server = Server::start_with(name, listen, 2, CONSUMER_SETTINGS);
    run_python("confluent_consumer_groups_checks.py", &server);
}

#[test]
fn groups_of_the_consumer_protocol_of_confluent_kafka_work_with_a_node_per_core() {
    run_consumer_protocol("confluent-consumer-groups", Listen::PerCore);
}

#[test]
fn groups_of_the_consumer_protocol_of_confluent_kafka_work_with_one_port_for_all_cores() {
    run_consumer_protocol("confluent-consumer-groups", Listen::Shared);
}

#[test]
fn groups_of_the_consumer_protocol_of_kafka_clients_work_with_a_node_per_core() {
    let server = Server::start_with(
        "kafka-consumer-groups",
        Listen::PerCore,
        2,
        CONSUMER_SETTINGS,
    );
    run_java("KafkaConsumerGroupsChecks.java", &server);
}

#[test]
fn groups_of_the_consumer_protocol_of_kafka_clients_work_with_one_port_for_all_cores() {
    let server = Server::start_with(
        "kafka-consumer-groups",
        Listen::Shared,
        2,
        CONSUMER_SETTINGS,
    );
    run_java("KafkaConsumerGroupsChecks.java", &server);
}

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
