//! Power is cut at every operation of a history, and what was not flushed survives in every way: not at all, wholly, in
//! parts, torn at sectors, in any order. What was acknowledged is there, once, in order; and so it is after the next
//! crash, be it during the recovery.
//!
//! Short histories are explored whole: every history of up to three operations, every crash point, every combination of
//! sectors. Longer ones are random: `CORELANE_CRASH_STATES` sets how many states, `CORELANE_CRASH_SEED` where to begin.

mod support;

use std::collections::HashSet;
use std::env;
use std::time::{Instant, SystemTime};

use corelane_storage::disk::memory::{MemoryDisk, Survival};
use futures_lite::future::{or, yield_now};
use support::history::{Ledger, Played, Step, World};
use support::{lane, run, small_lane, start_journal};

/// Which of the things that a crash may leave are looked at.
#[derive(Debug, Clone, Copy)]
enum Depth {
    /// All that differ.
    Every,
    /// None, all, and so many random subsets of writes and of sectors.
    Some(u64),
}

/// More loose ends than that at one crash point are too many to look at each combination.
const SECTORS_MAX: usize = 12;

#[derive(Debug, Default)]
struct Explorer {
    /// Power losses looked at that differ in what is left, or in what was answered before.
    states: u64,
    /// Journal blocks that were written on the way.
    journal_blocks: u64,
    /// Segments that compaction replaced.
    replaced: u64,
    /// Files that were kept as spares.
    spares_kept: u64,
    /// Images seen since the ledgers last changed.
    seen: HashSet<u64>,
    ledgers: Vec<Ledger>,
}

/// Says where it was when an assertion failed.
struct Place<'a> {
    steps: &'a [Step],
    seed: u64,
    operation: u64,
    survival: Survival,
    again: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {}, cut at operation {}, {:?}, once more at {:?}, of {:?}",
                self.seed, self.operation, self.survival, self.again, self.steps
            );
        }
    }
}

impl Explorer {
    /// Cuts the power at every operation of `steps`.
    fn explore(&mut self, world: &World, steps: &[Step], seed: u64, depth: Depth) {
        for operation in 0.. {
            let world = world.clone();
            let disk = MemoryDisk::new();
            disk.stop_at(operation);
            let played = world.play(&disk, steps, seed);
            let overlap = disk.saw_overlapping_writes();
            assert!(
                !overlap,
                "a page twice in flight: seed {seed}, {operation}, {steps:?}"
            );
            self.journal_blocks += world.journal_blocks.get();
            self.replaced += world.replaced.get();
            self.spares_kept += world.spares_kept.get();
            let ledgers = world.ledgers.borrow().clone();
            if ledgers != self.ledgers {
                self.seen.clear();
                self.ledgers = ledgers;
            }
            for survival in survivals(&disk, seed ^ operation << 20, depth) {
                self.look_at(
                    &world,
                    &disk,
                    Place {
                        steps,
                        seed,
                        operation,
                        survival,
                        again: None,
                    },
                );
            }
            match played {
                Played::Done => return,
                Played::Stalled => {}
                Played::Failed(error) => panic!("{steps:?} failed: {error}"),
            }
        }
    }

    fn look_at(&mut self, world: &World, disk: &MemoryDisk, mut place: Place<'_>) {
        let image = disk.crash(place.survival);
        if !self.seen.insert(image.fingerprint()) {
            return;
        }
        self.states += 1;
        world.verify(&image);
        if self.states.is_multiple_of(8) {
            let operation = self.states / 8 % 40;
            place.again = Some(operation);
            self.states += 1;
            let survival = Survival::Torn { seed: self.states };
            world.verify_with_another_crash(&disk.crash(place.survival), operation, survival);
        }
    }
}

fn survivals(disk: &MemoryDisk, seed: u64, depth: Depth) -> Vec<Survival> {
    match depth {
        Depth::Every => {
            let loose = disk.loose_ends();
            assert!(loose.sectors <= SECTORS_MAX, "{loose:?}");
            let each = |names| {
                (0..1 << loose.sectors).map(move |sectors| Survival::Chosen { sectors, names })
            };
            (0..=loose.names).flat_map(each).collect()
        }
        Depth::Some(rounds) => {
            let mut some = vec![Survival::None, Survival::All];
            for round in 0..rounds {
                let seed = seed ^ round;
                some.extend([Survival::Subset { seed }, Survival::Torn { seed }]);
            }
            some
        }
    }
}

