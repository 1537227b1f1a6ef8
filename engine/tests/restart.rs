//! What a server must still know after a restart, with the same or another number of cores.

mod support;

use std::{collections::HashSet, fs, ops::Range};

use futures_lite::future::block_on;
use rdkafka::{
    admin::{AdminOptions, NewPartitions, ResourceSpecifier},
    message::Message,
    metadata::MetadataBroker,
    topic_partition_list::{Offset, TopicPartitionList},
};
use support::{
    admin::{admin, create_topic, metadata, read_partition, wait_until, watermarks},
    batch::Batch,
    http, ports,
    server::{Listen, Server, is_kafka},
    wire::{Connection, Produced},
};

/// As many batches as a client may have in flight.
const DUPLICATE_WINDOW_BATCHES: i32 = 5;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const CORRUPT_MESSAGE: i16 = 2;
const INVALID_PRODUCER_EPOCH: i16 = 47;

/// Missing metadata never deletes data: what belongs to no topic is put aside, untouched.
#[test]
fn a_log_without_a_topic_is_moved_to_the_trash_and_kept() {
    if is_kafka() {
        return;
    }
    let admin_address = format!("127.0.0.1:{}", ports::free_in_a_row(1));
    let listen = format!("admin_address={admin_address}");
    let mut server = Server::start_with("restart-orphan", Listen::PerCore, 2, &[&listen]);
    create_topic(server.bootstrap(), "kept", 1, &[]);
    produce_numbers(&server, "kept", 0, 0..10);
    server.stop();
    let data = server.folder().join("data");
    let orphan = data.join("logs/gone-3.7fff");
    fs::create_dir(&orphan).expect("made");
    fs::write(orphan.join("00000000000000000000.log"), b"records").expect("written");
    for _ in 0..2 {
        server.start_again();
        assert!(!orphan.exists());
        assert_numbers(&server, "kept", 0, 0..10);
        let starts: Vec<_> = fs::read_dir(data.join("trash"))
            .expect("there is trash")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        let [start] = &starts[..] else {
            panic!("{starts:?}")
        };
        let kept = fs::read(start.join("gone-3.7fff/00000000000000000000.log"));
        assert_eq!(kept.expect("kept"), b"records");
        let counted = http::metric(&admin_address, "corelane_trash_directories");
        assert_eq!(counted, 1);
        server.kill_9();
    }
    server.start_again();
}

/// A corrupt record of what exists must not pass for one that says that nothing does: the server does not start with it,
/// deletes and moves nothing, and serves everything once it is restored.
#[test]
fn damaged_metadata_keeps_the_server_from_starting_and_deletes_no_stream() {
    if is_kafka() {
        return;
    }
    let mut server = Server::start("restart-metadata", Listen::PerCore);
    for topic in ["a", "b", "c"] {
        create_topic(server.bootstrap(), topic, 2, &[]);
        produce_numbers(&server, topic, 0, 0..10);
    }
    server.stop();
    let data = server.folder().join("data");
    let names = || -> Vec<_> {
        let entries = fs::read_dir(data.join("logs")).expect("there are logs");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        names
    };
    let before = names();
    let segment = data.join("metadata/00000000000000000000.log");
    let sound = fs::read(&segment).expect("the metadata log");
    let magic = corelane_format::commit_block::COMMIT_BLOCK_MAGIC.to_le_bytes();
    let blocks: Vec<_> = (4096..sound.len())
        .step_by(64)
        .filter(|at| sound[*at..].starts_with(&magic))
        .collect();
    assert!(blocks.len() >= 2, "{blocks:?}");
    for block in [
        blocks[0],
        blocks[blocks.len() / 2],
        blocks[blocks.len() - 1],
    ] {
        for at in [block + 8, block + 64 + 80] {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            fs::write(&segment, &damaged).expect("written");
            let log = server.fails_to_start();
            assert!(log.contains("metadata log"), "byte {at}: {log}");
            assert_eq!(names(), before, "byte {at}");
        }
    }
    assert!(!data.join("trash").exists());
    fs::write(&segment, &sound).expect("written");
    server.start_again();
    for topic in ["a", "b", "c"] {
        assert_numbers(&server, topic, 0, 0..10);
    }
}

