//! Which records stay. Pure.
//!
//! | record | stays |
//! |---|---|
//! | at or above the end of what the map has seen | yes |
//! | without a key | no |
//! | a later record has its key | no |
//! | with a value | yes |
//! | a tombstone above something that cannot be compacted | yes: what it deletes may be in there |
//! | a tombstone without a delete horizon, or before it | yes |
//! | a tombstone at or after its horizon | no |
//!
//! A batch that holds a producer's last sequence stays as a bare header. Markers of transactions stay.

use std::collections::BTreeMap;

use corelane_format::kafka::Record;
use corelane_format::record_filter::{BatchFacts, BatchRule, RecordFilter};
use corelane_format::{Offset, ProducerEpoch, TimestampMs};

use super::offset_map::OffsetMap;
use crate::seeded_bugs::seeded_bug;

/// What must be kept of a producer so that its next sequence can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastOfProducer {
    pub(crate) epoch: ProducerEpoch,
    /// The last offset of its last batch.
    pub(crate) newest: Option<Offset>,
    /// The same among what is durable: a crash takes back the rest.
    pub(crate) newest_durable: Option<Offset>,
}

/// Kafka's rules for one pass.
pub(crate) struct CompactionFilter<'a> {
    pub(crate) map: &'a OffsetMap,
    /// Exclusive: below it the map has seen every key.
    pub(crate) mapped_end: Offset,
    pub(crate) producers: &'a BTreeMap<i64, LastOfProducer>,
    pub(crate) now: TimestampMs,
    pub(crate) delete_retention_ms: u64,
    /// The lowest offset of what cannot be compacted.
    pub(crate) stays_from: Option<Offset>,
}

impl CompactionFilter<'_> {
    /// Notes that everything from `offset` on lies above something that stays as it is.
    pub(crate) fn stays(&mut self, offset: Offset) {
        self.stays_from = Some(self.stays_from.map_or(offset, |known| known.min(offset)));
    }
}

impl RecordFilter for CompactionFilter<'_> {
    fn batch(&mut self, batch: &BatchFacts) -> BatchRule {
        let is_last = self
            .producers
            .get(&batch.producer_id.get())
            .is_some_and(|last| match last.newest {
                Some(newest) => {
                    batch.last_offset == newest || Some(batch.last_offset) == last.newest_durable
                }
                None => batch.is_control && batch.producer_epoch == last.epoch,
            });
        BatchRule {
            retains_empty: batch.producer_id.is_some()
                && is_last
                && !seeded_bug("last-sequence-dropped"),
            ..BatchRule::default()
        }
    }

    fn keeps(&mut self, batch: &BatchFacts, record: &Record<'_>) -> bool {
        let offset = batch.base_offset.plus(i64::from(record.offset_delta));
        if offset >= self.mapped_end {
            return true;
        }
        let Some(key) = record.key else {
            return false;
        };
        let superseded_by = self.map.get(key);
        if superseded_by
            .is_some_and(|last| last > offset || (last == offset && seeded_bug("latest-dropped")))
        {
            return false;
        }
        record.value.is_some()
            || (self.stays_from.is_some_and(|from| from < offset)
                && !seeded_bug("tombstone-above-damage-dropped"))
            || (batch
                .delete_horizon
                .is_none_or(|horizon| self.now < horizon)
                && !seeded_bug("tombstone-before-its-horizon-dropped"))
    }

    fn delete_horizon(&self) -> TimestampMs {
        let retention_ms = i64::try_from(self.delete_retention_ms).unwrap_or(i64::MAX);
        TimestampMs::new(self.now.get().saturating_add(retention_ms))
    }
}

#[cfg(test)]
mod tests {
    use corelane_format::ProducerId;

    use super::*;

    fn facts(base: i64, delete_horizon: Option<i64>) -> BatchFacts {
        BatchFacts {
            base_offset: Offset::new(base),
            last_offset: Offset::new(base),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            is_control: false,
            delete_horizon: delete_horizon.map(TimestampMs::new),
        }
    }