/// What short histories are made of: two logs, with segments that two larger records fill.
const OPERATIONS: [Step; 10] = [
    Step::Append(0, 1, 200),
    Step::Append(0, 3, 700),
    Step::Trickle(2, 300),
    Step::Append(1, 2, 300),
    Step::DeleteRecords(0, 60),
    Step::DeleteRecords(0, 100),
    Step::Truncate(0, 50),
    Step::Retention(0),
    Step::Recreate(0),
    Step::Restart,
];

fn every_history_that_begins_with(first: &[Step]) {
    let start = Instant::now();
    let world = World::new(2, 4096 + 1800);
    let mut explorer = Explorer::default();
    let mut histories = 0;
    for one in first {
        explorer.explore(&world, &[*one], 0, Depth::Every);
        for two in OPERATIONS {
            explorer.explore(&world, &[*one, two], 0, Depth::Every);
            for three in OPERATIONS {
                explorer.explore(&world, &[*one, two, three], 0, Depth::Every);
                histories += 1;
            }
        }
    }
    println!(
        "{histories} histories of three operations, {} states, {} journal blocks, {:?}",
        explorer.states,
        explorer.journal_blocks,
        start.elapsed()
    );
}

#[test]
fn every_short_history_that_begins_with_appends() {
    every_history_that_begins_with(&OPERATIONS[..4]);
}

#[test]
fn every_short_history_that_begins_otherwise() {
    every_history_that_begins_with(&OPERATIONS[4..]);
}

/// A small generator: the same seed, the same history.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn compacted_step(&mut self, logs: u64) -> Step {
        let log = self.below(logs) as usize;
        let merged = 1 + self.below(4);
        match self.below(12) {
            0..2 => Step::Append(log, 6 + self.below(6) as usize, 700),
            2..5 => Step::Compact(log, merged),
            5 => Step::CompactUnderLoad(log, merged),
            6 => Step::CompactAndTruncate(log, [40, 80, 95][self.below(3) as usize]),
            _ => self.step(logs),
        }
    }

    fn step(&mut self, logs: u64) -> Step {
        let log = self.below(logs) as usize;
        let percent = [0, 30, 50, 70, 100][self.below(5) as usize];
        match self.below(20) {
            0..4 => Step::Append(
                log,
                1 + self.below(3) as usize,
                100 + self.below(1200) as usize,
            ),
            4..7 => Step::Append(
                log,
                2 + self.below(10) as usize,
                1000 + self.below(3000) as usize,
            ),
            7..13 => Step::Trickle(1 + self.below(logs) as usize, 50 + self.below(400) as usize),
            13 => Step::DeleteRecords(log, percent),
            14 => Step::Truncate(log, percent),
            15 => Step::RetentionUnderLoad(log, self.below(logs) as usize),
            16 => Step::Recreate(log),
            _ => Step::Restart,
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
    )
}

/// A part of the states that are asked for, in random histories of `logs` logs, which are compacted or not.
fn random_histories(logs: usize, is_compacted: bool) {
    let start = Instant::now();
    let part = if is_compacted { 4 } else { 2 };
    let wanted = number("CORELANE_CRASH_STATES").unwrap_or(34_000) / part;
    let first = number("CORELANE_CRASH_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs() % 1_000_000 * 1_000)
    });
    println!("seed {first}");
    let mut explorer = Explorer::default();
    let mut seed = first;
    while explorer.states < wanted {
        let mut random = Random(seed);
        let world = World::new(logs, [6, 12, 24][random.below(3) as usize] << 10);
        let world = if seed.is_multiple_of(4) {
            world.without_journal()
        } else {
            world
        };
        let world = if is_compacted {
            world.compacted()
        } else {
            world
        };
        let steps: Vec<Step> = (0..4 + random.below(9))
            .map(|_| {
                if is_compacted {
                    random.compacted_step(logs as u64)
                } else {
                    random.step(logs as u64)
                }
            })
            .collect();
        explorer.explore(&world, &steps, seed, Depth::Some(4));
        seed += 1;
    }
    assert!(explorer.journal_blocks > 0, "nothing rode in a journal");
    assert_eq!(explorer.replaced > 0, is_compacted);
    println!(
        "seeds {first}..{seed}, {logs} logs: {} states, {} journal blocks, {:?}",
        explorer.states,
        explorer.journal_blocks,
        start.elapsed()
    );
}

#[test]
fn random_histories_of_two_logs() {
    random_histories(2, false);
}

#[test]
fn random_histories_of_five_logs() {
    random_histories(5, false);
}

#[test]
fn random_histories_of_compacted_logs() {
    random_histories(2, true);
}

/// What may come before and after a compaction.
const CHANGES: [Step; 9] = [
    Step::Append(0, 3, 700),
    Step::DeleteRecords(0, 60),
    Step::Truncate(0, 50),
    Step::Truncate(0, 90),
    Step::Retention(0),
    Step::Recreate(0),
    Step::Restart,
    Step::CompactUnderLoad(0, 1),
    Step::CompactAndTruncate(0, 80),
];

