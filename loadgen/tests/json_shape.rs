//! The JSON that programs read keeps its shape: the fields that are promised are there, with the types promised.

use clap::Parser;
use corelane_loadgen::cli::args::{Cli, Command};
use corelane_loadgen::cli::plan::Plan;
use corelane_loadgen::clock::SECOND_NS;
use corelane_loadgen::report::host::Host;
use corelane_loadgen::report::measure::{Amount, Measurement, Sent, Window};
use corelane_loadgen::report::summary::{Method, Outcome, Processors, Summary, WindowSummary};
use corelane_loadgen::report::table;
use corelane_loadgen::report::timeline::Timeline;
use corelane_loadgen::verify::ledger::{
    Balance, ConsumedPartition, ProducedStream, StreamId, settle,
};
use serde_json::Value;

fn plan(arguments: &str) -> Plan {
    let all = ["corelane-loadgen", "run"]
        .into_iter()
        .chain(arguments.split_whitespace());
    let Command::Run(args) = Cli::try_parse_from(all).expect("sound arguments").command else {
        unreachable!("the first argument is run")
    };
    Plan::new(*args, &"0-1".parse().expect("a core list"), 1).expect("a sound plan")
}

const WINDOW: Window = Window {
    start_ns: 0,
    end_ns: 2 * SECOND_NS,
};

/// A hundred batches of ten records, each answered after a millisecond and sent `lag_ns` late.
fn measurement(lag_ns: u64) -> Measurement {
    let mut measurement = Measurement::new(WINDOW);
    let amount = Amount {
        records: 10,
        bytes: 1_000,
    };
    for batch in 0..100 {
        let intended_ns = batch * 10_000_000;
        let sent = Sent {
            intended_ns,
            sent_ns: intended_ns + lag_ns,
            held_back: false,
        };
        measurement.sent(&sent, 10);
        measurement.acknowledged(&sent, intended_ns + lag_ns + 1_000_000, amount);
        measurement.received(intended_ns + 2_000_000, amount);
        measurement.received_end_to_end(intended_ns, intended_ns + 2_000_000, 10);
    }
    measurement
}

fn outcome(measurement: Measurement, balance: Balance, method: Method) -> Outcome {
    Outcome {
        measurement,
        balance,
        method,
        notes: Vec::new(),
        produce_errors: Vec::new(),
        consume_errors: Vec::new(),
        bootstrap: vec!["127.0.0.1:9092".to_owned()],
        partitions: 4,
        window: WindowSummary {
            started_at_unix_ms: 1,
            warmup_s: 2.0,
            duration_s: 2.0,
            drain_s: 0.1,
        },
        processors: Processors::default(),
        interrupted: false,
        timeline: Timeline::default(),
        host: Host::default(),
        limits: None,
    }
}

fn books(seen: std::ops::Range<u64>) -> (ProducedStream, ConsumedPartition) {
    let mut produced = ProducedStream::new(StreamId {
        producer: 0,
        partition: 0,
    });
    produced.take(1_000);
    produced.acknowledge(0, 1_000).expect("one interval");
    let mut consumed = ConsumedPartition::new(0);
    consumed.see(0, seen.start, seen.end).expect("one interval");
    (produced, consumed)
}

fn json(summary: &Summary) -> Value {
    serde_json::to_value(summary).expect("plain data")
}

#[test]
fn what_is_promised_is_there() {
    let (produced, consumed) = books(0..1_000);
    let balance = settle(&[produced], Some(&[consumed]));
    let summary = Summary::new(
        &plan("--rate 500"),
        &outcome(measurement(10_000), balance, Method::Consumers),
    );
    let json = json(&summary);
    let table = "
        /schema                                     | \"corelane-loadgen/run/1\"
        /mode                                       | \"open\"
        /valid                                      | true
        /produced/records_per_second                | 500.0
        /produced/bytes_per_second                  | 50000.0
        /produced/spread/seconds                    | 1
        /consumed/records_per_second                | 500.0
        /consumed/bytes_per_second                  | 50000.0
        /verification/method                        | \"consumers\"
        /verification/clean                         | true
        /verification/acknowledged                  | 1000
        /verification/lost                          | 0
        /verification/duplicated                    | 0
        /verification/reordered                     | 0
        /verification/corrupt                       | 0
        /settings/record_size_bytes                 | 100
        /settings/acks                              | \"all\"
        /window/duration_s                          | 2.0
    ";
    for line in table.lines().filter(|line| line.contains('|')) {
        let (pointer, expected) = line.split_once('|').expect("two cells");
        let got = json.pointer(pointer.trim()).map(ToString::to_string);
        assert_eq!(got.as_deref(), Some(expected.trim()), "{pointer}");
    }
    let latencies = [
        ("/produced/ack_latency_us", 1_010.0),
        ("/produced/service_time_us", 1_000.0),
        ("/produced/schedule_lag_us", 10.0),
        ("/consumed/end_to_end_latency_us", 2_000.0),
    ];
    for (pointer, expected) in latencies {
        for percentile in ["p50", "p90", "p99", "p999", "p9999", "max"] {
            let got = json
                .pointer(&format!("{pointer}/{percentile}"))
                .and_then(Value::as_f64)
                .expect(pointer);
            assert!(
                (got - expected).abs() <= expected * 0.002,
                "{pointer}/{percentile}: {got}"
            );
        }
    }
}

#[test]
fn a_generator_that_lags_makes_the_run_invalid() {
    let summary = Summary::new(
        &plan("--rate 500 --consumers 0"),
        &outcome(measurement(500_000), Balance::default(), Method::None),
    );
    assert!(!summary.valid);
    assert!(
        summary.remarks[0].contains("schedule lag p99"),
        "{:?}",
        summary.remarks
    );
    assert!(table::render(&summary).contains("INVALID: schedule lag"));
    // A closed loop has no schedule to lag behind.
    let closed = Summary::new(
        &plan(""),
        &outcome(measurement(500_000), Balance::default(), Method::None),
    );
    assert!(closed.valid);
    assert_eq!(json(&closed)["mode"], "closed");
}

#[test]
fn what_was_not_looked_at_is_null() {
    let (produced, _) = books(0..1);
    let balance = settle(&[produced], None);
    let summary = Summary::new(
        &plan("--consumers 0"),
        &outcome(Measurement::new(WINDOW), balance, Method::None),
    );
    let json = json(&summary);
    assert_eq!(json["verification"]["acknowledged"], 1_000);
    for pointer in [
        "/verification/lost",
        "/verification/corrupt",
        "/consumed/end_to_end_latency_us/p99",
    ] {
        assert_eq!(json.pointer(pointer), Some(&Value::Null), "{pointer}");
    }
    assert!(table::render(&summary).contains("loss was not looked for"));
}

#[test]
fn loss_fails_the_run_and_names_the_gap() {
    let (produced, consumed) = books(0..990);
    let balance = settle(&[produced], Some(&[consumed]));
    let summary = Summary::new(
        &plan(""),
        &outcome(measurement(0), balance, Method::Consumers),
    );
    assert!(!summary.succeeded());
    let shown = table::render(&summary);
    assert!(
        shown.contains("10 lost") && shown.contains("FAILED"),
        "{shown}"
    );
    assert!(
        shown.contains("partition 0, producer 0: 990 to 999 are missing"),
        "{shown}"
    );
}
