//! `corelane log verify` and `log quarantine list` on what a server wrote, and on what became of it since.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    client_with_input, create_topic, folder, run,
    support::server::{Listen, Server, is_kafka},
    text,
};

/// A stopped server with a topic `t` of one partition and so many records, each in a block, since nothing rides in a journal;
/// and the partition's directory.
fn stopped(name: &str, records: usize) -> (Server, PathBuf) {
    let settings = ["lane_journal_bytes=0"];
    let mut server = Server::start_with(name, Listen::PerCore, 2, &settings);
    create_topic(&server, "t", "1");
    for index in 0..records {
        let line = format!("{index}:value {index}\n");
        client_with_input(&server, &["produce", "t", "-z", "lz4"], line.as_bytes()).succeeded();
    }
    server.stop();
    let directory = fs::read_dir(server.folder().join("data/logs"))
        .expect("logs")
        .map(|entry| entry.expect("an entry").path())
        .next()
        .expect("a log");
    (server, directory)
}

fn of_type(values: &[Value], kind: &str) -> Vec<Value> {
    values
        .iter()
        .filter(|value| value["type"] == kind)
        .cloned()
        .collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("the file");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("written");
}

#[test]
fn verify_tells_sound_damaged_and_unchecked_apart() {
    if is_kafka() {
        return;
    }
    let (mut server, directory) = stopped("cli-verify", 4);
    let data = server.folder().join("data");
    let segment = directory.join("00000000000000000000.log");

    let sound = run(&["log", "verify", text(&data), "--records", "--json"]).succeeded();
    let values = sound.values();
    assert_eq!(of_type(&values, "finding"), [] as [Value; 0]);
    let summary = &of_type(&values, "summary")[0];
    assert_eq!(
        (&summary["logs"], &summary["damage"]),
        (&2.into(), &0.into()),
        "{summary}"
    );
    let logs = of_type(&values, "log");
    assert_eq!(logs.len(), 2, "the metadata and the partition");
    let partition = &logs[1];
    assert_eq!(
        (&partition["records"], &partition["log_end_offset"]),
        (&4.into(), &4.into())
    );
    let told = run(&["log", "verify", text(&data)]).succeeded().text();
    assert!(
        told.contains("Nothing is damaged") && told.contains("2 in all"),
        "{told}"
    );

    // What cannot be checked is no damage, and no clean bill either.
    for path in ["/no/such/directory", text(server.folder())] {
        let ran = run(&["log", "verify", path]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(path), "{}", ran.stderr);
    }
    server.start_again();
    for path in [&data, &directory, &segment] {
        for command in [
            &["log", "verify"][..],
            &["log", "quarantine", "list", "--scan"],
        ] {
            let ran = run(&[command, &[text(path)]].concat());
            assert_ne!(ran.code, Some(0));
            assert!(ran.stderr.contains("in use by a server"), "{}", ran.stderr);
        }
    }
    run(&["log", "quarantine", "list", text(&data)]).succeeded();
    server.stop();

    let blocks = of_type(
        &run(&["log", "dump", text(&segment), "--json"]).values(),
        "block",
    );
    let positions: Vec<_> = blocks
        .iter()
        .map(|block| block["position"].as_u64().expect("a number"))
        .collect();
    let before = fs::read(&segment).expect("the segment");
    flip(&segment, positions[1] as usize + 64 + 61 + 2);
    for path in [&data, &directory, &segment] {
        let ran = run(&["log", "verify", text(path), "--json"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let findings = of_type(&ran.values(), "finding");
        assert_eq!(findings.len(), 1, "{findings:?}");
        let found = &findings[0];
        assert_eq!(found["kind"], "damaged-records");
        assert_eq!(
            (&found["start_offset"], &found["end_offset"]),
            (&1.into(), &2.into())
        );
        assert_eq!(found["until"], positions[2]);
        assert!(
            found["path"]
                .as_str()
                .is_some_and(|path| path.ends_with("00000000000000000000.log"))
        );
        assert!(
            found["remedy"]
                .as_str()
                .is_some_and(|remedy| remedy.contains("CORRUPT_MESSAGE"))
        );
    }
    let told = run(&["log", "verify", text(&data)]);
    assert_eq!(told.code, Some(1));
    for part in [
        "DAMAGE damaged-records",
        "offsets 1..2",
        "What to do:",
        "Damaged in 1 places",
    ] {
        assert!(told.text().contains(part), "{part:?} in {}", told.text());
    }
    let listed = run(&["log", "quarantine", "list", text(&data), "--scan", "--json"])
        .succeeded()
        .value();
    assert_eq!(
        (&listed[0]["start_offset"], &listed[0]["size_bytes"]),
        (&1.into(), &(positions[2] - positions[1]).into()),
        "{listed}"
    );
    assert_eq!(
        run(&["log", "quarantine", "list", text(&data), "--json"])
            .succeeded()
            .value(),
        Value::Array(vec![])
    );
    let told = run(&["log", "quarantine", "list", text(&data), "--scan"])
        .succeeded()
        .text();
    assert!(told.contains("1..2") && told.contains("scan"), "{told}");
    assert!(
        fs::read(&segment).expect("the segment").len() == before.len(),
        "it only reads"
    );
    fs::write(&segment, before).expect("written");
    run(&["log", "verify", text(&data)]).succeeded();
}

#[test]
fn verify_checks_the_small_files_too() {
    if is_kafka() {
        return;
    }
    let (server, directory) = stopped("cli-verify-small", 1);
    let data = server.folder().join("data");
    let table = [
        (directory.join("00000000000000000000.index"), 30, "sidecar"),
        (
            directory.join("00000000000000000000.log"),
            9,
            "segment-header",
        ),
        (data.join("server.json"), 0, "identity"),
    ];
    for (path, at, kind) in table {
        flip(&path, at);
        let ran = run(&["log", "verify", text(&data), "--json"]);
        assert_eq!(ran.code, Some(1), "{kind}: {}", ran.stderr);
        let findings = of_type(&ran.values(), "finding");
        assert_eq!(findings[0]["kind"], kind, "{findings:?}");
        assert_eq!(findings[0]["path"], text(&path));
        flip(&path, at);
    }
    fs::write(directory.join("log-start"), b"nonsense").expect("written");
    fs::write(directory.join("00000000000000000000.index.tmp"), b"").expect("written");
    let ran = run(&["log", "verify", text(&directory), "--json"]);
    assert_eq!(ran.code, Some(1));
    let kinds: Vec<_> = of_type(&ran.values(), "finding")
        .iter()
        .map(|found| found["kind"].clone())
        .collect();
    assert_eq!(kinds, ["log-start", "leftover"]);
    fs::remove_file(directory.join("log-start")).expect("removed");
    run(&["log", "verify", text(&data)]).succeeded();

    // A copy of one partition on another machine has no lock around it.
    let copy = folder("verify-copy").join("t-0.1");
    fs::create_dir_all(&copy).expect("made");
    for entry in fs::read_dir(&directory).expect("the log") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, copy.join(path.file_name().expect("a name"))).expect("copied");
    }
    run(&["log", "verify", text(&copy)]).succeeded();
    let foreign = copy.with_file_name("t-0.2");
    fs::rename(&copy, &foreign).expect("renamed");
    let ran = run(&["log", "verify", text(&foreign), "--json"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(of_type(&ran.values(), "finding")[0]["kind"], "foreign-file");
    fs::remove_dir_all(foreign.parent().expect("a parent")).expect("removed");
}

#[test]
fn verify_looks_into_the_journals_of_a_server_that_was_killed() {
    if is_kafka() {
        return;
    }
    let mut server = Server::start("cli-verify-journal", Listen::PerCore);
    create_topic(&server, "t", "1");
    for index in 0..4 {
        let line = format!("{index}:value {index}\n");
        client_with_input(&server, &["produce", "t"], line.as_bytes()).succeeded();
    }
    server.kill_9();
    let data = server.folder().join("data");
    let sound = run(&["log", "verify", text(&data), "--json"]).succeeded();
    assert_eq!(of_type(&sound.values(), "finding"), [] as [Value; 0]);

    // A journal with at least two blocks: the first of them is damaged.
    let page = 4096;
    let journal = fs::read_dir(data.join("journal"))
        .expect("journals")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            let bytes = fs::read(path).expect("a journal");
            [1, 2].map(|at| &bytes[at * page..at * page + 4]) == [b"CLjb"; 2]
        })
        .expect("a journal with blocks");
    flip(&journal, page + 16);
    let damaged = run(&["log", "verify", text(&data), "--json"]);
    assert_eq!(damaged.code, Some(1));
    let findings = of_type(&damaged.values(), "finding");
    assert!(
        findings.iter().any(|finding| finding["kind"] == "journal"
            && finding["path"].as_str() == Some(text(&journal))),
        "{findings:?}"
    );
}
