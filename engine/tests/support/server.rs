//! A server process under test: the built `corelane`, or Apache Kafka where the test itself is to be proven right.
//!
//! With `CORELANE_TEST_KAFKA=1` in the environment every test runs against Apache Kafka (see `benches/compare/kafka`)
//! instead. A test that fails there expects something that Kafka does not do.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::ports;

/// A debug build on a busy machine, or a JVM: this only ends a test that would hang.
const DEADLINE: Duration = Duration::from_secs(90);
const CORES_MAX: u16 = 8;

/// How a server's lanes are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// A node and a port for each core.
    PerCore,
    /// One port for all cores.
    Shared,
}

impl Listen {
    fn flag(self) -> &'static str {
        match self {
            Self::PerCore => "per-core",
            Self::Shared => "shared",
        }
    }
}

/// A server process. Dropping it kills it; its folder is kept if the test failed, and removed if not.
pub(crate) struct Server {
    folder: PathBuf,
    base_port: u16,
    cores: usize,
    listen: Listen,
    settings: Vec<String>,
    failure_expected: bool,
    running: Option<Running>,
}

struct Running {
    process: Child,
    bootstrap: String,
}

/// Whether the tests run against Kafka.
pub(crate) fn is_kafka() -> bool {
    env::var_os("CORELANE_TEST_KAFKA").is_some_and(|value| value == "1")
}

/// The cores this process may use.
pub(crate) fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .expect("the kernel says which cores are allowed");
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bound = |text: &str| text.parse::<usize>().expect("a list of cores");
        cores.extend(bound(first)..=bound(last));
    }
    cores
}

impl Server {
    /// Starts a server named after the test, on at most two cores, with nothing in its data folder.
    pub(crate) fn start(name: &str, listen: Listen) -> Self {
        Self::start_with(name, listen, 2, &[])
    }

