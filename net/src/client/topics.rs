//! Creating and deleting topics.

use std::time::{Duration, Instant};

use glommio::timer::Timer;
use kafka_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_wire::delete_topics_request::DeleteTopicState;
use kafka_wire::{CreateTopicsRequest, DeleteTopicsRequest};

use super::cluster::Cluster;
use super::error::ClusterError;
use crate::error_code::ErrorCode;

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the broker's default.
    pub partitions: i32,
    /// How many replicas of each; -1 for the broker's default.
    pub replication_factor: i16,
    /// Its own configuration.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with the broker's defaults for everything else.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
            replication_factor: -1,
            configs: Vec::new(),
        }
    }

    /// Sets one entry of its configuration.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// Pause between two looks at the metadata.
const METADATA_PAUSE: Duration = Duration::from_millis(20);

impl Cluster {
    /// Creates a topic. The broker knows of it when this returns, but its partitions may not have leaders yet:
    /// see [`Cluster::await_leaders`].
    pub async fn create_topic(&mut self, topic: &NewTopic) -> Result<(), ClusterError> {
        let mut creatable = CreatableTopic::default();
        creatable.name = topic.name.as_str().into();
        creatable.num_partitions = topic.partitions;
        creatable.replication_factor = topic.replication_factor;
        creatable.configs = topic
            .configs
            .iter()
            .map(|(name, value)| {
                let mut config = CreatableTopicConfig::default();
                config.name = name.as_str().into();
                config.value = Some(value.as_str().into());
                config
            })
            .collect();
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![creatable];
        request.timeout_ms = self.timeout_ms();
        let response = self.call_any(&request).await?;
        let result = response
            .topics
            .first()
            .ok_or_else(|| missing(&topic.name))?;
        ClusterError::broker(
            &topic.name,
            result.error_code,
            result.error_message.as_deref(),
        )
    }

    /// Creates a topic, or takes the one that is there, and waits until its partitions have leaders.
    pub async fn ensure_topic(&mut self, topic: &NewTopic) -> Result<(), ClusterError> {
        match self.create_topic(topic).await {
            Err(error) if error.code() != Some(ErrorCode::TopicAlreadyExists) => Err(error),
            Ok(()) | Err(_) => self.await_leaders(&topic.name).await,
        }
    }

    /// Refreshes the metadata until every partition of a topic has a leader.
    pub async fn await_leaders(&mut self, topic: &str) -> Result<(), ClusterError> {
        let limit = self.config.call_timeout;
        let deadline = Instant::now() + limit;
        loop {
            self.refresh(&[topic]).await?;
            let led = self.topic(topic).is_some_and(|topic| {
                let mut partitions = topic.partitions.iter();
                topic.error.is_none()
                    && !topic.partitions.is_empty()
                    && partitions.all(|part| part.leader.is_some())
            });
            if led {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ClusterError::Timeout {
                    subject: topic.to_owned(),
                    limit,
                });
            }
            Timer::new(METADATA_PAUSE).await;
        }
    }

    /// Deletes a topic.
    pub async fn delete_topic(&mut self, name: &str) -> Result<(), ClusterError> {
        // Version 6 names topics in another field than the ones before it; the encoder takes the one it needs.
        let by_state = self.common_version::<DeleteTopicsRequest>().await? >= 6;
        let mut request = DeleteTopicsRequest::default();
        request.timeout_ms = self.timeout_ms();
        if by_state {
            let mut state = DeleteTopicState::default();
            state.name = Some(name.into());
            request.topics = vec![state];
        } else {
            request.topic_names = vec![name.into()];
        }
        let response = self.call_any(&request).await?;
        let result = response.responses.first().ok_or_else(|| missing(name))?;
        ClusterError::broker(name, result.error_code, result.error_message.as_deref())
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.config.call_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

fn missing(name: &str) -> ClusterError {
    ClusterError::Missing {
        subject: name.to_owned(),
    }
}
