//! An account, kept outside the server, of what the server acknowledged and of what it let consumers read.
//!
//! Every record's value tells its producer and its number among that producer's records in its partition. So the
//! record at an offset is known by its tag, and numbers that do not rise with the offsets betray a doubled or a
//! reordered record.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Which record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag {
    pub(crate) producer: u32,
    pub(crate) partition: i32,
    /// Counted from 0 for each producer and partition.
    pub(crate) number: u64,
}

impl Tag {
    /// The record's value: the tag, and a filling that depends on it.
    pub(crate) fn value(self) -> String {
        let Self {
            producer,
            partition,
            number,
        } = self;
        let filling = (number.wrapping_mul(31) + u64::from(producer) * 7) % 200;
        format!(
            "{producer}:{partition}:{number}:{}",
            "x".repeat(filling as usize)
        )
    }

    /// The tag of a value, if it is whole.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut fields = text.splitn(4, ':');
        let tag = Self {
            producer: fields.next()?.parse().ok()?,
            partition: fields.next()?.parse().ok()?,
            number: fields.next()?.parse().ok()?,
        };
        (tag.value() == text).then_some(tag)
    }
}

/// What the server promised.
#[derive(Default)]
pub(crate) struct Ledger {
    promised: BTreeMap<(i32, i64), Tag>,
    /// Acknowledged by a retry whose answer did not hold the offset.
    promised_somewhere: HashSet<Tag>,
    acknowledged: u64,
    contradictions: Vec<String>,
}

impl Ledger {
    /// The server acknowledged this record at this offset (negative: it did not say where).
    pub(crate) fn acknowledged(&mut self, tag: Tag, offset: i64) {
        self.acknowledged += 1;
        if offset < 0 {
            self.promised_somewhere.insert(tag);
        } else {
            self.promise(tag, offset, "acknowledged");
        }
    }

    /// The server gave a consumer this record from this offset.
    pub(crate) fn seen(&mut self, partition: i32, offset: i64, value: &[u8]) {
        match Tag::parse(value) {
            Some(tag) => self.promise(tag, offset, "read"),
            None => self.contradictions.push(format!(
                "partition {partition}, offset {offset}: a damaged value was read"
            )),
        }
    }

    fn promise(&mut self, tag: Tag, offset: i64, how: &str) {
        let place = (tag.partition, offset);
        if let Some(other) = self
            .promised
            .insert(place, tag)
            .filter(|other| *other != tag)
        {
            self.contradictions.push(format!(
                "at {place:?}: {other:?} was promised, and then {tag:?} was {how}"
            ));
        }
    }

    /// How many acknowledgements there were.
    pub(crate) fn count(&self) -> u64 {
        self.acknowledged
    }

    /// Fails the test if the server's promises contradict each other.
    pub(crate) fn assert_consistent(&self) {
        assert!(self.contradictions.is_empty(), "{:#?}", self.contradictions);
    }

    /// What was promised of a partition in a range of offsets.
    pub(crate) fn promised_in(&self, partition: i32, start: i64, end: i64) -> BTreeMap<i64, Tag> {
        self.promised
            .range((partition, start)..(partition, end))
            .map(|((_, offset), tag)| (*offset, *tag))
            .collect()
    }

    /// The highest offset promised of a partition.
    pub(crate) fn last_promised(&self, partition: i32) -> Option<i64> {
        self.promised
            .range((partition, 0)..=(partition, i64::MAX))
            .next_back()
            .map(|((_, offset), _)| *offset)
    }

    /// Records acknowledged without an offset.
    pub(crate) fn promised_somewhere(&self) -> &HashSet<Tag> {
        &self.promised_somewhere
    }
}

/// Checks one partition's records, given one after the other from offset `next_offset` on.
pub(crate) struct Audit {
    partition: i32,
    next_offset: i64,
    promised: BTreeMap<i64, Tag>,
    last_number: HashMap<u32, u64>,
    offset_of: HashMap<Tag, i64>,
    /// Producers that retry until they succeed: none of their numbers may be missing.
    gapless: fn(u32) -> bool,
}

impl Audit {
    /// An audit of `partition` from `start` on.
    pub(crate) fn new(
        partition: i32,
        start: i64,
        promised: BTreeMap<i64, Tag>,
        gapless: fn(u32) -> bool,
    ) -> Self {
        Self {
            partition,
            next_offset: start,
            promised,
            last_number: HashMap::new(),
            offset_of: HashMap::new(),
            gapless,
        }
    }

    /// The next record.
    pub(crate) fn record(&mut self, offset: i64, value: &[u8]) {
        let at = format!("partition {}, offset {offset}", self.partition);
        assert_eq!(offset, self.next_offset, "{at}: offsets are not in a row");
        self.next_offset += 1;
        let tag = Tag::parse(value)
            .unwrap_or_else(|| panic!("{at}: damaged value {:?}", String::from_utf8_lossy(value)));
        assert_eq!(
            tag.partition, self.partition,
            "{at}: {tag:?} was sent to another partition"
        );
        if let Some(promised) = self.promised.remove(&offset) {
            assert_eq!(
                tag, promised,
                "{at}: another record than the one promised (the second)"
            );
        }
        if let Some(last) = self.last_number.insert(tag.producer, tag.number) {
            if let Some(first) = self.offset_of.get(&tag) {
                panic!("{at}: {tag:?} is doubled, it is at offset {first} already");
            }
            assert!(
                tag.number > last,
                "{at}: reordered, {tag:?} after number {last}"
            );
            let missing = tag.number - last - 1;
            assert!(
                !(self.gapless)(tag.producer) || missing == 0,
                "{at}: {missing} records are missing before {tag:?}"
            );
        }
        self.offset_of.insert(tag, offset);
    }

    /// All records were given. Gives where each was.
    pub(crate) fn finish(self) -> HashMap<Tag, i64> {
        assert!(
            self.promised.is_empty(),
            "partition {}: lost {:?}",
            self.partition,
            self.promised
        );
        self.offset_of
    }
}
