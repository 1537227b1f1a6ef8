//! What a null broker keeps when it is told to: whole batches, by topic and partition, in memory.
//!
//! Pure. The faults it commits on request happen here: a batch is acknowledged and dropped, kept twice, or kept behind
//! the one that follows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use corelane_format::kafka::stored_batches;

/// Which batches are mistreated, counted from 0 over everything that is appended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Acknowledged, and not kept.
    pub drop_batch: Option<u64>,
    /// Kept twice.
    pub double_batch: Option<u64>,
    /// Kept behind the next one of its partition.
    pub swap_batch: Option<u64>,
}

/// A partition: its number, and its topic's place among the topics.
pub type LogKey = (usize, i32);

/// One batch that is kept.
#[derive(Debug, Clone)]
struct Kept {
    first_offset: i64,
    end_offset: i64,
    bytes: Arc<[u8]>,
}

/// One partition.
#[derive(Debug, Default)]
struct Log {
    batches: Vec<Kept>,
    /// A batch that waits for the next one.
    held: Option<Vec<u8>>,
}

/// All partitions.
#[derive(Debug, Default)]
pub struct Logs {
    faults: Faults,
    appended: u64,
    partitions: BTreeMap<LogKey, Log>,
}

impl Logs {
    /// Nothing kept yet.
    pub fn new(faults: Faults) -> Self {
        Self {
            faults,
            ..Self::default()
        }
    }

    /// Appends one batch, or does to it what the faults say.
    pub fn append(&mut self, key: LogKey, batch: &[u8]) {
        let number = Some(self.appended);
        self.appended += 1;
        let log = self.partitions.entry(key).or_default();
        if number == self.faults.drop_batch {
            return;
        }
        if number == self.faults.swap_batch {
            log.held = Some(batch.to_vec());
            return;
        }
        log.keep(batch.to_vec());
        if number == self.faults.double_batch {
            log.keep(batch.to_vec());
        }
        if let Some(held) = log.held.take() {
            log.keep(held);
        }
    }

    /// One past the last offset of a partition.
    pub fn end_offset(&self, key: LogKey) -> i64 {
        self.partitions.get(&key).map_or(0, Log::end_offset)
    }

    /// Whole batches from `offset` on: at least one if there is one, and no more than `bytes_max` otherwise.
    pub fn read(&self, key: LogKey, offset: i64, bytes_max: usize) -> Vec<Arc<[u8]>> {
        let Some(log) = self.partitions.get(&key) else {
            return Vec::new();
        };
        let from = log
            .batches
            .partition_point(|batch| batch.end_offset <= offset);
        let mut left = bytes_max;
        let mut read = Vec::new();
        for batch in log.batches.iter().skip(from) {
            if batch.bytes.len() > left && !read.is_empty() {
                break;
            }
            left = left.saturating_sub(batch.bytes.len());
            read.push(Arc::clone(&batch.bytes));
        }
        read
    }
}

impl Log {
    fn end_offset(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.end_offset)
    }

    /// Keeps a batch with the next offsets. What is no batch is not kept.
    fn keep(&mut self, mut batch: Vec<u8>) {
        let records = match stored_batches(&batch).next() {
            Some(Ok(stored)) => i64::from(stored.header().records_count),
            Some(Err(_)) | None => return,
        };
        let first_offset = self.end_offset();
        if let Some(base_offset) = batch.first_chunk_mut() {
            // The checksum does not cover it.
            *base_offset = first_offset.to_be_bytes();
        }
        self.batches.push(Kept {
            first_offset,
            end_offset: first_offset + records,
            bytes: batch.into(),
        });
        debug_assert!(self.batches.is_sorted_by_key(|batch| batch.first_offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::payload::{FillerKind, Stamp};
    use crate::load::template::{BatchStamp, BatchTemplate};
    use corelane_format::TimestampMs;

    /// Appends five batches of two records, and tells which sequences are kept, in which order.
    fn kept(faults: Faults) -> Vec<u64> {
        let mut logs = Logs::new(faults);
        let mut template = BatchTemplate::new(2, 40, 1, FillerKind::Random);
        for batch in 0..5 {
            let bytes = template.stamp(&BatchStamp {
                first: Stamp {
                    run: 1,
                    producer: 0,
                    partition: 0,
                    sequence: batch * 2,
                    intended_ns: 0,
                },
                timestamp: TimestampMs::new(1),
            });
            logs.append((0, 0), bytes);
        }
        let mut first_sequences = Vec::new();
        for bytes in logs.read((0, 0), 0, usize::MAX) {
            let batch = stored_batches(&bytes).next().unwrap().unwrap();
            let header = *batch.header();
            let mut records = corelane_format::kafka::records(&header, batch.records_section());
            let value = records.next().unwrap().unwrap().value.unwrap();
            assert_eq!(
                header.base_offset.get(),
                2 * first_sequences.len() as i64,
                "offsets have no gaps"
            );
            first_sequences.push(crate::load::payload::read(value).unwrap().sequence);
        }
        first_sequences
    }

    #[test]
    fn faults_are_committed_as_told() {
        let none = Faults::default();
        assert_eq!(kept(none), [0, 2, 4, 6, 8]);
        let drop_batch = Some(1);
        assert_eq!(kept(Faults { drop_batch, ..none }), [0, 4, 6, 8]);
        let double_batch = Some(1);
        assert_eq!(
            kept(Faults {
                double_batch,
                ..none
            }),
            [0, 2, 2, 4, 6, 8]
        );
        let swap_batch = Some(1);
        assert_eq!(kept(Faults { swap_batch, ..none }), [0, 4, 2, 6, 8]);
    }

    #[test]
    fn reading_begins_within_a_batch_and_respects_the_limit() {
        let mut logs = Logs::default();
        let mut template = BatchTemplate::new(2, 40, 1, FillerKind::Random);
        let size = template.size_bytes();
        for sequence in [0, 2, 4] {
            let bytes = template.stamp(&BatchStamp {
                first: Stamp {
                    run: 1,
                    producer: 0,
                    partition: 0,
                    sequence,
                    intended_ns: 0,
                },
                timestamp: TimestampMs::new(1),
            });
            logs.append((0, 3), bytes);
        }
        let read = |offset, bytes_max| logs.read((0, 3), offset, bytes_max).len();
        assert_eq!(
            (read(0, 1), read(1, 2 * size), read(3, 9 * size)),
            (1, 2, 2)
        );
        assert_eq!((read(6, 9 * size), logs.end_offset((0, 3))), (0, 6));
        assert_eq!(logs.end_offset((0, 4)), 0);
    }
}
