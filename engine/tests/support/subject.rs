//! A server that a test mistreats, and a bystander that must not notice.

use super::{
    admin::{create_topic, watermarks},
    batch::Batch,
    server::{Listen, Server, is_kafka},
    wire::{Connection, Produced},
};

/// What a server may grow by under hostile input. A JVM's heap grows as it likes within its own bound.
const GROWTH_MAX_BYTES: u64 = 64 << 20;

/// A server with a topic, a connection that behaves, and the records that this connection stored.
pub(crate) struct Subject {
    pub(crate) server: Server,
    good: Connection,
    stored: i64,
}

impl Subject {
    pub(crate) fn start(name: &str) -> Self {
        let server = Server::start(name, Listen::PerCore);
        create_topic(server.bootstrap(), "good", 1, &[]);
        create_topic(server.bootstrap(), "bad", 1, &[]);
        let good = Connection::open(server.address());
        let mut subject = Self {
            server,
            good,
            stored: 0,
        };
        subject.assert_serves("at the start");
        subject
    }

    pub(crate) fn open(&self) -> Connection {
        Connection::open(self.server.address())
    }

    /// The connection that behaves is served as ever.
    pub(crate) fn assert_serves(&mut self, when: &str) {
        self.server.assert_alive();
        let batch = Batch::of(&[format!("good record {}", self.stored).as_bytes()]).encode();
        let produced = self.good.produce("good", 0, &batch);
        assert_eq!(produced, Produced::at(self.stored), "{when}");
        let (error_code, high_watermark, records) = self.good.fetch("good", 0, self.stored);
        assert_eq!((error_code, high_watermark), (0, self.stored + 1), "{when}");
        assert_eq!(records[16..], batch[16..], "{when}: the record read back");
        self.stored += 1;
    }

    /// Nothing of what was refused is stored, and all of what was acknowledged, also after a crash.
    pub(crate) fn finish(mut self, bad_stored: i64) {
        self.assert_serves("at the end");
        assert_eq!(
            watermarks(self.server.bootstrap(), "bad", 0),
            (0, bad_stored),
            "what came of bad input"
        );
        self.server.kill_9();
        self.server.start_again();
        assert_eq!(
            watermarks(self.server.bootstrap(), "good", 0),
            (0, self.stored),
            "good records after a crash"
        );
        assert_eq!(
            watermarks(self.server.bootstrap(), "bad", 0),
            (0, bad_stored),
            "bad records after a crash"
        );
    }

    /// Fails the test if the server's memory grew since it was `before` bytes.
    pub(crate) fn assert_no_growth(&self, before: u64) {
        let growth = self.server.resident_bytes().saturating_sub(before);
        assert!(
            is_kafka() || growth < GROWTH_MAX_BYTES,
            "memory grew by {growth} bytes"
        );
    }
}