    #[test]
    fn records() {
        let mut map = OffsetMap::new(1 << 10, 10);
        map.put(b"a", Offset::new(20));
        map.put(b"d", Offset::new(30));
        let producers = BTreeMap::new();
        let mut filter = CompactionFilter {
            map: &map,
            mapped_end: Offset::new(40),
            producers: &producers,
            now: TimestampMs::new(1000),
            delete_retention_ms: 50,
            stays_from: None,
        };
        assert_eq!(filter.delete_horizon().get(), 1050);
        for (name, offset, key, has_value, horizon, from, expected) in [
            ("above the map", 40, None, false, None, None, true),
            ("no key", 39, None, true, None, None, false),
            ("superseded", 19, Some("a"), true, None, None, false),
            ("the last", 20, Some("a"), true, None, None, true),
            ("of the clean part", 5, Some("z"), true, None, None, true),
            ("a new tombstone", 30, Some("d"), false, None, None, true),
            (
                "a superseded tombstone",
                19,
                Some("a"),
                false,
                None,
                None,
                false,
            ),
            (
                "before its horizon",
                30,
                Some("d"),
                false,
                Some(1001),
                None,
                true,
            ),
            (
                "at its horizon",
                30,
                Some("d"),
                false,
                Some(1000),
                None,
                false,
            ),
            (
                "a value beside an old horizon",
                30,
                Some("d"),
                true,
                Some(1),
                None,
                true,
            ),
            (
                "above what stays",
                30,
                Some("d"),
                false,
                Some(1),
                Some(29),
                true,
            ),
            (
                "below what stays",
                30,
                Some("d"),
                false,
                Some(1),
                Some(31),
                false,
            ),
            (
                "superseded above what stays",
                19,
                Some("a"),
                true,
                None,
                Some(1),
                false,
            ),
        ] {
            filter.stays_from = from.map(Offset::new);
            let record = Record {
                offset_delta: 0,
                timestamp: TimestampMs::new(1),
                key: key.map(str::as_bytes),
                value: has_value.then_some(b"v"),
                headers: corelane_format::kafka::Headers::default(),
            };
            assert_eq!(
                filter.keeps(&facts(offset, horizon), &record),
                expected,
                "{name}"
            );
        }
        filter.stays_from = None;
        filter.stays(Offset::new(9));
        filter.stays(Offset::new(12));
        assert_eq!(filter.stays_from, Some(Offset::new(9)));
    }

    #[test]
    fn the_last_batch_of_a_producer_stays() {
        let map = OffsetMap::new(0, 0);
        let last = |newest: Option<i64>, durable: Option<i64>| LastOfProducer {
            epoch: ProducerEpoch::new(2),
            newest: newest.map(Offset::new),
            newest_durable: durable.map(Offset::new),
        };
        let producers = BTreeMap::from([(1, last(Some(50), Some(30))), (2, last(None, None))]);
        let mut filter = CompactionFilter {
            map: &map,
            mapped_end: Offset::new(40),
            producers: &producers,
            now: TimestampMs::new(0),
            delete_retention_ms: 0,
            stays_from: None,
        };
        for (id, epoch, offset, is_control, expected) in [
            (1, 2, 50, false, true),
            (1, 2, 30, false, true),
            (1, 2, 49, false, false),
            (2, 2, 10, true, true),
            (2, 1, 10, true, false),
            (2, 2, 10, false, false),
            (3, 2, 50, false, false),
            (-1, -1, 50, false, false),
        ] {
            let facts = BatchFacts {
                producer_id: ProducerId::new(id),
                producer_epoch: ProducerEpoch::new(epoch),
                is_control,
                ..facts(offset, None)
            };
            assert_eq!(
                filter.batch(&facts).retains_empty,
                expected,
                "{id} {epoch} {offset}"
            );
        }
    }
}
