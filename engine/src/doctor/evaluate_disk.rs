//! From facts to checks: what the disk under the data directory must offer. Pure.

use super::Check;
use super::facts::{DirectIoFact, DiskFacts};

/// Below this nothing useful can be stored.
const FREE_BYTES_NEEDED: u64 = 64 << 20;
/// Below this a few new segments may fill the disk.
const FREE_BYTES_WANTED: u64 = 4 << 30;

const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
const NETWORK: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"];

/// The checks of the disk, in the order in which they should be read.
pub fn evaluate_disk(facts: &DiskFacts) -> Vec<Check> {
    vec![direct_io(facts), free_space(facts), disk_cache(facts)]
}

fn direct_io(facts: &DiskFacts) -> Check {
    let name = "direct I/O";
    let file_system = facts
        .file_system
        .as_deref()
        .unwrap_or("unknown file system");
    let place = format!("{} ({file_system})", facts.probed.display());
    let elsewhere = "put the data directory (--data-dir) on a local ext4 or XFS";
    match &facts.direct_io {
        DirectIoFact::DirectoryUnusable(reason) => Check::fail(
            name,
            format!("no file can be made in {place}: {reason}"),
            "make the directory writable for this user, or choose another with --data-dir",
        ),
        DirectIoFact::NoSpace => Check::warn(
            name,
            format!("not tried in {place}: the disk is full"),
            "make room",
        ),
        DirectIoFact::Refused { operation, errno } => Check::fail(
            name,
            format!("{place} does not do it: {operation} failed with error {errno}"),
            elsewhere,
        ),
        DirectIoFact::Works if IN_MEMORY.contains(&file_system) => Check::warn(
            name,
            format!("{place} is memory: nothing there survives a restart of the machine"),
            elsewhere,
        ),
        DirectIoFact::Works if NETWORK.contains(&file_system) => Check::warn(
            name,
            format!("works in {place}, but what is durable there is up to another machine"),
            elsewhere,
        ),
        DirectIoFact::Works => Check::ok(name, format!("works in {place}")),
    }
}

fn free_space(facts: &DiskFacts) -> Check {
    let name = "free space";
    let place = facts.probed.display();
    match facts.free_bytes {
        None => Check::warn(
            name,
            format!("cannot be read for {place}"),
            "make sure that there is enough",
        ),
        // Who cannot start a server cannot delete anything with it either.
        Some(free) if free < FREE_BYTES_NEEDED && facts.has_data => Check::warn(
            name,
            format!(
                "{} MiB in {place}: what is there is served, and produces may be refused",
                free >> 20
            ),
            "make room: delete topics or records, or what else lies on the disk",
        ),
        Some(free) if free < FREE_BYTES_NEEDED => Check::fail(
            name,
            format!("{} MiB in {place}", free >> 20),
            "make room, or choose another --data-dir",
        ),
        Some(free) if free < FREE_BYTES_WANTED => Check::warn(
            name,
            format!("{} MiB in {place}", free >> 20),
            "make room, or lower log.segment.bytes and log.retention.bytes",
        ),
        Some(free) => Check::ok(name, format!("{} GiB in {place}", free >> 30)),
    }
}

fn disk_cache(facts: &DiskFacts) -> Check {
    let name = "disk cache";
    let Some(cache) = &facts.cache else {
        return Check::ok(
            name,
            "not known: the data directory is on no disk of this machine's own",
        );
    };
    let device = &cache.device;
    let is_virtual = device.starts_with("vd") || device.starts_with("xvd");
    match (cache.is_write_back, cache.has_fua) {
        (true, true) => Check::ok(
            name,
            format!("{device} has one; durable writes bypass it (FUA)"),
        ),
        (true, false) => Check::ok(
            name,
            format!(
                "{device} has one and no FUA; every durable write flushes it, which costs latency"
            ),
        ),
        (false, _) if is_virtual => Check::warn(
            name,
            format!(
                "{device} says that it has none; as it is virtual, that is up to the machine beneath"
            ),
            "make sure that the hypervisor does not cache writes (cache=none or directsync, never unsafe)",
        ),
        (false, _) => Check::ok(name, format!("{device} has none that could lose data")),
    }
}
