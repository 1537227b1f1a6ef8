//! What is asked of the brokers outside the load: the topic is made, looked up and deleted, and its ends are read.
//!
//! Each call makes its own connections, on the calling thread.

use std::time::{Duration, Instant};

use corelane_net::ErrorCode;
use corelane_net::client::{Cluster, ClusterConfig, ClusterError, NewTopic, OffsetSpec};
use glommio::timer::Timer;
use thiserror::Error;

use crate::cli::plan::{PlanError, TopicPlan, check_consumers};
use crate::runtime::executor::{ExecutorError, run_here};
use crate::runtime::messages::Offsets;
use crate::runtime::setup::{CLIENT_ID, Topic};

/// How long the leader of a new partition may take to know that it leads.
const LED_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before asking again.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Why the brokers could not be brought to do it.
#[derive(Debug, Error)]
pub enum ControlError {
    /// No executor on this thread.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// A broker could not be reached, or refused.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The topic that is there is another one than was asked for.
    #[error("topic {topic} has {got} partitions and --partitions says {expected}")]
    Partitions {
        /// Its name.
        topic: String,
        /// What it has.
        got: u32,
        /// What was asked for.
        expected: u32,
    },
    /// Configs are for topics that are made.
    #[error(
        "topic {topic} is there already, and --topic-config is only for topics made by this run"
    )]
    ConfigsOfExisting {
        /// Its name.
        topic: String,
    },
    /// Too few partitions for the consumers.
    #[error(transparent)]
    Consumers(#[from] PlanError),
}

/// The topic and where it lies.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The topic.
    pub topic: Topic,
    /// Whether this run made it.
    pub made: bool,
    /// The broker that leads each partition.
    pub leaders: Vec<i32>,
    /// The brokers' addresses, by id.
    pub addresses: Vec<(i32, String)>,
    /// The end of each partition before the run.
    pub ends: Offsets,
}

impl Topology {
    /// Where a broker is.
    pub fn address(&self, broker: i32) -> String {
        let known = self.addresses.iter().find(|(id, _)| *id == broker);
        known.map_or_else(String::new, |(_, address)| address.clone())
    }
}

/// Takes the topic that is there, or makes it, and finds out where it lies.
pub fn prepare(
    bootstrap: &[String],
    plan: &TopicPlan,
    consumers: u32,
) -> Result<Topology, ControlError> {
    let (bootstrap, plan) = (bootstrap.to_vec(), plan.clone());
    run_here(async move {
        let mut cluster = connect(bootstrap).await?;
        cluster.refresh(&[&plan.name]).await?;
        let made = !cluster
            .topic(&plan.name)
            .is_some_and(|topic| topic.error.is_none());
        let prepared = take_or_make(&mut cluster, &plan, consumers, made).await;
        if prepared.is_err() && made {
            // It may not have come to be; the error that matters is the one at hand.
            let _ = cluster.delete_topic(&plan.name).await;
        }
        prepared
    })?
}

async fn take_or_make(
    cluster: &mut Cluster,
    plan: &TopicPlan,
    consumers: u32,
    make: bool,
) -> Result<Topology, ControlError> {
    let name = &plan.name;
    if make {
        let mut topic = NewTopic::new(name, plan.partitions_if_made as i32);
        topic.configs.clone_from(&plan.configs);
        cluster.ensure_topic(&topic).await?;
    } else if plan.configs.is_empty() {
        cluster.await_leaders(name).await?;
    } else {
        return Err(ControlError::ConfigsOfExisting {
            topic: name.clone(),
        });
    }
    let topology = look(cluster, name, make).await?;
    let got = topology.leaders.len() as u32;
    match plan.partitions {
        Some(expected) if expected != got => Err(ControlError::Partitions {
            topic: name.clone(),
            got,
            expected,
        }),
        _ => {
            check_consumers("--consumers", consumers, got)?;
            Ok(topology)
        }
    }
}

async fn look(cluster: &mut Cluster, name: &str, made: bool) -> Result<Topology, ControlError> {
    let missing = || ClusterError::Missing {
        subject: name.to_owned(),
    };
    let found = cluster.topic(name).ok_or_else(missing)?;
    let topic = Topic {
        name: name.to_owned(),
        id: found.id,
    };
    let leaders = found
        .partitions
        .iter()
        .filter_map(|partition| partition.leader)
        .collect();
    let addresses = cluster
        .brokers()
        .map(|broker| (broker.id, broker.address()))
        .collect();
    let ends = ends(cluster, name).await?;
    Ok(Topology {
        topic,
        made,
        leaders,
        addresses,
        ends,
    })
}

async fn ends(cluster: &mut Cluster, name: &str) -> Result<Offsets, ClusterError> {
    let partitions = cluster
        .topic(name)
        .map_or(0, |topic| topic.partitions.len());
    let mut ends = Vec::with_capacity(partitions);
    for partition in 0..partitions {
        ends.push(end(cluster, name, partition as i32).await?);
    }
    Ok(ends.into())
}

/// A broker may name a leader before that leader knows of it.
async fn end(cluster: &mut Cluster, name: &str, partition: i32) -> Result<i64, ClusterError> {
    let deadline = Instant::now() + LED_WITHIN;
    loop {
        match cluster
            .list_offset(name, partition, OffsetSpec::Latest)
            .await
        {
            Ok(end) => return Ok(end.offset.get()),
            Err(error)
                if Instant::now() < deadline
                    && error.code().is_some_and(ErrorCode::is_retriable) =>
            {
                Timer::new(RETRY_AFTER).await;
                cluster.refresh(&[name]).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The end of each partition, now.
pub fn ends_now(bootstrap: &[String], topic: &str) -> Result<Offsets, ControlError> {
    let (bootstrap, topic) = (bootstrap.to_vec(), topic.to_owned());
    run_here(async move {
        let mut cluster = connect(bootstrap).await?;
        cluster.refresh(&[&topic]).await?;
        Ok(ends(&mut cluster, &topic).await?)
    })?
}

/// Deletes the topic; one that is gone already is fine.
pub fn delete(bootstrap: &[String], topic: &str) -> Result<(), ControlError> {
    let (bootstrap, topic) = (bootstrap.to_vec(), topic.to_owned());
    run_here(async move {
        match connect(bootstrap).await?.delete_topic(&topic).await {
            Err(error) if error.code() != Some(ErrorCode::UnknownTopicOrPartition) => {
                Err(error.into())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    })?
}

async fn connect(bootstrap: Vec<String>) -> Result<Cluster, ClusterError> {
    Cluster::connect(ClusterConfig::new(bootstrap, CLIENT_ID)).await
}