/// Damage at rest is answered with an error, and told to the operator; what lies around it is served.
#[test]
fn damage_is_told_by_an_error_a_metric_and_a_line_of_the_log() {
    if is_kafka() {
        return;
    }
    let admin_address = format!("127.0.0.1:{}", ports::free_in_a_row(1));
    let listen = format!("admin_address={admin_address}");
    let mut server = Server::start_with("restart-damage", Listen::PerCore, 2, &[&listen]);
    create_topic(
        server.bootstrap(),
        "t",
        1,
        &[("internal.segment.bytes", "65536")],
    );
    let batch = Batch::of(&[&[b'r'; 16_000]]).encode();
    let mut connection = Connection::open(server.address());
    for number in 0..20 {
        assert_eq!(connection.produce("t", 0, &batch), Produced::at(number));
    }
    let metric = |name: &str| http::metric(&admin_address, &format!("corelane_{name}"));
    let damaged = || metric("damaged_ranges_read_total") + metric("damaged_ranges_opened_total");
    assert_eq!(damaged(), 0);
    server.stop();

    let log = fs::read_dir(server.folder().join("data/logs"))
        .expect("there are logs")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.to_string_lossy().contains("/t-0."))
        .expect("the partition's directory");
    let segment = log.join("00000000000000000000.log");
    let mut bytes = fs::read(&segment).expect("a segment");
    // In the first record, behind the header page and two headers.
    bytes[5000] ^= 1;
    fs::write(&segment, bytes).expect("written");
    server.start_again();
    let mut connection = Connection::open(server.address());
    assert_eq!(connection.fetch("t", 0, 0).0, CORRUPT_MESSAGE);
    let (error_code, high_watermark, records) = connection.fetch("t", 0, 10);
    assert_eq!((error_code, high_watermark), (0, 20));
    assert!(records.len() > 16_000);
    wait_until("the damage is counted", || damaged() > 0);
    assert!(
        server.log_tail().contains("damaged"),
        "{}",
        server.log_tail()
    );
}

/// How a server ends.
#[derive(Clone, Copy, Debug)]
enum End {
    InOrder,
    Killed,
}

fn restart(server: &mut Server, end: End, listen: Listen, cores: usize) {
    match end {
        End::InOrder => server.stop(),
        End::Killed => server.kill_9(),
    }
    server.start_again_with(listen, cores);
}

fn produce_numbers(server: &Server, topic: &str, partition: i32, numbers: Range<i64>) {
    let mut connection = Connection::open(server.address());
    for number in numbers {
        let batch = Batch::of(&[format!("{topic}/{partition}/{number}").as_bytes()]);
        let produced = connection.produce(topic, partition, &batch.encode());
        assert_eq!(produced, Produced::at(number), "{topic}/{partition}");
    }
}

fn assert_numbers(server: &Server, topic: &str, partition: i32, numbers: Range<i64>) {
    assert_eq!(
        watermarks(server.bootstrap(), topic, partition),
        (numbers.start, numbers.end),
        "{topic}/{partition}"
    );
    let mut next = numbers.start;
    read_partition(
        server.bootstrap(),
        topic,
        partition,
        numbers.start,
        numbers.end,
        |message| {
            assert_eq!(message.offset(), next, "{topic}/{partition}");
            let value = message.payload().map(String::from_utf8_lossy);
            assert_eq!(
                value.as_deref(),
                Some(&*format!("{topic}/{partition}/{next}"))
            );
            next += 1;
        },
    );
    assert_eq!(next, numbers.end, "{topic}/{partition}: records read");
}

fn topic_config(server: &Server, topic: &str, key: &str) -> String {
    let resource = ResourceSpecifier::Topic(topic);
    let mut described =
        block_on(admin(server.bootstrap()).describe_configs(&[resource], &AdminOptions::new()))
            .expect("an answer");
    let config = described.remove(0).expect("a description");
    config
        .get(key)
        .and_then(|entry| entry.value.clone())
        .unwrap_or_else(|| panic!("{key} of {topic} is not described"))
}

#[test]
fn topics_data_and_configs_survive_with_any_number_of_cores() {
    let mut server = Server::start("restart", Listen::PerCore);
    let topics = ["first", "second", "third"];
    for (topic, retention) in topics.iter().zip(["3600000", "7200000", "10800000"]) {
        create_topic(
            server.bootstrap(),
            topic,
            4,
            &[("retention.ms", retention), ("segment.bytes", "1048576")],
        );
    }
    let mut end = 0;
    for (how, listen, cores) in [
        (End::InOrder, Listen::PerCore, 1),
        (End::Killed, Listen::Shared, 2),
        (End::InOrder, Listen::Shared, 1),
        (End::Killed, Listen::PerCore, 2),
    ] {
        for topic in topics {
            for partition in 0..4 {
                produce_numbers(&server, topic, partition, end..end + 5);
            }
        }
        end += 5;
        restart(&mut server, how, listen, cores);
        let metadata = metadata(server.bootstrap());
        assert_eq!(
            metadata.brokers().len(),
            server.nodes_expected(),
            "nodes after {how:?}, {listen:?}, {cores} cores"
        );
        let nodes: Vec<_> = metadata.brokers().iter().map(MetadataBroker::id).collect();
        for topic in topics {
            let listed = metadata
                .topics()
                .iter()
                .find(|listed| listed.name() == topic)
                .expect("listed");
            assert_eq!(listed.partitions().len(), 4, "partitions of {topic}");
            for partition in listed.partitions() {
                assert!(
                    nodes.contains(&partition.leader()),
                    "{topic}/{}: leader {}",
                    partition.id(),
                    partition.leader()
                );
                assert_numbers(&server, topic, partition.id(), 0..end);
            }
        }
    }
    assert_eq!(topic_config(&server, "second", "retention.ms"), "7200000");
    assert_eq!(topic_config(&server, "third", "segment.bytes"), "1048576");
}

