//! Kafka's own `VerifiableProducer` and `VerifiableConsumer` while the server and the members of the group are killed:
//! every record is consumed, none is skipped, no position and no committed offset goes back.
//!
//! `CORELANE_VERIFIABLE_CYCLES` sets the number of cycles (2), `CORELANE_CRASH_SEED` repeats a run's choices.

#[path = "../support/mod.rs"]
mod support;

mod ledger;
mod tool;

use std::{
    collections::HashMap,
    env, fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    topic_partition_list::Offset,
};
use support::{
    admin::{self, create_topic, watermarks},
    clients::{kafka_version, record},
    seed::Random,
    server::{Listen, Server},
};
use tool::{Shared, Tool, lock};

const TOPIC: &str = "verified";
const GROUP: &str = "verifiers";
const PARTITIONS: i32 = 6;
const MEMBERS: usize = 3;
/// Only ends a test that would hang: a busy machine takes a minute to start the tools.
const DEADLINE: Duration = Duration::from_mins(5);

/// Members that are killed are missed after two seconds and not after the six that are the default's least.
const SETTINGS: &[&str] = &[
    "group.initial.rebalance.delay.ms=200",
    "group.min.session.timeout.ms=2000",
];
const PRODUCER: &str = "\
    enable.idempotence=true\n\
    retries=2147483647\n\
    reconnect.backoff.max.ms=200\n";
/// Without retries, as the tool has it by itself: what a kill interrupts is an error, and stays unknown.
const PRODUCER_WITHOUT_RETRIES: &str = "reconnect.backoff.max.ms=200\n";
const CONSUMER: &str = "\
    heartbeat.interval.ms=300\n\
    reconnect.backoff.max.ms=200\n\
    fetch.max.wait.ms=100\n\
    max.poll.records=50\n\
    metadata.max.age.ms=1000\n";
const ASSIGNORS: [&str; 4] = [
    "RangeAssignor",
    "RoundRobinAssignor",
    "StickyAssignor",
    "CooperativeStickyAssignor",
];

#[test]
fn every_record_is_consumed_under_kills_with_a_node_per_core() {
    survive(Listen::PerCore);
}

#[test]
fn every_record_is_consumed_under_kills_with_one_port_for_all_cores() {
    survive(Listen::Shared);
}

fn cycles() -> u32 {
    match env::var("CORELANE_VERIFIABLE_CYCLES") {
        Ok(text) => text
            .parse()
            .expect("CORELANE_VERIFIABLE_CYCLES is a number"),
        Err(_) => 2,
    }
}

/// Six processes at once are enough.
static ALONE: Mutex<()> = Mutex::new(());

fn survive(listen: Listen) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let random = Random::from_environment("CORELANE_CRASH_SEED");
    let server = Server::start_with("verifiable-clients", listen, 2, SETTINGS);
    create_topic(server.bootstrap(), TOPIC, PARTITIONS, &[]);
    let mut run = Run::start(server, random);
    for cycle in 0..cycles() {
        run.progress();
        // A member alone; or a member, and the server while its group still waits for it; or the server alone.
        match run.random.within(0, 3) {
            0 => run.replace_a_member(),
            1 => drop(run.lose_a_member()),
            _ => {}
        }
        run.kill_the_server();
        run.fill_up();
        run.progress();
        run.replace_a_member();
        let ledger = lock(&run.ledger);
        println!(
            "cycle {cycle}: {} acknowledged, {} consumed",
            ledger.acknowledged_count(),
            ledger.consumed_count()
        );
    }
    run.finish();
}

/// The server and all that works with it.
struct Run {
    server: Server,
    random: Random,
    ledger: Shared,
    producer: Tool,
    producer_without_retries: Tool,
    members: Vec<Member>,
    numbers: u32,
    assignor: String,
    /// Of each partition what the coordinator said last.
    committed: HashMap<i32, i64>,
}

struct Member {
    tool: Tool,
    /// Its instance id, if it is a static member.
    instance: Option<String>,
}

impl Run {
    fn start(server: Server, mut random: Random) -> Self {
        let ledger = Shared::new(Mutex::default());
        let assignor = ASSIGNORS[random.within(0, ASSIGNORS.len() as u64) as usize];
        println!("assignor: {assignor}");
        let producer = settings(&server, "producer", PRODUCER);
        let bare = settings(&server, "bare-producer", PRODUCER_WITHOUT_RETRIES);
        settings(&server, "consumer", CONSUMER);
        let mut run = Self {
            producer: Tool::producer(&server, &ledger, 1, 100, &producer),
            producer_without_retries: Tool::producer(&server, &ledger, 2, 100, &bare),
            server,
            random,
            ledger,
            members: Vec::new(),
            numbers: 2,
            assignor: format!("org.apache.kafka.clients.consumer.{assignor}"),
            committed: HashMap::new(),
        };
        run.join(Some("stays".to_owned()));
        run.fill_up();
        run
    }

