//! Apache Kafka's own clients and command-line programs, in Java.

mod support;

use support::{
    clients::{kafka_version, record, run_java, run_kafka_class, run_python},
    server::{Listen, Server},
};

/// The program waits for many rebalances of new groups; a short first wait loses nothing that it checks.
const GROUP_SETTINGS: &[&str] = &["group.initial.rebalance.delay.ms=200"];

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
fn groups_of_kafka_clients_work_with_a_node_per_core() {
    run_java(
        "KafkaGroupsChecks.java",
        &Server::start_with("kafka-groups", Listen::PerCore, 2, GROUP_SETTINGS),
    );
}

#[test]
fn groups_of_kafka_clients_work_with_one_port_for_all_cores() {
    run_java(
        "KafkaGroupsChecks.java",
        &Server::start_with("kafka-groups", Listen::Shared, 2, GROUP_SETTINGS),
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

#[test]
fn kafkas_log_compaction_tester_finds_every_last_value() {
    let server = Server::start_with(
        "log-compaction-tester",
        Listen::PerCore,
        2,
        &[
            "log.segment.bytes=1048576",
            "log.cleaner.backoff.ms=20",
            "log.cleaner.min.cleanable.ratio=0.01",
        ],
    );
    for codec in ["none", "lz4"] {
        let printed = run_kafka_class(
            "org.apache.kafka.tools.LogCompactionTester",
            &[
                "--messages",
                "200000",
                "--duplicates",
                "50",
                "--percent-deletes",
                "10",
                "--topics",
                "2",
                "--sleep",
                "5",
                "--compression-type",
                codec,
            ],
            &server,
        );
        assert!(printed.contains(" 0 mismatches."), "{codec}");
        // It compares whatever it reads, so it must have read less than it wrote.
        let reduction = printed
            .split_once("consumed (")
            .and_then(|(_, rest)| rest.split_once('%'))
            .and_then(|(percent, _)| percent.parse::<f64>().ok())
            .expect("a reduction");
        assert!(reduction > 10.0, "{codec}: {reduction} % went");
    }
    let said = format!(
        "client Kafka's own programs {}, compaction\nok every_last_value_is_found",
        kafka_version()
    );
    record("LogCompactionTester", &server, &said);
}