#[test]
fn every_change_of_topics_survives_a_kill() {
    let mut server = Server::start("restart-changes", Listen::PerCore);
    for topic in ["grown", "trimmed", "deleted"] {
        create_topic(server.bootstrap(), topic, 1, &[]);
        produce_numbers(&server, topic, 0, 0..20);
    }
    let client = admin(server.bootstrap());
    let options = AdminOptions::new();
    let grown = block_on(client.create_partitions(&[NewPartitions::new("grown", 3)], &options))
        .expect("an answer");
    assert_eq!(grown, [Ok("grown".to_owned())]);
    let mut places = TopicPartitionList::new();
    places
        .add_partition_offset("trimmed", 0, Offset::Offset(7))
        .expect("an offset");
    block_on(client.delete_records(&places, &options)).expect("an answer");
    let deleted = block_on(client.delete_topics(&["deleted"], &options)).expect("an answer");
    assert_eq!(deleted, [Ok("deleted".to_owned())]);
    drop(client);
    for _ in 0..2 {
        restart(&mut server, End::Killed, Listen::PerCore, 2);
        let listed = metadata(server.bootstrap());
        assert!(
            listed
                .topics()
                .iter()
                .all(|topic| topic.name() != "deleted"),
            "a deleted topic came back"
        );
        let grown = listed
            .topics()
            .iter()
            .find(|topic| topic.name() == "grown")
            .expect("listed");
        assert_eq!(grown.partitions().len(), 3, "partitions added");
        assert_numbers(&server, "grown", 0, 0..20);
        assert_numbers(&server, "trimmed", 0, 7..20);
    }
    create_topic(server.bootstrap(), "deleted", 1, &[]);
    produce_numbers(&server, "deleted", 0, 0..3);
    assert_numbers(&server, "deleted", 0, 0..3);
}

fn idempotent_state_survives(name: &str, end: End) {
    let mut server = Server::start(name, Listen::PerCore);
    create_topic(server.bootstrap(), "sequences", 1, &[]);
    let mut connection = Connection::open(server.address());
    let (id, epoch) = connection.init_producer_id();
    let batch = |sequence: i32| {
        Batch::of(&[b"one", b"two"])
            .by_producer(id, epoch, sequence)
            .encode()
    };
    for number in 0..8 {
        let produced = connection.produce("sequences", 0, &batch(number * 2));
        assert_eq!(
            produced,
            Produced::at(i64::from(number) * 2),
            "batch {number}"
        );
    }
    drop(connection);
    restart(&mut server, end, Listen::PerCore, 1);
    wait_until("the partition is led again", || {
        let found = Connection::open(server.address()).list_offset("sequences", 0, -1);
        found == (0, -1, 16)
    });
    let mut connection = Connection::open(server.address());
    // Kafka forgets all but the last batch.
    let remembered = if is_kafka() {
        1
    } else {
        DUPLICATE_WINDOW_BATCHES
    };
    for number in 8 - remembered..8 {
        let again = connection.produce("sequences", 0, &batch(number * 2));
        let first_answer = Produced::at(i64::from(number) * 2);
        assert_eq!(again, first_answer, "batch {number} sent again");
    }
    let skipping = connection.produce("sequences", 0, &batch(18));
    assert_eq!(
        skipping.error_code, OUT_OF_ORDER_SEQUENCE_NUMBER,
        "a batch that skips two records"
    );
    let following = connection.produce("sequences", 0, &batch(16));
    assert_eq!(following, Produced::at(16), "the batch that follows");
    let newer = Batch::of(&[b"newer"])
        .by_producer(id, epoch + 1, 0)
        .encode();
    assert_eq!(
        connection.produce("sequences", 0, &newer),
        Produced::at(18),
        "a newer epoch"
    );
    let older = connection.produce("sequences", 0, &batch(18));
    assert_eq!(older.error_code, INVALID_PRODUCER_EPOCH, "the older epoch");
    let (next_id, _) = connection.init_producer_id();
    assert_ne!(next_id, id, "a producer id was given twice");
    assert_eq!(
        connection.list_offset("sequences", 0, -1),
        (0, -1, 19),
        "the end"
    );
}

#[test]
fn idempotent_producers_are_known_after_a_stop() {
    idempotent_state_survives("restart-idempotent-stop", End::InOrder);
}

#[test]
fn idempotent_producers_are_known_after_a_kill() {
    idempotent_state_survives("restart-idempotent-kill", End::Killed);
}

#[test]
fn no_producer_id_is_given_twice() {
    let mut server = Server::start("restart-producer-ids", Listen::PerCore);
    let mut given = HashSet::new();
    for round in 0..3 {
        for address in server.bootstrap().split(',') {
            let mut connection = Connection::open(address);
            for _ in 0..20 {
                let (id, epoch) = connection.init_producer_id();
                assert!(id >= 0 && epoch == 0, "producer id {id}, epoch {epoch}");
                assert!(given.insert(id), "producer id {id} was given twice");
            }
        }
        let end = if round == 0 {
            End::Killed
        } else {
            End::InOrder
        };
        restart(&mut server, end, Listen::PerCore, 2);
    }
    assert!(is_kafka() || given.len() >= 60, "{} ids", given.len());
}