    /// Members join until there are enough.
    fn fill_up(&mut self) {
        while self.members.len() < MEMBERS {
            self.join(None);
        }
    }

    fn join(&mut self, instance: Option<String>) {
        self.numbers += 1;
        let mut arguments = vec!["--session-timeout", "2000"];
        arguments.extend(["--assignment-strategy", &self.assignor]);
        if let Some(instance) = &instance {
            arguments.extend(["--group-instance-id", instance]);
        }
        let settings = self.server.folder().join("consumer.properties");
        let tool = Tool::consumer(
            &self.server,
            &self.ledger,
            self.numbers,
            &arguments,
            &settings,
        );
        self.members.push(Member { tool, instance });
    }

    /// kill -9 of a member.
    fn lose_a_member(&mut self) -> Option<String> {
        let index = self.random.within(0, self.members.len() as u64) as usize;
        let member = self.members.swap_remove(index);
        println!("a member is killed ({:?})", member.instance);
        member.tool.kill_9();
        member.instance
    }

    /// kill -9 of a member, and another comes, by the same instance id if it had one.
    fn replace_a_member(&mut self) {
        let instance = self.lose_a_member();
        self.join(instance);
    }

    /// kill -9 of the server at any moment; it starts again at once, and remembers every commit that it answered.
    fn kill_the_server(&mut self) {
        thread::sleep(Duration::from_micros(self.random.within(0, 300_000)));
        self.server.kill_9();
        println!("the server is killed");
        self.server.start_again();
        self.check_committed();
    }

    /// Asks the coordinator, who must know more than was answered to anybody before, and more than it said before.
    fn check_committed(&mut self) {
        let answered = lock(&self.ledger).committed();
        let consumer: BaseConsumer = admin::settings(self.server.bootstrap())
            .set("group.id", GROUP)
            .create()
            .expect("a consumer");
        let mut places = TopicPartitionList::new();
        places.add_partition_range(TOPIC, 0, PARTITIONS - 1);
        let found = consumer
            .committed_offsets(places, admin::DEADLINE)
            .expect("an answer");
        for place in found.elements() {
            let partition = place.partition();
            let found = match place.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            };
            let answered = answered.get(&partition).copied().unwrap_or(0);
            assert!(
                found >= answered,
                "partition {partition}: {answered} was answered, {found} is committed"
            );
            let said = self.committed.insert(partition, found).unwrap_or(0);
            assert!(
                found >= said,
                "partition {partition}: went back from {said} to {found}"
            );
        }
    }

    /// Waits until the running members have all partitions and some hundred records more were stored and consumed.
    fn progress(&mut self) {
        let more = self.random.within(100, 600) as usize;
        let (acknowledged, consumed) = {
            let ledger = lock(&self.ledger);
            (
                ledger.acknowledged_count() + more,
                ledger.consumed_count() + more,
            )
        };
        wait_until("records flow to members that have all partitions", || {
            self.assert_alive();
            let ledger = lock(&self.ledger);
            ledger.assigned_count() == PARTITIONS as usize
                && ledger.acknowledged_count() >= acknowledged
                && ledger.consumed_count() >= consumed
        });
    }

    fn assert_alive(&mut self) {
        self.server.assert_alive();
        self.producer.assert_alive();
        self.producer_without_retries.assert_alive();
        for member in &mut self.members {
            member.tool.assert_alive();
        }
    }

    /// The producers stop, the members read to the end, and the ledger is checked as a whole.
    fn finish(mut self) {
        self.progress();
        assert_eq!(self.producer.stop(), 0, "sends that were given up");
        let failed = self.producer_without_retries.stop();
        let bootstrap = self.server.bootstrap();
        let ends: Vec<_> = (0..PARTITIONS)
            .map(|partition| watermarks(bootstrap, TOPIC, partition).1)
            .collect();
        wait_until("everything is consumed", || {
            let ledger = lock(&self.ledger);
            (0..)
                .zip(&ends)
                .all(|(partition, end)| ledger.is_consumed(partition, *end))
        });
        for member in self.members.drain(..) {
            member.tool.stop();
        }
        println!(
            "{}, {failed} sends without retries failed",
            lock(&self.ledger).finish(&ends)
        );
        let said = format!(
            "client Kafka's verifiable producer and consumer {}\n\
             ok every_record_is_consumed_under_kills_of_server_and_members\n\
             ok positions_and_committed_offsets_never_go_back",
            kafka_version()
        );
        record("verifiable_clients", &self.server, &said);
    }
}

fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    let start = Instant::now();
    while !probe() {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// A file of settings for a tool.
fn settings(server: &Server, name: &str, lines: &str) -> PathBuf {
    let path = server.folder().join(format!("{name}.properties"));
    fs::write(&path, lines).expect("a file for the settings");
    path
}
