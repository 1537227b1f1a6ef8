//! A real file system is shut down by force under a process that appends: ext4 on a loop device, `EXT4_IOC_SHUTDOWN`, kill
//! -9, mount again. What the process had told as acknowledged is there, at its offset, and so is what it had deleted not.
//!
//! Needs root, loop devices and `mkfs.ext4`; without them it says so and passes, unless `CORELANE_FS_SHUTDOWN_CYCLES` asks
//! for a number of cycles (5). `CORELANE_CRASH_SEED` repeats a run's choices.

mod support;

use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use corelane_format::{LogId, Offset};
use corelane_storage::disk::direct::{DirectDisk, FlushMode};
use corelane_storage::{LaneLogs, LaneLogsConfig, LogConfig, PartitionLog, RecoveryReport};
use glommio::{LocalExecutorBuilder, Placement};
use support::{Batch, append, read_all};

const LOGS: u64 = 6;
const CHILD: &str = "CORELANE_FS_SHUTDOWN_CHILD";
const TOLD: &str = "CORELANE_FS_SHUTDOWN_TOLD";
const DEADLINE: Duration = Duration::from_mins(1);

/// What the child told of one log.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    end: i64,
    start: i64,
    /// A deletion up to here was begun.
    start_max: i64,
}

impl Told {
    fn text(self) -> String {
        format!("{} {} {}", self.end, self.start, self.start_max)
    }

