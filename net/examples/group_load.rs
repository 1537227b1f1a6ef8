//! Groups of one member each that show that they live and commit, at fixed rates whatever the server does: how long a commit takes
//! from when it was due, and what the server spends on it.
//!
//! ```text
//! cargo run --profile fast -p corelane-net --example group_load -- 127.0.0.1:9092 [--name value]...
//!   --groups 10000        groups, each of one member of the consumer protocol
//!   --connections 8       that they share
//!   --commits 1000        commits a second
//!   --heartbeats 2000     heartbeats a second: with 10,000 groups each has one every 5 s
//!   --seconds 10          of each of the three parts: nothing, heartbeats, heartbeats and commits
//!   --core 1              where this program runs
//!   --pid PID             of the server: its share of a core is printed
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use corelane_net::api::control_limits;
use corelane_net::client::{Cluster, ClusterConfig, ConnectOptions, Connection, NewTopic};
use corelane_net::client::{Receiver, Sender, Sent};
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement};
use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest,
    OffsetCommitRequest, OffsetCommitResponse,
};
use kafka_wire_core::{ApiVersion, KafkaDecode};

type Outcome<T> = Result<T, Box<dyn Error>>;

const TOPIC: &str = "group-load";
/// Joins that are on their way at once on each connection.
const JOINS_AT_ONCE: usize = 64;
/// How often the coordinator is asked for, 100 ms apart.
const COORDINATOR_TRIES: usize = 50;
/// Clock ticks a second in `/proc`, on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone)]
struct Options {
    address: String,
    groups: usize,
    connections: usize,
    commits: f64,
    heartbeats: f64,
    seconds: f64,
    core: usize,
    pid: Option<u32>,
}

fn options() -> Outcome<Options> {
    let mut words = std::env::args().skip(1);
    let mut options = Options {
        address: words
            .next()
            .ok_or("usage: group_load HOST:PORT [--name value]...")?,
        groups: 10_000,
        connections: 8,
        commits: 1_000.0,
        heartbeats: 2_000.0,
        seconds: 10.0,
        core: 1,
        pid: None,
    };
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} has no value"))?;
        match name.as_str() {
            "--groups" => options.groups = value.parse()?,
            "--connections" => options.connections = value.parse()?,
            "--commits" => options.commits = value.parse()?,
            "--heartbeats" => options.heartbeats = value.parse()?,
            "--seconds" => options.seconds = value.parse()?,
            "--core" => options.core = value.parse()?,
            "--pid" => options.pid = Some(value.parse()?),
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    Ok(options)
}

fn main() -> Outcome<()> {
    let options = options()?;
    let executor = LocalExecutorBuilder::new(Placement::Fixed(options.core))
        .spawn(|| async move { run(options).await.map_err(|error| error.to_string()) });
    let outcome = executor?.join();
    Ok(outcome.map_err(|error| error.to_string())??)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Heartbeat,
    Commit,
}

/// A request without its answer.
struct Asked {
    sent: Sent,
    due: Instant,
    kind: Kind,
}

/// What is on its way on one connection. Answers come in the order of the requests.
type Way = Rc<RefCell<VecDeque<Asked>>>;

/// The sending half of a connection.
struct Link {
    sender: Sender,
    way: Way,
}

/// What was seen in one part.
#[derive(Default)]
struct Seen {
    commit_us: RefCell<Vec<u64>>,
    heartbeat_us: RefCell<Vec<u64>>,
    failed: Cell<u64>,
    answered: Cell<u64>,
}

