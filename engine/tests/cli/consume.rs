//! `corelane consume`: where reading starts and ends.

use std::io::{BufRead, BufReader, Read};

use crate::{
    Ran, client, client_with_input, create_topic, spawn_client,
    support::server::{Listen, Server},
};

#[test]
fn reading_starts_and_ends_where_it_is_told() {
    let server = Server::start("cli-positions", Listen::PerCore);
    create_topic(&server, "t", "2");
    client_with_input(
        &server,
        &["produce", "t", "--partition", "0"],
        b"a\nb\nc\nd\n",
    )
    .succeeded();
    client_with_input(&server, &["produce", "t", "--partition", "1"], b"x\n").succeeded();
    let timestamps = client(&server, &["consume", "t", "-p", "1", "--format", "%T"])
        .succeeded()
        .text();
    let since = format!("timestamp:{timestamps}");
    let table: [(&[&str], &[&str]); 10] = [
        (&["-p", "0"], &["a", "b", "c", "d"]),
        (&["-p", "0", "--count", "2"], &["a", "b"]),
        (&["-p", "0", "--from", "2"], &["c", "d"]),
        (&["-p", "0", "--from", "4"], &[]),
        (&["-p", "0", "--from", "-1"], &["d"]),
        (&["--from", "-1"], &["d", "x"]),
        (&["--from", "latest"], &[]),
        (&["-p", "1", "--from", &since], &["x"]),
        (&["--from", "timestamp:0"], &["a", "b", "c", "d", "x"]),
        (&["--from", "timestamp:9999999999999"], &[]),
    ];
    for (options, expected) in table {
        let mut lines = client(&server, &[&["consume", "t"], options].concat())
            .succeeded()
            .lines();
        // Between partitions there is no order.
        lines.sort();
        assert_eq!(lines, expected, "{options:?}");
    }
    client(&server, &["consume", "t", "-p", "0", "--from", "5"])
        .failed_saying(&["t-0 ends at offset 4"]);
    client(&server, &["consume", "t", "-p", "2"]).failed_saying(&["no partition 2", "0 to 1"]);
    client(&server, &["consume", "nope"]).failed_saying(&["nope", "corelane topic list"]);
    client(&server, &["produce", "t", "-p", "2"]).failed_saying(&["no partition 2", "0 to 1"]);
}

#[test]
fn followers_see_what_comes_later() {
    let server = Server::start("cli-follow", Listen::PerCore);
    create_topic(&server, "t", "2");
    client_with_input(&server, &["produce", "t"], b"early\n").succeeded();
    let arguments = [
        "consume", "t", "--follow", "--count", "3", "--format", "%s\n",
    ];
    let mut follower = spawn_client(&server, &arguments);
    let mut seen = BufReader::new(follower.stdout.take().expect("piped"))
        .lines()
        .map(|line| line.expect("a line"));
    assert_eq!(
        seen.next().as_deref(),
        Some("early"),
        "what is there is shown before there is more"
    );
    client_with_input(&server, &["produce", "t"], b"late\nlater\n").succeeded();
    let mut rest: Vec<String> = seen.collect();
    rest.sort();
    assert_eq!(rest, ["late", "later"]);
    assert!(follower.wait().expect("ends").success());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let server = Server::start("cli-pipe", Listen::PerCore);
    let lines = "some line\n".repeat(100_000);
    create_topic(&server, "t", "1");
    client_with_input(&server, &["produce", "t"], lines.as_bytes()).succeeded();
    let mut consumer = spawn_client(&server, &["consume", "t"]);
    let mut first = [0; 10];
    consumer
        .stdout
        .take()
        .expect("piped")
        .read_exact(&mut first)
        .expect("a line");
    assert_eq!(&first, b"some line\n");
    let ran = Ran::of(consumer.wait_with_output().expect("ends")).succeeded();
    assert_eq!(ran.stderr, "");
}