    fn parse(text: &str) -> Self {
        let numbers: Vec<i64> = text
            .split(' ')
            .map(|number| number.parse().expect("a number"))
            .collect();
        let [end, start, start_max] = numbers[..] else {
            panic!("three numbers, not {text}")
        };
        Self {
            end,
            start,
            start_max,
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn name(log: u64, offset: i64) -> String {
    format!("l{log}n{offset}")
}

fn start(mode: FlushMode) -> LaneLogs<DirectDisk> {
    let logs = LaneLogs::new(DirectDisk::new(mode), LaneLogsConfig::default());
    let flusher = logs.clone();
    glommio::spawn_local(async move { flusher.run_flusher().await }).detach();
    logs
}

async fn open(
    logs: &LaneLogs<DirectDisk>,
    home: &Path,
    log: u64,
) -> (Rc<PartitionLog<DirectDisk>>, RecoveryReport) {
    let config = LogConfig {
        segment_size_bytes: 64 << 10,
        ..LogConfig::default()
    };
    let directory = home.join(format!("logs/topic-{log}"));
    let opened = logs.open_log(&directory, LogId::new(1 + log), config);
    opened.await.expect("opens")
}

/// Holds every log against what was told before, then appends until something fails. Tells what it finds, and each
/// acknowledgement, on a line of its own.
async fn check_and_append(home: PathBuf, mode: FlushMode, seed: u64, told: Vec<Told>) {
    let logs = start(mode);
    // Ends the line that the test harness has begun.
    println!();
    let mut opened = Vec::new();
    for (index, told) in (0..).zip(told) {
        let (log, report) = open(&logs, &home, index).await;
        check(index, &log, &report, told).await;
        opened.push((index, log));
    }
    let mut tasks = Vec::new();
    for (index, log) in opened {
        let mut random = Random(seed ^ index << 8);
        tasks.push(glommio::spawn_local(async move {
            while log.fenced().is_none() {
                for _ in 0..=random.below(4) {
                    let batch = Batch::new(name(index, log.log_end_offset().get()), 1);
                    append(&log, &batch.sized(50 + random.below(6000) as usize));
                }
                let end = log.log_end_offset();
                if log.wait_readable(end).await.is_err() {
                    return;
                }
                println!("acknowledged {index} {end}");
                if random.below(16) == 0 {
                    let to = end.get() - random.below(10) as i64;
                    println!("deleting {index} {to}");
                    if log.advance_log_start(Offset::new(to.max(0))).await.is_err() {
                        return;
                    }
                    println!("deleted {index} {to}");
                }
            }
        }));
    }
    for task in tasks {
        task.await;
    }
}

/// Not a test of its own: the process that the other one kills.
#[test]
fn the_process_under_the_file_system() {
    let Ok(home) = std::env::var(CHILD) else {
        return;
    };
    let seed = number("CORELANE_CRASH_SEED").expect("a seed");
    let mode = if seed.is_multiple_of(2) {
        FlushMode::DataSync
    } else {
        FlushMode::Fdatasync
    };
    let told = std::env::var(TOLD).expect("what was told");
    let told = told.split(';').map(Told::parse).collect();
    LocalExecutorBuilder::new(Placement::Unbound)
        .spawn(move || async move {
            check_and_append(PathBuf::from(home), mode, seed, told).await;
        })
        .expect("an executor")
        .join()
        .expect("no panic");
    // A log that was fenced tells nothing more: the end comes from outside.
    std::thread::sleep(DEADLINE);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// An ext4 file system in a file, mounted.
struct FileSystem {
    home: tempfile::TempDir,
    mounted: bool,
}

fn command(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program}: {}", text.trim()))
    }
}

impl FileSystem {
    fn new() -> Result<Self, String> {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::create_dir_all(parent).map_err(|error| error.to_string())?;
        let home = tempfile::Builder::new()
            .prefix("forced-shutdown")
            .tempdir_in(parent)
            .map_err(|error| error.to_string())?;
        let image = std::fs::File::create(home.path().join("image"));
        let sized = image.and_then(|image| image.set_len(256 << 20));
        sized.map_err(|error| error.to_string())?;
        std::fs::create_dir(home.path().join("mount")).map_err(|error| error.to_string())?;
        command("mkfs.ext4", &[Path::new("-qF"), &home.path().join("image")])?;
        let mut file_system = Self {
            home,
            mounted: false,
        };
        file_system.mount()?;
        Ok(file_system)
    }

    fn mount_point(&self) -> PathBuf {
        self.home.path().join("mount")
    }

    fn mount(&mut self) -> Result<(), String> {
        let image = self.home.path().join("image");
        let arguments = [Path::new("-o"), Path::new("loop"), &image];
        command("mount", &[&arguments[..], &[&self.mount_point()]].concat())?;
        self.mounted = true;
        Ok(())
    }

    /// The kernel closes the files of a killed process when its requests have ended, which nothing tells: so it is tried
    /// until the deadline.
    fn unmount(&mut self) -> Result<(), String> {
        self.mounted = false;
        let start = Instant::now();
        loop {
            let result = command("umount", &[&self.mount_point()]);
            if result.is_ok() || start.elapsed() > DEADLINE {
                return result;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Nothing reaches the device any more. `flag` is ext4's: 0 after everything was written, 1 after its journal was, 2 at
    /// once.
    fn shut_down(&self, flag: u32) -> Result<(), String> {
        /// `_IOR('X', 125, __u32)`
        const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587D;
        let directory = std::fs::File::open(self.mount_point());
        let directory = directory.map_err(|error| error.to_string())?;
        // SAFETY: the descriptor is open, and the request reads one u32 at the pointer, which outlives the call.
        let result =
            unsafe { libc::ioctl(directory.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const flag) };
        if result == 0 {
            Ok(())
        } else {
            Err(format!(
                "EXT4_IOC_SHUTDOWN: {}",
                std::io::Error::last_os_error()
            ))
        }
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = self.unmount()
        {
            eprintln!("{error}");
        }
    }
}

/// A child that appends, and the lines it tells.
struct Appender {
    child: Child,
    lines: Receiver<String>,
}

impl Appender {
    fn start(home: &Path, seed: u64, told: &[Told]) -> Self {
        let told: Vec<String> = told.iter().map(|told| told.text()).collect();
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "the_process_under_the_file_system",
                "--nocapture",
            ])
            .env(CHILD, home)
            .env("CORELANE_CRASH_SEED", seed.to_string())
            .env(TOLD, told.join(";"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn note(told: &mut [Told], line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, log, offset] = words[..] else {
            return false;
        };
        let (Ok(log), Ok(offset)) = (log.parse::<usize>(), offset.parse::<i64>()) else {
            return false;
        };
        match what {
            "acknowledged" => told[log].end = told[log].end.max(offset),
            "deleting" => told[log].start_max = told[log].start_max.max(offset),
            "deleted" => told[log].start = told[log].start.max(offset),
            _ => return false,
        }
        true
    }

    fn wait_for(&self, count: u64, told: &mut [Told]) {
        let start = Instant::now();
        let mut seen = 0;
        while seen < count {
            let left = DEADLINE.saturating_sub(start.elapsed());
            let line = self.lines.recv_timeout(left).expect("acknowledgements");
            seen += u64::from(Self::note(told, &line));
        }
    }

    /// Kills it and takes what it had told until then.
    fn kill(mut self, told: &mut [Told]) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        for line in &self.lines {
            Self::note(told, &line);
        }
    }
}

async fn check(index: u64, log: &PartitionLog<DirectDisk>, report: &RecoveryReport, told: Told) {
    let (start, end) = (log.log_start_offset().get(), log.log_end_offset().get());
    let context = format!("log {index}, {told:?}, {report:?}");
    assert!(end >= told.end, "acknowledged and lost: {context}");
    assert!(report.quarantined.is_empty(), "{context}");
    assert!(
        start >= told.start && start <= told.start_max.max(told.start),
        "{context}"
    );
    for record in read_all(log).await {
        assert_eq!(record.name(), name(index, record.offset), "{context}");
    }
    println!("acknowledged {index} {end}");
    println!("deleting {index} {start}");
    println!("deleted {index} {start}");
}

#[test]
fn what_was_acknowledged_outlives_forced_shutdowns() {
    if std::env::var(CHILD).is_ok() {
        return;
    }
    let asked = number("CORELANE_FS_SHUTDOWN_CYCLES");
    let prepared = FileSystem::new();
    let mut file_system = match prepared {
        Ok(file_system) => file_system,
        Err(reason) => {
            assert!(asked.is_none(), "{reason}");
            println!("skipped: no file system of its own can be made here: {reason}");
            return;
        }
    };
    let seed = number("CORELANE_CRASH_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(1, |now| now.as_micros() as u64)
    });
    println!("seed: CORELANE_CRASH_SEED={seed}");
    let start = Instant::now();
    let mut random = Random(seed);
    let mut told = vec![Told::default(); LOGS as usize];
    let cycles = asked.unwrap_or(5);
    for cycle in 0..cycles {
        let seed = random.below(1 << 30);
        let flag = random.below(3) as u32;
        println!("cycle {cycle}, flag {flag}");
        let appender = Appender::start(&file_system.mount_point(), seed, &told);
        // Each log is found as it was told first, in three lines.
        appender.wait_for(3 * LOGS + random.below(200), &mut told);
        std::thread::sleep(Duration::from_micros(random.below(3000)));
        let shut_down = file_system.shut_down(flag);
        appender.kill(&mut told);
        shut_down.expect("ext4 can be shut down");
        file_system.unmount().expect("unmounted");
        file_system.mount().expect("mounted");
    }
    let appender = Appender::start(&file_system.mount_point(), 0, &told);
    appender.wait_for(4 * LOGS, &mut told);
    appender.kill(&mut told);
    let records: i64 = told.iter().map(|told| told.end).sum();
    println!(
        "{cycles} forced shutdowns, {records} records, {:?}",
        start.elapsed()
    );
}
