//! Histories of compacted logs: which keys they have, and what may be missing of them.

use std::collections::BTreeSet;
use std::ops::Range;

use corelane_format::TimestampMs;
use corelane_storage::{Compacted, CompactionLimits, CompactionPace, LogConfig};

use super::Log;
use super::keyed::{Keyed, KeyedBatch};

/// The key of the record at each offset: some are frequent, some rare.
fn key(offset: usize) -> String {
    format!("k{}", [0, 1, 0, 2, 1, 3, 0, 4][offset % 8])
}

fn is_tombstone(offset: usize) -> bool {
    offset % 5 == 3
}

/// The batch of one record at `offset`, whose value begins with `name`.
pub fn keyed_batch(producer: i64, offset: usize, name: &str, size_bytes: usize) -> Vec<u8> {
    let value = (!is_tombstone(offset)).then(|| format!("{name}/{}", "x".repeat(size_bytes)));
    let mut batch = KeyedBatch::new("", 1).by(producer, 0, offset as i32);
    batch.records.push((Some(key(offset)), value));
    batch.bytes()
}

/// What compaction may have taken of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Superseded {
    /// Below it records may be missing that a later one supersedes, and tombstones.
    below: usize,
    /// Records that were superseded by what was cut off since.
    before_cuts: BTreeSet<usize>,
}

impl Superseded {
    /// A compaction begins that may go so far.
    pub fn may_go_below(&mut self, end: usize) {
        self.below = self.below.max(end);
    }

    /// The log, which ends at `end`, is about to be cut.
    pub fn note_before_cut(&mut self, end: usize) {
        let mut later = BTreeSet::new();
        for offset in (0..end).rev() {
            if !later.insert(key(offset)) && offset < self.below {
                self.before_cuts.insert(offset);
            }
        }
    }

    /// The log was cut.
    pub fn cut(&mut self, end: usize) {
        self.below = self.below.min(end);
        self.before_cuts.retain(|offset| *offset < end);
    }
}

/// Holds the records of a log against those that were appended at `offsets`: each has its own offset; one is missing only if
/// a later one has its key, or if it is a tombstone; and where one is missing no older one of its key is left.
pub fn check_compacted(
    records: &[Keyed],
    names: &[String],
    offsets: Range<usize>,
    superseded: &Superseded,
    context: &str,
) {
    let mut rest = records.iter().rev().peekable();
    let (mut later, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for offset in offsets.rev() {
        let key = key(offset);
        if let Some(record) = rest.next_if(|record| record.offset == offset as i64) {
            assert_eq!(record.key.as_ref(), Some(&key), "at {offset}: {context}");
            let name = record
                .value
                .as_ref()
                .and_then(|value| value.split('/').next());
            let expected = (!is_tombstone(offset)).then_some(names[offset].as_str());
            assert_eq!(name, expected, "at {offset}: {context}");
            assert!(!gone.contains(&key), "{offset} is there again: {context}");
        } else {
            let may_go = is_tombstone(offset)
                || later.contains(&key)
                || superseded.before_cuts.contains(&offset);
            assert!(
                may_go && offset < superseded.below,
                "{offset} is missing: {context}"
            );
            gone.insert(key.clone());
        }
        later.insert(key);
    }
    assert_eq!(rest.next(), None, "{context}");
}

/// Appends now and then between the steps of a compaction.
struct AppendsBetween<F> {
    left: usize,
    append: F,
}

impl<F: FnMut()> CompactionPace for AppendsBetween<F> {
    async fn pass(&mut self, _: u64) {
        if self.left > 0 {
            self.left -= 1;
            (self.append)();
        }
        futures_lite::future::yield_now().await;
    }
}

/// One pass over a log, whose segments may become `merged` times as large as `config` says, with so many appends.
pub async fn compact_step(
    log: &Log,
    config: &LogConfig,
    merged: u64,
    appends: usize,
    append: impl FnMut(),
) -> Result<Option<Compacted>, String> {
    log.set_config(LogConfig {
        segment_size_bytes: merged * config.segment_size_bytes,
        ..config.clone()
    });
    // Of three keys, now and then.
    let limits = CompactionLimits {
        map_budget_bytes: if merged == 1 { 4 * 24 } else { 4096 },
    };
    let mut pace = AppendsBetween {
        left: appends,
        append,
    };
    let done = log.compact(TimestampMs::new(1000), limits, &mut pace).await;
    log.set_config(config.clone());
    done.map_err(|error| error.to_string())
}
