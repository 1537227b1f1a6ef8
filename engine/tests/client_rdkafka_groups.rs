//! Consumer groups of rdkafka, the Rust client over librdkafka: its polled consumer and its stream.

mod support;

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures_lite::{StreamExt, future::block_on};
use rdkafka::{
    ClientConfig,
    admin::AdminOptions,
    config::FromClientConfig,
    consumer::{BaseConsumer, CommitMode, Consumer, DefaultConsumerContext, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::Message,
    producer::{BaseRecord, Producer, ThreadedProducer},
    topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem},
};
use support::{
    admin::{DEADLINE, admin, create_topic, settings, wait_until},
    clients::{crate_version, record},
    server::{Listen, Server},
    threads::Threads,
};

const PARTITIONS: i32 = 4;
const SETTINGS: &[&str] = &["group.initial.rebalance.delay.ms=200"];
/// In the environment of a child of `a_member_that_is_killed_is_replaced`: where, group and topic.
const MEMBER: &str = "CORELANE_TEST_MEMBER";

#[test]
fn groups_of_rdkafka_work_with_a_node_per_core() {
    check_all(Listen::PerCore);
}

#[test]
fn groups_of_rdkafka_work_with_one_port_for_all_cores() {
    check_all(Listen::Shared);
}

fn check_all(listen: Listen) {
    if env::var_os(MEMBER).is_some() {
        return;
    }
    let server = Server::start_with("rdkafka-groups", listen, 2, SETTINGS);
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    let version = crate_version("rdkafka");
    let mut said =
        format!("client rdkafka (Rust) {version} over librdkafka {librdkafka}, groups\n");
    for (name, check) in CHECKS {
        check(server.bootstrap());
        said.extend(["ok ", name, "\n"]);
    }
    record("client_rdkafka_groups.rs", &server, &said);
}

/// A check by its name.
type Check = (&'static str, fn(&str));

const CHECKS: [Check; 10] = [
    (
        "what_is_committed_is_where_the_next_one_begins",
        what_is_committed_is_where_the_next_one_begins,
    ),
    ("what_is_stored_is_committed", what_is_stored_is_committed),
    (
        "a_stream_carries_every_record",
        a_stream_carries_every_record,
    ),
    ("members_come_and_go", members_come_and_go),
    (
        "a_member_that_is_killed_is_replaced",
        a_member_that_is_killed_is_replaced,
    ),
    (
        "static_members_keep_what_they_own",
        static_members_keep_what_they_own,
    ),
    ("members_seek_and_pause", members_seek_and_pause),
    (
        "topics_are_subscribed_by_pattern",
        topics_are_subscribed_by_pattern,
    ),
    (
        "an_offset_that_is_not_there_is_reset",
        an_offset_that_is_not_there_is_reset,
    ),
    (
        "groups_are_listed_and_deleted_and_lag_is_told",
        groups_are_listed_and_deleted_and_lag_is_told,
    ),
];

/// A name that nothing else uses.
fn fresh(purpose: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{purpose}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn create(bootstrap: &str, purpose: &str, partitions: i32) -> String {
    let topic = fresh(purpose);
    create_topic(bootstrap, &topic, partitions, &[]);
    topic
}

/// Records whose values are numbers, to the partitions in turn.
fn fill(bootstrap: &str, topic: &str, count: usize, partitions: i32) {
    let producer: ThreadedProducer<_> = settings(bootstrap).create().expect("a producer");
    for number in 0..count {
        let value = number.to_string();
        let record = BaseRecord::<(), str>::to(topic)
            .partition(number as i32 % partitions)
            .payload(&value);
        if let Err((error, _)) = producer.send(record) {
            panic!("cannot send: {error}");
        }
    }
    producer.flush(DEADLINE).expect("all are acknowledged");
}

fn member<C: FromClientConfig + Consumer>(
    bootstrap: &str,
    group: &str,
    topic: &str,
    more: &[(&str, &str)],
) -> C {
    let mut settings: ClientConfig = settings(bootstrap);
    for (key, value) in [
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "300"),
        ("topic.metadata.refresh.interval.ms", "500"),
        ("fetch.wait.max.ms", "50"),
    ]
    .iter()
    .chain(more)
    {
        settings.set(*key, *value);
    }
    let consumer: C = settings.create().expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    consumer
}

fn polled(bootstrap: &str, group: &str, topic: &str, more: &[(&str, &str)]) -> BaseConsumer {
    member(bootstrap, group, topic, more)
}

/// One call of poll; the number in the record, if one came.
fn poll(consumer: &BaseConsumer) -> Option<usize> {
    match consumer.poll(Duration::from_millis(20))? {
        Ok(message) => Some(number(&message)),
        // While the topics of a pattern are found.
        Err(KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition)) => None,
        Err(error) => panic!("cannot consume: {error}"),
    }
}

