//! kill -9 under load, again and again: nothing acknowledged, and nothing that a consumer could read, is lost, doubled
//! or reordered.
//!
//! `CORELANE_CRASH_CYCLES` sets the number of cycles (20), `CORELANE_CRASH_SEED` repeats a run's choices.

mod support;

use std::{
    collections::HashMap,
    env, mem, panic,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
    topic_partition_list::Offset,
};
use support::{
    admin::{self, create_topic, read_partition, watermarks},
    ledger::{Audit, Ledger, Tag},
    seed::Random,
    server::{Listen, Server, is_kafka},
};

const TOPIC: &str = "ledger";
const PARTITIONS: i32 = 4;
const PRODUCER_GAVE_UP: &str = "a producer or the consumer gave up, as its own message says";
const DEADLINE: Duration = Duration::from_secs(90);

type Shared = Arc<Mutex<Ledger>>;

#[test]
fn nothing_acknowledged_is_lost_with_a_node_per_core() {
    survive("crash", Listen::PerCore, cycles(), &[]);
}

#[test]
fn nothing_acknowledged_is_lost_with_one_port_for_all_cores() {
    survive("crash", Listen::Shared, cycles(), &[]);
}

/// The canary: a topic that is acknowledged long before it is flushed does lose records, and that is noticed.
#[test]
fn an_acknowledgement_before_the_flush_is_noticed() {
    if is_kafka() {
        // What it has not flushed outlives it in the page cache.
        return;
    }
    let unflushed = [("flush.messages", "1000000")];
    let outcome = panic::catch_unwind(|| survive("crash-canary", Listen::PerCore, 10, &unflushed));
    let problem = outcome.expect_err("nothing was lost in ten crashes");
    let message = problem
        .downcast_ref::<String>()
        .expect("a message of the audit");
    // Lost; lost and its offset given again; lost, and a producer's retries do not fit any more.
    let signs = ["lost", "promised", "missing", "reordered", PRODUCER_GAVE_UP];
    assert!(signs.iter().any(|sign| message.contains(sign)), "{message}");
}

fn cycles() -> usize {
    match env::var("CORELANE_CRASH_CYCLES") {
        Ok(text) => text.parse().expect("CORELANE_CRASH_CYCLES is a number"),
        Err(_) => 20,
    }
}

fn survive(name: &str, listen: Listen, cycles: usize, durability: &[(&str, &str)]) {
    let mut random = Random::from_environment("CORELANE_CRASH_SEED");
    let mut server = Server::start(name, listen);
    // Small segments, so that crashes meet them at every age.
    if !durability.is_empty() {
        server.expect_failure();
    }
    let config = [&[("segment.bytes", "1048576")], durability].concat();
    create_topic(server.bootstrap(), TOPIC, PARTITIONS, &config);
    let bootstrap = server.bootstrap().to_owned();
    let ledger = Shared::default();
    let load = Load::start(&bootstrap, &ledger, &mut random);
    let mut audited = [0; PARTITIONS as usize];
    for cycle in 0..cycles {
        let target = lock(&ledger).count() + random.within(50, 6_000);
        wait_for_acknowledgements(&ledger, target, &mut server);
        thread::sleep(Duration::from_micros(random.within(0, 5_000)));
        server.kill_9();
        // Behind one port, the number of cores may change and the address stays.
        let cores = if listen == Listen::Shared {
            1 + cycle % 2
        } else {
            2
        };
        server.start_again_with(listen, cores);
        assert_eq!(server.bootstrap(), bootstrap, "addresses after a restart");
        for partition in 0..PARTITIONS {
            let start = audited[partition as usize];
            audited[partition as usize] = audit(&bootstrap, &ledger, partition, start, |_| false).0;
        }
        lock(&ledger).assert_consistent();
        println!(
            "cycle {cycle}: {} acknowledged, ends {audited:?}",
            lock(&ledger).count()
        );
    }
    load.finish();
    server.assert_alive();
    let mut read = HashMap::new();
    for partition in 0..PARTITIONS {
        read.extend(audit(&bootstrap, &ledger, partition, 0, is_idempotent).1);
    }
    let ledger = lock(&ledger);
    ledger.assert_consistent();
    for tag in ledger.promised_somewhere() {
        assert!(
            read.contains_key(tag),
            "{tag:?} was acknowledged and is lost"
        );
    }
    println!(
        "{} acknowledged and {} read after {cycles} crashes",
        ledger.count(),
        read.len()
    );
}

