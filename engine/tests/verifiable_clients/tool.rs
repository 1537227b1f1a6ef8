//! A running `VerifiableProducer` or `VerifiableConsumer`, whose lines go into the ledger as they come.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use serde_json::Value;

use crate::{
    ledger::{Ledger, Place},
    support::{clients::kafka_class, server::Server},
};

pub(crate) type Shared = Arc<Mutex<Ledger>>;

/// The ledger; also after a panic of a reader, which is told by `Tool::join`.
pub(crate) fn lock(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process. Dropping it kills it.
pub(crate) struct Tool {
    process: Child,
    /// Gives how many sends failed.
    reader: Option<JoinHandle<u64>>,
}

impl Tool {
    /// A producer that sends `rate` records a second, each a number after `prefix`, to partitions of its choice.
    pub(crate) fn producer(
        server: &Server,
        ledger: &Shared,
        prefix: u32,
        rate: u32,
        settings: &Path,
    ) -> Self {
        let mut command = tool("VerifiableProducer", server, settings);
        command
            .args(["--value-prefix", &prefix.to_string()])
            .args(["--throughput", &rate.to_string()]);
        Self::start(command, server, ledger, prefix)
    }

    /// A member of the group, by a number that no other has had.
    pub(crate) fn consumer(
        server: &Server,
        ledger: &Shared,
        number: u32,
        arguments: &[&str],
        settings: &Path,
    ) -> Self {
        let mut command = tool("VerifiableConsumer", server, settings);
        command
            .args(["--group-id", crate::GROUP, "--verbose"])
            .args(["--reset-policy", "earliest"])
            .args(arguments);
        Self::start(command, server, ledger, number)
    }

    fn start(mut command: Command, server: &Server, ledger: &Shared, number: u32) -> Self {
        let errors = server.folder().join(format!("tool-{number}.err"));
        let errors = File::create(errors).expect("a file for the tool's log");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let output = process.stdout.take().expect("piped");
        let ledger = Arc::clone(ledger);
        let said = server.folder().join(format!("tool-{number}.out"));
        let said = File::create(said).expect("a file for what the tool says");
        let reader = thread::spawn(move || read(output, said, &ledger, number));
        Self {
            process,
            reader: Some(reader),
        }
    }

    /// SIGKILL; all that it said before is in the ledger.
    pub(crate) fn kill_9(mut self) {
        self.assert_alive();
        self.process.kill().expect("a child can be killed");
        self.join();
    }

    /// SIGTERM, and waits until it has ended. Gives how many sends failed.
    pub(crate) fn stop(mut self) -> u64 {
        self.assert_alive();
        let pid = self.process.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -TERM $0", &pid])
            .status()
            .expect("a shell can be run");
        assert!(sent.success(), "the tool was gone");
        self.join()
    }

    /// Fails the test if it has ended, or said what cannot be true.
    pub(crate) fn assert_alive(&mut self) {
        if self.reader.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join();
            panic!("a tool ended by itself; its log is in the folder of the test");
        }
    }

    fn join(&mut self) -> u64 {
        let reader = self.reader.take().expect("joined once");
        let said = reader.join();
        self.process.wait().expect("a child can be waited for");
        said.expect("what the tool says is true")
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tool(class: &str, server: &Server, settings: &Path) -> Command {
    let mut command = kafka_class(&format!("org.apache.kafka.tools.{class}"));
    command
        .args(["--bootstrap-server", server.bootstrap()])
        .args(["--topic", crate::TOPIC])
        .arg("--command-config")
        .arg(settings);
    command
}

/// Reads to the end, and keeps what was read. A line that a kill cut short is no line.
fn read(output: impl Read, mut said: File, ledger: &Shared, number: u32) -> u64 {
    let mut failed_sends = 0;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        writeln!(said, "{line}").expect("the words can be kept");
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let mut ledger = lock(ledger);
        let value = || event["value"].as_str().expect("a value");
        match event["name"].as_str().expect("a name") {
            "producer_send_success" => ledger.acknowledge(place(&event), value()),
            "producer_send_error" => failed_sends += 1,
            "partitions_assigned" => {
                each(&event["partitions"], |one| {
                    ledger.assign(number, partition(one));
                });
            }
            "partitions_revoked" => {
                each(&event["partitions"], |one| {
                    ledger.revoke(number, partition(one));
                });
            }
            "record_data" => ledger.consume(number, place(&event), value()),
            "offsets_committed" if event["success"] == true => {
                each(&event["offsets"], |one| ledger.commit(number, place(one)));
            }
            "offsets_committed" => ledger.refuse_commit(),
            _ => {}
        }
    }
    lock(ledger).end(number);
    failed_sends
}

fn each(list: &Value, with: impl FnMut(&Value)) {
    list.as_array().expect("a list").iter().for_each(with);
}

fn partition(event: &Value) -> i32 {
    let partition = event["partition"].as_i64().expect("a partition");
    partition.try_into().expect("a small number")
}

fn place(event: &Value) -> Place {
    let offset = event["offset"].as_i64().expect("an offset");
    (partition(event), offset)
}
