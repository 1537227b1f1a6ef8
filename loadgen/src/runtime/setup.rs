//! What every task of a load core knows from the start, and how it connects.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use corelane_format::TopicId;
use corelane_net::TopicKey;
use corelane_net::client::{
    Acks, Cluster, ClusterConfig, ClusterError, ConnectError, ConnectOptions, Connection,
};

use crate::clock::Clock;
use crate::load::arrivals::Shape;
use crate::load::payload::FillerKind;

/// What the generator calls itself to brokers.
pub const CLIENT_ID: &str = "corelane-loadgen";

/// How far the first set of consumers is, by partition; -1 where nothing was read yet. One writer for each.
pub type Positions = Arc<[AtomicI64]>;

/// The topic under load.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero from a broker that has none.
    pub id: TopicId,
}

/// What is the same for every task of a run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The run's clock.
    pub clock: Clock,
    /// The run's mark in every record.
    pub run: u32,
    /// The brokers to start from.
    pub bootstrap: Vec<String>,
    /// The topic.
    pub topic: Topic,
    /// Bytes of each record's value.
    pub record_size_bytes: usize,
    /// Records in each batch.
    pub batch_records: u32,
    /// Records a second of all producers together; `None` is a closed loop.
    pub rate: Option<f64>,
    /// How that is spread over time.
    pub shape: Shape,
    /// What records are filled with.
    pub payload: FillerKind,
    /// The acknowledgment.
    pub acks: Acks,
    /// Batches unanswered on each connection.
    pub in_flight: u32,
    /// Most bytes of one fetch.
    pub fetch_size_bytes: usize,
    /// Where the first set of consumers tells how far it is; `None` if nobody asks.
    pub positions: Option<Positions>,
}

impl Setup {
    /// How to name the topic in requests that know ids from some version on: by id where both sides can.
    pub fn topic_key(&self, by_id: bool) -> TopicKey {
        if by_id {
            TopicKey::Id(self.topic.id)
        } else {
            TopicKey::Name(self.topic.name.as_str().into())
        }
    }

    /// Whether the topic has an id at all.
    pub fn has_topic_id(&self) -> bool {
        self.topic.id != TopicId::new([0; 16])
    }

    /// Finds the leader of `partition` anew and connects to it.
    pub async fn reconnect(&self, partition: u32) -> Result<Connection, ClusterError> {
        let mut cluster = Cluster::connect(ClusterConfig::new(
            self.bootstrap.iter().cloned(),
            CLIENT_ID,
        ))
        .await?;
        cluster.refresh(&[&self.topic.name]).await?;
        let leader = cluster.leader(&self.topic.name, partition as i32)?;
        cluster.open(leader).await
    }
}

/// Connects to a broker.
pub async fn connect(address: &str) -> Result<Connection, ConnectError> {
    Connection::connect(address, &ConnectOptions::new(CLIENT_ID)).await
}
