//! What a run will do: the arguments, checked against each other and completed with defaults.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::args::{Acks, Protocol, ReadBack, RunArgs, Schedule};
use super::cores::CoreList;
use crate::load::arrivals::Shape;
use crate::load::payload::{FillerKind, RecordSizeError, check_record_size};
use crate::load::skew::Keys;
use crate::load::template::{batch_size_bytes, records_that_fit};

/// The largest batch the generator builds.
const BATCH_SIZE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The most bytes all producers' batches together may take.
const TEMPLATES_BYTES_MAX: usize = 4 * 1024 * 1024 * 1024;

/// The most bytes of batches that a connection sends in one system call, unless a batch alone has more.
pub const SEND_BYTES_MAX: usize = 256 * 1024;

/// Partitions of a topic when nothing says otherwise.
const PARTITIONS_DEFAULT: u32 = 4;

/// Why a run cannot be made of the arguments.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// Not there yet.
    #[error("--protocol native is not available yet; --protocol kafka is")]
    NativeProtocol,
    /// Too small to verify.
    #[error("--record-size: {0}")]
    RecordSize(#[from] RecordSizeError),
    /// Larger than the generator can build.
    #[error(
        "a batch of {records} records of {record_size_bytes} bytes takes {got} bytes; at most {BATCH_SIZE_BYTES_MAX} are possible"
    )]
    BatchTooLarge {
        /// Records in the batch.
        records: u32,
        /// Size of each.
        record_size_bytes: usize,
        /// Size of the batch.
        got: usize,
    },
    /// The producers would need more memory than is sensible.
    #[error(
        "{producers} producers with batches of {batch_size_bytes} bytes need more than {TEMPLATES_BYTES_MAX} bytes"
    )]
    TooMuchMemory {
        /// How many.
        producers: u32,
        /// Bytes each.
        batch_size_bytes: usize,
    },
    /// A partition is read by one consumer.
    #[error("{option} {consumers} is more than the {partitions} partitions they would share")]
    TooManyConsumers {
        /// Which consumers.
        option: &'static str,
        /// Asked for.
        consumers: u32,
        /// There.
        partitions: u32,
    },
    /// No `=`, or nothing before it.
    #[error("--topic-config {got:?} is not of the form KEY=VALUE")]
    TopicConfig {
        /// What was given.
        got: String,
    },
    /// No such core for this process.
    #[error("core {core} is not available to this process, which may use {available}")]
    CoreNotAvailable {
        /// The core asked for.
        core: usize,
        /// Those there are.
        available: CoreList,
    },
    /// A name Kafka does not take.
    #[error("{got:?} is no topic name: 1 to 249 letters, digits, dots, underscores and hyphens")]
    TopicName {
        /// What was given.
        got: String,
    },
    /// A shape of what rate?
    #[error("--schedule {schedule} needs --rate")]
    ScheduleWithoutRate {
        /// The schedule.
        schedule: &'static str,
    },
    /// Not `HOST:PORT`.
    #[error("--bootstrap {got:?} is not of the form HOST:PORT")]
    Bootstrap {
        /// What was given.
        got: String,
    },
}

/// Where the load goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Brokers that are there.
    Brokers(Vec<String>),
    /// A server of our own.
    Spawn(SpawnPlan),
}

/// How to start a server of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnPlan {
    /// A server that acknowledges without storing: this program itself.
    pub null: bool,
    /// The binary, if it was named.
    pub server: Option<PathBuf>,
    /// Where to make the temporary folder, if it was named.
    pub directory: Option<PathBuf>,
    /// The server's cores.
    pub cores: CoreList,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// The topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// How many partitions it must have, if that was said.
    pub partitions: Option<u32>,
    /// How many it gets when it is made.
    pub partitions_if_made: u32,
    /// Its configs when it is made.
    pub configs: Vec<(String, String)>,
    /// Whether it stays.
    pub keep: bool,
}

