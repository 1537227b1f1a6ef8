//! `corelane topic`, and what every client command says where there is no server.

use serde_json::Value;

use crate::{
    client, run,
    support::{
        ports,
        server::{Listen, Server},
    },
};

#[test]
fn a_topic_is_made_shown_changed_and_removed() {
    let server = Server::start("cli-topics", Listen::PerCore);
    assert!(
        client(&server, &["topic", "list"])
            .succeeded()
            .stdout
            .is_empty()
    );
    let create = [
        "topic",
        "create",
        "orders",
        "--partitions",
        "3",
        "--config",
        "retention.ms=7d",
        "--json",
    ];
    let checked = client(&server, &[&create[..], &["--validate-only"]].concat())
        .succeeded()
        .value();
    assert_eq!(checked["created"], false);
    let created = client(&server, &create).succeeded().value();
    assert_eq!(
        (&created["created"], &created["partitions"]),
        (&Value::from(true), &Value::from(3))
    );
    client(&server, &create).failed_saying(&["orders", "TOPIC_ALREADY_EXISTS", "--if-not-exists"]);
    let again = client(&server, &[&create[..], &["--if-not-exists"]].concat())
        .succeeded()
        .value();
    assert_eq!(again["created"], false);
    client(&server, &["topic", "create", "a b"]).failed_saying(&["a b", "INVALID_TOPIC_EXCEPTION"]);
    client(&server, &["topic", "create", "x", "-c", "no.such=1"])
        .failed_saying(&["INVALID_CONFIG", "no.such"]);

    let listed = client(&server, &["topic", "list", "--json"])
        .succeeded()
        .value();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["topic"], "orders");
    assert_eq!(listed[0]["topic_id"], created["topic_id"]);

    let alter = [
        "topic",
        "alter",
        "orders",
        "-p",
        "5",
        "-c",
        "max.message.bytes=2MiB",
        "-d",
        "retention.ms",
    ];
    client(&server, &alter).succeeded();
    client(&server, &["topic", "alter", "orders", "-p", "2"])
        .failed_saying(&["INVALID_PARTITIONS"]);
    client(&server, &["topic", "alter", "nope", "-p", "2"]).failed_saying(&["nope"]);
    let described = client(&server, &["topic", "describe", "orders", "--json"])
        .succeeded()
        .value();
    assert_eq!(
        described[0]["configs"],
        serde_json::json!({"max.message.bytes": "2097152"})
    );
    let partitions = described[0]["partitions"].as_array().expect("a list");
    assert_eq!(partitions.len(), 5);
    for partition in partitions {
        assert_eq!(
            (&partition["earliest_offset"], &partition["latest_offset"]),
            (&Value::from(0), &Value::from(0))
        );
        let address = partition["leader_address"].as_str().expect("a leader");
        assert!(server.bootstrap().contains(address), "{address}");
    }
    let half = client(&server, &["topic", "describe", "nope", "orders"]).failed_saying(&["nope"]);
    assert!(half.text().starts_with("topic orders"), "{}", half.text());

    client(&server, &["topic", "delete", "orders"]).succeeded();
    client(&server, &["topic", "delete", "orders"])
        .failed_saying(&["orders", "UNKNOWN_TOPIC_OR_PARTITION"]);
    client(&server, &["topic", "delete", "orders", "--if-exists"]).succeeded();
    assert!(
        client(&server, &["topic", "list"])
            .succeeded()
            .stdout
            .is_empty()
    );
}

#[test]
fn without_a_server_the_error_says_what_to_do() {
    let address = format!("127.0.0.1:{}", ports::free_in_a_row(1));
    for arguments in [&["topic", "list"][..], &["produce", "t"], &["consume", "t"]] {
        let ran = run(&[arguments, &["--bootstrap", &address]].concat());
        ran.failed_saying(&[&address, "corelane serve", "--bootstrap"]);
    }
    run(&["topic", "list", "-b", "no.such.host.invalid"])
        .failed_saying(&["no.such.host.invalid:9092", "--bootstrap"]);
}
