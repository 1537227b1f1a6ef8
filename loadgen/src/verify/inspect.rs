//! Fetched bytes in, checked records out: the consumer's fast path.
//!
//! Every batch's CRC and every record's checksum is verified, and every record goes into the books. The cost is per
//! record a varint parse and a checksum; bookkeeping and histogram are paid per run of records that follow each other,
//! which is per batch in practice. Nothing is allocated for a record.
//!
//! Invariant: each offset is looked at once. Records below the position, which a fetch that starts within a batch
//! brings along, are passed over.

use corelane_format::Offset;
use corelane_format::kafka::{
    BatchError, BatchHeader, Compression, DecompressLimits, StoredBatch, decompress, records,
    stored_batches,
};

use super::intervals::TooManyGaps;
use super::ledger::ConsumedPartition;
use crate::load::payload;
use crate::report::measure::Amount;

/// What a compressed batch may unpack to. The generator sends none; a broker may compress by the topic's config.
const DECOMPRESS_LIMITS: DecompressLimits = DecompressLimits {
    size_bytes_max: 512 * 1024 * 1024,
    ratio_max: 1024,
};

/// Where the whole batches at the start of `bytes` end: the next offset to fetch, at least `position`.
///
/// Reads headers only, so that the next fetch can be on its way while this one's records are checked.
pub fn next_offset(bytes: &[u8], position: Offset) -> Result<Offset, BatchError> {
    let mut next = position;
    for batch in stored_batches(bytes) {
        next = next.max(batch?.header().next_offset());
    }
    Ok(next)
}

/// How many records a batch that cannot be read counts for.
fn claimed_records(header: &BatchHeader) -> u64 {
    u64::from(header.records_count.max(1).unsigned_abs())
}

/// Checks one partition's records, in the order of its log.
#[derive(Debug)]
pub struct Inspector {
    run: u32,
    position: Offset,
    book: ConsumedPartition,
}

/// Consecutive records of one producer.
#[derive(Debug, Clone, Copy)]
struct Run {
    producer: u32,
    first: u64,
    end: u64,
}

impl Inspector {
    /// Starts at `position` of a partition.
    pub fn new(run: u32, partition: u32, position: Offset) -> Self {
        Self {
            run,
            position,
            book: ConsumedPartition::new(partition),
        }
    }

    /// The same for a consumer of another set.
    #[must_use]
    pub fn of_set(mut self, set: u32) -> Self {
        self.book = self.book.of_set(set);
        self
    }

    /// Passes over everything before `position`, which may lie behind.
    pub fn move_to(&mut self, position: Offset) {
        self.position = position;
    }

    /// The next offset to be looked at.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// The books so far.
    pub fn into_book(self) -> ConsumedPartition {
        self.book
    }

    /// The partition whose records are checked.
    pub fn partition(&self) -> u32 {
        self.book.partition()
    }

    /// Checks the whole batches of a fetched sequence. `arrived` is told, for records in a row with the same intended
    /// time, that time and how many they are.
    ///
    /// Returns how much of this run arrived.
    pub fn inspect(
        &mut self,
        bytes: &[u8],
        mut arrived: impl FnMut(u64, u64),
    ) -> Result<Amount, TooManyGaps> {
        let mut amount = Amount::default();
        for batch in stored_batches(bytes) {
            let Ok(batch) = batch else {
                self.book.see_corrupt(1);
                break;
            };
            let header = *batch.header();
            if header.last_offset() < self.position {
                continue;
            }
            if batch.verify_crc().is_err() {
                self.book.see_corrupt(claimed_records(&header));
            } else if !header.attributes.is_control() {
                self.inspect_batch(&batch, &header, &mut arrived, &mut amount)?;
            }
            self.position = self.position.max(header.next_offset());
        }
        Ok(amount)
    }

    fn inspect_batch(
        &mut self,
        batch: &StoredBatch<'_>,
        header: &BatchHeader,
        arrived: &mut impl FnMut(u64, u64),
        amount: &mut Amount,
    ) -> Result<(), TooManyGaps> {
        let section = batch.records_section();
        let unpacked = match header.attributes.compression() {
            Ok(Compression::None) => return self.inspect_records(header, section, arrived, amount),
            Ok(codec) => decompress(codec, section, DECOMPRESS_LIMITS).ok(),
            Err(_) => None,
        };
        if let Some(section) = unpacked {
            self.inspect_records(header, &section, arrived, amount)
        } else {
            self.book.see_corrupt(claimed_records(header));
            Ok(())
        }
    }

