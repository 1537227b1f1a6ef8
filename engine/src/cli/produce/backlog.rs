//! The records of one partition that are not yet acknowledged: what to send next, and what an answer means.
//!
//! One batch is in flight at a time, so order holds without more ado, and whatever queues up meanwhile makes up the next
//! batch: batches are as large as the server is slow. Records leave only by [`Backlog::acknowledge`],
//! [`Backlog::skip`] and [`Backlog::give_up`], so a batch can be sent again as it was, which an idempotent producer needs.
//!
//! Pure: no socket, no clock.

use std::collections::VecDeque;

use super::line::InputRecord;

/// The records waiting for one partition, oldest first.
#[derive(Debug)]
pub(crate) struct Backlog {
    records: VecDeque<InputRecord>,
    size_bytes: usize,
    /// Records of the batch in flight; 0 if there is none.
    in_flight: usize,
    /// Set when the server found a batch too large; lasts until a batch of at most so many is taken.
    records_max: usize,
    /// Sequence number of the oldest record, for an idempotent producer.
    next_sequence: i32,
}

impl Backlog {
    /// An empty backlog.
    pub(crate) fn new() -> Self {
        Self {
            records: VecDeque::new(),
            size_bytes: 0,
            in_flight: 0,
            records_max: usize::MAX,
            next_sequence: 0,
        }
    }

    /// Adds a record behind all others.
    pub(crate) fn push(&mut self, record: InputRecord) {
        self.size_bytes += record.size_bytes();
        self.records.push_back(record);
    }

    /// Bytes of all records that are here, in flight or not.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Whether a batch can be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        self.in_flight == 0 && !self.records.is_empty()
    }

    /// Whether nothing is left to be acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Sequence number of the first record of the batch in flight, or of the next one.
    pub(crate) fn next_sequence(&self) -> i32 {
        self.next_sequence
    }

    /// Puts the oldest records in flight, up to `size_bytes_max` and at least one.
    ///
    /// Must only be called when [`Backlog::is_ready`].
    pub(crate) fn take_batch(&mut self, size_bytes_max: usize) {
        assert!(self.is_ready(), "one batch is in flight at a time");
        let mut size_bytes = 0;
        for record in self.records.iter().take(self.records_max) {
            size_bytes += record.size_bytes();
            if self.in_flight > 0 && size_bytes > size_bytes_max {
                break;
            }
            self.in_flight += 1;
        }
    }

    /// The records in flight: to send them again just as they were.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &InputRecord> + Clone {
        self.records.iter().take(self.in_flight)
    }

    /// The batch in flight is delivered. Returns how many records that were.
    pub(crate) fn acknowledge(&mut self) -> usize {
        let count = self.in_flight;
        self.forget(count);
        // Sequences are the non-negative i32 and wrap to 0.
        self.next_sequence = self.next_sequence.wrapping_add(count as i32) & i32::MAX;
        self.records_max = usize::MAX;
        count
    }

    /// The batch in flight was refused for its size. Returns whether a smaller one can be tried; nothing is in flight
    /// afterwards if so.
    pub(crate) fn split(&mut self) -> bool {
        if self.in_flight < 2 {
            return false;
        }
        self.records_max = self.in_flight / 2;
        self.in_flight = 0;
        true
    }

    /// Drops the batch in flight, which the server will never take, so that what is behind it can go; returns the lines.
    pub(crate) fn skip(&mut self) -> Vec<u64> {
        let lines = self.in_flight().map(|record| record.line).collect();
        self.forget(self.in_flight);
        self.records_max = usize::MAX;
        lines
    }

    /// Drops everything; returns the lines.
    pub(crate) fn give_up(&mut self) -> Vec<u64> {
        let lines = self.records.iter().map(|record| record.line).collect();
        self.forget(self.records.len());
        lines
    }

    fn forget(&mut self, count: usize) {
        for record in self.records.drain(..count) {
            self.size_bytes -= record.size_bytes();
        }
        self.in_flight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(line: u64) -> InputRecord {
        InputRecord {
            line,
            timestamp_ms: 0,
            key: None,
            value: Some(vec![b'x'; 84]),
        }
    }

    fn backlog(lines: std::ops::RangeInclusive<u64>) -> Backlog {
        let mut backlog = Backlog::new();
        for line in lines {
            backlog.push(record(line));
        }
        backlog
    }

    fn take(backlog: &mut Backlog, size_bytes_max: usize) -> Vec<u64> {
        backlog.take_batch(size_bytes_max);
        backlog.in_flight().map(|record| record.line).collect()
    }

    #[test]
    fn batches_hold_what_fits_and_at_least_one() {
        let mut backlog = backlog(1..=5);
        assert_eq!(record(1).size_bytes(), 100);
        assert_eq!(take(&mut backlog, 250), [1, 2]);
        assert!(!backlog.is_ready());
        assert_eq!(backlog.acknowledge(), 2);
        assert_eq!(take(&mut backlog, 1), [3]);
        assert_eq!(backlog.acknowledge(), 1);
        assert_eq!(take(&mut backlog, 1_000), [4, 5]);
        assert_eq!(backlog.size_bytes(), 200);
        assert_eq!(backlog.acknowledge(), 2);
        assert!(backlog.is_empty() && !backlog.is_ready());
        assert_eq!((backlog.size_bytes(), backlog.next_sequence()), (0, 5));
    }

    #[test]
    fn a_batch_in_flight_stays_as_it_was_when_more_comes() {
        let mut backlog = backlog(1..=2);
        assert_eq!(take(&mut backlog, 1_000), [1, 2]);
        backlog.push(record(3));
        assert_eq!(
            backlog
                .in_flight()
                .map(|record| record.line)
                .collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(backlog.next_sequence(), 0);
    }

    #[test]
    fn a_batch_that_is_too_large_is_halved_down_to_the_record_that_is_to_blame() {
        let mut backlog = backlog(1..=5);
        assert_eq!(take(&mut backlog, 1_000), [1, 2, 3, 4, 5]);
        assert!(backlog.split());
        assert_eq!(take(&mut backlog, 1_000), [1, 2]);
        assert!(backlog.split());
        assert_eq!(take(&mut backlog, 1_000), [1]);
        assert_eq!(backlog.acknowledge(), 1);
        assert_eq!(
            take(&mut backlog, 1_000),
            [2, 3, 4, 5],
            "and then tries large ones again"
        );
        assert!(backlog.split() && take(&mut backlog, 1_000) == [2, 3] && backlog.split());
        assert_eq!(take(&mut backlog, 1_000), [2]);
        assert!(!backlog.split());
        assert_eq!(backlog.skip(), [2]);
        assert_eq!(
            backlog.next_sequence(),
            1,
            "what the server refused has no sequence"
        );
        assert_eq!(take(&mut backlog, 1_000), [3, 4, 5]);
        assert_eq!(backlog.give_up(), [3, 4, 5]);
        assert!(backlog.is_empty() && !backlog.is_ready());
        assert_eq!(backlog.size_bytes(), 0);
    }

    #[test]
    fn sequences_wrap_as_kafkas_do() {
        let mut backlog = backlog(1..=3);
        backlog.next_sequence = i32::MAX - 1;
        take(&mut backlog, 1_000);
        backlog.acknowledge();
        assert_eq!(backlog.next_sequence(), 1);
    }
}
