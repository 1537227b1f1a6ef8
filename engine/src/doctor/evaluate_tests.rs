//! What is made of each finding.

use std::path::PathBuf;

use super::evaluate::{evaluate, kernel_version, memlock_needed_bytes};
use super::facts::{
    DirectIoFact, DiskCacheFact, DiskFacts, Facts, IoUringFact, LimitFact, UNLIMITED,
};
use super::{Check, Status, Target, failures};

const MIB: u64 = 1 << 20;

fn target(lanes: usize) -> Target {
    Target {
        data_dir: PathBuf::from("/data"),
        cores: (0..lanes).collect(),
        connections_max: 1_000,
    }
}

fn both(limit: u64) -> LimitFact {
    LimitFact {
        soft: limit,
        hard: limit,
    }
}

/// A machine without fault.
fn good() -> Facts {
    Facts {
        kernel_release: Some("6.1.0-18-amd64".to_owned()),
        io_uring: IoUringFact::Works,
        io_uring_disabled: Some(0),
        is_seccomp_filtered: false,
        memlock: Some(both(UNLIMITED)),
        has_ipc_lock: false,
        open_files: Some(both(1 << 20)),
        allowed_cores: (0..8).collect(),
        cpu_quota_cores: None,
        disk: DiskFacts {
            probed: PathBuf::from("/data"),
            file_system: Some("ext4".to_owned()),
            direct_io: DirectIoFact::Works,
            has_data: false,
            free_bytes: Some(100 << 30),
            cache: Some(DiskCacheFact {
                device: "nvme0n1".to_owned(),
                is_write_back: true,
                has_fua: true,
            }),
        },
    }
}

fn check(name: &str, lanes: usize, facts: &Facts) -> Check {
    evaluate(&target(lanes), facts)
        .into_iter()
        .find(|check| check.name == name)
        .unwrap()
}

fn expect(name: &str, lanes: usize, facts: &Facts, status: Status, texts: &[&str]) {
    let check = check(name, lanes, facts);
    assert_eq!(check.status, status, "{check}");
    for text in texts {
        assert!(check.to_string().contains(text), "{text:?} in {check}");
    }
    assert_eq!(check.remedy.is_none(), status == Status::Ok, "{check}");
}

#[test]
fn a_good_machine_passes_every_check() {
    let checks = evaluate(&target(4), &good());
    assert_eq!(checks.len(), 8);
    assert!(
        checks.iter().all(|check| check.status == Status::Ok),
        "{checks:?}"
    );
    assert_eq!(failures(&checks).count(), 0);
}

#[test]
fn kernels_are_judged_by_their_version() {
    for (release, version) in [
        ("6.1.0-18-amd64", Some((6, 1))),
        ("5.15.167.4-microsoft-standard-WSL2", Some((5, 15))),
        ("5.8-rc1", Some((5, 8))),
        ("6", None),
        ("", None),
        ("linux", None),
    ] {
        assert_eq!(kernel_version(release), version, "{release}");
    }
    for (release, status, text) in [
        (Some("4.18.0"), Status::Fail, "upgrade to Linux 5.11"),
        (Some("5.7.9"), Status::Fail, "too old"),
        (Some("5.8.0"), Status::Warn, "works but is old"),
        (Some("5.11.0"), Status::Ok, "Linux 5.11.0"),
        (Some("odd"), Status::Warn, "release odd cannot be read"),
        (None, Status::Warn, "release unknown"),
    ] {
        let facts = Facts {
            kernel_release: release.map(str::to_owned),
            ..good()
        };
        expect("kernel", 1, &facts, status, &[text]);
    }
}

