//! A disk that fills up: produces are refused in time and with Kafka's error, everything else goes on, and so do produces as soon
//! as there is room. On a real, small file system, which takes root and loop devices.

mod support;

use std::{
    collections::HashMap,
    env,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use futures_lite::future::block_on;
use rdkafka::{
    ClientContext,
    admin::AdminOptions,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
    topic_partition_list::{Offset, TopicPartitionList},
};
use support::{
    admin::{self, admin, create_topic, read_partition, wait_until, watermarks},
    batch::Batch,
    http,
    ledger::{Audit, Ledger, Tag},
    ports,
    server::{Listen, Server, is_kafka},
    small_disk::SmallDisk,
    wire::Connection,
};

const DISK_BYTES: u64 = 256 << 20;
const LEDGER: &str = "ledger";
const PARTITIONS: i32 = 2;
const KAFKA_STORAGE_ERROR: i16 = 56;
/// What the project promises.
const RESUMES_WITHIN: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(90);
/// Refusals in a row that show that it is no passing one.
const REFUSALS: usize = 20;

fn cycles() -> usize {
    match env::var("CORELANE_DISK_FULL_CYCLES") {
        Ok(text) => text.parse().expect("CORELANE_DISK_FULL_CYCLES is a number"),
        Err(_) => 5,
    }
}

#[test]
fn a_full_disk_refuses_in_time_loses_nothing_and_is_left_again_by_itself() {
    if is_kafka() {
        // It halts on a full disk.
        return;
    }
    let disk = match SmallDisk::mount("full", DISK_BYTES) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: no small file system can be mounted here: {reason}");
            return;
        }
    };
    let data = format!("data_dir={}", disk.mount_point().join("data").display());
    let admin_address = format!("127.0.0.1:{}", ports::free_in_a_row(1));
    let listen = format!("admin_address={admin_address}");
    let mut server = Server::start_with("disk-full", Listen::PerCore, 2, &[&data, &listen]);
    create_topic(
        server.bootstrap(),
        LEDGER,
        PARTITIONS,
        &[("segment.bytes", "1048576")],
    );
    let ledger = Shared::default();
    let load = Load::start(server.bootstrap(), &ledger);
    for cycle in 0..cycles() {
        let filler = format!("filler-{cycle}");
        let segments = [("segment.bytes", "4194304"), ("retention.ms", "-1")];
        create_topic(server.bootstrap(), &filler, PARTITIONS, &segments);
        let taken = fill(&server, &filler);
        assert_refused(&server, &filler);
        assert_serves_readers(&server, &filler, &admin_address, &ledger);

        // Somebody else takes what was kept back.
        let hog = (cycle % 2 == 1).then(|| disk.hog());
        if hog.is_some() {
            wait_until("the ballast is given back", || {
                http::metric(&admin_address, "corelane_disk_ballast_bytes") == 0
            });
        }
        if cycle % 4 == 1 {
            server.kill_9();
            server.start_again();
            assert_refused(&server, &filler);
            audit(server.bootstrap(), &ledger);
        } else if cycle % 4 == 3 {
            server.stop();
            server.start_again();
            assert_refused(&server, &filler);
        }
        assert_serves_readers(&server, &filler, &admin_address, &ledger);

        let before = lock(&ledger).count();
        let deleting = Instant::now();
        if cycle % 2 == 0 {
            delete_records(server.bootstrap(), &filler);
        } else {
            delete_topic(server.bootstrap(), &filler);
        }
        wait_for("records are acknowledged again", RESUMES_WITHIN, || {
            lock(&ledger).count() > before + 100
        });
        println!(
            "cycle {cycle}: {} MiB taken until refused, hog {}, acknowledged again after {:?}, {} in all",
            taken >> 20,
            hog.is_some(),
            deleting.elapsed(),
            lock(&ledger).count()
        );
        server.assert_alive();
        if let Some(hog) = hog {
            std::fs::remove_file(hog).expect("removed");
        }
        if cycle % 2 == 0 {
            delete_topic(server.bootstrap(), &filler);
        }
        wait_until("the ballast is back", || {
            http::metric(&admin_address, "corelane_disk_ballast_bytes") > 0
        });
    }
    load.finish();
    audit(server.bootstrap(), &ledger);
    assert!(http::metric(&admin_address, "corelane_produces_refused_total") > 0);
    server.stop();
}

/// Produces until it is refused; gives the bytes that were taken.
fn fill(server: &Server, topic: &str) -> u64 {
    let value = vec![b'f'; 512 << 10];
    let batch = Batch::of(&[&value]).encode();
    let mut connection = Connection::open(server.address());
    for number in 0.. {
        let partition = number % PARTITIONS;
        let produced = connection.produce(topic, partition, &batch);
        if produced.error_code == KAFKA_STORAGE_ERROR {
            return number as u64 * batch.len() as u64;
        }
        assert_eq!(produced.error_code, 0, "after {number} batches");
        assert_eq!(produced.base_offset, i64::from(number / PARTITIONS));
        assert!(
            number as u64 * (512 << 10) < DISK_BYTES,
            "more was taken than the disk holds"
        );
    }
    unreachable!()
}

/// Every lane refuses every record, whichever node is asked.
fn assert_refused(server: &Server, topic: &str) {
    for address in server.bootstrap().split(',') {
        let mut connection = Connection::open(address);
        for number in 0..REFUSALS {
            for (topic, partition) in [(topic, 0), (topic, 1), (LEDGER, 0), (LEDGER, 1)] {
                let batch = Batch::of(&[b"refused"]).encode();
                let produced = connection.produce(topic, partition, &batch);
                assert_eq!(
                    produced.error_code, KAFKA_STORAGE_ERROR,
                    "{topic}/{partition}, attempt {number} at {address}"
                );
            }
        }
    }
}