    fn inspect_records(
        &mut self,
        header: &BatchHeader,
        section: &[u8],
        arrived: &mut impl FnMut(u64, u64),
        amount: &mut Amount,
    ) -> Result<(), TooManyGaps> {
        // Records before the position were looked at when an earlier fetch brought them.
        let first_delta = self.position.get().saturating_sub(header.base_offset.get());
        let mut run: Option<Run> = None;
        let (mut intended_ns, mut same_time) = (0, 0);
        for record in records(header, section) {
            let Ok(record) = record else {
                self.book.see_corrupt(1);
                break;
            };
            if i64::from(record.offset_delta) < first_delta {
                continue;
            }
            let Some(stamp) = record.value.and_then(|value| payload::read(value).ok()) else {
                self.book.see_corrupt(1);
                continue;
            };
            if stamp.run != self.run {
                self.book.see_foreign(1);
                continue;
            }
            if stamp.partition != self.book.partition() {
                self.book.see_corrupt(1);
                continue;
            }
            amount.records += 1;
            amount.bytes += record.value.map_or(0, <[u8]>::len) as u64;
            if stamp.intended_ns == intended_ns {
                same_time += 1;
            } else {
                if same_time > 0 {
                    arrived(intended_ns, same_time);
                }
                (intended_ns, same_time) = (stamp.intended_ns, 1);
            }
            match &mut run {
                Some(run) if run.producer == stamp.producer && run.end == stamp.sequence => {
                    run.end += 1;
                }
                _ => {
                    if let Some(run) = run {
                        self.book.see(run.producer, run.first, run.end)?;
                    }
                    run = Some(Run {
                        producer: stamp.producer,
                        first: stamp.sequence,
                        end: stamp.sequence.saturating_add(1),
                    });
                }
            }
        }
        if same_time > 0 {
            arrived(intended_ns, same_time);
        }
        match run {
            Some(run) => self.book.see(run.producer, run.first, run.end),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::payload::{FillerKind, Stamp};
    use crate::load::template::{BatchStamp, BatchTemplate};
    use crate::verify::ledger::{Balance, ProducedStream, StreamId, settle};
    use corelane_format::kafka::{BATCH_HEADER_BYTES, BatchBuilder, stamp_offset};
    use corelane_format::{LeaderEpoch, TimestampMs};

    const RUN: u32 = 77;
    const PARTITION: u32 = 3;
    const PRODUCER: u32 = 5;

    /// A log of batches of ten records each, as a broker would keep it.
    struct Log {
        bytes: Vec<u8>,
        batches: Vec<std::ops::Range<usize>>,
        next: i64,
        produced: ProducedStream,
        template: BatchTemplate,
    }

    impl Log {
        fn new(batches: u64) -> Self {
            let id = StreamId {
                producer: PRODUCER,
                partition: PARTITION,
            };
            let mut log = Self {
                bytes: Vec::new(),
                batches: Vec::new(),
                next: 0,
                produced: ProducedStream::new(id),
                template: BatchTemplate::new(10, 100, 1, FillerKind::Random),
            };
            for _ in 0..batches {
                let first = log.produced.take(10);
                log.produced.acknowledge(first, 10).unwrap();
                log.append(first, RUN, PARTITION);
            }
            log
        }

        fn append(&mut self, first: u64, run: u32, partition: u32) {
            let stamp = Stamp {
                run,
                producer: PRODUCER,
                partition,
                sequence: first,
                intended_ns: 1_000 + first,
            };
            let batch = self
                .template
                .stamp(&BatchStamp {
                    first: stamp,
                    timestamp: TimestampMs::new(1),
                })
                .to_vec();
            self.append_bytes(batch, 10);
        }

        fn append_bytes(&mut self, mut batch: Vec<u8>, records: i64) {
            stamp_offset(&mut batch, Offset::new(self.next), LeaderEpoch::new(0));
            self.next += records;
            self.batches
                .push(self.bytes.len()..self.bytes.len() + batch.len());
            self.bytes.extend_from_slice(&batch);
        }

        fn settle(self) -> (Balance, Vec<(u64, u64)>) {
            let mut inspector = Inspector::new(RUN, PARTITION, Offset::ZERO);
            let mut arrivals = Vec::new();
            inspector
                .inspect(&self.bytes, |intended_ns, count| {
                    arrivals.push((intended_ns, count));
                })
                .unwrap();
            (
                settle(&[self.produced], Some(&[inspector.into_book()])),
                arrivals,
            )
        }
    }

    fn faults(balance: &Balance) -> [u64; 4] {
        [
            balance.lost,
            balance.duplicated,
            balance.reordered,
            balance.corrupt,
        ]
        .map(Option::unwrap)
    }

    #[test]
    fn a_sound_log_is_clean_and_every_record_is_timed() {
        let (balance, arrivals) = Log::new(20).settle();
        assert!(balance.is_clean());
        assert_eq!((balance.acknowledged, balance.seen), (200, Some(200)));
        assert_eq!(arrivals.len(), 20);
        assert_eq!(arrivals[1], (1_010, 10));
    }

    #[test]
    fn a_batch_that_vanished_is_lost() {
        let mut log = Log::new(5);
        let gone = log.batches[2].clone();
        log.bytes.drain(gone);
        assert_eq!(faults(&log.settle().0), [10, 0, 0, 0]);
    }

    #[test]
    fn a_batch_stored_twice_is_duplicated() {
        let mut log = Log::new(5);
        log.append(20, RUN, PARTITION);
        assert_eq!(faults(&log.settle().0), [0, 10, 0, 0]);
    }

    #[test]
    fn batches_that_changed_places_are_reordered() {
        let mut log = Log::new(0);
        log.produced.take(30);
        log.produced.acknowledge(0, 30).unwrap();
        for first in [0, 20, 10] {
            log.append(first, RUN, PARTITION);
        }
        assert_eq!(faults(&log.settle().0), [0, 0, 10, 0]);
    }

    #[test]
    fn a_damaged_batch_is_corrupt_and_lost() {
        let mut log = Log::new(5);
        let at = log.batches[3].start + BATCH_HEADER_BYTES + 50;
        log.bytes[at] ^= 1;
        assert_eq!(faults(&log.settle().0), [10, 0, 0, 10]);
    }

    #[test]
    fn a_damaged_record_under_a_right_batch_checksum_is_corrupt() {
        let mut log = Log::new(1);
        let value = {
            let mut value = vec![0; 100];
            let stamp = Stamp {
                run: RUN,
                producer: PRODUCER,
                partition: PARTITION,
                sequence: 10,
                intended_ns: 0,
            };
            payload::write(
                value.first_chunk_mut().unwrap(),
                &stamp,
                payload::filler_checksum(&[0; 68]),
            );
            value[60] ^= 4;
            value
        };
        let mut builder = BatchBuilder::new();
        builder
            .append(TimestampMs::new(0), None, Some(&value), &[])
            .unwrap();
        let mut batch = Vec::new();
        builder.finish_into(&mut batch).unwrap();
        log.append_bytes(batch, 1);
        assert_eq!(faults(&log.settle().0), [0, 0, 0, 1]);
    }

    #[test]
    fn a_record_in_the_wrong_partition_is_corrupt() {
        let mut log = Log::new(2);
        log.append(0, RUN, PARTITION + 1);
        assert_eq!(faults(&log.settle().0), [0, 0, 0, 10]);
    }

    #[test]
    fn records_of_another_run_are_foreign_and_no_fault() {
        let mut log = Log::new(2);
        log.append(0, RUN + 1, PARTITION);
        let (balance, _) = log.settle();
        assert!(balance.is_clean());
        assert_eq!(balance.foreign, Some(10));
    }

    #[test]
    fn fetches_that_begin_within_a_batch_count_each_record_once() {
        let log = Log::new(3);
        let mut inspector = Inspector::new(RUN, PARTITION, Offset::new(4));
        let first = &log.bytes[..log.batches[1].end];
        assert_eq!(next_offset(first, Offset::new(4)), Ok(Offset::new(20)));
        assert_eq!(inspector.inspect(first, |_, _| {}).unwrap().records, 16);
        assert_eq!(inspector.position(), Offset::new(20));
        // The second fetch brings an old batch along, and ends in the middle of one.
        let second = &log.bytes[log.batches[1].start..];
        assert_eq!(
            inspector
                .inspect(&second[..second.len() - 1], |_, _| {})
                .unwrap()
                .records,
            0
        );
        assert_eq!(inspector.inspect(second, |_, _| {}).unwrap().records, 10);
        assert_eq!(inspector.position(), Offset::new(30));
    }

    #[test]
    fn bytes_that_are_no_batches_are_corrupt() {
        let mut log = Log::new(1);
        log.bytes.extend_from_slice(&[0xFF; 100]);
        assert!(next_offset(&log.bytes, Offset::ZERO).is_err());
        assert_eq!(faults(&log.settle().0), [0, 0, 0, 1]);
    }
}
