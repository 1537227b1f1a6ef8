//! Fetching into the connection's own receive buffer.

use std::time::Duration;

use super::connection::Connection;
use super::deadline::within;
use super::error::{CallError, SendError};
use super::stream::{Sender, Sent};
use crate::api;
use crate::fetch::{FetchHeader, FetchRequest, FetchResponse, encode_request};
use crate::topic::TopicKey;

impl Sender {
    /// The version to fetch in: up to 12 by topic name, from 13 on by id.
    pub fn fetch_version(&self, by_id: bool) -> Result<i16, SendError> {
        self.ranges
            .highest(api::FETCH, if by_id { (13, 18) } else { (4, 12) })
    }

    /// Sends one Fetch request. All its topics are named in the same way.
    pub async fn send_fetch(&mut self, request: &FetchRequest) -> Result<Sent, SendError> {
        let by_id = request
            .topics
            .iter()
            .any(|topic| matches!(topic.topic, TopicKey::Id(_)));
        let version = self.fetch_version(by_id)?;
        let correlation_id = self.next_correlation_id();
        let header = FetchHeader {
            version,
            correlation_id,
            client_id: Some(&self.client_id),
        };
        let mut frame = Vec::with_capacity(256);
        encode_request(&mut frame, &header, request)?;
        self.send_bytes(&frame).await?;
        Ok(Sent {
            correlation_id,
            version,
            flexible_header: version >= 12,
        })
    }
}

impl Connection {
    /// Fetches. The bytes returned are the response's body in the receive buffer, and the ranges of `response`
    /// lie in it; both are used again by the next call. `timeout` should exceed the request's own wait.
    pub async fn fetch<'a>(
        &'a mut self,
        request: &FetchRequest,
        response: &mut FetchResponse,
        timeout: Duration,
    ) -> Result<&'a [u8], CallError> {
        if self.is_broken() {
            return Err(SendError::Broken.into());
        }
        let (sender, receiver) = self.halves();
        let sent = within(timeout, sender.send_fetch(request)).await;
        let sent = sent.ok_or(CallError::Timeout { limit: timeout })??;
        let shared = sender.shared();
        // For the case that this future fails or is dropped before the response is read.
        shared.set_broken();
        let incoming = within(timeout, receiver.receive()).await;
        let incoming = incoming.ok_or(CallError::Timeout { limit: timeout })??;
        let body = incoming.body_of(&sent)?;
        response
            .parse_into(body, sent.version)
            .map_err(super::error::ReceiveError::from)?;
        shared.set_sound();
        Ok(body)
    }
}
