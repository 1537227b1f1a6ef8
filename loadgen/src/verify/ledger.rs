//! The books of a run: what each producer had acknowledged in each partition, what consumers saw of it, and the
//! balance of both.
//!
//! A producer keeps a [`ProducedStream`] for each of its partitions; a consumer keeps a [`ConsumedPartition`] for each
//! of its own. Neither is shared while the run lasts; [`settle`] compares them at the end. All counts are exact.
//!
//! - *lost*: acknowledged, but never seen before the drain ended.
//! - *duplicated*: seen again after it was seen before.
//! - *reordered*: seen for the first time after a later sequence of the same producer and partition was seen.
//! - *corrupt*: a checksum that does not match, a record in a partition it was not sent to, or a record that was
//!   never sent.
//!
//! A record whose outcome the producer does not know (its connection broke, or it was refused) may be seen or not;
//! neither is a fault.

use std::collections::{BTreeMap, HashMap};

use super::intervals::{IntervalSet, TooManyGaps};

/// One producer in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The generator's number of the producer.
    pub producer: u32,
    /// The partition.
    pub partition: u32,
}

/// What one producer sent to one partition, and what of it was acknowledged.
#[derive(Debug)]
pub struct ProducedStream {
    id: StreamId,
    next_sequence: u64,
    acknowledged: IntervalSet,
}

impl ProducedStream {
    /// A stream that has sent nothing.
    pub fn new(id: StreamId) -> Self {
        Self {
            id,
            next_sequence: 0,
            acknowledged: IntervalSet::default(),
        }
    }

    /// Which stream it is.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Takes the next `count` sequence numbers and returns the first. They are never given out again, whatever
    /// becomes of the records.
    pub fn take(&mut self, count: u64) -> u64 {
        let first = self.next_sequence;
        self.next_sequence += count;
        first
    }

    /// `count` records from `first` on were acknowledged.
    pub fn acknowledge(&mut self, first: u64, count: u64) -> Result<(), TooManyGaps> {
        debug_assert!(
            first + count <= self.next_sequence,
            "acknowledged what was never sent"
        );
        self.acknowledged.insert(first, first + count).map(|_| ())
    }

    /// How many were acknowledged.
    pub fn acknowledged_count(&self) -> u64 {
        self.acknowledged.count()
    }
}

/// What was seen of one stream.
#[derive(Debug, Default)]
struct SeenStream {
    seen: IntervalSet,
    duplicated: u64,
    reordered: u64,
}

/// What was seen in one partition.
#[derive(Debug)]
pub struct ConsumedPartition {
    partition: u32,
    set: u32,
    streams: HashMap<u32, SeenStream>,
    corrupt: u64,
    foreign: u64,
}

impl ConsumedPartition {
    /// A partition of which nothing was seen yet.
    pub fn new(partition: u32) -> Self {
        Self {
            partition,
            set: 0,
            streams: HashMap::new(),
            corrupt: 0,
            foreign: 0,
        }
    }

    /// The same, seen by a consumer of another set. Each set is held against the whole of what was produced.
    #[must_use]
    pub fn of_set(mut self, set: u32) -> Self {
        self.set = set;
        self
    }

    /// Which partition it is.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// A run of records of one producer, with the sequences `first..end`, was seen in this order.
    pub fn see(&mut self, producer: u32, first: u64, end: u64) -> Result<(), TooManyGaps> {
        let stream = self.streams.entry(producer).or_default();
        let highest = stream.seen.end();
        let fresh = stream.seen.insert(first, end)?;
        stream.duplicated += (end - first) - fresh;
        if first < highest {
            // Sequences at or above the highest so far are in order; the new ones below it came late.
            stream.reordered += fresh - end.saturating_sub(highest);
        }
        Ok(())
    }

    /// A record that is not whole or does not belong here.
    pub fn see_corrupt(&mut self, count: u64) {
        self.corrupt += count;
    }

    /// Records that are not this run's.
    pub fn see_foreign(&mut self, count: u64) {
        self.foreign += count;
    }
}

/// Where records are missing, for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRange {
    /// Whose.
    pub stream: StreamId,
    /// The first missing sequence.
    pub first: u64,
    /// One past the last missing sequence.
    pub end: u64,
}

/// How many missing ranges a balance names.
const MISSING_SHOWN_MAX: usize = 8;

/// The balance of a run. The fields about consumption are `None` when nobody consumed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Balance {
    /// Records sent, whatever became of them.
    pub sent: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Distinct records of this run seen.
    pub seen: Option<u64>,
    /// Acknowledged and never seen.
    pub lost: Option<u64>,
    /// Seen more than once (each further time counts).
    pub duplicated: Option<u64>,
    /// Seen after a later one.
    pub reordered: Option<u64>,
    /// Not whole, misplaced or never sent.
    pub corrupt: Option<u64>,
    /// Records of others in the topic.
    pub foreign: Option<u64>,
    /// The first few missing ranges.
    pub missing: Vec<MissingRange>,
}

