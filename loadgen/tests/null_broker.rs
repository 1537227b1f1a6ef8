//! What a run reports about a broker that misbehaves: one that stands still must show in the percentiles, and one that
//! loses, doubles or swaps batches must be caught. The broker is the null server, told to keep what it gets and to do
//! one thing wrong.

use std::process::Command;
use std::time::Duration;

use corelane_loadgen::null::broker::{Behaviour, Stall};
use corelane_loadgen::null::logs::Faults;
use corelane_loadgen::null::server::NullServer;
use serde_json::Value;

/// Runs the program against a broker that behaves so. Returns the exit status and the JSON.
fn run(behaviour: Behaviour, arguments: &str) -> (Option<i32>, Value) {
    let server = NullServer::start(0, behaviour).expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result.json");
    let output = Command::new(env!("CARGO_BIN_EXE_corelane-loadgen"))
        .args(["run", "--bootstrap", &server.address()])
        .args(["--producers", "1", "--partitions", "1", "--warmup", "0"])
        .arg("--json")
        .arg(&file)
        .args(arguments.split_whitespace())
        .output()
        .expect("the program starts");
    let json = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (
        output.status.code(),
        serde_json::from_str(&json).expect("valid JSON"),
    )
}

fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{pointer} is no number in {json:#}"))
}

/// Two hundred batches a second for two seconds, and the broker stands still for one of them from the hundredth
/// batch on. The schedule says that two hundred batches are due meanwhile, evenly, so half of all must wait, and a
/// quarter of all for half a second or more, whatever the machine is like. A generator that waits for the broker
/// before it sends would have sent, and so timed, the few that fit its window.
#[test]
fn a_broker_that_stands_still_shows_in_the_percentiles() {
    let stall = Stall {
        at_batch: 100,
        lasts: Duration::from_secs(1),
    };
    let behaviour = Behaviour {
        keeps: true,
        stall: Some(stall),
        ..Behaviour::default()
    };
    let (status, json) = run(
        behaviour,
        "--rate 200 --batch-records 1 --in-flight 2 --duration 2s --consumers 1",
    );
    let latency = "/produced/ack_latency_us";
    assert!(
        number(&json, &format!("{latency}/count")) >= 399.0,
        "{json:#}"
    );
    assert!(
        number(&json, &format!("{latency}/p90")) >= 750_000.0,
        "{json:#}"
    );
    assert!(
        number(&json, &format!("{latency}/max")) >= 990_000.0,
        "{json:#}"
    );
    // Consumers see it too: they get what was sent late.
    assert!(number(&json, "/consumed/end_to_end_latency_us/p90") >= 750_000.0);
    // The time a batch took once it was sent hides most of it: two batches were in flight.
    assert!(
        number(&json, "/produced/service_time_us/p50") < number(&json, &format!("{latency}/p90"))
    );
    // The lateness is the broker's, and the run says that its numbers are to be read with care.
    assert_eq!(json["valid"], false);
    assert!(
        json["remarks"][0]
            .as_str()
            .is_some_and(|remark| remark.contains("in-flight window full")),
        "{json:#}"
    );
    assert_eq!(json["verification"]["clean"], true);
    assert_eq!(status, Some(3));
}

/// Batches of ten records; the fifth is mistreated.
fn faults(faults: Faults) -> (Option<i32>, [u64; 4]) {
    let behaviour = Behaviour {
        keeps: true,
        faults,
        stall: None,
    };
    let (status, json) = run(
        behaviour,
        "--rate 1000 --batch-records 10 --duration 200ms --consumers 1 --fan-out 2",
    );
    let verification = &json["verification"];
    assert_eq!(verification["acknowledged"], 200, "{json:#}");
    let count = |name: &str| verification[name].as_u64().expect("a count");
    let counts = ["lost", "duplicated", "reordered", "corrupt"].map(count);
    assert_eq!(verification["clean"], counts == [0; 4]);
    (status, counts)
}

#[test]
fn a_sound_broker_is_clean() {
    let (status, counts) = faults(Faults::default());
    assert_eq!(counts, [0; 4]);
    // On a busy machine the generator may be late, which is no fault of the broker's.
    assert!([Some(0), Some(3)].contains(&status), "{status:?}");
}

#[test]
fn planted_loss_is_found_by_both_sets_of_consumers() {
    let planted = Faults {
        drop_batch: Some(4),
        ..Faults::default()
    };
    assert_eq!(faults(planted), (Some(1), [20, 0, 0, 0]));
}

#[test]
fn planted_duplicates_are_found() {
    let planted = Faults {
        double_batch: Some(4),
        ..Faults::default()
    };
    assert_eq!(faults(planted), (Some(1), [0, 20, 0, 0]));
}

#[test]
fn planted_reordering_is_found() {
    let planted = Faults {
        swap_batch: Some(4),
        ..Faults::default()
    };
    assert_eq!(faults(planted), (Some(1), [0, 0, 20, 0]));
}
