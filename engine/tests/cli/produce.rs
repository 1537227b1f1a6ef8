//! `corelane produce`: what becomes of lines.

use std::fs;

use serde_json::Value;

use crate::{
    client, client_with_input, create_topic,
    support::{
        admin::wait_until,
        server::{Listen, Server},
    },
    text,
};

#[test]
fn lines_become_records_where_java_would_put_them_and_come_back_as_they_were() {
    for listen in [Listen::PerCore, Listen::Shared] {
        let server = Server::start("cli-lines", listen);
        create_topic(&server, "t", "3");
        let keyed = [
            "produce", "t", "-K", ":", "-Z", "NULL", "--header", "h=1", "--header", "h=2", "--json",
        ];
        let input = b"foobar:1\n21:2\nabc:3\na-little-bit-long-string:NULL\n";
        let produced = client_with_input(&server, &keyed, input)
            .succeeded()
            .value();
        assert_eq!(
            (&produced["records"], &produced["acknowledged"]),
            (&Value::from(4), &Value::from(true))
        );

        let records = client(&server, &["consume", "t", "--json"])
            .succeeded()
            .values();
        // murmur2 of Kafka's own tests without its sign bit, modulo 3.
        for (key, hash, value) in [
            ("foobar", -790_332_482_i32, Value::from("1")),
            ("21", -973_932_308, Value::from("2")),
            ("abc", 479_470_107, Value::from("3")),
            ("a-little-bit-long-string", -985_981_536, Value::Null),
        ] {
            let record = records
                .iter()
                .find(|record| record["key"] == key)
                .expect("the key is there");
            assert_eq!(
                record["partition"],
                (hash.cast_unsigned() & 0x7FFF_FFFF) % 3,
                "{key}"
            );
            assert_eq!(record["value"], value);
            let headers =
                serde_json::json!([{"key": "h", "value": "1"}, {"key": "h", "value": "2"}]);
            assert_eq!(record["headers"], headers);
        }

        create_topic(&server, "copy", "1");
        let copied = client(&server, &["consume", "t", "-K", "\\t", "-Z", "NULL"]).succeeded();
        let copy = ["produce", "copy", "-K", "\\t", "-Z", "NULL"];
        let said = client_with_input(&server, &copy, &copied.stdout).succeeded();
        assert_eq!(said.text(), "delivered 4 records to copy\n");
        let mut originals = copied.lines();
        let mut copies = client(&server, &["consume", "copy", "-K", "\\t", "-Z", "NULL"])
            .succeeded()
            .lines();
        originals.sort();
        copies.sort();
        assert_eq!(copies, originals);
    }
}

#[test]
fn every_codec_and_every_byte_comes_back() {
    let server = Server::start("cli-codecs", Listen::PerCore);
    let lines: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
    let file = server.folder().join("lines.txt");
    fs::write(&file, lines.join("\n")).expect("written");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        create_topic(&server, codec, "1");
        client(
            &server,
            &["produce", codec, "-z", codec, "--file", text(&file)],
        )
        .succeeded();
        assert!(
            client(&server, &["consume", codec]).succeeded().lines() == lines,
            "{codec}"
        );
    }
    create_topic(&server, "bytes", "1");
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    client_with_input(&server, &["produce", "bytes"], &bytes).succeeded();
    let back = client(&server, &["consume", "bytes", "--format", "%s"]).succeeded();
    assert_eq!(back.stdout, bytes);
    let record = client(&server, &["consume", "bytes", "--json"])
        .succeeded()
        .value();
    assert_eq!(record.get("value"), None);
    assert!(
        record["value_base64"]
            .as_str()
            .expect("a string")
            .starts_with("AAECAwQFBgcICQsM"),
        "{record}"
    );
}

#[test]
fn lines_that_are_not_delivered_are_named_and_the_others_are_delivered() {
    let server = Server::start("cli-undelivered", Listen::PerCore);
    client(
        &server,
        &[
            "topic",
            "create",
            "t",
            "-p",
            "1",
            "-c",
            "max.message.bytes=1000",
        ],
    )
    .succeeded();
    let large = "x".repeat(2_000);
    let input = format!("one\ntwo\n{large}\nfour\n{large}\n{large}\nseven\n");
    let produced = client_with_input(&server, &["produce", "t", "--json"], input.as_bytes())
        .failed_saying(&["lines 3, 5-6", "MESSAGE_TOO_LARGE", "max.message.bytes"]);
    assert_eq!(produced.value()["records"], 4);
    assert_eq!(
        produced.value()["undelivered_lines"],
        serde_json::json!([[3, 3], [5, 6]])
    );
    assert_eq!(
        client(&server, &["consume", "t"]).succeeded().lines(),
        ["one", "two", "four", "seven"]
    );

    create_topic(&server, "keyed", "1");
    client_with_input(
        &server,
        &["produce", "keyed", "-K", ":"],
        b"k:a\nk:b\nno key\nk:c\n",
    )
    .failed_saying(&["line 3 has no key"]);
    assert_eq!(
        client(&server, &["consume", "keyed"]).succeeded().lines(),
        ["a", "b"]
    );
    client(&server, &["produce", "keyed", "--file", "/no/such/file"])
        .failed_saying(&["/no/such/file"]);
}

#[test]
fn a_topic_that_is_not_there_is_made_by_the_first_record() {
    let server = Server::start("cli-auto", Listen::PerCore);
    client_with_input(&server, &["produce", "new"], b"first\n").succeeded();
    wait_until("the record is there", || {
        client(&server, &["consume", "new"]).lines() == ["first"]
    });
}
