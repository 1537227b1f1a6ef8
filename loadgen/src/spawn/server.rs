//! The spawned server's process and folder.
//!
//! Invariants: the process is gone and its folder removed when [`SpawnedServer`] is stopped or dropped; should this
//! process be killed, the kernel ends the server too. Only a kill of this process leaves the folder behind.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use thiserror::Error;

use super::ready::ready_addresses;
use crate::cli::plan::SpawnPlan;

/// The server's binary beside our own.
const SERVER_NAME: &str = "corelane";
/// How long the server may take until it says that it serves.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// How often a process is looked at.
const POLL_EVERY: Duration = Duration::from_millis(10);
/// How much of the server's log an error shows.
const LOG_TAIL_BYTES: u64 = 2_000;

/// Why no server could be had.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// Nothing to start.
    #[error("there is no server at {}: build it (cargo build --release), or name it with --server FILE", path.display())]
    NoServer {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Nowhere to put its data.
    #[error("cannot make a temporary folder in {}: {source}; choose another with --spawn-dir DIR", directory.display())]
    Directory {
        /// Where it was tried.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No room on loopback.
    #[error("cannot find {count} free ports in a row on 127.0.0.1")]
    NoPorts {
        /// How many were needed.
        count: u16,
    },
    /// The system refused.
    #[error("cannot start {}: {source}", path.display())]
    Start {
        /// The binary.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It ended before it served.
    #[error("the server ended ({status}) before it was ready; its last words:\n{log}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It did not say that it serves.
    #[error("the server was not ready within {} s; its last words:\n{log}", READY_WITHIN.as_secs())]
    NotReady {
        /// The end of its log.
        log: String,
    },
    /// The user would not wait.
    #[error("interrupted")]
    Interrupted,
}

/// A running server.
#[derive(Debug)]
pub struct SpawnedServer {
    child: Child,
    bootstrap: Vec<String>,
    log: PathBuf,
    /// Removed when dropped, after the process is gone.
    directory: Option<TempDir>,
}

impl SpawnedServer {
    /// Starts a server and waits until it serves. `interrupted` ends the wait.
    pub fn start(plan: &SpawnPlan, interrupted: &dyn Fn() -> bool) -> Result<Self, SpawnError> {
        let path = match &plan.server {
            _ if plan.null => std::env::current_exe().unwrap_or_default(),
            Some(path) => path.clone(),
            None => beside_us(),
        };
        if !path.is_file() {
            return Err(SpawnError::NoServer { path });
        }
        let parent = plan.directory.clone().unwrap_or_else(default_directory);
        let directory = std::fs::create_dir_all(&parent)
            .and_then(|()| {
                tempfile::Builder::new()
                    .prefix("corelane-loadgen-")
                    .tempdir_in(&parent)
            })
            .map_err(|source| SpawnError::Directory {
                directory: parent,
                source,
            })?;
        let ports = u16::try_from(plan.cores.count()).unwrap_or(u16::MAX);
        let base_port = free_ports(ports)?;
        let log = directory.path().join("server.log");
        let start = |source| SpawnError::Start {
            path: path.clone(),
            source,
        };
        let log_file = File::create(&log).map_err(start)?;
        let mut command = Command::new(&path);
        let (port, cores) = (base_port.to_string(), plan.cores.to_string());
        if plan.null {
            command.args(["null-server", "--port", &port, "--cores", &cores]);
        } else {
            let data = directory.path().join("data").into_os_string();
            command
                .args(["serve", "--host", "127.0.0.1", "--base-port", &port])
                .args(["--cores", &cores])
                .args([OsString::from("--data-dir"), data]);
        }
        command
            .args(&plan.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            // A Ctrl-C at the terminal is for us; we stop the server when we are done with it.
            .process_group(0);
        end_with_this_process(&mut command);
        let mut child = command.spawn().map_err(start)?;
        let stdout = child.stdout.take();
        let mut server = Self {
            child,
            bootstrap: Vec::new(),
            log,
            directory: Some(directory),
        };
        server.bootstrap = server.wait_until_ready(stdout, interrupted)?;
        Ok(server)
    }

    fn wait_until_ready(
        &mut self,
        stdout: Option<impl Read + Send + 'static>,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<String>, SpawnError> {
        let (sender, receiver) = flume::bounded(1);
        // Reads to the end, so that a server that prints more never finds the pipe full.
        std::thread::spawn(move || {
            for line in stdout
                .into_iter()
                .flat_map(|stdout| BufReader::new(stdout).lines())
                .map_while(Result::ok)
            {
                if let Some(addresses) = ready_addresses(&line) {
                    // Only the first counts; nobody waits for a second.
                    let _ = sender.try_send(addresses);
                }
            }
        });
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(addresses) = receiver.recv_timeout(POLL_EVERY) {
                return Ok(addresses);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(SpawnError::Ended {
                    status,
                    log: self.log_tail(),
                });
            }
            if interrupted() {
                return Err(SpawnError::Interrupted);
            }
            if Instant::now() > deadline {
                return Err(SpawnError::NotReady {
                    log: self.log_tail(),
                });
            }
        }
    }

    /// Where it serves.
    pub fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Asks it to stop, waits, and removes its folder. Says what was not as it should be.
    pub fn stop(mut self) -> Option<String> {
        let complaint = self.stop_process();
        let removed = self.directory.take().map_or(Ok(()), TempDir::close);
        complaint.or_else(|| {
            removed
                .err()
                .map(|error| format!("its folder could not be removed: {error}"))
        })
    }

    fn stop_process(&mut self) -> Option<String> {
        if let Some(status) = self.ended() {
            return Some(format!(
                "the server had ended by itself ({status}):\n{}",
                self.log_tail()
            ));
        }
        terminate(&self.child);
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            match self.ended() {
                Some(status) if status.success() => return None,
                Some(status) => {
                    return Some(format!(
                        "the server ended with {status}:\n{}",
                        self.log_tail()
                    ));
                }
                None => std::thread::sleep(POLL_EVERY),
            }
        }
        self.kill();
        Some(format!(
            "the server did not stop within {} s and was killed",
            STOP_WITHIN.as_secs()
        ))
    }

    fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for SpawnedServer {
    fn drop(&mut self) {
        if self.directory.is_some() {
            self.kill();
        }
    }
}

/// The server's binary in the folder of this program.
fn beside_us() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().unwrap_or(Path::new(".")).join(SERVER_NAME)
}

fn default_directory() -> PathBuf {
    let target = PathBuf::from("target");
    if target.is_dir() {
        target
    } else {
        PathBuf::from(".")
    }
}

/// The first of `count` ports in a row that were free a moment ago. They lie below the range from which the system
/// takes ports for outgoing connections, so that none of those takes one before the server does.
fn free_ports(count: u16) -> Result<u16, SpawnError> {
    const RANGE: std::ops::Range<u64> = 20_000..32_000;
    // The standard library seeds its hashers from the system, which makes them a source of random numbers.
    let random = RandomState::new();
    for attempt in 0..200_u32 {
        let first = (RANGE.start + random.hash_one(attempt) % (RANGE.end - RANGE.start)) as u16;
        let Some(last) = first.checked_add(count.saturating_sub(1)) else {
            continue;
        };
        let all: Result<Vec<_>, _> = (first..=last)
            .map(|port| TcpListener::bind(("127.0.0.1", port)))
            .collect();
        if all.is_ok() {
            return Ok(first);
        }
    }
    Err(SpawnError::NoPorts { count })
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Asks a process to end.
#[allow(unsafe_code)]
fn terminate(child: &Child) {
    // SAFETY: `kill` touches no memory of ours. The process has not been waited for, so its id is still its own.
    unsafe {
        libc::kill(child.id() as libc::pid_t, libc::SIGTERM);
    }
}

/// Has the kernel end the process when the thread that starts it ends, which is this program's main thread.
#[allow(unsafe_code)]
fn end_with_this_process(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec the closure makes two system calls that are safe there, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                return Err(io::Error::last_os_error());
            }
            // We may have died before the line above: nobody would tell the child then.
            if libc::getppid() as u32 != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for the server that behaves as it is told.
    fn plan(folder: &Path, behaviour: &str) -> SpawnPlan {
        SpawnPlan {
            null: false,
            server: Some(
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake-server.sh").into(),
            ),
            directory: Some(folder.join("data")),
            cores: "0-1".parse().unwrap(),
            arguments: vec![behaviour.to_owned()],
        }
    }

    fn folders(folder: &Path) -> usize {
        std::fs::read_dir(folder.join("data")).unwrap().count()
    }

    #[test]
    fn a_server_is_started_stopped_and_its_folder_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = SpawnedServer::start(&plan(folder.path(), "serve"), &|| false).unwrap();
        assert_eq!(server.bootstrap(), ["127.0.0.1:4242"]);
        let log = server.log_tail();
        assert!(
            log.starts_with("serve --host 127.0.0.1 --base-port "),
            "{log}"
        );
        assert!(
            log.contains("--cores 0-1 --data-dir ") && log.ends_with("serve"),
            "{log}"
        );
        assert_eq!((server.ended(), folders(folder.path())), (None, 1));
        assert_eq!(server.stop(), None);
        assert_eq!(folders(folder.path()), 0);
    }

    #[test]
    fn a_server_that_fails_to_start_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let error = SpawnedServer::start(&plan(folder.path(), "fail"), &|| false)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("address already in use"),
            "{error}"
        );
        assert_eq!(folders(folder.path()), 0);
    }

    #[test]
    fn an_interrupt_ends_the_wait_and_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let error = SpawnedServer::start(&plan(folder.path(), "hang"), &|| true).unwrap_err();
        assert!(matches!(error, SpawnError::Interrupted));
        assert_eq!(folders(folder.path()), 0);
    }

    #[test]
    fn a_missing_server_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let plan = SpawnPlan {
            server: Some(folder.path().join("none")),
            ..plan(folder.path(), "serve")
        };
        let error = SpawnedServer::start(&plan, &|| false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("--server FILE"), "{error}");
    }
}