#[test]
fn a_refused_io_uring_is_explained_by_what_refuses_it() {
    let old = Some("4.19.0".to_owned());
    let new = good().kernel_release;
    let table = [
        (
            libc::EPERM,
            Some(2),
            false,
            &new,
            "sysctl -w kernel.io_uring_disabled=0",
        ),
        (
            libc::EPERM,
            Some(2),
            true,
            &new,
            "kernel.io_uring_disabled=2",
        ),
        (libc::EPERM, Some(1), false, &new, "kernel.io_uring_group"),
        (libc::EPERM, Some(0), true, &new, "seccomp=unconfined"),
        (libc::EPERM, None, true, &new, "denied by a seccomp profile"),
        (libc::EACCES, None, false, &new, "security module"),
        (libc::EPERM, Some(0), false, &new, "security module"),
        (libc::ENOSYS, None, false, &old, "older than io_uring"),
        (
            libc::ENOSYS,
            None,
            true,
            &new,
            "hidden by a seccomp profile",
        ),
        (libc::ENOSYS, None, false, &new, "CONFIG_IO_URING"),
        (libc::ENOMEM, None, false, &new, "memlock"),
        (libc::EMFILE, None, false, &new, "error 24"),
    ];
    for (errno, io_uring_disabled, is_seccomp_filtered, release, text) in table {
        let facts = Facts {
            kernel_release: release.clone(),
            io_uring: IoUringFact::Refused(errno),
            io_uring_disabled,
            is_seccomp_filtered,
            ..good()
        };
        expect("io_uring", 1, &facts, Status::Fail, &[text]);
    }
}

#[test]
fn the_memlock_limit_is_judged_by_kernel_lanes_and_privilege() {
    assert_eq!(memlock_needed_bytes(4), 4 * 3 * 512 * 1024 + MIB);
    let (old, new) = ("5.11.0", "5.12.0");
    let table = [
        // kernel, limit, exempt, lanes, status, text
        (new, UNLIMITED, false, 64, Status::Ok, "unlimited"),
        (old, UNLIMITED, false, 64, Status::Ok, "unlimited"),
        (old, MIB, true, 64, Status::Ok, "exempt"),
        (new, 64 << 10, true, 1, Status::Fail, "too low for any lane"),
        (
            new,
            64 << 10,
            false,
            1,
            Status::Fail,
            "too low for any lane",
        ),
        (
            old,
            8 * MIB,
            false,
            4,
            Status::Warn,
            "register the I/O buffers",
        ),
        (old, 6 * MIB, false, 4, Status::Fail, "rings of 4 lanes"),
        (
            old,
            7 * MIB,
            false,
            4,
            Status::Warn,
            "register the I/O buffers",
        ),
        (
            new,
            8 * MIB,
            false,
            64,
            Status::Warn,
            "register the I/O buffers",
        ),
        (new, 31 * MIB, false, 1, Status::Ok, "31744 KiB"),
        (
            old,
            31 * MIB,
            false,
            1,
            Status::Warn,
            "raise it to 33280 KiB",
        ),
    ];
    for (release, limit, has_ipc_lock, lanes, status, text) in table {
        let facts = Facts {
            kernel_release: Some(release.to_owned()),
            memlock: Some(both(limit)),
            has_ipc_lock,
            allowed_cores: (0..64).collect(),
            ..good()
        };
        expect("memlock", lanes, &facts, status, &[text]);
    }
    expect(
        "memlock",
        1,
        &Facts {
            memlock: None,
            ..good()
        },
        Status::Warn,
        &["ulimit -l"],
    );
}

#[test]
fn open_files_are_judged_by_the_hard_limit_as_the_server_raises_its_soft_one() {
    for (hard, status, text) in [
        (287, Status::Fail, "too few for 1 lanes"),
        (288, Status::Warn, "max.connections"),
        (4_096 + 32 + 999, Status::Warn, "LimitNOFILE"),
        (4_096 + 32 + 1_000, Status::Ok, "up to 5128"),
        (UNLIMITED, Status::Ok, "unlimited"),
    ] {
        let facts = Facts {
            open_files: Some(LimitFact { soft: 1, hard }),
            ..good()
        };
        expect("open files", 1, &facts, status, &[text]);
    }
    expect(
        "open files",
        1,
        &Facts {
            open_files: None,
            ..good()
        },
        Status::Warn,
        &["ulimit -n"],
    );
}

