//! `corelane serve`: starts that cannot work, and ends in order; and the doctor, which is asked first.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::Command,
};

use crate::{
    Ran, command, create_topic, folder, run,
    support::{
        ports,
        server::{Listen, Server, is_kafka},
    },
    text,
};

/// Runs `serve`, which must fail with a last line that holds all of `parts`.
#[track_caller]
fn refuses_to_serve(arguments: &[&str], parts: &[&str]) {
    let ran = run(&[&["serve"], arguments].concat()).failed_saying(parts);
    assert_eq!(ran.text(), "", "nothing is ready");
}

#[test]
fn a_start_that_cannot_work_says_why_and_leaves_nothing_half_made() {
    let folder = folder("starts");
    let data = folder.join("data");
    let port = ports::free_in_a_row(4);
    let ports = port.to_string();
    let here = [
        "--data-dir",
        text(&data),
        "--base-port",
        &ports,
        "--cores",
        "0",
    ];

    let taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    refuses_to_serve(&here, &[&ports, "in use", "--base-port"]);
    refuses_to_serve(
        &[&here[..], &["--listen", "shared"]].concat(),
        &[&ports, "in use", "--base-port"],
    );
    drop(taken);
    refuses_to_serve(
        &[&here[..], &["--set", "num.partition=3"]].concat(),
        &["num.partition", "num.partitions"],
    );
    refuses_to_serve(
        &[&here[..], &["--set", "num.partitions=many"]].concat(),
        &["num.partitions", "many"],
    );
    refuses_to_serve(
        &[&here[..], &["--host", "0.0.0.0"]].concat(),
        &["0.0.0.0", "--insecure"],
    );
    refuses_to_serve(
        &[&here[..], &["--log-level", "lots"]].concat(),
        &["--log-level", "lots"],
    );
    refuses_to_serve(
        &[&here[..4], &["--cores", "1000"]].concat(),
        &["1000", "--cores"],
    );
    let missing = folder.join("missing.toml");
    refuses_to_serve(
        &[&here[..], &["--config", text(&missing)]].concat(),
        &["missing.toml"],
    );
    let config = folder.join("config.toml");
    fs::write(&config, "colour = \"blue\"\n").expect("written");
    refuses_to_serve(
        &[&here[..], &["--config", text(&config)]].concat(),
        &["colour", "config.toml"],
    );
    assert!(
        !data.exists(),
        "a start that failed before it began made the data directory"
    );

    fs::write(&data, b"a file").expect("written");
    refuses_to_serve(&here, &["data"]);
    assert_eq!(fs::read(&data).expect("still a file"), b"a file");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_data_directory_serves_one_server_at_a_time() {
    if is_kafka() {
        return;
    }
    let server = Server::start("cli-locked", Listen::PerCore);
    let data = server.folder().join("data");
    refuses_to_serve(
        &[
            "--data-dir",
            text(&data),
            "--base-port",
            "0",
            "--cores",
            "0",
        ],
        &["in use by another server", "--data-dir"],
    );
    create_topic(&server, "t", "1");
}

#[test]
fn a_signal_ends_a_server_in_order_and_its_output_is_one_line() {
    let folder = folder("signals");
    let config = folder.join("config.toml");
    fs::write(&config, "num.partitions = 4\nbase_port = 0\n").expect("written");
    let data = folder.join("data");
    for signal in ["-INT", "-TERM"] {
        let arguments = [
            "serve",
            "--config",
            text(&config),
            "--data-dir",
            text(&data),
            "--cores",
            "0",
        ];
        let mut server = command(&arguments).spawn().expect("the binary runs");
        let mut output = BufReader::new(server.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let address = line
            .strip_prefix("ready ")
            .unwrap_or_else(|| panic!("{line:?}"))
            .trim_end()
            .to_owned();
        assert!(
            address.starts_with("127.0.0.1:") && !address.contains(','),
            "{line:?}"
        );

        let topic = [
            "topic",
            "create",
            "t",
            "--if-not-exists",
            "--bootstrap",
            &address,
        ];
        run(&topic).succeeded();
        let described = run(&["topic", "describe", "t", "--json", "--bootstrap", &address])
            .succeeded()
            .value();
        assert_eq!(
            described[0]["partitions"].as_array().map(Vec::len),
            Some(4),
            "the file's setting counts"
        );

        let pid = server.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .expect("kill runs")
                .success()
        );
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("the rest");
        assert_eq!(rest, "");
        let ran = Ran::of(server.wait_with_output().expect("ends")).succeeded();
        assert!(ran.stderr.contains("stopped in order"), "{}", ran.stderr);
    }
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn the_doctor_answers_for_this_machine() {
    let folder = folder("doctor");
    let data = folder.join("data");
    let examined = run(&["doctor", "--data-dir", text(&data), "--json"])
        .succeeded()
        .value();
    let names: Vec<_> = examined
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|check| check["name"].as_str())
        .collect();
    for expected in ["kernel", "io_uring", "memlock", "open files", "direct I/O"] {
        assert!(names.contains(&expected), "{names:?}");
    }
    assert!(!data.exists(), "the doctor only looks");
    let ran = run(&["doctor", "--data-dir", "/proc/corelane"]);
    assert_eq!(ran.code, Some(1), "{}", ran.text());
    assert!(ran.text().contains("What to do:"), "{}", ran.text());
    fs::remove_dir_all(&folder).expect("removed");
}