fn number(message: &impl Message) -> usize {
    let text = str::from_utf8(message.payload().expect("a value")).expect("text");
    text.parse().expect("a number")
}

/// So many records, by their numbers in order.
fn receive(consumer: &BaseConsumer, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    wait_until(&format!("{count} records"), || {
        numbers.extend(poll(consumer));
        while let Some(number) = (numbers.len() < count).then(|| poll(consumer)).flatten() {
            numbers.push(number);
        }
        numbers.len() >= count
    });
    numbers.sort_unstable();
    numbers
}

fn share(consumer: &BaseConsumer) -> BTreeSet<i32> {
    let places = consumer.assignment().expect("an assignment");
    places
        .elements()
        .iter()
        .map(TopicPartitionListElem::partition)
        .collect()
}

/// Polls the members until every partition has one owner, and every member something. Gives their shares.
fn settle(members: &[&BaseConsumer]) -> Vec<BTreeSet<i32>> {
    let mut shares = Vec::new();
    wait_until(&format!("{} members share", members.len()), || {
        for member in members {
            let _ = poll(member);
        }
        shares = members.iter().map(|member| share(member)).collect();
        let mut all: Vec<_> = shares.iter().flatten().copied().collect();
        all.sort_unstable();
        shares.iter().all(|share| !share.is_empty()) && all.into_iter().eq(0..PARTITIONS)
    });
    shares
}

fn committed(bootstrap: &str, group: &str, topic: &str) -> Vec<Offset> {
    let consumer: BaseConsumer = settings(bootstrap)
        .set("group.id", group)
        .create()
        .expect("a consumer");
    let mut places = TopicPartitionList::new();
    places.add_partition_range(topic, 0, PARTITIONS - 1);
    let found = consumer.committed_offsets(places, DEADLINE);
    let found = found.expect("an answer");
    found
        .elements()
        .iter()
        .map(TopicPartitionListElem::offset)
        .collect()
}

fn what_is_committed_is_where_the_next_one_begins(bootstrap: &str) {
    let (topic, group) = (create(bootstrap, "resume", PARTITIONS), fresh("group"));
    for count in [40, 60] {
        fill(bootstrap, &topic, count, PARTITIONS);
        let consumer = polled(bootstrap, &group, &topic, &[]);
        assert!(
            receive(&consumer, count).into_iter().eq(0..count),
            "each once"
        );
        consumer
            .commit_consumer_state(CommitMode::Sync)
            .expect("a commit");
    }
    assert_eq!(
        committed(bootstrap, &group, &topic),
        [Offset::Offset(25); 4]
    );
}

fn what_is_stored_is_committed(bootstrap: &str) {
    let (topic, group) = (create(bootstrap, "stored", PARTITIONS), fresh("group"));
    fill(bootstrap, &topic, 100, PARTITIONS);
    let automatic = [
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", "100"),
        ("enable.auto.offset.store", "false"),
    ];
    let consumer = polled(bootstrap, &group, &topic, &automatic);
    assert_eq!(receive(&consumer, 100).len(), 100);
    for partition in 0..PARTITIONS {
        // The offset of the last record that was worked on.
        consumer
            .store_offset(&topic, partition, 9)
            .expect("it is the member's");
    }
    wait_until("what is stored is committed", || {
        let _ = poll(&consumer);
        committed(bootstrap, &group, &topic) == [Offset::Offset(10); 4]
    });
}