/// A checked run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where the load goes.
    pub target: Target,
    /// The topic.
    pub topic: TopicPlan,
    /// Bytes of each record's value.
    pub record_size_bytes: usize,
    /// Records in each batch.
    pub batch_records: u32,
    /// Bytes of each batch.
    pub batch_size_bytes: usize,
    /// Producers.
    pub producers: u32,
    /// Consumers.
    pub consumers: u32,
    /// Records a second; `None` is a closed loop.
    pub rate: Option<f64>,
    /// The schedule's name.
    pub schedule: Schedule,
    /// The shape of the load over time.
    pub shape: Shape,
    /// What records are filled with.
    pub payload: FillerKind,
    /// How keys spread the load over partitions; `None` is evenly.
    pub keys: Option<Keys>,
    /// The group of the first set's consumers.
    pub group: Option<String>,
    /// Sets of consumers.
    pub fan_out: u32,
    /// Consumers that cannot keep up.
    pub slow_consumers: u32,
    /// Records a second of each of them.
    pub slow_rate: f64,
    /// Consumers that read from the beginning.
    pub replay: u32,
    /// The measured time.
    pub duration: Duration,
    /// The time before it.
    pub warmup: Duration,
    /// The acknowledgment.
    pub acks: Acks,
    /// Batches unanswered on each connection.
    pub in_flight: u32,
    /// Connections of each client to each of its brokers.
    pub connections: u32,
    /// Most bytes of one fetch.
    pub fetch_size_bytes: usize,
    /// The generator's cores.
    pub cores: CoreList,
    /// Polling before sleeping.
    pub spin: Duration,
    /// Reading back at the end.
    pub read_back: ReadBack,
    /// How long consumers may take to catch up.
    pub drain: Duration,
    /// Tells this run's records from others, and names its topic.
    pub run: u32,
    /// The JSON file.
    pub json: Option<PathBuf>,
    /// The percentile file.
    pub hgrm: Option<PathBuf>,
    /// The interval log.
    pub hlog: Option<PathBuf>,
    /// The page.
    pub html: Option<PathBuf>,
    /// How many times to run.
    pub repeat: u32,
    /// No live view.
    pub no_dashboard: bool,
    /// Whether the machine's limits are measured.
    pub limits: bool,
}

impl Plan {
    /// Checks the arguments. `available` are the cores this process may use; `run` is a random number.
    pub fn new(args: RunArgs, available: &CoreList, run: u32) -> Result<Self, PlanError> {
        if args.protocol == Protocol::Native {
            return Err(PlanError::NativeProtocol);
        }
        check_record_size(args.record_size)?;
        let batch_records = args
            .batch_records
            .unwrap_or_else(|| records_that_fit(args.batch_size, args.record_size));
        let batch_bytes = batch_size_bytes(batch_records, args.record_size);
        if batch_bytes > BATCH_SIZE_BYTES_MAX {
            return Err(PlanError::BatchTooLarge {
                records: batch_records,
                record_size_bytes: args.record_size,
                got: batch_bytes,
            });
        }
        let templates = (args.producers as usize)
            .saturating_mul(args.connections as usize)
            .saturating_mul(batch_bytes.max(SEND_BYTES_MAX));
        if templates > TEMPLATES_BYTES_MAX {
            return Err(PlanError::TooMuchMemory {
                producers: args.producers,
                batch_size_bytes: batch_bytes,
            });
        }
        let consumers = if args.spawn_null { 0 } else { args.consumers };
        let readers = consumers.max(args.slow_consumers).max(args.replay);
        let partitions = args.partitions.unwrap_or(PARTITIONS_DEFAULT.max(readers));
        check_consumers("--slow-consumers", args.slow_consumers, partitions)?;
        check_consumers("--replay", args.replay, partitions)?;
        check_consumers("--consumers", consumers, partitions)?;
        let shape = match (args.schedule, args.rate) {
            (Schedule::Poisson, _) => Shape::Poisson,
            // Where the rate is still to be found, ramps begin at nothing.
            (Schedule::Ramp, rate) => Shape::Ramp {
                from_share: rate.map_or(0.0, |rate| args.ramp_from / rate),
                over: args.warmup + args.duration,
            },
            (Schedule::Burst, _) => Shape::Burst {
                period: args.burst_period,
                duty: args.burst_duty,
            },
            (Schedule::Constant, _) => Shape::Constant,
        };
        let name = args.topic.unwrap_or_else(|| generated_topic(run));
        if !is_topic_name(&name) {
            return Err(PlanError::TopicName { got: name });
        }
        let configs = args
            .topic_config
            .iter()
            .map(|config| key_and_value(config))
            .collect::<Result<_, _>>()?;
        for list in [&args.cores, &args.server_cores].into_iter().flatten() {
            if let Some(&core) = list
                .as_slice()
                .iter()
                .find(|core| !available.as_slice().contains(core))
            {
                return Err(PlanError::CoreNotAvailable {
                    core,
                    available: available.clone(),
                });
            }
        }
        let (server_cores, cores) = split_cores(
            args.spawn || args.spawn_null,
            args.server_cores,
            args.cores,
            available,
        );
        let target = if args.spawn || args.spawn_null {
            Target::Spawn(SpawnPlan {
                null: args.spawn_null,
                server: args.server,
                directory: args.spawn_dir,
                cores: server_cores,
                arguments: args.server_arg,
            })
        } else {
            Target::Brokers(check_bootstrap(args.bootstrap)?)
        };
        Ok(Self {
            target,
            topic: TopicPlan {
                name,
                partitions: args.partitions,
                partitions_if_made: partitions,
                configs,
                keep: args.keep_topic,
            },
            record_size_bytes: args.record_size,
            batch_records,
            batch_size_bytes: batch_bytes,
            producers: args.producers,
            consumers,
            rate: args.rate,
            schedule: args.schedule,
            shape,
            payload: args.payload,
            keys: args.key_skew.map(|skew| Keys {
                count: args.keys,
                skew,
            }),
            group: args.group.filter(|_| consumers > 0),
            fan_out: args.fan_out,
            slow_consumers: args.slow_consumers,
            slow_rate: args.slow_rate,
            replay: args.replay,
            duration: args.duration,
            warmup: args.warmup,
            acks: args.acks,
            in_flight: args.in_flight,
            connections: args.connections,
            fetch_size_bytes: args.fetch_size.max(1),
            cores,
            spin: args.spin,
            read_back: if args.spawn_null {
                ReadBack::Never
            } else {
                args.verify
            },
            drain: args.drain,
            run,
            json: args.json,
            hgrm: args.hgrm,
            hlog: args.hlog,
            html: args.html,
            repeat: args.repeat,
            no_dashboard: args.no_dashboard,
            limits: args.limits,
        })
    }

