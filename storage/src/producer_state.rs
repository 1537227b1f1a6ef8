//! What a log knows of its idempotent producers. Pure.
//!
//! Per producer id: its epoch and its last five batches. The rules are Kafka's (`ProducerAppendInfo`,
//! `ProducerStateEntry`), so that its clients' retry logic holds:
//!
//! | incoming batch | answer |
//! |---|---|
//! | unknown producer id, any sequence | accepted: its records may have been deleted or expired |
//! | same epoch, exactly the sequences of one of the last five batches | duplicate: the original offsets |
//! | lower epoch | invalid producer epoch |
//! | higher epoch, sequence 0 | accepted, the old batches are forgotten |
//! | higher epoch, other sequence | out of order |
//! | same epoch, sequence follows the last one (0 after `i32::MAX`) | accepted |
//! | same epoch, anything else | out of order |
//!
//! The table is derived: recovery rebuilds it from batch headers, sidecars only carry snapshots of it. It is bounded:
//! entries expire a day after their last batch, and above [`PRODUCERS_MAX`] the one unused for longest goes.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use corelane_format::kafka::BatchHeader;
use corelane_format::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::bytes::{Reader, put_i16, put_i32, put_i64, put_u32};
use crate::compaction::retention::LastOfProducer;
use crate::seeded_bugs::seeded_bug;

/// How many batches of a producer are remembered: clients keep at most five in flight.
pub const BATCHES_KEPT: usize = 5;
/// How many producers one log remembers.
pub const PRODUCERS_MAX: usize = 10_000;
/// Kafka's `producer.id.expiration.ms`.
pub const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;

/// Why a batch of an idempotent producer is not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// It was appended before, at these offsets.
    #[error("duplicate of the batch at {base_offset}..={last_offset}")]
    Duplicate {
        /// First offset of the original.
        base_offset: Offset,
        /// Last offset of the original.
        last_offset: Offset,
    },
    /// Its sequence does not follow.
    #[error("producer {producer_id} epoch {epoch} sent sequence {got}, after {last}")]
    OutOfOrder {
        /// Whose.
        producer_id: ProducerId,
        /// The batch's epoch.
        epoch: ProducerEpoch,
        /// The batch's first sequence.
        got: Sequence,
        /// The last sequence known; negative if none.
        last: Sequence,
    },
    /// A newer incarnation of the producer has written already.
    #[error("producer {producer_id} sent epoch {got}, current is {current}")]
    InvalidEpoch {
        /// Whose.
        producer_id: ProducerId,
        /// The batch's epoch.
        got: ProducerEpoch,
        /// The epoch known.
        current: ProducerEpoch,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KnownBatch {
    first_sequence: Sequence,
    last_sequence: Sequence,
    base_offset: Offset,
    last_offset: Offset,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    /// Oldest first, at most [`BATCHES_KEPT`].
    batches: VecDeque<KnownBatch>,
    last_used: TimestampMs,
}

/// The table of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerState {
    producers: BTreeMap<i64, Producer>,
}

