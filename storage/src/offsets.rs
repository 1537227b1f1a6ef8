//! The offsets of one log and the order they keep. Pure.
//!
//! `log_start <= flushed <= log_end`, asserted at every change. Half-open: `flushed` and `log_end` are the first offset
//! that is *not* flushed or not yet assigned.

use crate::seeded_bugs::seeded_bug;
use corelane_format::Offset;

/// Progress of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogOffsets {
    log_start: Offset,
    flushed: Offset,
    log_end: Offset,
    /// How far readers may run ahead of the flush: `flush.messages - 1`.
    unflushed_readable: i64,
}

impl LogOffsets {
    /// A log whose records in `log_start..log_end` are all flushed.
    pub(crate) fn recovered(log_start: Offset, log_end: Offset, flush_messages: u64) -> Self {
        let mut offsets = Self {
            log_start,
            flushed: log_end,
            log_end,
            unflushed_readable: 0,
        };
        offsets.set_flush_messages(flush_messages);
        offsets.check();
        offsets
    }

    fn check(&self) {
        assert!(
            self.log_start <= self.flushed && self.flushed <= self.log_end,
            "log start {} <= flushed {} <= log end {} must hold",
            self.log_start,
            self.flushed,
            self.log_end,
        );
    }

    pub(crate) fn set_flush_messages(&mut self, flush_messages: u64) {
        self.unflushed_readable = i64::try_from(flush_messages.max(1) - 1).unwrap_or(i64::MAX);
    }

    pub(crate) fn log_start(&self) -> Offset {
        self.log_start
    }

    pub(crate) fn flushed(&self) -> Offset {
        self.flushed
    }

    pub(crate) fn log_end(&self) -> Offset {
        self.log_end
    }

    /// The exclusive end of what the topic's durability setting promises: what a crash may take back are never more than
    /// `flush.messages - 1` records that somebody saw.
    pub(crate) fn readable(&self) -> Offset {
        let ahead = self
            .flushed
            .checked_plus(self.unflushed_readable)
            .unwrap_or(Offset::new(i64::MAX));
        if seeded_bug("readable-above-flushed") {
            return self.log_end;
        }
        ahead.min(self.log_end)
    }

    pub(crate) fn append(&mut self, to: Offset) {
        assert!(
            to > self.log_end,
            "an append moves the log end {} on, not to {to}",
            self.log_end
        );
        self.log_end = to;
    }

    pub(crate) fn flush(&mut self, to: Offset) {
        assert!(
            to >= self.flushed,
            "flushed never falls: {} to {to}",
            self.flushed
        );
        self.flushed = to;
        self.check();
    }

    pub(crate) fn advance_start(&mut self, to: Offset) {
        self.log_start = self.log_start.max(to);
        self.check();
    }

    /// Named truncation: the one way in which the end falls.
    pub(crate) fn truncate(&mut self, to: Offset) {
        assert!(
            to <= self.log_end && to >= self.log_start,
            "truncation to {to} leaves the log"
        );
        self.log_end = to;
        self.flushed = self.flushed.min(to);
        self.check();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_follows_the_promise() {
        // flush.messages, flushed, log end -> readable
        for (flush_messages, flushed, end, readable) in [
            (1, 10, 20, 10),
            (1, 20, 20, 20),
            (2, 10, 20, 11),
            (1000, 10, 20, 20),
            (u64::MAX, 10, 20, 20),
            (0, 10, 20, 10),
        ] {
            let mut offsets =
                LogOffsets::recovered(Offset::ZERO, Offset::new(flushed), flush_messages);
            if end > flushed {
                offsets.append(Offset::new(end));
            }
            assert_eq!(
                offsets.readable(),
                Offset::new(readable),
                "{flush_messages} {flushed} {end}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "flushed never falls")]
    fn flushed_never_falls() {
        LogOffsets::recovered(Offset::ZERO, Offset::new(5), 1).flush(Offset::new(4));
    }
}