    /// The same plan for another of several runs: with a mark of its own, and a topic of its own unless one was named.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let mut plan = self.clone();
        plan.run = self.run.wrapping_add(number);
        if self.has_generated_topic() {
            plan.topic.name = generated_topic(plan.run);
        }
        plan
    }

    /// Whether the topic's name was made up for the run, so that nobody else can mean it.
    pub fn has_generated_topic(&self) -> bool {
        self.topic.name == generated_topic(self.run)
    }

    /// The same plan at another rate; `None` is a closed loop, which has no schedule.
    #[must_use]
    pub fn at_rate(&self, rate: Option<f64>) -> Self {
        let mut plan = self.clone();
        plan.rate = rate;
        if let (Shape::Ramp { from_share, .. }, Some(before), Some(rate)) =
            (&mut plan.shape, self.rate, rate)
        {
            *from_share *= before / rate;
        }
        plan
    }

    /// Refuses a schedule without a rate, which a single run cannot follow.
    pub fn check_schedule(&self) -> Result<(), PlanError> {
        match (self.schedule, self.rate) {
            (Schedule::Constant, _) | (_, Some(_)) => Ok(()),
            (schedule, None) => Err(PlanError::ScheduleWithoutRate {
                schedule: schedule.name(),
            }),
        }
    }

    /// The server's cores that the generator uses too: the numbers of such a run say little about either.
    pub fn shared_cores(&self) -> Vec<usize> {
        match &self.target {
            Target::Spawn(spawn) => self.cores.shared_with(&spawn.cores),
            Target::Brokers(_) => Vec::new(),
        }
    }
}

fn generated_topic(run: u32) -> String {
    format!("corelane-loadgen-{run:08x}")
}

/// A partition is read by exactly one consumer, and a consumer without one would measure nothing.
pub fn check_consumers(
    option: &'static str,
    consumers: u32,
    partitions: u32,
) -> Result<(), PlanError> {
    if consumers > partitions {
        Err(PlanError::TooManyConsumers {
            option,
            consumers,
            partitions,
        })
    } else {
        Ok(())
    }
}

/// The server's and the generator's cores. What is not given is what the other leaves; where that is nothing, they share.
fn split_cores(
    spawn: bool,
    server: Option<CoreList>,
    load: Option<CoreList>,
    available: &CoreList,
) -> (CoreList, CoreList) {
    let without = |taken: &CoreList| {
        let rest = available
            .as_slice()
            .iter()
            .copied()
            .filter(|core| !taken.as_slice().contains(core));
        CoreList::new(rest).unwrap_or_else(|| available.clone())
    };
    match (server, load) {
        (Some(server), Some(load)) => (server, load),
        (Some(server), None) => {
            let load = without(&server);
            (server, load)
        }
        (None, Some(load)) => (without(&load), load),
        (None, None) if spawn => available.halves(),
        (None, None) => (available.clone(), available.clone()),
    }
}

fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn key_and_value(config: &str) -> Result<(String, String), PlanError> {
    match config.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(PlanError::TopicConfig {
            got: config.to_owned(),
        }),
    }
}

fn check_bootstrap(given: Vec<String>) -> Result<Vec<String>, PlanError> {
    if given.is_empty() {
        return Ok(vec!["127.0.0.1:9092".to_owned()]);
    }
    for address in &given {
        let sound = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !sound {
            return Err(PlanError::Bootstrap {
                got: address.clone(),
            });
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;

    fn plan(arguments: &str) -> Result<Plan, PlanError> {
        let all = ["corelane-loadgen", "run"]
            .into_iter()
            .chain(arguments.split_whitespace());
        let Command::Run(args) = Cli::try_parse_from(all).unwrap().command else {
            unreachable!("the first argument is run")
        };
        Plan::new(*args, &"0-3".parse().unwrap(), 0x00C0_FFEE)
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let table = "
            --protocol native              | --protocol native is not available yet
            --record-size 31               | records of 31 bytes cannot be verified
            --consumers 5 --partitions 4   | --consumers 5 is more than the 4 partitions
            --replay 5 --partitions 4      | --replay 5 is more than the 4 partitions
            --topic-config x               | is not of the form KEY=VALUE
            --topic-config =x              | is not of the form KEY=VALUE
            --topic a/b                    | is no topic name
            --bootstrap localhost          | is not of the form HOST:PORT
            --bootstrap a:b                | is not of the form HOST:PORT
            --cores 9                      | core 9 is not available to this process, which may use 0-3
            --batch-records 900000 --record-size 1MB | at most 268435456 are possible
        ";
        for line in table.lines().filter(|line| line.contains('|')) {
            let (given, expected) = line.split_once('|').unwrap();
            let message = plan(given).expect_err(given).to_string();
            assert!(message.contains(expected.trim()), "{given}: {message}");
        }
    }

    #[test]
    fn defaults_make_a_closed_loop_against_a_local_broker() {
        let plan = plan("").unwrap();
        assert_eq!(
            plan.target,
            Target::Brokers(vec!["127.0.0.1:9092".to_owned()])
        );
        assert_eq!(plan.topic.name, "corelane-loadgen-00c0ffee");
        assert_eq!(plan.rate, None);
        assert_eq!(plan.cores.to_string(), "0-3");
        assert!(plan.batch_size_bytes <= 16 * 1024 && plan.batch_records > 100);
    }

    #[test]
    fn cores_are_split_between_server_and_generator() {
        let table = "
            --spawn                                  | 0-1 | 2-3
            --spawn --server-cores 0                 | 0   | 1-3
            --spawn --cores 3                        | 0-2 | 3
            --spawn --cores 0-3                      | 0-3 | 0-3
            --spawn --cores 1 --server-cores 1       | 1   | 1
            --spawn-null --server-cores 0            | 0   | 1-3
        ";
        for line in table.lines().filter(|line| line.contains('|')) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let plan = plan(cells[0]).unwrap();
            let Target::Spawn(spawn) = &plan.target else {
                panic!("{line}")
            };
            assert_eq!(
                (
                    spawn.cores.to_string().as_str(),
                    plan.cores.to_string().as_str()
                ),
                (cells[1], cells[2])
            );
        }
        assert_eq!(
            plan("--spawn --cores 1-2 --server-cores 0-1")
                .unwrap()
                .shared_cores(),
            vec![1]
        );
    }

    #[test]
    fn one_record_a_batch() {
        let one = plan("--batch-records 1 --record-size 1KiB").unwrap();
        assert_eq!(
            (one.batch_records, one.batch_size_bytes),
            (1, batch_size_bytes(1, 1024))
        );
        assert_eq!(
            plan("--batch-size 10 --record-size 1KiB")
                .unwrap()
                .batch_records,
            1
        );
    }

    #[test]
    fn topic_configs_keep_their_values_whole() {
        let plan =
            plan("--topic-config cleanup.policy=compact,delete --topic-config a=b=c").unwrap();
        let expected = [("cleanup.policy", "compact,delete"), ("a", "b=c")];
        assert_eq!(
            plan.topic.configs,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
    }
}
