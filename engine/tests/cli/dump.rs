//! `corelane log dump` on what a server wrote, and on what became of it since.

use std::fs;

use crate::{
    client_with_input, create_topic, run,
    support::server::{Listen, Server, is_kafka},
    text,
};

#[test]
fn a_dump_shows_what_was_produced_and_where_it_is_damaged() {
    if is_kafka() {
        return;
    }
    // Each record in a block of its own, since nothing rides in a journal.
    let settings = ["lane_journal_bytes=0"];
    let mut server = Server::start_with("cli-dump", Listen::PerCore, 2, &settings);
    create_topic(&server, "t", "1");
    for line in [&b"one\n"[..], b"two\n", b"three\n"] {
        client_with_input(&server, &["produce", "t", "-z", "zstd"], line).succeeded();
    }
    server.stop();
    let logs = fs::read_dir(server.folder().join("data/logs")).expect("logs");
    let directory = logs
        .map(|entry| entry.expect("an entry").path())
        .next()
        .expect("a log");
    let dumped = run(&["log", "dump", text(&directory), "--records", "--json"])
        .succeeded()
        .values();
    let of_type = |kind: &str| {
        dumped
            .iter()
            .filter(|entry| entry["type"] == kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (
            of_type("segment").len(),
            of_type("end").len(),
            of_type("damage").len()
        ),
        (1, 1, 0)
    );
    let values: Vec<_> = of_type("record")
        .iter()
        .map(|record| record["value"].clone())
        .collect();
    assert_eq!(values, ["one", "two", "three"]);
    assert!(
        of_type("batch")
            .iter()
            .all(|batch| batch["compression"] == "zstd" && batch["crc_ok"] == true)
    );

    let shown = |arguments: &[&str]| -> Vec<(String, i64)> {
        let all = [&["log", "dump", text(&directory), "--json"], arguments].concat();
        let values = run(&all).succeeded().values();
        values
            .iter()
            .filter_map(|entry| {
                let kind = entry["type"].as_str()?;
                let offset = entry["offset"].as_i64().or(entry["base_offset"].as_i64())?;
                (kind == "batch" || kind == "record").then(|| (kind.to_owned(), offset))
            })
            .collect()
    };
    let of = |kind: &str, offset| (kind.to_owned(), offset);
    assert_eq!(shown(&["--offset", "1"]), [of("batch", 1), of("batch", 2)]);
    assert_eq!(shown(&["--limit", "2"]), [of("batch", 0), of("batch", 1)]);
    assert_eq!(
        shown(&["--records", "--offset", "1", "--limit", "1"]),
        [of("batch", 1), of("record", 1)]
    );
    assert_eq!(shown(&["--offset", "3"]), []);
    assert_eq!(shown(&["--limit", "0"]), []);

    let segment = directory.join("00000000000000000000.log");
    let mut bytes = fs::read(&segment).expect("the segment");
    let blocks: Vec<u64> = of_type("block")
        .iter()
        .map(|block| block["position"].as_u64().expect("a number"))
        .collect();
    let block = blocks[1];
    bytes[block as usize + 64 + 61] ^= 1;
    let damaged = server.folder().join("damaged.log");
    fs::write(&damaged, &bytes).expect("written");
    let ran = run(&["log", "dump", text(&damaged), "--records"]);
    assert_eq!(ran.code, Some(1), "{}", ran.text());
    let found = ran
        .lines()
        .into_iter()
        .find(|line| line.contains("DAMAGE"))
        .expect("it is found");
    assert!(found.contains(&format!("up to {}", blocks[2])), "{found}");
    assert!(
        ran.text().contains("three"),
        "what comes after it is shown:\n{}",
        ran.text()
    );

    // What was never acknowledged is no damage: a block that ends early, and what an earlier use of the file left.
    bytes.truncate(block as usize + 10);
    fs::write(&damaged, &bytes).expect("written");
    let ran = run(&["log", "dump", text(&damaged)]).succeeded();
    assert!(
        ran.text().contains("nothing acknowledged from here"),
        "{}",
        ran.text()
    );
    fs::write(&damaged, b"no segment").expect("written");
    assert_eq!(run(&["log", "dump", text(&damaged)]).code, Some(1));
    run(&["log", "dump", "/no/such/file"]).failed_saying(&["/no/such/file"]);
    run(&["log", "dump", text(&server.folder().join("data"))]).failed_saying(&["no segment"]);
}
