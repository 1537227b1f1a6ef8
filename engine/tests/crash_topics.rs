//! kill -9 while topics are created and deleted: every answer given is still true after the restart.
//!
//! `CORELANE_CRASH_SEED` repeats a run's choices.

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_lite::future::block_on;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use support::{
    admin::{metadata, settings},
    batch::Batch,
    seed::Random,
    server::{Listen, Server, is_kafka},
    wire::{Connection, Produced},
};

const CYCLES: usize = 8;
const WORKERS: u64 = 3;
const PARTITIONS: i32 = 3;
const DEADLINE: Duration = Duration::from_secs(90);

/// What is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Exists,
    Gone,
    /// The server was killed before it answered: either is right.
    Unanswered,
}

#[derive(Default)]
struct Account {
    topics: Mutex<HashMap<String, Known>>,
}

impl Account {
    fn topics(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, topic: &str, known: Known) {
        self.topics().insert(topic.to_owned(), known);
    }

    fn answered(&self) -> usize {
        self.topics()
            .values()
            .filter(|known| **known != Known::Unanswered)
            .count()
    }
}

/// Makes topics, and deletes every third again, until told to stop or until the server is gone.
fn make_and_delete(bootstrap: &str, prefix: &str, account: &Account, stop: &AtomicBool) {
    let client = settings(bootstrap)
        .set("socket.timeout.ms", "2000")
        .create::<rdkafka::admin::AdminClient<_>>()
        .expect("an admin client");
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(2)));
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let topic = format!("{prefix}-{number}");
        account.note(&topic, Known::Unanswered);
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        match block_on(client.create_topics([&new], &options)).as_deref() {
            Ok([Ok(_)]) => account.note(&topic, Known::Exists),
            _ => return,
        }
        if number % 3 == 2 {
            account.note(&topic, Known::Unanswered);
            match block_on(client.delete_topics(&[&topic], &options)).as_deref() {
                Ok([Ok(_)]) => account.note(&topic, Known::Gone),
                _ => return,
            }
        }
    }
}

fn survive(listen: Listen) {
    if is_kafka() {
        // It says that it is ready before it leads its partitions, and refuses what comes too early.
        return;
    }
    let mut random = Random::from_environment("CORELANE_CRASH_SEED");
    let mut server = Server::start("crash-topics", listen);
    let account = Arc::new(Account::default());
    for cycle in 0..CYCLES {
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let bootstrap = server.bootstrap().to_owned();
                let (account, stop) = (Arc::clone(&account), Arc::clone(&stop));
                let prefix = format!("topic-{cycle}-{worker}");
                thread::spawn(move || make_and_delete(&bootstrap, &prefix, &account, &stop))
            })
            .collect();
        let target = account.answered() + random.within(1, 30) as usize;
        let start = Instant::now();
        while account.answered() < target {
            server.assert_alive();
            assert!(
                start.elapsed() < DEADLINE,
                "{target} answers did not come in {DEADLINE:?}"
            );
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(random.within(0, 3_000)));
        server.kill_9();
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().expect("a worker ends with the server");
        }
        server.start_again_with(listen, 1 + cycle % 2);
        compare(&server, &account);
        println!(
            "cycle {cycle}: {} topics accounted for",
            account.topics().len()
        );
    }
}

/// Compares what the server lists with the account, settles what was unanswered, and uses every topic.
fn compare(server: &Server, account: &Account) {
    let metadata = metadata(server.bootstrap());
    let listed: HashMap<_, _> = metadata
        .topics()
        .iter()
        .map(|topic| (topic.name(), topic.partitions().len()))
        .collect();
    for (topic, known) in account.topics().iter_mut() {
        let partitions = listed.get(topic.as_str()).copied();
        match known {
            Known::Exists => {
                assert_eq!(partitions, Some(PARTITIONS as usize), "{topic} was created");
            }
            Known::Gone => assert_eq!(partitions, None, "{topic} was deleted"),
            Known::Unanswered => {
                let whole = partitions.is_none_or(|count| count == PARTITIONS as usize);
                assert!(whole, "{topic} is half made: {partitions:?}");
                *known = if partitions.is_some() {
                    Known::Exists
                } else {
                    Known::Gone
                };
            }
        }
    }
    for topic in listed.keys() {
        assert!(
            account.topics().contains_key(*topic),
            "{topic} was never asked for"
        );
    }
    // Every log can be written, whatever the crash left of its folder.
    let mut connection = Connection::open(server.address());
    for topic in listed.keys() {
        for partition in 0..PARTITIONS {
            let (error_code, _, end) = connection.list_offset(topic, partition, -1);
            assert_eq!(error_code, 0, "{topic}/{partition}");
            let produced = connection.produce(topic, partition, &Batch::of(&[b"used"]).encode());
            assert_eq!(produced, Produced::at(end), "{topic}/{partition}");
        }
    }
}

#[test]
fn answers_about_topics_stay_true_with_a_node_per_core() {
    survive(Listen::PerCore);
}

#[test]
fn answers_about_topics_stay_true_with_one_port_for_all_cores() {
    survive(Listen::Shared);
}