/// What does not add data is served.
fn assert_serves_readers(server: &Server, topic: &str, admin_address: &str, ledger: &Shared) {
    let mut connection = Connection::open(server.address());
    for partition in 0..PARTITIONS {
        let (error_code, high_watermark, records) = connection.fetch(topic, partition, 0);
        assert_eq!(error_code, 0);
        assert!(high_watermark > 0 && records.len() > 512 << 10);
    }
    for partition in 0..PARTITIONS {
        let end = watermarks(server.bootstrap(), LEDGER, partition).1;
        let start = (end - 100).max(0);
        read_partition(
            server.bootstrap(),
            LEDGER,
            partition,
            start,
            end,
            |record| {
                lock(ledger).seen(
                    partition,
                    record.offset(),
                    record.payload().unwrap_or_default(),
                );
            },
        );
    }
    lock(ledger).assert_consistent();
    assert!(http::metric(admin_address, "corelane_disk_room") > 0);
    let (status, body) = http::get(admin_address, "/readyz");
    assert!(status == 200 && body.contains("short of space"), "{body}");
    assert_eq!(http::get(admin_address, "/healthz").0, 200);
    // Metadata is small, and it is how an operator gets out of this.
    create_topic(server.bootstrap(), "made-while-full", 1, &[]);
    delete_topic(server.bootstrap(), "made-while-full");
}

fn delete_records(bootstrap: &str, topic: &str) {
    let mut places = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        places
            .add_partition_offset(topic, partition, Offset::End)
            .expect("an offset");
    }
    let answer = block_on(admin(bootstrap).delete_records(&places, &AdminOptions::new()));
    for place in answer.expect("an answer").elements() {
        place.error().expect("deleted");
    }
    for partition in 0..PARTITIONS {
        let (first, end) = watermarks(bootstrap, topic, partition);
        assert!(first == end && end > 0, "{first}..{end}");
    }
}

fn delete_topic(bootstrap: &str, topic: &str) {
    let deleted = block_on(admin(bootstrap).delete_topics(&[topic], &AdminOptions::new()));
    for result in deleted.expect("an answer") {
        result.unwrap_or_else(|(name, error)| panic!("{name} was not deleted: {error}"));
    }
}

fn wait_for(what: &str, within: Duration, mut probe: impl FnMut() -> bool) {
    let start = Instant::now();
    while !probe() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

type Shared = Arc<Mutex<Ledger>>;

fn lock(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the ledger's topic from its first record on: everything acknowledged is there, once, in order and without a gap.
fn audit(bootstrap: &str, ledger: &Shared) {
    let mut read: HashMap<Tag, i64> = HashMap::new();
    for partition in 0..PARTITIONS {
        let last_promised = lock(ledger).last_promised(partition).unwrap_or(-1);
        let (first, end) = watermarks(bootstrap, LEDGER, partition);
        assert_eq!(first, 0);
        assert!(end > last_promised, "{end} > {last_promised}");
        let promised = lock(ledger).promised_in(partition, 0, end);
        let mut audit = Audit::new(partition, 0, promised, |_| true);
        read_partition(bootstrap, LEDGER, partition, 0, end, |record| {
            audit.record(record.offset(), record.payload().unwrap_or_default());
        });
        read.extend(audit.finish());
    }
    let ledger = lock(ledger);
    ledger.assert_consistent();
    for tag in ledger.promised_somewhere() {
        assert!(
            read.contains_key(tag),
            "{tag:?} was acknowledged and is lost"
        );
    }
}

/// A producer that goes on trying, and never gives up, as clients do by default.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

struct Recorder {
    ledger: Shared,
    given_up: Arc<Mutex<Vec<String>>>,
}

impl ClientContext for Recorder {}

impl ProducerContext for Recorder {
    type DeliveryOpaque = Box<Tag>;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: Box<Tag>) {
        match result {
            Ok(message) => lock(&self.ledger).acknowledged(*tag, message.offset()),
            Err((error, _)) => self
                .given_up
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("{tag:?}: {error}")),
        }
    }
}

impl Load {
    fn start(bootstrap: &str, ledger: &Shared) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (bootstrap, ledger, stopped) =
            (bootstrap.to_owned(), Arc::clone(ledger), Arc::clone(&stop));
        let thread = thread::spawn(move || produce(&bootstrap, &ledger, &stopped));
        Self { stop, thread }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.thread.join().is_ok(), "the producer gave up");
    }
}

fn produce(bootstrap: &str, ledger: &Shared, stop: &AtomicBool) {
    let given_up = Arc::new(Mutex::new(Vec::new()));
    let recorder = Recorder {
        ledger: Arc::clone(ledger),
        given_up: Arc::clone(&given_up),
    };
    let client: ThreadedProducer<Recorder> = admin::settings(bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "2000")
        .set("reconnect.backoff.max.ms", "200")
        .create_with_context(recorder)
        .expect("a producer");
    let mut numbers = [0; PARTITIONS as usize];
    while !stop.load(Ordering::Relaxed) {
        for partition in 0..PARTITIONS {
            let number = &mut numbers[partition as usize];
            let tag = Tag {
                producer: 0,
                partition,
                number: *number,
            };
            let value = tag.value();
            let record = BaseRecord::<(), str, Box<Tag>>::with_opaque_to(LEDGER, Box::new(tag))
                .partition(partition)
                .payload(&value);
            match client.send(record) {
                Ok(()) => *number += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {}
                Err((error, _)) => panic!("cannot send: {error}"),
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    client.flush(DEADLINE).expect("all is acknowledged");
    let given_up = given_up.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        given_up.is_empty(),
        "refusals are to be tried again: {given_up:?}"
    );
}