async fn run(options: Options) -> Outcome<()> {
    let config = ClusterConfig::new([options.address.clone()], "group-load");
    let mut cluster = Cluster::connect(config).await?;
    cluster.ensure_topic(&NewTopic::new(TOPIC, 1)).await?;
    drop(cluster);
    find_coordinators(&options).await?;

    let began = Instant::now();
    let mut halves = Vec::new();
    for at in 0..options.connections {
        let connect = ConnectOptions::new("group-load");
        let connection = Connection::connect(&options.address, &connect).await?;
        let (mut sender, mut receiver) = connection.split();
        let own: Vec<usize> = (at..options.groups).step_by(options.connections).collect();
        for some in own.chunks(JOINS_AT_ONCE) {
            join(&mut sender, &mut receiver, some).await?;
        }
        halves.push((sender, receiver));
    }
    println!(
        "{} groups joined in {:.1} s",
        options.groups,
        began.elapsed().as_secs_f64()
    );

    let seen = Rc::new(RefCell::new(Rc::new(Seen::default())));
    let mut links = Vec::new();
    for (sender, receiver) in halves {
        let way = Way::default();
        let (listening, seen) = (Rc::clone(&way), Rc::clone(&seen));
        glommio::spawn_local(async move {
            if let Err(error) = listen(receiver, &listening, &seen).await {
                eprintln!("a connection ended: {error}");
                std::process::exit(1);
            }
        })
        .detach();
        links.push(Link { sender, way });
    }
    for (title, heartbeats, commits) in [
        ("nothing", 0.0, 0.0),
        ("heartbeats", options.heartbeats, 0.0),
        (
            "heartbeats and commits",
            options.heartbeats,
            options.commits,
        ),
    ] {
        let part = Rc::new(Seen::default());
        *seen.borrow_mut() = Rc::clone(&part);
        let before = options.pid.map(processor_ticks).transpose()?;
        let began = Instant::now();
        let due = drive(&mut links, &options, heartbeats, commits).await?;
        let seconds = began.elapsed().as_secs_f64();
        let after = options.pid.map(processor_ticks).transpose()?;
        while part.answered.get() < due {
            sleep(Duration::from_millis(1)).await;
        }
        println!("{title}: {seconds:.1} s, {} failed", part.failed.get());
        print_latencies("  heartbeats", &part.heartbeat_us, seconds);
        print_latencies("  commits", &part.commit_us, seconds);
        if let (Some(before), Some(after)) = (before, after) {
            let share = (after - before) as f64 / TICKS_PER_SECOND / seconds;
            println!("  server: {:.1} % of a core", share * 100.0);
        }
    }
    Ok(())
}

