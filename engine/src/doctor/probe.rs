//! Finds the facts: reads `/proc` and `/sys`, and asks the kernel. The parsers of what stands there are pure.

use std::fs;

use super::facts::{Facts, LimitFact, UNLIMITED};
use super::{Target, probe_disk, syscalls};
use crate::config::affinity::allowed_cores;

/// `CAP_IPC_LOCK`'s bit in the kernel's sets of capabilities.
const CAP_IPC_LOCK: u32 = 14;

/// Finds everything. What cannot be read is left out, never guessed.
pub fn facts(target: &Target) -> Facts {
    let read = |path: &str| fs::read_to_string(path).ok();
    let status = read("/proc/self/status").unwrap_or_default();
    let limits = read("/proc/self/limits").unwrap_or_default();
    Facts {
        kernel_release: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
        io_uring: syscalls::try_io_uring(),
        io_uring_disabled: read("/proc/sys/kernel/io_uring_disabled")
            .and_then(|text| text.trim().parse().ok()),
        is_seccomp_filtered: is_seccomp_filtered(&status),
        memlock: limit(&limits, "Max locked memory"),
        has_ipc_lock: has_capability(&status, CAP_IPC_LOCK),
        open_files: limit(&limits, "Max open files"),
        allowed_cores: allowed_cores(&status).unwrap_or_default(),
        cpu_quota_cores: read("/sys/fs/cgroup/cpu.max").and_then(|text| cpu_quota_cores(&text)),
        disk: probe_disk::facts(&target.data_dir),
    }
}

/// The value of a line `Name:<tab>value` in `/proc/self/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn is_seccomp_filtered(status: &str) -> bool {
    field(status, "Seccomp") == Some("2")
}

fn has_capability(status: &str, bit: u32) -> bool {
    field(status, "CapEff")
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .is_some_and(|set| set & 1 << bit != 0)
}

/// A line of `/proc/self/limits`: a name, then the soft and the hard limit.
fn limit(limits: &str, name: &str) -> Option<LimitFact> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut values = line.split_whitespace().map(|text| match text {
        "unlimited" => Some(UNLIMITED),
        number => number.parse().ok(),
    });
    Some(LimitFact {
        soft: values.next()??,
        hard: values.next()??,
    })
}

/// `cpu.max` of a control group: time and period in microseconds, or `max` for no limit.
fn cpu_quota_cores(text: &str) -> Option<f64> {
    let (time, period) = text.trim().split_once(' ')?;
    let (time, period): (f64, f64) = (time.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then_some(time / period)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const STATUS: &str = "Name:\tx\nCapEff:\t000001fffeffffff\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn status_lines_are_read_by_their_exact_names() {
        assert!(is_seccomp_filtered(STATUS));
        assert!(!is_seccomp_filtered("Seccomp:\t0\nSeccomp_filters:\t2\n"));
        assert!(has_capability(STATUS, CAP_IPC_LOCK));
        assert!(!has_capability("CapEff:\t0000000000000000\n", CAP_IPC_LOCK));
        assert!(!has_capability("", CAP_IPC_LOCK));
    }

    #[test]
    fn limits_are_read_with_both_values() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n\
                      Max locked memory         unlimited            unlimited            bytes     \n";
        assert_eq!(
            limit(limits, "Max open files"),
            Some(LimitFact {
                soft: 1024,
                hard: 524_288
            })
        );
        assert_eq!(
            limit(limits, "Max locked memory"),
            Some(LimitFact {
                soft: UNLIMITED,
                hard: UNLIMITED
            })
        );
        assert_eq!(limit(limits, "Max stack size"), None);
        assert_eq!(limit("Max open files x y", "Max open files"), None);
    }

    #[test]
    fn quotas_are_told_in_cores() {
        assert_eq!(cpu_quota_cores("250000 100000\n"), Some(2.5));
        assert_eq!(cpu_quota_cores("max 100000\n"), None);
        assert_eq!(cpu_quota_cores("1 0"), None);
        assert_eq!(cpu_quota_cores(""), None);
    }

    #[test]
    fn this_machine_can_be_examined() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target {
            data_dir: folder.path().join("not/yet/there"),
            cores: vec![0],
            connections_max: 10,
        };
        let facts = facts(&target);
        assert!(facts.kernel_release.is_some());
        assert!(facts.open_files.is_some() && facts.memlock.is_some());
        assert!(!facts.allowed_cores.is_empty());
        assert_eq!(facts.disk.probed, folder.path().canonicalize().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(super::super::examine(&target).len(), 8);
        assert_ne!(target.data_dir, PathBuf::new());
    }
}
