//! Mutated input for every parser of a log's and a journal's files, on the stable toolchain: seeded, and as many cases as
//! `CORELANE_FUZZ_CASES` says.
//!
//! The same functions are cargo-fuzz targets in `fuzz/`. A failure prints the target, the case and the bytes. The seeds are the
//! files that a log has left.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use corelane_format::Offset;
use corelane_format::fuzzing::mutation::{Random, mutate, run_targets};
use corelane_storage::disk::memory::{MemoryDisk, Survival};
use corelane_storage::fuzzing::{TARGETS, Target};
use corelane_storage::{LaneLogsConfig, LogConfig};
use support::*;

/// What a parser may take for an input of some KiB: what it keeps of it, several times, and nothing that a number in it says.
const BYTES_MAX: usize = 4 << 20;

/// Counts what is allocated, and the most that ever was.
struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

fn grown(size_bytes: usize) {
    let live = LIVE_BYTES.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes;
    PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: everything is left to the system's allocator; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The files that logs and a journal leave, of every kind, and what parts of them are parsed by themselves.
fn seeds() -> Vec<Vec<u8>> {
    let disk = MemoryDisk::new();
    let logs = lane(&disk, LaneLogsConfig::default());
    let config = LogConfig {
        segment_size_bytes: 48 << 10,
        ..LogConfig::default()
    };
    run(&logs, async {
        start_journal(&logs).await;
        let (log, _) = open(&logs, config).await;
        for index in 0..40 {
            let batch = Batch::new(format!("b{index}"), 3).sized(600);
            let batch = batch.by(index % 4, 1, (index / 4 * 3) as i32);
            append_durably(&log, &batch.at(index * 10)).await;
        }
        log.advance_log_start(Offset::new(7)).await.expect("moved");
        log.truncate(Offset::new(100)).await.expect("truncated");
        append_durably(&log, &Batch::new("last", 1)).await;
        logs.shutdown().await.expect("closed");
    });
    let left = disk.crash(Survival::All);
    let mut seeds = vec![Vec::new(), vec![0; 128], vec![0xFF; 128]];
    let mut kinds = std::collections::BTreeSet::new();
    for (path, _) in left.files() {
        let mut content = left.content(&path).expect("a file");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        kinds.insert(name.rsplit('.').next().unwrap_or_default().to_owned());
        content.truncate(20 << 10);
        for at in block_positions(&content) {
            let end = (at + 3000).min(content.len());
            seeds.push(content[at..end].to_vec());
        }
        for at in (4096..content.len()).step_by(4096) {
            if content[at..].starts_with(b"CLjb") {
                seeds.push(content[at..(at + 4096).min(content.len())].to_vec());
            }
        }
        // The producers of a sidecar, somewhere in it.
        if name.ends_with("index") {
            seeds.extend((100..180).step_by(4).map(|at| content[at..600].to_vec()));
        }
        if content.iter().any(|byte| *byte != 0) {
            seeds.push(content);
        }
    }
    for kind in ["log", "index", "log-start"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    // A mark of a truncation, and a cleaner's offset.
    seeds
        .push(b"CLct\x01\0\0\0\x07\0\0\0\0\0\0\0\x64\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0....".to_vec());
    seeds
        .push(b"CLco\x01\0\0\0\x10\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x64\0\0\0\0\0\0\0....".to_vec());
    seeds
}

/// One test at a time: what is counted is the process's.
static ALONE: Mutex<()> = Mutex::new(());

/// The same target under an eye on its memory.
fn bounded(name: &str, target: Target, input: &[u8]) {
    let before = LIVE_BYTES.load(Ordering::Relaxed);
    PEAK_BYTES.store(before, Ordering::Relaxed);
    target(input);
    let taken = PEAK_BYTES.load(Ordering::Relaxed).saturating_sub(before);
    assert!(taken <= BYTES_MAX, "{name} took {taken} bytes");
}

#[test]
fn no_input_makes_a_parser_panic_or_exceed_its_limits() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seeds = seeds();
    let targets: Vec<(&str, Target)> = vec![
        ("sidecar", |data| bounded("sidecar", TARGETS[0].1, data)),
        ("producer_state", |data| {
            bounded("producer_state", TARGETS[1].1, data);
        }),
        ("segment_header", |data| {
            bounded("segment_header", TARGETS[2].1, data);
        }),
        ("segment_block", |data| {
            bounded("segment_block", TARGETS[3].1, data);
        }),
        ("small_files", |data| {
            bounded("small_files", TARGETS[4].1, data);
        }),
        ("journal_block", |data| {
            bounded("journal_block", TARGETS[5].1, data);
        }),
        ("journal_file", |data| {
            bounded("journal_file", TARGETS[6].1, data);
        }),
    ];
    let names = |targets: &[(&'static str, Target)]| -> Vec<&str> {
        targets.iter().map(|(name, _)| *name).collect()
    };
    assert_eq!(names(&targets), names(&TARGETS));
    run_targets(&targets, &seeds);

    // What the count is good for.
    let taken = std::panic::catch_unwind(|| {
        bounded(
            "hungry",
            |data| drop(vec![1_u8; BYTES_MAX + data.len()]),
            b"x",
        );
    });
    assert!(taken.is_err(), "a target that takes too much is noticed");
}

/// Mutation must reach what it should: often enough what comes out is still accepted once its checksums are right.
#[test]
fn mutation_reaches_what_it_should() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seeds = seeds();
    let mut random = Random::default();
    let mut looks_like = std::collections::BTreeMap::<[u8; 4], usize>::new();
    for _ in 0..4000 {
        let input = mutate(&mut random, &seeds);
        if let Some(magic) = input.first_chunk::<4>() {
            *looks_like.entry(*magic).or_default() += 1;
        }
    }
    for magic in [
        b"CLix", b"CLsg", b"CLls", b"CLct", b"CLco", b"CLjf", b"CLjb",
    ] {
        let count = looks_like.get(magic).copied().unwrap_or(0);
        assert!(count > 10, "{}: {count}", String::from_utf8_lossy(magic));
    }
}