fn a_stream_carries_every_record(bootstrap: &str) {
    let (topic, group) = (create(bootstrap, "stream", PARTITIONS), fresh("group"));
    fill(bootstrap, &topic, 200, PARTITIONS);
    let consumer: StreamConsumer<DefaultConsumerContext, Threads> =
        member(bootstrap, &group, &topic, &[]);
    let mut numbers: Vec<usize> = block_on(async {
        let records = consumer.stream().take(200);
        let numbers = records.map(|message| number(&message.expect("a record")));
        numbers.collect().await
    });
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..200), "each once");
    consumer
        .commit_consumer_state(CommitMode::Sync)
        .expect("a commit");
    assert_eq!(
        committed(bootstrap, &group, &topic),
        [Offset::Offset(50); 4]
    );
}

fn members_come_and_go(bootstrap: &str) {
    for strategy in ["range", "roundrobin", "cooperative-sticky"] {
        let (topic, group) = (create(bootstrap, "members", PARTITIONS), fresh("group"));
        let join = || {
            let strategy = [("partition.assignment.strategy", strategy)];
            polled(bootstrap, &group, &topic, &strategy)
        };
        let first = join();
        settle(&[&first]);
        let second = join();
        settle(&[&first, &second]);
        let third = join();
        settle(&[&first, &second, &third]);
        drop(third);
        settle(&[&first, &second]);
        drop(second);
        settle(&[&first]);
    }
}

fn a_member_that_is_killed_is_replaced(bootstrap: &str) {
    let (topic, group) = (create(bootstrap, "killed", PARTITIONS), fresh("group"));
    let mut child = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "is_a_member", "--nocapture"])
        .env(MEMBER, format!("{bootstrap} {group} {topic}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test again");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    // The test harness begins the line.
    let told = output
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("partitions"));
    assert!(told.is_some_and(|line| line.ends_with("4 partitions")));
    let survivor = polled(bootstrap, &group, &topic, &[]);
    wait_until("the child shares", || {
        let _ = poll(&survivor);
        share(&survivor).len() == 2
    });
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
    settle(&[&survivor]);
}

/// The child of the check above: a member until it is killed. Without the variable there is nothing to do.
#[test]
fn is_a_member() {
    let Ok(told) = env::var(MEMBER) else { return };
    let [bootstrap, group, topic] = told.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{MEMBER} is {told}");
    };
    let consumer = polled(bootstrap, group, topic, &[]);
    settle(&[&consumer]);
    println!("{} partitions", share(&consumer).len());
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        let _ = poll(&consumer);
    }
}

fn static_members_keep_what_they_own(bootstrap: &str) {
    let (topic, group) = (create(bootstrap, "static", PARTITIONS), fresh("group"));
    let join = |instance| {
        let instance = [
            ("group.instance.id", instance),
            ("session.timeout.ms", "30000"),
        ];
        polled(bootstrap, &group, &topic, &instance)
    };
    let stays = join("a");
    let goes = join("b");
    let before = settle(&[&stays, &goes]);
    drop(goes);
    let back = join("b");
    assert_eq!(settle(&[&stays, &back]), before);
    let list = stays.fetch_group_list(Some(&group), DEADLINE);
    let list = list.expect("an answer");
    assert_eq!(list.groups()[0].members().len(), 2);
}

fn members_seek_and_pause(bootstrap: &str) {
    let topic = create(bootstrap, "seek", 2);
    fill(bootstrap, &topic, 20, 2);
    let consumer = polled(bootstrap, &fresh("group"), &topic, &[]);
    assert!(receive(&consumer, 20).into_iter().eq(0..20));
    consumer
        .seek(&topic, 0, Offset::Offset(8), DEADLINE)
        .expect("a place");
    assert_eq!(receive(&consumer, 2), [16, 18], "partition 0 from offset 8");
    let mut zero = TopicPartitionList::new();
    zero.add_partition(&topic, 0);
    consumer.pause(&zero).expect("it is the member's");
    fill(bootstrap, &topic, 10, 2);
    assert_eq!(receive(&consumer, 5), [1, 3, 5, 7, 9], "0 is paused");
    consumer.resume(&zero).expect("it is the member's");
    assert_eq!(receive(&consumer, 5), [0, 2, 4, 6, 8], "0 goes on");
}