/// Asks for the coordinator of a group: the first question has the place for all groups made.
async fn find_coordinators(options: &Options) -> Outcome<()> {
    let connect = ConnectOptions::new("group-load");
    let mut connection = Connection::connect(&options.address, &connect).await?;
    let mut request = FindCoordinatorRequest::default();
    request.coordinator_keys = vec![group_id(0).as_str().into()];
    for _ in 0..COORDINATOR_TRIES {
        let response = connection.call(&request, connect.timeout).await?;
        if response.coordinators.iter().all(|one| one.error_code == 0) {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err("no coordinator".into())
}

fn group_id(number: usize) -> String {
    format!("group-{number}")
}

async fn join(sender: &mut Sender, receiver: &mut Receiver, groups: &[usize]) -> Outcome<()> {
    let mut sent = Vec::new();
    for group in groups {
        let mut request = ConsumerGroupHeartbeatRequest::default();
        request.group_id = group_id(*group).as_str().into();
        request.member_id = "member".into();
        request.member_epoch = 0;
        request.rebalance_timeout_ms = 60_000;
        request.subscribed_topic_names = Some(vec![TOPIC.into()]);
        request.topic_partitions = Some(Vec::new());
        sent.push(sender.send_request(&request).await?);
    }
    for sent in sent {
        let incoming = receiver.receive().await?;
        let response: ConsumerGroupHeartbeatResponse =
            decode(incoming.body_of(&sent)?, ApiVersion::new(sent.version))?;
        if response.error_code != 0 || response.member_epoch != 1 {
            return Err(format!("a member could not join: {response:?}").into());
        }
    }
    Ok(())
}

/// When the next request of a rate is due, if it is by now.
fn due_at(began: Instant, rate: f64, count: u64) -> Option<Instant> {
    if rate <= 0.0 {
        return None;
    }
    let due = began + Duration::from_secs_f64((count as f64 + 0.5) / rate);
    (due <= Instant::now()).then_some(due)
}

/// Sends what is due until the time is over. Gives how many requests that were.
async fn drive(
    links: &mut [Link],
    options: &Options,
    heartbeats: f64,
    commits: f64,
) -> Outcome<u64> {
    let began = Instant::now();
    let mut streams = [
        (Kind::Heartbeat, heartbeats, 0_u64),
        // Commits begin between two heartbeats, and go on with other groups.
        (Kind::Commit, commits, 0),
    ];
    let mut total = 0;
    while began.elapsed().as_secs_f64() < options.seconds {
        for (kind, rate, count) in &mut streams {
            while let Some(due) = due_at(began, *rate, *count) {
                let group = *count as usize % options.groups;
                ask(
                    &mut links[group % options.connections],
                    *kind,
                    group,
                    *count,
                    due,
                )
                .await?;
                *count += 1;
                total += 1;
            }
        }
        sleep(Duration::from_micros(100)).await;
    }
    Ok(total)
}

async fn ask(link: &mut Link, kind: Kind, group: usize, count: u64, due: Instant) -> Outcome<()> {
    let sender = &mut link.sender;
    let sent = match kind {
        Kind::Heartbeat => {
            let mut request = ConsumerGroupHeartbeatRequest::default();
            request.group_id = group_id(group).as_str().into();
            request.member_id = "member".into();
            request.member_epoch = 1;
            request.rebalance_timeout_ms = -1;
            sender.send_request(&request).await?
        }
        Kind::Commit => {
            let mut partition = OffsetCommitRequestPartition::default();
            partition.committed_offset = count as i64;
            partition.committed_leader_epoch = -1;
            partition.committed_metadata = Some("".into());
            let mut topic = OffsetCommitRequestTopic::default();
            topic.name = TOPIC.into();
            topic.partitions = vec![partition];
            let mut request = OffsetCommitRequest::default();
            request.group_id = group_id(group).as_str().into();
            request.member_id = "member".into();
            request.generation_id_or_member_epoch = 1;
            request.topics = vec![topic];
            sender.send_request(&request).await?
        }
    };
    link.way.borrow_mut().push_back(Asked { sent, due, kind });
    Ok(())
}

async fn listen(mut receiver: Receiver, way: &Way, seen: &RefCell<Rc<Seen>>) -> Outcome<()> {
    loop {
        let incoming = receiver.receive().await?;
        let asked = way.borrow_mut().pop_front();
        let asked = asked.ok_or("an answer that nobody asked for")?;
        let version = ApiVersion::new(asked.sent.version);
        let body = incoming.body_of(&asked.sent)?;
        let seen = Rc::clone(&seen.borrow());
        let elapsed_us = asked.due.elapsed().as_micros() as u64;
        let error_code = match asked.kind {
            Kind::Heartbeat => {
                seen.heartbeat_us.borrow_mut().push(elapsed_us);
                let response: ConsumerGroupHeartbeatResponse = decode(body, version)?;
                response.error_code
            }
            Kind::Commit => {
                seen.commit_us.borrow_mut().push(elapsed_us);
                let response: OffsetCommitResponse = decode(body, version)?;
                let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.map(|one| one.error_code).max().unwrap_or(-1)
            }
        };
        seen.failed
            .set(seen.failed.get() + u64::from(error_code != 0));
        seen.answered.set(seen.answered.get() + 1);
    }
}

fn print_latencies(title: &str, latencies_us: &RefCell<Vec<u64>>, seconds: f64) {
    let mut sorted = latencies_us.borrow().clone();
    if sorted.is_empty() {
        return;
    }
    sorted.sort_unstable();
    let at = |share: f64| {
        let place = (sorted.len() as f64 * share) as usize;
        sorted[place.min(sorted.len() - 1)]
    };
    println!(
        "{title}: {:.0} a second, p50 {} us, p90 {} us, p99 {} us, p99.9 {} us, most {} us",
        sorted.len() as f64 / seconds,
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// Processor time that a process has used, in clock ticks.
fn processor_ticks(pid: u32) -> Outcome<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold anything, in parentheses.
    let (_, fields) = stat.rsplit_once(')').ok_or("no process state")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |at: usize| fields.get(at).ok_or("too few fields");
    Ok(field(11)?.parse::<u64>()? + field(12)?.parse::<u64>()?)
}

fn decode<R: KafkaDecode>(body: &[u8], version: ApiVersion) -> Outcome<R> {
    let limits = control_limits(body.len());
    let body = Bytes::copy_from_slice(body);
    Ok(R::decode_from_bytes(body, version, limits)?)
}