impl Balance {
    /// Whether nothing acknowledged was lost, doubled, reordered or damaged as far as that was looked at.
    pub fn is_clean(&self) -> bool {
        [self.lost, self.duplicated, self.reordered, self.corrupt]
            .iter()
            .all(|count| count.unwrap_or(0) == 0)
    }

    /// With the faults that another set of consumers saw.
    fn with(mut self, other: Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| Some(one? + other?);
        self.seen = self.seen.min(other.seen);
        self.lost = sum(self.lost, other.lost);
        self.duplicated = sum(self.duplicated, other.duplicated);
        self.reordered = sum(self.reordered, other.reordered);
        self.corrupt = sum(self.corrupt, other.corrupt);
        self.foreign = sum(self.foreign, other.foreign);
        self.missing.extend(other.missing);
        self.missing.truncate(MISSING_SHOWN_MAX);
        self
    }
}

/// Compares what was acknowledged with what was seen; `consumed` is `None` when nothing was consumed.
pub fn settle(produced: &[ProducedStream], consumed: Option<&[ConsumedPartition]>) -> Balance {
    let totals = Balance {
        sent: produced.iter().map(|stream| stream.next_sequence).sum(),
        acknowledged: produced
            .iter()
            .map(ProducedStream::acknowledged_count)
            .sum(),
        ..Balance::default()
    };
    let Some(consumed) = consumed else {
        return totals;
    };
    let mut sets: BTreeMap<u32, Vec<&ConsumedPartition>> = BTreeMap::new();
    for partition in consumed {
        sets.entry(partition.set).or_default().push(partition);
    }
    if sets.is_empty() {
        sets.insert(0, Vec::new());
    }
    // Faults add up over the sets; what was seen is what all of them saw.
    let of_sets = sets
        .into_values()
        .map(|set| settle_set(totals.clone(), produced, &set));
    of_sets.reduce(Balance::with).unwrap_or(totals)
}