impl ProducerState {
    /// The memory behind it, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        let entry = std::mem::size_of::<(i64, Producer)>();
        self.producers
            .values()
            .map(|producer| entry + producer.batches.capacity() * std::mem::size_of::<KnownBatch>())
            .sum()
    }

    /// Whether the batch may be appended. Changes nothing.
    pub fn check(&self, batch: &BatchHeader) -> Result<(), ProducerError> {
        if !batch.producer_id.is_some() {
            return Ok(());
        }
        let Some(known) = self.producers.get(&batch.producer_id.get()) else {
            return Ok(());
        };
        if batch.producer_epoch < known.epoch {
            return Err(ProducerError::InvalidEpoch {
                producer_id: batch.producer_id,
                got: batch.producer_epoch,
                current: known.epoch,
            });
        }
        if batch.attributes.is_control() || batch.base_sequence.get() < 0 {
            return Ok(());
        }
        let same_epoch = batch.producer_epoch == known.epoch;
        if same_epoch
            && let Some(original) = known.batches.iter().find(|original| {
                original.first_sequence == batch.base_sequence
                    && original.last_sequence == batch.last_sequence()
            })
        {
            return Err(ProducerError::Duplicate {
                base_offset: original.base_offset,
                last_offset: original.last_offset,
            });
        }
        let last = known
            .batches
            .back()
            .map_or(Sequence::NONE, |batch| batch.last_sequence);
        let follows = if same_epoch && last.get() >= 0 {
            last.is_followed_by(batch.base_sequence)
        } else {
            batch.base_sequence.get() == 0
        };
        if follows {
            Ok(())
        } else {
            Err(ProducerError::OutOfOrder {
                producer_id: batch.producer_id,
                epoch: batch.producer_epoch,
                got: batch.base_sequence,
                last,
            })
        }
    }

    /// Takes an appended batch into account; `batch` carries its final offsets. Also for recovery, where nothing is
    /// checked: the log is the truth.
    pub fn observe(&mut self, batch: &BatchHeader, now: TimestampMs) {
        if !batch.producer_id.is_some() {
            return;
        }
        let id = batch.producer_id.get();
        let producer = self.producers.entry(id).or_insert_with(|| Producer {
            epoch: batch.producer_epoch,
            batches: VecDeque::new(),
            last_used: now,
        });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        producer.last_used = producer.last_used.max(now);
        if !batch.attributes.is_control() && batch.base_sequence.get() >= 0 {
            if producer.batches.len() == BATCHES_KEPT || seeded_bug("one-batch-remembered") {
                producer.batches.pop_front();
            }
            producer.batches.push_back(KnownBatch {
                first_sequence: batch.base_sequence,
                last_sequence: batch.last_sequence(),
                base_offset: batch.base_offset,
                last_offset: batch.last_offset(),
            });
        }
        if self.producers.len() > PRODUCERS_MAX {
            self.make_room(id, now);
        }
    }

    fn make_room(&mut self, newest: i64, now: TimestampMs) {
        self.expire(now);
        while self.producers.len() > PRODUCERS_MAX {
            let oldest = self
                .producers
                .iter()
                .filter(|(id, _)| **id != newest)
                .min_by_key(|(_, producer)| producer.last_used)
                .map(|(id, _)| *id);
            match oldest {
                Some(id) => self.producers.remove(&id),
                None => return,
            };
        }
    }

    /// Forgets producers whose last batch is older than [`PRODUCER_EXPIRATION_MS`].
    pub fn expire(&mut self, now: TimestampMs) {
        self.producers.retain(|_, producer| {
            now.get().saturating_sub(producer.last_used.get()) < PRODUCER_EXPIRATION_MS
        });
    }

    /// Forgets batches at or above `to`, which were cut off. A producer of which nothing is left is forgotten.
    pub fn truncate(&mut self, to: Offset) {
        self.producers.retain(|_, producer| {
            let had_batches = !producer.batches.is_empty();
            producer.batches.retain(|batch| batch.last_offset < to);
            !had_batches || !producer.batches.is_empty()
        });
    }

    /// How many producers are known.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// The active producers: id, epoch, last sequence (negative if none), when it last wrote.
    pub fn iter(
        &self,
    ) -> impl Iterator<Item = (ProducerId, ProducerEpoch, Sequence, TimestampMs)> + '_ {
        self.producers.iter().map(|(id, producer)| {
            let last = producer
                .batches
                .back()
                .map_or(Sequence::NONE, |batch| batch.last_sequence);
            (
                ProducerId::new(*id),
                producer.epoch,
                last,
                producer.last_used,
            )
        })
    }

    /// What compaction must keep of each producer: the last offset of its last batch, and of the last one that is durable.
    pub(crate) fn last_batches(&self, flushed: Offset) -> BTreeMap<i64, LastOfProducer> {
        let last_of = |producer: &Producer| LastOfProducer {
            epoch: producer.epoch,
            newest: producer.batches.back().map(|batch| batch.last_offset),
            newest_durable: producer
                .batches
                .iter()
                .rev()
                .map(|batch| batch.last_offset)
                .find(|last_offset| *last_offset < flushed),
        };
        self.producers
            .iter()
            .map(|(id, producer)| (*id, last_of(producer)))
            .collect()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, self.producers.len() as u32);
        for (id, producer) in &self.producers {
            put_i64(out, *id);
            put_i16(out, producer.epoch.get());
            put_i64(out, producer.last_used.get());
            put_u32(out, producer.batches.len() as u32);
            for batch in &producer.batches {
                put_i32(out, batch.first_sequence.get());
                put_i32(out, batch.last_sequence.get());
                put_i64(out, batch.base_offset.get());
                put_i64(out, batch.last_offset.get());
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let count = reader.count(22)?;
        let mut producers = BTreeMap::new();
        for _ in 0..count {
            let id = reader.i64()?;
            let epoch = ProducerEpoch::new(reader.i16()?);
            let last_used = TimestampMs::new(reader.i64()?);
            let kept = reader.count(24).filter(|kept| *kept <= BATCHES_KEPT)?;
            let mut batches = VecDeque::with_capacity(kept);
            for _ in 0..kept {
                batches.push_back(KnownBatch {
                    first_sequence: Sequence::new(reader.i32()?),
                    last_sequence: Sequence::new(reader.i32()?),
                    base_offset: Offset::new(reader.i64()?),
                    last_offset: Offset::new(reader.i64()?),
                });
            }
            producers.insert(
                id,
                Producer {
                    epoch,
                    batches,
                    last_used,
                },
            );
        }
        Some(Self { producers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_format::LeaderEpoch;
    use corelane_format::kafka::Attributes;

    fn batch(id: i64, epoch: i16, sequence: i32, count: i32, offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset: Offset::new(offset),
            batch_length: 49,
            partition_leader_epoch: LeaderEpoch::new(0),
            magic: 2,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: count - 1,
            base_timestamp: TimestampMs::new(0),
            max_timestamp: TimestampMs::new(0),
            producer_id: ProducerId::new(id),
            producer_epoch: ProducerEpoch::new(epoch),
            base_sequence: Sequence::new(sequence),
            records_count: count,
        }
    }

    /// A history of `id/epoch/sequence+count` batches, then one more and its answer.
    fn check(history: &[(i64, i16, i32, i32)], next: (i64, i16, i32, i32), expected: &str) {
        let mut state = ProducerState::default();
        let mut offset = 0;
        for (id, epoch, sequence, count) in history {
            state.observe(
                &batch(*id, *epoch, *sequence, *count, offset),
                TimestampMs::new(0),
            );
            offset += i64::from(*count);
        }
        let got = match state.check(&batch(next.0, next.1, next.2, next.3, offset)) {
            Ok(()) => "ok".to_owned(),
            Err(ProducerError::Duplicate {
                base_offset,
                last_offset,
            }) => {
                format!("duplicate {base_offset}..{last_offset}")
            }
            Err(ProducerError::OutOfOrder { last, .. }) => format!("out of order after {last}"),
            Err(ProducerError::InvalidEpoch { current, .. }) => format!("epoch is {current}"),
        };
        assert_eq!(got, expected, "{history:?} then {next:?}");
    }

    #[test]
    fn decisions() {
        const MAX: i32 = i32::MAX;
        check(&[], (1, 0, 0, 5), "ok");
        check(&[], (1, 0, 77, 5), "ok");
        check(&[(1, 0, 0, 5)], (1, 0, 5, 1), "ok");
        check(&[(1, 0, 0, 5)], (1, 0, 0, 5), "duplicate 0..4");
        check(&[(1, 0, 0, 5)], (1, 0, 0, 4), "out of order after 4");
        check(&[(1, 0, 0, 5)], (1, 0, 6, 1), "out of order after 4");
        check(&[(1, 0, 0, 5)], (2, 0, 9, 1), "ok");
        check(&[(1, 1, 0, 5)], (1, 0, 5, 1), "epoch is 1");
        check(&[(1, 1, 0, 5)], (1, 2, 0, 1), "ok");
        check(&[(1, 1, 0, 5)], (1, 2, 5, 1), "out of order after 4");
        // A sequence used again after an epoch bump is a new batch and not a duplicate of the old.
        check(
            &[(1, 0, 0, 5), (1, 1, 0, 2)],
            (1, 1, 0, 5),
            "out of order after 1",
        );
        check(
            &[(1, 0, 0, 5), (1, 1, 0, 2)],
            (1, 1, 0, 2),
            "duplicate 5..6",
        );
        // The fifth batch back is still known, the sixth is not.
        let five = [
            (1, 0, 0, 1),
            (1, 0, 1, 1),
            (1, 0, 2, 1),
            (1, 0, 3, 1),
            (1, 0, 4, 1),
            (1, 0, 5, 1),
        ];
        check(&five, (1, 0, 1, 1), "duplicate 1..1");
        check(&five, (1, 0, 0, 1), "out of order after 5");
        // Sequences wrap.
        check(&[(1, 0, MAX - 1, 2)], (1, 0, 0, 3), "ok");
        check(&[(1, 0, MAX, 3)], (1, 0, 2, 1), "ok");
        check(&[(1, 0, MAX, 3)], (1, 0, MAX, 3), "duplicate 0..2");
    }

    #[test]
    fn batches_without_producer_are_never_refused() {
        let mut state = ProducerState::default();
        state.observe(&batch(-1, -1, -1, 5, 0), TimestampMs::new(0));
        assert_eq!(state.check(&batch(-1, -1, -1, 5, 5)), Ok(()));
        assert!(state.is_empty());
    }

    #[test]
    fn expiry_truncation_and_bound() {
        let mut state = ProducerState::default();
        state.observe(&batch(1, 0, 0, 5, 0), TimestampMs::new(0));
        state.observe(&batch(2, 0, 0, 5, 5), TimestampMs::new(10));
        state.expire(TimestampMs::new(PRODUCER_EXPIRATION_MS));
        assert_eq!(state.len(), 1, "the first has expired");
        state.truncate(Offset::new(7));
        assert!(state.is_empty(), "its only batch was cut off");
        for id in 0..=PRODUCERS_MAX as i64 {
            state.observe(&batch(id, 0, 0, 1, id), TimestampMs::new(id));
        }
        assert_eq!(state.len(), PRODUCERS_MAX);
        assert_eq!(
            state.iter().next().map(|(id, ..)| id),
            Some(ProducerId::new(1)),
            "the oldest went"
        );
    }

    #[test]
    fn snapshot_round_trip() {
        let mut state = ProducerState::default();
        for (id, epoch, sequence, count, offset) in
            [(1, 0, 0, 5, 0), (9, 3, 7, 2, 5), (1, 0, 5, 1, 7)]
        {
            state.observe(
                &batch(id, epoch, sequence, count, offset),
                TimestampMs::new(offset),
            );
        }
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        assert_eq!(ProducerState::decode(&mut Reader(&bytes)), Some(state));
        for cut in 0..bytes.len() {
            assert_eq!(
                ProducerState::decode(&mut Reader(&bytes[..cut])),
                None,
                "cut at {cut}"
            );
        }
    }
}
