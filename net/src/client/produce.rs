//! Producing record batches that are built already.

use std::time::Duration;

use super::connection::Connection;
use super::error::{CallError, SendError};
use super::stream::{Sender, Sent};
use crate::api;
use crate::gather::Gathered;
use crate::produce::{ProduceHeader, ProduceResponse, TopicRecords, encode_request};
use crate::topic::TopicRef;

/// Whose word the producer waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody's: no response comes.
    None,
    /// The leader's.
    Leader,
    /// That of all in-sync replicas.
    #[default]
    All,
}

impl Acks {
    /// The wire's number.
    pub const fn to_wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// What a producer says with each request.
#[derive(Clone, Copy, Debug)]
pub struct ProduceOptions<'a> {
    /// Whose word to wait for.
    pub acks: Acks,
    /// How long the broker may wait for replicas.
    pub timeout_ms: i32,
    /// Set by producers in a transaction.
    pub transactional_id: Option<&'a str>,
}

impl Default for ProduceOptions<'_> {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            timeout_ms: 30_000,
            transactional_id: None,
        }
    }
}

impl Sender {
    /// The version to produce in: up to 12 by topic name, 13 by id.
    pub fn produce_version(&self, by_id: bool) -> Result<i16, SendError> {
        self.ranges
            .highest(api::PRODUCE, if by_id { (13, 13) } else { (3, 12) })
    }

    /// Appends a Produce request to `message`, to be sent with [`Sender::send`]; several may share one message
    /// and so one system call. Record batches are not copied. With [`Acks::None`] no response will come.
    pub fn encode_produce<S: AsRef<[u8]> + Clone>(
        &mut self,
        message: &mut Gathered<S>,
        options: &ProduceOptions<'_>,
        topics: &[TopicRecords<'_, S>],
    ) -> Result<Sent, SendError> {
        let by_id = topics
            .iter()
            .any(|topic| matches!(topic.topic, TopicRef::Id(_)));
        let version = self.produce_version(by_id)?;
        let correlation_id = self.next_correlation_id();
        let header = ProduceHeader {
            version,
            correlation_id,
            client_id: Some(&self.client_id),
            transactional_id: options.transactional_id,
            acks: options.acks.to_wire(),
            timeout_ms: options.timeout_ms,
        };
        encode_request(message, &header, topics)?;
        Ok(Sent {
            correlation_id,
            version,
            flexible_header: version >= 9,
        })
    }

    /// Sends one Produce request.
    pub async fn send_produce<S: AsRef<[u8]> + Clone>(
        &mut self,
        options: &ProduceOptions<'_>,
        topics: &[TopicRecords<'_, S>],
    ) -> Result<Sent, SendError> {
        let mut message = Gathered::with_capacity(128);
        let sent = self.encode_produce(&mut message, options, topics)?;
        self.send(&message).await?;
        Ok(sent)
    }
}

impl Connection {
    /// Produces and awaits the response; with [`Acks::None`] there is none. Errors of single partitions stand in
    /// the response.
    pub async fn produce<S: AsRef<[u8]> + Clone>(
        &mut self,
        options: &ProduceOptions<'_>,
        topics: &[TopicRecords<'_, S>],
        timeout: Duration,
    ) -> Result<Option<ProduceResponse>, CallError> {
        if options.acks == Acks::None {
            self.halves().0.send_produce(options, topics).await?;
            return Ok(None);
        }
        self.exchange(
            timeout,
            async |sender| sender.send_produce(options, topics).await,
            |body, version| Ok(Some(ProduceResponse::parse(body, version)?)),
        )
        .await
    }
}
