//! What the program says and how it ends when it cannot do what it was asked to.

use std::net::TcpListener;
use std::process::{Command, Output};

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_corelane-loadgen"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn check(arguments: &[&str], status: i32, says: &str) {
    let output = loadgen(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    assert!(
        said.contains(says),
        "{arguments:?} says {said:?} and not {says:?}"
    );
}

#[test]
fn arguments_that_make_no_sense_end_with_2() {
    check(
        &["run", "--protocol", "native"],
        2,
        "--protocol native is not available yet",
    );
    check(
        &["run", "--record-size", "16"],
        2,
        "each carries its producer, sequence, send time and checksum in 32 bytes",
    );
    check(&["run", "--duration", "10"], 2, "has no unit");
    check(&[], 2, "Usage");
}

#[test]
fn a_broker_that_is_not_there_ends_with_1() {
    let free = TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let address = format!("127.0.0.1:{}", free.port());
    check(&["run", "--bootstrap", &address], 1, &address);
}

#[test]
fn a_server_that_is_not_there_ends_with_1() {
    check(
        &["run", "--spawn", "--server", "/nonexistent/corelane"],
        1,
        "name it with --server FILE",
    );
}

#[test]
fn help_explains_open_and_closed_loop() {
    let output = loadgen(&["run", "--help"]);
    let help = String::from_utf8_lossy(&output.stdout);
    for word in [
        "--bootstrap",
        "--spawn",
        "--rate",
        "--topic-config",
        "--json",
        "open",
        "closed",
        "Examples:",
    ] {
        assert!(help.contains(word), "the help lacks {word}");
    }
}