#[test]
fn cores_must_be_allowed_and_should_be_paid_for() {
    let facts = Facts {
        allowed_cores: vec![0, 1],
        ..good()
    };
    expect(
        "cores",
        2,
        &facts,
        Status::Ok,
        &["2 lanes on 0-1, of 0-1 allowed"],
    );
    expect(
        "cores",
        3,
        &facts,
        Status::Fail,
        &["core 2 is not among", "(0-1)"],
    );
    expect("cores", 0, &facts, Status::Fail, &["--cores"]);
    let limited = Facts {
        cpu_quota_cores: Some(1.5),
        ..facts
    };
    expect(
        "cores",
        2,
        &limited,
        Status::Warn,
        &["the time of 1.5 cores"],
    );
    expect("cores", 1, &limited, Status::Ok, &[]);
}

#[test]
fn the_disk_is_judged_by_what_it_did() {
    let with = |change: fn(&mut DiskFacts)| {
        let mut facts = good();
        change(&mut facts.disk);
        facts
    };
    let table: [(&str, Facts, Status, &str); 16] = [
        (
            "direct I/O",
            with(|d| d.direct_io = DirectIoFact::DirectoryUnusable("denied".into())),
            Status::Fail,
            "no file can be made in /data (ext4): denied",
        ),
        (
            "direct I/O",
            with(|d| {
                d.direct_io = DirectIoFact::Refused {
                    operation: "a direct write",
                    errno: 22,
                }
            }),
            Status::Fail,
            "a direct write failed with error 22",
        ),
        (
            "direct I/O",
            with(|d| d.file_system = Some("tmpfs".into())),
            Status::Warn,
            "/data (tmpfs) is memory",
        ),
        (
            "direct I/O",
            with(|d| d.file_system = Some("nfs4".into())),
            Status::Warn,
            "another machine",
        ),
        (
            "direct I/O",
            with(|d| d.file_system = None),
            Status::Ok,
            "unknown file system",
        ),
        (
            "free space",
            with(|d| d.free_bytes = Some(63 << 20)),
            Status::Fail,
            "63 MiB",
        ),
        (
            "free space",
            with(|d| (d.free_bytes, d.has_data) = (Some(0), true)),
            Status::Warn,
            "what is there is served",
        ),
        (
            "direct I/O",
            with(|d| d.direct_io = DirectIoFact::NoSpace),
            Status::Warn,
            "the disk is full",
        ),
        (
            "free space",
            with(|d| d.free_bytes = Some(64 << 20)),
            Status::Warn,
            "64 MiB",
        ),
        (
            "free space",
            with(|d| d.free_bytes = Some(4 << 30)),
            Status::Ok,
            "4 GiB",
        ),
        (
            "free space",
            with(|d| d.free_bytes = None),
            Status::Warn,
            "cannot be read",
        ),
        (
            "disk cache",
            with(|d| d.cache = None),
            Status::Ok,
            "not known",
        ),
        (
            "disk cache",
            with(|d| d.cache.as_mut().unwrap().has_fua = false),
            Status::Ok,
            "every durable write flushes it",
        ),
        (
            "disk cache",
            with(|d| d.cache.as_mut().unwrap().is_write_back = false),
            Status::Ok,
            "none that could lose data",
        ),
        (
            "disk cache",
            with(|d| {
                d.cache = Some(DiskCacheFact {
                    device: "vda".into(),
                    is_write_back: false,
                    has_fua: false,
                });
            }),
            Status::Warn,
            "hypervisor",
        ),
        (
            "disk cache",
            with(|d| {
                d.cache = Some(DiskCacheFact {
                    device: "vda".into(),
                    is_write_back: true,
                    has_fua: false,
                });
            }),
            Status::Ok,
            "vda has one and no FUA",
        ),
    ];
    for (name, facts, status, text) in table {
        expect(name, 1, &facts, status, &[text]);
    }
}

#[test]
fn checks_are_written_as_one_line_and_as_json() {
    let facts = Facts {
        allowed_cores: vec![],
        ..good()
    };
    let check = check("cores", 1, &facts);
    assert_eq!(
        check.to_string(),
        "cores: core 0 is not among the cores this process may run on (); choose among those with --cores, or widen the process' CPU set"
    );
    let json = serde_json::to_value(&check).unwrap();
    assert_eq!(
        (json["status"].as_str(), json["name"].as_str()),
        (Some("fail"), Some("cores"))
    );
}
