//! `corelane group`, and `corelane consume --group`: what they say of a group whose members come, go and are killed.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Ran, client, client_with_input, create_topic, run, spawn_client,
    support::server::{Listen, Server},
};

/// Only ends a test that would hang.
const DEADLINE: Duration = Duration::from_secs(90);
/// Tests of single members need not wait for more of them.
const SETTINGS: &[&str] = &[
    "group.initial.rebalance.delay.ms=100",
    "group.min.session.timeout.ms=1000",
];

fn start(name: &str) -> Server {
    Server::start_with(name, Listen::PerCore, 2, SETTINGS)
}

fn produce(server: &Server, partition: &str, lines: &str) {
    let arguments = ["produce", "t", "--partition", partition];
    client_with_input(server, &arguments, lines.as_bytes()).succeeded();
}

/// Looks again until `judge` gives something.
fn eventually<T>(what: &str, mut judge: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = judge() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The group as `describe` tells it; null if there is none.
fn describe(server: &Server, group: &str) -> Value {
    let ran = client(server, &["group", "describe", group, "--json"]);
    ran.value()[0].clone()
}

/// A consumer that follows until it is stopped.
struct Follower {
    process: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(server: &Server, options: &[&str]) -> Self {
        let arguments = [&["consume", "t", "--group", "g", "--follow"][..], options].concat();
        let mut process = spawn_client(server, &arguments);
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { process, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line")
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -{name} $0");
        let pid = self.process.id().to_string();
        let sent = Command::new("sh").args(["-c", &script, &pid]).status();
        assert!(sent.expect("a shell can be run").success());
    }

    fn end(self) -> Ran {
        let lines: Vec<String> = self.lines.iter().collect();
        let stdout = lines
            .iter()
            .flat_map(|line| [line, "\n"].concat().into_bytes());
        let mut ran = Ran::of(self.process.wait_with_output().expect("the command ends"));
        ran.stdout = stdout.collect();
        ran
    }

    fn kill(&mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a child can be waited for");
    }
}

#[test]
fn a_group_is_read_listed_described_reset_and_deleted() {
    let server = start("cli-groups");
    create_topic(&server, "t", "2");
    produce(&server, "0", "a\nb\nc\n");
    produce(&server, "1", "x\n");
    let none = client(&server, &["group", "list"]).succeeded();
    assert_eq!(none.text(), "");
    assert!(none.stderr.contains("there are no such groups"));

    let mut lines = client(&server, &["consume", "t", "-g", "g"])
        .succeeded()
        .lines();
    lines.sort();
    assert_eq!(lines, ["a", "b", "c", "x"]);
    let again = client(&server, &["consume", "t", "-g", "g"]).succeeded();
    assert_eq!(again.text(), "", "it goes on where it stopped");
    produce(&server, "0", "d\ne\n");

    let listed = client(&server, &["group", "list", "--json"]).succeeded();
    let expected = json!([
        {"group": "g", "type": "classic", "state": "Empty", "protocol_type": "consumer"}
    ]);
    assert_eq!(listed.value(), expected);
    for (filter, expected) in [
        (["--state", "empty"], 1),
        (["--state", "stable"], 0),
        (["--type", "classic"], 1),
        (["--type", "consumer"], 0),
    ] {
        let arguments = [&["group", "list", "--json"][..], &filter].concat();
        let count = client(&server, &arguments).succeeded().value();
        assert_eq!(count.as_array().map(Vec::len), Some(expected), "{filter:?}");
    }

    let lag = client(&server, &["group", "lag", "g", "--json"]).succeeded();
    let expected = json!([{"group": "g", "state": "Empty", "lag": 2, "partitions": [
        {"topic": "t", "partition": 0, "committed_offset": 3, "latest_offset": 5, "lag": 2},
        {"topic": "t", "partition": 1, "committed_offset": 1, "latest_offset": 1, "lag": 0},
    ]}]);
    assert_eq!(lag.value(), expected);
    assert_eq!(
        client(&server, &["group", "lag", "--all", "--json"]).value(),
        expected
    );
    let described = describe(&server, "g");
    assert_eq!(described["members"], json!([]));
    assert_eq!(described["partitions"][0]["member_id"], Value::Null);
    assert!(
        server
            .bootstrap()
            .contains(described["coordinator_address"].as_str().expect("known"))
    );
    let shown = client(&server, &["group", "describe", "g"])
        .succeeded()
        .lines();
    assert!(shown[0].starts_with("group g  classic  Empty"), "{shown:?}");
    let words: Vec<&str> = shown[2].split_whitespace().collect();
    assert_eq!(words, ["t", "0", "3", "5", "2", "-", "-", "-"]);

    let reset = [
        "group",
        "reset-offsets",
        "g",
        "--all-topics",
        "--to-earliest",
    ];
    let dry = client(&server, &reset).succeeded();
    assert!(dry.stderr.contains("nothing is changed"), "{}", dry.stderr);
    assert_eq!(describe(&server, "g")["lag"], 2, "nothing has changed");
    let done = client(&server, &[&reset[..], &["--execute", "--json"]].concat()).succeeded();
    assert_eq!(done.value()["executed"], true);
    assert_eq!(describe(&server, "g")["lag"], 6);

    client(&server, &["group", "delete", "nope", "g"]).failed_saying(&[
        "nope",
        "GROUP_ID_NOT_FOUND",
        "corelane group list",
    ]);
    assert_eq!(
        client(&server, &["group", "list"]).succeeded().text(),
        "",
        "the other is deleted"
    );
    client(&server, &["group", "delete", "g", "--if-exists"]).succeeded();
    client(&server, &["group", "describe", "g"]).failed_saying(&[
        "group g",
        "GROUP_ID_NOT_FOUND",
        "corelane group list",
    ]);
    client(&server, &["group", "lag", "g", "--watch"]).failed_saying(&["GROUP_ID_NOT_FOUND"]);
}

#[test]
fn members_share_partitions_and_what_a_killed_one_had_goes_to_the_others() {
    let server = start("cli-members");
    create_topic(&server, "t", "2");
    let first = Follower::start(&server, &[]);
    let mut second = Follower::start(&server, &["--session-timeout", "3s"]);
    let described = eventually("both have a partition", || {
        let group = describe(&server, "g");
        let members = group["members"].as_array()?;
        let shared = members
            .iter()
            .all(|member| member["assignment"]["t"].is_array());
        (members.len() == 2 && shared && group["state"] == "Stable").then_some(group)
    });
    assert_eq!(described["assignor"], "range");
    let member = &described["members"][0];
    assert_eq!(member["client_id"], "corelane-cli");
    assert_eq!(member["host"], "127.0.0.1");
    assert_eq!(member["topics"], json!(["t"]));
    let owners: BTreeSet<&str> = described["partitions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|partition| partition["member_id"].as_str().expect("owned"))
        .collect();
    assert_eq!(owners.len(), 2);

    let reset = [
        "group",
        "reset-offsets",
        "g",
        "--topic",
        "t",
        "--to-latest",
        "--execute",
    ];
    client(&server, &reset).failed_saying(&[
        "group g",
        "Stable",
        "2 members",
        "stop its consumers first",
    ]);
    client(&server, &["group", "delete", "g"])
        .failed_saying(&["NON_EMPTY_GROUP", "stop its consumers first"]);

    second.kill();
    eventually("the other owns everything", || {
        let group = describe(&server, "g");
        let members = group["members"].as_array()?;
        (members.len() == 1 && members[0]["assignment"]["t"] == json!([0, 1])).then_some(())
    });
    produce(&server, "0", "left\n");
    produce(&server, "1", "right\n");
    let mut lines = [first.next(), first.next()];
    lines.sort();
    assert_eq!(lines, ["left", "right"]);
    first.signal("TERM");
    let ran = first.end().succeeded();
    assert_eq!(ran.stderr, "");
    let group = describe(&server, "g");
    assert_eq!(
        (&group["state"], &group["lag"]),
        (&json!("Empty"), &json!(0))
    );
    assert_eq!(
        group["members"],
        json!([]),
        "it has left, and nobody waits for its session"
    );
}

#[test]
fn nothing_is_left_out_while_members_come_and_go() {
    let server = start("cli-coming-and-going");
    create_topic(&server, "t", "2");
    let mut expected = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut followers: Vec<Follower> = Vec::new();
    for round in 0..6 {
        for partition in ["0", "1"] {
            let lines: Vec<String> = (0..50)
                .map(|n| format!("{round}-{partition}-{n}"))
                .collect();
            produce(&server, partition, &(lines.join("\n") + "\n"));
            expected.extend(lines);
        }
        followers.push(Follower::start(
            &server,
            &["--session-timeout", "6s", "--commit-interval", "200ms"],
        ));
        // Something is read by somebody before the next change.
        let start = seen.len();
        eventually("the group reads on", || {
            seen.extend(
                followers
                    .iter()
                    .flat_map(|follower| follower.lines.try_iter()),
            );
            (seen.len() > start).then_some(())
        });
        if followers.len() == 3 {
            let mut gone = followers.remove(0);
            if round % 2 == 0 {
                gone.signal("INT");
                seen.extend(gone.end().succeeded().lines());
            } else {
                gone.kill();
                seen.extend(gone.lines.iter());
            }
        }
    }
    eventually("everything is read", || {
        seen.extend(
            followers
                .iter()
                .flat_map(|follower| follower.lines.try_iter()),
        );
        (seen.len() >= expected.len()).then_some(())
    });
    assert_eq!(seen, expected);
    for follower in followers {
        follower.signal("TERM");
        follower.end().succeeded();
    }
    // What a killed member printed last it has not committed, and it may be that nobody had its place before the end.
    let rest = client(&server, &["consume", "t", "--group", "g"]).succeeded();
    assert!(expected.is_superset(&rest.lines().into_iter().collect()));
    assert_eq!(describe(&server, "g")["lag"], 0);
}

#[test]
fn a_group_resumes_after_exactly_what_was_printed() {
    let server = start("cli-resume");
    create_topic(&server, "t", "1");
    let lines: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    produce(&server, "0", &(lines.join("\n") + "\n"));
    for (options, expected) in [
        (&["--max-messages", "3"][..], &lines[..3]),
        (&["--count", "2", "--from", "latest"], &lines[3..5]),
        (&["--from-beginning"], &lines[5..]),
        (&[], &[]),
    ] {
        let arguments = [&["consume", "t", "--group", "g"][..], options].concat();
        let ran = client(&server, &arguments).succeeded();
        assert_eq!(ran.lines(), expected, "{options:?}");
    }
    // Where the group never was, --from decides.
    let latest = ["consume", "t", "--group", "new", "--from", "latest"];
    assert_eq!(client(&server, &latest).succeeded().text(), "");
    assert_eq!(
        describe(&server, "new")["partitions"][0]["committed_offset"],
        10
    );
    let last = ["consume", "t", "--group", "newer", "--from", "-4"];
    assert_eq!(client(&server, &last).succeeded().lines(), lines[6..]);
    let named = ["consume", "t", "--group", "g", "--group-instance-id", "i"];
    client(&server, &named).succeeded();
    let members = describe(&server, "g")["members"].clone();
    assert_eq!(
        members[0]["instance_id"], "i",
        "a lasting member keeps its place"
    );
}

#[test]
fn offsets_go_where_they_are_told() {
    let server = start("cli-reset");
    create_topic(&server, "t", "2");
    produce(&server, "0", "a\nb\nc\nd\n");
    client(&server, &["consume", "t", "-g", "g", "--count", "4"]).succeeded();
    let base = ["group", "reset-offsets", "g", "--json"];
    let reset = |options: &[&str]| client(&server, &[&base[..], options].concat());
    let table: [(&[&str], i64); 12] = [
        (&["--to-earliest"], 0),
        (&["--to-latest"], 4),
        (&["--to-current"], 4),
        (&["--to-offset", "3"], 3),
        (&["--to-offset", "99"], 4),
        (&["--shift-by", "-3"], 1),
        (&["--shift-by", "-99"], 0),
        (&["--shift-by", "1"], 4),
        (&["--to-datetime", "2026-01-01T00:00:00.000"], 0),
        (&["--to-datetime", "2999-01-01"], 4),
        (&["--by-duration", "1h"], 0),
        (&["--by-duration", "PT0S"], 4),
    ];
    for (target, expected) in table {
        let ran = reset(&[&["--topic", "t:0"][..], target].concat()).succeeded();
        let value = ran.value();
        assert_eq!(value["executed"], false, "{target:?}");
        let partition = json!([{
            "topic": "t", "partition": 0, "earliest_offset": 0, "latest_offset": 4,
            "committed_offset": 4, "new_offset": expected,
        }]);
        assert_eq!(value["partitions"], partition, "{target:?}");
    }
    assert_eq!(describe(&server, "g")["lag"], 0, "nothing was executed");
    reset(&["--topic", "nope", "--to-latest"]).failed_saying(&["nope", "corelane topic list"]);
    reset(&["--topic", "t:2", "--to-latest"]).failed_saying(&["no partition 2", "0 to 1"]);
    let other = ["group", "reset-offsets", "other", "--topic", "t"];
    client(&server, &[&other[..], &["--shift-by", "1"]].concat())
        .failed_saying(&["t-0", "--to-offset"]);
    client(
        &server,
        &[
            "group",
            "reset-offsets",
            "other",
            "--all-topics",
            "--to-latest",
        ],
    )
    .failed_saying(&["other", "--topic"]);
    // A group that nobody has joined yet gets the place where it will begin.
    client(
        &server,
        &[&other[..], &["--to-offset", "2", "--execute"]].concat(),
    )
    .succeeded();
    let read = client(&server, &["consume", "t", "-g", "other"]).succeeded();
    assert_eq!(read.lines(), ["c", "d"]);
}

#[test]
fn a_watch_sees_a_group_fall_behind_and_ends_with_its_reader() {
    let server = start("cli-watch");
    create_topic(&server, "t", "1");
    produce(&server, "0", "a\n");
    client(&server, &["consume", "t", "-g", "g"]).succeeded();
    let arguments = ["group", "lag", "g", "--watch=100ms", "--json"];
    let mut watch = spawn_client(&server, &arguments);
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut look = || -> Value {
        let line = lines.next().expect("another look").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(look()[0]["lag"], 0);
    produce(&server, "0", "b\nc\n");
    while look()[0]["lag"] != 2 {}
    drop(lines);
    let ran = Ran::of(watch.wait_with_output().expect("ends")).succeeded();
    assert_eq!(ran.stderr, "");
}

#[test]
fn what_cannot_be_is_refused() {
    let server = start("cli-group-refusals");
    create_topic(&server, "t", "1");
    client(&server, &["consume", "nope", "--group", "g"])
        .failed_saying(&["nope", "corelane topic list"]);
    client(
        &server,
        &["consume", "t", "--group", "g", "--session-timeout", "1ms"],
    )
    .failed_saying(&["INVALID_SESSION_TIMEOUT", "group.min.session.timeout.ms"]);
    client(&server, &["consume", "t", "--group", ""]).failed_saying(&["INVALID_GROUP_ID"]);
    for arguments in [
        &["consume", "t", "--group", "g", "--partition", "0"][..],
        &["consume", "t", "--commit-interval", "1s"],
        &["group", "lag"],
    ] {
        assert_eq!(run(arguments).code, Some(2), "{arguments:?}");
    }
}
