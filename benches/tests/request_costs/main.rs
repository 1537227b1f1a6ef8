//! What a request costs on its lane: allocations, and user-space copies of the payload.
//!
//! Each test drives a lane with the real handlers, logs, flusher, journal and disk, and counts. Limits, with their reasons, are
//! in `benches/limits.toml`. One test at a time: what is counted belongs to the process.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use corelane_benches::requests::{batch, fetch_frame, produce_frame, records_of};
use corelane_format::ids::Offset;
use counting::{Allocated, CountingAllocator, count_this_thread, show_allocations};
use limits::check;
use loopback::{Client, serve_one};
use service::Caller;

mod counting;
mod interposed_copies;
mod lane;
mod limits;
mod loopback;
mod service;

/// As the server has it.
#[global_allocator]
static ALLOCATOR: CountingAllocator<mimalloc::MiMalloc> = CountingAllocator(mimalloc::MiMalloc);

const JOURNAL_BYTES: u64 = 64 << 20;
const RECORD_SIZE_BYTES: usize = 100;
/// Rounds before anything is counted: segments, journal files, buffers and tables are there afterwards.
const WARM_UP_ROUNDS: usize = 64;
const ROUNDS: usize = 256;

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn directory() -> tempfile::TempDir {
    // Below target/, which lies on a disk and not on tmpfs.
    let parent = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    tempfile::tempdir_in(parent).expect("a folder below target/")
}

/// What `depth` requests at a time cost on their lane, without sockets.
fn called(frame: Vec<u8>, depth: usize, produced: Option<Vec<u8>>) -> f64 {
    let directory = directory();
    let work = lane::start(directory.path(), JOURNAL_BYTES, move |lane| async move {
        count_this_thread();
        let mut caller = Caller::new(&lane, depth);
        if let Some(produced) = produced {
            caller.round(&produced, 1).await?;
        }
        for _ in 0..WARM_UP_ROUNDS {
            caller.round(&frame, depth).await?;
        }
        if std::env::var_os("CORELANE_SHOW_ALLOCATIONS").is_some() {
            eprintln!("one round of {depth}");
            show_allocations(true);
            caller.round(&frame, depth).await?;
            show_allocations(false);
        }
        let before = Allocated::so_far();
        for _ in 0..ROUNDS {
            caller.round(&frame, depth).await?;
        }
        Ok(Allocated::so_far().since(before))
    });
    let allocated = work.expect("the lane starts").join().expect("it works");
    allocated.count as f64 / (ROUNDS * depth) as f64
}

/// What was counted of requests that came over a connection.
struct OverLoopback {
    allocations: f64,
    copied_bytes: f64,
}

/// What `depth` requests at a time cost on their lane, each, the connection driver and its sockets included.
fn over_loopback(frame: &[u8], depth: usize, produced: Option<Vec<u8>>) -> OverLoopback {
    let directory = directory();
    let (tell, told) = mpsc::channel();
    let work = lane::start(directory.path(), JOURNAL_BYTES, move |lane| async move {
        count_this_thread();
        serve_one(lane, tell).await
    })
    .expect("the lane starts");
    let mut client = Client::connect(told.recv().expect("it listens")).expect("it accepts");
    if let Some(produced) = produced {
        client.round(&produced, 1).expect("produced");
    }
    let frames = frame.repeat(depth);
    for _ in 0..WARM_UP_ROUNDS {
        client.round(&frames, depth).expect("an answer");
    }
    let before = Allocated::so_far();
    interposed_copies::start_counting();
    for _ in 0..ROUNDS {
        client.round(&frames, depth).expect("an answer");
    }
    let copied_bytes = interposed_copies::stop_counting();
    let allocated = Allocated::so_far().since(before);
    drop(client);
    work.join().expect("it works");
    let requests = (ROUNDS * depth) as f64;
    OverLoopback {
        allocations: allocated.count as f64 / requests,
        copied_bytes: copied_bytes as f64 / requests,
    }
}

fn produce_frame_of(records: usize) -> Vec<u8> {
    produce_frame(batch(records, RECORD_SIZE_BYTES)).expect("a frame")
}

