//! Apache Kafka's own clients and command-line programs, in Java.

mod support;

use support::{
    clients::{run_java, run_python},
    server::{Listen, Server},
};

#[test]
fn kafka_clients_works_with_a_node_per_core() {
    run_java(
        "KafkaClientsChecks.java",
        &Server::start("kafka-clients", Listen::PerCore),
    );
}

#[test]
fn kafka_clients_works_with_one_port_for_all_cores() {
    run_java(
        "KafkaClientsChecks.java",
        &Server::start("kafka-clients", Listen::Shared),
    );
}

#[test]
fn kafka_admin_works_with_a_node_per_core() {
    run_java(
        "KafkaAdminChecks.java",
        &Server::start("kafka-admin", Listen::PerCore),
    );
}

#[test]
fn kafka_admin_works_with_one_port_for_all_cores() {
    run_java(
        "KafkaAdminChecks.java",
        &Server::start("kafka-admin", Listen::Shared),
    );
}

#[test]
fn kafka_tools_work_with_a_node_per_core() {
    run_python(
        "kafka_tools_checks.py",
        &Server::start("kafka-tools", Listen::PerCore),
    );
}

#[test]
fn kafka_tools_work_with_one_port_for_all_cores() {
    run_python(
        "kafka_tools_checks.py",
        &Server::start("kafka-tools", Listen::Shared),
    );
}
