//! A cluster: which broker leads what, and a connection to each.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::{MetadataRequest, RequestResponsePair};

use super::connection::{ConnectOptions, Connection};
use super::error::{CallError, ClusterError};
use super::metadata::{Broker, Metadata, PartitionMetadata, TopicMetadata};

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Brokers to ask first, each `host:port`. One that answers is enough.
    pub bootstrap: Vec<String>,
    /// How to connect to each broker.
    pub connect: ConnectOptions,
    /// For each control call.
    pub call_timeout: Duration,
}

impl ClusterConfig {
    /// Ten seconds for everything.
    pub fn new<A: Into<String>>(
        bootstrap: impl IntoIterator<Item = A>,
        client_id: impl Into<String>,
    ) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            connect: ConnectOptions::new(client_id),
            call_timeout: Duration::from_secs(10),
        }
    }
}

/// A view of a cluster, as good as its last refresh, and the connections made so far.
pub struct Cluster {
    pub(super) config: ClusterConfig,
    id: Option<String>,
    controller_id: i32,
    brokers: BTreeMap<i32, Broker>,
    topics: BTreeMap<String, TopicMetadata>,
    connections: BTreeMap<i32, Connection>,
    bootstrap: Option<Connection>,
}

impl Cluster {
    /// Connects to the first bootstrap broker that answers, and learns the brokers. Topics are learned by
    /// [`Cluster::refresh`] and [`Cluster::refresh_all`].
    pub async fn connect(config: ClusterConfig) -> Result<Self, ClusterError> {
        let mut cluster = Self {
            config,
            id: None,
            controller_id: -1,
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            connections: BTreeMap::new(),
            bootstrap: None,
        };
        cluster.refresh(&[]).await?;
        Ok(cluster)
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The broker that names itself the controller, -1 for none.
    pub fn controller_id(&self) -> i32 {
        self.controller_id
    }

    /// The brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// A topic that a refresh has told of, with or without an error.
    pub fn topic(&self, name: &str) -> Option<&TopicMetadata> {
        self.topics.get(name)
    }

    /// The topics that refreshes have told of, by name.
    pub fn topics(&self) -> impl Iterator<Item = &TopicMetadata> {
        self.topics.values()
    }

    /// Asks again for the brokers and the topics named. No topic is created by asking.
    pub async fn refresh(&mut self, topics: &[&str]) -> Result<(), ClusterError> {
        let mut request = metadata_request();
        request.topics = Some(
            topics
                .iter()
                .map(|name| {
                    let mut topic = MetadataRequestTopic::default();
                    topic.name = Some((*name).into());
                    topic
                })
                .collect(),
        );
        let metadata = self.ask_metadata(&request).await?;
        for name in topics {
            self.topics.remove(*name);
        }
        self.learn(metadata);
        Ok(())
    }

    /// Asks again for the brokers and every topic.
    pub async fn refresh_all(&mut self) -> Result<(), ClusterError> {
        let mut request = metadata_request();
        request.topics = None;
        let metadata = self.ask_metadata(&request).await?;
        self.topics.clear();
        self.learn(metadata);
        Ok(())
    }

    async fn ask_metadata(&mut self, request: &MetadataRequest) -> Result<Metadata, ClusterError> {
        let response = self.call_any(request).await?;
        Ok(Metadata::from(&response))
    }

    fn learn(&mut self, metadata: Metadata) {
        self.id = metadata.cluster_id;
        self.controller_id = metadata.controller_id;
        self.brokers = metadata
            .brokers
            .into_iter()
            .map(|broker| (broker.id, broker))
            .collect();
        for topic in metadata.topics {
            self.topics.insert(topic.name.clone(), topic);
        }
    }

    /// Makes a call to whichever broker answers: the one connected first, or else the next of the bootstrap
    /// list. A call is tried on one connection that still stands and then on a new one.
    pub async fn call_any<R: RequestResponsePair>(
        &mut self,
        request: &R,
    ) -> Result<R::Response, ClusterError> {
        let timeout = self.config.call_timeout;
        if let Some(connection) = self
            .bootstrap
            .as_mut()
            .filter(|connection| !connection.is_broken())
        {
            match connection.call(request, timeout).await {
                Ok(response) => return Ok(response),
                Err(error) if connection.is_broken() => {
                    tracing::debug!(%error, "bootstrap connection lost");
                }
                Err(error) => return Err(error.into()),
            }
        }
        let connection = self.bootstrap.insert(bootstrap(&self.config).await?);
        Ok(connection.call(request, timeout).await?)
    }

    /// The highest version of a control call that this client and the broker asked first have in common.
    pub async fn common_version<R: RequestResponsePair>(&mut self) -> Result<i16, ClusterError> {
        let connection = match self.bootstrap.take() {
            Some(connection) if !connection.is_broken() => connection,
            _ => bootstrap(&self.config).await?,
        };
        let version = connection.ranges().common::<R>();
        self.bootstrap = Some(connection);
        Ok(version.map_err(CallError::from)?)
    }

    /// A partition of a topic that a refresh has told of.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionMetadata> {
        self.topics
            .get(topic)?
            .partitions
            .iter()
            .find(|candidate| candidate.index == partition)
    }

    /// The broker that leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<i32, ClusterError> {
        let leader = self
            .partition(topic, partition)
            .and_then(|partition| partition.leader);
        leader.ok_or_else(|| ClusterError::NoLeader {
            topic: topic.to_owned(),
            partition,
        })
    }

    /// A new connection to a broker, for the caller to keep.
    pub async fn open(&self, broker: i32) -> Result<Connection, ClusterError> {
        let address = self
            .brokers
            .get(&broker)
            .ok_or(ClusterError::UnknownBroker { id: broker })?
            .address();
        Ok(Connection::connect(&address, &self.config.connect).await?)
    }

    /// The cluster's own connection to a broker, made when it is first wanted and again when it broke.
    pub async fn connection(&mut self, broker: i32) -> Result<&mut Connection, ClusterError> {
        self.connections
            .retain(|_, connection| !connection.is_broken());
        if !self.connections.contains_key(&broker) {
            let connection = self.open(broker).await?;
            self.connections.insert(broker, connection);
        }
        self.connections
            .get_mut(&broker)
            .ok_or(ClusterError::UnknownBroker { id: broker })
    }

    /// The cluster's own connection to the leader of a partition.
    pub async fn leader_connection(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<&mut Connection, ClusterError> {
        let leader = self.leader(topic, partition)?;
        self.connection(leader).await
    }

    /// Makes a call to one broker.
    pub async fn call<R: RequestResponsePair>(
        &mut self,
        broker: i32,
        request: &R,
    ) -> Result<R::Response, ClusterError> {
        let timeout = self.config.call_timeout;
        let called: Result<_, CallError> =
            self.connection(broker).await?.call(request, timeout).await;
        Ok(called?)
    }
}

fn metadata_request() -> MetadataRequest {
    let mut request = MetadataRequest::default();
    request.allow_auto_topic_creation = false;
    request
}

async fn bootstrap(config: &ClusterConfig) -> Result<Connection, ClusterError> {
    let mut last = ClusterError::NoBootstrap;
    for address in &config.bootstrap {
        match Connection::connect(address, &config.connect).await {
            Ok(connection) => return Ok(connection),
            Err(error) => {
                tracing::debug!(%error, "bootstrap broker not reached");
                last = error.into();
            }
        }
    }
    Err(last)
}