fn lock(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_for_acknowledgements(ledger: &Shared, target: u64, server: &mut Server) {
    let start = Instant::now();
    while lock(ledger).count() < target {
        server.assert_alive();
        assert!(
            start.elapsed() < DEADLINE,
            "{} of {target} acknowledged in {DEADLINE:?}",
            lock(ledger).count()
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reads a partition from `start` to its present end and compares it with the ledger. Gives the end, and what was read.
fn audit(
    bootstrap: &str,
    ledger: &Shared,
    partition: i32,
    start: i64,
    gapless: fn(u32) -> bool,
) -> (i64, HashMap<Tag, i64>) {
    // Taken before the end is asked for: everything promised until now must lie below it.
    let last_promised = lock(ledger).last_promised(partition).unwrap_or(-1);
    let (first, end) = watermarks(bootstrap, TOPIC, partition);
    assert_eq!(
        first, 0,
        "partition {partition} does not begin at its first record"
    );
    assert!(
        end > last_promised,
        "partition {partition} ends at {end}, lost what was promised up to {last_promised}"
    );
    let promised = lock(ledger).promised_in(partition, start, end);
    let mut audit = Audit::new(partition, start, promised, gapless);
    read_partition(bootstrap, TOPIC, partition, start, end, |message| {
        audit.record(message.offset(), message.payload().unwrap_or_default());
    });
    (end, audit.finish())
}

/// Producers and a consumer that outlive the server's crashes.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// How a producer sends. All wait for acks=all.
struct Manner {
    idempotent: bool,
    settings: &'static [(&'static str, &'static str)],
}

const MANNERS: &[Manner] = &[
    // Many small batches, five in flight, sent again until acknowledged.
    Manner {
        idempotent: true,
        settings: &[("linger.ms", "0"), ("batch.num.messages", "3")],
    },
    Manner {
        idempotent: true,
        settings: &[("linger.ms", "5"), ("compression.type", "lz4")],
    },
    // Nothing is sent twice: what was in flight in a crash may be stored or not, but not doubled.
    // One in flight, for the client would send what it had not sent yet after what it had.
    Manner {
        idempotent: false,
        settings: &[("linger.ms", "2"), ("retries", "0"), ("max.in.flight", "1")],
    },
];

fn is_idempotent(producer: u32) -> bool {
    MANNERS[producer as usize].idempotent
}

impl Load {
    fn start(bootstrap: &str, ledger: &Shared, random: &mut Random) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (producer, manner) in (0..).zip(MANNERS) {
            let (bootstrap, ledger, stop) =
                (bootstrap.to_owned(), Arc::clone(ledger), Arc::clone(&stop));
            let random = Random::new(random.next());
            threads.push(thread::spawn(move || {
                produce(&bootstrap, producer, manner, &ledger, &stop, random);
            }));
        }
        let (bootstrap, ledger, reading) =
            (bootstrap.to_owned(), Arc::clone(ledger), Arc::clone(&stop));
        threads.push(thread::spawn(move || follow(&bootstrap, &ledger, &reading)));
        Self { stop, threads }
    }

    /// Sends what is left, and waits for its acknowledgement.
    fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in mem::take(&mut self.threads) {
            assert!(thread.join().is_ok(), "{PRODUCER_GAVE_UP}");
        }
    }
}

impl Drop for Load {
    /// A test that has failed does not wait for what is left.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Recorder {
    ledger: Shared,
    idempotent: bool,
}

impl ClientContext for Recorder {}

impl ProducerContext for Recorder {
    type DeliveryOpaque = Box<Tag>;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: Box<Tag>) {
        match result {
            Ok(message) => lock(&self.ledger).acknowledged(*tag, message.offset()),
            // An idempotent producer gives up only when it must fear a loss: the final audit would find a gap.
            Err((error, _)) if self.idempotent => println!("{tag:?} was not delivered: {error}"),
            Err(_) => {}
        }
    }
}

fn produce(
    bootstrap: &str,
    producer: u32,
    manner: &Manner,
    ledger: &Shared,
    stop: &AtomicBool,
    mut random: Random,
) {
    let mut settings = admin::settings(bootstrap);
    settings
        .set("acks", "all")
        .set("enable.idempotence", manner.idempotent.to_string());
    settings
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "20");
    settings.set("queue.buffering.max.messages", "1000");
    for (key, value) in manner.settings {
        settings.set(*key, *value);
    }
    if is_kafka() {
        // It forgets all but a producer's last batch in a crash, and the client then doubles the others.
        settings.set("max.in.flight", "1");
    }
    let recorder = Recorder {
        ledger: Arc::clone(ledger),
        idempotent: manner.idempotent,
    };
    let client: ThreadedProducer<Recorder> =
        settings.create_with_context(recorder).expect("a producer");
    let mut numbers = [0; PARTITIONS as usize];
    while !stop.load(Ordering::Relaxed) {
        // Bursts with pauses: an unbounded rate would only lengthen the audits.
        for _ in 0..random.within(1, 100) {
            let partition = random.within(0, PARTITIONS as u64) as i32;
            let number = &mut numbers[partition as usize];
            let tag = Tag {
                producer,
                partition,
                number: *number,
            };
            let value = tag.value();
            let mut record = BaseRecord::<(), str, Box<Tag>>::with_opaque_to(TOPIC, Box::new(tag));
            record = record.partition(partition).payload(&value);
            match client.send(record) {
                Ok(()) => *number += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => panic!("producer {producer} cannot send: {error}"),
            }
        }
        thread::sleep(Duration::from_millis(5));
        if let Some((code, reason)) = client.client().fatal_error() {
            panic!(
                "producer {producer} gave up, as it must when acknowledged records are lost: {code}: {reason}"
            );
        }
    }
    client
        .flush(DEADLINE)
        .expect("what is left is acknowledged");
}

/// Reads every partition's end as it grows. What it could read must never change.
fn follow(bootstrap: &str, ledger: &Shared, stop: &AtomicBool) {
    let consumer = admin::consumer(bootstrap);
    let mut places = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        places
            .add_partition_offset(TOPIC, partition, Offset::Beginning)
            .expect("an offset");
    }
    consumer.assign(&places).expect("an assignment");
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                lock(ledger).seen(
                    message.partition(),
                    message.offset(),
                    message.payload().unwrap_or_default(),
                );
            }
            // A server that was killed does not answer; one that came back with less is caught here.
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                panic!("the server came back with less than a consumer had read");
            }
            Some(Err(_)) | None => {}
        }
    }
}
