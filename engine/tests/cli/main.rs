//! The commands of the binary against a running server, as a person and a script see them.

#[path = "../support/mod.rs"]
mod support;

mod consume;
mod dump;
mod groups;
mod produce;
mod serve;
mod topics;
mod verify;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use support::server::Server;

/// What a command came to.
struct Ran {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Exit code 1, and a last line on standard error that holds all of `parts`.
    #[track_caller]
    fn failed_saying(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: "), "{}", self.stderr);
        for part in parts {
            assert!(last.contains(part), "{part:?} is not in: {last}");
        }
        self
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// Standard output as JSON, one value a line.
    fn values(&self) -> Vec<Value> {
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.lines().iter().map(parse).collect()
    }

    fn value(&self) -> Value {
        let values = self.values();
        assert_eq!(values.len(), 1, "{}", self.text());
        values[0].clone()
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command that needs no server, or says for itself where that is.
fn run(arguments: &[&str]) -> Ran {
    Ran::of(
        command(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs"),
    )
}

fn client(server: &Server, arguments: &[&str]) -> Ran {
    client_with_input(server, arguments, b"")
}

fn client_with_input(server: &Server, arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = spawn_client(server, arguments);
    let mut stdin = child.stdin.take().expect("piped");
    // A command that fails early closes its end.
    let _ = stdin.write_all(input);
    drop(stdin);
    Ran::of(child.wait_with_output().expect("the command ends"))
}

fn spawn_client(server: &Server, arguments: &[&str]) -> Child {
    command(arguments)
        .args(["--bootstrap", server.bootstrap()])
        .spawn()
        .expect("the binary runs")
}

fn create_topic(server: &Server, name: &str, partitions: &str) {
    client(
        server,
        &["topic", "create", name, "--partitions", partitions],
    )
    .succeeded();
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
