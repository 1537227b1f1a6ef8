//! From facts to checks: what the kernel and its limits must offer. Pure.

use super::evaluate_disk::evaluate_disk;
use super::facts::{Facts, IoUringFact, LimitFact, UNLIMITED};
use super::{Check, Target};
use crate::config::cores::show_cores;

/// The oldest kernel that the lanes' runtime works with.
const KERNEL_NEEDED: (u32, u32) = (5, 8);
/// The oldest kernel without known faults in what Corelane uses.
const KERNEL_RECOMMENDED: (u32, u32) = (5, 11);
/// From here on the kernel charges rings to the control group's memory instead of the memlock limit.
const KERNEL_RINGS_NOT_LOCKED: (u32, u32) = (5, 12);
/// What the runtime insists on, whoever it runs as.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// Each lane has three rings of this size at most.
const RINGS_BYTES_PER_LANE: u64 = 3 * (512 << 10);
/// Memory that a lane registers with each of its three rings, if it may.
const REGISTERED_BYTES_PER_LANE: u64 = 3 * (10 << 20);
/// For whatever else the process locks.
const MEMLOCK_MARGIN_BYTES: u64 = 1 << 20;
/// Files of a lane: rings, event descriptors, listener, metadata.
const FILES_PER_LANE: u64 = 32;
/// Files for segments, below which a server is not worth starting.
const FILES_MIN: u64 = 256;
/// Files for segments that a usual server has open.
const FILES_FOR_SEGMENTS: u64 = 4_096;

const ENOMEM: i32 = libc::ENOMEM;
const ENOSYS: i32 = libc::ENOSYS;
const EPERM: i32 = libc::EPERM;
const EACCES: i32 = libc::EACCES;

/// All checks, in the order in which they should be read.
pub fn evaluate(target: &Target, facts: &Facts) -> Vec<Check> {
    let mut checks = vec![
        kernel(facts),
        io_uring(facts),
        memlock(target.cores.len(), facts),
        open_files(target, facts),
        cores(target, facts),
    ];
    checks.extend(evaluate_disk(&facts.disk));
    checks
}

/// Major and minor version of a kernel release such as `6.1.0-18-amd64`.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn version_of(facts: &Facts) -> Option<(u32, u32)> {
    facts.kernel_release.as_deref().and_then(kernel_version)
}

fn kernel(facts: &Facts) -> Check {
    let name = "kernel";
    let release = facts.kernel_release.as_deref().unwrap_or("unknown");
    let upgrade = format!(
        "upgrade to Linux {}.{} or newer",
        KERNEL_RECOMMENDED.0, KERNEL_RECOMMENDED.1
    );
    match version_of(facts) {
        None => Check::warn(
            name,
            format!("release {release} cannot be read"),
            format!(
                "make sure that it is Linux {}.{} or newer",
                KERNEL_RECOMMENDED.0, KERNEL_RECOMMENDED.1
            ),
        ),
        Some(version) if version < KERNEL_NEEDED => {
            Check::fail(name, format!("Linux {release} is too old"), upgrade)
        }
        Some(version) if version < KERNEL_RECOMMENDED => {
            Check::warn(name, format!("Linux {release} works but is old"), upgrade)
        }
        Some(_) => Check::ok(name, format!("Linux {release}")),
    }
}

fn io_uring(facts: &Facts) -> Check {
    let name = "io_uring";
    let errno = match facts.io_uring {
        IoUringFact::Works => return Check::ok(name, "available"),
        IoUringFact::Refused(errno) => errno,
    };
    let seccomp = |found: &str| {
        Check::fail(
            name,
            format!("{found} by a seccomp profile, as containers have by default"),
            "give the container a profile that allows io_uring_setup, io_uring_enter and io_uring_register, \
             or none: `docker run --security-opt seccomp=unconfined`",
        )
    };
    match (errno, facts.io_uring_disabled) {
        (EPERM | EACCES, Some(2)) => Check::fail(
            name,
            "switched off by sysctl kernel.io_uring_disabled=2",
            "switch it on with `sysctl -w kernel.io_uring_disabled=0`, and in /etc/sysctl.d to keep it on",
        ),
        (EPERM | EACCES, Some(1)) => Check::fail(
            name,
            "kept to privileged processes by sysctl kernel.io_uring_disabled=1",
            "allow it with `sysctl -w kernel.io_uring_disabled=0`, or put the server's group into \
             kernel.io_uring_group",
        ),
        (EPERM | EACCES, _) if facts.is_seccomp_filtered => seccomp("denied"),
        (EPERM | EACCES, _) => Check::fail(
            name,
            format!("denied (error {errno})"),
            "look for a security module's denial in the kernel log (`dmesg`, `ausearch -m avc`), and allow io_uring \
             for the server",
        ),
        (ENOSYS, _) if version_of(facts).is_some_and(|version| version < (5, 1)) => Check::fail(
            name,
            "this kernel is older than io_uring",
            format!(
                "upgrade to Linux {}.{} or newer",
                KERNEL_RECOMMENDED.0, KERNEL_RECOMMENDED.1
            ),
        ),
        (ENOSYS, _) if facts.is_seccomp_filtered => seccomp("hidden"),
        (ENOSYS, _) => Check::fail(
            name,
            "this kernel was built without io_uring",
            "use a kernel with CONFIG_IO_URING; sandboxes such as gVisor have none",
        ),
        (ENOMEM, _) => Check::fail(
            name,
            "no memory for a ring",
            "raise the memlock limit (`ulimit -l`, LimitMEMLOCK= in systemd) or the container's memory limit",
        ),
        _ => Check::fail(
            name,
            format!("could not be set up (error {errno})"),
            "look into the kernel log (`dmesg`) for the reason",
        ),
    }
}

