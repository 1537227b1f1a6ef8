//! Retention by time and by size, with settings that change while the server runs: whole segments go, by their records' own
//! timestamps, and nothing that is to be kept.

mod support;

use std::process::Command;

use support::{
    admin::{create_topic, read_partition, wait_until, watermarks},
    batch::Batch,
    http, ports,
    server::{Listen, Server, is_kafka},
    wire::{Connection, Produced},
};

const HOUR_MS: i64 = 3_600_000;
const RECORD_BYTES: usize = 16_000;
/// Four records to a segment.
const SEGMENT: (&str, &str) = ("internal.segment.bytes", "65536");
const RECORDS_IN_SEGMENT: i64 = 4;

struct Subject {
    server: Server,
    admin_address: String,
}

impl Subject {
    fn start() -> Self {
        let admin_address = format!("127.0.0.1:{}", ports::free_in_a_row(1));
        let listen = format!("admin_address={admin_address}");
        let settings = [
            "log.retention.check.interval.ms=50",
            "log.retention.ms=3600000",
            &listen,
        ];
        let server = Server::start_with("retention", Listen::PerCore, 2, &settings);
        Self {
            server,
            admin_address,
        }
    }

    fn create(&self, topic: &str, config: &[(&str, &str)]) {
        let config = [&[SEGMENT], config].concat();
        create_topic(self.server.bootstrap(), topic, 1, &config);
    }

    /// Produces records so many milliseconds older than now, from offset `first` on.
    fn produce(&self, topic: &str, first: i64, ages_ms: impl IntoIterator<Item = i64>) -> i64 {
        let mut connection = Connection::open(self.server.address());
        let mut next = first;
        for age_ms in ages_ms {
            let mut batch = Batch::of(&[&[b'r'; RECORD_BYTES]]);
            batch.base_timestamp_ms -= age_ms;
            batch.max_timestamp_ms -= age_ms;
            let produced = connection.produce(topic, 0, &batch.encode());
            assert_eq!(produced, Produced::at(next), "{topic}");
            next += 1;
        }
        next
    }

    /// As an operator does, by `IncrementalAlterConfigs`.
    fn alter(&self, topic: &str, setting: &str) {
        let altered = Command::new(env!("CARGO_BIN_EXE_corelane"))
            .args(["topic", "alter", topic, "--config", setting])
            .args(["--bootstrap", self.server.bootstrap()])
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&altered.stderr);
        assert!(altered.status.success(), "{setting}: {said}");
    }

    fn start_and_end(&self, topic: &str) -> (i64, i64) {
        watermarks(self.server.bootstrap(), topic, 0)
    }

    /// Waits until every lane has looked at every partition once more, from the beginning on.
    fn wait_for_rounds(&self) {
        let rounds = || http::metric(&self.admin_address, "corelane_retention_rounds_total");
        // Both lanes count into one sum; neither gets ahead of the other by many rounds.
        let target = rounds() + 40;
        wait_until("retention has looked", || rounds() >= target);
    }

    /// What is left is whole and can be read.
    fn assert_readable(&self, topic: &str) {
        let (start, end) = self.start_and_end(topic);
        let mut next = start;
        read_partition(self.server.bootstrap(), topic, 0, start, end, |record| {
            use rdkafka::Message;
            assert_eq!(record.offset(), next, "{topic}");
            assert_eq!(record.payload().map(<[u8]>::len), Some(RECORD_BYTES));
            next += 1;
        });
        assert_eq!(next, end, "{topic}");
    }
}

#[test]
fn segments_go_by_their_records_ages_and_by_size_as_the_settings_of_the_moment_say() {
    if is_kafka() {
        // Its checks are not as frequent, and it has other metrics.
        return;
    }
    let mut subject = Subject::start();
    let old = [2 * HOUR_MS; 40];

    // Time, changed while the server runs.
    subject.create("time", &[("retention.ms", "-1")]);
    let first_young = subject.produce("time", 0, old);
    let end = subject.produce("time", first_young, [0; 10]);
    // A record of the future keeps its segment, and so everything behind it.
    subject.create(
        "future",
        &[
            ("retention.ms", "1"),
            ("message.timestamp.after.max.ms", "172800000"),
        ],
    );
    let future_end = subject.produce("future", 0, [&[-24 * HOUR_MS][..], &old].concat());
    // Size.
    subject.create("size", &[("retention.ms", "-1"), ("retention.bytes", "-1")]);
    let size_end = subject.produce("size", 0, old);
    subject.wait_for_rounds();
    for (topic, end) in [("time", end), ("future", future_end), ("size", size_end)] {
        assert_eq!(subject.start_and_end(topic), (0, end), "{topic}");
    }

    subject.alter("time", "retention.ms=3600000");
    subject.alter("size", "retention.bytes=200000");
    wait_until("old segments are gone", || {
        subject.start_and_end("time").0 > first_young - RECORDS_IN_SEGMENT
    });
    wait_until("what is too much is gone", || {
        subject.start_and_end("size").0 > size_end - 2 * RECORDS_IN_SEGMENT - 13
    });
    subject.wait_for_rounds();
    let (start, _) = subject.start_and_end("time");
    assert!(start <= first_young, "a young record is gone: {start}");
    let (start, _) = subject.start_and_end("size");
    let kept_bytes = (size_end - start) * RECORD_BYTES as i64;
    assert!(kept_bytes >= 200_000, "only {kept_bytes} bytes are left");
    assert_eq!(subject.start_and_end("future"), (0, future_end));
    for topic in ["time", "future", "size"] {
        subject.assert_readable(topic);
    }

    // The server's default, for a topic that says nothing; everything expires, and offsets go on.
    subject.create("default", &[]);
    let end = subject.produce("default", 0, old);
    wait_until("everything is gone", || {
        subject.start_and_end("default") == (end, end)
    });
    subject.produce("default", end, [0]);
    let kept = |subject: &Subject| {
        ["time", "future", "size", "default"].map(|topic| subject.start_and_end(topic))
    };
    let before = kept(&subject);
    subject.server.kill_9();
    subject.server.start_again();
    subject.wait_for_rounds();
    assert_eq!(kept(&subject), before, "after a crash");
    assert!(http::metric(&subject.admin_address, "corelane_segments_deleted_total") == 0);

    // What was set while the server ran is still so, and can be taken back.
    subject.alter("future", "retention.bytes=0");
    wait_until("the future goes by size", || {
        subject.start_and_end("future").0 > 0
    });
}