fn topics_are_subscribed_by_pattern(bootstrap: &str) {
    let prefix = fresh("pattern");
    let consumer = polled(bootstrap, &fresh("group"), &format!("^{prefix}-.*"), &[]);
    for name in [format!("{prefix}-one"), format!("{prefix}-two")] {
        create_topic(bootstrap, &name, 1, &[]);
        fill(bootstrap, &name, 10, 1);
        assert!(receive(&consumer, 10).into_iter().eq(0..10), "{name}");
        consumer
            .commit_consumer_state(CommitMode::Sync)
            .expect("a commit");
    }
}

fn an_offset_that_is_not_there_is_reset(bootstrap: &str) {
    let topic = create(bootstrap, "reset", 1);
    fill(bootstrap, &topic, 20, 1);
    let mut places = TopicPartitionList::new();
    places
        .add_partition_offset(&topic, 0, Offset::Offset(12))
        .expect("an offset");
    let deleted = block_on(admin(bootstrap).delete_records(&places, &AdminOptions::new()));
    deleted.expect("an answer");
    let group = fresh("group");
    let nobody: BaseConsumer = settings(bootstrap)
        .set("group.id", &group)
        .create()
        .expect("a consumer");
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&topic, 0, Offset::Offset(5))
        .expect("an offset");
    nobody.commit(&gone, CommitMode::Sync).expect("a commit");
    let member = polled(bootstrap, &group, &topic, &[]);
    assert!(
        receive(&member, 8).into_iter().eq(12..20),
        "from the first that is left"
    );
    let strict = polled(
        bootstrap,
        &fresh("group"),
        &topic,
        &[("auto.offset.reset", "error")],
    );
    wait_until("a member without an offset is told so", || {
        match strict.poll(Duration::from_millis(20)) {
            None => false,
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => true,
            Some(other) => panic!("unexpected: {other:?}"),
        }
    });
}

fn groups_are_listed_and_deleted_and_lag_is_told(bootstrap: &str) {
    let (topic, group) = (create(bootstrap, "told", 1), fresh("group"));
    fill(bootstrap, &topic, 30, 1);
    let consumer = polled(bootstrap, &group, &topic, &[]);
    assert_eq!(receive(&consumer, 30).len(), 30);
    let mut places = TopicPartitionList::new();
    places
        .add_partition_offset(&topic, 0, Offset::Offset(10))
        .expect("an offset");
    consumer
        .commit(&places, CommitMode::Sync)
        .expect("a commit");
    let (_, end) = consumer
        .fetch_watermarks(&topic, 0, DEADLINE)
        .expect("an answer");
    let found = consumer.committed(DEADLINE).expect("an answer");
    let offset = found.elements()[0].offset().to_raw().expect("an offset");
    assert_eq!(end - offset, 20, "lag");
    // A list of places holds on to its consumer's partitions, which cannot be closed before.
    drop((places, found));
    let list = consumer.fetch_group_list(None, DEADLINE);
    let list = list.expect("an answer");
    let listed = list.groups().iter().find(|one| one.name() == group);
    assert_eq!(listed.expect("it is listed").state(), "Stable");
    let delete = || {
        let answer = block_on(admin(bootstrap).delete_groups(&[&group], &AdminOptions::new()));
        answer.expect("an answer").remove(0)
    };
    assert_eq!(
        delete(),
        Err((group.clone(), RDKafkaErrorCode::NonEmptyGroup))
    );
    drop(consumer);
    assert_eq!(delete(), Ok(group.clone()));
    assert_eq!(committed(bootstrap, &group, &topic)[0], Offset::Invalid);
}