/// How much memory the rings of so many lanes lock on kernels that count them.
pub fn memlock_needed_bytes(lanes: usize) -> u64 {
    (lanes as u64)
        .saturating_mul(RINGS_BYTES_PER_LANE)
        .saturating_add(MEMLOCK_MARGIN_BYTES)
}

fn memlock(lanes: usize, facts: &Facts) -> Check {
    let name = "memlock";
    let Some(limit) = facts.memlock else {
        return Check::warn(
            name,
            "the limit cannot be read",
            "make sure that `ulimit -l` is unlimited",
        );
    };
    let shown = show_limit(limit.soft);
    let needed = memlock_needed_bytes(lanes);
    let raise = |bytes: u64| {
        let kib = bytes.div_ceil(1024);
        format!(
            "raise it to {kib} KiB or more: `ulimit -l unlimited`, LimitMEMLOCK=infinity in systemd, \
             `--ulimit memlock=-1` in docker, or memlock in /etc/security/limits.conf"
        )
    };
    if limit.soft < MEMLOCK_BYTES_MIN {
        return Check::fail(
            name,
            format!("the limit of {shown} is too low for any lane"),
            raise(needed),
        );
    }
    if limit.soft == UNLIMITED || facts.has_ipc_lock {
        let exempt = if facts.has_ipc_lock {
            " (and this process is exempt)"
        } else {
            ""
        };
        return Check::ok(name, format!("{shown}{exempt}"));
    }
    let are_rings_counted =
        version_of(facts).is_none_or(|version| version < KERNEL_RINGS_NOT_LOCKED);
    if are_rings_counted && limit.soft < needed {
        return Check::fail(
            name,
            format!("the limit of {shown} is too low for the rings of {lanes} lanes"),
            raise(needed),
        );
    }
    let rings = if are_rings_counted {
        needed
    } else {
        MEMLOCK_MARGIN_BYTES
    };
    let with_buffers = (lanes as u64)
        .saturating_mul(REGISTERED_BYTES_PER_LANE)
        .saturating_add(rings);
    if limit.soft < with_buffers {
        return Check::warn(
            name,
            format!(
                "the limit of {shown} is enough to run, but not to register the I/O buffers of {lanes} lanes"
            ),
            raise(with_buffers),
        );
    }
    Check::ok(name, shown)
}

fn open_files(target: &Target, facts: &Facts) -> Check {
    let name = "open files";
    let Some(LimitFact { hard, .. }) = facts.open_files else {
        return Check::warn(
            name,
            "the limit cannot be read",
            "make sure that `ulimit -n` is high",
        );
    };
    let lanes = target.cores.len() as u64 * FILES_PER_LANE;
    let least = lanes + FILES_MIN;
    let wanted = lanes + FILES_FOR_SEGMENTS + target.connections_max as u64;
    let raise = format!(
        "raise the hard limit to {wanted} or more: LimitNOFILE= in systemd, `--ulimit nofile=` in docker, nofile in \
         /etc/security/limits.conf"
    );
    // The server raises its soft limit to the hard one when it starts.
    if hard < least {
        Check::fail(
            name,
            format!("{hard} are too few for {} lanes", target.cores.len()),
            raise,
        )
    } else if hard < wanted {
        Check::warn(
            name,
            format!(
                "{hard} may be too few for {} connections (max.connections) and the segments",
                target.connections_max
            ),
            format!("{raise}; or lower max.connections"),
        )
    } else if hard == UNLIMITED {
        Check::ok(name, "unlimited")
    } else {
        Check::ok(name, format!("up to {hard}"))
    }
}

fn cores(target: &Target, facts: &Facts) -> Check {
    let name = "cores";
    let lanes = target.cores.len();
    let shown = show_cores(&target.cores);
    let allowed = show_cores(&facts.allowed_cores);
    if lanes == 0 {
        return Check::fail(name, "none is chosen", "name some with --cores");
    }
    if let Some(core) = target
        .cores
        .iter()
        .find(|core| !facts.allowed_cores.contains(core))
    {
        return Check::fail(
            name,
            format!("core {core} is not among the cores this process may run on ({allowed})"),
            "choose among those with --cores, or widen the process' CPU set",
        );
    }
    match facts.cpu_quota_cores {
        Some(quota) if quota < lanes as f64 => Check::warn(
            name,
            format!(
                "{lanes} lanes on {shown}, but the control group allows the time of {quota:.1} cores"
            ),
            "choose fewer cores with --cores, or raise the CPU limit: a lane that is throttled stalls its clients",
        ),
        _ => Check::ok(
            name,
            format!("{lanes} lanes on {shown}, of {allowed} allowed"),
        ),
    }
}

fn show_limit(bytes: u64) -> String {
    if bytes == UNLIMITED {
        "unlimited".to_owned()
    } else {
        format!("{} KiB", bytes >> 10)
    }
}