fn settle_set(
    totals: Balance,
    produced: &[ProducedStream],
    consumed: &[&ConsumedPartition],
) -> Balance {
    let sent: BTreeMap<StreamId, &ProducedStream> =
        produced.iter().map(|stream| (stream.id, stream)).collect();
    let mut seen_streams: BTreeMap<StreamId, &SeenStream> = BTreeMap::new();
    let mut balance = totals;
    let (mut seen, mut lost, mut duplicated, mut reordered) = (0, 0, 0, 0);
    let (mut corrupt, mut foreign) = (0, 0);
    for partition in consumed {
        corrupt += partition.corrupt;
        foreign += partition.foreign;
        for (producer, stream) in &partition.streams {
            let id = StreamId {
                producer: *producer,
                partition: partition.partition,
            };
            duplicated += stream.duplicated;
            reordered += stream.reordered;
            let sent_end = sent.get(&id).map_or(0, |stream| stream.next_sequence);
            let never_sent: u64 = stream
                .seen
                .intervals()
                .map(|(start, end)| end.saturating_sub(start.max(sent_end)))
                .sum();
            corrupt += never_sent;
            seen += stream.seen.count() - never_sent;
            seen_streams.insert(id, stream);
        }
    }
    let nothing = IntervalSet::default();
    for stream in produced {
        let seen_of_it = seen_streams
            .get(&stream.id)
            .map_or(&nothing, |seen| &seen.seen);
        for (first, end) in stream.acknowledged.missing_from(seen_of_it) {
            lost += end - first;
            if balance.missing.len() < MISSING_SHOWN_MAX {
                balance.missing.push(MissingRange {
                    stream: stream.id,
                    first,
                    end,
                });
            }
        }
    }
    Balance {
        seen: Some(seen),
        lost: Some(lost),
        duplicated: Some(duplicated),
        reordered: Some(reordered),
        corrupt: Some(corrupt),
        foreign: Some(foreign),
        ..balance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: StreamId = StreamId {
        producer: 3,
        partition: 1,
    };

    fn acknowledged(sent: u64, acknowledged: &[(u64, u64)]) -> ProducedStream {
        let mut stream = ProducedStream::new(STREAM);
        stream.take(sent);
        for (first, end) in acknowledged {
            stream.acknowledge(*first, end - first).unwrap();
        }
        stream
    }

    fn seen(sequences: impl IntoIterator<Item = u64>) -> ConsumedPartition {
        let mut partition = ConsumedPartition::new(STREAM.partition);
        for sequence in sequences {
            partition
                .see(STREAM.producer, sequence, sequence + 1)
                .unwrap();
        }
        partition
    }

    /// Each line: what was sent, acknowledged and seen, and the balance.
    #[test]
    fn planted_faults_are_found() {
        let table = "
            sent | acknowledged | seen           | lost duplicated reordered corrupt
            6    | 0-6          | 0 1 2 3 4 5    | 0 0 0 0
            6    | 0-6          | 0 1 3 4 5      | 1 0 0 0
            6    | 0-6          |                | 6 0 0 0
            6    | 0-3          | 0 1 2          | 0 0 0 0
            6    | 0-3          | 0 1 2 3 4 5    | 0 0 0 0
            6    | 0-6          | 0 1 1 2 3 4 5  | 0 1 0 0
            6    | 0-6          | 0 1 2 3 4 5 0 1| 0 2 0 0
            6    | 0-6          | 0 2 1 3 4 5    | 0 0 1 0
            6    | 0-6          | 5 4 3 2 1 0    | 0 0 5 0
            6    | 0-6          | 1 2 3 4 5 0 0  | 0 1 1 0
            6    | 0-6          | 0 1 2 3 4 5 6  | 0 0 0 1
            6    | 0-2,4-6      | 0 1 4 5        | 0 0 0 0
            6    | 0-2,4-6      | 0 1 2 3 4      | 1 0 0 0
        ";
        for line in table.lines().skip(2).filter(|line| line.contains('|')) {
            let mut cells = line.split('|').map(str::trim);
            let mut cell = || cells.next().unwrap();
            let sent = cell().parse().unwrap();
            let ranges: Vec<(u64, u64)> = cell()
                .split(',')
                .map(|range| range.split_once('-').unwrap())
                .map(|(first, end)| (first.parse().unwrap(), end.parse().unwrap()))
                .collect();
            let sequences: Vec<u64> = cell()
                .split_whitespace()
                .map(|n| n.parse().unwrap())
                .collect();
            let balance = settle(&[acknowledged(sent, &ranges)], Some(&[seen(sequences)]));
            let got = [
                balance.lost,
                balance.duplicated,
                balance.reordered,
                balance.corrupt,
            ]
            .map(|count| count.unwrap().to_string())
            .join(" ");
            assert_eq!(got, cell(), "for {line}");
            assert_eq!(balance.is_clean(), got == "0 0 0 0");
        }
    }

    #[test]
    fn without_consumers_loss_is_unknown_rather_than_zero() {
        let balance = settle(&[acknowledged(6, &[(0, 6)])], None);
        assert_eq!(
            (balance.acknowledged, balance.lost, balance.duplicated),
            (6, None, None)
        );
    }

    #[test]
    fn every_set_of_consumers_is_held_against_all_that_was_produced() {
        let produced = [acknowledged(6, &[(0, 6)])];
        let whole = || seen([0, 1, 2, 3, 4, 5]);
        let both = settle(&produced, Some(&[whole(), whole().of_set(1)]));
        assert_eq!((both.seen, both.duplicated), (Some(6), Some(0)));
        assert!(both.is_clean());
        let one_lacks = settle(&produced, Some(&[whole(), seen([0, 1, 5]).of_set(1)]));
        assert_eq!((one_lacks.seen, one_lacks.lost), (Some(3), Some(3)));
        assert_eq!(one_lacks.missing.len(), 1);
    }

    #[test]
    fn missing_ranges_are_named() {
        let balance = settle(
            &[acknowledged(10, &[(0, 10)])],
            Some(&[seen([0, 1, 4, 5, 6, 9])]),
        );
        let named: Vec<_> = balance
            .missing
            .iter()
            .map(|range| (range.stream, range.first, range.end))
            .collect();
        assert_eq!(named, vec![(STREAM, 2, 4), (STREAM, 7, 9)]);
    }

    #[test]
    fn records_of_an_unknown_producer_were_never_sent() {
        let mut partition = seen(0..6);
        partition.see(99, 0, 2).unwrap();
        let balance = settle(&[acknowledged(6, &[(0, 6)])], Some(&[partition]));
        assert_eq!((balance.corrupt, balance.seen), (Some(2), Some(6)));
    }

    proptest! {
        /// Runs of any length count like single records.
        #[test]
        fn runs_count_as_their_records(runs in prop::collection::vec((0u64..40, 1u64..8), 1..30)) {
            let mut by_run = ConsumedPartition::new(STREAM.partition);
            for (first, length) in &runs {
                by_run.see(STREAM.producer, *first, first + length).unwrap();
            }
            let by_record = seen(runs.iter().flat_map(|(first, length)| *first..first + length));
            let produced = [acknowledged(50, &[(0, 50)])];
            prop_assert_eq!(settle(&produced, Some(&[by_run])), settle(&produced, Some(&[by_record])));
        }
    }
}
