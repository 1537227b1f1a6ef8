//! Python clients: `confluent-kafka` (librdkafka), `kafka-python` and `aiokafka`, which share no code with it.

mod support;

use support::{
    clients::run_python,
    server::{Listen, Server},
};

#[test]
fn confluent_kafka_works_with_a_node_per_core() {
    run_python(
        "confluent_kafka_checks.py",
        &Server::start("confluent-kafka", Listen::PerCore),
    );
}

#[test]
fn confluent_kafka_works_with_one_port_for_all_cores() {
    run_python(
        "confluent_kafka_checks.py",
        &Server::start("confluent-kafka", Listen::Shared),
    );
}

#[test]
fn aiokafka_works_with_a_node_per_core() {
    run_python(
        "aiokafka_checks.py",
        &Server::start("aiokafka", Listen::PerCore),
    );
}

#[test]
fn aiokafka_works_with_one_port_for_all_cores() {
    run_python(
        "aiokafka_checks.py",
        &Server::start("aiokafka", Listen::Shared),
    );
}

#[test]
fn kafka_python_works_with_a_node_per_core() {
    run_python(
        "kafka_python_checks.py",
        &Server::start("kafka-python", Listen::PerCore),
    );
}

#[test]
fn kafka_python_works_with_one_port_for_all_cores() {
    run_python(
        "kafka_python_checks.py",
        &Server::start("kafka-python", Listen::Shared),
    );
}
