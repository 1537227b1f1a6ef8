//! The commands that make several runs of one plan, against a null broker that keeps what it gets. What they find
//! depends on the machine; that they come to an end, say what they must and leave their files does not.

use std::path::Path;
use std::process::{Command, Output};

use corelane_loadgen::null::broker::Behaviour;
use corelane_loadgen::null::server::NullServer;
use serde_json::Value;

fn loadgen(command: &str, arguments: &str, folder: &Path) -> Output {
    let behaviour = Behaviour {
        keeps: true,
        ..Behaviour::default()
    };
    let server = NullServer::start(0, behaviour).expect("a free port");
    Command::new(env!("CARGO_BIN_EXE_corelane-loadgen"))
        .args([command, "--bootstrap", &server.address()])
        .args(["--producers", "1", "--partitions", "1", "--warmup", "0"])
        .args(["--duration", "100ms", "--batch-records", "10"])
        .args(["--json", "result.json", "--html", "result.html"])
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("the program starts")
}

fn json(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("result.json")).expect("the file was written");
    serde_json::from_str(&text).expect("valid JSON")
}

fn page(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("result.html")).expect("the file was written")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn find_max_ends_without_an_answer_where_there_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = loadgen("find-max", "--rate 1000 --slo p50=1ns", folder.path());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        said(&output).contains("no rate was confirmed"),
        "{output:?}"
    );
    let json = json(folder.path());
    assert_eq!(json["schema"], "corelane-loadgen/find-max/1");
    assert_eq!(json["confirmed"], false);
    // A thousand, halved down to a thousandth.
    assert_eq!(json["steps"].as_array().map(Vec::len), Some(10));
    assert_eq!(json["steps"][0]["rate"], 500.0);
}

#[test]
fn a_sweep_makes_a_curve() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = loadgen("sweep", "--rates 500,1000", folder.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json = json(folder.path());
    assert_eq!(json["schema"], "corelane-loadgen/sweep/1");
    let offered = |run: usize| json["runs"][run]["settings"]["rate"].as_f64();
    assert_eq!((offered(0), offered(1)), (Some(500.0), Some(1000.0)));
    let page = page(folder.path());
    assert!(page.contains("Latency over throughput") && page.contains("<svg"));
    // Nothing is loaded from elsewhere.
    for outside in ["<script", "<link", "src=", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_replay_reports_both_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = loadgen("replay", "--rate 1000 --replay 1", folder.path());
    // A busy machine may make the numbers invalid, not the run unsound.
    assert!(
        [Some(0), Some(3)].contains(&output.status.code()),
        "{output:?}"
    );
    let json = json(folder.path());
    let runs = &json["runs"];
    assert_eq!(runs[0]["settings"]["replay_consumers"], 0);
    assert_eq!(runs[1]["settings"]["replay_consumers"], 1);
    for run in [0, 1] {
        assert_eq!(runs[run]["verification"]["clean"], true, "{json:#}");
    }
    assert!(said(&output).contains("during the replay"), "{output:?}");
}

#[test]
fn repeated_runs_can_be_compared_with_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = loadgen("run", "--repeat 3 --hlog result.hlog", folder.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        json(folder.path())["runs"].as_array().map(Vec::len),
        Some(3)
    );
    assert!(page(folder.path()).contains("Run 3 of 3"));
    let log = std::fs::read_to_string(folder.path().join("result.hlog")).expect("the log");
    assert!(log.contains("Tag=ack,"), "{log}");
    let compare = |threshold: &str| {
        let program = env!("CARGO_BIN_EXE_corelane-loadgen");
        let mut command = Command::new(program);
        command.args(["compare", "result.json", "result.json"]);
        command.args(["--threshold", threshold]);
        command
            .current_dir(folder.path())
            .output()
            .expect("it starts")
    };
    // Three runs may differ much among themselves; beside themselves they are not worse by all of it.
    let output = compare("1");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said(&output).contains("3 runs of A, 3 of B"), "{output:?}");
}