/// How many requests are under way at a time where the server is under load.
const DEPTH: usize = 16;

#[test]
fn a_produce_request_allocates_little() {
    let _turn = one_at_a_time();
    let mut measured = Vec::new();
    for (name, records, depth) in [
        ("produce_allocations_10_records_alone", 10, 1),
        ("produce_allocations_1000_records_alone", 1_000, 1),
        ("produce_allocations_10_records", 10, DEPTH),
        ("produce_allocations_1000_records", 1_000, DEPTH),
    ] {
        let frame = produce_frame_of(records);
        measured.push((name.to_owned(), called(frame.clone(), depth, None)));
        measured.push((
            format!("{name}_over_loopback"),
            over_loopback(&frame, depth, None).allocations,
        ));
    }
    check(&measured);
}

#[test]
fn a_hot_fetch_allocates_little_and_nothing_per_record() {
    let _turn = one_at_a_time();
    let fetch = fetch_frame(Offset::ZERO, 1 << 20).expect("a frame");
    let mut measured = Vec::new();
    let mut counts = Vec::new();
    for records in [10, 1_000] {
        let produced = produce_frame_of(records);
        let allocations = called(fetch.clone(), 1, Some(produced.clone()));
        counts.push(allocations);
        measured.push((format!("fetch_allocations_{records}_records"), allocations));
        measured.push((
            format!("fetch_allocations_{records}_records_over_loopback"),
            over_loopback(&fetch, DEPTH, Some(produced)).allocations,
        ));
    }
    check(&measured);
    // Nothing else happens on the lane, so this is exact.
    assert!(
        (counts[0] - counts[1]).abs() < 0.05,
        "per record: {counts:?}"
    );
}

/// The part of a produce request that its handler does before the flusher comes: exact.
#[test]
fn taking_a_produce_request_allocates_nothing_per_record() {
    let _turn = one_at_a_time();
    let mut counts = Vec::new();
    for records in [10, 1_000] {
        let frame = produce_frame_of(records);
        let directory = directory();
        let work = lane::start(directory.path(), JOURNAL_BYTES, move |lane| async move {
            count_this_thread();
            let mut caller = Caller::new(&lane, 1);
            let mut counts = Vec::with_capacity(ROUNDS);
            for _ in 0..ROUNDS {
                let before = Allocated::so_far();
                caller.call(&frame).await?;
                counts.push(Allocated::so_far().since(before).count);
                caller.answers().await?;
            }
            counts.sort_unstable();
            Ok(counts[ROUNDS / 2])
        });
        counts.push(work.expect("the lane starts").join().expect("it works"));
    }
    check(&[("produce_allocations_taken".to_owned(), counts[1] as f64)]);
    assert!(
        counts[1] <= counts[0] + 1,
        "a chunk of its own is all that larger batches may take: {counts:?}"
    );
}

#[test]
fn produced_bytes_are_copied_once() {
    let _turn = one_at_a_time();
    let records_of_16_kib = records_of(16 << 10, RECORD_SIZE_BYTES);
    let mut measured = Vec::new();
    for (name, records, depth) in [
        ("produce_copies_100KiB", 1_000, 1),
        ("produce_copies_16KiB", records_of_16_kib, DEPTH),
        ("produce_copies_16KiB_alone", records_of_16_kib, 1),
    ] {
        let size_bytes = batch(records, RECORD_SIZE_BYTES).len() as f64;
        let copied_bytes = over_loopback(&produce_frame_of(records), depth, None).copied_bytes;
        measured.push((name.to_owned(), copied_bytes / size_bytes));
    }
    check(&measured);
}

#[test]
fn fetched_bytes_are_not_copied() {
    let _turn = one_at_a_time();
    let size_bytes = batch(1_000, RECORD_SIZE_BYTES).len() as f64;
    let fetch = fetch_frame(Offset::ZERO, 1 << 20).expect("a frame");
    let copied_bytes = over_loopback(&fetch, 1, Some(produce_frame_of(1_000))).copied_bytes;
    check(&[("fetch_copies".to_owned(), copied_bytes / size_bytes)]);
}
