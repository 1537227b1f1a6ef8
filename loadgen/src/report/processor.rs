//! How much processor time a process or a thread has used, by what the kernel says in `/proc`.

use std::path::Path;
use std::time::Duration;

/// The kernel's unit in `/proc/*/stat` as user space sees it: a hundredth of a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// User and system time in the text of a `/proc/*/stat` file.
pub fn time_in_stat(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may hold anything; fields count from behind it, where the third one stands.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = fields
        .get(11)?
        .parse::<u32>()
        .ok()?
        .checked_add(fields.get(12)?.parse().ok()?)?;
    Some(TICK * ticks)
}

/// The time a process has used, threads that have ended included.
pub fn of_process(pid: u32) -> Option<Duration> {
    read(Path::new(&format!("/proc/{pid}/stat")))
}

/// The time one of this process's threads has used.
pub fn of_thread(tid: u32) -> Option<Duration> {
    read(Path::new(&format!("/proc/self/task/{tid}/stat")))
}

/// The calling thread's number, for [`of_thread`].
pub fn this_thread() -> Option<u32> {
    std::fs::read_link("/proc/thread-self")
        .ok()?
        .file_name()?
        .to_str()?
        .parse()
        .ok()
}

fn read(path: &Path) -> Option<Duration> {
    time_in_stat(&std::fs::read_to_string(path).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(time_in_stat(stat), Some(Duration::from_secs(2)));
        assert_eq!(time_in_stat("nonsense"), None);
    }

    #[test]
    fn this_thread_has_a_time() {
        assert!(of_thread(this_thread().unwrap()).is_some());
        assert!(of_process(std::process::id()).is_some());
    }
}