fn compactions(name: &str, histories: impl Iterator<Item = (Step, Step)>) {
    let start = Instant::now();
    let mut explorer = Explorer::default();
    for (seed, (before, after)) in (0..).zip(histories) {
        let steps = [
            Step::Append(0, 9, 700),
            before,
            Step::Compact(0, 3),
            after,
            Step::Append(0, 5, 700),
            Step::Compact(0, 4),
            Step::Append(0, 4, 900),
        ];
        let world = World::new(1, 4096 + 1800).compacted();
        let world = if seed % 2 == 0 {
            world
        } else {
            world.without_journal()
        };
        explorer.explore(&world, &steps, seed, Depth::Some(1));
    }
    assert!(explorer.replaced > 0 && explorer.spares_kept > 0);
    println!(
        "{name}: {} states, {} segments replaced, {} spares, {:?}",
        explorer.states,
        explorer.replaced,
        explorer.spares_kept,
        start.elapsed()
    );
}

#[test]
fn compaction_between_changes() {
    let pairs = CHANGES
        .into_iter()
        .flat_map(|one| CHANGES.map(|two| (one, two)));
    // Each change before and after each other in two runs; one of three here.
    compactions("between changes", pairs.step_by(3));
}

#[test]
fn compaction_under_load() {
    let load = Step::CompactUnderLoad(0, 2);
    compactions(
        "under load",
        [(load, load), (load, Step::Restart)].into_iter(),
    );
}

#[test]
fn overlapping_commits_and_rolls() {
    let steps = [
        Step::Append(0, 3, 300),
        Step::Append(0, 30, 2500),
        Step::Append(0, 2, 100),
        Step::Append(0, 12, 3000),
    ];
    for seed in 0..4 {
        Explorer::default().explore(&World::new(1, 24 << 10), &steps, seed, Depth::Some(3));
    }
}

#[test]
fn many_small_commits() {
    let steps = [Step::Append(0, 1, 100); 14];
    Explorer::default().explore(&World::new(1, 24 << 10), &steps, 3, Depth::Some(3));
}

#[test]
fn truncations_over_several_segments() {
    let steps = [
        Step::Append(0, 20, 2000),
        Step::Truncate(0, 30),
        Step::Append(0, 10, 1500),
        Step::Truncate(0, 95),
        Step::Restart,
        Step::Append(0, 5, 1500),
    ];
    for seed in 0..2 {
        Explorer::default().explore(&World::new(1, 12 << 10), &steps, seed, Depth::Some(2));
    }
}

#[test]
fn deletions_and_restarts() {
    let steps = [
        Step::Append(0, 6, 1500),
        Step::DeleteRecords(0, 30),
        Step::Restart,
        Step::Trickle(2, 300),
        Step::DeleteRecords(0, 90),
        Step::Append(0, 4, 1500),
        Step::Retention(0),
        Step::Recreate(0),
        Step::Append(0, 1, 200),
        Step::DeleteRecords(0, 100),
        Step::Restart,
    ];
    for seed in 0..2 {
        Explorer::default().explore(&World::new(2, 8 << 10), &steps, seed, Depth::Some(2));
    }
}

#[test]
fn a_lane_closes_while_its_journal_is_made_ready() {
    for patience in 0..60 {
        let disk = MemoryDisk::new();
        disk.hold_writes(true);
        for _ in 0..3 {
            let logs = lane(&disk, small_lane());
            let close = async {
                start_journal(&logs).await;
                for _ in 0..patience {
                    yield_now().await;
                }
                logs.shutdown().await.expect("closed");
                // What is under way ends after the lane.
                for _ in 0..200 {
                    yield_now().await;
                }
            };
            let release = async {
                for turn in 0_usize.. {
                    yield_now().await;
                    if turn.is_multiple_of(3) {
                        disk.release(0);
                    }
                }
            };
            run(&logs, or(close, release));
        }
        assert!(!disk.saw_overlapping_writes(), "after {patience} turns");
    }
}

#[test]
fn retention_while_others_take_its_segments() {
    let steps = [
        Step::Append(0, 12, 1500),
        Step::Append(1, 2, 1500),
        Step::RetentionUnderLoad(0, 1),
        Step::Append(0, 8, 1500),
        Step::RetentionUnderLoad(0, 0),
        Step::RetentionUnderLoad(1, 0),
    ];
    for seed in 0..4 {
        Explorer::default().explore(&World::new(2, 8 << 10), &steps, seed, Depth::Some(2));
    }
}