    /// Starts a server on `cores` cores (fewer if the machine has fewer) with settings of the form `key=value`.
    pub(crate) fn start_with(name: &str, listen: Listen, cores: usize, settings: &[&str]) -> Self {
        let base_port = ports::free_in_a_row(CORES_MAX);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}-{base_port}", listen.flag()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the test");
        let mut server = Self {
            folder,
            base_port,
            cores,
            listen,
            settings: settings.iter().map(ToString::to_string).collect(),
            failure_expected: false,
            running: None,
        };
        server.start_again();
        server
    }

    /// Starts the stopped server on the same data and ports.
    pub(crate) fn start_again(&mut self) {
        assert!(self.running.is_none(), "the server still runs");
        let mut process = self.spawn();
        let output = process.stdout.take().expect("piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            // Read to the end: a server must never block on its own stdout.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(addresses) = line.strip_prefix("ready") {
                    let _ = sender.send(addresses.trim().to_owned());
                }
            }
        });
        let start = Instant::now();
        let ready = loop {
            match receiver.recv_timeout(Duration::from_millis(50)) {
                Ok(addresses) => break Ok(addresses),
                Err(_) if start.elapsed() > DEADLINE => {
                    break Err(format!("not ready within {DEADLINE:?}"));
                }
                Err(_) => {
                    if let Some(status) = process.try_wait().expect("a child can be waited for") {
                        break Err(format!("ended with {status} before it was ready"));
                    }
                }
            }
        };
        match ready {
            Ok(bootstrap) => {
                assert!(
                    bootstrap.contains(':'),
                    "the ready line names no address: {bootstrap:?}"
                );
                self.running = Some(Running { process, bootstrap });
            }
            Err(problem) => {
                let _ = process.kill();
                let _ = process.wait();
                panic!(
                    "the server: {problem}; its log ends with:\n{}",
                    self.log_tail()
                );
            }
        }
    }

    /// Starts the stopped server on the same data with another number of cores and another way to listen.
    pub(crate) fn start_again_with(&mut self, listen: Listen, cores: usize) {
        (self.listen, self.cores) = (listen, cores);
        self.start_again();
    }

    /// Adds a setting of the form `key=value` for the next start.
    pub(crate) fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Starts the stopped server, which must end by itself; gives the end of its log.
    pub(crate) fn fails_to_start(&mut self) -> String {
        let mut process = self.spawn();
        let status = wait(&mut process);
        if status.is_none() {
            let _ = process.kill();
        }
        assert!(
            status.is_some_and(|status| !status.success()),
            "it started: {status:?}"
        );
        self.log_tail()
    }

    fn spawn(&self) -> Child {
        let data = self.folder.join("data");
        let mut command = if is_kafka() {
            let mut kafka = Command::new(repository().join("benches/compare/kafka"));
            kafka
                .arg("--flushed")
                .arg("--port")
                .arg(self.base_port.to_string());
            kafka
        } else {
            let allowed = allowed_cores();
            let cores: Vec<_> = allowed
                .iter()
                .take(self.cores)
                .map(ToString::to_string)
                .collect();
            let mut corelane = Command::new(env!("CARGO_BIN_EXE_corelane"));
            corelane.args([
                "serve",
                "--host",
                "127.0.0.1",
                "--listen",
                self.listen.flag(),
                "--admin-address",
                "off",
            ]);
            corelane.args([
                "--base-port",
                &self.base_port.to_string(),
                "--cores",
                &cores.join(","),
            ]);
            corelane
        };
        command.arg("--data-dir").arg(data);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// The last lines that the server wrote to stderr.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The test means to fail: its folder need not be kept.
    pub(crate) fn expect_failure(&mut self) {
        self.failure_expected = true;
    }

    /// Every address that the server said it is ready at, with commas between them.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.running().bootstrap
    }

    /// One address of the server.
    pub(crate) fn address(&self) -> &str {
        self.bootstrap().split(',').next().unwrap_or_default()
    }

    /// The number of Kafka nodes that clients should see.
    pub(crate) fn nodes_expected(&self) -> usize {
        match self.listen {
            Listen::PerCore if !is_kafka() => self.cores.min(allowed_cores().len()),
            _ => 1,
        }
    }

    /// How its lanes are reached, as the option says it.
    pub(crate) fn mode(&self) -> &'static str {
        self.listen.flag()
    }

    /// A folder of this test, for files of its programs. Removed with the server's data.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.running().process.id()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the server runs")
    }

    /// Resident memory of the process.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS is told");
        let kibibytes: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("VmRSS is a number");
        kibibytes * 1024
    }

    /// Fails the test if the process has ended.
    pub(crate) fn assert_alive(&mut self) {
        let status = self
            .running
            .as_mut()
            .expect("started")
            .process
            .try_wait()
            .expect("a child can be waited for");
        if let Some(status) = status {
            panic!(
                "the server ended with {status}; its log ends with:\n{}",
                self.log_tail()
            );
        }
    }

    /// SIGTERM, and waits. Fails the test if the server does not end well.
    pub(crate) fn stop(&mut self) {
        let mut running = self.running.take().expect("the server runs");
        let pid = running.process.id().to_string();
        // The shell's own: a bare machine has no program of that name.
        let sent = Command::new("sh")
            .args(["-c", "kill -TERM $0", &pid])
            .status()
            .expect("a shell can be run");
        assert!(
            sent.success(),
            "the server was gone before it was told to stop:\n{}",
            self.log_tail()
        );
        let status = wait(&mut running.process);
        let Some(status) = status else {
            let _ = running.process.kill();
            panic!(
                "the server did not stop within {DEADLINE:?} of SIGTERM:\n{}",
                self.log_tail()
            );
        };
        // A JVM ends with 128 + SIGTERM even when it ended in order.
        assert!(
            status.success() || is_kafka(),
            "the server ended with {status}:\n{}",
            self.log_tail()
        );
    }

    /// SIGKILL: the process gets no chance to do anything more.
    pub(crate) fn kill_9(&mut self) {
        let mut running = self.running.take().expect("the server runs");
        running.process.kill().expect("a child can be killed");
        running.process.wait().expect("a child can be waited for");
    }
}

fn wait(process: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        if let Some(status) = process.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// The repository's root.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the engine lies in the repository")
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.process.kill();
            let _ = running.process.wait();
        }
        if thread::panicking() && !self.failure_expected {
            eprintln!(
                "kept: {}\nthe server's log ends with:\n{}",
                self.folder.display(),
                self.log_tail()
            );
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
