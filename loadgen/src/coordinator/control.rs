//! What is asked of the brokers outside the load: the topic is made, looked up and deleted, and its ends are read.
//!
//! Each call makes its own connections, on the calling thread.

use corelane_net::ErrorCode;
use corelane_net::client::{Cluster, ClusterConfig, ClusterError, NewTopic, OffsetSpec};
use thiserror::Error;

use crate::cli::plan::{PlanError, TopicPlan, check_consumers};
use crate::runtime::executor::{ExecutorError, run_here};
use crate::runtime::messages::Offsets;
use crate::runtime::setup::{CLIENT_ID, Topic};

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
        let there = cluster
            .topic(&plan.name)
            .is_some_and(|topic| topic.error.is_none());
        if there {
            if !plan.configs.is_empty() {
                return Err(ControlError::ConfigsOfExisting { topic: plan.name });
            }
            cluster.await_leaders(&plan.name).await?;
        } else {
            let mut topic = NewTopic::new(&plan.name, plan.partitions_if_made as i32);
            topic.configs.clone_from(&plan.configs);
            cluster.ensure_topic(&topic).await?;
        }
        let topology = look(&mut cluster, &plan.name, !there).await?;
        let got = topology.leaders.len() as u32;
        match plan.partitions {
            Some(expected) if expected != got => {
                return Err(ControlError::Partitions {
                    topic: plan.name,
                    got,
                    expected,
                });
            }
            _ => check_consumers(consumers, got)?,
        }
        Ok(topology)
    })?
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
        ends.push(
            cluster
                .list_offset(name, partition as i32, OffsetSpec::Latest)
                .await?
                .offset
                .get(),
        );
    }
    Ok(ends.into())
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
