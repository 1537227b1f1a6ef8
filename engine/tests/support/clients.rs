//! Client programs in other languages, run against a server to the end.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::server::{Server, repository};

/// The slowest program takes half a minute on two cores; this only ends a test that would hang.
const DEADLINE: Duration = Duration::from_mins(7);

/// The folder of the programs' sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// What `setup` installed.
fn installed(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("inside the target folder");
    let path = target.join("clients").join(name);
    assert!(
        path.exists(),
        "{} is missing: run engine/tests/clients/setup once, which installs the clients that the tests use",
        path.display()
    );
    path
}

/// Runs one of `clients/python`.
pub(crate) fn run_python(program: &str, server: &Server) {
    let mut command = Command::new(installed("venv").join("bin/python"));
    command
        .arg(sources().join("python").join(program))
        .arg(server.bootstrap());
    command
        .env("CORELANE_TEST_JARS", installed("java"))
        .env("CORELANE_TEST_FOLDER", server.folder());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    drop(run(command, program, server));
}

/// Runs one of `clients/java`.
pub(crate) fn run_java(program: &str, server: &Server) {
    let mut command = java();
    command
        .arg(sources().join("java").join(program))
        .arg(server.bootstrap());
    drop(run(command, program, server));
}

/// Runs one of `clients/node`.
pub(crate) fn run_node(program: &str, server: &Server) {
    let mut command = Command::new("node");
    command
        .arg(sources().join("node").join(program))
        .arg(server.bootstrap())
        .env("NODE_PATH", installed("node").join("node_modules"))
        .env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
    drop(run(command, program, server));
}

/// Runs a suite of `clients/go`, built with one of its versions of franz-go, or with `kafka-go`. Says so and does nothing
/// where the Go that `setup` found cannot build that version.
pub(crate) fn run_go(version: &str, suite: &str, server: &Server) {
    let missing = fs::read_to_string(installed("go").join("missing")).unwrap_or_default();
    if missing.lines().any(|line| line == version) {
        println!("left out: this Go is too old for {version}");
        return;
    }
    let program = match (version, suite) {
        ("kafka-go", "groups") => "kafka_go_groups_checks.go",
        ("kafka-go", _) => "kafka_go_checks.go",
        (_, "groups") => "franz_go_groups_checks.go",
        _ => "franz_go_checks.go",
    };
    let mut command = Command::new(installed("go").join(version).join("checks"));
    command.args([suite, server.bootstrap()]);
    let marked = format!("{program}@{version}");
    drop(run(command, &marked, server));
}

/// Runs one of Kafka's own programs, by the name of its class, and gives what it printed.
pub(crate) fn run_kafka_class(class: &str, arguments: &[&str], server: &Server) -> String {
    let mut command = java();
    command
        .arg(class)
        .args(["--bootstrap-server", server.bootstrap()])
        .args(arguments);
    run(command, class, server)
}

/// One of Kafka's own programs, by the name of its class: small, as several run at once.
pub(crate) fn kafka_class(class: &str) -> Command {
    let mut command = java();
    command.args(["-XX:TieredStopAtLevel=1", "-Xmx128m", class]);
    command
}

/// The version of Kafka's own programs.
pub(crate) fn kafka_version() -> String {
    let mut names = fs::read_dir(installed("java")).expect("the jars can be listed");
    let named = |name: String| {
        let version = name.strip_prefix("kafka-tools-")?.strip_suffix(".jar")?;
        Some(version.to_owned())
    };
    names
        .find_map(|entry| named(entry.ok()?.file_name().into_string().ok()?))
        .expect("kafka-tools is there")
}

fn java() -> Command {
    let java = sources().join("java");
    let mut command = Command::new("java");
    command.arg("-XX:+UseSerialGC").arg("-Xmx768m");
    command.arg(format!(
        "-Dlog4j2.configurationFile={}",
        java.join("log4j2.properties").display()
    ));
    command
        .arg("-cp")
        .arg(format!("{}/*", installed("java").display()));
    command
}

/// What it printed.
fn run(mut command: Command, program: &str, server: &Server) -> String {
    let output_path = server.folder().join(format!("{program}.out"));
    let output = File::create(&output_path).expect("a file for the program's output");
    let errors = output.try_clone().expect("a second handle of it");
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    // Cargo's names the folder of the librdkafka that the rdkafka crate built; kcat must have the one it came with.
    command.env_remove("LD_LIBRARY_PATH");
    let mut process = command.spawn().unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; run engine/tests/clients/setup once, which installs what is missing")
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().expect("a child can be waited for") {
            break Some(status);
        }
        if start.elapsed() > DEADLINE {
            let _ = process.kill();
            let _ = process.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let printed = fs::read(&output_path).unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    println!("{printed}");
    match status {
        Some(status) => {
            assert!(
                status.success(),
                "{program} ended with {status}; what it printed is above"
            );
            record(program, server, &printed);
        }
        None => panic!("{program} did not end within {DEADLINE:?}; what it printed is above"),
    }
    printed
}

/// Keeps what a client's program said of itself and of its checks, for the table in docs/COMPATIBILITY.md that
/// `clients/table` makes. Lines that count: `client NAME VERSION`, and `ok CHECK (SECONDS s)` without the seconds. Of a
/// program that does not name itself nothing is kept.
pub(crate) fn record(program: &str, server: &Server, printed: &str) {
    if !printed.lines().any(|line| line.starts_with("client ")) {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("inside the target folder")
        .join("clients/checked");
    fs::create_dir_all(&folder).expect("a folder for the outcomes");
    let mut kept = String::new();
    for line in printed.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("client"), Some(_)) => kept.push_str(line),
            (Some("ok"), Some(check)) => kept.extend(["ok ", check]),
            _ => continue,
        }
        kept.push('\n');
    }
    let path = folder.join(format!("{program}.{}.txt", server.mode()));
    fs::write(path, kept).expect("the outcomes can be kept");
}

/// The version of a crate that these tests were built with.
pub(crate) fn crate_version(name: &str) -> String {
    let lock = fs::read_to_string(repository().join("Cargo.lock")).expect("Cargo.lock");
    let (_, after) = lock
        .split_once(&format!("name = \"{name}\"\nversion = \""))
        .expect("it is locked");
    after.split('"').next().unwrap_or_default().to_owned()
}

/// Fails with advice if kcat is not installed.
pub(crate) fn require_kcat() {
    let found = env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join("kcat").exists()));
    assert!(
        found,
        "kcat is missing: run engine/tests/clients/setup once, which installs it"
    );
}
